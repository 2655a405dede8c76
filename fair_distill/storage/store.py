"""The contract of a store: byte strings under keys. Each backend is one class that implements it.

`storage.schemes` opens the store of a URL. This package does not know what the bytes mean.
"""

import builtins
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

from fair_distill.errors import ConfigError, DataError, FairDistillError, IntegrityError
from fair_distill.storage.urls import StoreUrl

CHUNK_BYTES = 2**20


class Absent(DataError):
    """Nothing is stored under the key."""


class TooLarge(IntegrityError):
    """The content under a key is larger than the limit."""


class Unanswered(FairDistillError):
    """The store gave no answer. A write may have taken place: read the key, or repeat the operation under its id."""


@dataclass(frozen=True)
class StoredObject:
    """A content as a listing shows it: its key, a tag that changes when the content changes, and its size in bytes."""

    key: str
    etag: str
    size: int


@dataclass(frozen=True)
class Options:
    """How a store is opened. A backend ignores the options that do not apply to it.

    Attributes
    ----------
    follow_links : whether a local store follows symbolic links. A registry does not
    must_exist : whether a local folder that does not exist is an error when the store is opened
    environment_only : whether credentials come only from environment variables: no file, profile or program is used
    settings : settings of the server that are not in the URL: `endpoint` and `region`
    """

    follow_links: bool = True
    must_exist: bool = False
    environment_only: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


class Store(ABC):
    """Byte strings under keys. A key is a relative path: names with "/" between them.

    To add a backend, write a subclass and add it to `storage.schemes.SCHEMES`; `tests/storage/test_contract.py` tests
    it. Every failure is an error with a message of one line. A backend retries transient failures a bounded number of
    times; then it raises Unanswered.

    Attributes
    ----------
    parameters : names that are allowed after the "?" of the URL
    example : a URL of this backend, for messages
    remote : whether the store is reached over a network, so that a local copy of a content saves time
    """

    parameters: ClassVar[tuple[str, ...]] = ()
    example: ClassVar[str]
    remote: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def open(cls, url: StoreUrl, options: Options) -> "Store":
        """Return the store at a URL. Opening neither reads nor writes contents."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Return one name for the location. It is the same for every spelling of the URL."""

    @abstractmethod
    def address(self, key: str = "") -> str:
        """Return the name of a key for messages."""

    @abstractmethod
    def create(self, key: str, content: bytes, *, max_clock_skew: timedelta | None = None) -> bool:
        """Write `content` under `key` if the key is free. Readers see the whole content or nothing.

        Parameters
        ----------
        max_clock_skew : refuse to write if the clock of this machine differs from the store's clock by more than this

        Returns
        -------
        bool
            True if this call wrote the content; False if the key was taken.

        Raises
        ------
        ConfigError
            If the content cannot be written, or the clocks differ by too much.
        Unanswered
            If it is unknown whether the content was written.
        """

    @abstractmethod
    def put(self, key: str, content: bytes) -> None:
        """Write `content` under `key` and replace what was there. Readers see the old or the new content."""

    @abstractmethod
    def stream(self, key: str | StoredObject) -> Iterator[bytes]:
        """Yield the content of a key in chunks.

        Parameters
        ----------
        key : a key, or an object from `pages`; then the content must be the one that was listed

        Raises
        ------
        Absent
            If nothing is stored under the key.
        ConfigError
            If the content cannot be read, or is not the one that was listed.
        """

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Return whether the key is taken."""

    @abstractmethod
    def pages(
        self, prefix: str = "", *, after: str = "", limit: int | None = None
    ) -> Iterator[builtins.list[StoredObject]]:
        """Yield the objects whose keys start with `prefix`, at any depth, in the order of their keys.

        Parameters
        ----------
        after : leave out the keys up to this one
        limit : yield at most this many objects
        """

    @abstractmethod
    def remove(self, key: str) -> None:
        """Remove the content of a key, if there is one."""

    def read(self, key: str, *, size_limit: int | None = None) -> bytes:
        """Return the content of a key. Raises what `stream` raises, and TooLarge above `size_limit` bytes."""
        chunks, size = [], 0
        for chunk in self.stream(key):
            size += len(chunk)
            check_size(size, size_limit, self.address(key))
            chunks.append(chunk)
        return b"".join(chunks)

    def list(self, prefix: str = "", *, after: str = "", limit: int | None = None) -> builtins.list[str]:
        """Return the keys that start with `prefix`, sorted; see `pages`."""
        return sorted(entry.key for page in self.pages(prefix, after=after, limit=limit) for entry in page)

    def clear(self, folder: str) -> None:
        """Remove everything in a folder."""
        for key in self.list(f"{folder}/"):
            self.remove(key)


def check_size(size: int, limit: int | None, address: str) -> None:
    """Raise TooLarge if a content has more than `limit` bytes."""
    if limit is not None and size > limit:
        raise TooLarge(f"{address} has {size:,} bytes; at most {limit:,} are allowed. It was damaged or replaced")


def check_clock(local: datetime, remote: datetime, *, store: str, max_skew: timedelta) -> None:
    """Raise ConfigError if the clock of this machine and the clock of a store differ by more than `max_skew`."""
    if abs(local - remote) > max_skew:
        raise ConfigError(
            f"this machine's clock says {_utc(local)} and the clock of {store} says {_utc(remote)}; they may differ by "
            f"{max_skew.seconds // 60} minutes, because ledger entries carry the time of their writer. Nothing was "
            "written. Set the wrong clock (NTP), then repeat the command"
        )


def _utc(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
