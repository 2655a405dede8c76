"""Take a version back: rollback, demote and revoke. Each writes one ledger entry, with a reason for consumers.

Nothing is removed: all contents stay for audits. Only `erasure` removes contents, for people who must be erased.

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
    on_skip: Callable[[str], object] = lambda line: None,
) -> Entry:
    """Return a channel to its previous version, with one ledger entry.

    Versions that were revoked or demoted are skipped. So are versions that `load` would refuse today: their waiver has
    expired, or their verdict is missing or damaged.

    Parameters
    ----------
    on_skip : called with a line for each version that was skipped because its verdict is not valid today

    Raises
    ------
    Refused
        If no earlier version may be used, or another writer changed the channel during the command. Two people who
        roll back the same bad version must not go back two versions.
    """
    first_read: int | None = None
    faults: dict[int, str] = {}

    def make(entries: tuple[Entry, ...]) -> Draft:
        def usable(entry: Entry) -> bool:
            if entry.number not in faults:
                faults[entry.number] = ground_fault(store, entries, entry, actor.now.date()) or ""
            return not faults[entry.number]

        nonlocal first_read
        last = last_about(entries, channel)
        first_read = last if first_read is None else first_read
        if last != first_read:
            raise Refused(
                f"{name}: {channel} is not rolled back: entry {last} changed it during this command. "
                "Check the channel, and repeat the command if the rollback is still needed"
            )
        target = previous(entries, channel, usable=usable)
        if target is None:
            raise Refused(
                f"{name}: {channel} is not rolled back: no earlier version may be used"
                + "".join(f"; {line}" for line in _lines(entries, faults))
            )
        return actor.draft("rollback", target.version, channel=channel, verdict=target.verdict, reason=reason)

    entry = _once(store, name, make, event="rollback", channel=channel, nonce=actor.nonce)
    for line in _lines(read_ledger(store, name), faults) if any(faults.values()) else ():
        on_skip(line)
    return entry


def demote(store: RegistryStore, name: str, version: str, channel: str, *, reason: str, actor: Actor) -> Entry:
    """Take a version off a channel. The channel then has no version, and consumers receive the reason."""

    def make(entries: tuple[Entry, ...]) -> Draft:
        number, present = version_number(entries, version), current(entries, channel)
        if present != version:
            label = f"v{version_number(entries, present)}" if present else "no version"
            raise Refused(f"{name}: v{number} is not demoted from {channel}: {label} is in force there")
        return actor.draft("demote", version, channel=channel, reason=_required(reason))

    return _once(store, name, make, event="demote", channel=channel, nonce=actor.nonce)


def revoke(store: RegistryStore, name: str, version: str, *, reason: str, actor: Actor) -> Entry:
    """Withdraw a version from all consumers permanently and return the entry. Consumers receive the reason.

    Channels do not change: use `rollback` or `promote` to give them another version.
    """

    def make(entries: tuple[Entry, ...]) -> Draft | None:
        version_number(entries, version)
        if revocation(entries, version):
            return None
        return actor.draft("revoke", version, reason=_required(reason))

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
    """Append an entry unless the operation has written it already. Only the nonce shows whether it has."""

    def draft(entries: tuple[Entry, ...]) -> Draft | None:
        return None if written_by(entries, nonce, event=event, channel=channel) else make(entries)

    entry = append(store, name, draft) or written_by(read_ledger(store, name), nonce, event=event, channel=channel)
    assert entry is not None
    return entry


def _lines(entries: Sequence[Entry], faults: dict[int, str]) -> list[str]:
    versions = {entry.number: entry.version for entry in entries}
    return [f"v{version_number(entries, versions[number])}: {fault}" for number, fault in faults.items() if fault]


def _required(reason: str) -> str:
    if not reason:
        raise ConfigError("the reason is empty; pass --reason, which consumers will read")
    return reason
