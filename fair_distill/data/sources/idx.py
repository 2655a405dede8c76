"""MNIST-style files: images, and the labels beside them."""

from collections.abc import Iterator
from pathlib import Path

from fair_distill.data.categorical import Codes
from fair_distill.data.columns import Classes, Columns, Labelled, as_names
from fair_distill.data.files.arrays import opened_idx
from fair_distill.data.files.file import File
from fair_distill.data.grouped_dataset import Array
from fair_distill.data.image_stream import BATCH_BYTES, Part, Stream
from fair_distill.data.pixels import Pixels
from fair_distill.data.sources.example_index import gathered, joined, of_arrays
from fair_distill.data.sources.images import in_pixels
from fair_distill.data.sources.locations import Files, alike, files_of, splits_named
from fair_distill.errors import ConfigError, ShapeError


def idx(
    root: Path,
    /,
    *,
    images: Files,
    labels: Files,
    attributes: Files | None = None,
    columns: Columns | None = None,
    pixels: Pixels | None = None,
    classes: Classes | None = None,
) -> Labelled:
    """Return images and labels of MNIST-style files; groups, pairs and clusters from the .npz files `attributes`."""
    columns, pixels = columns or Columns(), pixels or Pixels()
    if (attributes is None) != (not columns.facts):
        raise ConfigError("params.yaml: data.source: `attributes` and `columns` go together: which files, which arrays")
    if columns.label or columns.image:
        raise ConfigError("params.yaml: data.source.columns: label and image have files of their own in idx")
    files = files_of(root, images)
    label_files = alike(root, labels, images, "labels")
    facts_files = {} if attributes is None else alike(root, attributes, images, "attributes")
    parts = [_part(file, pixels) for file in files.values()]
    codes = Codes()
    for part, split in zip(parts, files, strict=True):
        if (count := _add_labels(label_files[split], codes)) != part.count:
            raise ShapeError(f"{part.name}: {part.count} images, but {count} entries in labels")
    facts = gathered((of_arrays(facts_files[split], columns) if facts_files else () for split in files), columns)
    by_file = splits_named(images)
    return joined(Stream(tuple(parts)), facts, columns, classes, by_file=by_file, labels=codes.whole())


def _add_labels(file: File, codes: Codes) -> int:
    count = 0
    with opened_idx(file) as promise:
        for batch in promise.batches(BATCH_BYTES):
            codes.add(as_names(batch, where=str(file), first=count))
            count += len(batch)
    return count


def _part(file: File, pixels: Pixels) -> Part:
    def read(size: int) -> Iterator[Array]:
        with opened_idx(file) as promise:
            yield from in_pixels(promise.batches(size), pixels, str(file))

    with opened_idx(file) as promise:
        return Part(str(file), promise.shape[0], read)
