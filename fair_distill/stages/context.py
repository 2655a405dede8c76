"""What a verdict needs from the registry: the attempt, reserved before predictions are looked at, and what is promoted.

The registry never feeds back into the graph: `gate reserve` writes context.json, a declared file, and promotion makes
the same context for itself.
"""

from dataclasses import dataclass
from datetime import date

from fair_distill.config import Config, checked
from fair_distill.errors import ConfigError
from fair_distill.files import parse_json, require_file, sha256, to_json, write_bytes
from fair_distill.gate.policy import PROMOTED, Attempt, Promoted, Waiver, check_waivers, read_context
from fair_distill.gate.predictions import Predictions
from fair_distill.gate.verdict import Verdict
from fair_distill.registry import attempts
from fair_distill.registry.actor import Actor
from fair_distill.registry.channels import in_force, previous
from fair_distill.registry.entry import Entry
from fair_distill.registry.integrity import fetch
from fair_distill.registry.layout import evidence_key
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.manifest import read_version
from fair_distill.registry.store import RegistryStore
from fair_distill.registry.writer import open_to_write
from fair_distill.stages.set_record import known, made_by
from fair_distill.statements import Signer
from fair_distill.workspace import Workspace


@dataclass(frozen=True)
class Known:
    """What the registry knows of a set to be judged.

    Attributes
    ----------
    attempt : the number that was reserved
    context : context.json
    promoted : the predictions of what is promoted, where the policy compares to them
    split : SHA-256 of the gate split that the attempt was reserved on
    """

    attempt: int
    context: bytes
    promoted: bytes | None
    split: str


def reserve(
    workspace: Workspace, config: Config, name: str, channel: str, *, registry: str, actor: Actor, fresh: str = ""
) -> Known:
    """Enter the attempt at the gate split; write what the registry knows to context.json, for the stages to judge by.

    To be called when the set is there and nobody has looked at its predictions. Waivers in context.json stay.

    Parameters
    ----------
    channel : what is in force there is what is promoted
    fresh : why no example of the split was ever asked, see `registry.attempts`
    """
    found = known_of(workspace, config, name, channel, store=open_to_write(registry), actor=actor, fresh=fresh)
    if found.promoted is not None:
        write_bytes(workspace.context.with_name("promoted.parquet"), found.promoted)
    if found.context != workspace.context.read_bytes():
        write_bytes(workspace.context, found.context)
    return found


def known_of(
    workspace: Workspace,
    config: Config,
    name: str,
    channel: str,
    *,
    store: RegistryStore,
    actor: Actor,
    fresh: str = "",
) -> Known:
    """Reserve the attempt and return what the registry then knows; context.json itself where it says the same."""
    content = require_file(workspace.context, made_by="echo {} > context.json").read_bytes()
    said = read_context(content)
    version, split, number = reserve_attempt(workspace, config, name, store=store, actor=actor, fresh=fresh)
    promoted, predictions = None, None
    if any(limit.over == PROMOTED for limit in config.gate.limits):
        entry = _in_force(read_ledger(store, config.dataset), channel, version)
        if entry is not None:
            predictions = _judged_by(store, entry)
            promoted = Promoted(version=entry.version, predictions=sha256(predictions))
    # A first attempt is what an empty context means: the verdict of the graph stays the one that is promoted on.
    attempt = None if number == 1 else Attempt(set=version, split=split, number=number)
    made = said.model_copy(update={"attempt": attempt, "promoted": promoted})
    same = content if made == said else to_json(made.model_dump(mode="json", exclude_none=True))
    return Known(number, same, predictions, split)


def reserve_attempt(
    workspace: Workspace, config: Config, name: str, *, store: RegistryStore, actor: Actor, fresh: str = ""
) -> tuple[str, str, int]:
    """Enter the attempt on the gate split, once for a set however often it is called.

    Call it when the set exists and nobody has seen its predictions.

    Returns
    -------
    tuple
        The version, the SHA-256 of the gate split, and the attempt's number.
    """
    known(config, name)
    manifest, _ = read_version(workspace.set(name), made_by=made_by(config, name))
    split = _split(workspace, name)
    number = attempts.reserve(
        store,
        config.dataset,
        manifest.version,
        split,
        fresh=fresh,
        actor=actor,
    )
    return manifest.version, split, number


def waive(
    workspace: Workspace,
    config: Config,
    name: str,
    *,
    clause: str,
    who: str,
    approved_by: str,
    why: str,
    expires: date,
    sign: Signer | None = None,
) -> Waiver:
    """Add a waiver of one clause for the present version of a set to context.json, signed by the approver.

    Raises
    ------
    ConfigError
        If the policy has no such clause, the two people are the same, or the policy names approvers and there is no
        signature.
    """
    known(config, name)
    manifest, _ = read_version(workspace.set(name), made_by=made_by(config, name))
    fields = {
        "set": manifest.version,
        "clause": clause,
        "who": who,
        "approved_by": approved_by,
        "why": why,
        "expires": str(expires),
    }
    waiver = checked(Waiver, fields, name="the waiver")
    if sign is not None:
        waiver = waiver.model_copy(update={"envelope": parse_json(sign(waiver.statement), name="the signature")})
    elif config.gate.approvers:
        raise ConfigError(
            f"{config.gate.where}.approvers names keys, so a waiver must be signed; name the approver's key with --key "
            "or FAIR_DISTILL_SIGNING_KEY"
        )
    context = read_context(require_file(workspace.context, made_by="echo {} > context.json").read_bytes())
    context = context.model_copy(update={"waivers": (*context.waivers, waiver)})
    check_waivers(context, config.gate, set=manifest.version)
    write_bytes(workspace.context, to_json(context.model_dump(mode="json", exclude_none=True)))
    return waiver


def _split(workspace: Workspace, name: str) -> str:
    """The gate split's digest; where only predictions are at hand, as in a job that promotes, what they name."""
    if workspace.split("gate").exists():
        return sha256(workspace.split("gate"))
    content = require_file(workspace.predictions(name), made_by=f"fair-distill evaluate {name}").read_bytes()
    return Predictions.from_parquet(content).split


def _in_force(entries: tuple[Entry, ...], channel: str, version: str) -> Entry | None:
    """What a version is to be compared with in a channel; not with itself, where it is there already."""
    entry = in_force(entries, channel)
    return previous(entries, channel) if entry is not None and entry.version == version else entry


def _judged_by(store: RegistryStore, entry: Entry) -> bytes:
    """The predictions that the entry's verdict was made from."""
    assert entry.verdict is not None
    verdict = Verdict.from_json(fetch(store, evidence_key(entry.version, "verdicts", entry.verdict), entry.verdict))
    return fetch(store, evidence_key(entry.version, "predictions", verdict.predictions), verdict.predictions)
