"""From columns of a table to classes, groups and numbers for what belongs together.

Values are text here, whatever type they had, so that 1, "1" and a category called 1 are the same class.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from pydantic import AfterValidator, Field

from fair_distill.config import Section
from fair_distill.data.categorical import Coded, numbered
from fair_distill.data.grouped_dataset import Array, Attributes
from fair_distill.data.image_stream import Stream
from fair_distill.errors import ConfigError, DataError, ShapeError
from fair_distill.formats.row_schema import RowSchema

_MOST_NAMES = 1000
_WHOLE = re.compile(r"-?[0-9]+")
_GROUPS = "groups", "data.source.columns.groups"

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

    @property
    def of_few_values(self) -> set[str]:
        """The columns that name classes, groups or splits."""
        return {name for name in (self.label, *self.attributes, self.split) if name is not None}

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
    images : uint8 array (N, channels, height, width), or a stream of such; or of rows a stream of structured arrays,
        a field for each column
    schema : of rows; given the training rows, batch by batch, returns their schema
    labels, group_indices : int32 arrays (N,); indices into `classes` and `groups`
    attributes : for each group the values that make it up; None for one that is not known
    attribute_names : what each of these values is a value of
    pairs, clusters : int32 arrays (N,); what belongs together shares a number
    splits : the source's own names of its parts
    ids, weights : as in `GroupedDataset`
    """

    images: Array | Stream
    labels: Array
    classes: tuple[str, ...]
    group_indices: Array | None = None
    groups: tuple[str, ...] = ()
    attributes: tuple[Attributes, ...] = ()
    attribute_names: tuple[str, ...] = ()
    pairs: Array | None = None
    clusters: Array | None = None
    splits: Coded | None = None
    schema: Callable[[Iterable[Array]], RowSchema] | None = None
    ids: pa.Array | None = None
    weights: Array | None = None

    def __len__(self) -> int:
        return len(self.images)

    def in_memory(self) -> "Labelled":
        """Return it with all its images read."""
        return replace(self, images=np.asarray(self.images))


def labelled(
    images: Array | Stream,
    facts: Mapping[str, Any],
    columns: Columns,
    classes: Sequence[str] | None,
    *,
    labels: Coded | None = None,
    splits: Coded | None = None,
    schema: Callable[[Iterable[Array]], RowSchema] | None = None,
) -> Labelled:
    """Name classes and groups, number pairs and clusters; `labels` and `splits` may come apart from the columns.

    Parameters
    ----------
    facts : of each column what it says of each example: Coded for those of few values, else an Arrow array
    """
    label = facts[columns.label] if labels is None and columns.label else labels
    assert label is not None
    numbers, names = class_indices(label, classes)
    group_indices: Array | None = None
    made_of: tuple[Attributes, ...] = ()
    groups: tuple[str, ...] = ()
    if columns.attributes:
        group_indices, made_of = index_groups({name: facts[name] for name in columns.attributes}, columns.unknown)
        groups = tuple("×".join(str(columns.unknown) if v is None else v for v in row) for row in made_of)
        _several(groups, *_GROUPS)
    return Labelled(
        images=images,
        labels=numbers,
        classes=names,
        group_indices=group_indices,
        groups=groups,
        attributes=made_of,
        attribute_names=columns.attributes,
        pairs=_ranked(facts[columns.pair]) if columns.pair else None,
        clusters=_ranked(facts[columns.cluster]) if columns.cluster else None,
        splits=facts[columns.split] if columns.split else splits,
        schema=schema,
        ids=_text(facts[columns.example_id]) if columns.example_id else None,
        weights=facts[columns.weight].to_numpy() if columns.weight else None,
    )


def as_names(values: Any, *, where: str, missing_as: str | None = None, first: int = 0) -> pa.Array:
    """Return a column as text, refusing what is neither a whole number nor a name, and what is missing if it may not.

    Parameters
    ----------
    missing_as : what stands for what is missing, if it may be
    first : the number of the first row, for messages; those before it were fine
    """
    column, kind = _column(values, where)
    if not any(accepts(kind) for accepts in _NAMING):
        raise DataError(f"{where}: whole numbers or names are wanted, got {kind}")
    text = column.cast(pa.large_string()).combine_chunks()
    absent = pa.compute.fill_null(pa.compute.equal(text, ""), True)
    count = pa.compute.sum(absent).as_py()
    if count and missing_as is None:
        raise DataError(
            f"{where} is missing in {count} of {first + len(text)} rows, the first of them row "
            f"{first + pa.compute.index(absent, True).as_py() + 1}; "
            "name what is not known, for example `unknown`, or leave the rows out"
        )
    return pa.compute.if_else(absent, pa.scalar(missing_as, pa.large_string()), text) if count else text


def as_weights(values: Any, *, where: str, first: int = 0) -> pa.Array:
    """Return a column as numbers from 0, refusing what is none and what is missing; `first` as in `as_names`."""
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
        raise DataError(
            f"{where} is {numbers[row].as_py()} in row {first + row + 1}; a weight is a finite number from 0"
        )
    return numbers


_NAMING = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_string, pa.types.is_large_string)


def _column(values: Any, where: str) -> tuple[pa.ChunkedArray, pa.DataType]:
    """Return a column of whatever kind as Arrow has it, and the type of its values."""
    column = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([_arrow(values, where)])
    return column, column.type.value_type if pa.types.is_dictionary(column.type) else column.type


def _text(fact: Any) -> pa.Array:
    if isinstance(fact, Coded):
        return pa.DictionaryArray.from_arrays(fact.codes, pa.array(fact.values, pa.large_string())).dictionary_decode()
    return fact


def _arrow(values: Array, where: str) -> pa.Array:
    if values.ndim != 1:
        raise ShapeError(f"{where}: one entry per image is needed, got an array of {values.shape}")
    try:
        return pa.array(values)
    except (pa.ArrowException, UnicodeDecodeError):
        raise DataError(f"{where}: whole numbers or names are wanted, got {values.dtype}") from None


def class_indices(labels: Coded, declared: Sequence[str] | None) -> tuple[Array, tuple[str, ...]]:
    """Return an index for each label, and the names: the declared ones, or else those that occur.

    A label is a declared name or, if all labels are whole numbers, the position of one.
    """
    values = sorted(labels.values)
    numbers = all(_WHOLE.fullmatch(value) for value in values)
    if declared is None:
        if numbers:
            _bounded(values, labels, _MOST_NAMES)
            values.sort(key=int)
        names = tuple(values)
    else:
        names = tuple(declared)
        if numbers and not set(values) <= set(names):
            _bounded(values, labels, len(names))
            return np.array([int(value) for value in labels.values], dtype=np.int32)[labels.codes], names
        unknown = [value for value in values if value not in names]
        if unknown:
            raise DataError(
                f"label {unknown[0][:80]!r} of example {labels.rows(unknown[0])[0]} is none of "
                f"{', '.join(names[:10])}; mend the data, or params.yaml: data.source.classes"
            )
    _several(names, "classes", "data.source.columns.label")
    return np.array([names.index(value) for value in labels.values], dtype=np.int32)[labels.codes], names


def index_groups(attributes: Mapping[str, Coded], unknown: str | None) -> tuple[Array, tuple[Attributes, ...]]:
    """Return a group for each example, and the values that make each up, for every combination that occurs.

    An attribute of numbers says which it is: `student=1`. The value `unknown` is None, and comes after the others.
    """
    # Each combination as one number, the first attribute leading; after each, those that occur are numbered anew.
    made: list[Attributes] = [()]
    indices: Array = np.zeros(len(next(iter(attributes.values()))), dtype=np.int32)
    for attribute, coded in attributes.items():
        found = sorted(value for value in coded.values if value != unknown)
        _bearable(len(found), *_GROUPS)
        numbers = all(_WHOLE.fullmatch(value) for value in found)
        names = [*(f"{attribute}={value}" if numbers else value for value in found), None]
        place = {value: i for i, value in enumerate(found)}
        places = np.array([place.get(value, len(found)) for value in coded.values], dtype=np.int64)
        codes = indices * len(names) + places[coded.codes]
        there = np.flatnonzero(np.bincount(codes))
        _bearable(len(there), *_GROUPS)
        indices, _ = numbered(codes)
        made = [(*made[code // len(names)], names[code % len(names)]) for code in there.tolist()]
    return indices, tuple(made)


def _bounded(values: Sequence[str], labels: Coded, count: int) -> None:
    for value in values:
        if len(value) > 9 or not 0 <= int(value) < count:
            raise DataError(
                f"label {value[:80]} of example {labels.rows(value)[0]} is outside 0 to {count - 1}; "
                "mend the data, or name all classes in params.yaml: data.source.classes"
            )


def _several(names: Sequence[str], what: str, where: str) -> None:
    if len(names) == 1:
        raise DataError(f"{_wanted(what)}, got 1: {names[0]!r}; mend the data or params.yaml: {where}")
    _bearable(len(names), what, where)


def _bearable(count: int, what: str, where: str) -> None:
    if count > _MOST_NAMES:
        raise DataError(f"{_wanted(what)}, got {count}; mend the data or params.yaml: {where}")


def _wanted(what: str) -> str:
    return f"2 to {_MOST_NAMES} {what} are wanted"


def _ranked(fact: Any) -> Array:
    """Return a number for each row, equal where the names are, in the order of the names."""
    if isinstance(fact, Coded):
        return np.argsort(np.argsort(fact.values)).astype(np.int32)[fact.codes]
    ranks: Array = pa.compute.rank(fact, tiebreaker="dense").to_numpy().astype(np.int32)
    ranks -= 1
    return ranks
