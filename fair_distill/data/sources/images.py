"""Images that tables hold, as numbers or as PNG and JPEG bytes, or that they name: read when they are asked for."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute

from fair_distill.data.categorical import Texts
from fair_distill.data.columns import Classes, Columns, Labelled
from fair_distill.data.files.file import File, inside
from fair_distill.data.files.tables import Csv, column_type, table_batches
from fair_distill.data.grouped_dataset import Array
from fair_distill.data.image_stream import BATCH_BYTES, Part, Stream
from fair_distill.data.pixels import Pixels, decode, to_images
from fair_distill.data.remote_files import Remote
from fair_distill.data.sources.example_index import gathered, joined, of_table
from fair_distill.errors import DataError, ShapeError


def pictures(
    files: Sequence[File],
    columns: Columns,
    pixels: Pixels,
    csv: Csv | None,
    classes: Classes | None,
    *,
    by_file: Sequence[str] | None,
    folder: Path | Remote | None = None,
) -> Labelled:
    """Return the images of tables, or those that tables name: of a folder, or of the one that each table is in."""
    image, label = str(columns.image), str(columns.label)
    kinds = [column_type(file, image, csv) for file in files]
    facts = gathered((of_table(file, columns, csv) for file in files), columns)
    parts = [
        _part(file, image, kind, counts[label], pixels, csv, folder or file.path.parent)
        for file, kind, counts in zip(files, kinds, facts.counts, strict=True)
    ]
    return joined(Stream(tuple(parts)), facts, columns, classes, by_file=by_file)


def in_pixels(batches: Iterable[Array], pixels: Pixels, where: str) -> Iterator[Array]:
    """Make images of arrays of numbers."""
    first = 0
    for batch in batches:
        yield to_images(batch, pixels, where=where, first=first)
        first += len(batch)


def _part(
    file: File, image: str, kind: pa.DataType, count: int, pixels: Pixels, csv: Csv | None, folder: Path | Remote
) -> Part:
    name, where = str(file), f"{file}: {image}"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        names = _names(file, image, where, csv)
        if isinstance(folder, Remote):
            return Part(name, count, partial(_decoded, folder.named(names, where=where), pixels))
        return Part(name, count, partial(_decoded, partial(_from, folder, names, where), pixels))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return Part(name, count, partial(_decoded, partial(_cells, file, image, where, csv), pixels))

    def read(size: int) -> Iterator[Array]:
        yield from in_pixels(_numbered(file, image, where, csv, size), pixels, where)

    return Part(name, count, read)


def _names(file: File, image: str, where: str, csv: Csv | None) -> pa.Array:
    """Return the paths that a table has for its images."""
    names, first = Texts(), 0
    for rows in table_batches(file, [image], BATCH_BYTES, csv=csv):
        _none_missing(rows.column(image), where, first)
        names.add(rows.column(image).cast(pa.large_string()).combine_chunks())
        first += len(rows)
    return names.whole()


def _from(folder: Path, names: pa.Array, where: str) -> Iterator[tuple[str, bytes]]:
    for i, name in enumerate(names):
        path = inside(folder, name.as_py(), where=f"{where} of row {i + 1}")
        yield str(path), path.read_bytes()


def _cells(file: File, image: str, where: str, csv: Csv | None) -> Iterator[tuple[str, bytes]]:
    row = 0
    for rows in table_batches(file, [image], 0, csv=csv):
        _none_missing(rows.column(image), where, row)
        for cell in rows.column(image):
            row += 1
            yield f"{where} of row {row}", cell.as_py()


def _decoded(files: Callable[[], Iterable[tuple[str, bytes]]], pixels: Pixels, size: int) -> Iterator[Array]:
    """Decode files that are all to come out alike; `size` bytes of them at a time."""
    some: list[Array] = []
    first: tuple[int, ...] | None = None
    for where, content in files():
        image = decode(content, pixels, where=where)
        first = first or image.shape
        if image.shape != first:
            raise ShapeError(
                f"{where}: an image of {image.shape} does not go with others of {first}; "
                "say params.yaml: data.source.pixels.channels, size and resize"
            )
        some.append(image)
        if len(some) * image.nbytes >= size:
            yield np.stack(some)
            some = []
    if some:
        yield np.stack(some)


def _numbered(file: File, image: str, where: str, csv: Csv | None, size: int) -> Iterator[Array]:
    """Yield the numbers of some rows: of tensors, of lists, or of one column for each pixel."""
    first = 0
    for rows in table_batches(file, [image], size, csv=csv):
        if image.endswith("*"):
            named = zip(rows.column_names, rows.columns, strict=True)
            yield np.stack([_numbers(column, f"{where}: {name}", first) for name, column in named], axis=1)
        else:
            yield _of_column(rows.column(image), where, first)
        first += len(rows)


def _of_column(column: pa.ChunkedArray, where: str, first: int) -> Array:
    kind = column.type
    _none_missing(column, where, first)
    if isinstance(kind, pa.FixedShapeTensorType):
        tensors: Array = column.combine_chunks().to_numpy_ndarray()
        return tensors
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _flat(column, where)
    raise DataError(f"{where}: tensors, lists of numbers, PNG or JPEG bytes, or paths are wanted; got {kind}")


def _numbers(column: pa.ChunkedArray, where: str, first: int = 0) -> Array:
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise DataError(f"{where}: pixels are numbers; got {column.type}")
    _none_missing(column, where, first)
    values: Array = column.to_numpy()
    return values


def _none_missing(column: pa.ChunkedArray, where: str, first: int = 0) -> None:
    if column.null_count:
        row = first + pa.compute.index(column.is_null(), True).as_py() + 1
        raise DataError(f"{where} is missing in row {row}; mend such rows, or leave them out")


def _flat(column: pa.ChunkedArray, where: str) -> Array:
    lengths = pa.compute.list_value_length(column).unique().to_pylist()
    values = pa.chunked_array([chunk.flatten() for chunk in column.chunks])
    if len(lengths) > 1:
        raise ShapeError(f"{where}: as many numbers are wanted for every image; got {sorted(lengths)[:5]}")
    return _numbers(values, where).reshape(len(column), -1)
