"""Attempts in the ledgers of datasets, as earlier releases recorded them: a version and a split, without examples.

Splits form families there, and each family has one alpha. A split that was not used before joins the family of the
previous split, because it most likely grew out of it, unless the user stated that its examples are fresh.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fair_distill.errors import IntegrityError
from fair_distill.gate.verdict import Verdict
from fair_distill.registry.entry import Entry


def attempt_number(entries: Sequence[Entry], version: str, split: str) -> int | None:
    """Return the number of an attempt within the family of its split, from 1; None if it is not reserved."""
    counts: dict[int, int] = {}
    for entry, family in _families(entries):
        counts[family] = counts.get(family, 0) + 1
        if (entry.version, entry.split) == (version, split):
            return counts[family]
    return None


@dataclass(frozen=True)
class LegacyAttempt:
    """An attempt in a ledger.

    Attributes
    ----------
    entry : its entry
    number : its number within its family, from 1
    is_related : whether it is in the family of the split in question
    """

    entry: Entry
    number: int
    is_related: bool


def legacy_attempts(entries: Sequence[Entry], split: str) -> list[LegacyAttempt]:
    """Return all attempts in a ledger, oldest first. A new split belongs to the family of the last attempt."""
    families = _families(entries)
    if not families:
        return []
    related = next((family for entry, family in families if entry.split == split), families[-1][1])
    counts: dict[int, int] = {}
    attempts = []
    for entry, family in families:
        counts[family] = counts.get(family, 0) + 1
        attempts.append(LegacyAttempt(entry, counts[family], family == related))
    return attempts


def check_attempt(entries: Sequence[Entry], verdict: Verdict) -> None:
    """Raise IntegrityError unless the ledger has the attempt that a verdict of an earlier release names.

    A version without any attempt in the ledger is accepted: older releases did not record attempts. The attempts of
    current verdicts, which name a fraction, are in the record of attempts; `verify` checks them.
    """
    attempts = [entry for entry in entries if (entry.event, entry.version) == ("attempt", verdict.set)]
    if not attempts or verdict.fraction is not None:
        return
    number = attempt_number(entries, verdict.set, verdict.split)
    if number is None:
        raise IntegrityError(
            f"the verdict on {verdict.set[:12]}… is about the gate split {verdict.split[:12]}…; the ledger of "
            f"{attempts[0].name} has attempts of this version on other splits only"
        )
    if number != verdict.attempt:
        raise IntegrityError(
            f"the verdict on {verdict.set[:12]}… is attempt {verdict.attempt}; in the ledger of {attempts[0].name} it "
            f"is attempt {number}"
        )


def _families(entries: Sequence[Entry]) -> list[tuple[Entry, int]]:
    """Return every attempt with the number of its split's family."""
    attempts: list[tuple[Entry, int]] = []
    families: dict[str, int] = {}
    for entry in entries:
        if entry.event != "attempt":
            continue
        assert entry.split is not None
        if entry.split not in families:
            grown = bool(attempts) and not entry.reason
            families[entry.split] = attempts[-1][1] if grown else len(attempts)
        attempts.append((entry, families[entry.split]))
    return attempts
