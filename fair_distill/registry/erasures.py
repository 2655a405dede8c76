"""The record of erasures: which contents were removed from a registry because people asked for it, without their names.

The record is a chain for all datasets of the store, like the record of attempts. An entry names a list by SHA-256; the
list has the versions and the keys that were removed, and the files of examples that were replaced by files without the
erased people. Clients of earlier releases do not read the record. The ledger has a revocation for each erased version,
which they understand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from fair_distill.errors import IntegrityError
from fair_distill.files import is_sha256, parse_json, sha256, to_json
from fair_distill.registry.channels import Withdrawn
from fair_distill.registry.entry import is_name, is_text, is_time
from fair_distill.registry.layout import ERASURES_NAME, erasure_list_key, key_fault
from fair_distill.registry.ledger import Chain, read_chain
from fair_distill.registry.sealed_entry import SealedEntry
from fair_distill.registry.store import RegistryStore
from fair_distill.storage.store import Absent

_FORMAT = 1


class Erased(Withdrawn):
    """A content was removed because a person was erased."""


@dataclass(frozen=True, kw_only=True)
class ErasureEntry(SealedEntry):
    """An entry of the record of erasures.

    Attributes
    ----------
    number, prev, who, time, nonce : as in the entries of a ledger
    dataset : the dataset of the versions
    contents : SHA-256 of the list of what is removed
    """

    name: ClassVar[str] = ERASURES_NAME
    record: ClassVar[str] = "the record of erasures"

    dataset: str
    contents: str

    def fault(self) -> str | None:
        rules = {
            "number": type(self.number) is int,
            "prev": is_sha256(self.prev),
            "dataset": is_name(self.dataset),
            "contents": is_sha256(self.contents),
            "time": is_time(self.time),
            "who": is_text(self.who),
            "nonce": is_text(self.nonce),
        }
        return next((f"its field {field!r} is not valid" for field, is_valid in rules.items() if not is_valid), None)


RECORD = Chain(ERASURES_NAME, "erasures/record/", ErasureEntry.record, ErasureEntry.from_json)


@dataclass(frozen=True)
class ErasureList:
    """The contents that an erasure removes.

    Attributes
    ----------
    dataset : the dataset of the versions
    versions : the versions that were distilled from data of erased people
    removed : the keys that are removed
    redacted : for each file of examples that is removed, the SHA-256 of the file that replaces it
    """

    dataset: str
    versions: tuple[str, ...]
    removed: tuple[str, ...]
    redacted: Mapping[str, str]

    def to_json(self) -> bytes:
        """Return the bytes of the list. Equal lists give equal bytes."""
        lists = {"versions": sorted(self.versions), "removed": sorted(self.removed), "redacted": dict(self.redacted)}
        return to_json({"format": _FORMAT, "dataset": self.dataset, **lists})

    @classmethod
    def from_json(cls, content: bytes, *, name: str) -> "ErasureList":
        """Read a list. Raises IntegrityError unless it is valid and writing it again gives the same bytes."""
        value = parse_json(content, name=name, error=IntegrityError)
        try:
            redacted = {str(old): str(new) for old, new in value["redacted"].items()}
            removal = cls(value["dataset"], tuple(value["versions"]), tuple(value["removed"]), redacted)
            digests = [*removal.versions, *redacted, *redacted.values()]
            valid = is_name(removal.dataset) and all(map(is_sha256, digests))
            valid = valid and not any(map(key_fault, removal.removed)) and removal.to_json() == content
        except (AttributeError, KeyError, TypeError):
            valid = False
        if not valid:
            raise IntegrityError(f"{name} is not a list of erased contents of format {_FORMAT}; it was edited")
        return removal


@dataclass(frozen=True)
class Erasures:
    """Everything that was erased from a registry.

    Attributes
    ----------
    entries : the record, oldest entry first
    lists : the list of each entry
    """

    entries: tuple[ErasureEntry, ...] = ()
    lists: tuple[ErasureList, ...] = ()

    @cached_property
    def of_version(self) -> dict[str, ErasureEntry]:
        """The entry that erased each version."""
        pairs = zip(self.entries, self.lists, strict=True)
        return {version: entry for entry, removal in pairs for version in removal.versions}

    @cached_property
    def of_key(self) -> dict[str, ErasureEntry]:
        """The entry that removed each key."""
        pairs = zip(self.entries, self.lists, strict=True)
        return {key: entry for entry, removal in pairs for key in removal.removed}

    @cached_property
    def redacted(self) -> dict[str, str]:
        """For each file of examples that was removed, the SHA-256 of its latest replacement."""
        replaced = {old: new for removal in self.lists for old, new in removal.redacted.items()}
        latest = {}
        for old in replaced:
            new, seen = old, set[str]()
            while new in replaced and new not in seen:
                seen.add(new)
                new = replaced[new]
            latest[old] = new
        return latest


def read_erasures(store: RegistryStore, *, snapshots: bool = True) -> Erasures:
    """Return the record of erasures with its lists, after checking the chain and the digest of each list."""
    entries = read_chain(store, RECORD, snapshots=snapshots)
    lists = []
    for entry in entries:
        key = erasure_list_key(entry.contents)
        try:
            content = store.read(key)
        except Absent:
            raise IntegrityError(f"{key} is missing, although the record of erasures names it; restore it") from None
        if sha256(content) != entry.contents:
            raise IntegrityError(f"{key} has another SHA-256 than its name; it was damaged or replaced")
        lists.append(ErasureList.from_json(content, name=key))
    return Erasures(entries, tuple(lists))


def erased_note(entry: ErasureEntry) -> str:
    """Return when something was erased, for messages and remarks."""
    return f"erased on {entry.time[:10]} (erasure {entry.number} of {entry.dataset})"
