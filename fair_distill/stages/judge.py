"""The gate's stages: judge a set, plan a policy, replay one. No torch here: judging stays light."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path

from fair_distill.config import Config, Gate, load_floor
from fair_distill.errors import FairDistillError, IntegrityError, MeasurementError
from fair_distill.files import parse_json, require_file, sha256, write_bytes
from fair_distill.gate.judge import judge as decide
from fair_distill.gate.plan import Assumed, Plan, cells_of, plan
from fair_distill.gate.policy import PROMOTED, check, read_context, tighten
from fair_distill.gate.replay import Replayed, replay
from fair_distill.gate.verdict import Verdict
from fair_distill.registry.channels import published
from fair_distill.registry.layout import manifest_key
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.store import RegistryStore, open_registry
from fair_distill.seeds import numpy_generator
from fair_distill.stages.attest import require_attested
from fair_distill.stages.evidence import read_evidence, read_references
from fair_distill.workspace import Workspace

FLOOR = "FAIR_DISTILL_POLICY_FLOOR"


def judge(
    workspace: Workspace, config: Config, name: str, *, floor: Gate | None = None, now: date | None = None
) -> Verdict:
    """Compare a set's predictions with the policy; write and return the verdict, whatever the outcome."""
    verdict = verdict_of(workspace, config, name, floor=floor, now=now)
    write_bytes(workspace.verdict(name), verdict.to_json())
    return verdict


def verdict_of(
    workspace: Workspace,
    config: Config,
    name: str,
    *,
    floor: Gate | None = None,
    now: date | None = None,
    context: bytes | None = None,
    promoted: bytes | None = None,
    attested: bool = False,
) -> Verdict:
    """Judge without writing: `enforce` and promotion use this, not the verdict that is on disk.

    Without a date (`now`), as in the graph, no waiver counts.

    Parameters
    ----------
    context, promoted : instead of context.json, and of the promoted version's predictions next to it
    attested : predictions count only with a signed statement of one of the policy's evaluators, as in a pull request

    Raises
    ------
    IntegrityError
        If the files in the workspace are of another set or split, or contradict each other.
    MeasurementError
        If a file is missing or older than what it was made from.
    Undecided
        If predictions must be attested and are not.
    """
    check(config.gate)
    if floor is not None:
        tighten(config.gate, floor)
    content = context_of(workspace) if context is None else context
    evidence = read_evidence(workspace, config, name, context=read_context(content), promoted=promoted)
    if attested:
        judged = {name: evidence.predictions, **evidence.references}
        require_attested(workspace, config, judged, keys=config.gate.evaluators)
    return decide(
        evidence.predictions,
        config.gate,
        context=content,
        engine=config.engine,
        manifest=evidence.manifest,
        index=evidence.index,
        references=evidence.references,
        reference_manifests=evidence.reference_manifests,
        floor=floor,
        now=now,
    )


def floor_at(url: str | None) -> Gate | None:
    """Return the organisation's policy, from an address or else the one that FAIR_DISTILL_POLICY_FLOOR names.

    For what decides (enforce, explain, replay, promote); the graph's own stage asks no environment.
    """
    url = url or os.environ.get(FLOOR)
    return load_floor(url) if url else None


def by_itself(policy: Gate) -> Gate:
    """Return a policy without the clauses over the promoted version, for where there is none to compare with."""
    return policy.model_copy(update={"limits": tuple(limit for limit in policy.limits if limit.over != PROMOTED)})


def context_of(workspace: Workspace) -> bytes:
    try:
        context = workspace.context.read_bytes()
    except FileNotFoundError:
        raise MeasurementError(f"{workspace.context} is missing; run `echo {{}} > context.json`") from None
    parse_json(context, name=str(workspace.context))
    return context


def plan_gate(workspace: Workspace, config: Config, *, accuracies: Sequence[float], seed_sd: float, seeds: int) -> Plan:
    """Say what the gate split can show under the policy, before anything is trained."""
    from fair_distill.data.split_file import read_split

    split = read_split(require_file(workspace.split("gate"), made_by="fair-distill prepare"))
    reserved = read_context(context_of(workspace)).attempt
    return plan(
        cells_of(split, config.gate),
        config.gate,
        [Assumed(accuracy=accuracy, seeds=seeds, seed_sd=seed_sd) for accuracy in accuracies],
        rng=numpy_generator(config.seed, "gate.plan"),
        attempt=reserved.number if reserved else 1,
    )


def replay_gate(
    workspace: Workspace, config: Config, policy: Gate, *, registry: str, floor: Gate | None, now: date
) -> Iterator[Replayed]:
    """Judge every published version again by `policy`, from the predictions it was published with.

    A version that is damaged is reported as an error, and the others are judged all the same.
    """
    store, context = open_registry(registry), context_of(workspace)
    versions: dict[str, bytes] = {}
    manifests: dict[str, bytes] = {}
    before: dict[str, str] = {}
    damaged: list[Replayed] = []
    for number, version in enumerate(published(read_ledger(store, config.dataset)), start=1):
        short = f"{config.dataset}@v{number}"
        try:
            earlier = list(_verdicts(store.read(key) for key in store.list(f"versions/{version}/verdicts/")))
            keys = store.list(f"versions/{version}/predictions/")
        except FairDistillError as error:
            damaged.append(Replayed(short, None, "error", (str(error),)))
            continue
        for key in keys:
            name = f"{short} ({Path(key).stem[:12]})"
            try:
                versions[name], manifests[name] = _published(store, version, key)
            except FairDistillError as error:
                versions.pop(name, None)
                damaged.append(Replayed(name, None, "error", (str(error),)))
            before.update((name, verdict.outcome) for verdict in earlier if verdict.predictions == Path(key).stem)
    yield from damaged
    yield from replay(
        policy,
        versions,
        manifests=manifests,
        before=before,
        references=_references(workspace, config, policy, context),
        context=context,
        engine=config.engine,
        floor=floor,
        now=now,
    )


def _published(store: RegistryStore, version: str, key: str) -> tuple[bytes, bytes]:
    """Return published predictions and their version's manifest."""
    predictions, manifest = store.read(key), store.read(manifest_key(version))
    if sha256(predictions) != Path(key).stem:
        raise IntegrityError(f"{key} is in the registry with other bytes than were written there")
    return predictions, manifest


def _references(workspace: Workspace, config: Config, policy: Gate, context: bytes) -> dict[str, bytes]:
    """Return the predictions that the policy's clauses compare published versions with."""
    references = read_references(workspace, config.model_copy(update={"gate": policy}))
    compared = any(limit.over == PROMOTED for limit in policy.limits)
    if compared and read_context(context).promoted is not None:
        path = workspace.context.with_name("promoted.parquet")
        references[PROMOTED] = require_file(path, made_by="fair-distill gate reserve").read_bytes()
    return references


def _verdicts(contents: Iterable[bytes]) -> Iterator[Verdict]:
    """Read the verdicts that can be read: one of an older form has no outcome here, and is judged again."""
    for content in contents:
        with suppress(IntegrityError):
            yield Verdict.from_json(content)
