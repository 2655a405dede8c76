"""Chains: append-only lists of numbered entries, each with the SHA-256 of the one before it.

The ledger of a dataset is a chain, and so is the record of attempts of the whole store.

The ledger alone determines what is published, promoted or revoked; `channels` computes it from the entries. A writer
adds an entry by creating the key of its number. If two writers race, one gets the number and the other tries again.

The chain of digests shows entries that were edited, removed, replaced or inserted, and the seal shows damage to the
newest entry. Two attacks need other means. If the newest entries are removed, only a head that is kept elsewhere shows
it. If someone who can write to the store rewrites the whole ledger with new seals, only signatures show it.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import chain, islice
from typing import Any, Generic, TypeVar

from fair_distill.errors import ConfigError, FairDistillError, IntegrityError
from fair_distill.registry.entry import (
    BETWEEN_WRITERS,
    GENESIS,
    ChainEntry,
    Draft,
    Entry,
    check_name,
    entry_fault,
    parse_time,
)
from fair_distill.registry.layout import check_writable
from fair_distill.registry.snapshots import (
    SMALLEST,
    Snapshot,
    list_snapshots,
    plan,
    read_snapshot,
    write_missing,
)
from fair_distill.registry.store import RegistryStore
from fair_distill.storage.store import Absent, Unanswered

_KEY = re.compile(r"([0-9]{12})\.json")
# Of N racers that write m entries each, the unluckiest loses (N - 1)·m numbers.
_TRIES = 1000
_PARALLEL_READS = 16
_UNANSWERED_TRIES = 3


E = TypeVar("E", bound=ChainEntry)


@dataclass(frozen=True)
class Chain(Generic[E]):
    """The location and the format of a chain.

    Attributes
    ----------
    name : the name in the entries, in snapshots and in the memory of this machine
    prefix : the keys of the entries start with it
    title : the name in messages
    parse : reads an entry; the second argument names it in messages
    """

    name: str
    prefix: str
    title: str
    parse: Callable[[bytes, str], E]

    def key(self, number: int) -> str:
        """Return the key of an entry."""
        return f"{self.prefix}{number:012d}.json"


def ledger_of(name: str) -> Chain[Entry]:
    """Return the chain of a dataset's ledger."""
    check_name(name)
    return Chain(
        name, f"ledger/{name}/", f"{name}'s ledger", lambda content, entry: Entry.from_json(content, name=entry)
    )


def names(store: RegistryStore) -> tuple[str, ...]:
    """Return the names of the datasets that have a ledger."""
    folders = (key.removeprefix("ledger/").rpartition("/")[0] for key in store.list("ledger/"))
    return tuple(sorted({folder for folder in folders if folder}))


def read_ledger(
    store: RegistryStore, name: str, *, previous: tuple[Entry, ...] = (), snapshots: bool = True
) -> tuple[Entry, ...]:
    """Return the entries of a dataset, oldest first; see `read_chain`. A name without publications has none."""
    return read_chain(store, ledger_of(name), previous=previous, snapshots=snapshots)


def read_chain(
    store: RegistryStore, source: Chain[E], *, previous: tuple[E, ...] = (), snapshots: bool = True
) -> tuple[E, ...]:
    """Return the entries of a chain, oldest first.

    Parameters
    ----------
    previous : entries that were read before. They are not read again, and the later entries must continue their chain
    snapshots : False to read every entry from its own file

    Raises
    ------
    IntegrityError
        If an entry is missing, damaged, out of order or of another ledger; the message names it.
    """
    name, prefix = source.name, source.prefix
    checked: dict[str, tuple[Any, ...]] | None = getattr(store, "checked_entries", None) if snapshots else None
    previous = previous or (checked or {}).get(name, ())
    after = source.key(len(previous)) if previous else ""
    listed = store.list(prefix, after=after, at_most=SMALLEST if snapshots else None)
    last = max(len(previous), _last_number(source, listed))
    usable: tuple[Snapshot, ...] = ()
    newest = 0
    if snapshots and (len(listed) == SMALLEST or last - len(previous) >= SMALLEST):
        # The newest snapshot shows a minimum length of the ledger, so only the end of a long ledger is listed.
        usable = list_snapshots(store, name)
        newest = max((snapshot.last for snapshot in usable), default=0)
        after = source.key(newest - 1) if newest > len(previous) + 1 else after
        listed = sorted({*listed, *store.list(prefix, after=after)})
        last = max(last, _last_number(source, listed))
    if newest > last:
        raise IntegrityError(
            f"{source.title} ends at entry {last}, but a snapshot has its entries up to {newest}: its newest "
            f"entries are missing. Restore them; if the snapshot is wrong, remove it from snapshots/{name}"
        )
    listing = Listing(frozenset(listed), before=newest)
    try:
        entries = _read_entries(store, source, previous, last, listing, usable)
    except (ConfigError, IntegrityError):
        if not usable:
            raise
        entries = _read_entries(store, source, previous, last, listing, ())
    if checked is not None:
        checked[name] = entries
    return entries


def _last_number(source: Chain[E], keys: Sequence[str]) -> int:
    """Return the highest entry number among keys. Keys in subfolders belong to the datasets of a team."""
    last, prefix = 0, source.prefix
    for key in keys:
        if "/" in key.removeprefix(prefix):
            continue
        match = _KEY.fullmatch(key.removeprefix(prefix))
        if not match or int(match[1]) == 0:
            raise IntegrityError(f"{key} is not an entry of {source.title}; remove the file")
        last = max(last, int(match[1]))
    return last


@dataclass(frozen=True)
class Listing:
    """The keys of a ledger that the store has listed. Entries with a number below `before` were not listed."""

    keys: frozenset[str]
    before: int


def _read_entries(
    store: RegistryStore,
    source: Chain[E],
    previous: tuple[E, ...],
    last: int,
    listing: Listing,
    snapshots: Sequence[Snapshot],
) -> tuple[E, ...]:
    """Return the entries up to `last`, after checking that each follows the one before it."""

    def contents(step: Snapshot | int) -> list[bytes]:
        if isinstance(step, Snapshot):
            return read_snapshot(store, source.name, step)
        key = source.key(step)
        try:
            if step < listing.before or key in listing.keys or store.exists(key):
                return [store.read(key)]
        except Absent:
            pass
        raise IntegrityError(f"entry {step} of {source.title} is missing, and later entries exist")

    entries = list(previous)
    steps = plan(snapshots, len(previous) + 1, last)
    # Entries are read by number: while others append, a listing may have the newest entry but not the one before it.
    # Some are read in parallel, because S3 needs tens of milliseconds for each. Not all, because an attacker may have
    # created an entry with a very large number.
    with ThreadPoolExecutor(_PARALLEL_READS) as pool:
        while batch := list(islice(steps, _PARALLEL_READS)):
            for content in chain.from_iterable(pool.map(contents, batch)):
                entries.append(_next_entry(content, source, len(entries) + 1, entries))
    return tuple(entries)


class Witness(ABC):
    """A store that remembers the newest entry of each ledger that this machine has read; see `writer.Writer`."""

    @abstractmethod
    def see(self, name: str, entries: tuple[Any, ...]) -> None:
        """Raise IntegrityError unless the chain continues the remembered entry; remember its newest entry."""


def read_to_write(store: RegistryStore, name: str, *, previous: tuple[Entry, ...] = ()) -> tuple[Entry, ...]:
    """Return the ledger for a command that writes, after checking it against what this machine remembers."""
    return read_chain_to_write(store, ledger_of(name), previous=previous)


def read_chain_to_write(store: RegistryStore, source: Chain[E], *, previous: tuple[E, ...] = ()) -> tuple[E, ...]:
    """Return the entries of a chain for a command that writes; see `read_to_write`."""
    entries = read_chain(store, source, previous=previous)
    if not isinstance(store, Witness):
        return entries
    while True:
        try:
            store.see(source.name, entries)
            return entries
        except IntegrityError:
            # Another process on this machine may have appended and remembered an entry after this one read the chain.
            shorter, entries = len(entries), read_chain(store, source, previous=entries)
            if len(entries) == shorter:
                raise


def append(
    store: RegistryStore,
    name: str,
    make: Callable[[tuple[Entry, ...]], Draft | None],
) -> Entry | None:
    """Append the draft that `make` returns for the current ledger, and return its entry.

    If another writer takes the number first, `make` is called again with the new ledger. So it always decides on the
    state that its entry follows.

    Parameters
    ----------
    make : returns the draft, or None to write nothing. It may raise to give up

    Returns
    -------
    Entry or None
        The entry that was written; None if `make` returned None.

    Raises
    ------
    FairDistillError
        If other writers were faster too often.
    Unanswered
        If it is unknown whether the entry was written.
    """

    def numbered(entries: tuple[Entry, ...]) -> Entry | None:
        draft = make(entries)
        return None if draft is None else _numbered(draft, name, entries)

    return append_to(store, ledger_of(name), numbered)


def append_to(store: RegistryStore, target: Chain[E], make: Callable[[tuple[E, ...]], E | None]) -> E | None:
    """Append the entry that `make` returns for the current chain; see `append`. `make` numbers its entry."""
    entries: tuple[E, ...] = ()
    for _ in range(_TRIES):
        entries = read_chain_to_write(store, target, previous=entries)
        entry = make(entries)
        if entry is None:
            return None
        key, content = target.key(entry.number), entry.to_json()
        check_writable(key, content)
        if _write_entry(store, key, content):
            if isinstance(store, Witness):
                with suppress(FairDistillError):  # the entry is written, even if it cannot be remembered here
                    store.see(target.name, (*entries, entry))
            write_missing(store, target.name, (*entries, entry))
            return entry
    raise FairDistillError(
        f"{target.name}: other writers were faster {_TRIES} times, up to entry {len(entries) + 1}; "
        "nothing was written. Repeat the command"
    )


def _numbered(draft: Draft, name: str, entries: Sequence[Entry]) -> Entry:
    fields = {field: getattr(draft, field) for field in Draft.__dataclass_fields__}
    entry = Entry(**fields, number=1, prev=GENESIS, name=name)
    fault = entry_fault(entry)
    if fault:
        raise ConfigError(f"{name}: the ledger entry is not valid: {fault}")
    if not entries:
        return entry
    before = entries[-1]
    return replace(entry, number=before.number + 1, prev=before.digest, time=entry_time(entry.time, before.time))


def entry_time(writer: str, before: str) -> str:
    """Return the writer's time; the time of the entry before if that is later by at most BETWEEN_WRITERS.

    So the times of a ledger never decrease while all clocks are right to five minutes. The previous release requires
    this. An entry that is further ahead has a wrong clock, and the next entry does not copy its time.
    """
    ahead = parse_time(before) - parse_time(writer)
    return before if timedelta(0) < ahead <= BETWEEN_WRITERS else writer


def _write_entry(store: RegistryStore, key: str, content: bytes) -> bool:
    """Write an entry. Return False if another entry has its number.

    The bytes contain the nonce of the operation. If the key has these bytes, this call wrote them, perhaps in an
    attempt whose answer was lost.
    """
    for _ in range(_UNANSWERED_TRIES):
        try:
            if store.create(key, content):
                return True
        except Unanswered as lost:
            try:
                if not store.exists(key):
                    continue
            except (ConfigError, Unanswered):  # the store is unreachable, so it is unknown whether it wrote
                raise lost from None
        return store.read(key) == content
    raise Unanswered(f"the store did not say whether {key} was written; repeat the command as the same operation")


def _next_entry(content: bytes, source: Chain[E], number: int, before: Sequence[E]) -> E:
    """Return the next entry, after checking that it follows the entries before it."""
    entry = source.parse(content, f"entry {number} of {source.title} ({source.key(number)})")
    prev = before[-1].digest if before else GENESIS
    if (entry.name, entry.number) != (source.name, number):
        raise IntegrityError(
            f"entry {number} of {source.title} is entry {entry.number} of {entry.name}'s ledger; it was replaced"
        )
    if entry.prev != prev:
        raise IntegrityError(
            f"entry {number} of {source.title} follows {entry.prev[:12]}…, but the entry before it is {prev[:12]}…"
        )
    return entry
