"""Group-labelled data in memory, which every stage after `prepare` works on.

N examples, C classes, G groups. Images have the shape (N, channels, height, width).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fair_distill.errors import DataError, ShapeError
from fair_distill.formats.row_schema import RowSchema
from fair_distill.formats.schema_inference import schema_of, types_of, with_types
from fair_distill.formats.table_columns import Table
from fair_distill.text import html_table

Array = NDArray[Any]
Attributes = tuple[str | None, ...]


@dataclass(frozen=True)
class Cell:
    """The index of a class and of a group."""

    label: int
    group: int


@dataclass(frozen=True, eq=False)
class GroupedDataset:
    """Images with a class and a group each, sorted by cell.

    Create it with `GroupedDataset.from_arrays` or `from_rows`. The constructor requires rows that are already sorted.

    Attributes
    ----------
    images : uint8 or float32 array (N, channels, height, width)
        uint8 values are 255 times the float32 values. Rows of a table are float32 (N, columns, 1, 1). The array may be
        a view of a memory-mapped file, so treat it as read-only.
    labels, group_indices : int arrays (N,)
        Indices into `classes` and `groups`.
    pairs : int array (N,)
        Examples that show the same thing in different groups share a number. Other numbers are unique.
    classes, groups : the names
    offsets : int array (C * G + 1,)
        Cell (y, a) is rows offsets[y*G + a] : offsets[y*G + a + 1].
    attributes : for each group its attribute values, such as `("f", "dark")` for `f×dark`
        None is an unknown value. By default each group is the value of a single attribute.
    attribute_names : the names of the attributes, such as `("sex", "skin")`; () if they have no names
    schema : the columns of the table, if the images are rows of a table; otherwise None
    clustered : int array (N,), or None if the source has no clusters
        Dependent examples, such as the images of one person, share a number. See `clusters`.
    ids : large_string Arrow array (N,), the names of the examples in the source; None if it has none
    weights : float32 array (N,), as in the source; None if it has none. No stage uses them
    missing_cells : how `data.prepare` handled classes without examples of a group; empty if there were none
    units : uint64 array (N, K), names of the unit of each example, see `units.Units`; None if they have no names
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
    units: Array | None = None

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.ndim != 4 or self.images.dtype not in (np.uint8, np.float32):
            raise ShapeError(
                "images must have the shape (N, channels, height, width) and the type uint8 or float32; "
                f"got {self.images.shape} {self.images.dtype}"
            )
        for name in ("labels", "group_indices", "pairs", "clustered", "ids", "weights"):
            column = getattr(self, name)
            # numpy.shape would create a Python object for every id of an Arrow array.
            shape = (n,) if column is None else getattr(column, "shape", (len(column),))
            if shape != (n,):
                raise ShapeError(f"{name} must have one entry per image; got the shape {shape} for {n} images")
        if len(self.offsets) != len(self.classes) * len(self.groups) + 1 or self.offsets[-1] != n:
            raise ShapeError(
                f"offsets do not match {n} rows in {len(self.classes)} classes × {len(self.groups)} groups"
            )
        if self.units is not None and (self.units.ndim != 2 or len(self.units) != n):
            raise ShapeError(f"units must have the shape ({n}, names); got {self.units.shape}")
        self._check_attributes()
        if self.schema is not None and (self.shape != self.schema.shape or self.images.dtype != np.float32):
            raise ShapeError(
                f"rows of this schema must be float32 with the shape (N, {self.schema.shape[0]}, 1, 1); "
                f"got {self.images.dtype} {self.images.shape}"
            )

    def _check_attributes(self) -> None:
        if not self.attributes:
            object.__setattr__(self, "attributes", tuple((name,) for name in self.groups))
        if len(set(self.attributes)) != len(self.groups) or len({len(values) for values in self.attributes}) != 1:
            raise ShapeError(
                f"attributes must have the same number of values for each of the {len(self.groups)} groups, and differ "
                f"between groups; got {list(self.attributes)}"
            )
        count = len(self.attributes[0])
        if self.attribute_names and len(set(self.attribute_names)) != count:
            raise ShapeError(
                f"attribute_names must be {count} different names, one for each attribute; "
                f"got {list(self.attribute_names)}"
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
        units: Array | None = None,
    ) -> "GroupedDataset":
        """Sort the rows by cell, keeping the order within each cell, and return the dataset.

        Parameters
        ----------
        images : uint8 or float32 array (N, channels, height, width)
        labels, group_indices : integer arrays (N,), indices into `classes` and `groups`; or arrays (N,) of names.
            Arrays may also be tensors of torch, columns of pandas or polars, or lists
        classes, groups : the names; by default the numbers "0", "1", and so on, or the names that occur, sorted
        pairs, clusters, ids, weights : optional columns (N,); see the attributes of the class
        attributes, attribute_names, schema, missing_cells, units : see the attributes of the class

        Raises
        ------
        DataError
            If the arrays are empty, or an index has no name.
        ShapeError
            If the arrays do not have one entry per image.
        """
        images, labels = _as_array(images, "images"), _as_array(labels, "labels")
        group_indices = _as_array(group_indices, "group_indices")
        if images.ndim == 0 or len(images) == 0:
            raise DataError("a dataset needs at least one example; got none")
        pairs = np.arange(len(images)) if pairs is None else _as_array(pairs, "pairs")
        if labels.shape != (len(images),) or group_indices.shape != (len(images),):
            raise ShapeError(
                f"labels and group_indices must have one entry per image; got the shapes {labels.shape} and "
                f"{group_indices.shape} for {len(images)} images"
            )
        if pairs.shape != (len(images),):
            raise ShapeError(
                f"pairs must have one entry per image; got the shape {pairs.shape} for {len(images)} images"
            )
        labels, classes = _index_names(labels, classes, "label", "classes")
        group_indices, groups = _index_names(group_indices, groups, "group", "groups")
        class_names = tuple(classes) if classes is not None else _default_names(labels)
        group_names = tuple(groups) if groups is not None else _default_names(group_indices)
        _check_indices(labels, class_names, "label", "data.classes")
        _check_indices(group_indices, group_names, "group", "data.groups")
        cells = labels.astype(np.int64) * len(group_names) + group_indices.astype(np.int64)
        order = np.argsort(cells, kind="stable")
        counts = np.bincount(cells, minlength=len(class_names) * len(group_names))
        return cls(
            images=_take_images(images, order),
            labels=labels[order].astype(np.int64),
            group_indices=group_indices[order].astype(np.int64),
            pairs=pairs[order].astype(np.int64),
            classes=class_names,
            groups=group_names,
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            attributes=tuple(attributes),
            schema=schema,
            attribute_names=tuple(attribute_names),
            clustered=None if clusters is None else np.asarray(clusters)[order].astype(np.int64),
            ids=None if ids is None else ids.take(pa.array(order)),
            weights=None if weights is None else np.asarray(weights)[order].astype(np.float32),
            missing_cells=dict(missing_cells),
            units=None if units is None else units[order],
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
        """Return the dataset of the rows of a table.

        For training data, pass the names of the columns; the schema is inferred. For other splits, pass the `schema` of
        the training data, so that all splits are encoded in the same way.

        Parameters
        ----------
        table : a pandas or Arrow table, or a mapping of arrays
        labels, group_indices : indices, as in `from_arrays`
        numeric, categorical : the names of the columns
        missing : the category for missing values; None refuses them
        unseen : the category for values that the training data do not have; None refuses them
        schema : the schema of the training data, instead of the four arguments above
        classes, groups, pairs : as in `from_arrays`

        Raises
        ------
        DataError
            As in `from_arrays`, and if a column has invalid values.
        """
        if schema is None:
            schema = schema_of(table, numeric=numeric, categorical=categorical, missing=missing, unseen=unseen)
            schema = with_types(schema, types_of(table, schema))
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

    def _repr_html_(self) -> str:
        """Return the dataset for a notebook: the number of examples of each class and group."""
        rows = ((name, *counts) for name, counts in zip(self.classes, self.counts.tolist(), strict=True))
        caption = f"{len(self):,} examples of shape {'×'.join(map(str, self.shape))}"
        return html_table(("class", *self.groups), rows, caption=caption)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def clusters(self) -> Array:
        """The number of each example's cluster, (N,). Without clusters, pairs are the clusters."""
        return self.pairs if self.clustered is None else self.clustered

    @property
    def counts(self) -> Array:
        """The number of examples in each cell, (C, G)."""
        return np.diff(self.offsets).reshape(len(self.classes), len(self.groups))

    @property
    def known(self) -> Array:
        """Whether all attributes of each group are known, (G,)."""
        return np.array([None not in values for values in self.attributes])

    def take(self, rows: Array) -> "GroupedDataset":
        """Return the examples of these rows, sorted by cell again. Rows may repeat."""
        return GroupedDataset.from_arrays(
            _take_images(self.images, rows),
            self.labels[rows],
            self.group_indices[rows],
            classes=self.classes,
            groups=self.groups,
            attributes=self.attributes,
            schema=self.schema,
            attribute_names=self.attribute_names,
            **self._optional_columns(rows),
        )

    def of_known_groups(self) -> "GroupedDataset":
        """Return the examples whose group is known, without the unknown groups."""
        known = np.flatnonzero(self.known)
        rows = np.flatnonzero(self.known[self.group_indices])
        return GroupedDataset.from_arrays(
            _take_images(self.images, rows),
            self.labels[rows],
            np.searchsorted(known, self.group_indices[rows]),
            classes=self.classes,
            groups=[self.groups[a] for a in known],
            attributes=[self.attributes[a] for a in known],
            schema=self.schema,
            attribute_names=self.attribute_names,
            **self._optional_columns(rows),
        )

    def _optional_columns(self, rows: Array) -> dict[str, Any]:
        return {
            "pairs": self.pairs[rows],
            "clusters": None if self.clustered is None else self.clustered[rows],
            "ids": None if self.ids is None else self.ids.take(pa.array(rows)),
            "weights": None if self.weights is None else self.weights[rows],
            "missing_cells": self.missing_cells,
            "units": None if self.units is None else self.units[rows],
        }

    def rows(self, cell: Cell) -> range:
        """Return the rows of a cell."""
        i = cell.label * len(self.groups) + cell.group
        return range(int(self.offsets[i]), int(self.offsets[i + 1]))


def placeholder_images(shape: Sequence[int], dtype: Any) -> Array:
    """Return black images without memory, as a placeholder for pixels that are written later.

    All values are views of one number.
    """
    return np.broadcast_to(np.zeros((), dtype=dtype), tuple(shape))


def _take_images(images: Array, rows: Array) -> Array:
    """Return these rows. Rows of a placeholder are all equal, so the result is a placeholder too."""
    if images.size and not any(images.strides):
        return placeholder_images((len(rows), *images.shape[1:]), images.dtype)
    return images[rows]


def _as_array(values: Any, name: str) -> Array:
    """Return values as an array of NumPy. Raises DataError for values that are none."""
    if isinstance(values, np.ndarray):
        return values
    if hasattr(values, "detach"):  # a tensor of torch may need gradients or be on another device
        values = values.detach().cpu()
    try:
        array: Array = np.asarray(values)
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(
            f"{name} is a {type(values).__name__} that NumPy cannot convert ({reason}). Convert it with numpy.asarray"
        ) from None
    return array


def _index_names(values: Array, names: Sequence[str] | None, noun: str, key: str) -> tuple[Array, Sequence[str] | None]:
    """Return the index of each value among the names, and the names, if the values are names; else both unchanged."""
    is_text = values.dtype.kind in "UT" or (
        values.dtype == object and all(isinstance(value, str) for value in values.ravel())
    )
    if not is_text:
        return values, names
    occurring, indices = np.unique(values.astype(str), return_inverse=True)
    if names is None:
        return indices, tuple(occurring.tolist())
    position = {name: i for i, name in enumerate(names)}
    for name in occurring.tolist():
        if name not in position:
            raise DataError(
                f"the {noun} {name[:80]!r} is not one of `{key}`, {', '.join(map(str, names))[:200]}. Add it, or "
                "correct the data"
            )
    return np.array([position[name] for name in occurring.tolist()])[indices], names


def _default_names(indices: Array) -> tuple[str, ...]:
    if indices.dtype == object:
        raise DataError("labels and groups must be indices from 0, or names; got an array of several types")
    if not np.issubdtype(indices.dtype, np.integer) or indices.min() < 0:
        raise DataError(f"indices must be integers from 0; got {indices.dtype} with the minimum {indices.min()}")
    return tuple(str(i) for i in range(int(indices.max()) + 1))


def _check_indices(indices: Array, names: tuple[str, ...], noun: str, key: str) -> None:
    if not np.issubdtype(indices.dtype, np.integer):
        raise DataError(f"each {noun} must be an index into {key}; got {indices.dtype}")
    outside = np.flatnonzero((indices < 0) | (indices >= len(names)))
    if len(outside):
        row = int(outside[0])
        raise DataError(
            f"{noun} {indices[row]} of example {row} is outside 0 to {len(names) - 1}. "
            f"Correct the data, or declare all {noun}s in params.yaml: {key}"
        )
