"""A folder of PNG, JPEG and WebP files, local or in a bucket, and a table that lists them."""

from pathlib import Path

from fair_distill.data.columns import Classes, Columns, SourceData
from fair_distill.data.files.csv_text import Csv
from fair_distill.data.pixels import Pixels
from fair_distill.data.sources.images import read_images
from fair_distill.data.sources.locations import Files, PathName, resolve_folder, resolve_tables


def image_folder(
    root: Path,
    /,
    *,
    path: PathName,
    metadata: Files,
    columns: Columns,
    pixels: Pixels | None = None,
    csv: Csv | None = None,
    classes: Classes | None = None,
) -> SourceData:
    """Return the PNG, JPEG and WebP files of a folder that a table lists in its column `columns.image`."""
    columns.require("image", "label", source="image_folder")
    tables = resolve_tables(root, metadata)
    folder = resolve_folder(root, path)
    return read_images(tables, columns, pixels or Pixels(), csv, classes, root=root, folder=folder)
