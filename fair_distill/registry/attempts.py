"""Attempts: how often a gate split was used, and with which share of alpha.

An attempt is a distinct pair of a version and a gate split. It is reserved in the ledger before anyone sees the
predictions. The k-th attempt may use a share of alpha that decreases with k (`gate.policy.alpha_at`), so that all
attempts together use at most alpha. Judging the same pair again is not a new attempt.

Splits form families, and each family has one alpha. A split that was not used before has most likely grown out of the
previous one and shares examples with it. So it joins the family of the previous split, and its attempts count there. A
new family begins only if the user states in the ledger that no example of the split was evaluated before.
"""

from collections.abc import Sequence

from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.gate.verdict import Verdict
from fair_distill.registry.actor import Actor
from fair_distill.registry.entry import Draft, Entry
from fair_distill.registry.ledger import append, read_ledger
from fair_distill.registry.store import RegistryStore


def attempt_number(entries: Sequence[Entry], version: str, split: str) -> int | None:
    """Return the number of an attempt within the family of its split, from 1; None if it is not reserved."""
    counts: dict[int, int] = {}
    for entry, family in _families(entries):
        counts[family] = counts.get(family, 0) + 1
        if (entry.version, entry.split) == (version, split):
            return counts[family]
    return None


def check_attempt(entries: Sequence[Entry], verdict: Verdict) -> None:
    """Raise IntegrityError unless the ledger has the attempt that a verdict names.

    A version without any attempt in the ledger is accepted: older releases did not record attempts.
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
    """Reserve an attempt in the ledger and return its number. A reserved attempt keeps its number.

    Parameters
    ----------
    split : SHA-256 of the gate split
    fresh : the reason why no example of the split was evaluated before. It begins a new family with its own alpha

    Raises
    ------
    ConfigError
        If `fresh` is given and the split was used before.
    """

    def make(entries: tuple[Entry, ...]) -> Draft | None:
        earlier = [entry for entry, _ in _families(entries) if entry.split == split]
        if fresh and earlier and not (earlier[0].version == version and earlier[0].reason):
            raise ConfigError(f"the split {split[:12]}… is not fresh: {earlier[0].who} used it at {earlier[0].time}")
        if attempt_number(entries, version, split) is not None:
            return None
        return actor.draft("attempt", version, split=split, reason=fresh)

    append(store, name, make)
    number = attempt_number(read_ledger(store, name), version, split)
    assert number is not None
    return number


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
