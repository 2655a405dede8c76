"""The types of a table's columns in its files, so that a set has the same types; see `formats.value_types`.

Parquet and Arrow files record them. Of a CSV file they are inferred from all rows, as pandas does.
"""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from fair_distill.data.column_builders import CategoryColumn
from fair_distill.data.columns import Columns, SourceData
from fair_distill.data.files.csv_text import Csv, clean_text
from fair_distill.data.files.input_file import InputFile
from fair_distill.data.files.tables import column_type, is_csv, table_batches
from fair_distill.data.image_stream import BATCH_BYTES
from fair_distill.errors import DataError
from fair_distill.formats.row_columns import Label
from fair_distill.formats.schema_inference import SourceType
from fair_distill.formats.table_columns import text_of
from fair_distill.formats.value_types import (
    MAX_INFERRED,
    common_type,
    inferred_type,
    is_integer_text,
    text_as,
    type_name,
)


def source_types(
    files: Sequence[InputFile], columns: Columns, missing: str | None, csv: Csv | None
) -> dict[str, SourceType]:
    """Return the type of each column of a row.

    Parameters
    ----------
    missing : the category for missing values; None if they are refused
    """
    types: dict[str, set[str]] = {name: set() for name in columns.row}
    distinct: dict[str, set[str]] = {name: set() for name in columns.categorical}
    has_null = dict.fromkeys(columns.categorical, False)
    for file in files:
        of_text = is_csv(file, csv)
        integers = dict.fromkeys(columns.numeric, True)
        texts: dict[str, set[str]] = {name: set() for name in columns.categorical}
        names = columns.row if of_text else list(columns.categorical)
        for rows in table_batches(file, names, BATCH_BYTES, csv=csv) if names else ():
            for name in names:
                column = rows.column(name)
                numeric = name in columns.numeric
                if of_text:
                    column = clean_text(column, csv or Csv(), numeric=numeric)
                if numeric:
                    integers[name] &= is_integer_text(column)
                elif len(texts[name]) <= MAX_INFERRED:
                    with suppress(DataError):  # of a value that no category may have; reading the rows reports it
                        texts[name].update(np.unique(text_of(column.unique(), name, missing="")).tolist())
        for name, values in texts.items():
            has_null[name] |= "" in values
            distinct[name] |= values
        for name in columns.row:
            if not of_text:
                types[name].add(type_name(column_type(file, name, csv)))
            elif name in columns.numeric:
                types[name].add("int64" if integers[name] else "double")
            else:
                types[name].add(inferred_type(texts[name] - {""}))
    return {
        name: SourceType(
            common_type(types[name]),
            missing is not None and has_null.get(name, False) and missing not in distinct.get(name, ()),
        )
        for name in columns.row
    }


def source_label(
    source: SourceData, labels: CategoryColumn, files: Sequence[InputFile], name: str, csv: Csv | None
) -> Label:
    """Return the column of the label, with the value in the source of each class.

    A class that no row has gets the value that a row would have: its name, or else its index.

    Parameters
    ----------
    labels : the column in the source
    name : its name
    """
    kind = common_type(
        inferred_type(labels.values) if is_csv(file, csv) else type_name(column_type(file, name, csv)) for file in files
    )
    codes, first = np.unique(labels.codes, return_index=True)
    values = {
        int(source.labels[row]): labels.values[code] for code, row in reversed(list(zip(codes, first, strict=True)))
    }
    for index, class_name in enumerate(source.classes):
        if index not in values:
            values[index] = class_name if _has_type(class_name, kind) else str(index)
    texts = tuple(values[index] for index in range(len(source.classes)))
    return Label(name, texts, kind) if all(_has_type(text, kind) for text in texts) else Label(name, texts, "string")


def _has_type(text: str, kind: str) -> bool:
    try:
        text_as([text], kind)
    except DataError:
        return False
    return True
