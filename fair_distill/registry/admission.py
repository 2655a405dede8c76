"""Check that a consumer may use a version: its verdict, signatures, approvals and waivers.

A version that is reached through a channel has a verdict that passed. A version that is reached by its number or digest
may have no verdict: then only its bytes are checked.
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
from fair_distill.text import validation_sentence

APPROVALS_VARIABLE = "FAIR_DISTILL_APPROVALS"
_EXAMPLE = "write CHANNEL=NUMBER and the public keys, as in production=2 ed25519:… ed25519:…"


@dataclass(frozen=True)
class Admission:
    """The entries and verdicts by which a version may be used.

    Attributes
    ----------
    entry : the entry in force; None if the version was not reached through a channel
    verdict : the verdict that this entry gives as its ground
    grounds : every promotion of the version with its verdict; with public keys, only those with a signed verdict
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
    subject: str,
) -> Admission:
    """Return the grounds on which a version may be used, or refuse it.

    Parameters
    ----------
    selector : what follows the @ of the reference: a channel, a number or a digest
    pinned : whether the version comes from a lock file, so that the channel may have another version now. The waiver
        and the approvals are then those of the last promotion of the version in the channel
    keys : public keys. If there are any, one of them must have signed the provenance and the verdict
    approvals : the approvals that each channel needs; see `required`
    today : the day on which waivers must be valid; None does not check it
    subject : the version, for messages

    Raises
    ------
    IntegrityError
        If a verdict is missing or did not pass, or a signature or an approval is missing.
    Withdrawn
        If the waiver of the entry in force had expired when the entry was written, or has expired today.
    """
    name = entries[0].name
    grounds = grounds_of(store, entries, version)
    if keys:
        check_signatures(store, name, version, [], keys, subject=subject)
        verdicts = [entry.verdict for entry, _ in grounds if entry.verdict]
        signed = signed_verdicts(store, name, version, verdicts, keys, subject=subject)
        unsigned = [entry for entry, _ in grounds if entry.verdict not in signed]
        grounds = [(entry, verdict) for entry, verdict in grounds if entry not in unsigned]
        _refuse_unsigned(in_force(entries, selector), unsigned, subject=subject)
    entry, verdict = None, None
    if pinned:
        ground = next((pair for pair in reversed(grounds) if pair[0].channel == selector), None)
    else:
        entry = in_force(entries, selector)
        ground = next((pair for pair in grounds if pair[0] == entry), None)
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
    """Return the approvals that each channel needs: the argument, else those in FAIR_DISTILL_APPROVALS.

    The variable is a list of channels, separated by semicolons, such as
    `production=2 ed25519:… ed25519:…; staging=1 ed25519:…`.
    """
    if approvals is not None:
        return approvals
    rules: dict[str, Approvals] = {}
    setting = os.environ.get(APPROVALS_VARIABLE, "")
    for rule in filter(None, map(str.strip, setting.split(";"))):
        channel, _, value = rule.partition("=")
        count, *keys = value.replace(",", " ").split() or [""]
        try:
            rules[channel.strip()] = Approvals(at_least=int(count), by=keys)
        except ValidationError as error:
            raise ConfigError(f"{APPROVALS_VARIABLE}: {rule!r}: {validation_sentence(error)}") from None
        except ValueError:
            raise ConfigError(f"{APPROVALS_VARIABLE}: {rule!r} has no number; {_EXAMPLE}") from None
        if "" in rules:
            raise ConfigError(f"{APPROVALS_VARIABLE}: {rule!r} names no channel; {_EXAMPLE}")
    if setting and not rules:
        raise ConfigError(f"{APPROVALS_VARIABLE} is {setting!r}, which names no channel; {_EXAMPLE}, or unset it")
    return rules


def _refuse_unsigned(entry: Entry | None, unsigned: Sequence[Entry], *, subject: str) -> None:
    if entry is not None and entry in unsigned:
        raise IntegrityError(
            f"{subject}: entry {entry.number} is based on the verdict {entry.verdict or '':.12}…, which none of the "
            "declared keys has signed"
        )


def _refuse_unapproved(store: RegistryStore, version: str, entry: Entry, verdict: Verdict, rule: Approvals) -> None:
    approvers = approved_by(store, entry.name, version, policy=verdict.policy, keys=rule.by)
    if len(approvers) < rule.at_least:
        raise IntegrityError(
            f"{entry.name}@{entry.channel} has {len(approvers)} of the {rule.at_least} approvals required here, under "
            f"the policy {verdict.policy[:12]}… of its verdict. A holder of one of the {len(rule.by)} keys approves it "
            f"with `fair-distill registry approve {entry.name}@sha256:{version} --key FILE`"
        )
