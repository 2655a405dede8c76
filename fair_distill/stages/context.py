"""The registry's part of a verdict: the number of the attempt, and the predictions of the promoted version.

The registry is not an input of the DVC graph. `gate reserve` writes context.json, which is a declared input of the
stage `judge`, and promotion computes the same context itself.
"""

from dataclasses import dataclass

from fair_distill.config import Config
from fair_distill.files import require_file, sha256, to_json, write_bytes
from fair_distill.gate.policy import PROMOTED, Attempt, Promoted, read_context
from fair_distill.gate.predictions import Predictions
from fair_distill.gate.verdict import Verdict
from fair_distill.registry import attempts
from fair_distill.registry.actor import Actor
from fair_distill.registry.entry import Entry
from fair_distill.registry.integrity import fetch
from fair_distill.registry.layout import evidence_key
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.manifest import read_version
from fair_distill.registry.store import RegistryStore
from fair_distill.registry.writer import open_to_write
from fair_distill.stages.set_record import check_set_name, set_command
from fair_distill.stages.training_units import check_registry_overlap, promoted_entry
from fair_distill.workspace import Workspace


@dataclass(frozen=True)
class RegistryContext:
    """The registry's records about a set that will be judged.

    Attributes
    ----------
    attempt : number of the reserved attempt
    context : content of context.json
    promoted : predictions of the promoted version; None if no version is promoted or no clause uses it
    split : SHA-256 of the gate split that the attempt was reserved for
    """

    attempt: int
    context: bytes
    promoted: bytes | None
    split: str


def write_context(
    workspace: Workspace, config: Config, name: str, channel: str, *, registry: str, actor: Actor, fresh: str = ""
) -> RegistryContext:
    """Reserve the attempt at the gate split and write context.json, which the stage `judge` reads.

    Call it when the set exists and before anybody sees its predictions. Waivers in context.json are kept.

    Parameters
    ----------
    channel : the channel whose version counts as promoted
    fresh : the reason why no example of the gate split has been used before; see `registry.attempts`
    """
    store = open_to_write(registry)
    reserved = registry_context(workspace, config, name, channel, store=store, actor=actor, fresh=fresh)
    if reserved.promoted is not None:
        write_bytes(workspace.context.with_name("promoted.parquet"), reserved.promoted)
    if reserved.context != workspace.context.read_bytes():
        write_bytes(workspace.context, reserved.context)
    return reserved


def registry_context(
    workspace: Workspace,
    config: Config,
    name: str,
    channel: str,
    *,
    store: RegistryStore,
    actor: Actor,
    fresh: str = "",
) -> RegistryContext:
    """Reserve the attempt and return the registry's context; its content is context.json itself if that is current."""
    content = require_file(workspace.context, made_by="echo {} > context.json").read_bytes()
    current = read_context(content)
    # Checked first: an attempt at a gate split that the set was made from would be wasted.
    check_registry_overlap(workspace, config, name, channel, store=store)
    version, split, number = reserve_attempt(workspace, config, name, store=store, actor=actor, fresh=fresh)
    promoted, predictions = None, None
    if any(limit.over == PROMOTED for limit in config.gate.limits):
        entry = promoted_entry(read_ledger(store, config.dataset), channel, version)
        if entry is not None:
            predictions = _judged_predictions(store, entry)
            promoted = Promoted(version=entry.version, predictions=sha256(predictions))
    # An empty context means a first attempt, so the graph's verdict on a first attempt is the one that promotion uses.
    attempt = None if number == 1 else Attempt(set=version, split=split, number=number)
    updated = current.model_copy(update={"attempt": attempt, "promoted": promoted})
    if updated != current:
        content = to_json(updated.model_dump(mode="json", exclude_none=True))
    return RegistryContext(number, content, predictions, split)


def reserve_attempt(
    workspace: Workspace, config: Config, name: str, *, store: RegistryStore, actor: Actor, fresh: str = ""
) -> tuple[str, str, int]:
    """Record the attempt at the gate split; a second call for the same set records nothing.

    Call it when the set exists and before anybody sees its predictions.

    Returns
    -------
    tuple
        The version, the SHA-256 of the gate split, and the number of the attempt.
    """
    check_set_name(config, name)
    manifest, _ = read_version(workspace.set(name), made_by=set_command(config, name))
    split = _gate_digest(workspace, name)
    number = attempts.reserve(
        store,
        config.dataset,
        manifest.version,
        split,
        fresh=fresh,
        actor=actor,
    )
    return manifest.version, split, number


def _gate_digest(workspace: Workspace, name: str) -> str:
    """Return the digest of the gate split, or the one in the predictions if the split's file is missing."""
    if workspace.split("gate").exists():
        return sha256(workspace.split("gate"))
    content = require_file(workspace.predictions(name), made_by=f"fair-distill stage evaluate {name}").read_bytes()
    return Predictions.from_parquet(content).split


def _judged_predictions(store: RegistryStore, entry: Entry) -> bytes:
    """Return the predictions that the entry's verdict was computed from."""
    assert entry.verdict is not None
    verdict = Verdict.from_json(fetch(store, evidence_key(entry.version, "verdicts", entry.verdict), entry.verdict))
    return fetch(store, evidence_key(entry.version, "predictions", verdict.predictions), verdict.predictions)
