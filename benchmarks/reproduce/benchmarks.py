"""The data sets of the tables, from files as their makers publish them, and what is tested on.

C-MNIST, C-FMNIST and CIFAR10-S are coloured here as Zhou et al. ("FairDD", NeurIPS 2025) colour them; where we part
from them stands in each one's note. MNIST by writer has groups of its own.
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
from fair_distill.data.splits import split_by_share
from fair_distill.errors import ConfigError
from fair_distill.seeds import numpy_generator

# The papers' ten, in their order: class c owns colour c.
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

_SEED = 0  # one painting and one choice of test images, whatever is distilled from them
_CENTRED = "28×28 centred on 32×32, where the reference code pads top and left only"
_OWN_TEST = 0.25  # of CIFAR images that come without a test part


@dataclass(frozen=True)
class Benchmark:
    """One data set of a table.

    Attributes
    ----------
    read : a key of READERS
    colours, paint, owners : see `data.skew`; None where the groups are the data's own
    one_colour : whether there is a test in which each image has one colour, balanced, as the papers have it
    note : where this parts from the papers
    """

    title: str
    read: str
    note: str
    colours: Mapping[str, Sequence[int] | str] | None = None
    paint: str = "foreground"
    owners: tuple[int, ...] | None = None
    one_colour: bool = True


BENCHMARKS = {
    "c_mnist_fg": Benchmark("C-MNIST, foreground", "mnist", _CENTRED, COLOURS, "stroke"),
    "c_mnist_bg": Benchmark("C-MNIST, background", "mnist", f"{_CENTRED}; all of it is painted", COLOURS, "background"),
    "c_fmnist_fg": Benchmark("C-FMNIST, foreground", "fashion_mnist", _CENTRED, COLOURS, "foreground"),
    "c_fmnist_bg": Benchmark(
        "C-FMNIST, background",
        "fashion_mnist",
        f"{_CENTRED}; the colour stands around the garment, where the reference code adds it modulo 256",
        COLOURS,
        "around",
    ),
    "cifar10_s": Benchmark(
        "CIFAR10-S",
        "cifar10",
        "the first 4,000 training images instead of 50,000, a quarter of them kept for the test: no figure compares",
        GREY,
        owners=(0, 0, 0, 0, 0, 1, 1, 1, 1, 1),
        one_colour=False,
    ),
    "mnist_writers": Benchmark("MNIST by writer", "mnist_writers", "not in the papers: census staff against students"),
}


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a benchmark is distilled from and tested on.

    Attributes
    ----------
    test : all test images together, so that each network is asked once
    tests : for each test the pair numbers that are its own, a range
    """

    train: GroupedDataset
    test: GroupedDataset
    tests: dict[str, range]


def prepare(name: str, data: Path, *, paired_per_class: int) -> Prepared:
    """Read and colour a benchmark from the folder `data`; equal arguments give equal rows.

    Raises
    ------
    ConfigError, DataError
        If there is no such benchmark, or its files are not there.
    """
    benchmark = known(name)
    source = READERS[benchmark.read](data).in_memory()
    train, test = _rows(source)
    if benchmark.colours is None:
        assert source.group_indices is not None
        parts = [_natural(source, rows) for rows in (train, test)]
        return Prepared(parts[0], parts[1], {"official": range(len(source))})
    rng = numpy_generator(_SEED, f"reproduce.{name}.colours")
    colours, paint, n = benchmark.colours, benchmark.paint, len(source)
    painted = skewed_dataset(source, train, colours, 0.9, rng, paint=paint, owners=benchmark.owners)
    few = _few(source.labels, test, paired_per_class, numpy_generator(_SEED, f"reproduce.{name}.paired"))
    both = paired_dataset(source, few, colours, paint=paint)
    if not benchmark.one_colour:
        return Prepared(painted, both, {"paired": range(n)})
    official = skewed_dataset(source, test, colours, 1 / len(colours), rng, paint=paint, owners=benchmark.owners)
    return Prepared(painted, _joined(official, both, shift=n), {"official": range(n), "paired": range(n, 2 * n)})


def known(name: str) -> Benchmark:
    if name not in BENCHMARKS:
        raise ConfigError(f"there is no data set {name!r} to reproduce; choose from {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def look_for_files(name: str, data: Path) -> None:
    """Raise ConfigError unless the files of a benchmark are there: before hours of work, and not within them."""
    for file in FILES[known(name).read]:
        if not (data / file).is_file():
            folders = "mnist/, fashion_mnist/ and cifar10_4k/"
            raise ConfigError(f"--data {data} has no {file}; name the folder that holds {folders}")


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


def _files(folder: str, what: str) -> dict[str, str]:
    return {part: f"{folder}/{name}-{what}-ubyte.gz" for part, name in (("train", "train"), ("test", "t10k"))}


def _cifar10(data: Path) -> SourceData:
    return npz(data, path=_CIFAR10, columns=Columns(image="x", label="y"))


READERS = {
    "mnist": _mnist,
    "fashion_mnist": _fashion_mnist,
    "mnist_writers": _mnist_writers,
    "cifar10": _cifar10,
}
# What each reader opens, below the folder `data`.
_MNIST, _FASHION = (
    [file for what in ("images-idx3", "labels-idx1") for file in _files(folder, what).values()]
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
        shares = {"train": 1 - _OWN_TEST, "test": _OWN_TEST}
        dealt = split_by_share(source.labels, np.arange(len(source)), shares, numpy_generator(_SEED, "reproduce.split"))
        return dealt["train"], dealt["test"]
    return source.splits.rows("train"), source.splits.rows("test")


def _few(labels: Array, rows: Array, per_class: int, rng: np.random.Generator) -> Array:
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
    """Return the rows of both; the second's pair numbers are `shift` higher, so that they tell where a row is from."""
    return GroupedDataset.from_arrays(
        np.concatenate([first.images, second.images]),
        np.concatenate([first.labels, second.labels]),
        np.concatenate([first.group_indices, second.group_indices]),
        classes=first.classes,
        groups=first.groups,
        pairs=np.concatenate([first.pairs, second.pairs + shift]),
    )
