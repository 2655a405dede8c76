"""The store of a registry: four verbs, and keys that are written once and never changed.

A registry rests on one promise: `create` writes the whole content under a free key, or leaves a taken key unchanged and
says so. Nothing is overwritten, deleted, renamed or locked; only `gc` and `erase` remove keys. Local folders and object
stores both keep this promise.
"""

import builtins
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fair_distill.errors import FairDistillError, IntegrityError
from fair_distill.registry.layout import (
    MAX_CLOCK_SKEW,
    carries_time,
    check_folder,
    check_key,
    check_writable,
    size_limit,
)
from fair_distill.storage.schemes import open_store
from fair_distill.storage.store import Absent, Options, Store, TooLarge

REGISTRY_VARIABLE = "FAIR_DISTILL_REGISTRY"
DEFAULT_FOLDER = "registry"
# A separate location for predictions, which name the group of each example, and for digests of the names of people.
# Fewer people may read it.
PREDICTIONS_VARIABLE = "FAIR_DISTILL_PREDICTIONS"


class RegistryStore(Protocol):
    """The verbs that a registry uses."""

    def create(self, key: str, content: bytes) -> bool:
        """Write the whole `content` durably under a free key. Return True if this call wrote it, False if it was taken.

        Raises ConfigError if it cannot be written, Unanswered if it is unknown whether it was written.
        """

    def read(self, key: str, *, at_most: int | None = None) -> bytes:
        """Return the content of a key. Raises Absent if the key is free, ConfigError if it cannot be read.

        Raises TooLarge, before it reads, if the content has more than `at_most` bytes or more than
        `layout.size_limit(key)`. This verb and the next two raise Unanswered if the store does not answer.
        """

    def exists(self, key: str) -> bool:
        """Return whether `key` is taken."""

    def list(self, prefix: str, *, after: str = "", at_most: int | None = None) -> builtins.list[str]:
        """Return the keys that start with `prefix`, sorted: those after the key `after`, at most `at_most` of them."""


@dataclass(frozen=True)
class CheckedStore:
    """A store seen through the layout of a registry: it checks keys, sizes and the clocks of writers.

    Attributes
    ----------
    checked_entries : the ledger entries that this command has checked, by dataset. A command reads a ledger several
        times, and over a network every entry costs a request. None for a local store, which is read every time
    """

    storage: Store
    checked_entries: dict[str, tuple[Any, ...]] | None = field(default=None, compare=False)

    @property
    def identity(self) -> str:
        """One name for the location, whatever the spelling of its URL."""
        return self.storage.identity

    @property
    def remote(self) -> bool:
        """Whether the registry is reached over a network."""
        return self.storage.remote

    def create(self, key: str, content: bytes) -> bool:
        check_key(key)
        return self.storage.create(key, content, max_clock_skew=MAX_CLOCK_SKEW if carries_time(key) else None)

    def read(self, key: str, *, at_most: int | None = None) -> bytes:
        check_key(key)
        limit = size_limit(key)
        return self.storage.read(key, size_limit=limit if at_most is None else min(limit, at_most))

    def exists(self, key: str) -> bool:
        check_key(key)
        return self.storage.exists(key)

    def list(self, prefix: str, *, after: str = "", at_most: int | None = None) -> builtins.list[str]:
        check_folder(prefix.rpartition("/")[0])
        keys = self.storage.list(prefix, after=after, limit=at_most)
        return [key for key in keys if not any(part.startswith(".") for part in key.split("/"))]

    def remove(self, key: str) -> None:
        """Remove a content. Only `gc` and `erase` call this. The credentials of other commands should not allow it."""
        check_key(key)
        self.storage.remove(key)


@dataclass(frozen=True)
class SeparatePredictions:
    """A registry whose predictions and digests of examples are in another store, which fewer people may read.

    Predictions name the group of each example, and a digest shows whether a person's record is in the gate split or in
    the training data.
    """

    public: CheckedStore
    private: CheckedStore

    @property
    def identity(self) -> str:
        return self.public.identity

    @property
    def remote(self) -> bool:
        return self.public.remote

    def create(self, key: str, content: bytes) -> bool:
        return self._store(key).create(key, content)

    def read(self, key: str, *, at_most: int | None = None) -> bytes:
        return self._store(key).read(key, at_most=at_most)

    def exists(self, key: str) -> bool:
        return self._store(key).exists(key)

    def list(self, prefix: str, *, after: str = "", at_most: int | None = None) -> builtins.list[str]:
        private = (key for key in self.private.list(prefix, after=after) if self._store(key) is self.private)
        return sorted({*self.public.list(prefix, after=after, at_most=at_most), *private})[:at_most]

    def remove(self, key: str) -> None:
        # Predictions that were published before the separate location was set are in the public store.
        for store in (self.public, self._store(key)):
            if store.exists(key):
                store.remove(key)

    def _store(self, key: str) -> CheckedStore:
        is_private = "/predictions/" in key or key.startswith(("attempts/examples/", "units/"))
        return self.private if is_private else self.public


Registry = CheckedStore | SeparatePredictions


def ensure_stored(store: RegistryStore, key: str, content: bytes, *, read_first: bool = False) -> None:
    """Write `content` under `key`, unless it is there already. Raises IntegrityError if another content is there.

    Parameters
    ----------
    read_first : read the key before writing it: the content is most likely there, and the right to write may be missing
    """
    check_writable(key, content)
    try:
        same = (read_first and _has(store, key, content)) or store.create(key, content)
        same = same or store.read(key, at_most=len(content)) == content
    except TooLarge:
        same = False
    if not same:
        raise IntegrityError(f"{key} is in the registry with other bytes than this command writes; it was damaged")


def _has(store: RegistryStore, key: str, content: bytes) -> bool:
    try:
        return store.read(key, at_most=len(content)) == content
    except Absent:
        return False


def locate(registry: str | os.PathLike[str] | None, *, folder: Path = Path()) -> str:
    """Return `registry`, else the value of FAIR_DISTILL_REGISTRY, else the folder `registry` in `folder`."""
    return os.fspath(registry or "") or os.environ.get(REGISTRY_VARIABLE) or str(folder / DEFAULT_FOLDER)


def open_registry(url: str) -> Registry:
    """Return the store of the registry at a path or URL. Opening neither reads nor writes contents.

    Predictions are in the location that FAIR_DISTILL_PREDICTIONS names, if it is set.
    """
    registry = _open(url, f"--registry or {REGISTRY_VARIABLE}")
    predictions = os.environ.get(PREDICTIONS_VARIABLE)
    return SeparatePredictions(registry, _open(predictions, PREDICTIONS_VARIABLE)) if predictions else registry


def identity_of(url: str) -> str:
    """Return the identity of the location that a URL leads to; see `storage.store.Store`."""
    return _open(url, REGISTRY_VARIABLE).identity


def same_location(url: str, identity: str) -> bool:
    """Return whether a URL leads to the location with an identity. An invalid URL leads nowhere."""
    try:
        return identity_of(url) == identity
    except FairDistillError:
        return False


def _open(url: str, source: str) -> CheckedStore:
    storage = open_store(url, source=source, options=Options(follow_links=False))
    return CheckedStore(storage, {} if storage.remote else None)
