"""The ledger of a dataset: an append-only list of numbered entries, each with the SHA-256 of the one before it.

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

from fair_distill.errors import ConfigError, FairDistillError, IntegrityError
from fair_distill.registry.entry import (
    BETWEEN_WRITERS,
    GENESIS,
    Draft,
    Entry,
    check_name,
    entry_fault,
    entry_key,
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
_AT_ONCE = 16  # requests for entries under way
_UNANSWERED_TRIES = 3


def names(store: RegistryStore) -> tuple[str, ...]:
    """Return the datasets that have a ledger."""
    folders = (key.removeprefix("ledger/").rpartition("/")[0] for key in store.list("ledger/"))
    return tuple(sorted({folder for folder in folders if folder}))


def read_ledger(
    store: RegistryStore, name: str, *, known: tuple[Entry, ...] = (), snapshots: bool = True
) -> tuple[Entry, ...]:
    """Return the entries of a dataset, oldest first; none if nothing was ever published under the name.

    Parameters
    ----------
    known : entries read before; they are not read again, but the entries after them must continue their chain
    snapshots : False to read every entry from its own file

    Raises
    ------
    IntegrityError
        Naming the entry that is missing, damaged, out of order or of another ledger.
    """
    prefix = f"ledger/{check_name(name)}/"
    checked: dict[str, tuple[Entry, ...]] | None = getattr(store, "checked_entries", None) if snapshots else None
    known = known or (checked or {}).get(name, ())
    after = entry_key(name, len(known)) if known else ""
    listed = store.list(prefix, after=after, at_most=SMALLEST if snapshots else None)
    last = max(len(known), _last_number(name, prefix, listed))
    taken: tuple[Snapshot, ...] = ()
    newest = 0
    if snapshots and (len(listed) == SMALLEST or last - len(known) >= SMALLEST):
        # Snapshots show how long the ledger is at least: of a long ledger, only the end is listed.
        taken = list_snapshots(store, name)
        newest = max((snapshot.last for snapshot in taken), default=0)
        after = entry_key(name, newest - 1) if newest > len(known) + 1 else after
        listed = sorted({*listed, *store.list(prefix, after=after)})
        last = max(last, _last_number(name, prefix, listed))
    if newest > last:
        raise IntegrityError(
            f"the ledger of {name} ends at entry {last}, and there is a snapshot of its entries up to {newest}: its "
            f"newest entries are missing. Restore them; if the snapshot is wrong, remove it from snapshots/{name}"
        )
    listing = Listing(frozenset(listed), before=newest)
    try:
        entries = _read_entries(store, name, known, last, listing, taken)
    except (ConfigError, IntegrityError):
        if not taken:
            raise
        entries = _read_entries(store, name, known, last, listing, ())
    if checked is not None:
        checked[name] = entries
    return entries


def _last_number(name: str, prefix: str, keys: Sequence[str]) -> int:
    """Return the highest number among a ledger's keys; those of a team's datasets are further down."""
    last = 0
    for key in keys:
        if "/" in key.removeprefix(prefix):
            continue
        match = _KEY.fullmatch(key.removeprefix(prefix))
        if not match or int(match[1]) == 0:
            raise IntegrityError(f"{key} has no place in the ledger of {name}")
        last = max(last, int(match[1]))
    return last


@dataclass(frozen=True)
class Listing:
    """The keys of a ledger that the store has listed; entries with a number below `before` were not asked for."""

    keys: frozenset[str]
    before: int


def _read_entries(
    store: RegistryStore,
    name: str,
    known: tuple[Entry, ...],
    last: int,
    listing: Listing,
    snapshots: Sequence[Snapshot],
) -> tuple[Entry, ...]:
    """Return the entries up to `last`, each checked to follow on the one before."""

    def contents(step: Snapshot | int) -> list[bytes]:
        if isinstance(step, Snapshot):
            return read_snapshot(store, name, step)
        key = entry_key(name, step)
        try:
            if step < listing.before or key in listing.keys or store.exists(key):
                return [store.read(key)]
        except Absent:
            pass
        raise IntegrityError(f"entry {step} of {name}'s ledger is missing, though later ones are there")

    entries = list(known)
    steps = plan(snapshots, len(known) + 1, last)
    # By number and not by listing: while others append, a listing may show the newest but not the one before. Some
    # at a time, since an S3 takes tens of milliseconds for each; not all, since the last number may be a forger's.
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while batch := list(islice(steps, _AT_ONCE)):
            for content in chain.from_iterable(pool.map(contents, batch)):
                entries.append(_next_entry(content, name, len(entries) + 1, entries))
    return tuple(entries)


class Witness(ABC):
    """A store that knows how far this machine saw each ledger go before. See `writing.Writer`."""

    @abstractmethod
    def see(self, name: str, entries: tuple[Entry, ...]) -> None:
        """Raise IntegrityError unless the ledger continues what was seen of it before."""


def read_to_write(store: RegistryStore, name: str, *, known: tuple[Entry, ...] = ()) -> tuple[Entry, ...]:
    """Return the ledger for a command that will write, once it continues what this machine saw of it before."""
    entries = read_ledger(store, name, known=known)
    if not isinstance(store, Witness):
        return entries
    while True:
        try:
            store.see(name, entries)
            return entries
        except IntegrityError:
            # Another process of this machine may have appended, and remembered, after this one read the ledger.
            shorter, entries = len(entries), read_ledger(store, name, known=entries)
            if len(entries) == shorter:
                raise


def append(
    store: RegistryStore,
    name: str,
    make: Callable[[tuple[Entry, ...]], Draft | None],
) -> Entry | None:
    """Add what `make` returns for the ledger as it is; None, and nothing is written, if that is None.

    If another writer was first, `make` is asked again with the ledger that now is: it decides on the state its
    entry will follow, whatever the race. `make` may raise to give up.
    """
    check_name(name)
    entries: tuple[Entry, ...] = ()
    for _ in range(_TRIES):
        entries = read_to_write(store, name, known=entries)
        draft = make(entries)
        if draft is None:
            return None
        entry = _numbered(draft, name, entries)
        key, content = entry_key(name, entry.number), entry.to_json()
        check_writable(key, content)
        if _landed(store, key, content):
            if isinstance(store, Witness):
                with suppress(FairDistillError):  # the entry is written, whether or not it can be remembered here
                    store.see(name, (*entries, entry))
            write_missing(store, name, (*entries, entry))
            return entry
    raise FairDistillError(
        f"{name}: other writers were first {_TRIES} times, up to entry {len(entries) + 1}; "
        "nothing was written, repeat the command"
    )


def _numbered(draft: Draft, name: str, entries: Sequence[Entry]) -> Entry:
    fields = {field: getattr(draft, field) for field in Draft.__dataclass_fields__}
    entry = Entry(**fields, number=1, prev=GENESIS, name=name)
    fault = entry_fault(entry)
    if fault:
        raise ConfigError(f"{name}: this cannot be entered in the ledger: {fault}")
    if not entries:
        return entry
    before = entries[-1]
    return replace(entry, number=before.number + 1, prev=before.digest, time=_entry_time(entry.time, before.time))


def _entry_time(writer: str, before: str) -> str:
    """Return the writer's time, or the time of the entry before if the two clocks differ by as much as they may.

    So the times of a ledger never go back while all clocks are right to five minutes, which the previous release
    requires. An entry that is further ahead has a wrong clock: the next entry does not copy its time.
    """
    ahead = parse_time(before) - parse_time(writer)
    return before if timedelta(0) < ahead <= BETWEEN_WRITERS else writer


def _landed(store: RegistryStore, key: str, content: bytes) -> bool:
    """Write an entry, or say that another has its number.

    The bytes carry the command's nonce, so finding them at the key means that this call put them there, be it
    in an attempt whose answer was lost.
    """
    for _ in range(_UNANSWERED_TRIES):
        try:
            if store.create(key, content):
                return True
        except Unanswered as lost:
            try:
                if not store.exists(key):
                    continue
            except (ConfigError, Unanswered):  # the store is gone altogether: what is not known is whether it wrote
                raise lost from None
        return store.read(key) == content
    raise Unanswered(f"the store did not say whether {key} was written; repeat the command as the same operation")


def _next_entry(content: bytes, name: str, number: int, before: Sequence[Entry]) -> Entry:
    """Return an entry that follows on those before it."""
    entry = Entry.from_json(content, name=f"entry {number} of {name}'s ledger ({entry_key(name, number)})")
    prev = before[-1].digest if before else GENESIS
    if (entry.name, entry.number) != (name, number):
        raise IntegrityError(
            f"entry {number} of {name}'s ledger is entry {entry.number} of {entry.name}'s; it has been exchanged"
        )
    if entry.prev != prev:
        raise IntegrityError(
            f"entry {number} of {name}'s ledger follows on {entry.prev[:12]}…, but the entry before it is {prev[:12]}…"
        )
    return entry
