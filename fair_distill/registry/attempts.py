"""How often a gate split was asked: attempts, read off the ledger's entries, and reserved before an answer is seen.

An attempt is a distinct pair of version and gate split. The k-th may take a share of alpha that falls with k
(`gate.policy.alpha_at`), so that all of them together stay below it. Judging a pair again is no new attempt.

Splits make families, and a family has one alpha. A split that was never asked before has most likely grown out of the
one before it, and shares examples with it: it joins that one's family, and its attempts are counted on. Only somebody
who says, by name and in the ledger, that no example of it was ever asked begins a new one.
"""

from collections.abc import Sequence

from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.gate.verdict import Verdict
from fair_distill.registry.actor import Actor
from fair_distill.registry.entry import Draft, Entry
from fair_distill.registry.ledger import append, read_ledger
from fair_distill.registry.store import RegistryStore


def attempt_number(entries: Sequence[Entry], version: str, split: str) -> int | None:
    """Return which attempt at its split's family a pair of version and split is, from 1; None if it is none yet."""
    counts: dict[int, int] = {}
    for entry, family in _families(entries):
        counts[family] = counts.get(family, 0) + 1
        if (entry.version, entry.split) == (version, split):
            return counts[family]
    return None


def check_attempt(entries: Sequence[Entry], verdict: Verdict) -> None:
    """Raise IntegrityError if the ledger has attempts of a verdict's version, but not this one on this split.

    A version without any attempt in the ledger is of a release that did not record them.
    """
    attempts = [entry for entry in entries if (entry.event, entry.version) == ("attempt", verdict.set)]
    if not attempts:
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


def reserve(store: RegistryStore, name: str, version: str, split: str, *, fresh: str = "", actor: Actor) -> int:
    """Enter an attempt, unless it is there, and return its number. Of two at once each gets a number of its own.

    Parameters
    ----------
    fresh : why no example of the split was ever asked, which begins a new alpha

    Raises
    ------
    ConfigError
        If the split is said to be fresh and was asked before.
    """

    def make(entries: tuple[Entry, ...]) -> Draft | None:
        asked = [entry for entry, _ in _families(entries) if entry.split == split]
        if fresh and asked and not (asked[0].version == version and asked[0].reason):
            raise ConfigError(
                f"the split {split[:12]}… is not fresh: it was asked at {asked[0].time} by {asked[0].who}"
            )
        if attempt_number(entries, version, split) is not None:
            return None
        return actor.draft("attempt", version, split=split, reason=fresh)

    append(store, name, make)
    number = attempt_number(read_ledger(store, name), version, split)
    assert number is not None
    return number


def _families(entries: Sequence[Entry]) -> list[tuple[Entry, int]]:
    """Return every attempt with the number of its split's family."""
    found: list[tuple[Entry, int]] = []
    of_split: dict[str, int] = {}
    for entry in entries:
        if entry.event != "attempt":
            continue
        assert entry.split is not None
        if entry.split not in of_split:
            grown = bool(found) and not entry.reason
            of_split[entry.split] = found[-1][1] if grown else len(found)
        found.append((entry, of_split[entry.split]))
    return found
