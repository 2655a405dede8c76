"""Snapshots of a ledger: the bytes of many entries in one object, so that a reader makes few requests.

A snapshot has the entries of one block: 1 to 100, 101 to 200, …, and so on in blocks of 400, 1,600 and 6,400. It is a
pure function of these entries and is stored under its own SHA-256, so writers that race write the same object:

    snapshots/<name>/<first entry>-<last entry>/<sha256>.json

A snapshot is never trusted. A reader always reads the newest entry from its own file, and it checks an entry from a
snapshot in the same way as one from a file. Each entry has the SHA-256 of the bytes of the entry before it, so the
newest entry determines every byte of all earlier ones. If a snapshot leaves out or changes an entry, the chain does not
hold, and the reader reads the entries themselves. `verify` reads every entry and compares every snapshot with them.

A writer that has read and checked a ledger writes the snapshots that are missing. This includes ledgers that are older
than snapshots, blocks that an older client completed, and blocks whose writer crashed.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import parse_json, sha256, to_json
from fair_distill.registry.store import RegistryStore
from fair_distill.storage.store import Absent, Unanswered

# With a factor of four, at most three blocks of each smaller size are needed to cover a ledger.
SIZES = (6400, 1600, 400, 100)
SMALLEST = SIZES[-1]
# 100 entries of 64 KiB fit. A larger block that is not this small is not written.
MOST_BYTES = 8 * 2**20
_FORMAT = 1
_KEY = re.compile(r"([0-9]{12})-([0-9]{12})/([0-9a-f]{64})\.json")


@dataclass(frozen=True)
class Snapshot:
    """The key of the object that has the entries `first` to `last` of a ledger."""

    key: str
    first: int
    last: int


class Written(Protocol):
    """A ledger entry, which can return the bytes of its file."""

    def to_json(self) -> bytes: ...


def list_snapshots(store: RegistryStore, name: str) -> tuple[Snapshot, ...]:
    """Return the snapshots of a ledger; none if they may not be listed. No decision depends on a snapshot."""
    prefix = f"snapshots/{name}/"
    try:
        keys = store.list(prefix)
    except ConfigError:
        return ()
    matches = [(key, _KEY.fullmatch(key.removeprefix(prefix))) for key in keys]
    snapshots = [Snapshot(key, int(match[1]), int(match[2])) for key, match in matches if match]
    return tuple(snapshot for snapshot in snapshots if _is_block(snapshot.first, snapshot.last))


def plan(snapshots: Sequence[Snapshot], first: int, last: int) -> Iterator[Snapshot | int]:
    """Yield what to read for the entries `first` to `last`, in order: snapshots, and the numbers of single entries.

    The newest entry is always a single one. A block that has two snapshots is read from smaller ones or from its
    entries, because at least one of the two is wrong.
    """
    blocks: dict[tuple[int, int], list[Snapshot]] = {}
    for snapshot in snapshots:
        blocks.setdefault((snapshot.first, snapshot.last), []).append(snapshot)
    number = first
    while number <= last:
        ends = [number + size - 1 for size in SIZES if (number - 1) % size == 0 and number + size - 1 < last]
        complete = (blocks[number, end][0] for end in ends if len(blocks.get((number, end), ())) == 1)
        step: Snapshot | int = next(complete, number)
        yield step
        number = step.last + 1 if isinstance(step, Snapshot) else number + 1


def read_snapshot(store: RegistryStore, name: str, snapshot: Snapshot) -> list[bytes]:
    """Return the bytes of the entries in a snapshot.

    Raises
    ------
    IntegrityError
        If the object is missing or is not a snapshot of this block. The ledger checks what the entries say.
    """
    try:
        content = store.read(snapshot.key)
    except Absent:
        raise IntegrityError(f"{snapshot.key} was listed and is missing") from None
    if len(content) > MOST_BYTES:
        raise IntegrityError(f"{snapshot.key} has {len(content):,} bytes; a snapshot has at most {MOST_BYTES:,}")
    if sha256(content) != snapshot.key.rpartition("/")[2].partition(".")[0]:
        raise IntegrityError(f"{snapshot.key} has a SHA-256 that is not its name; it was damaged or replaced")
    value = parse_json(content, name=snapshot.key, error=IntegrityError)
    entries = value.get("entries")
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise IntegrityError(f"{snapshot.key} has no list of entries; it is not a snapshot of format {_FORMAT}")
    if len(entries) != snapshot.last - snapshot.first + 1:
        raise IntegrityError(f"{snapshot.key} has {len(entries)} entries; its name says otherwise")
    return [entry.encode(errors="replace") for entry in entries]


def make_snapshot(name: str, first: int, entries: Sequence[bytes]) -> tuple[str, bytes]:
    """Return the key and the bytes of the snapshot of a block, a pure function of the block's entries."""
    texts = [entry.decode() for entry in entries]
    content = to_json({"format": _FORMAT, "name": name, "first": first, "entries": texts})
    last = first + len(entries) - 1
    return f"snapshots/{name}/{first:012d}-{last:012d}/{sha256(content)}.json", content


def blocks(last: int) -> Iterator[tuple[int, int]]:
    """Yield the blocks that a ledger of `last` entries completes, as their first and last entries."""
    for size in SIZES:
        for first in range(1, last - size + 2, size):
            yield first, first + size - 1


def write_missing(store: RegistryStore, name: str, entries: Sequence[Written]) -> None:
    """Write the snapshots that a checked ledger lacks.

    A snapshot that cannot be written is left to the next writer: it only makes reading faster.
    """
    if len(entries) < SMALLEST:
        return
    with suppress(ConfigError, Unanswered):
        present = {(snapshot.first, snapshot.last) for snapshot in list_snapshots(store, name)}
        for first, last in blocks(len(entries)):
            if (first, last) not in present:
                key, content = make_snapshot(name, first, [entry.to_json() for entry in entries[first - 1 : last]])
                if len(content) <= MOST_BYTES:
                    store.create(key, content)


def check_snapshots(store: RegistryStore, name: str, entries: Sequence[Written]) -> list[tuple[str, bytes]]:
    """Return key and content of every snapshot, after comparing each with its entries.

    Raises
    ------
    IntegrityError
        If a snapshot differs from its entries; the message names it.
    """
    checked = []
    for snapshot in list_snapshots(store, name):
        if snapshot.last > len(entries):
            raise IntegrityError(
                f"{snapshot.key} has entries up to {snapshot.last}, and the ledger of {name} ends at {len(entries)}: "
                "its newest entries are missing. Restore them; if the snapshot is wrong, remove it"
            )
        block = entries[snapshot.first - 1 : snapshot.last]
        key, content = make_snapshot(name, snapshot.first, [entry.to_json() for entry in block])
        if snapshot.key != key:
            raise IntegrityError(
                f"{snapshot.key} is not the snapshot of entries {snapshot.first} to {snapshot.last} of {name}'s "
                "ledger. `load` is not affected. Remove it; the next command that writes creates the right one"
            )
        if store.read(key) != content:
            raise IntegrityError(f"{key} was damaged. Remove it; the next command that writes creates it again")
        checked.append((key, content))
    return checked


def _is_block(first: int, last: int) -> bool:
    return last - first + 1 in SIZES and (first - 1) % (last - first + 1) == 0
