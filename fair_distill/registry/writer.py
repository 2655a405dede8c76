"""A registry that is opened for writing. It checks each ledger against the newest entry that this machine remembers.

A ledger whose newest entries are missing has a valid chain, so a command would append to it and hide the loss. A
command that writes therefore compares the ledger with the remembered entry before each append, and remembers its own.
"""

import builtins
from dataclasses import dataclass
from pathlib import Path

from fair_distill.registry.client_state import cache_folder, remember
from fair_distill.registry.entry import Entry
from fair_distill.registry.ledger import Witness
from fair_distill.registry.store import Registry, open_registry


@dataclass(frozen=True)
class Writer(Witness):
    """A store for a command that writes. `ledger.read_to_write` calls `see` each time it reads a ledger.

    Attributes
    ----------
    url : the URL of the registry, as the user wrote it
    memory : the cache folder with the remembered entries; None remembers nothing
    """

    store: Registry
    url: str
    memory: Path | None

    @property
    def identity(self) -> str:
        """One name for the location, whatever the spelling of its URL."""
        return self.store.identity

    @property
    def checked_entries(self) -> dict[str, tuple[Entry, ...]] | None:
        """The ledger entries that this command has checked, if the store keeps them; see `CheckedStore`."""
        return getattr(self.store, "checked_entries", None)

    def see(self, name: str, entries: tuple[Entry, ...]) -> None:
        """Raise IntegrityError unless the ledger continues the remembered entry; remember its newest entry."""
        if self.memory is not None:
            remember(self.memory, name, entries, url=self.url, identity=self.identity)

    def create(self, key: str, content: bytes) -> bool:
        return self.store.create(key, content)

    def read(self, key: str, *, at_most: int | None = None) -> bytes:
        return self.store.read(key, at_most=at_most)

    def exists(self, key: str) -> bool:
        return self.store.exists(key)

    def list(self, prefix: str, *, after: str = "", at_most: int | None = None) -> builtins.list[str]:
        return self.store.list(prefix, after=after, at_most=at_most)

    def remove(self, key: str) -> None:
        self.store.remove(key)


def open_to_write(url: str) -> Writer:
    """Open the registry at a URL for a command that writes. Opening neither reads nor writes contents."""
    return Writer(open_registry(url), url, cache_folder())
