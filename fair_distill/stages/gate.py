"""The gate's stages: judge a set, plan a policy, replay one. No torch here: judging stays light."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path

from fair_distill.artifacts import Workspace, needed, parse_json, sha256, write_bytes
from fair_distill.config import Config, Gate, load_floor
from fair_distill.errors import IntegrityError
from fair_distill.gate.judge import judge as decide
from fair_distill.gate.plan import Assumed, Plan, cells_of, plan
from fair_distill.gate.policy import PROMOTED, asks_the_card, read_context
from fair_distill.gate.replay import Replayed, replay
from fair_distill.gate.verdict import Verdict
from fair_distill.registry.channels import published
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.manifest import MANIFEST_FILE
from fair_distill.registry.store import manifest_key, open_store
from fair_distill.stages.record import known, made_by
from fair_distill.stages.seeds import numpy_generator

FLOOR = "FAIR_DISTILL_POLICY_FLOOR"


def judge(
    workspace: Workspace, config: Config, name: str, *, floor: Gate | None = None, now: date | None = None
) -> Verdict:
    """Hold a set's predictions against the policy; write and return the verdict, whatever it is."""
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
) -> Verdict:
    """Judge without writing: what `enforce` and promotion trust, not the verdict that lies on disk.

    Without a day (`now`), as in the graph, no waiver counts; a verdict that was to count on one is given on a day.

    Parameters
    ----------
    context, promoted : in place of context.json, and of the promoted version's predictions beside it
    """
    known(config, name)
    predictions = needed(workspace.predictions(name), made_by=f"fair-distill evaluate {name}").read_bytes()
    if context is None:
        context = context_of(workspace)
    return decide(
        predictions,
        config.gate,
        context=context,
        engine=config.engine,
        manifest=_manifest(workspace, config, name) if asks_the_card(config.gate) else None,
        references=_compared(workspace, config, config.gate, context, promoted=promoted),
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


def _manifest(workspace: Workspace, config: Config, name: str) -> bytes:
    return needed(workspace.set(name) / MANIFEST_FILE, made_by=made_by(config, name)).read_bytes()


def context_of(workspace: Workspace) -> bytes:
    context = needed(workspace.context, made_by="echo {} > context.json").read_bytes()
    parse_json(context, name=str(workspace.context))
    return context


def _compared(
    workspace: Workspace, config: Config, policy: Gate, context: bytes, *, promoted: bytes | None = None
) -> dict[str, bytes]:
    """Return the predictions that the policy's clauses compare to: references, and what is promoted now."""
    found = {}
    for name in sorted({limit.over for limit in policy.limits if limit.over}):
        if name == PROMOTED:
            if read_context(context).promoted is None:
                continue
            if promoted is not None:
                found[name] = promoted
                continue
            # Whoever writes context.json lays the promoted version's predictions beside it; the digest binds them.
            path, made_by = workspace.context.with_name("promoted.parquet"), "whoever wrote context.json"
        else:
            config.reference(name)
            path, made_by = workspace.predictions(name), f"fair-distill evaluate {name}"
        found[name] = needed(path, made_by=made_by).read_bytes()
    return found


def plan_gate(workspace: Workspace, config: Config, *, accuracies: Sequence[float], seed_sd: float, seeds: int) -> Plan:
    """Say what the gate split can show under the policy, before anything is trained."""
    from fair_distill.data.schema import read_split

    split = read_split(needed(workspace.split("gate"), made_by="fair-distill prepare"))
    return plan(
        cells_of(split, config.gate),
        config.gate,
        [Assumed(accuracy=accuracy, seeds=seeds, seed_sd=seed_sd) for accuracy in accuracies],
        rng=numpy_generator(config, "gate.plan"),
        attempt=read_context(context_of(workspace)).attempt,
    )


def replay_gate(
    workspace: Workspace, config: Config, policy: Gate, *, registry: str, floor: Gate | None, now: date
) -> Iterator[Replayed]:
    """Judge every published version anew by `policy`, from the predictions it was published with."""
    store = open_store(registry)
    versions: dict[str, bytes] = {}
    manifests: dict[str, bytes] = {}
    before: dict[str, str] = {}
    for number, version in enumerate(published(read_ledger(store, config.dataset)), start=1):
        stood = list(_verdicts(store.read(key) for key in store.list(f"versions/{version}/verdicts/")))
        for key in store.list(f"versions/{version}/predictions/"):
            predictions = store.read(key)
            if sha256(predictions) != Path(key).stem:
                raise IntegrityError(f"{key} is in the registry with other bytes than were written there")
            name = f"{config.dataset}@v{number} ({Path(key).stem[:12]})"
            versions[name] = predictions
            manifests[name] = store.read(manifest_key(version))
            before.update((name, verdict.outcome) for verdict in stood if verdict.predictions == Path(key).stem)
    context = context_of(workspace)
    return replay(
        policy,
        versions,
        manifests=manifests,
        before=before,
        references=_compared(workspace, config, policy, context),
        context=context,
        engine=config.engine,
        floor=floor,
        now=now,
    )


def _verdicts(contents: Iterable[bytes]) -> Iterator[Verdict]:
    """Read what can be read: a verdict of an older form says nothing here, and its predictions are judged anew."""
    for content in contents:
        with suppress(IntegrityError):
            yield Verdict.from_json(content)
