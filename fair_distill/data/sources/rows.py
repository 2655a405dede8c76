"""Streams of the rows of tables, with numeric and categorical columns instead of images."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from fair_distill.config import Section
from fair_distill.config.sections import DataName as Name
from fair_distill.data.columns import Columns
from fair_distill.data.files.csv_text import Csv, clean_text
from fair_distill.data.files.input_file import InputFile
from fair_distill.data.files.tables import is_csv, table_batches
from fair_distill.data.grouped_dataset import Array
from fair_distill.data.image_stream import ImageStream, StreamPart
from fair_distill.data.sources.example_index import ExampleIndex
from fair_distill.errors import DataError
from fair_distill.formats.table_columns import numbers_of, text_of


class RowRules(Section):
    """Categories for missing values, and for values that the training data do not have.

    Without a category, such values are refused.
    """

    missing: Name | None = None
    unseen: Name | None = None


def read_rows(
    files: Sequence[InputFile], index: ExampleIndex, columns: Columns, rules: RowRules, csv: Csv | None
) -> ImageStream:
    """Return the rows of tables as structured arrays, with numbers as float64 and categories as text."""

    def part(file: InputFile, counts: Mapping[str, int]) -> StreamPart:
        return StreamPart(str(file), counts[str(columns.label)], lambda size: _batches(file, columns, rules, csv, size))

    return ImageStream(tuple(part(file, counts) for file, counts in zip(files, index.counts, strict=True)))


def _batches(file: InputFile, columns: Columns, rules: RowRules, csv: Csv | None, size: int) -> Iterator[Array]:
    dialect, first = (csv or Csv()) if is_csv(file, csv) else None, 0
    for rows in table_batches(file, list(dict.fromkeys(columns.row)), size, csv=csv):
        try:
            values = {name: _values(rows.column(name), name, columns, rules, dialect, first) for name in columns.row}
        except DataError as error:
            raise DataError(f"{file}: {error}") from None
        batch = np.empty(len(rows), dtype=[(name, column.dtype) for name, column in values.items()])
        for name, column in values.items():
            batch[name] = column
        yield batch
        first += len(rows)


def _values(
    column: pa.ChunkedArray, name: str, columns: Columns, rules: RowRules, dialect: Csv | None, first: int
) -> Array:
    numeric = name in columns.numeric
    values = column if dialect is None else clean_text(column, dialect, numeric=numeric)
    if numeric:
        return numbers_of(values, name, first=first)
    return text_of(values, name, missing=rules.missing, first=first)
