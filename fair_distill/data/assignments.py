"""The file of assignments: the split of every unit that was dealt, so that later data move none of them.

A unit that leaves the source keeps its split, in case it returns. Only `fair-distill erase` and the blocklist remove
units. The file contains digests of the names of units, and no names. M names.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from fair_distill.data.grouped_dataset import Array
from fair_distill.data.units import Units
from fair_distill.errors import ConfigError, DataError
from fair_distill.files import atomic_file, is_sha256, sha256, to_json
from fair_distill.formats import arrow
from fair_distill.workspace import SPLITS

_KEY = b"fair_distill"
_COLUMNS = {"name": pa.uint64(), "split": pa.int8(), "present": pa.int8()}


@dataclass(frozen=True)
class Changes:
    """How the splits of a source differ from the previous ones.

    Attributes
    ----------
    units : the number of units in the source
    moved : units that are in another split than before
    new : units without an earlier split
    gone : names of units that were in the source at the previous preparation, and are not now
    dealt_again : whether the previous splits had another seed or other shares
    """

    units: int
    moved: int
    new: int
    gone: int
    dealt_again: bool

    @property
    def may_be_renamed(self) -> bool:
        """Whether most units are new and as many are gone, as if the source had the same units under other names."""
        return not self.dealt_again and self.gone > 0 and self.new > self.units / 2 and self.gone > self.units / 2

    @property
    def is_first(self) -> bool:
        """Whether there were no earlier splits."""
        return self.new == self.units and self.gone == 0


@dataclass(frozen=True, eq=False)
class Assignments:
    """The splits of all units that were dealt by one rule.

    Attributes
    ----------
    rule : SHA-256 of the key and the shares
    names : uint64 array (M,), ascending
    splits : int8 array (M,), indices into SPLITS
    present : bool array (M,), whether the source had the name at the last preparation
    """

    rule: str
    names: Array
    splits: Array
    present: Array

    @classmethod
    def empty(cls, rule: str) -> "Assignments":
        """Return assignments without units."""
        return cls(rule, np.empty(0, np.uint64), np.empty(0, np.int8), np.empty(0, bool))

    def known(self, units: Units) -> Array:
        """Return the split of each unit, int8 (U,); -1 if it is new.

        A unit can consist of earlier units that a new pair or cluster links. If their splits differ, the first of
        SPLITS wins: a training example must not become an example of the gate split.
        """
        found = self._splits_of(units.names).min(axis=1)
        known = np.full(len(units), len(SPLITS), np.int8)
        np.minimum.at(known, units.of_row, found)
        return np.where(known == len(SPLITS), -1, known).astype(np.int8)

    def updated(self, units: Units, split_of_row: Array, rule: str) -> tuple["Assignments", Changes]:
        """Return the assignments with those of the units in a source, and what changed.

        With the same rule, names that the source does not have are kept.
        """
        names, rows = np.unique(units.names.ravel(), return_index=True)
        units_of_names = units.of_row[rows // units.names.shape[1]]
        splits = np.full(len(names), len(SPLITS), np.int8)
        for column in units.names.T:
            # The names of a source can put equal examples into two splits. Such a name counts for the first of them.
            np.minimum.at(splits, np.searchsorted(names, column), split_of_row.astype(np.int8))
        before = self._splits_of(names)
        known = before < len(SPLITS)
        absent = ~np.isin(self.names, names)
        changes = Changes(
            units=len(units),
            moved=len(np.unique(units_of_names[known & (before != splits)])),
            new=len(units) - len(np.unique(units_of_names[known])),
            gone=int((absent & self.present).sum()),
            dealt_again=rule != self.rule and len(self.names) > 0,
        )
        kept = absent if rule == self.rule else np.zeros(len(absent), dtype=bool)
        names = np.concatenate([self.names[kept], names])
        order = np.argsort(names, kind="stable")
        joined = Assignments(
            rule,
            names[order],
            np.concatenate([self.splits[kept], splits])[order],
            (np.arange(len(names)) >= kept.sum())[order],
        )
        return joined, changes

    def without(self, names: Array) -> "Assignments":
        """Return the assignments without some names, an array of any shape. Used for people who were erased."""
        kept = ~np.isin(self.names, names)
        return Assignments(self.rule, self.names[kept], self.splits[kept], self.present[kept])

    def _splits_of(self, names: Array) -> Array:
        """Return the split of each name, with the number of SPLITS for unknown ones."""
        if not len(self.names):
            return np.full(names.shape, len(SPLITS), np.int8)
        places = np.minimum(np.searchsorted(self.names, names), len(self.names) - 1)
        return np.where(self.names[places] == names, self.splits[places], np.int8(len(SPLITS))).astype(np.int8)

    def write(self, path: Path) -> None:
        """Write the file. Equal assignments give equal bytes."""
        schema = pa.schema(
            list(_COLUMNS.items()),
            metadata={_KEY: json.dumps({"kind": "assignments", "rule": self.rule}, sort_keys=True)},
        )
        values = (self.names, self.splits, self.present.astype(np.int8))
        columns = [arrow.array(column, kind) for column, kind in zip(values, _COLUMNS.values(), strict=True)]
        try:
            with (
                atomic_file(path) as temporary,
                pa.OSFile(str(temporary), "wb") as sink,
                pa.ipc.new_file(sink, schema) as writer,
            ):
                writer.write_batch(pa.record_batch(columns, schema=schema))
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}. Free space, or use another folder") from None

    @classmethod
    def read(cls, path: Path) -> "Assignments":
        """Read the file. Raises DataError if it is not a file of assignments."""
        try:
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            header = json.loads((table.schema.metadata or {})[_KEY])
            if {name: table.schema.field(name).type for name in table.column_names} != _COLUMNS:
                raise ValueError(f"its columns are {', '.join(table.column_names)[:80]}")
            table.validate(full=True)
            if any(column.null_count for column in table.columns):
                raise ValueError("a value is null")
            names, splits, present = (column.combine_chunks().to_numpy() for column in table.columns)
            read = cls(str(header["rule"]), names, splits, present.astype(bool))
            if header["kind"] != "assignments" or not is_sha256(read.rule):
                raise ValueError("its header is not valid")
            if not (names[1:] > names[:-1]).all():
                raise ValueError("its names are not in ascending order")
            if len(splits) and not (0 <= splits.min() and splits.max() < len(SPLITS)):
                raise ValueError("a split is not valid")
        except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
            raise DataError(
                f"{path} is not a file of assignments ({error}). Restore it with `dvc checkout`, or run "
                "`fair-distill stage prepare --deal-again` to deal all examples again"
            ) from None
        return read


def dealing_rule(key: int, shares: Mapping[str, float]) -> str:
    """Return the digest of everything that determines the split of a new unit."""
    return sha256(to_json({"key": key, "shares": dict(shares)}))
