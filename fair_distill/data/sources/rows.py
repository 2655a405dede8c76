"""Rows of tables: numeric and categorical columns in place of images, read when they are asked for."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from fair_distill.config import Section
from fair_distill.data.columns import Columns, Name
from fair_distill.data.files.file import File
from fair_distill.data.files.tables import Csv, is_csv, table_batches, tidied
from fair_distill.data.grouped_dataset import Array
from fair_distill.data.image_stream import Part, Stream
from fair_distill.data.sources.example_index import Facts
from fair_distill.errors import DataError
from fair_distill.formats.row_schema import numbers_of, text_of


class RowRules(Section):
    """Names for categories that a table does not have: those that are missing, those that training data never show.

    What is left out is refused.
    """

    missing: Name | None = None
    unseen: Name | None = None


def rows_of(files: Sequence[File], facts: Facts, columns: Columns, rules: RowRules, csv: Csv | None) -> Stream:
    """Return the rows of tables, a structured array a batch: numbers as float32, categories as text."""

    def part(file: File, counts: Mapping[str, int]) -> Part:
        return Part(str(file), counts[str(columns.label)], lambda size: _rows(file, columns, rules, csv, size))

    return Stream(tuple(part(file, counts) for file, counts in zip(files, facts.counts, strict=True)))


def _rows(file: File, columns: Columns, rules: RowRules, csv: Csv | None, size: int) -> Iterator[Array]:
    form, first = (csv or Csv()) if is_csv(file, csv) else None, 0
    for rows in table_batches(file, list(dict.fromkeys(columns.row)), size, csv=csv):
        try:
            found = {name: _column(rows.column(name), name, columns, rules, form, first) for name in columns.row}
        except DataError as error:
            raise DataError(f"{file}: {error}") from None
        batch = np.empty(len(rows), dtype=[(name, values.dtype) for name, values in found.items()])
        for name, values in found.items():
            batch[name] = values
        yield batch
        first += len(rows)


def _column(
    column: pa.ChunkedArray, name: str, columns: Columns, rules: RowRules, form: Csv | None, first: int
) -> Array:
    number = name in columns.numeric
    values = (column if form is None else tidied(column, form, number=number)).to_numpy()
    if number:
        return numbers_of(values, name, first=first)
    return text_of(values, name, missing=rules.missing, first=first)
