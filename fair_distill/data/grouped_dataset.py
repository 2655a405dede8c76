"""Group-labelled data in memory: the value that every stage after `prepare` works on.

N examples, C classes, G groups; images are (N, channels, height, width).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fair_distill.errors import DataError, ShapeError
from fair_distill.formats.row_schema import RowSchema, Table, schema_of

Array = NDArray[Any]
Attributes = tuple[str | None, ...]


@dataclass(frozen=True)
class Cell:
    """One class and one group, by index."""

    label: int
    group: int


@dataclass(frozen=True, eq=False)
class GroupedDataset:
    """Images with a class and a group each, sorted by cell.

    Make one with `GroupedDataset.from_arrays`; the constructor takes rows that are sorted already.

    Attributes
    ----------
    images : uint8 or float32 array (N, channels, height, width)
        uint8 is 255 times what float32 is; rows of a table are float32 (N, columns, 1, 1). May be a view of a
        memory-mapped file; treat as read-only.
    labels, group_indices : int arrays (N,)
        Indices into `classes` and `groups`.
    pairs : int array (N,)
        Examples that show the same thing in different groups share a number; unpaired examples have their own.
    offsets : int array (C * G + 1,)
        Cell (y, a) is rows offsets[y*G + a] : offsets[y*G + a + 1].
    attributes : for each group the values that make it up, `("f", "dark")` for `f×dark`
        None is a value that is not known. If not given, each group is the one value of one attribute.
    attribute_names : what each of these values is a value of, `("sex", "skin")`; () where that is not said
    schema : the columns, if the images are the rows of a table; None for images
    clustered : int array (N,); what is no independent evidence shares a number, as the images of one person. None if
        the source knows of nothing but pairs: then `clusters` are the pairs
    ids : large_string Arrow array (N,), the source's own name of each example; None if it has none
    weights : float32 array (N,), as the source has them; None if it has none. Kept, and used by no stage
    missing_cells : what was done about classes that lack a group, as `data.prepare` says; empty if nothing was to do
    """

    images: Array
    labels: Array
    group_indices: Array
    pairs: Array
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    offsets: Array = field(repr=False)
    attributes: tuple[Attributes, ...] = ()
    schema: RowSchema | None = None
    attribute_names: tuple[str, ...] = ()
    clustered: Array | None = None
    ids: pa.Array | None = None
    weights: Array | None = None
    missing_cells: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.ndim != 4 or self.images.dtype not in (np.uint8, np.float32):
            raise ShapeError(
                "images of shape (N, channels, height, width) and type uint8 or float32 are needed; "
                f"got {self.images.shape} {self.images.dtype}"
            )
        for name in ("labels", "group_indices", "pairs", "clustered", "ids", "weights"):
            column = getattr(self, name)
            # Not NumPy's shape, which would make a Python object of every id.
            shape = (n,) if column is None else getattr(column, "shape", (len(column),))
            if shape != (n,):
                raise ShapeError(f"one entry in {name} per image is needed: got {shape} for {n} images")
        if len(self.offsets) != len(self.classes) * len(self.groups) + 1 or self.offsets[-1] != n:
            raise ShapeError(
                f"offsets do not describe {n} rows in {len(self.classes)} classes × {len(self.groups)} groups"
            )
        if not self.attributes:
            object.__setattr__(self, "attributes", tuple((name,) for name in self.groups))
        if len(set(self.attributes)) != len(self.groups) or len({len(values) for values in self.attributes}) != 1:
            raise ShapeError(
                f"as many attributes for each of {len(self.groups)} groups, and no two groups alike, are needed; "
                f"got {list(self.attributes)}"
            )
        many = len(self.attributes[0])
        if self.attribute_names and len(set(self.attribute_names)) != many:
            raise ShapeError(f"{many} attributes need as many names of their own; got {list(self.attribute_names)}")
        if self.schema is not None and (self.shape != self.schema.shape or self.images.dtype != np.float32):
            raise ShapeError(
                f"rows by this schema are float32 (N, {self.schema.shape[0]}, 1, 1); "
                f"got {self.images.dtype} {self.images.shape}"
            )

    @classmethod
    def from_arrays(
        cls,
        images: Array,
        labels: Array,
        group_indices: Array,
        *,
        classes: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        pairs: Array | None = None,
        attributes: Sequence[Attributes] = (),
        schema: RowSchema | None = None,
        attribute_names: Sequence[str] = (),
        clusters: Array | None = None,
        ids: pa.Array | None = None,
        weights: Array | None = None,
        missing_cells: Mapping[str, Any] = MappingProxyType({}),
    ) -> "GroupedDataset":
        """Sort rows by cell (stable) and return the dataset.

        Raises
        ------
        DataError
            If it is empty, or a label or group is outside its declared names.
        """
        labels, group_indices = np.asarray(labels), np.asarray(group_indices)
        pairs = np.arange(len(images)) if pairs is None else np.asarray(pairs)
        if len(images) == 0:
            raise DataError("at least one example is needed, got none")
        if labels.shape != (len(images),) or group_indices.shape != (len(images),):
            raise ShapeError(
                f"one label and one group per image are needed: got {labels.shape} and {group_indices.shape} "
                f"for {len(images)} images"
            )
        if pairs.shape != (len(images),):
            raise ShapeError(f"one entry in pairs per image is needed: got {pairs.shape} for {len(images)} images")
        class_names = tuple(classes) if classes is not None else _numbered(labels)
        names = tuple(groups) if groups is not None else _numbered(group_indices)
        _within(labels, class_names, "label", "data.classes")
        _within(group_indices, names, "group", "data.groups")
        cells = labels.astype(np.int64) * len(names) + group_indices.astype(np.int64)
        order = np.argsort(cells, kind="stable")
        counts = np.bincount(cells, minlength=len(class_names) * len(names))
        return cls(
            images=_taken(images, order),
            labels=labels[order].astype(np.int64),
            group_indices=group_indices[order].astype(np.int64),
            pairs=pairs[order].astype(np.int64),
            classes=class_names,
            groups=names,
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            attributes=tuple(attributes),
            schema=schema,
            attribute_names=tuple(attribute_names),
            clustered=None if clusters is None else np.asarray(clusters)[order].astype(np.int64),
            ids=None if ids is None else ids.take(pa.array(order)),
            weights=None if weights is None else np.asarray(weights)[order].astype(np.float32),
            missing_cells=dict(missing_cells),
        )

    @classmethod
    def from_rows(
        cls,
        table: Table,
        labels: Array,
        group_indices: Array,
        *,
        numeric: Sequence[str] = (),
        categorical: Sequence[str] = (),
        missing: str | None = None,
        unseen: str | None = None,
        schema: RowSchema | None = None,
        classes: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        pairs: Array | None = None,
    ) -> "GroupedDataset":
        """Return the dataset of a table's rows: a pandas or Arrow table, or a mapping of arrays.

        Training data say which columns are numeric and which categorical, and get a schema; other splits are given that
        schema, so that they are encoded alike.

        Parameters
        ----------
        labels, group_indices : indices, as in `from_arrays`
        missing, unseen : names for categories that are missing, and for those that training data do not have

        Raises
        ------
        DataError
            As `from_arrays`, and if a column does not hold what it should.
        """
        if schema is None:
            schema = schema_of(table, numeric=numeric, categorical=categorical, missing=missing, unseen=unseen)
        return cls.from_arrays(
            schema.encode(table),
            labels,
            group_indices,
            classes=classes,
            groups=groups,
            pairs=pairs,
            schema=schema,
        )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def clusters(self) -> Array:
        """For each example the number of what it is evidence of, (N,): its cluster, or else its pair."""
        return self.pairs if self.clustered is None else self.clustered

    @property
    def counts(self) -> Array:
        """Examples per cell, (C, G)."""
        return np.diff(self.offsets).reshape(len(self.classes), len(self.groups))

    @property
    def known(self) -> Array:
        """Which groups are known in full, (G,)."""
        return np.array([None not in values for values in self.attributes])

    def at(self, rows: Array) -> "GroupedDataset":
        """Return the examples of these rows, sorted by cell again; a row may be asked for twice."""
        return GroupedDataset.from_arrays(
            _taken(self.images, rows),
            self.labels[rows],
            self.group_indices[rows],
            classes=self.classes,
            groups=self.groups,
            attributes=self.attributes,
            schema=self.schema,
            attribute_names=self.attribute_names,
            **self._facts(rows),
        )

    def of_known_groups(self) -> "GroupedDataset":
        """Return the examples whose group is known, with those groups alone."""
        kept = np.flatnonzero(self.known)
        rows = np.flatnonzero(self.known[self.group_indices])
        return GroupedDataset.from_arrays(
            _taken(self.images, rows),
            self.labels[rows],
            np.searchsorted(kept, self.group_indices[rows]),
            classes=self.classes,
            groups=[self.groups[a] for a in kept],
            attributes=[self.attributes[a] for a in kept],
            schema=self.schema,
            attribute_names=self.attribute_names,
            **self._facts(rows),
        )

    def _facts(self, rows: Array) -> dict[str, Any]:
        """What else is known of each of these rows."""
        return {
            "pairs": self.pairs[rows],
            "clusters": None if self.clustered is None else self.clustered[rows],
            "ids": None if self.ids is None else self.ids.take(pa.array(rows)),
            "weights": None if self.weights is None else self.weights[rows],
            "missing_cells": self.missing_cells,
        }

    def rows(self, cell: Cell) -> range:
        """The rows of one cell."""
        i = cell.label * len(self.groups) + cell.group
        return range(int(self.offsets[i]), int(self.offsets[i + 1]))


def stand_in(shape: Sequence[int], dtype: Any) -> Array:
    """Return black images that take no memory, for pixels still to come: all are views of one number."""
    return np.broadcast_to(np.zeros((), dtype=dtype), tuple(shape))


def _taken(images: Array, rows: Array) -> Array:
    """Return these rows; of a stand-in another one, since its rows are all alike."""
    if images.size and not any(images.strides):
        return stand_in((len(rows), *images.shape[1:]), images.dtype)
    return images[rows]


def _numbered(indices: Array) -> tuple[str, ...]:
    if not np.issubdtype(indices.dtype, np.integer) or indices.min() < 0:
        raise DataError(f"whole numbers from 0 are needed, got {indices.dtype} from {indices.min()}")
    return tuple(str(i) for i in range(int(indices.max()) + 1))


def _within(indices: Array, names: tuple[str, ...], what: str, where: str) -> None:
    if not np.issubdtype(indices.dtype, np.integer):
        raise DataError(f"{what}s are indices into {where}; got {indices.dtype}")
    outside = np.flatnonzero((indices < 0) | (indices >= len(names)))
    if len(outside):
        row = int(outside[0])
        raise DataError(
            f"{what} {indices[row]} of example {row} is outside 0 to {len(names) - 1}; "
            f"mend the data, or name all {what}s in params.yaml: {where}"
        )
