"""A folder of PNG and JPEG files, here or in a bucket, and a table that names them."""

from pathlib import Path

from fair_distill.data.columns import Classes, Columns, Labelled, Name
from fair_distill.data.pixels import Pixels
from fair_distill.data.sources.images import pictures
from fair_distill.data.sources.locations import Files, folder_at, one_by_one, tables_of


def image_folder(
    root: Path,
    /,
    *,
    path: Name,
    metadata: Files,
    columns: Columns,
    pixels: Pixels | None = None,
    classes: Classes | None = None,
) -> Labelled:
    """Return the PNG and JPEG files of a folder that a table names; `columns.image` has their names."""
    columns.needed("image", "label", by="image_folder")
    files, by_file = one_by_one(tables_of(root, metadata))
    folder = folder_at(root, path)
    return pictures(files, columns, pixels or Pixels(), None, classes, by_file=by_file, folder=folder)
