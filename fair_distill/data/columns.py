"""From columns of a table to classes, groups and numbers for what belongs together.

Values are text here, whatever type they had, so that 1, "1" and a category called 1 are the same class.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from pydantic import AfterValidator, Field

from fair_distill.config import Section
from fair_distill.data.grouped import Array, Attributes
from fair_distill.data.stream import Stream
from fair_distill.errors import ConfigError, DataError, ShapeError
from fair_distill.rows import RowSchema

_MOST_NAMES = 1000
_WHOLE = re.compile(r"-?[0-9]+")

Name = Annotated[str, Field(min_length=1)]


def _apart(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError(f"each name once; got {list(names)}")
    return names


Classes = Annotated[tuple[Name, ...], Field(min_length=2, max_length=_MOST_NAMES, strict=False), AfterValidator(_apart)]


class Columns(Section):
    """Which column, or array of an .npz, holds what.

    Attributes
    ----------
    image : the pixels; a PNG or JPEG, or its path; `name*` takes the columns name0, name1, ... for one pixel each
    numeric, categorical : in place of an image, the columns of a row
    label : the class
    groups : one attribute, or several whose combinations are the groups
    unknown : the value of an attribute that means it is not known; where it is declared, nothing at all means so too
    split : the name of the split, for `params.yaml: data.splits` to choose by
    pair : the same in examples that show the same thing in different groups
    cluster : the same in examples that are not independent, as several images of one person; splits keep them together
    example_id : a name for each example, to find it by; stands in the prepared files and in messages
    weight : a number from 0 for each example; stands in the prepared files, and no stage uses it
    """

    image: Name | None = None
    numeric: Annotated[tuple[Name, ...], Field(strict=False), AfterValidator(_apart)] = ()
    categorical: Annotated[tuple[Name, ...], Field(strict=False), AfterValidator(_apart)] = ()
    label: Name | None = None
    groups: Name | Annotated[tuple[Name, ...], Field(min_length=1, strict=False), AfterValidator(_apart)] | None = None
    unknown: Name | None = None
    split: Name | None = None
    pair: Name | None = None
    cluster: Name | None = None
    example_id: Name | None = None
    weight: Name | None = None

    @property
    def attributes(self) -> tuple[str, ...]:
        return (self.groups,) if isinstance(self.groups, str) else self.groups or ()

    @property
    def facts(self) -> list[str]:
        """Every column but the image's, each once."""
        named = [self.label, *self.attributes, self.split, self.pair, self.cluster, self.example_id, self.weight]
        return list(dict.fromkeys(name for name in named if name is not None))

    def missing_as(self, column: str) -> str | None:
        """What stands for what is missing in a column, if it may be."""
        return self.unknown if column in self.attributes else None

    @property
    def row(self) -> list[str]:
        """The columns of a row; none, if there is an image."""
        return [*self.numeric, *self.categorical]

    def needed(self, *keys: str, by: str) -> None:
        if "image" in keys and self.row:
            raise ConfigError(
                "params.yaml: data.source.columns: an image, or numeric and categorical columns of the source `table`"
            )
        for key in keys:
            if getattr(self, key) is None:
                raise ConfigError(f"params.yaml: data.source.columns.{key}: the source {by} needs this key")


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images with a class each, and what else a source says about them.

    Attributes
    ----------
    images : uint8 array (N, channels, height, width), or a stream of such; or of rows a structured array (N,), a field
        for each column
    schema : of rows; given the training rows, returns their schema
    labels, groups : int arrays (N,); indices into `classes` and `group_names`
    attributes : for each group the values that make it up; None for one that is not known
    attribute_names : what each of these values is a value of
    pairs, clusters : int arrays (N,); what belongs together shares a number
    splits : array (N,) of text; the source's own names of its parts
    ids, weights : as in `GroupedDataset`
    """

    images: Array | Stream
    labels: Array
    classes: tuple[str, ...]
    groups: Array | None = None
    group_names: tuple[str, ...] = ()
    attributes: tuple[Attributes, ...] = ()
    attribute_names: tuple[str, ...] = ()
    pairs: Array | None = None
    clusters: Array | None = None
    splits: Array | None = None
    schema: Callable[[Array], RowSchema] | None = None
    ids: pa.Array | None = None
    weights: Array | None = None

    def __len__(self) -> int:
        return len(self.images)

    def in_memory(self) -> "Labelled":
        """Return it with all its images read."""
        return replace(self, images=np.asarray(self.images))


def labelled(
    images: Array | Stream,
    facts: Mapping[str, pa.Array],
    columns: Columns,
    classes: Sequence[str] | None,
    *,
    labels: pa.Array | None = None,
    splits: Array | None = None,
    schema: Callable[[Array], RowSchema] | None = None,
) -> Labelled:
    """Name classes and groups, number pairs and clusters; `labels` and `splits` may come apart from the columns."""
    label = facts[columns.label] if labels is None and columns.label else labels
    split = _text(facts[columns.split]) if columns.split else splits
    assert label is not None
    for name, values in {"the labels": label, **facts}.items():
        if len(values) != len(images):
            raise ShapeError(f"{name}: one entry per image is needed, got {(len(values),)} for {len(images)} images")
    numbers, names = class_indices(_text(label), classes)
    attributes = {name: _text(facts[name]) for name in columns.attributes}
    groups: Array | None = None
    made_of: tuple[Attributes, ...] = ()
    group_names: tuple[str, ...] = ()
    if attributes:
        groups, made_of = group_indices(attributes, columns.unknown)
        group_names = tuple("×".join(str(columns.unknown) if v is None else v for v in row) for row in made_of)
        _several(group_names, "groups", "data.source.columns.groups")
    return Labelled(
        images=images,
        labels=numbers,
        classes=names,
        groups=groups,
        group_names=group_names,
        attributes=made_of,
        attribute_names=columns.attributes,
        pairs=_numbered(facts[columns.pair]) if columns.pair else None,
        clusters=_numbered(facts[columns.cluster]) if columns.cluster else None,
        splits=split,
        schema=schema,
        ids=facts[columns.example_id] if columns.example_id else None,
        weights=facts[columns.weight].to_numpy() if columns.weight else None,
    )


def as_names(values: Any, *, where: str, missing_as: str | None = None) -> pa.Array:
    """Return a column as text, refusing what is neither a whole number nor a name, and what is missing if it may not.

    It stays in Arrow, where a text takes its letters and no more: there may be millions.

    Parameters
    ----------
    missing_as : what stands for what is missing, if it may be
    """
    column, kind = _column(values, where)
    if not any(accepts(kind) for accepts in _NAMING):
        raise DataError(f"{where}: whole numbers or names are wanted, got {kind}")
    text = column.cast(pa.large_string()).combine_chunks()
    absent = pa.compute.fill_null(pa.compute.equal(text, ""), True)
    count = pa.compute.sum(absent).as_py()
    if count and missing_as is None:
        raise DataError(
            f"{where} is missing in {count} of {len(text)} rows, the first of them row "
            f"{pa.compute.index(absent, True).as_py() + 1}; "
            "name what is not known, for example `unknown`, or leave the rows out"
        )
    return pa.compute.if_else(absent, pa.scalar(missing_as, pa.large_string()), text) if count else text


def as_weights(values: Any, *, where: str) -> pa.Array:
    """Return a column as numbers from 0, refusing what is none and what is missing."""
    column, kind = _column(values, where)
    try:
        numbers = column.cast(pa.float32()).combine_chunks()
    except pa.ArrowException:
        raise DataError(f"{where}: a weight is a number; got {kind}") from None
    bad = pa.compute.invert(
        pa.compute.fill_null(
            pa.compute.and_(pa.compute.is_finite(numbers), pa.compute.greater_equal(numbers, 0)), False
        )
    )
    if (row := pa.compute.index(bad, True).as_py()) >= 0:
        raise DataError(f"{where} is {numbers[row].as_py()} in row {row + 1}; a weight is a finite number from 0")
    return numbers


_NAMING = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_string, pa.types.is_large_string)


def _column(values: Any, where: str) -> tuple[pa.ChunkedArray, pa.DataType]:
    """Return a column of whatever kind as Arrow has it, and the type of its values."""
    column = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([_arrow(values, where)])
    return column, column.type.value_type if pa.types.is_dictionary(column.type) else column.type


def _text(names: pa.Array) -> Array:
    """Return text as NumPy has it, by its values: they are few where the rows are many."""
    encoded = names.dictionary_encode()
    values = np.asarray(encoded.dictionary.to_numpy(zero_copy_only=False), dtype=object).astype(str)
    text: Array = values[encoded.indices.to_numpy()]
    return text


def _arrow(values: Array, where: str) -> pa.Array:
    if values.ndim != 1:
        raise ShapeError(f"{where}: one entry per image is needed, got an array of {values.shape}")
    try:
        return pa.array(values)
    except (pa.ArrowException, UnicodeDecodeError):
        raise DataError(f"{where}: whole numbers or names are wanted, got {values.dtype}") from None


def class_indices(labels: Array, declared: Sequence[str] | None) -> tuple[Array, tuple[str, ...]]:
    """Return an index for each label, and the names: the declared ones, or else those that occur.

    A label is a declared name or, if all labels are whole numbers, the position of one.
    """
    values, indices = np.unique(labels, return_inverse=True)
    numbers = all(_WHOLE.fullmatch(value) for value in values)
    if declared is None:
        if numbers:
            _bounded(values, labels, _MOST_NAMES)
            order = np.argsort(values.astype(np.int64), kind="stable")
            values, indices = values[order], np.argsort(order)[indices]
        names = tuple(values.tolist())
    else:
        names = tuple(declared)
        if numbers and not set(values) <= set(names):
            _bounded(values, labels, len(names))
            return values.astype(np.int64)[indices], names
        unknown = [value for value in values if value not in names]
        if unknown:
            raise DataError(
                f"label {unknown[0][:80]!r} of example {np.flatnonzero(labels == unknown[0])[0]} is none of "
                f"{', '.join(names[:10])}; mend the data, or params.yaml: data.source.classes"
            )
        indices = np.array([names.index(value) for value in values])[indices]
    _several(names, "classes", "data.source.columns.label")
    return indices.astype(np.int64), names


def group_indices(attributes: Mapping[str, Array], unknown: str | None) -> tuple[Array, tuple[Attributes, ...]]:
    """Return a group for each example, and the values that make each up, for every combination that occurs.

    An attribute of numbers says which it is: `student=1`. The value `unknown` is None, and comes after the others.
    """
    # Each combination as one number, the first attribute leading: sorting numbers is far cheaper than sorting rows.
    code: Array = np.zeros(len(next(iter(attributes.values()))), dtype=np.int64)
    names: list[list[str | None]] = []
    for attribute, values in attributes.items():
        found = [value for value in np.unique(values).tolist() if value != unknown]
        numbers = all(_WHOLE.fullmatch(value) for value in found)
        places = np.searchsorted(np.array(found, dtype=values.dtype), values)
        code = code * (len(found) + 1) + np.where(values == unknown, len(found), places)
        names.append([*(f"{attribute}={value}" if numbers else value for value in found), None])
    combinations, indices = np.unique(code, return_inverse=True)
    each = zip(*np.unravel_index(combinations, [len(name) for name in names]), strict=True)
    made = tuple(tuple(name[i] for name, i in zip(names, row, strict=True)) for row in each)
    return indices.astype(np.int64), made


def _bounded(values: Array, labels: Array, count: int) -> None:
    for value in values:
        if len(value) > 9 or not 0 <= int(value) < count:
            row = np.flatnonzero(labels == value)[0]
            raise DataError(
                f"label {value[:80]} of example {row} is outside 0 to {count - 1}; "
                "mend the data, or name all classes in params.yaml: data.source.classes"
            )


def _several(names: Sequence[str], what: str, where: str) -> None:
    if not 2 <= len(names) <= _MOST_NAMES:
        which = f": {names[0]!r}" if len(names) == 1 else ""
        raise DataError(
            f"2 to {_MOST_NAMES} {what} are wanted, got {len(names)}{which}; mend the data or params.yaml: {where}"
        )


def _numbered(names: pa.Array) -> Array:
    """Return a number for each row, equal where the names are, in the order of the names."""
    ranks: Array = pa.compute.rank(names, tiebreaker="dense").to_numpy().astype(np.int64)
    return ranks - 1
