"""The commands that take a version back: rollback, demote, revoke. Each writes one entry, with a reason for consumers.

Nothing is removed: the bytes stay for audits.

Each entry carries the operation id of its actor, `actor.nonce`. If the answer to a write was lost, the same operation
finds its entry and writes no second one. A new id is a new operation.
"""

from collections.abc import Callable, Sequence

from fair_distill.errors import ConfigError, Refused
from fair_distill.registry.actor import Actor
from fair_distill.registry.channels import current, last_about, previous, revocation, version_number, written_by
from fair_distill.registry.entry import Draft, Entry, Event
from fair_distill.registry.integrity import ground_fault
from fair_distill.registry.ledger import append, read_ledger
from fair_distill.registry.store import RegistryStore


def rollback(
    store: RegistryStore,
    name: str,
    channel: str,
    *,
    reason: str,
    actor: Actor,
    passed_over: Callable[[str], object] = lambda line: None,
) -> Entry:
    """Return a channel to the version it had before; one entry.

    Versions that were revoked or demoted are passed over. So are versions whose ground does not hold today: their
    verdict rests on a waiver that has expired, or is missing or damaged. `load` would refuse them.

    Parameters
    ----------
    passed_over : receives a line for each version that was passed over because its ground does not hold

    Raises
    ------
    Refused
        If no earlier version may be used, or another writer changed the channel meanwhile: two people who roll back
        the same bad version must not go back two versions.
    """
    seen: int | None = None
    faults: dict[int, str] = {}

    def make(entries: tuple[Entry, ...]) -> Draft:
        def usable(entry: Entry) -> bool:
            if entry.number not in faults:
                faults[entry.number] = ground_fault(store, entries, entry, actor.now.date()) or ""
            return not faults[entry.number]

        nonlocal seen
        last = last_about(entries, channel)
        seen = last if seen is None else seen
        if last != seen:
            raise Refused(
                f"{name}: {channel} is not rolled back: entry {last} changed it meanwhile; "
                "look, and repeat the command if it is still wanted"
            )
        target = previous(entries, channel, usable=usable)
        if target is None:
            raise Refused(
                f"{name}: {channel} is not rolled back: there is no earlier version that may be used"
                + "".join(f"; {line}" for line in _lines(entries, faults))
            )
        return actor.draft("rollback", target.version, channel=channel, verdict=target.verdict, reason=reason)

    entry = _once(store, name, make, event="rollback", channel=channel, nonce=actor.nonce)
    for line in _lines(read_ledger(store, name), faults) if any(faults.values()) else ():
        passed_over(line)
    return entry


def demote(store: RegistryStore, name: str, version: str, channel: str, *, reason: str, actor: Actor) -> Entry:
    """Take a version off a channel. The channel then has none, and tells its consumers why."""

    def make(entries: tuple[Entry, ...]) -> Draft:
        number, there = version_number(entries, version), current(entries, channel)
        if there != version:
            has = f"v{version_number(entries, there)}" if there else "nothing"
            raise Refused(f"{name}: v{number} is not demoted from {channel}: {has} is in force there")
        return actor.draft("demote", version, channel=channel, reason=_given(reason))

    return _once(store, name, make, event="demote", channel=channel, nonce=actor.nonce)


def revoke(store: RegistryStore, name: str, version: str, *, reason: str, actor: Actor) -> Entry:
    """Withdraw a version from every consumer, for good, with a reason that they see; return the tombstone.

    Channels are left as they are: `rollback` or `promote` gives them another version.
    """

    def make(entries: tuple[Entry, ...]) -> Draft | None:
        version_number(entries, version)
        if revocation(entries, version):
            return None
        return actor.draft("revoke", version, reason=_given(reason))

    entry = append(store, name, make) or revocation(read_ledger(store, name), version)
    assert entry is not None
    return entry


def _once(
    store: RegistryStore,
    name: str,
    make: Callable[[tuple[Entry, ...]], Draft],
    *,
    event: Event,
    channel: str,
    nonce: str,
) -> Entry:
    """Append for a command that the state does not show to be done: its nonce does."""

    def draft(entries: tuple[Entry, ...]) -> Draft | None:
        return None if written_by(entries, nonce, event=event, channel=channel) else make(entries)

    entry = append(store, name, draft) or written_by(read_ledger(store, name), nonce, event=event, channel=channel)
    assert entry is not None
    return entry


def _lines(entries: Sequence[Entry], faults: dict[int, str]) -> list[str]:
    versions = {entry.number: entry.version for entry in entries}
    return [f"v{version_number(entries, versions[number])}: {fault}" for number, fault in faults.items() if fault]


def _given(reason: str) -> str:
    if not reason:
        raise ConfigError("a reason is needed: consumers will read it")
    return reason
