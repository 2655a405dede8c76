"""What a consumer keeps of a registry: the highest ledger entry it ever saw, and contents to work without a network.

A chain cannot show that its newest entries were taken away. A consumer can: it remembers how far the ledger went, and
refuses one that goes less far, or another way. The folder is FAIR_DISTILL_CACHE, else the user's cache folder; empty,
FAIR_DISTILL_CACHE turns remembering off.
"""

import builtins
import os
from collections.abc import Container, Sequence
from contextlib import suppress
from pathlib import Path

from fair_distill.artifacts import parse_json, sha256, to_json, write_bytes
from fair_distill.errors import ConfigError, DataError, IntegrityError
from fair_distill.registry.ledger import Entry, entry_key
from fair_distill.registry.store import Absent, Store, check_folder, check_key, is_named_so

ENVIRONMENT = "FAIR_DISTILL_CACHE"


def cache_folder() -> Path | None:
    """Return the folder in which consumers keep what they saw; None if FAIR_DISTILL_CACHE is empty."""
    said = os.environ.get(ENVIRONMENT)
    if said is not None:
        return Path(said) if said else None
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fair-distill"


def place_of(folder: Path, url: str) -> Path:
    """Return the part of a cache that is about one registry."""
    known = url if "://" in url else str(Path(url).resolve())
    return folder / "registries" / sha256(known.encode())[:24]


def settled(folder: Path, name: str, *, url: str) -> frozenset[str]:
    """Return the keys of the ledger's entries before the last that was seen: read, checked and kept here."""
    number, _ = _seen(_head(folder, name, url))
    return frozenset(entry_key(name, before) for before in range(1, number))


def remember(folder: Path, name: str, entries: Sequence[Entry], *, url: str) -> None:
    """See that a ledger goes on from what was seen of it before, and keep how far it goes now.

    Raises
    ------
    IntegrityError
        If the ledger has fewer entries than were seen, or another entry under the number of the last one.
    """
    path = _head(folder, name, url)
    number, digest = _seen(path)
    if number > len(entries):
        raise IntegrityError(
            f"the ledger of {name} at {url} has {len(entries)} entries, and had {number} when it was last read here: "
            f"its newest were taken away. If it was made anew on purpose, remove {path}"
        )
    if number and entries[number - 1].digest != digest:
        raise IntegrityError(
            f"entry {number} of {name}'s ledger at {url} is another than when it was last read here: the ledger was "
            f"rewritten. If it was made anew on purpose, remove {path}"
        )
    if len(entries) > number:
        write_bytes(path, to_json({"number": entries[-1].number, "digest": entries[-1].digest, "registry": url}))


def _head(folder: Path, name: str, url: str) -> Path:
    return place_of(folder, url) / "heads" / f"{name}.json"


def _seen(path: Path) -> tuple[int, str]:
    try:
        value = parse_json(path.read_bytes(), name=str(path))
        return int(value["number"]), str(value["digest"])
    except FileNotFoundError:
        return 0, ""
    except (OSError, DataError, KeyError, TypeError, ValueError):
        raise ConfigError(
            f"{path}, which says how far the ledger went, cannot be read; look at the ledger, then remove the file"
        ) from None


class Cached:
    """A store before another: what was read once is read from a folder. What lies under a key never changes.

    Contents of versions come from the folder first. Their keys say what they are, by which a damaged copy is fetched
    anew, and what the store itself has damaged is not kept. Listings, and entries of the ledger that are not settled,
    are always asked for, unless there is no store behind: then all there is, is the folder.
    """

    def __init__(self, folder: Path, behind: Store | None, *, settled: Container[str] = ()) -> None:
        self.folder = folder / "contents"
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
        if is_named_so(key, content):
            write_bytes(self.folder / key, content)
        return content

    def exists(self, key: str) -> bool:
        check_key(key)
        return self.behind.exists(key) if self.behind else self._kept(key) is not None

    def list(self, prefix: str) -> builtins.list[str]:
        if self.behind:
            return self.behind.list(prefix)
        folder = prefix.rpartition("/")[0]
        check_folder(folder)
        keys = (
            path.relative_to(self.folder).as_posix() for path in (self.folder / folder).rglob("*") if path.is_file()
        )
        return sorted(key for key in keys if key.startswith(prefix) and "/." not in f"/{key}")

    def _kept(self, key: str) -> bytes | None:
        with suppress(OSError):
            kept = (self.folder / key).read_bytes()
            if is_named_so(key, kept):
                return kept
        return None
