"""Data folders and budgets small enough to measure a whole table in seconds."""

import gzip
import struct
from pathlib import Path

import numpy as np

from benchmarks.reproduce.budget import Budget
from fair_distill.data.grouped_dataset import Array

TINY = Budget(
    width=4, steps=2, gradient_steps=1, real_per_class=10, networks=2, epochs=2, full_steps=2, paired_per_class=2
)
TRAIN, TEST = 40, 20  # images a class


def write_idx(path: Path, values: Array) -> None:
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        file.write(header + values.astype(np.uint8).tobytes())


def write_mnist(data: Path) -> Path:
    """Write noise in the four files of MNIST and its writers, beside them."""
    rng = np.random.default_rng(0)
    folder = data / "mnist"
    folder.mkdir(parents=True)
    for name, per_class in (("train", TRAIN), ("t10k", TEST)):
        labels = rng.permutation(np.repeat(np.arange(10), per_class))
        write_idx(folder / f"{name}-images-idx3-ubyte.gz", rng.integers(0, 256, (len(labels), 28, 28)))
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", labels)
        student = (rng.permutation(len(labels)) % 2).astype(np.uint8)
        np.savez(folder / f"{name}_groups.npz", student=student)
    return data
