"""The memory of a consumer: the newest ledger entry it has seen, and contents to work without a network.

A chain cannot show that its newest entries were taken away. A consumer can: it remembers how far the ledger went, and
refuses one that goes less far, or another way. The folder is FAIR_DISTILL_CACHE, else the user's cache folder; an empty
FAIR_DISTILL_CACHE turns remembering off. A registry is known by its identity (`store.Located`), however its address
is spelled.
"""

import builtins
import os
import warnings
from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fair_distill.errors import ConfigError, DataError, FairDistillError, FairDistillWarning, IntegrityError
from fair_distill.files import parse_json, sha256, to_json, write_bytes
from fair_distill.registry.entry import Entry, entry_key
from fair_distill.registry.layout import check_folder, check_key, matches_key
from fair_distill.registry.store import RegistryStore, identity_of, same_location
from fair_distill.storage.store import Absent

CACHE_VARIABLE = "FAIR_DISTILL_CACHE"


@dataclass(frozen=True)
class Head:
    """The last entry of a ledger that was seen here: its number and digest, and the file that says so."""

    path: Path
    number: int = 0
    digest: str = ""


def cache_folder() -> Path | None:
    """Return the folder in which consumers keep what they saw; None if FAIR_DISTILL_CACHE is empty."""
    setting = os.environ.get(CACHE_VARIABLE)
    if setting is not None:
        return Path(setting) if setting else None
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "fair-distill"
    except RuntimeError:  # a container's user may have no home
        _warn(f"this user has no home folder, so nothing is remembered. Set {CACHE_VARIABLE} to a folder")
        return None


def place_of(folder: Path, identity: str) -> Path:
    """Return the part of a cache that is about one registry."""
    return folder / "registries" / sha256(identity.encode())[:24]


def kept_place(folder: Path, name: str, identity: str) -> Path:
    """Return the part of a cache that has a registry's contents, also if only an earlier release wrote there."""
    place = place_of(folder, identity)
    earlier = [] if place.exists() else _earlier_heads(folder, name, identity)
    return earlier[0].path.parents[name.count("/") + 1] if earlier else place


def settled(folder: Path, name: str, identity: str) -> frozenset[str]:
    """Return the keys of the ledger's entries before the last that was seen: read, checked and kept here."""
    number = max(head.number for head in _heads(folder, name, identity))
    return frozenset(entry_key(name, before) for before in range(1, number))


def known_names(folder: Path, *, url: str) -> tuple[str, ...]:
    """Return the datasets of a registry whose ledgers were seen here."""
    heads = place_of(folder, identity_of(url)) / "heads"
    return tuple(sorted(path.relative_to(heads).with_suffix("").as_posix() for path in heads.rglob("*.json")))


def remember(
    folder: Path, name: str, entries: Sequence[Entry], *, url: str, identity: str | None = None, required: bool = False
) -> None:
    """See that a ledger goes on from what was seen of it before, and keep how far it goes now.

    Parameters
    ----------
    url : the registry's address as it was given
    identity : what the address leads to, where the caller knows it
    required : refuse if the memory cannot be written; else that is a warning

    Raises
    ------
    IntegrityError
        If the ledger has fewer entries than were seen, or another entry under the number of the last one.
    """
    identity = identity or identity_of(url)
    heads = _heads(folder, name, identity)
    for earlier in heads:
        _check_continues(earlier, name, entries, url=url)
    if len(entries) <= heads[0].number:
        return
    head = {"number": entries[-1].number, "digest": entries[-1].digest, "registry": url, "store": identity}
    _keep(folder, heads[0].path, to_json(head), required=required)


def _check_continues(head: Head, name: str, entries: Sequence[Entry], *, url: str) -> None:
    remedy = f"If it was made again on purpose, remove {head.path}"
    if head.number > len(entries):
        raise IntegrityError(
            f"the ledger of {name} at {url} has {len(entries)} entries, and had {head.number} when it was last read "
            f"here: its newest were taken away. {remedy}"
        )
    if head.number and entries[head.number - 1].digest != head.digest:
        raise IntegrityError(
            f"entry {head.number} of {name}'s ledger at {url} is another than when it was last read here: the ledger "
            f"was rewritten. {remedy}"
        )


def _heads(folder: Path, name: str, identity: str) -> list[Head]:
    """Return what was seen of a ledger: the head of its registry, and before there is one, those of earlier releases.

    Release 0 kept a head for each spelling of an address.
    """
    path = place_of(folder, identity) / "heads" / f"{name}.json"
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return [Head(path), *_earlier_heads(folder, name, identity)]
    except OSError as error:
        raise ConfigError(
            f"{path}, which says how far the ledger went, cannot be read: {error.strerror}. Make it readable, "
            f"or set {CACHE_VARIABLE} to another folder"
        ) from None
    try:
        value = parse_json(content, name=str(path))
        return [Head(path, int(value["number"]), str(value["digest"]))]
    except (DataError, KeyError, TypeError, ValueError):
        raise ConfigError(
            f"{path}, which says how far the ledger went, cannot be read; look at the ledger, then remove the file"
        ) from None


def _earlier_heads(folder: Path, name: str, identity: str) -> list[Head]:
    heads = []
    for path in sorted((folder / "registries").glob(f"*/heads/{name}.json")):
        with suppress(OSError, FairDistillError, KeyError, TypeError, ValueError):
            value = parse_json(path.read_bytes(), name=str(path))
            if "store" not in value and same_location(value["registry"], identity):
                heads.append(Head(path, int(value["number"]), str(value["digest"])))
    return heads


def _keep(folder: Path, path: Path, content: bytes, *, required: bool = False) -> None:
    """Write into the cache. A cache that is full or read-only is a warning: what was read is still right."""
    try:
        write_bytes(path, content)
    except (ConfigError, OSError) as error:
        # The same line for every file, so that it is shown once.
        line = f"the cache {folder} cannot be written: {str(error).rpartition(': ')[2]}"
        if required:
            raise ConfigError(f"{line}. Set {CACHE_VARIABLE} to a folder that can be written") from None
        _warn(f"{line}. Set {CACHE_VARIABLE} to a folder that can be written, or to nothing to remember nothing")


def _warn(line: str) -> None:
    warnings.warn(line, FairDistillWarning, stacklevel=2)


class Cached:
    """A store that keeps a copy of what it reads from another store. The content of a key never changes.

    Contents of versions and snapshots come from the folder first. Their keys contain a digest, so a damaged copy is
    fetched again, and a content that is damaged in the store is not kept. Listings, and entries of the ledger that are
    not settled, always come from the other store. Offline, everything comes from the folder.
    """

    def __init__(self, folder: Path, behind: RegistryStore | None, *, settled: Container[str] = ()) -> None:
        self.folder = folder / "contents"
        self.cache = folder.parents[1]  # of which this is the part about one registry: warnings name it
        self.behind = behind
        self.settled = settled

    def create(self, key: str, content: bytes) -> bool:
        raise ConfigError(f"a consumer writes nothing into a registry, not {key} either")

    def read(self, key: str, *, at_most: int | None = None) -> bytes:
        check_key(key)
        here = self.behind is None or not key.startswith("ledger/") or key in self.settled
        kept = self._kept(key) if here else None
        if kept is not None:
            return kept
        if self.behind is None:
            raise Absent(
                f"{key} is not in the cache {self.folder}, and offline nothing else is asked; load it once online"
            )
        content = self.behind.read(key, at_most=at_most)
        if matches_key(key, content):
            _keep(self.cache, self.folder / key, content)
        return content

    def exists(self, key: str) -> bool:
        check_key(key)
        return self.behind.exists(key) if self.behind else self._kept(key) is not None

    def list(self, prefix: str, *, after: str = "", at_most: int | None = None) -> builtins.list[str]:
        if self.behind:
            return self.behind.list(prefix, after=after, at_most=at_most)
        folder = prefix.rpartition("/")[0]
        check_folder(folder)
        keys = (
            path.relative_to(self.folder).as_posix() for path in (self.folder / folder).rglob("*") if path.is_file()
        )
        shown = sorted(key for key in keys if key.startswith(prefix) and key > after and "/." not in f"/{key}")
        return shown[:at_most]

    def _kept(self, key: str) -> bytes | None:
        with suppress(OSError):
            kept = (self.folder / key).read_bytes()
            if matches_key(key, kept):
                return kept
        return None
