"""Arrays of NumPy's .npz files."""

from collections.abc import Iterator
from pathlib import Path

from fair_distill.data.columns import Classes, Columns, Labelled
from fair_distill.data.files.arrays import opened_npz
from fair_distill.data.files.file import File
from fair_distill.data.grouped_dataset import Array
from fair_distill.data.image_stream import Part, Stream
from fair_distill.data.pixels import Pixels
from fair_distill.data.sources.example_index import gathered, joined, of_arrays
from fair_distill.data.sources.images import in_pixels
from fair_distill.data.sources.locations import Files, files_of, splits_named
from fair_distill.errors import ShapeError


def npz(
    root: Path,
    /,
    *,
    path: Files,
    columns: Columns,
    pixels: Pixels | None = None,
    classes: Classes | None = None,
) -> Labelled:
    """Return arrays of .npz files: images (N, height, width), channels first or last, or flat rows."""
    columns.needed("image", "label", by="npz")
    files = files_of(root, path)
    parts = [_part(file, str(columns.image), pixels or Pixels()) for file in files.values()]
    facts = gathered((of_arrays(file, columns) for file in files.values()), columns)
    return joined(Stream(tuple(parts)), facts, columns, classes, by_file=splits_named(path))


def _part(file: File, name: str, pixels: Pixels) -> Part:
    def read(size: int) -> Iterator[Array]:
        with opened_npz(file, name) as promise:
            yield from in_pixels(promise.batches(size), pixels, f"{file}: {name}")

    with opened_npz(file, name) as promise:
        if not promise.shape:
            raise ShapeError(f"{file}: {name}: an array of images was wanted, got a single value")
        return Part(f"{file}: {name}", promise.shape[0], read)
