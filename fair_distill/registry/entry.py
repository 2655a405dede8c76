"""One entry of a ledger: what happened to a version, by whom and when, as JSON with the digest of the entry before it.

The time of an entry is the clock of its writer, so it can be wrong. The order of the entries is their number. An entry
whose clock was ahead does not change the times of later entries; see `until` for how a moment is resolved.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Literal, get_args

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
        fault = entry_fault(entry)
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


def entry_key(name: str, number: int) -> str:
    return f"ledger/{name}/{number:012d}.json"


def entry_fault(entry: Entry) -> str | None:
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
