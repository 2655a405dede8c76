"""Parquet, Arrow or CSV tables of images or of rows."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from fair_distill.data.columns import Classes, Columns, SourceData
from fair_distill.data.files.csv_text import Csv
from fair_distill.data.files.tables import unread_columns
from fair_distill.data.grouped_dataset import Array
from fair_distill.data.pixels import Pixels
from fair_distill.data.sources.example_index import join_images, read_index, table_metadata
from fair_distill.data.sources.images import read_images
from fair_distill.data.sources.locations import Files, resolve_tables
from fair_distill.data.sources.rows import RowRules, read_rows
from fair_distill.data.sources.source_types import source_label, source_types
from fair_distill.errors import ConfigError
from fair_distill.formats.row_schema import RowSchema
from fair_distill.formats.schema_inference import schema_of_batches, with_types


def table(
    root: Path,
    /,
    *,
    path: Files,
    columns: Columns,
    pixels: Pixels | None = None,
    rows: RowRules | None = None,
    csv: Csv | None = None,
    classes: Classes | None = None,
) -> SourceData:
    """Return the examples of Parquet, Arrow or CSV files, or of folders of them.

    An image is a column of tensors, lists of numbers, PNG, JPEG or WebP bytes, or paths relative to the table's folder;
    or one column for each pixel, `pixel*`. Instead of images, numeric and categorical columns make rows.
    """
    columns.require("label", source="table")
    tables = resolve_tables(root, path)
    if not columns.row:
        columns.require("image", source="table")
        if rows is not None:
            raise ConfigError(
                "params.yaml: data.source.rows needs data.source.columns.numeric or categorical. Set them, or remove it"
            )
        return read_images(tables, columns, pixels or Pixels(), csv, classes, root=root)
    if columns.label in columns.row:
        raise ConfigError(
            f"params.yaml: data.source.columns: {columns.label!r} is the label, so it may not be a column of the row. "
            "Remove it from numeric and categorical"
        )
    if columns.image is not None or pixels is not None:
        raise ConfigError(
            "params.yaml: data.source has both an image (columns.image, pixels) and columns of a row "
            "(columns.numeric, columns.categorical). Remove one of them"
        )
    rules = rows or RowRules()
    index = read_index((table_metadata(file, columns, csv) for file in tables.files), columns)
    stream = read_rows(tables.files, index, columns, rules, csv)

    def schema(train: Iterable[Array]) -> RowSchema:
        numeric, categorical = columns.numeric, columns.categorical
        inferred = schema_of_batches(train, numeric=numeric, categorical=categorical, **rules.model_dump())
        return with_types(inferred, source_types(tables.files, columns, rules.missing, csv))

    source = join_images(
        stream,
        index,
        columns,
        classes,
        split_of_file=tables.split_of_file,
        schema=schema,
        not_read=[*tables.not_read, *unread_columns(tables.files, [*columns.metadata, *columns.row], csv)],
    )
    assert columns.label is not None
    label = source_label(source, index.columns[columns.label], tables.files, columns.label, csv)
    return replace(source, label=label)
