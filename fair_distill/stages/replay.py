"""Command `gate replay`: judge every published version again, from the predictions that it was published with."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path

from fair_distill.config import Config, Gate
from fair_distill.errors import FairDistillError, IntegrityError
from fair_distill.files import require_file, sha256
from fair_distill.gate.policy import PROMOTED, read_context
from fair_distill.gate.replay import Replayed, replay
from fair_distill.gate.verdict import Verdict
from fair_distill.registry.channels import published
from fair_distill.registry.layout import manifest_key
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.store import RegistryStore, open_registry
from fair_distill.stages.evidence import read_context_file, read_references
from fair_distill.workspace import Workspace


def replay_policy(
    workspace: Workspace, config: Config, policy: Gate, *, registry: str, floor: Gate | None, now: date
) -> Iterator[Replayed]:
    """Yield the outcome of each published version under a policy.

    A damaged version is reported with the outcome "error", and the other versions are judged as usual.
    """
    store, context = open_registry(registry), read_context_file(workspace)
    predictions: dict[str, bytes] = {}
    manifests: dict[str, bytes] = {}
    earlier_outcomes: dict[str, str] = {}
    damaged: list[Replayed] = []
    for number, version in enumerate(published(read_ledger(store, config.dataset)), start=1):
        title = f"{config.dataset}@v{number}"
        try:
            verdicts = list(_readable_verdicts(store.read(key) for key in store.list(f"versions/{version}/verdicts/")))
            keys = store.list(f"versions/{version}/predictions/")
        except FairDistillError as error:
            damaged.append(Replayed(title, None, "error", (str(error),)))
            continue
        for key in keys:
            name = f"{title} ({Path(key).stem[:12]})"
            try:
                predictions[name], manifests[name] = _read_published(store, version, key)
            except FairDistillError as error:
                predictions.pop(name, None)
                damaged.append(Replayed(name, None, "error", (str(error),)))
            earlier_outcomes.update(
                (name, verdict.outcome) for verdict in verdicts if verdict.predictions == Path(key).stem
            )
    yield from damaged
    yield from replay(
        policy,
        predictions,
        manifests=manifests,
        before=earlier_outcomes,
        references=_reference_predictions(workspace, config, policy, context),
        context=context,
        engine=config.engine,
        floor=floor,
        now=now,
    )


def _read_published(store: RegistryStore, version: str, key: str) -> tuple[bytes, bytes]:
    """Return published predictions and the manifest of their version."""
    predictions, manifest = store.read(key), store.read(manifest_key(version))
    if sha256(predictions) != Path(key).stem:
        raise IntegrityError(
            f"{key} in the registry does not have the SHA-256 in its name; restore it from a copy of the registry"
        )
    return predictions, manifest


def _reference_predictions(workspace: Workspace, config: Config, policy: Gate, context: bytes) -> dict[str, bytes]:
    """Return the predictions that the policy's clauses compare published versions with."""
    references = read_references(workspace, config.model_copy(update={"gate": policy}))
    compares_promoted = any(limit.over == PROMOTED for limit in policy.limits)
    if compares_promoted and read_context(context).promoted is not None:
        path = workspace.context.with_name("promoted.parquet")
        references[PROMOTED] = require_file(path, made_by="fair-distill gate reserve").read_bytes()
    return references


def _readable_verdicts(contents: Iterable[bytes]) -> Iterator[Verdict]:
    """Yield the verdicts that can be read. An older format has no outcome here, and its version is judged again."""
    for content in contents:
        with suppress(IntegrityError):
            yield Verdict.from_json(content)
