"""The metadata of all examples of a source: read in batches from its files, and kept in little memory."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import pyarrow as pa

from fair_distill.data.column_builders import CategoryBuilder, CategoryColumn, NumberBuilder, TextBuilder
from fair_distill.data.columns import Classes, Columns, SourceData, build_source_data, to_text, to_weights
from fair_distill.data.files.arrays import open_npz
from fair_distill.data.files.csv_text import Csv, clean_text
from fair_distill.data.files.input_file import InputFile
from fair_distill.data.files.tables import checked_rows, is_csv, table_batches
from fair_distill.data.grouped_dataset import Array
from fair_distill.data.image_stream import BATCH_BYTES, ImageStream
from fair_distill.errors import ConfigError, DataError, ShapeError
from fair_distill.formats.row_schema import RowSchema

# Batches of examples, each with some of the columns by name.
Batches = Iterable[Mapping[str, pa.Array]]


@dataclass(frozen=True, eq=False)
class ExampleIndex:
    """The metadata columns of several files, one file after the other.

    Attributes
    ----------
    columns : by name; a CategoryColumn for the columns of few different values, otherwise an Arrow array
    counts : for each file, the number of entries in each column
    """

    columns: Mapping[str, Any]
    counts: tuple[Mapping[str, int], ...]


def read_index(files: Iterable[Batches], columns: Columns) -> ExampleIndex:
    """Read the metadata columns of all files.

    Parameters
    ----------
    files : for each file, its batches; see `table_metadata` and `array_metadata`
    """
    builders = {name: _builder(name, columns) for name in columns.metadata}
    counts = []
    for batches in files:
        count = dict.fromkeys(columns.metadata, 0)
        for name, values in chain.from_iterable(batch.items() for batch in batches):
            builders[name].add(values)
            count[name] += len(values)
        counts.append(count)
    return ExampleIndex({name: builder.finish() for name, builder in builders.items()}, tuple(counts))


def _builder(name: str, columns: Columns) -> CategoryBuilder | NumberBuilder | TextBuilder:
    if name == columns.weight:
        return NumberBuilder()
    return CategoryBuilder() if name in columns.categories else TextBuilder()


def table_metadata(file: InputFile, columns: Columns, csv: Csv | None) -> Iterator[dict[str, pa.Array]]:
    """Yield batches of the metadata columns of a table.

    Raises
    ------
    DataError
        If the table is malformed or has no rows, or if a value is missing.
    """
    first, expected = 0, checked_rows(file, csv)
    for rows in table_batches(file, columns.metadata, BATCH_BYTES, csv=csv):
        batch = {name: rows.column(name) for name in columns.metadata}
        if is_csv(file, csv):
            batch = {name: clean_text(column, csv or Csv(), numeric=False) for name, column in batch.items()}
        yield {name: _convert(column, columns, name, file, first) for name, column in batch.items()}
        first += len(rows)
    if first == 0:
        raise DataError(f"{file} has no rows; it must have a row for each example. Replace the file")
    if expected is not None and first != expected:
        raise DataError(
            f"{file} has {expected} rows, but {first} were read. Convert it to Parquet, and report the file"
        )


def array_metadata(file: InputFile, columns: Columns) -> Iterator[dict[str, pa.Array]]:
    """Yield batches of the metadata arrays of an .npz file, one array after the other."""
    for name in columns.metadata:
        first = 0
        with open_npz(file, name) as reader:
            for batch in reader.batches(BATCH_BYTES):
                yield {name: _convert(batch, columns, name, file, first)}
                first += len(batch)


def _convert(values: Any, columns: Columns, name: str, file: InputFile, first: int) -> pa.Array:
    where = f"{file}: {name}"
    if name == columns.weight:
        return to_weights(values, where=where, first=first)
    return to_text(values, where=where, missing_value=columns.missing_value(name), first=first)


def join_images(
    images: ImageStream,
    index: ExampleIndex,
    columns: Columns,
    classes: Classes | None,
    *,
    split_of_file: Sequence[str] | None,
    labels: CategoryColumn | None = None,
    schema: Callable[[Iterable[Array]], RowSchema] | None = None,
    not_read: Sequence[str] = (),
) -> SourceData:
    """Join the images and the metadata of the same files.

    Parameters
    ----------
    images : a part for each file of the index
    split_of_file : the split of each file; None if files have no splits
    labels, schema : see `build_source_data`
    not_read : see `SourceData`

    Raises
    ------
    ConfigError, ShapeError
        If both files and a column name splits, or a file has a different number of images and of metadata.
    """
    if split_of_file is not None and columns.split:
        raise ConfigError("params.yaml: data.source names splits both by file and by columns.split. Use one of the two")
    for part, counts in zip(images.parts, index.counts, strict=True):
        for name, count in counts.items():
            if count != part.count:
                raise ShapeError(
                    f"{part.name} has {part.count} images, but {count} entries in {name}. Make the numbers equal"
                )
    splits = None
    if split_of_file is not None:
        splits = CategoryColumn.repeated(split_of_file, [part.count for part in images.parts])
    source = build_source_data(images, index.columns, columns, classes, splits=splits, labels=labels, schema=schema)
    return replace(source, files=tuple((part.name, part.count) for part in images.parts), not_read=tuple(not_read))
