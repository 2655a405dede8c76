"""Imported candidates: small sets that somebody else made, read in the words of data.source."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from fair_distill.candidates.maker import Inputs, Made
from fair_distill.config import Imported
from fair_distill.data.columns import SourceData
from fair_distill.data.files.arrays import ArrayReader, open_npz
from fair_distill.data.files.input_file import InputFile
from fair_distill.data.files.tables import column_type
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.data.image_stream import BATCH_BYTES, ImageStream
from fair_distill.data.sources import read_source
from fair_distill.data.sources.locations import resolve_tables
from fair_distill.errors import ConfigError, DataError, IntegrityError, ShapeError
from fair_distill.files import sha256

# The keys of a source that name a file or a folder.
_LOCATIONS = ("path", "images", "labels", "metadata")


def import_set(candidate: Imported, inputs: Inputs) -> Made:
    """Read a set that somebody else made.

    The labels are classes of the training split, or their indices. Pixels become numbers from 0 to 1 as those of
    data.source do. An .npz array of floats without `pixels` is taken as it is, in which 1 is white: distilled pixels
    can be below 0 or above 1. Rows are encoded by the schema of the training split.

    Raises
    ------
    ConfigError, DataError, ShapeError
        If the source cannot be read, or does not fit the data.
    IntegrityError
        If the files are not those that params.yaml names by their digest.
    """
    name, options = candidate.source.name, dict(candidate.source.options)
    _check_digest(candidate, inputs.root, options)
    _check_no_paths(name, options, inputs.root)
    options.setdefault("classes", list(inputs.train.classes))
    source = read_source(name, options, root=inputs.root)
    images = _examples(source, inputs.train, _float_array(inputs.root, name, options))
    if images.shape[1:] != inputs.train.shape:
        raise ShapeError(
            f"the imported examples have the shape {images.shape[1:]}, those of the training split "
            f"{inputs.train.shape}; set pixels.size and pixels.channels of the candidate's source, or import other ones"
        )
    if source.classes != inputs.train.classes:
        raise DataError(
            f"the imported set has the classes {', '.join(source.classes[:10])}; expected those of the training split, "
            f"{', '.join(inputs.train.classes[:10])}. Correct classes in the candidate's source"
        )
    origin = {"producer": candidate.producer, "licence": candidate.licence, "sha256": candidate.sha256}
    return Made(images, source.labels.astype(np.int64), "imported", 1, origin=origin)


def source_digest(paths: list[Path]) -> str:
    """Return the SHA-256 of a file, or of several files as `sha256sum FILES | sha256sum` computes it.

    Parameters
    ----------
    paths : files or folders; the files below a folder are taken in the order of their paths, named relative to it
    """
    if len(paths) == 1 and paths[0].is_file():
        return sha256(paths[0])
    lines = []
    for path in paths:
        files = [path] if path.is_file() else sorted((file for file in path.rglob("*") if file.is_file()), key=str)
        lines += [f"{sha256(file)}  {file.relative_to(path.parent if path.is_file() else path)}\n" for file in files]
    return sha256("".join(lines).encode())


def _check_digest(candidate: Imported, root: Path, options: dict[str, object]) -> None:
    """Raise IntegrityError unless the files of a source have the digest of the candidate."""
    paths = []
    for key in _LOCATIONS:
        location = options.get(key, [])
        for name in location.values() if isinstance(location, dict) else [location] if location else []:
            if not isinstance(name, str) or "://" in name:
                raise ConfigError(
                    f"params.yaml: candidates: source.{key} is {str(name)[:80]!r}; an imported set is a local file or "
                    "folder. Download it, and track it with `dvc add`"
                )
            if not (root / name).exists():
                raise DataError(f"{root / name} is missing; correct source.{key} of the candidate, or add the file")
            paths.append(root / name)
    if not paths:
        raise ConfigError(
            f"params.yaml: candidates: the source {candidate.source.name!r} reads no file; use another source"
        )
    digest = source_digest(paths)
    if digest != candidate.sha256:
        raise IntegrityError(
            f"{', '.join(map(str, paths))}: the digest is {digest}; params.yaml expects {candidate.sha256}. If the "
            "producer changed the set on purpose, review it and change sha256 of the candidate"
        )


def _check_no_paths(name: str, options: dict[str, object], root: Path) -> None:
    """Refuse a table that lists image files, because the digest covers only the table."""
    columns, path = options.get("columns"), options.get("path")
    image = columns.get("image") if isinstance(columns, dict) else None
    if name != "table" or image is None or not isinstance(path, str | dict):
        return
    for file in resolve_tables(root, path).files:
        kind = column_type(file, str(image))
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            raise ConfigError(
                f"{file}: the column {image!r} has paths of images, which the digest of the table does not cover; use "
                "the source 'image_folder'"
            )


def _float_array(root: Path, name: str, options: dict[str, object]) -> Array | None:
    """Return the array of an .npz file with floats and without `pixels`, which would round them; None for others."""
    path, columns = options.get("path"), options.get("columns")
    if name != "npz" or options.get("pixels") or not isinstance(path, str) or not isinstance(columns, dict):
        return None
    with open_npz(InputFile.local(root / path), str(columns.get("image"))) as reader:
        return _read_floats(reader) if reader.dtype.kind == "f" else None


def _read_floats(reader: ArrayReader) -> Array:
    images = np.concatenate(list(reader.batches(BATCH_BYTES))).astype(np.float32)
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in {1, 3} and images.shape[3] in {1, 3}:
        images = np.moveaxis(images, 3, 1)
    if images.ndim != 4:
        raise ShapeError(f"{reader.name} has the shape {reader.shape}; expected images (N, channels, height, width)")
    if not np.isfinite(images).all():
        raise DataError(f"{reader.name} has pixels that are not finite; ask the producer for a corrected set")
    return np.ascontiguousarray(images)


def _examples(source: SourceData, train: GroupedDataset, floats: Array | None) -> Array:
    """Return the examples in the unit of published sets."""
    if floats is not None:
        return floats
    schema = train.schema
    if (source.schema is None) != (schema is None):
        expected, got = ("images", "rows") if schema is None else ("rows", "images")
        raise DataError(
            f"the imported set has {got}; the training split has {expected}. Correct the candidate's source"
        )
    if schema is None:
        images: Array = np.asarray(source.images).astype(np.float32) / np.float32(255)
        return images
    assert isinstance(source.images, ImageStream)  # rows of tables are always a stream
    encoded = source.images.map(lambda rows, first: schema.encode(rows, first=first))
    return np.asarray(replace(source, images=encoded).images)
