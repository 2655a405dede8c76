"""Where raw images come from. A source is a function and a line in SOURCES; its options are its keyword arguments.

A source returns grey or colour images with a class each and, if it knows them, groups, pairs, clusters and splits.
Paths are relative to the workspace.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import ConfigDict, Field, ValidationError, validate_call

from fair_distill.config import Section
from fair_distill.data.columns import Classes, Columns, Labelled, Name, as_text, labelled
from fair_distill.data.formats import TABLES, Csv, inside, read_idx, read_npz, read_table, tidied
from fair_distill.data.grouped import Array
from fair_distill.data.pixels import Pixels, decode, to_images
from fair_distill.errors import ConfigError, DataError, ShapeError
from fair_distill.rows import RowSchema, numbers_of, schema_of, text_of

__all__ = ["SOURCES", "Labelled", "read_source"]

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
    parts = _files(root, images)
    label_parts = _alike(root, labels, images, "labels")
    facts_parts = _alike(root, attributes, images, "attributes") if attributes is not None else {}
    stacks, names, facts, splits = [], [], [], []
    for split, path in parts.items():
        stacks.append(to_images(read_idx(path), pixels, where=str(path)))
        names.append(as_text(read_idx(label_parts[split]), where=str(label_parts[split])))
        facts.append(_arrays(facts_parts[split], columns) if facts_parts else {})
        splits.append(np.repeat(split, len(stacks[-1])))
        for what, count in {"labels": names[-1], **facts[-1]}.items():
            if len(count) != len(stacks[-1]):
                raise ShapeError(f"{path}: {len(stacks[-1])} images, but {len(count)} entries in {what}")
    return labelled(
        _stacked(stacks, parts.values()),
        {name: np.concatenate([part[name] for part in facts]) for name in columns.facts},
        columns,
        classes,
        labels=np.concatenate(names),
        splits=None if isinstance(images, str) else np.concatenate(splits),
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
    name, stacks, facts = str(columns.image), [], []
    parts = _files(root, path)
    for file in parts.values():
        images = read_npz(file, [name])[name]
        stacks.append(to_images(images, pixels or Pixels(), where=f"{file}: {name}"))
        facts.append(_arrays(file, columns))
    return _joined(parts, stacks, facts, columns, classes, by_file=not isinstance(path, str))


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
    parts = _files(root, path)
    rules, by_file = rows or RowRules(), not isinstance(path, str)
    if not columns.row:
        columns.needed("image", by="table")
        if rows is not None:
            raise ConfigError("params.yaml: data.source.rows goes with columns.numeric and categorical")
        read = [_rows(file, columns, partial(_picture, columns, pixels or Pixels()), csv) for file in parts.values()]
        schema = None
    else:
        if columns.label in columns.row:
            raise ConfigError(f"params.yaml: data.source.columns: {columns.label!r} is the label; no row may tell it")
        if columns.image is not None or pixels is not None:
            raise ConfigError("params.yaml: data.source: an image and its pixels, or columns of rows; there are both")
        read = [_rows(file, columns, partial(_row, columns, rules, csv), csv) for file in parts.values()]
        schema = partial(schema_of, numeric=columns.numeric, categorical=columns.categorical, **rules.model_dump())
    contents, facts = [content for content, _ in read], [about for _, about in read]
    return _joined(parts, contents, facts, columns, classes, by_file=by_file, schema=schema)


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
    folder = root / path
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; mend params.yaml: data.source.path, or put the images there")
    parts = _files(root, metadata)
    picture = partial(_picture, columns, pixels or Pixels(), folder=folder)
    read = [_rows(file, columns, picture) for file in parts.values()]
    stacks, facts = [images for images, _ in read], [about for _, about in read]
    return _joined(parts, stacks, facts, columns, classes, by_file=not isinstance(metadata, str))


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
        return validate_call(config=ConfigDict(strict=True))(SOURCES[name])(root, **options)
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


def _files(root: Path, files: Files) -> dict[str, Path]:
    """The file of each split; of the split "" if there is one file for all."""
    return {"": root / files} if isinstance(files, str) else {split: root / file for split, file in files.items()}


def _alike(root: Path, files: Files, images: Files, what: str) -> dict[str, Path]:
    parts = _files(root, files)
    if parts.keys() != _files(root, images).keys():
        raise ConfigError(f"params.yaml: data.source.{what}: name a file for the same splits as in images")
    return parts


def _arrays(path: Path, columns: Columns) -> dict[str, Array]:
    read = read_npz(path, columns.facts)
    return {
        name: as_text(values, where=f"{path}: {name}", missing_as=columns.missing_as(name))
        for name, values in read.items()
    }


def _joined(
    parts: Mapping[str, Path],
    stacks: list[Array],
    facts: list[dict[str, Array]],
    columns: Columns,
    classes: Classes | None,
    *,
    by_file: bool,
    schema: Callable[[Array], RowSchema] | None = None,
) -> Labelled:
    if by_file and columns.split:
        raise ConfigError("params.yaml: data.source: name splits by file or by columns.split, not by both")
    splits = np.repeat(list(parts), [len(stack) for stack in stacks]) if by_file else None
    joined = {name: np.concatenate([part[name] for part in facts]) for name in columns.facts}
    return labelled(_stacked(stacks, parts.values()), joined, columns, classes, splits=splits, schema=schema)


def _stacked(stacks: list[Array], paths: Iterable[Path]) -> Array:
    for stack, path in zip(stacks, paths, strict=True):
        if stack.shape[1:] != stacks[0].shape[1:]:
            raise ShapeError(
                f"{path}: images of {stack.shape[1:]} do not go with others of {stacks[0].shape[1:]}; "
                "say params.yaml: data.source.pixels.channels, size and resize"
            )
    return stacks[0] if len(stacks) == 1 else np.concatenate(stacks)


Content = Callable[[pa.Table, Path], Array]


def _rows(path: Path, columns: Columns, content: Content, csv: Csv | None = None) -> tuple[Array, dict[str, Array]]:
    """Read a table, or each table of a folder; return its content, images or rows, and its other columns."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in TABLES)
        if not files:
            raise DataError(f"{path} has no files of {', '.join(TABLES)}; mend params.yaml: data.source.path")
        read = [_rows(file, columns, content, csv) for file in files]
        facts = {name: np.concatenate([about[name] for _, about in read]) for name in columns.facts}
        return _stacked([images for images, _ in read], files), facts
    wanted = columns.row or [str(columns.image)]
    text = [*columns.facts, *(wanted if csv or not columns.row else columns.categorical)]
    rows = read_table(path, list(dict.fromkeys([*wanted, *columns.facts])), text=text, csv=csv)
    named = {name: rows.column(name) for name in columns.facts}
    if csv is not None:
        named = {name: tidied(column, csv, number=False) for name, column in named.items()}
    return content(rows, path), {
        name: as_text(column, where=f"{path}: {name}", missing_as=columns.missing_as(name))
        for name, column in named.items()
    }


def _picture(columns: Columns, pixels: Pixels, rows: pa.Table, path: Path, *, folder: Path | None = None) -> Array:
    image = str(columns.image)
    if image.endswith("*"):
        flat = [name for name in rows.column_names if name not in columns.facts]
        values = np.stack([_numbers(rows.column(name), f"{path}: {name}") for name in flat], axis=1)
        return to_images(values, pixels, where=str(path))
    return _images(rows.column(image), pixels, f"{path}: {image}", folder or path.parent)


def _row(columns: Columns, rules: RowRules, csv: Csv | None, rows: pa.Table, path: Path) -> Array:
    """Return the columns of rows as one structured array: numbers as float64, categories as text."""
    found = {}
    for name in columns.row:
        number = name in columns.numeric
        column = rows.column(name) if csv is None else tidied(rows.column(name), csv, number=number)
        values = column.to_numpy()
        try:
            found[name] = numbers_of(values, name) if number else text_of(values, name, missing=rules.missing)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
    result = np.empty(len(rows), dtype=[(name, values.dtype) for name, values in found.items()])
    for name, values in found.items():
        result[name] = values
    return result


def _numbers(column: pa.ChunkedArray, where: str) -> Array:
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise DataError(f"{where}: pixels are numbers; got {column.type}")
    _none_missing(column, where)
    values: Array = column.to_numpy()
    return values


def _none_missing(column: pa.ChunkedArray, where: str) -> None:
    if column.null_count:
        raise DataError(f"{where} is missing in {column.null_count} of {len(column)} rows; mend them or leave them out")


def _images(column: pa.ChunkedArray, pixels: Pixels, where: str, folder: Path) -> Array:
    kind = column.type
    _none_missing(column, where)
    if isinstance(kind, pa.FixedShapeTensorType):
        return to_images(column.combine_chunks().to_numpy_ndarray(), pixels, where=where)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return to_images(_flat(column, where), pixels, where=where)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return _decoded(((f"{where} of row {i + 1}", cell.as_py()) for i, cell in enumerate(column)), column, pixels)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        named = ((f"{where} of row {i + 1}", cell.as_py()) for i, cell in enumerate(column))
        paths = ((str(path), path.read_bytes()) for path in (inside(folder, name, where=at) for at, name in named))
        return _decoded(paths, column, pixels)
    raise DataError(f"{where}: tensors, lists of numbers, PNG or JPEG bytes, or paths are wanted; got {kind}")


def _flat(column: pa.ChunkedArray, where: str) -> Array:
    lengths = pa.compute.list_value_length(column).unique().to_pylist()
    values = pa.chunked_array([chunk.flatten() for chunk in column.chunks])
    if len(lengths) > 1:
        raise ShapeError(f"{where}: as many numbers are wanted for every image; got {sorted(lengths)[:5]}")
    return _numbers(values, where).reshape(len(column), -1)


def _decoded(files: Iterable[tuple[str, bytes]], column: pa.ChunkedArray, pixels: Pixels) -> Array:
    images: Array | None = None
    for i, (where, content) in enumerate(files):
        image = decode(content, pixels, where=where)
        if images is None:
            images = np.empty((len(column), *image.shape), dtype=np.uint8)
        if image.shape != images.shape[1:]:
            raise ShapeError(
                f"{where}: an image of {image.shape} does not go with others of {images.shape[1:]}; "
                "say params.yaml: data.source.pixels.channels, size and resize"
            )
        images[i] = image
    assert images is not None, "read_table refuses a table without rows"
    return images
