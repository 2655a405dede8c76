"""The cache of a consumer: the newest ledger entry that it has read, and contents to work without a network.

The chain of a ledger cannot show that its newest entries were removed. A consumer can: it remembers the newest entry,
and refuses a ledger that is shorter or has another entry under that number. The cache is the folder
FAIR_DISTILL_CACHE, else the user's cache folder. An empty FAIR_DISTILL_CACHE turns the cache off. Every spelling of a
registry's URL has the same cache, because it is named by the registry's identity.
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
from fair_distill.registry.entry import ChainEntry, entry_key
from fair_distill.registry.layout import ERASURES_NAME, RECORD_NAME, check_folder, check_key, matches_key
from fair_distill.registry.store import RegistryStore, identity_of, same_location
from fair_distill.storage.store import Absent

CACHE_VARIABLE = "FAIR_DISTILL_CACHE"


@dataclass(frozen=True)
class Head:
    """The newest entry of a ledger that was read on this machine: its number and digest, and the file with them."""

    path: Path
    number: int = 0
    digest: str = ""


def cache_folder() -> Path | None:
    """Return the folder of the cache; None if FAIR_DISTILL_CACHE is empty."""
    setting = os.environ.get(CACHE_VARIABLE)
    if setting is not None:
        return Path(setting) if setting else None
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "fair-distill"
    except RuntimeError:  # the user of a container may have no home folder
        _warn(f"this user has no home folder, so nothing is remembered. Set {CACHE_VARIABLE} to a folder")
        return None


def registry_cache(folder: Path, identity: str) -> Path:
    """Return the subfolder of a cache for one registry."""
    return folder / "registries" / sha256(identity.encode())[:24]


def used_registry_cache(folder: Path, name: str, identity: str) -> Path:
    """Return the subfolder of a cache that has the contents of a registry, even if an earlier release wrote it."""
    path = registry_cache(folder, identity)
    earlier = [] if path.exists() else _earlier_heads(folder, name, identity)
    return earlier[0].path.parents[name.count("/") + 1] if earlier else path


def settled(folder: Path, name: str, identity: str) -> frozenset[str]:
    """Return the keys of the entries before the remembered one. They were read, checked and cached on this machine."""
    number = max(head.number for head in _heads(folder, name, identity))
    return frozenset(entry_key(name, earlier) for earlier in range(1, number))


def known_names(folder: Path, *, url: str) -> tuple[str, ...]:
    """Return the datasets of a registry whose ledgers were read on this machine."""
    heads = registry_cache(folder, identity_of(url)) / "heads"
    return tuple(sorted(path.relative_to(heads).with_suffix("").as_posix() for path in heads.rglob("*.json")))


def remembers(folder: Path, name: str, *, url: str) -> bool:
    """Return whether entries of a chain were read on this machine."""
    return any(head.number for head in _heads(folder, name, identity_of(url)))


def remember(
    folder: Path,
    name: str,
    entries: Sequence[ChainEntry],
    *,
    url: str,
    identity: str | None = None,
    required: bool = False,
) -> None:
    """Check a ledger against the remembered entry, and remember its newest entry.

    Parameters
    ----------
    url : the URL of the registry as the user wrote it
    identity : the identity of the registry, if the caller knows it
    required : whether a cache that cannot be written is an error; otherwise it is a warning

    Raises
    ------
    IntegrityError
        If the ledger is shorter than the remembered entry, or has another entry under its number.
    """
    identity = identity or identity_of(url)
    heads = _heads(folder, name, identity)
    for earlier in heads:
        _check_continues(earlier, name, entries, url=url)
    if len(entries) <= heads[0].number:
        return
    head = {"number": entries[-1].number, "digest": entries[-1].digest, "registry": url, "store": identity}
    _write(folder, heads[0].path, to_json(head), required=required)


def _check_continues(head: Head, name: str, entries: Sequence[ChainEntry], *, url: str) -> None:
    remedy = f"If it was rebuilt on purpose, remove {head.path}"
    if head.number > len(entries):
        raise IntegrityError(
            f"the ledger of {name} at {url} has {len(entries)} entries, and had {head.number} when it was last read "
            f"here: its newest entries were removed. {remedy}"
        )
    if head.number and entries[head.number - 1].digest != head.digest:
        raise IntegrityError(
            f"entry {head.number} of {name}'s ledger at {url} differs from the entry that was read here before: the "
            f"ledger was rewritten. {remedy}"
        )


def _heads(folder: Path, name: str, identity: str) -> list[Head]:
    """Return the remembered entry of a ledger. Before this release has written one, add those of earlier releases.

    Release 0 remembered an entry for each spelling of a URL.
    """
    # Every file in `heads` is about a dataset, also for earlier releases that use the same cache.
    place = "." if name in (RECORD_NAME, ERASURES_NAME) else "heads"
    path = registry_cache(folder, identity) / place / f"{name}.json"
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return [Head(path), *_earlier_heads(folder, name, identity)]
    except OSError as error:
        raise ConfigError(
            f"{path}, which has the newest entry that was read, cannot be read: {error.strerror}. Make it readable, "
            f"or set {CACHE_VARIABLE} to another folder"
        ) from None
    try:
        value = parse_json(content, name=str(path))
        return [Head(path, int(value["number"]), str(value["digest"]))]
    except (DataError, KeyError, TypeError, ValueError):
        raise ConfigError(
            f"{path}, which has the newest entry that was read, is damaged; check the ledger, then remove the file"
        ) from None


def _earlier_heads(folder: Path, name: str, identity: str) -> list[Head]:
    heads = []
    for path in sorted((folder / "registries").glob(f"*/heads/{name}.json")):
        with suppress(OSError, FairDistillError, KeyError, TypeError, ValueError):
            value = parse_json(path.read_bytes(), name=str(path))
            if "store" not in value and same_location(value["registry"], identity):
                heads.append(Head(path, int(value["number"]), str(value["digest"])))
    return heads


def _write(folder: Path, path: Path, content: bytes, *, required: bool = False) -> None:
    """Write a file of the cache. If the cache is full or read-only, warn: what was read is still correct."""
    try:
        write_bytes(path, content)
    except (ConfigError, OSError) as error:
        # The line is the same for every file, so that Python shows it once.
        line = f"the cache {folder} cannot be written: {str(error).rpartition(': ')[2]}"
        if required:
            raise ConfigError(f"{line}. Set {CACHE_VARIABLE} to a folder that can be written") from None
        _warn(
            f"{line}. Set {CACHE_VARIABLE} to a folder that can be written, or to an empty value to turn the cache off"
        )


def _warn(line: str) -> None:
    warnings.warn(line, FairDistillWarning, stacklevel=2)


class CachedStore:
    """A store that caches what it reads from a registry. The content of a key never changes.

    Contents of versions and snapshots come from the cache first. Their keys contain a digest, so a damaged copy is
    read again, and a content that is damaged in the registry is not cached. Listings always come from the registry, and
    so do ledger entries that are not settled. Offline, everything comes from the cache.

    Parameters
    ----------
    folder : the subfolder of the cache for this registry
    registry : the registry; None offline
    settled : the keys of ledger entries that may come from the cache
    """

    def __init__(self, folder: Path, registry: RegistryStore | None, *, settled: Container[str] = ()) -> None:
        self.folder = folder / "contents"
        self.cache = folder.parents[1]  # the whole cache, for warnings
        self.registry = registry
        self.settled = settled

    def create(self, key: str, content: bytes) -> bool:
        raise ConfigError(f"a consumer does not write to a registry; {key} was not written")

    def read(self, key: str, *, at_most: int | None = None) -> bytes:
        check_key(key)
        growing = key.startswith(("ledger/", "attempts/record/", "erasures/record/"))
        cacheable = self.registry is None or not growing or key in self.settled
        copy = self._copy(key) if cacheable else None
        if copy is not None:
            return copy
        if self.registry is None:
            raise Absent(
                f"{key} is not in the cache {self.folder}, and offline only the cache is read; load it once online"
            )
        content = self.registry.read(key, at_most=at_most)
        if matches_key(key, content):
            _write(self.cache, self.folder / key, content)
        return content

    def exists(self, key: str) -> bool:
        check_key(key)
        return self.registry.exists(key) if self.registry else self._copy(key) is not None

    def list(self, prefix: str, *, after: str = "", at_most: int | None = None) -> builtins.list[str]:
        if self.registry:
            return self.registry.list(prefix, after=after, at_most=at_most)
        folder = prefix.rpartition("/")[0]
        check_folder(folder)
        keys = (
            path.relative_to(self.folder).as_posix() for path in (self.folder / folder).rglob("*") if path.is_file()
        )
        visible = sorted(key for key in keys if key.startswith(prefix) and key > after and "/." not in f"/{key}")
        return visible[:at_most]

    def _copy(self, key: str) -> bytes | None:
        """Return the cached copy of a content; None if it is missing or damaged."""
        with suppress(OSError):
            copy = (self.folder / key).read_bytes()
            if matches_key(key, copy):
                return copy
        return None
