"""Tables, Parquet, Arrow or CSV: of images, or of rows."""

from functools import partial
from pathlib import Path

from fair_distill.data.columns import Classes, Columns, Labelled
from fair_distill.data.files.tables import Csv
from fair_distill.data.pixels import Pixels
from fair_distill.data.sources.example_index import gathered, joined, of_table
from fair_distill.data.sources.images import pictures
from fair_distill.data.sources.locations import Files, one_by_one, tables_of
from fair_distill.data.sources.rows import RowRules, rows_of
from fair_distill.errors import ConfigError
from fair_distill.formats.row_schema import schema_of_batches


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
) -> Labelled:
    """Return the rows of Parquet, Arrow or CSV files, or of folders of them.

    The image is a column of tensors, lists of numbers, PNG or JPEG bytes, or paths relative to the table's folder; or
    one column for each pixel, `pixel*`. In place of images, numeric and categorical columns make rows.
    """
    columns.needed("label", by="table")
    files, by_file = one_by_one(tables_of(root, path))
    if not columns.row:
        columns.needed("image", by="table")
        if rows is not None:
            raise ConfigError("params.yaml: data.source.rows goes with columns.numeric and categorical")
        return pictures(files, columns, pixels or Pixels(), csv, classes, by_file=by_file)
    if columns.label in columns.row:
        raise ConfigError(f"params.yaml: data.source.columns: {columns.label!r} is the label; no row may tell it")
    if columns.image is not None or pixels is not None:
        raise ConfigError("params.yaml: data.source: an image and its pixels, or columns of rows; there are both")
    rules = rows or RowRules()
    facts = gathered((of_table(file, columns, csv) for file in files), columns)
    stream = rows_of(files, facts, columns, rules, csv)
    schema = partial(schema_of_batches, numeric=columns.numeric, categorical=columns.categorical, **rules.model_dump())
    return joined(stream, facts, columns, classes, by_file=by_file, schema=schema)
