"""The registry's part of a verdict: the attempt, and the predictions of the promoted version.

The registry is not an input of the DVC graph. `gate reserve` writes context.json, which is a declared input of the
stage `judge`, and promotion computes the same context itself.
"""

from contextlib import suppress
from dataclasses import dataclass

from fair_distill.config import Config
from fair_distill.errors import MeasurementError
from fair_distill.files import require_file, sha256, to_json, write_bytes
from fair_distill.gate.policy import PROMOTED, Attempt, Promoted, attempt_for, read_context
from fair_distill.gate.spending import check_fraction
from fair_distill.gate.verdict import Verdict
from fair_distill.registry import attempts
from fair_distill.registry.actor import Actor
from fair_distill.registry.entry import Entry
from fair_distill.registry.integrity import fetch
from fair_distill.registry.layout import evidence_key
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.store import RegistryStore, open_registry
from fair_distill.registry.writer import open_to_write
from fair_distill.stages.attempts import attempt_request
from fair_distill.stages.privacy import check_private_predictions
from fair_distill.stages.training_units import check_registry_overlap, explain_erased, promoted_entry
from fair_distill.workspace import Workspace


@dataclass(frozen=True)
class RegistryContext:
    """The registry's records about a set that will be judged.

    Attributes
    ----------
    attempt : the attempt
    context : content of context.json
    promoted : predictions of the promoted version; None if no version is promoted or no clause uses it
    """

    attempt: attempts.Attempt
    context: bytes
    promoted: bytes | None


def write_context(
    workspace: Workspace, config: Config, name: str, channel: str, *, registry: str, actor: Actor, fresh: str = ""
) -> RegistryContext:
    """Reserve the attempt at the gate split and write context.json, which the stage `judge` reads.

    Call it when the set exists and before anybody sees its predictions. Waivers in context.json are kept.

    Parameters
    ----------
    channel : the channel whose version counts as promoted
    fresh : why the attempts in the ledger did not evaluate these examples; see `registry.attempts`
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
    predictions: bytes | None = None,
) -> RegistryContext:
    """Reserve the attempt and return the registry's context; its content is context.json itself if that is current.

    Parameters
    ----------
    predictions : the predictions that the attempt is bound to; None before they exist
    """
    # Checked first: a context that is not valid, or a gate split that cannot judge the set, must not use up an attempt.
    content = require_file(workspace.context, made_by="echo {} > context.json").read_bytes()
    read_context(content)
    check_private_predictions(config)
    check_registry_overlap(workspace, config, name, channel, store=store)
    request = attempt_request(workspace, config, name, store=store, predictions=predictions)
    attempt = attempts.reserve(store, request, fresh=fresh, actor=actor)
    return context_of(store, config, attempt, channel, content=content)


def context_of(
    store: RegistryStore, config: Config, attempt: attempts.Attempt, channel: str, *, content: bytes
) -> RegistryContext:
    """Return the context of an attempt. `content` is that of context.json, whose waivers are kept."""
    promoted, predictions = None, None
    if any(limit.over == PROMOTED for limit in config.gate.limits):
        promotion = promoted_entry(read_ledger(store, config.dataset), channel, attempt.entry.version)
        if promotion is not None:
            with explain_erased(promotion):
                predictions = _judged_predictions(store, promotion)
            promoted = Promoted(version=promotion.version, predictions=sha256(predictions))
    return RegistryContext(attempt, _updated(content, config, attempt, promoted=promoted), predictions)


def with_recorded_attempt(
    workspace: Workspace, config: Config, name: str, *, registry: str, content: bytes
) -> tuple[bytes, str]:
    """Return a context with the attempt of a set's predictions, and a sentence about it. Nothing is recorded.

    Predictions that no attempt is recorded for are judged as the attempt that they would be now. If the attempt in the
    context takes less of alpha, it is kept: the registry may be the wrong one.

    Parameters
    ----------
    content : content of context.json; its promoted version and its waivers are kept
    """
    store, path = open_registry(registry), workspace.predictions(name)
    predictions = require_file(path, made_by=f"fair-distill stage evaluate {name}").read_bytes()
    attempt = attempts.look_up(store, attempt_request(workspace, config, name, store=store, predictions=predictions))
    entry = attempt.entry
    sentence = f"attempt {entry.attempt} at this gate split, recorded by {entry.who} at {entry.time}"
    if not attempt.recorded:
        sentence = f"attempt not recorded; this is attempt {entry.attempt} at the examples of this gate split"
    with suppress(MeasurementError):  # the context's attempt is for another split, so it does not apply
        share = attempt_for(read_context(content), config.gate, set=entry.version, split=entry.split)
        if share.fraction < entry.fraction:
            return content, f"{sentence}; context.json has attempt {share.number}, which takes less of alpha"
    return _updated(content, config, attempt, promoted=read_context(content).promoted), sentence


def _updated(content: bytes, config: Config, attempt: attempts.Attempt, *, promoted: Promoted | None) -> bytes:
    """Return a context with this attempt and this promoted version; the same bytes if it has them already."""
    entry = attempt.entry
    check_fraction(entry.fraction, split=entry.split)
    # An empty context means a first attempt, so the graph's verdict on a first attempt is the one that promotion uses.
    plain = attempt.is_plain_first and config.gate.planned_attempts >= entry.planned
    described = Attempt(
        set=entry.version, split=entry.split, number=entry.attempt, fraction=entry.fraction, left=entry.left
    )
    current = read_context(content)
    updated = current.model_copy(update={"attempt": None if plain else described, "promoted": promoted})
    return content if updated == current else to_json(updated.model_dump(mode="json", exclude_none=True))


def reserve_attempt(
    workspace: Workspace,
    config: Config,
    name: str,
    *,
    store: RegistryStore,
    actor: Actor,
    fresh: str = "",
    refuse_exhausted: bool = True,
) -> attempts.Attempt:
    """Record the attempt at the gate split; a second call for the same set and evaluation records nothing.

    Call it when the set exists and before anybody sees its predictions.

    Parameters
    ----------
    refuse_exhausted : whether to raise Undecided if earlier attempts have used up alpha
    """
    check_private_predictions(config)
    request = attempt_request(workspace, config, name, store=store)
    return attempts.reserve(store, request, fresh=fresh, refuse_exhausted=refuse_exhausted, actor=actor)


def context_of_first_attempt(workspace: Workspace) -> bytes:
    """Return context.json without an attempt and without a promoted version. A verdict by it must not be a pass.

    Only passes share alpha. A violation may be established at the level of a first attempt after any number of others.
    """
    current = read_context(require_file(workspace.context, made_by="echo {} > context.json").read_bytes())
    updated = current.model_copy(update={"attempt": None, "promoted": None})
    return to_json(updated.model_dump(mode="json", exclude_none=True))


def _judged_predictions(store: RegistryStore, entry: Entry) -> bytes:
    """Return the predictions that the entry's verdict was computed from."""
    assert entry.verdict is not None
    verdict = Verdict.from_json(fetch(store, evidence_key(entry.version, "verdicts", entry.verdict), entry.verdict))
    return fetch(store, evidence_key(entry.version, "predictions", verdict.predictions), verdict.predictions)
