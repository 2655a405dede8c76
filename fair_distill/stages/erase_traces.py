"""Recognise people in prepared files, and collect the digests by which a registry recognises them.

N examples.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute

from fair_distill.config import Config
from fair_distill.data.assignments import Assignments
from fair_distill.data.blocklist import KINDS
from fair_distill.data.example_digests import content_digests, digests_of_names, name_unit_digests
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.data.split_file import read_split
from fair_distill.data.units import unit_name_digests
from fair_distill.errors import ConfigError, DataError
from fair_distill.files import atomic_file, sha256
from fair_distill.formats.unit_digests import UnitDigests
from fair_distill.registry.erasure import Traces
from fair_distill.storage.local import LocalStore
from fair_distill.storage.store import Store
from fair_distill.workspace import SPLITS

_EMPTY = np.empty(0, np.uint64)


@dataclass(frozen=True)
class People:
    """The names to erase.

    Attributes
    ----------
    kind : `cluster`, `pair` or `example`
    names : different names
    """

    kind: str
    names: tuple[str, ...]

    @property
    def units(self) -> Array:
        """The digests of the names, as units of splits have them."""
        return unit_name_digests(self.kind, pa.array(self.names, pa.large_string()))

    def rows(self, split: GroupedDataset) -> Array | None:
        """Return which examples of a split are theirs, bool (N,); None if the file does not show it."""
        if split.units is None and (self.kind != "example" or split.ids is None):
            return None
        rows = np.zeros(len(split), dtype=bool)
        if split.units is not None:
            rows |= np.isin(split.units, self.units).any(axis=1)
        if self.kind == "example" and split.ids is not None:
            listed = pa.compute.is_in(split.ids, pa.array(self.names, pa.large_string()))
            rows |= listed.to_numpy(zero_copy_only=False)
        return rows


def read_people(path: Path, kind: str | None, config: Config) -> People:
    """Read the names to erase: a text file in UTF-8 with one name per line.

    Parameters
    ----------
    kind : what the names are; None means clusters if the source has them, otherwise examples

    Raises
    ------
    ConfigError
        If the file has no names, or the source has no such column.
    """
    columns = config.data.source.options.get("columns")
    named = [each for each, key in KINDS.items() if isinstance(columns, dict) and columns.get(key)]
    if not named:
        raise ConfigError(
            "params.yaml: data.source.columns has neither cluster, pair nor example_id, so the data do not show which "
            "examples belong to a person. Add one of them, and run `fair-distill run`"
        )
    kind = kind or ("cluster" if "cluster" in named else named[-1])
    if kind not in named:
        raise ConfigError(
            f"params.yaml: data.source.columns.{KINDS[kind]} is missing, so the data have no such names. "
            f"Pass --by {' or '.join(named)}"
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ConfigError(
            f"--ids {path} cannot be read: {error.strerror}; pass a file with one name per line"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"--ids {path} is not UTF-8 text (byte {error.start}); write one name per line") from None
    names = tuple(sorted({line for line in lines if line.strip()}))
    if not names:
        raise ConfigError(f"--ids {path} has no names; write one name per line")
    return People(kind, names)


@dataclass
class TraceCollector:
    """Collects the digests of people from prepared files.

    Attributes
    ----------
    matched : the number of their examples in the file that was added last
    ids : the names of their examples
    contents, linked : the digests of the contents and of the units of their examples
    others : the digests of the units of all other examples
    train_splits, gate_splits : SHA-256 of the files that contain them
    """

    people: People
    matched: int = 0
    ids: set[str] = field(default_factory=set)
    contents: list[Array] = field(default_factory=list)
    linked: list[Array] = field(default_factory=list)
    others: list[Array] = field(default_factory=list)
    train_splits: set[str] = field(default_factory=set)
    gate_splits: set[str] = field(default_factory=set)

    def add(self, path: Path, name: str | None) -> bool | None:
        """Read a prepared file; return whether it contains the people, None if that cannot be determined.

        Parameters
        ----------
        name : the split that it is, one of SPLITS; None if that is unknown
        """
        self.matched = 0
        try:
            split = read_split(path, verify=False)
        except DataError:
            return None
        rows = self.people.rows(split)
        if rows is None:
            return None
        positions = np.flatnonzero(rows)
        if split.units is not None:
            self.others.append(np.unique(split.units[~rows]))
        self.matched = len(positions)
        if not len(positions):
            return False
        digest = sha256(path)
        self.train_splits |= {digest} if name in (SPLITS[0], None) else set()
        self.gate_splits |= {digest} if name in (SPLITS[2], None) else set()
        theirs = split.take(positions)
        self.contents.append(content_digests(theirs))
        if theirs.ids is not None:
            self.ids.update(theirs.ids.to_pylist())
        if theirs.units is not None:
            self.linked.append(np.unique(theirs.units))
        return True

    def traces(self, dataset: str) -> Traces:
        """Return the digests for the registry.

        If examples are erased, their units count too, because a registry has the digests of units only.
        """
        people = self.people
        names = sorted(self.ids | (set(people.names) if people.kind == "example" else set()))
        units = np.concatenate([people.units, *(self.linked if people.kind == "example" else [])])
        return Traces(
            units=UnitDigests.of_names(units),
            contents=np.unique(np.concatenate([_EMPTY, *self.contents])),
            names=digests_of_names(names, dataset=dataset) if names else _EMPTY,
            people=name_unit_digests(people.kind, people.names).ravel(),
            train_splits=frozenset(self.train_splits),
            gate_splits=frozenset(self.gate_splits),
        )

    def erased_units(self) -> Array:
        """Return the digests to remove from the assignments: their names, and units that only they belong to."""
        linked = np.unique(np.concatenate([_EMPTY, *self.linked]))
        return np.union1d(self.people.units, linked[~np.isin(linked, np.concatenate([_EMPTY, *self.others]))])


def has_units(path: Path, units: Array) -> bool | None:
    """Return whether a file of assignments contains some units; None if it is not such a file."""
    try:
        return bool(np.isin(Assignments.read(path).names, units).any())
    except DataError:
        return None


@contextmanager
def local_copy(store: Store, key: str, folder: Path) -> Iterator[Path]:
    """Yield a path with the content of a key: the file itself in a local store, otherwise a temporary copy.

    Parameters
    ----------
    folder : the folder for the copy
    """
    if isinstance(store, LocalStore):
        yield store.root / key
        return
    path = folder / key.replace("/", "-")
    try:
        with atomic_file(path) as temporary, temporary.open("wb") as sink:
            for chunk in store.stream(key):
                sink.write(chunk)
        yield path
    finally:
        path.unlink(missing_ok=True)
