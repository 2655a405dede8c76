"""The verbs that take a version back: rollback, demote, revoke. Each is one entry, with a reason for who reads it.

Nothing is removed: the bytes stay for whoever has to look at them.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from fair_distill.errors import ConfigError, Refused
from fair_distill.registry.channels import current, previous, revocation, version_number
from fair_distill.registry.ledger import Draft, Entry, Event, append, read_ledger, timestamp
from fair_distill.registry.store import Store


def rollback(store: Store, name: str, channel: str, *, reason: str, who: str, now: datetime, nonce: str) -> Entry:
    """Return a channel to the version it had before, passing over those revoked or demoted; one entry.

    Raises
    ------
    Refused
        If there is nothing to go back to, or another writer changed the channel meanwhile: two who roll back
        the same bad version are not to go back two.
    """
    seen = _last(read_ledger(store, name), channel)

    def make(entries: tuple[Entry, ...]) -> Draft:
        last = _last(entries, channel)
        if last != seen:
            raise Refused(
                f"{name}: {channel} is not rolled back: entry {last} changed it meanwhile; "
                "look, and repeat the command if it is still wanted"
            )
        target = previous(entries, channel)
        if target is None:
            raise Refused(f"{name}: {channel} is not rolled back: there is no earlier version that may be used")
        return Draft(
            event="rollback",
            version=target.version,
            channel=channel,
            verdict=target.verdict,
            reason=reason,
            who=who,
            time=timestamp(now),
            nonce=nonce,
        )

    return _once(store, name, make, event="rollback", nonce=nonce)


def demote(
    store: Store, name: str, version: str, channel: str, *, reason: str, who: str, now: datetime, nonce: str
) -> Entry:
    """Take a version off a channel. The channel then has none, and tells its consumers why."""

    def make(entries: tuple[Entry, ...]) -> Draft:
        number, there = version_number(entries, version), current(entries, channel)
        if there != version:
            has = f"v{version_number(entries, there)}" if there else "nothing"
            raise Refused(f"{name}: v{number} is not demoted from {channel}: {has} is in force there")
        return Draft(
            event="demote",
            version=version,
            channel=channel,
            reason=_given(reason),
            who=who,
            time=timestamp(now),
            nonce=nonce,
        )

    return _once(store, name, make, event="demote", nonce=nonce)


def revoke(store: Store, name: str, version: str, *, reason: str, who: str, now: datetime, nonce: str) -> Entry:
    """Withdraw a version from every consumer, for good, with a reason that they see; return the tombstone.

    Channels are left as they are: what they get instead is a decision, `rollback` or `promote`.
    """

    def make(entries: tuple[Entry, ...]) -> Draft | None:
        version_number(entries, version)
        if revocation(entries, version):
            return None
        return Draft(event="revoke", version=version, reason=_given(reason), who=who, time=timestamp(now), nonce=nonce)

    entry = append(store, name, make) or revocation(read_ledger(store, name), version)
    assert entry is not None
    return entry


def _once(store: Store, name: str, make: Callable[[tuple[Entry, ...]], Draft], *, event: Event, nonce: str) -> Entry:
    """Append for a command that the state does not show to be done: its nonce does."""
    for entry in read_ledger(store, name):
        if (entry.event, entry.nonce) == (event, nonce):
            return entry
    written = append(store, name, make)
    assert written is not None
    return written


def _last(entries: Sequence[Entry], channel: str) -> int:
    """Return the number of the last entry about a channel, 0 if there is none."""
    return max((entry.number for entry in entries if entry.channel == channel), default=0)


def _given(reason: str) -> str:
    if not reason:
        raise ConfigError("a reason is needed: consumers will read it")
    return reason
