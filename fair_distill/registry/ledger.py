"""What happened to the versions of a dataset: an append-only ledger of numbered entries, chained by their SHA-256.

Nothing else says what is published, promoted or revoked; `channels` reads it off the entries. An entry is
written by creating the key of its number, so of two writers one gets the number and the other is told.

The chain shows entries that were edited, removed, exchanged or put in between, and the seal shows damage to
the newest. It cannot show that the newest entries were taken away, or that somebody who may write to the store
wrote them anew, seals and all: that needs a head kept elsewhere, and signatures.

The number is the order of the entries. The time is the clock of the writer, so it can be wrong: an entry whose clock
ran ahead does not change the times of later entries. See `until` for how a moment is resolved.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from itertools import chain, islice
from typing import Literal, get_args

from fair_distill.errors import ConfigError, FairDistillError, IntegrityError
from fair_distill.files import is_sha256, parse_json, sha256, to_json
from fair_distill.registry.snapshots import (
    SMALLEST,
    Snapshot,
    list_snapshots,
    plan,
    read_snapshot,
    write_missing,
)
from fair_distill.registry.store import MOST_SKEW, Absent, Store, Unanswered, check_written

Event = Literal["publish", "promote", "demote", "rollback", "revoke", "attempt"]
# The events that put a version in force, on the ground of a verdict that passed.
ON_GROUNDS = ("promote", "rollback")

_FORMAT = 1
_GENESIS = "0" * 64
_SLUG = re.compile(r"[A-Za-z0-9_-]+")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
# A lone surrogate, which a command line can hand over, is no UTF-8.
_TEXT = re.compile(r"[^\ud800-\udfff]+")
_KEY = re.compile(r"([0-9]{12})\.json")
_ABOUT_VERSIONS = ("publish", "revoke", "attempt")
# Of N racers that write m entries each, the unluckiest loses (N - 1)·m numbers.
_TRIES = 1000
# Two writers whose clocks each differ from the store's by at most `store.MOST_SKEW` differ by at most this.
BETWEEN_WRITERS = 2 * MOST_SKEW
_AT_ONCE = 16  # requests for entries under way
_UNANSWERED_TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What a writer wants to enter; the ledger adds number, name and the digest of the entry before.

    Attributes
    ----------
    channel : the channel it is about; None for what is about the version: publish, revoke, attempt
    verdict : SHA-256 of the verdict that allows it; promote and rollback have one
    nonce : says which command wrote it; of no two commands the same
    split : SHA-256 of the gate split that the version is to be judged on; an attempt has one
    """

    event: Event
    version: str
    channel: str | None = None
    verdict: str | None = None
    reason: str = ""
    who: str
    time: str
    nonce: str
    split: str | None = None


@dataclass(frozen=True, kw_only=True)
class Entry(Draft):
    """One entry as it stands in the ledger.

    Attributes
    ----------
    number : from 1, without gaps
    prev : SHA-256 of the bytes of the entry before; 64 zeros in the first
    """

    number: int
    prev: str
    name: str

    def to_json(self) -> bytes:
        body = {"format": _FORMAT, **asdict(self)}
        if self.split is None:  # as it was written before there were attempts
            del body["split"]
        # The next entry covers this one's bytes; until there is a next, the seal shows a flipped bit.
        return to_json({**body, "seal": sha256(to_json(body))})

    @cached_property
    def digest(self) -> str:
        return sha256(self.to_json())

    @classmethod
    def from_json(cls, content: bytes, *, name: str) -> "Entry":
        """Read an entry. Raises IntegrityError unless writing it again gives the same bytes."""
        return _entry_of(content, name)


@lru_cache(maxsize=2**14)  # a command reads a ledger several times, and equal bytes are equal entries
def _entry_of(content: bytes, name: str) -> Entry:
    value = parse_json(content, name=name, error=IntegrityError)
    try:
        entry = Entry(**{key: item for key, item in value.items() if key not in ("format", "seal")})
        fault = _fault(entry)
        if fault:
            raise ValueError(fault)
        same = entry.to_json() == content
    except (TypeError, ValueError) as error:
        raise IntegrityError(f"{name} is not a ledger entry of format {_FORMAT}: {error}") from None
    if not same:
        raise IntegrityError(f"{name} is not spelled as it was written; it has been edited")
    vars(entry)["digest"] = sha256(content)  # which `digest` would compute by writing the entry again
    return entry


def timestamp(now: datetime) -> str:
    """Return a time as the ledger writes it: UTC, to the second."""
    if now.tzinfo is None:
        raise ConfigError(f"a time with its zone is needed, such as datetime.now(UTC); got {now!r}")
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(time: str) -> datetime:
    """Return the moment that a ledger entry states."""
    return datetime.fromisoformat(time)


def until(entries: Sequence[Entry], moment: str) -> tuple[Entry, ...]:
    """Return the entries that were there at a moment: up to the last one that is dated at or before it.

    Entries are written in the order of their numbers. So an entry was there at the latest when a later entry was
    written, whatever its own clock said. If one entry is dated 2036 and the next ones are dated properly, the rule
    places it before the next one. Until a next entry exists, an entry dated in the future is not there yet.
    """
    last = max((entry.number for entry in entries if entry.time <= moment), default=0)
    return tuple(entries[:last])


def clock_faults(entries: Sequence[Entry], now: datetime) -> tuple[str, ...]:
    """Return one line for each entry whose clock was ahead: dated after now, or after an entry that follows it."""
    faults = []
    earliest = now
    for entry in reversed(entries):
        time = parse_time(entry.time)
        if time > earliest + BETWEEN_WRITERS:
            faults.append(
                f"entry {entry.number} of {entry.name}'s ledger is dated {entry.time}: the clock of its writer "
                f"({entry.who}) was ahead. The order of the entries is their number"
            )
        earliest = min(earliest, time)
    return tuple(reversed(faults))


def check_name(name: str) -> str:
    """Return a dataset's name, or say what is wrong with it."""
    parts = name.split("/")
    if len(parts) > 2 or not all(_SLUG.fullmatch(part) for part in parts):
        raise ConfigError(
            f"a dataset is named `dataset` or `team/dataset`, in letters, digits, '-' and '_'; got {name!r}"
        )
    return name


def names(store: Store) -> tuple[str, ...]:
    """Return the datasets that have a ledger."""
    folders = (key.removeprefix("ledger/").rpartition("/")[0] for key in store.list("ledger/"))
    return tuple(sorted({folder for folder in folders if folder}))


def entry_key(name: str, number: int) -> str:
    return f"ledger/{name}/{number:012d}.json"


def read_ledger(store: Store, name: str, *, known: tuple[Entry, ...] = (), snapshots: bool = True) -> tuple[Entry, ...]:
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
    store: Store,
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


def read_to_write(store: Store, name: str, *, known: tuple[Entry, ...] = ()) -> tuple[Entry, ...]:
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
    store: Store,
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
        check_written(key, content)
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
    entry = Entry(**fields, number=1, prev=_GENESIS, name=name)
    fault = _fault(entry)
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


def _landed(store: Store, key: str, content: bytes) -> bool:
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
    prev = before[-1].digest if before else _GENESIS
    if (entry.name, entry.number) != (name, number):
        raise IntegrityError(
            f"entry {number} of {name}'s ledger is entry {entry.number} of {entry.name}'s; it has been exchanged"
        )
    if entry.prev != prev:
        raise IntegrityError(
            f"entry {number} of {name}'s ledger follows on {entry.prev[:12]}…, but the entry before it is {prev[:12]}…"
        )
    return entry


def _fault(entry: Entry) -> str | None:
    """Say which field is not what it has to be. Types too: the entry may come from a file."""
    rules = {
        "event": (entry.event in get_args(Event), f"one of {', '.join(get_args(Event))}"),
        "number": (type(entry.number) is int, "a whole number"),
        "prev": (is_sha256(entry.prev), "a SHA-256"),
        "name": (_fits(_TEXT, entry.name), "a text"),
        "version": (is_sha256(entry.version), "the SHA-256 of a manifest"),
        "channel": (
            entry.channel is None if entry.event in _ABOUT_VERSIONS else _fits(_SLUG, entry.channel),
            f"null for {' and '.join(_ABOUT_VERSIONS)}, else a name of letters, digits, '-' and '_'",
        ),
        "verdict": (
            is_sha256(entry.verdict) or (entry.verdict is None and entry.event not in ON_GROUNDS),
            f"the SHA-256 of a verdict; {' and '.join(ON_GROUNDS)} have one",
        ),
        "split": (
            is_sha256(entry.split) if entry.event == "attempt" else entry.split is None,
            "the SHA-256 of a gate split; an attempt has one, and nothing else has",
        ),
        "reason": (entry.reason == "" or _fits(_TEXT, entry.reason), "a text, or empty"),
        "who": (_fits(_TEXT, entry.who), "a text"),
        "time": (_is_time(entry.time), "UTC as in 2026-03-03T12:00:00Z"),
        "nonce": (_fits(_TEXT, entry.nonce), "a text"),
    }
    for field, (fits, wanted) in rules.items():
        if not fits:
            return f"{field} is {wanted}; got {getattr(entry, field)!r}"
    return None


def _is_time(value: object) -> bool:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        return False
    try:
        parse_time(value)
    except ValueError:  # such as the 30th of February
        return False
    return True


def _fits(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
