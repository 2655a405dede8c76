"""The data sets of the tables, read from the published files, and their test splits.

C-MNIST, C-FMNIST and CIFAR10-S are coloured as in Zhou et al. ("FairDD", NeurIPS 2025). The `note` of a benchmark
names each difference. MNIST by writer uses the groups of its source.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fair_distill.data.colour_skew import paired_dataset, skewed_dataset
from fair_distill.data.columns import Columns, SourceData
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.data.pixels import Pixels
from fair_distill.data.sources import idx, npz
from fair_distill.errors import ConfigError
from fair_distill.seeds import numpy_generator

# The ten colours of the papers, in their order: class c owns colour c.
COLOURS: dict[str, Sequence[int] | str] = {
    "red": [255, 0, 0],
    "orange": [255, 128, 0],
    "yellow": [255, 255, 0],
    "cream": [255, 255, 128],
    "green": [0, 255, 0],
    "cyan": [0, 255, 255],
    "blue": [0, 0, 255],
    "violet": [128, 0, 255],
    "magenta": [255, 0, 255],
    "white": [255, 255, 255],
}
GREY: dict[str, Sequence[int] | str] = {"grey": "grey", "colour": "original"}

# The colours and the test images are the same for all methods and seeds.
_SEED = 0
_CENTRED = "28×28 pixels are centred on 32×32; the reference code pads only top and left"
# Share of the CIFAR images, which come without a test split.
_TEST_SHARE = 0.25


@dataclass(frozen=True)
class Benchmark:
    """One data set of a table.

    Attributes
    ----------
    read : a key of READERS
    colours, paint, owners : see `data.colour_skew`; None if the source has groups
    std : the standard deviation by which the code of the papers divides these images. Its learning rates are for it
    one_colour : whether there is a balanced test in which each image has one colour, as in the papers
    note : differences from the papers
    """

    title: str
    read: str
    note: str
    std: float
    colours: Mapping[str, Sequence[int] | str] | None = None
    paint: str = "foreground"
    owners: tuple[int, ...] | None = None
    one_colour: bool = True


BENCHMARKS = {
    "c_mnist_fg": Benchmark("C-MNIST, foreground", "mnist", _CENTRED, 0.5, COLOURS, "stroke"),
    "c_mnist_bg": Benchmark(
        "C-MNIST, background", "mnist", f"{_CENTRED}; the padding is coloured too", 0.5, COLOURS, "background"
    ),
    "c_fmnist_fg": Benchmark("C-FMNIST, foreground", "fashion_mnist", _CENTRED, 0.5, COLOURS, "foreground"),
    "c_fmnist_bg": Benchmark(
        "C-FMNIST, background",
        "fashion_mnist",
        f"{_CENTRED}; the colour is around the garment; the reference code adds it modulo 256",
        0.5,
        COLOURS,
        "around",
    ),
    "cifar10_s": Benchmark(
        "CIFAR10-S",
        "cifar10",
        "the first 4,000 training images instead of 50,000, a quarter of them for the test; figures are not comparable",
        0.245,
        GREY,
        owners=(0, 0, 0, 0, 0, 1, 1, 1, 1, 1),
        one_colour=False,
    ),
    "mnist_writers": Benchmark(
        "MNIST by writer", "mnist_writers", "not in the papers; the groups are census staff and students", 0.5
    ),
}


@dataclass(frozen=True, eq=False)
class Prepared:
    """The training and test examples of a benchmark.

    Attributes
    ----------
    test : the images of all tests together, so that each network predicts once
    tests : for each test, the range of its pair numbers
    """

    train: GroupedDataset
    test: GroupedDataset
    tests: dict[str, range]


def prepare(name: str, data: Path, *, paired_per_class: int) -> Prepared:
    """Read a benchmark from the folder `data` and colour it. Equal arguments give equal rows.

    Raises
    ------
    ConfigError, DataError
        If the benchmark is unknown, or its files are missing.
    """
    benchmark = find_benchmark(name)
    source = READERS[benchmark.read](data).in_memory()
    train, test = _rows(source)
    if benchmark.colours is None:
        assert source.group_indices is not None
        splits = [_natural(source, rows) for rows in (train, test)]
        return Prepared(splits[0], splits[1], {"official": range(len(source))})
    rng = numpy_generator(_SEED, f"reproduce.{name}.colours")
    colours, paint, n = benchmark.colours, benchmark.paint, len(source)
    painted = skewed_dataset(source, train, colours, 0.9, rng, paint=paint, owners=benchmark.owners)
    paired_rows = _sample(source.labels, test, paired_per_class, numpy_generator(_SEED, f"reproduce.{name}.paired"))
    both = paired_dataset(source, paired_rows, colours, paint=paint)
    if not benchmark.one_colour:
        return Prepared(painted, both, {"paired": range(n)})
    official = skewed_dataset(source, test, colours, 1 / len(colours), rng, paint=paint, owners=benchmark.owners)
    return Prepared(painted, _joined(official, both, shift=n), {"official": range(n), "paired": range(n, 2 * n)})


def find_benchmark(name: str) -> Benchmark:
    """Return a benchmark by name. Raises ConfigError for an unknown name."""
    if name not in BENCHMARKS:
        raise ConfigError(f"the data set is {name!r}; choose from {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def check_files(name: str, data: Path) -> None:
    """Raise ConfigError if a file of a benchmark is missing, before hours of measurements start."""
    for file in FILES[find_benchmark(name).read]:
        if not (data / file).is_file():
            folders = "mnist/, fashion_mnist/ and cifar10_4k/"
            raise ConfigError(f"--data is {data}, which has no {file}; pass the folder that contains {folders}")


def _mnist(data: Path, folder: str = "mnist") -> SourceData:
    return idx(data, images=_files(folder, "images-idx3"), labels=_files(folder, "labels-idx1"), pixels=_PADDED)


def _fashion_mnist(data: Path) -> SourceData:
    return _mnist(data, "fashion_mnist")


def _mnist_writers(data: Path) -> SourceData:
    return idx(
        data,
        images=_files("mnist", "images-idx3"),
        labels=_files("mnist", "labels-idx1"),
        attributes=_WRITERS,
        columns=Columns(groups="student"),
        pixels=_PADDED,
    )


_PADDED = Pixels(size=32, resize="pad")
_WRITERS = {"train": "mnist/train_groups.npz", "test": "mnist/t10k_groups.npz"}
_CIFAR10 = "cifar10_4k/cifar10_first4000.npz"


def _files(folder: str, kind: str) -> dict[str, str]:
    return {part: f"{folder}/{name}-{kind}-ubyte.gz" for part, name in (("train", "train"), ("test", "t10k"))}


def _cifar10(data: Path) -> SourceData:
    return npz(data, path=_CIFAR10, columns=Columns(image="x", label="y"))


READERS = {
    "mnist": _mnist,
    "fashion_mnist": _fashion_mnist,
    "mnist_writers": _mnist_writers,
    "cifar10": _cifar10,
}
# The files of each reader, relative to the folder `data`.
_MNIST, _FASHION = (
    [file for kind in ("images-idx3", "labels-idx1") for file in _files(folder, kind).values()]
    for folder in ("mnist", "fashion_mnist")
)
FILES = {
    "mnist": _MNIST,
    "fashion_mnist": _FASHION,
    "mnist_writers": [*_MNIST, *_WRITERS.values()],
    "cifar10": [_CIFAR10],
}


def _rows(source: SourceData) -> tuple[Array, Array]:
    if source.splits is None:
        return _stratified(source.labels, numpy_generator(_SEED, "reproduce.split"))
    return source.splits.rows("train"), source.splits.rows("test")


def _stratified(labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the rows of the training and test images, with the same share of each class."""
    parts = []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        parts.append(np.split(rows, [round((1 - _TEST_SHARE) * len(rows))]))
    train, test = (np.sort(np.concatenate(rows)) for rows in zip(*parts, strict=True))
    return train, test


def _sample(labels: Array, rows: Array, per_class: int, rng: np.random.Generator) -> Array:
    chosen = [rng.permutation(rows[labels[rows] == label])[:per_class] for label in np.unique(labels)]
    return np.sort(np.concatenate(chosen))


def _natural(source: SourceData, rows: Array) -> GroupedDataset:
    assert source.group_indices is not None
    return GroupedDataset.from_arrays(
        np.asarray(source.images)[rows],
        source.labels[rows],
        source.group_indices[rows],
        classes=source.classes,
        groups=source.groups,
        pairs=rows,
    )


def _joined(first: GroupedDataset, second: GroupedDataset, *, shift: int) -> GroupedDataset:
    """Return the rows of both. The pair numbers of the second are `shift` higher, which identifies its rows."""
    return GroupedDataset.from_arrays(
        np.concatenate([first.images, second.images]),
        np.concatenate([first.labels, second.labels]),
        np.concatenate([first.group_indices, second.group_indices]),
        classes=first.classes,
        groups=first.groups,
        pairs=np.concatenate([first.pairs, second.pairs + shift]),
    )
