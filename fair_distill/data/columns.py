"""From the columns of a source to classes, groups, pairs and clusters.

Values are compared as text, so 1, "1" and a category named 1 are the same class.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from pydantic import AfterValidator, Field

from fair_distill.config import Section
from fair_distill.config.sections import DataName as Name
from fair_distill.data.column_builders import CategoryColumn
from fair_distill.data.group_names import MAX_NAMES, check_names, name_groups
from fair_distill.data.grouped_dataset import Array, Attributes
from fair_distill.data.image_stream import ImageStream
from fair_distill.data.spelling import check_spellings, check_unknown
from fair_distill.errors import ConfigError, DataError, ShapeError
from fair_distill.formats.row_columns import Label
from fair_distill.formats.row_schema import RowSchema
from fair_distill.formats.table_columns import integers_of_floats

_INTEGER = re.compile(r"-?[0-9]+")
_WHOLE_FLOAT = re.compile(r"(-?[0-9]+)\.0+")
_CLASSES_KEY = "data.source.columns.label"


def unique_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names. Raises ValueError if one occurs twice."""
    if len(set(names)) < len(names):
        raise ValueError(f"each name may occur once; got {list(names)}")
    return names


_Names = Annotated[tuple[Name, ...], Field(strict=False), AfterValidator(unique_names)]
Classes = Annotated[_Names, Field(min_length=2, max_length=MAX_NAMES)]


class Columns(Section):
    """The names of the columns, or of the arrays of an .npz file.

    Attributes
    ----------
    image : the pixels; a PNG, JPEG or WebP, or its path; `name*` takes the columns name0, name1, ... with a pixel each
    numeric, categorical : the columns of a row, instead of an image
    label : the class
    groups : one attribute, or several whose combinations are the groups
    unknown : the attribute value that means "not known", or several; if it is set, missing values mean the same
    split : the name of the split, which `params.yaml: data.splits` refers to
    pair : equal for examples that show the same thing in different groups
    cluster : equal for dependent examples, such as images of one person; a cluster is never divided between splits
    example_id : a name for each example, which the prepared files and messages contain
    weight : a number from 0 for each example, which the prepared files contain; no stage uses it
    """

    image: Name | None = None
    numeric: _Names = ()
    categorical: _Names = ()
    label: Name | None = None
    groups: (
        Name | Annotated[tuple[Name, ...], Field(min_length=1, strict=False), AfterValidator(unique_names)] | None
    ) = None
    unknown: Name | Annotated[_Names, Field(min_length=1)] | None = None
    split: Name | None = None
    pair: Name | None = None
    cluster: Name | None = None
    example_id: Name | None = None
    weight: Name | None = None

    @property
    def attributes(self) -> tuple[str, ...]:
        """The columns whose combinations are the groups."""
        return (self.groups,) if isinstance(self.groups, str) else self.groups or ()

    @property
    def metadata(self) -> list[str]:
        """All columns except the image and the columns of a row, each once."""
        columns = [self.label, *self.attributes, self.split, self.pair, self.cluster, self.example_id, self.weight]
        return list(dict.fromkeys(name for name in columns if name is not None))

    @property
    def categories(self) -> set[str]:
        """The metadata columns with few different values: classes, attributes and splits."""
        return {name for name in (self.label, *self.attributes, self.split) if name is not None}

    def missing_value(self, column: str) -> str | None:
        """Return the value that replaces missing ones in a column; None if the column may not have missing values."""
        return self.unknown_values[0] if self.unknown_values and column in self.attributes else None

    @property
    def unknown_values(self) -> tuple[str, ...]:
        """The attribute values that mean "not known". The first is the name of unknown groups."""
        return (self.unknown,) if isinstance(self.unknown, str) else self.unknown or ()

    @property
    def row(self) -> list[str]:
        """The columns of a row; empty for images."""
        return [*self.numeric, *self.categorical]

    def require(self, *keys: str, source: str) -> None:
        """Raise ConfigError unless all these keys are set, as the named source needs them."""
        if "image" in keys and self.row:
            raise ConfigError(
                f"params.yaml: data.source.columns has numeric or categorical columns, but the source {source!r} reads "
                "images. Set `image` instead, or use the source 'table'"
            )
        for key in keys:
            if getattr(self, key) is None:
                raise ConfigError(
                    f"params.yaml: data.source.columns.{key} is missing; the source {source!r} needs this key. Add it"
                )


@dataclass(frozen=True, eq=False)
class SourceData:
    """The data of a source: images or rows with a class each, and optional columns.

    Attributes
    ----------
    images : uint8 array (N, channels, height, width), or a stream of such arrays. For rows of a table, a stream of
        structured arrays with a field for each column
    schema : for rows; a function that receives batches of training rows and returns their schema
    label : for rows; the column of the label, with a value for each class
    labels, group_indices : int32 arrays (N,); indices into `classes` and `groups`
    attributes : for each group its attribute values; None is an unknown value
    attribute_names : the names of the attributes
    attribute_columns : the values of each attribute in the source, by its name
    unknown_values : the attribute values that mean "not known"
    pairs, clusters : int32 arrays (N,); members of a pair or cluster share a number
    pair_names, cluster_names : the name of each number. Without names, the numbers must stay the same if examples are
        added or removed, because they name the pairs and clusters then
    splits : the source's own split of each example
    ids, weights : see `GroupedDataset`
    files : the name of each file that was read, and the number of its examples; empty if the source has no files
    not_read : files and columns that were found but are not read, each with the reason
    """

    images: Array | ImageStream
    labels: Array
    classes: tuple[str, ...]
    group_indices: Array | None = None
    groups: tuple[str, ...] = ()
    attributes: tuple[Attributes, ...] = ()
    attribute_names: tuple[str, ...] = ()
    attribute_columns: Mapping[str, CategoryColumn] = field(default_factory=dict)
    unknown_values: tuple[str, ...] = ()
    pairs: Array | None = None
    clusters: Array | None = None
    pair_names: pa.Array | None = None
    cluster_names: pa.Array | None = None
    splits: CategoryColumn | None = None
    schema: Callable[[Iterable[Array]], RowSchema] | None = None
    label: Label | None = None
    ids: pa.Array | None = None
    weights: Array | None = None
    files: tuple[tuple[str, int], ...] = ()
    not_read: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def in_memory(self) -> "SourceData":
        """Return the data with all images in one array."""
        return replace(self, images=np.asarray(self.images))


def build_source_data(
    images: Array | ImageStream,
    metadata: Mapping[str, Any],
    columns: Columns,
    classes: Sequence[str] | None,
    *,
    labels: CategoryColumn | None = None,
    splits: CategoryColumn | None = None,
    schema: Callable[[Iterable[Array]], RowSchema] | None = None,
) -> SourceData:
    """Name classes and groups, and number pairs and clusters.

    Parameters
    ----------
    metadata : the values of each metadata column: a CategoryColumn for `columns.categories`, otherwise an Arrow array
    classes : the declared names; None uses the labels that occur
    labels, splits : columns that come from other files than the metadata
    schema : see `SourceData`
    """
    label = metadata[columns.label] if labels is None and columns.label else labels
    assert label is not None
    named = {"label" if columns.label is None else columns.label: label}
    named |= {name: metadata[name] for name in columns.categories if name in metadata}
    check_spellings(named, split=columns.split)
    class_indices, class_names = index_classes(label, classes)
    attribute_columns: dict[str, CategoryColumn] = {}
    group_indices: Array | None = None
    attributes: tuple[Attributes, ...] = ()
    groups: tuple[str, ...] = ()
    if columns.attributes:
        for name in columns.attributes:
            check_unknown(name, metadata[name], columns.unknown_values)
        attribute_columns = {name: metadata[name] for name in columns.attributes}
        group_indices, attributes, groups = name_groups(attribute_columns, columns.unknown_values)
    pairs, pair_names = _ranks(metadata[columns.pair]) if columns.pair else (None, None)
    clusters, cluster_names = _ranks(metadata[columns.cluster]) if columns.cluster else (None, None)
    return SourceData(
        images=images,
        labels=class_indices,
        classes=class_names,
        group_indices=group_indices,
        groups=groups,
        attributes=attributes,
        attribute_names=columns.attributes,
        attribute_columns=attribute_columns,
        unknown_values=columns.unknown_values,
        pairs=pairs,
        clusters=clusters,
        pair_names=pair_names,
        cluster_names=cluster_names,
        splits=metadata[columns.split] if columns.split else splits,
        schema=schema,
        ids=_text(metadata[columns.example_id]) if columns.example_id else None,
        weights=metadata[columns.weight].to_numpy() if columns.weight else None,
    )


def to_text(values: Any, *, where: str, missing_value: str | None = None, first: int = 0) -> pa.Array:
    """Return a column as text. Only integers, also as floats, booleans and text are accepted.

    Parameters
    ----------
    where : the file and the column, for messages
    missing_value : replaces missing values; None refuses them
    first : the number of valid rows before these, for messages
    """
    column, value_type = _arrow_column(values, where)
    if pa.types.is_floating(value_type):
        column = integers_of_floats(column.cast(value_type).combine_chunks(), where, first=first)
    if not any(accepts(value_type if pa.types.is_dictionary(column.type) else column.type) for accepts in _NAME_TYPES):
        raise DataError(f"{where} has the type {value_type}; expected integers or text. Convert the column")
    text = column.cast(pa.large_string())
    text = text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text
    missing = pa.compute.fill_null(pa.compute.equal(text, ""), True)
    count = pa.compute.sum(missing).as_py()
    if count and missing_value is None:
        raise DataError(
            f"{where} is missing in {count} of {first + len(text)} rows, the first of them row "
            f"{first + pa.compute.index(missing, True).as_py() + 1}. "
            "Use a value such as `unknown`, or remove these rows"
        )
    return pa.compute.if_else(missing, pa.scalar(missing_value, pa.large_string()), text) if count else text


def to_weights(values: Any, *, where: str, first: int = 0) -> pa.Array:
    """Return a column as float32 numbers. Only finite numbers from 0 are accepted; see `to_text` for the parameters."""
    column, value_type = _arrow_column(values, where)
    try:
        numbers = column.cast(pa.float32()).combine_chunks()
    except pa.ArrowException:
        raise DataError(f"{where} has the type {value_type}; a weight must be a number. Convert the column") from None
    invalid = pa.compute.invert(
        pa.compute.fill_null(
            pa.compute.and_(pa.compute.is_finite(numbers), pa.compute.greater_equal(numbers, 0)), False
        )
    )
    if (row := pa.compute.index(invalid, True).as_py()) >= 0:
        raise DataError(
            f"{where} is {numbers[row].as_py()} in row {first + row + 1}; a weight must be a finite number from 0. "
            "Correct the row"
        )
    return numbers


_NAME_TYPES = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_string, pa.types.is_large_string)


def _arrow_column(values: Any, where: str) -> tuple[pa.ChunkedArray, pa.DataType]:
    """Return a column in Arrow, and the type of its values; for a dictionary, of the values in it."""
    column = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([_arrow_array(values, where)])
    return column, column.type.value_type if pa.types.is_dictionary(column.type) else column.type


def _arrow_array(values: Array, where: str) -> pa.Array:
    if values.ndim != 1:
        raise ShapeError(f"{where} must have one entry per image; got an array of the shape {values.shape}")
    try:
        return pa.array(values)
    except (pa.ArrowException, UnicodeDecodeError):
        raise DataError(f"{where} has the type {values.dtype}; expected integers or text. Convert the array") from None


def _text(column: Any) -> pa.Array:
    if isinstance(column, CategoryColumn):
        values = pa.array(column.values, pa.large_string())
        return pa.DictionaryArray.from_arrays(column.codes, values).dictionary_decode()
    return column


def index_classes(labels: CategoryColumn, declared: Sequence[str] | None) -> tuple[Array, tuple[str, ...]]:
    """Return the class index of each label, and the names: the declared ones, or otherwise those that occur.

    A label is a declared name or, if all labels are integers, the index of one.
    """
    values = sorted(labels.values)
    numeric = all(_INTEGER.fullmatch(value) for value in values)
    if declared is None:
        if numeric:
            _check_class_numbers(values, labels, MAX_NAMES)
            values.sort(key=int)
        names = tuple(values)
    else:
        names = tuple(declared)
        if numeric and not set(values) <= set(names) and not all(_INTEGER.fullmatch(name) for name in names):
            _check_class_numbers(values, labels, len(names))
            return np.array([int(value) for value in labels.values], dtype=np.int32)[labels.codes], names
        labels = _without_fractions(labels, names)
        undeclared = [value for value in sorted(labels.values) if value not in names]
        if undeclared:
            raise DataError(
                f"label {undeclared[0][:80]!r} of example {labels.rows(undeclared[0])[0]} is not one of "
                f"{', '.join(names[:10])}. Correct the data, or params.yaml: data.source.classes"
            )
    check_names(names, "classes", _CLASSES_KEY)
    return np.array([names.index(value) for value in labels.values], dtype=np.int32)[labels.codes], names


def _without_fractions(labels: CategoryColumn, names: Sequence[str]) -> CategoryColumn:
    """Return labels such as `1.0`, as which pandas writes integers with gaps, as the declared names `1`."""
    integers = {value: match[1] for value in labels.values if (match := _WHOLE_FLOAT.fullmatch(value))}
    return labels.renamed({value: integer for value, integer in integers.items() if integer in names})


def _check_class_numbers(values: Sequence[str], labels: CategoryColumn, count: int) -> None:
    for value in values:
        if len(value) > 9 or not 0 <= int(value) < count:
            raise DataError(
                f"label {value[:80]} of example {labels.rows(value)[0]} is outside 0 to {count - 1}. "
                "Correct the data, or declare all classes in params.yaml: data.source.classes"
            )


def _ranks(column: Any) -> tuple[Array, pa.Array]:
    """Return the rank of each value among the different values, and the value of each rank."""
    if isinstance(column, CategoryColumn):
        ranks = np.argsort(np.argsort(column.values)).astype(np.int32)[column.codes]
        return ranks, pa.array(sorted(column.values), pa.large_string())
    ranks = pa.compute.rank(column, tiebreaker="dense").to_numpy().astype(np.int32)
    ranks -= 1
    rows = np.empty(int(ranks.max()) + 1, np.int64)
    rows[ranks] = np.arange(len(ranks))
    return ranks, column.take(pa.array(rows))
