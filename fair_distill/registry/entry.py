"""One entry of a ledger: what happened to a version, by whom and when, as JSON with the digest of the entry before it.

The time of an entry is the clock of its writer, so it can be wrong. The order of the entries is their number. An entry
whose clock was ahead does not change the times of later entries; see `until` for how a moment is resolved.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Literal, Protocol, get_args

from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import is_sha256, parse_json, sha256, to_json
from fair_distill.registry.layout import MAX_CLOCK_SKEW

Event = Literal["publish", "promote", "demote", "rollback", "revoke", "attempt"]
# The events that put a version in force. Each has a verdict that passed as its ground.
ON_GROUNDS = ("promote", "rollback")
# The digest before the first entry.
GENESIS = "0" * 64
# Two writers whose clocks each differ from the store's by at most MAX_CLOCK_SKEW differ by at most this.
BETWEEN_WRITERS = 2 * MAX_CLOCK_SKEW

_FORMAT = 1
_SLUG = re.compile(r"[A-Za-z0-9_-]+")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
# A command line can contain a lone surrogate, which has no UTF-8 encoding.
_TEXT = re.compile(r"[^\ud800-\udfff]+")
_ABOUT_VERSIONS = ("publish", "revoke", "attempt")


class ChainEntry(Protocol):
    """An entry of a chain: its number, and the digests of its own bytes and of the entry before it."""

    @property
    def number(self) -> int: ...
    @property
    def prev(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def time(self) -> str: ...
    @property
    def digest(self) -> str: ...
    def to_json(self) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class Draft:
    """An entry before it is appended. The ledger adds its number, the dataset and the digest of the entry before it.

    Attributes
    ----------
    channel : the channel that the event changes; None for publish, revoke and attempt
    verdict : SHA-256 of the verdict that allows the event; promote and rollback have one
    who : the name of the writer
    time : the writer's clock, in UTC, as in 2026-03-03T12:00:00Z
    nonce : the id of the operation that wrote the entry; no two operations have the same
    split : SHA-256 of the gate split that the version will be judged on; only an attempt has one
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
    """One entry of a ledger.

    Attributes
    ----------
    number : counts from 1 without gaps
    prev : SHA-256 of the bytes of the entry before; 64 zeros in the first entry
    name : the dataset
    """

    number: int
    prev: str
    name: str

    def to_json(self) -> bytes:
        """Return the bytes of the entry's file, with a seal: the SHA-256 of the other fields."""
        body = {"format": _FORMAT, **asdict(self)}
        if self.split is None:  # entries had no such field before there were attempts
            del body["split"]
        # The next entry contains the digest of this one. Until there is a next one, the seal shows a flipped bit.
        return to_json({**body, "seal": sha256(to_json(body))})

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the bytes of the entry's file."""
        return sha256(self.to_json())

    @classmethod
    def from_json(cls, content: bytes, *, name: str) -> "Entry":
        """Read an entry. Raises IntegrityError unless writing it again gives the same bytes."""
        return _parse_entry(content, name)


# A command reads a ledger several times, and equal bytes are equal entries.
@lru_cache(maxsize=2**14)
def _parse_entry(content: bytes, name: str) -> Entry:
    value = parse_json(content, name=name, error=IntegrityError)
    try:
        entry = Entry(**{key: item for key, item in value.items() if key not in ("format", "seal")})
        fault = entry_fault(entry)
        if fault:
            raise ValueError(fault)
        same = entry.to_json() == content
    except (TypeError, ValueError) as error:
        raise IntegrityError(f"{name} is not a ledger entry of format {_FORMAT}: {error}") from None
    if not same:
        raise IntegrityError(f"{name} is not in the form in which it was written; it was edited")
    vars(entry)["digest"] = sha256(content)  # saves `digest` from writing the entry again
    return entry


def timestamp(now: datetime) -> str:
    """Return a time in the form of the ledger: UTC, in whole seconds."""
    if now.tzinfo is None:
        raise ConfigError(f"the time {now!r} has no time zone; pass one such as datetime.now(UTC)")
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(time: str) -> datetime:
    """Return the time of a ledger entry as a datetime."""
    return datetime.fromisoformat(time)


def until(entries: Sequence[Entry], moment: str) -> tuple[Entry, ...]:
    """Return the entries that existed at a moment: up to the last entry that is dated at or before it.

    Entries are written in the order of their numbers. So an entry existed when a later entry was written, even if its
    own clock was ahead. If an entry is dated 2036 and the next entry is dated correctly, the first one counts as
    written before the next one. An entry that is dated in the future and has no successor does not exist yet.
    """
    last = max((entry.number for entry in entries if entry.time <= moment), default=0)
    return tuple(entries[:last])


def clock_faults(entries: Sequence[Entry], now: datetime) -> tuple[str, ...]:
    """Return a line for each entry whose clock was ahead: it is dated after now, or after an entry that follows it."""
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


def is_name(name: object) -> bool:
    """Return whether a value is a valid name of a dataset."""
    return isinstance(name, str) and name.count("/") < 2 and all(_SLUG.fullmatch(part) for part in name.split("/"))


def check_name(name: str) -> str:
    """Return the name of a dataset. Raises ConfigError if it is not valid."""
    if not is_name(name):
        raise ConfigError(
            f"the dataset name {name!r} is not valid; use `dataset` or `team/dataset` with letters, digits, '-' and '_'"
        )
    return name


def entry_key(name: str, number: int) -> str:
    """Return the key of an entry of a dataset's ledger."""
    return f"ledger/{name}/{number:012d}.json"


def entry_fault(entry: Entry) -> str | None:
    """Return which field of an entry is not valid; None if all are. Checks types too, because files have any type."""
    rules = {
        "event": (entry.event in get_args(Event), f"one of {', '.join(get_args(Event))}"),
        "number": (type(entry.number) is int, "a whole number"),
        "prev": (is_sha256(entry.prev), "a SHA-256"),
        "name": (_matches(_TEXT, entry.name), "a text"),
        "version": (is_sha256(entry.version), "the SHA-256 of a manifest"),
        "channel": (
            entry.channel is None if entry.event in _ABOUT_VERSIONS else _matches(_SLUG, entry.channel),
            f"null for {' and '.join(_ABOUT_VERSIONS)}, else a name of letters, digits, '-' and '_'",
        ),
        "verdict": (
            is_sha256(entry.verdict) or (entry.verdict is None and entry.event not in ON_GROUNDS),
            f"the SHA-256 of a verdict, or null; {' and '.join(ON_GROUNDS)} need one",
        ),
        "split": (
            is_sha256(entry.split) if entry.event == "attempt" else entry.split is None,
            "the SHA-256 of a gate split in an attempt, and null otherwise",
        ),
        "reason": (entry.reason == "" or _matches(_TEXT, entry.reason), "a text, which may be empty"),
        "who": (_matches(_TEXT, entry.who), "a text"),
        "time": (is_time(entry.time), "UTC as in 2026-03-03T12:00:00Z"),
        "nonce": (_matches(_TEXT, entry.nonce), "a text"),
    }
    for field, (valid, expected) in rules.items():
        if not valid:
            return f"{field} is {getattr(entry, field)!r}; expected {expected}"
    return None


def is_text(value: object) -> bool:
    """Return whether a value is a text that is not empty and has a UTF-8 encoding."""
    return _matches(_TEXT, value)


def is_time(value: object) -> bool:
    """Return whether a value is a time in the form of the ledger."""
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        return False
    try:
        parse_time(value)
    except ValueError:  # for example the 30th of February
        return False
    return True


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
