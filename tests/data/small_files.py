"""The same forty small images with the same labels and groups, in every format that a source reads."""

import gzip
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from PIL import Image

from fair_distill.data.grouped_dataset import Array

N = 40
CLASSES = ("cat", "dog")
GROUPS = ("f×old", "f×young", "m×old", "m×young")
COLUMNS = {"label": "kind", "groups": ["sex", "age"]}
SPLITS = {"train": 0.5, "tune": 0.25, "gate": 0.25}


def images() -> Array:
    return np.random.default_rng(3).integers(0, 256, (N, 1, 9, 8)).astype(np.uint8)


def labels() -> Array:
    return np.arange(N) % 2


def groups() -> Array:
    return np.arange(N) // 2 % 4


def facts() -> dict[str, list[str]]:
    sex_age = [GROUPS[group].split("×") for group in groups()]
    return {
        "kind": [CLASSES[label] for label in labels()],
        "sex": [sex for sex, _ in sex_age],
        "age": [age for _, age in sex_age],
    }


def idx_bytes(values: Array, kind: int = 8) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, kind, values.ndim, *values.shape) + values.tobytes()


def png(image_cHW: Array, form: str = "PNG") -> bytes:
    sink = io.BytesIO()
    grey = len(image_cHW) == 1
    Image.fromarray(image_cHW[0] if grey else np.moveaxis(image_cHW, 0, 2)).save(sink, form)
    return sink.getvalue()


def _idx(root: Path) -> dict[str, Any]:
    (root / "images").write_bytes(gzip.compress(idx_bytes(images()[:, 0]), mtime=0))
    (root / "labels").write_bytes(idx_bytes(labels().astype(np.uint8)))
    np.savez(root / "about.npz", **{name: np.array(facts()[name]) for name in ("sex", "age")})
    columns = {"groups": ["sex", "age"]}
    return {"images": "images", "labels": "labels", "attributes": "about.npz", "columns": columns, "classes": CLASSES}


def _npz(root: Path) -> dict[str, Any]:
    np.savez(root / "all.npz", x=images(), **{name: np.array(values) for name, values in facts().items()})
    return {"path": "all.npz", "columns": COLUMNS | {"image": "x"}}


def _tensors(root: Path) -> dict[str, Any]:
    table = pa.table(facts() | {"x": pa.FixedShapeTensorArray.from_numpy_ndarray(images())})
    pa.parquet.write_table(table, root / "all.parquet")
    return {"path": "all.parquet", "columns": COLUMNS | {"image": "x"}}


def _lists(root: Path) -> dict[str, Any]:
    table = pa.table(facts() | {"x": images().reshape(N, -1).tolist()})
    with pa.ipc.new_file(root / "all.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    pixels = {"shape": [1, 9, 8], "range": [0, 255]}
    return {"path": "all.arrow", "columns": COLUMNS | {"image": "x"}, "pixels": pixels}


def _bytes(root: Path) -> dict[str, Any]:
    (root / "parts").mkdir()
    table = pa.table(facts() | {"x": [png(image) for image in images()]})
    pa.parquet.write_table(table.slice(0, 15), root / "parts/a.parquet")
    pa.parquet.write_table(table.slice(15), root / "parts/b.parquet")
    return {"path": "parts", "columns": COLUMNS | {"image": "x"}}


def _pixel_columns(root: Path) -> dict[str, Any]:
    flat = images().reshape(N, -1)
    # Out of order: pixel10 comes after pixel9, not after pixel1.
    columns = {f"pixel{i}": flat[:, i] for i in sorted(range(72), key=str)}
    pa.csv.write_csv(pa.table(facts() | columns | {"pixel_note": ["-"] * N}), root / "all.csv")
    pixels = {"shape": [1, 9, 8], "range": [0, 255]}
    return {"path": "all.csv", "columns": COLUMNS | {"image": "pixel*"}, "pixels": pixels}


def _folder(root: Path) -> dict[str, Any]:
    (root / "pictures/deep").mkdir(parents=True)
    names = [f"{'deep/' if i % 3 else ''}{i}.png" for i in range(N)]
    for name, image in zip(names, images(), strict=True):
        (root / "pictures" / name).write_bytes(png(image))
    pa.csv.write_csv(pa.table({"file_name": names} | facts()), root / "about.csv")
    return {"path": "pictures", "metadata": "about.csv", "columns": COLUMNS | {"image": "file_name"}}


def _paths(root: Path) -> dict[str, Any]:
    _folder(root)
    (root / "about.csv").rename(root / "pictures/about.csv")
    return {"path": "pictures/about.csv", "columns": COLUMNS | {"image": "file_name"}}


@dataclass(frozen=True)
class Form:
    """One way to store the images: the source that reads it, and what writes it and returns the source's options."""

    source: str
    write: Callable[[Path], dict[str, Any]]


FORMS = {
    "idx": Form("idx", _idx),
    "npz": Form("npz", _npz),
    "tensors in Parquet": Form("table", _tensors),
    "lists in Arrow": Form("table", _lists),
    "PNG in a folder of Parquet": Form("table", _bytes),
    "pixels in CSV": Form("table", _pixel_columns),
    "paths in CSV": Form("table", _paths),
    "folder": Form("image_folder", _folder),
}


def written(form: str, root: Path) -> dict[str, Any]:
    """Write a form; return the mapping that names it in params.yaml: data.source."""
    return {"name": FORMS[form].source} | FORMS[form].write(root)
