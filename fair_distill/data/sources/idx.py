"""MNIST-style files: images and labels in separate idx files."""

from collections.abc import Iterator
from pathlib import Path

from fair_distill.data.column_builders import CategoryBuilder
from fair_distill.data.columns import Classes, Columns, SourceData, to_text
from fair_distill.data.files.arrays import open_idx
from fair_distill.data.files.input_file import InputFile
from fair_distill.data.grouped_dataset import Array
from fair_distill.data.image_stream import BATCH_BYTES, ImageStream, StreamPart
from fair_distill.data.pixels import Pixels
from fair_distill.data.sources.example_index import array_metadata, join_images, read_index
from fair_distill.data.sources.images import convert_batches
from fair_distill.data.sources.locations import Files, matching_files, resolve_files, split_names
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
) -> SourceData:
    """Return the images and labels of idx files, with other columns from the .npz files `attributes`."""
    columns, pixels = columns or Columns(), pixels or Pixels()
    if (attributes is None) != (not columns.metadata):
        raise ConfigError(
            "params.yaml: data.source: `attributes`, the files, and `columns`, their arrays, must be set together"
        )
    if columns.label or columns.image:
        raise ConfigError(
            "params.yaml: data.source.columns may not have label or image for the source 'idx', which has files for "
            "them. Remove them"
        )
    image_files = resolve_files(root, images)
    label_files = matching_files(root, labels, images, "labels")
    attribute_files = {} if attributes is None else matching_files(root, attributes, images, "attributes")
    parts = [_part(file, pixels) for file in image_files.values()]
    builder = CategoryBuilder()
    for part, split in zip(parts, image_files, strict=True):
        if (count := _add_labels(label_files[split], builder)) != part.count:
            raise ShapeError(
                f"{part.name} has {part.count} images, but {count} entries in labels. Make the numbers equal"
            )
    metadata = (array_metadata(attribute_files[split], columns) if attribute_files else () for split in image_files)
    index = read_index(metadata, columns)
    return join_images(
        ImageStream(tuple(parts)),
        index,
        columns,
        classes,
        split_of_file=split_names(images),
        labels=builder.finish(),
    )


def _add_labels(file: InputFile, builder: CategoryBuilder) -> int:
    """Add the labels of a file to the builder, and return their number."""
    count = 0
    with open_idx(file) as reader:
        for batch in reader.batches(BATCH_BYTES):
            builder.add(to_text(batch, where=str(file), first=count))
            count += len(batch)
    return count


def _part(file: InputFile, pixels: Pixels) -> StreamPart:
    def read(size: int) -> Iterator[Array]:
        with open_idx(file) as reader:
            yield from convert_batches(reader.batches(size), pixels, str(file))

    with open_idx(file) as reader:
        return StreamPart(str(file), reader.shape[0], read)
