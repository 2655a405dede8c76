"""What a consumer requires of the way by which it reaches a version: verdict, signatures, approvals, waivers.

A channel promises that a verdict lets its version pass. A number or a digest promises the bytes alone.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pydantic import ValidationError

from fair_distill.config import Approvals
from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.gate.verdict import Verdict
from fair_distill.registry.approvals import approved_by
from fair_distill.registry.channels import in_force
from fair_distill.registry.entry import Entry
from fair_distill.registry.integrity import check_signatures, grounds_of, refuse_expired, refuse_late, signed_verdicts
from fair_distill.registry.store import RegistryStore

APPROVALS = "FAIR_DISTILL_APPROVALS"
_EXAMPLE = "write CHANNEL=NUMBER and the public keys, as in production=2 ed25519:… ed25519:…"


@dataclass(frozen=True)
class Admission:
    """By which entries a version may be used.

    Attributes
    ----------
    entry : the entry in force; None if the version was not reached through a channel
    verdict : the ground of that entry
    grounds : every promotion of the version with its verdict; with keys, those whose verdict is signed
    """

    entry: Entry | None
    verdict: Verdict | None
    grounds: list[tuple[Entry, Verdict]]


def admit(
    store: RegistryStore,
    entries: Sequence[Entry],
    version: str,
    selector: str,
    *,
    pinned: bool = False,
    keys: Sequence[str] = (),
    approvals: Mapping[str, Approvals] | None = None,
    today: date | None = None,
    what: str,
) -> Admission:
    """Return the grounds on which a version may be used, or refuse.

    Parameters
    ----------
    selector : what follows the @ of the reference: a channel, a number or a digest
    pinned : the version comes from a lock file, so the channel may have another one now. The waiver and the approvals
        are then those of the last promotion of the version in the channel
    today : the day on which a waiver must still be good

    Raises
    ------
    IntegrityError
        If a verdict is missing or does not let the version pass, or a signature or an approval is missing.
    Withdrawn
        If the entry in force rested on a waiver that had expired, or the waiver has expired today.
    """
    name = entries[0].name
    grounds = grounds_of(store, entries, version)
    if keys:
        check_signatures(store, name, version, [], keys, what=what)
        verdicts = [entry.verdict for entry, _ in grounds if entry.verdict]
        signed = signed_verdicts(store, name, version, verdicts, keys, what=what)
        unsigned = [entry for entry, _ in grounds if entry.verdict not in signed]
        grounds = [(entry, verdict) for entry, verdict in grounds if entry not in unsigned]
        _refuse_unsigned(in_force(entries, selector), unsigned, what=what)
    entry, verdict = None, None
    if pinned:
        ground = next((one for one in reversed(grounds) if one[0].channel == selector), None)
    else:
        entry = in_force(entries, selector)
        ground = next((one for one in grounds if one[0] == entry), None)
        verdict = ground[1] if ground else None
        if ground:
            refuse_late(*ground)
    if ground and today:
        refuse_expired(*ground, today)
    rule = required(approvals).get(selector)
    if ground and rule:
        _refuse_unapproved(store, version, *ground, rule)
    return Admission(entry, verdict, grounds)


def required(approvals: Mapping[str, Approvals] | None) -> Mapping[str, Approvals]:
    """Return the approvals that each channel needs: as given, else those in FAIR_DISTILL_APPROVALS.

    The variable lists channels, separated by semicolons: `production=2 ed25519:… ed25519:…; staging=1 ed25519:…`.
    """
    if approvals is not None:
        return approvals
    rules: dict[str, Approvals] = {}
    said = os.environ.get(APPROVALS, "")
    for rule in filter(None, map(str.strip, said.split(";"))):
        channel, _, value = rule.partition("=")
        count, *keys = value.replace(",", " ").split() or [""]
        try:
            rules[channel.strip()] = Approvals(at_least=int(count), by=keys)
        except ValidationError as error:
            raise ConfigError(f"{APPROVALS}: {rule!r}: {error.errors()[0]['msg']}") from None
        except ValueError:
            raise ConfigError(f"{APPROVALS}: {rule!r} has no number; {_EXAMPLE}") from None
        if "" in rules:
            raise ConfigError(f"{APPROVALS}: {rule!r} names no channel; {_EXAMPLE}")
    if said and not rules:
        raise ConfigError(f"{APPROVALS} is {said!r}, which has no channel; {_EXAMPLE}, or unset it")
    return rules


def _refuse_unsigned(entry: Entry | None, unsigned: Sequence[Entry], *, what: str) -> None:
    if entry is not None and entry in unsigned:
        raise IntegrityError(
            f"{what}: entry {entry.number} rests on the verdict {entry.verdict or '':.12}…, which is signed by none of "
            "the keys declared"
        )


def _refuse_unapproved(store: RegistryStore, version: str, entry: Entry, verdict: Verdict, rule: Approvals) -> None:
    given = approved_by(store, entry.name, version, policy=verdict.policy, keys=rule.by)
    if len(given) < rule.at_least:
        raise IntegrityError(
            f"{entry.name}@{entry.channel} has {len(given)} of the {rule.at_least} approvals required here, under the "
            f"policy {verdict.policy[:12]}… of its verdict; a holder of one of the {len(rule.by)} keys gives one by "
            f"`fair-distill registry approve {entry.name}@sha256:{version} --key FILE`"
        )
