"""Arrays of NumPy's .npz files."""

from collections.abc import Iterator
from pathlib import Path

from fair_distill.data.columns import Classes, Columns, SourceData
from fair_distill.data.files.arrays import open_npz
from fair_distill.data.files.input_file import InputFile
from fair_distill.data.grouped_dataset import Array
from fair_distill.data.image_stream import ImageStream, StreamPart
from fair_distill.data.pixels import Pixels
from fair_distill.data.sources.example_index import array_metadata, join_images, read_index
from fair_distill.data.sources.images import convert_batches
from fair_distill.data.sources.locations import Files, resolve_files, split_names
from fair_distill.errors import ShapeError


def npz(
    root: Path,
    /,
    *,
    path: Files,
    columns: Columns,
    pixels: Pixels | None = None,
    classes: Classes | None = None,
) -> SourceData:
    """Return the images and labels of .npz files: (N, height, width), channels first or last, or flat rows."""
    columns.require("image", "label", source="npz")
    files = resolve_files(root, path)
    parts = [_part(file, str(columns.image), pixels or Pixels()) for file in files.values()]
    index = read_index((array_metadata(file, columns) for file in files.values()), columns)
    return join_images(ImageStream(tuple(parts)), index, columns, classes, split_of_file=split_names(path))


def _part(file: InputFile, name: str, pixels: Pixels) -> StreamPart:
    where = f"{file}: {name}"

    def read(size: int) -> Iterator[Array]:
        with open_npz(file, name) as reader:
            yield from convert_batches(reader.batches(size), pixels, where)

    with open_npz(file, name) as reader:
        if not reader.shape:
            raise ShapeError(f"{where} must be an array of images; it is a single value. Correct the file")
        return StreamPart(where, reader.shape[0], read)
