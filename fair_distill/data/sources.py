"""Where raw images come from. A source is a function and a line in SOURCES; its options are its keyword arguments.

A source returns grey or colour images with a class each and, if it knows them, groups, pairs, clusters and splits. The
images of files are a stream: read in batches, when they are asked for. Paths are relative to the workspace, or
s3://bucket/prefix.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from pydantic import ConfigDict, Field, ValidationError, validate_call

from fair_distill.config import Section
from fair_distill.data.columns import Classes, Columns, Labelled, Name, as_names, as_weights, labelled
from fair_distill.data.formats import (
    TABLES,
    Csv,
    File,
    column_type,
    inside,
    opened_idx,
    opened_npz,
    read_table,
    table_batches,
    tidied,
)
from fair_distill.data.grouped import Array
from fair_distill.data.pixels import Pixels, decode, to_images
from fair_distill.data.remote import Remote
from fair_distill.data.stream import Part, Stream
from fair_distill.errors import ConfigError, DataError, ShapeError
from fair_distill.rows import RowSchema, numbers_of, schema_of, text_of

__all__ = ["SOURCES", "Labelled", "read_source"]

CACHE = Path(".cache") / "prepare"  # in the workspace: what was read of buckets; it may be removed at any time

# One file, or a file for each of the source's splits.
Files = Name | Annotated[dict[Name, Name], Field(min_length=1)]


def digits(root: Path, /, *, size: Annotated[int, Field(ge=8, le=256)]) -> Labelled:
    """Return scikit-learn's handwritten digits: 1,797 images of 8×8, enlarged to `size` (bicubic).

    The test part of Optical Recognition of Handwritten Digits (Alpaydin & Kaynak, UCI, 1998).
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    raw = load_digits()
    grey = np.round(raw.images * (255 / 16)).astype(np.uint8)
    large = [Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC) for image in grey]
    return Labelled(np.stack([np.asarray(image) for image in large])[:, None], raw.target, tuple("0123456789"))


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
    files = _files(root, images)
    label_files = _alike(root, labels, images, "labels")
    facts_files = _alike(root, attributes, images, "attributes") if attributes is not None else {}
    parts, names, facts = [], [], []
    for split, file in files.items():
        parts.append(_idx_part(file, pixels))
        with opened_idx(label_files[split]) as promise:
            names.append(as_names(promise.whole(), where=str(label_files[split])))
        facts.append(_arrays(facts_files[split], columns) if facts_files else {})
        for what, count in {"labels": names[-1], **facts[-1]}.items():
            if len(count) != parts[-1].count:
                raise ShapeError(f"{file}: {parts[-1].count} images, but {len(count)} entries in {what}")
    splits = None if isinstance(images, str) else np.repeat(list(files), [part.count for part in parts])
    return labelled(
        Stream(tuple(parts)),
        {name: pa.concat_arrays([part[name] for part in facts]) for name in columns.facts},
        columns,
        classes,
        labels=pa.concat_arrays(names),
        splits=splits,
    )


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
    files = _files(root, path)
    parts = [_npz_part(file, str(columns.image), pixels or Pixels()) for file in files.values()]
    facts = [_arrays(file, columns) for file in files.values()]
    by_file = None if isinstance(path, str) else list(files)
    return _joined(Stream(tuple(parts)), facts, columns, classes, by_file=by_file)


class RowRules(Section):
    """Names for categories that a table does not have: those that are missing, those that training data never show.

    What is left out is refused.
    """

    missing: Name | None = None
    unseen: Name | None = None


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
    tables, rules = _tables(root, path), rows or RowRules()
    by_file = None if isinstance(path, str) else list(tables)
    if not columns.row:
        columns.needed("image", by="table")
        if rows is not None:
            raise ConfigError("params.yaml: data.source.rows goes with columns.numeric and categorical")
        return _pictures(tables, columns, pixels or Pixels(), csv, classes, by_file=by_file)
    if columns.label in columns.row:
        raise ConfigError(f"params.yaml: data.source.columns: {columns.label!r} is the label; no row may tell it")
    if columns.image is not None or pixels is not None:
        raise ConfigError("params.yaml: data.source: an image and its pixels, or columns of rows; there are both")
    facts = [[_facts(file, columns, csv) for file in files] for files in tables.values()]
    contents = [_row(file, columns, rules, csv) for files in tables.values() for file in files]
    schema = partial(schema_of, numeric=columns.numeric, categorical=columns.categorical, **rules.model_dump())
    return _joined(np.concatenate(contents), list(map(_one, facts)), columns, classes, by_file=by_file, schema=schema)


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
    tables = _tables(root, metadata)
    by_file = None if isinstance(metadata, str) else list(tables)
    folder: Path | Remote = root / path
    if "://" in path:
        folder = Remote.at(path, cache=root / CACHE)
    elif not (root / path).is_dir():
        raise DataError(f"{root / path} is no folder; mend params.yaml: data.source.path, or put the images there")
    return _pictures(tables, columns, pixels or Pixels(), None, classes, by_file=by_file, folder=folder)


# The one place a source is added: write the function, add its line.
SOURCES: dict[str, Callable[..., Labelled]] = {
    "digits": digits,
    "idx": idx,
    "npz": npz,
    "table": table,
    "image_folder": image_folder,
}


def read_source(name: str, options: dict[str, Any], *, root: Path) -> Labelled:
    """Call the source that params.yaml names, with its options, checked by the types of its arguments."""
    if name not in SOURCES:
        raise ConfigError(f"params.yaml: data.source.name is {name!r}; choose one of {', '.join(SOURCES)}")
    try:
        source = validate_call(config=ConfigDict(strict=True))(SOURCES[name])(root, **options)
        pa.default_memory_pool().release_unused()  # of the columns, which may have been most of what there was
        return source
    except ValidationError as error:
        raise ConfigError(f"params.yaml: data.source{_sentence(error, options)}") from None


def _sentence(error: ValidationError, options: dict[str, Any]) -> str:
    fault = error.errors(include_url=False)[0]
    where = "".join(f".{part}" for part in fault["loc"] if str(part).isidentifier())
    if fault["type"] in {"missing_keyword_only_argument", "missing"}:
        return f"{where}: this key is needed and is not there"
    if fault["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        return f"{where}: no such key; remove it or mend its spelling"
    message = " ".join(fault["msg"].removeprefix("Value error, ").split())
    came = ":" if fault["type"] == "value_error" else f" is {repr(fault['input'])[:80]};"
    return f"{where}{came} {message[0].lower()}{message[1:]}"


def _files(root: Path, files: Files) -> dict[str, File]:
    """The file of each split; of the split "" if there is one file for all."""
    named = {"": files} if isinstance(files, str) else files
    return {
        split: Remote.at(name, cache=root / CACHE).file() if "://" in name else File.at(root / name)
        for split, name in named.items()
    }


def _tables(root: Path, files: Files) -> dict[str, list[File]]:
    """The tables of each split: a file, or those of a folder."""
    named = {"": files} if isinstance(files, str) else files
    return {split: _tables_at(root, name) for split, name in named.items()}


def _tables_at(root: Path, name: str) -> list[File]:
    if "://" in name:
        return Remote.at(name, cache=root / CACHE).tables(TABLES)
    path = root / name
    if not path.is_dir():
        return [File.at(path)]
    found = sorted(file for file in path.iterdir() if file.suffix in TABLES)
    if not found:
        raise DataError(f"{path} has no files of {', '.join(TABLES)}; mend params.yaml: data.source.path")
    return [File.at(file) for file in found]


def _alike(root: Path, files: Files, images: Files, what: str) -> dict[str, File]:
    if (isinstance(files, str) or files.keys()) != (isinstance(images, str) or images.keys()):
        raise ConfigError(f"params.yaml: data.source.{what}: name a file for the same splits as in images")
    return _files(root, files)


def _idx_part(file: File, pixels: Pixels) -> Part:
    def read(size: int) -> Iterator[Array]:
        with opened_idx(file) as promise:
            yield from _pixels(promise.batches(size), pixels, str(file))

    with opened_idx(file) as promise:
        return Part(str(file), promise.shape[0], read)


def _npz_part(file: File, name: str, pixels: Pixels) -> Part:
    def read(size: int) -> Iterator[Array]:
        with opened_npz(file, name) as promise:
            yield from _pixels(promise.batches(size), pixels, f"{file}: {name}")

    with opened_npz(file, name) as promise:
        if not promise.shape:
            raise ShapeError(f"{file}: {name}: an array of images was wanted, got a single value")
        return Part(f"{file}: {name}", promise.shape[0], read)


def _pixels(batches: Iterable[Array], pixels: Pixels, where: str) -> Iterator[Array]:
    first = 0
    for batch in batches:
        yield to_images(batch, pixels, where=where, first=first)
        first += len(batch)


def _arrays(file: File, columns: Columns) -> dict[str, pa.Array]:
    facts = {}
    for name in columns.facts:
        with opened_npz(file, name) as promise:
            facts[name] = _fact(promise.whole(), columns, name, file)
    return facts


def _facts(file: File, columns: Columns, csv: Csv | None) -> dict[str, pa.Array]:
    """Read what a table says about each example."""
    table = read_table(file, columns.facts, text=columns.facts, csv=csv)
    named = {name: table.column(name) for name in columns.facts}
    if csv is not None:
        named = {name: tidied(column, csv, number=False) for name, column in named.items()}
    return {name: _fact(column, columns, name, file) for name, column in named.items()}


def _one(facts: Sequence[Mapping[str, pa.Array]]) -> dict[str, pa.Array]:
    """Put the columns of several tables one after the other; they may be large, so one alone is not copied."""
    if len(facts) == 1:
        return dict(facts[0])
    return {name: pa.concat_arrays([about[name] for about in facts]) for name in facts[0]}


def _fact(values: Any, columns: Columns, name: str, file: File) -> pa.Array:
    if name == columns.weight:
        return as_weights(values, where=f"{file}: {name}")
    return as_names(values, where=f"{file}: {name}", missing_as=columns.missing_as(name))


def _joined(
    images: Array | Stream,
    facts: Sequence[Mapping[str, pa.Array]],
    columns: Columns,
    classes: Classes | None,
    *,
    by_file: Sequence[str] | None,
    schema: Callable[[Array], RowSchema] | None = None,
) -> Labelled:
    """Put the splits of a source one after the other; `by_file` has their names, if each has files of its own."""
    if by_file is not None and columns.split:
        raise ConfigError("params.yaml: data.source: name splits by file or by columns.split, not by both")
    splits = None if by_file is None else np.repeat(by_file, [len(part[str(columns.label)]) for part in facts])
    return labelled(images, _one(facts), columns, classes, splits=splits, schema=schema)


def _pictures(
    tables: Mapping[str, Sequence[File]],
    columns: Columns,
    pixels: Pixels,
    csv: Csv | None,
    classes: Classes | None,
    *,
    by_file: Sequence[str] | None,
    folder: Path | Remote | None = None,
) -> Labelled:
    """The images of tables, and what the tables say about them; `folder` has the images that they name."""
    facts, parts, image = [], [], str(columns.image)
    for files in tables.values():
        kinds = [column_type(file, image, csv) for file in files]
        of_split = [_facts(file, columns, csv) for file in files]
        for file, kind, about in zip(files, kinds, of_split, strict=True):
            count, beside = len(about[str(columns.label)]), folder or file.path.parent
            parts.append(_picture_part(file, image, kind, count, pixels, csv, beside))
        facts.append(_one(of_split))
    return _joined(Stream(tuple(parts)), facts, columns, classes, by_file=by_file)


def _picture_part(
    file: File, image: str, kind: pa.DataType, count: int, pixels: Pixels, csv: Csv | None, folder: Path | Remote
) -> Part:
    """The images of a table: in it, or in files of a folder that it names."""
    name, where = str(file), f"{file}: {image}"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column = read_table(file, [image], text=[image], csv=csv).column(image)
        _none_missing(column, where)
        names = column.cast(pa.large_string()).combine_chunks()
        if isinstance(folder, Remote):
            return Part(name, count, partial(_decoded, folder.named(names, where=where), pixels))
        return Part(name, count, partial(_decoded, partial(_from, folder, names, where), pixels))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return Part(name, count, partial(_decoded, partial(_cells, file, image, where, csv), pixels))

    def read(size: int) -> Iterator[Array]:
        first = 0
        for rows in table_batches(file, image, size, csv=csv):
            yield to_images(_numbered(rows, image, where, first), pixels, where=where, first=first)
            first += len(rows)

    return Part(name, count, read)


def _from(folder: Path, names: pa.Array, where: str) -> Iterator[tuple[str, bytes]]:
    for i, name in enumerate(names):
        path = inside(folder, name.as_py(), where=f"{where} of row {i + 1}")
        yield str(path), path.read_bytes()


def _cells(file: File, image: str, where: str, csv: Csv | None) -> Iterator[tuple[str, bytes]]:
    row = 0
    for rows in table_batches(file, image, 0, csv=csv):
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


def _row(file: File, columns: Columns, rules: RowRules, csv: Csv | None) -> Array:
    """Return the columns of rows as one structured array: numbers as float64, categories as text."""
    named = list(dict.fromkeys(columns.row))
    rows = read_table(file, named, text=named if csv else columns.categorical, csv=csv)
    found = {}
    for name in columns.row:
        number = name in columns.numeric
        column = rows.column(name) if csv is None else tidied(rows.column(name), csv, number=number)
        values = column.to_numpy()
        try:
            found[name] = numbers_of(values, name) if number else text_of(values, name, missing=rules.missing)
        except DataError as error:
            raise DataError(f"{file}: {error}") from None
    result = np.empty(len(rows), dtype=[(name, values.dtype) for name, values in found.items()])
    for name, values in found.items():
        result[name] = values
    return result


def _numbered(rows: pa.Table, image: str, where: str, first: int) -> Array:
    """Return the numbers of some rows: of tensors, of lists, or of one column for each pixel."""
    if image.endswith("*"):
        named = zip(rows.column_names, rows.columns, strict=True)
        return np.stack([_numbers(column, f"{where}: {name}", first) for name, column in named], axis=1)
    column = rows.column(image)
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
