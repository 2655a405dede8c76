"""Streams of images that tables contain, as numbers or as PNG, JPEG and WebP bytes, or whose paths they list."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute

from fair_distill.data.column_builders import TextBuilder
from fair_distill.data.columns import Classes, Columns, SourceData
from fair_distill.data.files.csv_text import Csv
from fair_distill.data.files.input_file import InputFile, resolve_inside
from fair_distill.data.files.tables import column_type, table_batches, unread_columns
from fair_distill.data.grouped_dataset import Array
from fair_distill.data.image_stream import BATCH_BYTES, ImageStream, StreamPart
from fair_distill.data.pixels import Pixels, decode, to_images
from fair_distill.data.remote_files import RemoteFiles
from fair_distill.data.sources.example_index import join_images, read_index, table_metadata
from fair_distill.data.sources.locations import LocalFolder, TableFiles, folder_of, unlisted_files
from fair_distill.errors import DataError, ShapeError


def read_images(
    tables: TableFiles,
    columns: Columns,
    pixels: Pixels,
    csv: Csv | None,
    classes: Classes | None,
    *,
    root: Path,
    folder: LocalFolder | RemoteFiles | None = None,
) -> SourceData:
    """Return the images of tables, or those whose paths the tables list.

    Parameters
    ----------
    root : the workspace
    folder : the folder that paths are relative to; None uses the folder of each table
    """
    image, label = str(columns.image), str(columns.label)
    types = [column_type(file, image, csv) for file in tables.files]
    index = read_index((table_metadata(file, columns, csv) for file in tables.files), columns)
    listed: list[pa.Array] = []
    parts = [
        _part(file, image, image_type, counts[label], pixels, csv, folder or folder_of(root, file), listed)
        for file, image_type, counts in zip(tables.files, types, index.counts, strict=True)
    ]
    return join_images(
        ImageStream(tuple(parts)),
        index,
        columns,
        classes,
        split_of_file=tables.split_of_file,
        not_read=[
            *tables.not_read,
            *unread_columns(tables.files, [*columns.metadata, image], csv),
            *(unlisted_files(folder, listed, tables.files) if folder is not None and listed else ()),
        ],
    )


def convert_batches(batches: Iterable[Array], pixels: Pixels, where: str) -> Iterator[Array]:
    """Yield arrays of numbers as images; see `to_images`."""
    first = 0
    for batch in batches:
        yield to_images(batch, pixels, where=where, first=first)
        first += len(batch)


def _part(
    file: InputFile,
    image: str,
    image_type: pa.DataType,
    count: int,
    pixels: Pixels,
    csv: Csv | None,
    folder: LocalFolder | RemoteFiles,
    listed: list[pa.Array],
) -> StreamPart:
    """Return the images of a table. The paths that it lists, if any, are appended to `listed`."""
    name, where = str(file), f"{file}: {image}"
    if pa.types.is_dictionary(image_type):
        image_type = image_type.value_type
    if pa.types.is_string(image_type) or pa.types.is_large_string(image_type):
        names = _read_names(file, image, where, csv)
        listed.append(names)
        if isinstance(folder, RemoteFiles):
            return StreamPart(name, count, partial(_decode_all, folder.images(names, where=where), pixels))
        return StreamPart(name, count, partial(_decode_all, partial(_read_files, folder, names, where), pixels))
    if pa.types.is_binary(image_type) or pa.types.is_large_binary(image_type):
        return StreamPart(name, count, partial(_decode_all, partial(_read_cells, file, image, where, csv), pixels))
    if pa.types.is_struct(image_type) and {field.name for field in image_type} == {"bytes", "path"}:
        return StreamPart(name, count, partial(_decode_all, partial(_read_structs, file, image, where, folder), pixels))

    def read(size: int) -> Iterator[Array]:
        yield from convert_batches(_number_batches(file, image, where, csv, size), pixels, where)

    return StreamPart(name, count, read)


def _read_names(file: InputFile, image: str, where: str, csv: Csv | None) -> pa.Array:
    """Return the paths of the images in a table."""
    names, first = TextBuilder(), 0
    for rows in table_batches(file, [image], BATCH_BYTES, csv=csv):
        _check_complete(rows.column(image), where, first)
        names.add(rows.column(image).cast(pa.large_string()).combine_chunks())
        first += len(rows)
    return names.finish()


def _read_files(folder: LocalFolder, names: pa.Array, where: str) -> Iterator[tuple[str, bytes]]:
    """Yield the path and the content of each image."""
    for i, name in enumerate(names):
        path = resolve_inside(folder.path, name.as_py(), where=f"{where} of row {i + 1}", cache=folder.cache)
        yield str(path), path.read_bytes()


def _read_structs(
    file: InputFile, image: str, where: str, folder: LocalFolder | RemoteFiles
) -> Iterator[tuple[str, bytes]]:
    """Yield the images of a column of Hugging Face `datasets`: each has its bytes, or the path of its file."""
    row = 0
    for rows in table_batches(file, [image], 0):
        _check_complete(rows.column(image), where, row)
        for cell in rows.column(image).to_pylist():
            row += 1
            place = f"{where} of row {row}"
            if cell["bytes"] is not None:
                yield place, cell["bytes"]
            elif cell["path"] is not None and isinstance(folder, LocalFolder):
                path = resolve_inside(folder.path, cell["path"], where=place, cache=folder.cache)
                yield str(path), path.read_bytes()
            else:
                raise DataError(f"{place} has no bytes. Store the images in the table, with Dataset.cast_column")


def _read_cells(file: InputFile, image: str, where: str, csv: Csv | None) -> Iterator[tuple[str, bytes]]:
    """Yield the position and the content of each encoded image in a table."""
    row = 0
    for rows in table_batches(file, [image], 0, csv=csv):
        _check_complete(rows.column(image), where, row)
        for cell in rows.column(image):
            row += 1
            yield f"{where} of row {row}", cell.as_py()


def _decode_all(contents: Callable[[], Iterable[tuple[str, bytes]]], pixels: Pixels, size: int) -> Iterator[Array]:
    """Yield decoded images in batches of about `size` bytes. All images must have the same shape."""
    batch: list[Array] = []
    shape: tuple[int, ...] | None = None
    for where, content in contents():
        image = decode(content, pixels, where=where)
        shape = shape or image.shape
        if image.shape != shape:
            raise ShapeError(
                f"{where}: the image has the shape {image.shape}, the images before it {shape}. "
                "Set params.yaml: data.source.pixels.channels, size and resize"
            )
        batch.append(image)
        if len(batch) * image.nbytes >= size:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def _number_batches(file: InputFile, image: str, where: str, csv: Csv | None, size: int) -> Iterator[Array]:
    """Yield the pixels of some rows: from tensors, from lists, or from one column for each pixel."""
    first = 0
    for rows in table_batches(file, [image], size, csv=csv):
        if image.endswith("*"):
            columns = zip(rows.column_names, rows.columns, strict=True)
            yield np.stack([_numbers(column, f"{where}: {name}", first) for name, column in columns], axis=1)
        else:
            yield _pixels_of(rows.column(image), where, first)
        first += len(rows)


def _pixels_of(column: pa.ChunkedArray, where: str, first: int) -> Array:
    column_type = column.type
    _check_complete(column, where, first)
    if isinstance(column_type, pa.FixedShapeTensorType):
        return _tensors(column.combine_chunks())
    is_list = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if any(accepts(column_type) for accepts in is_list):
        return _flatten_lists(column, where)
    raise DataError(
        f"{where} has the type {column_type}; images must be tensors, lists of numbers, paths, or PNG, JPEG or WebP "
        "bytes"
    )


def _tensors(column: pa.FixedShapeTensorArray) -> Array:
    """Return tensors as an array. Arrow stores the axes in any order, and names the order that they are meant in."""
    kind = column.type
    stored: Array = column.storage.flatten().to_numpy().reshape(len(column), *kind.shape)
    order = kind.permutation or range(len(kind.shape))
    return stored.transpose(0, *(axis + 1 for axis in order))


def _numbers(column: pa.ChunkedArray, where: str, first: int = 0) -> Array:
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise DataError(f"{where}: pixels must be numbers; got {column.type}")
    _check_complete(column, where, first)
    values: Array = column.to_numpy()
    return values


def _check_complete(column: pa.ChunkedArray, where: str, first: int = 0) -> None:
    if column.null_count:
        row = first + pa.compute.index(column.is_null(), True).as_py() + 1
        raise DataError(f"{where} is missing in row {row}. Correct such rows, or remove them")


def _flatten_lists(column: pa.ChunkedArray, where: str) -> Array:
    lengths = pa.compute.list_value_length(column).unique().to_pylist()
    values = pa.chunked_array([chunk.flatten() for chunk in column.chunks])
    if len(lengths) > 1:
        raise ShapeError(f"{where}: all lists must have the same length; got the lengths {sorted(lengths)[:5]}")
    return _numbers(values, where).reshape(len(column), -1)
