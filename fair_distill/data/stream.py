"""Images that are read when they are asked for: batch by batch, in the order of the source, and never all at once.

Not for: what a file is like. A part knows how to read itself; see `formats` and `sources`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fair_distill.data.grouped import Array
from fair_distill.errors import DataError, ShapeError

BATCH_BYTES = 16 * 2**20  # of pixels at a time; more is no faster


@dataclass(frozen=True, eq=False)
class Part:
    """The images of one file, or of one folder.

    Attributes
    ----------
    name : what to call it in a message
    count : how many images it has
    read : given a number of bytes, yields uint8 arrays (n, channels, height, width) of about that size, in order
    """

    name: str
    count: int
    read: Callable[[int], Iterator[Array]]


@dataclass(frozen=True, eq=False)
class Stream:
    """Images of one size from several parts, one after the other."""

    parts: tuple[Part, ...]

    def __len__(self) -> int:
        return sum(part.count for part in self.parts)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Images, channels, height, width; the first image is read for it."""
        return (len(self), *next(self.batches(1)).shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8)

    def batches(self, size: int = BATCH_BYTES) -> Iterator[Array]:
        """Yield the images in order, about `size` bytes at a time.

        Raises
        ------
        DataError, ShapeError
            If an image is not of the first one's size, or a part has other images than it said.
        """
        first: tuple[int, ...] | None = None
        for part in self.parts:
            seen = 0
            for batch in part.read(size):
                first = first or batch.shape[1:]
                if batch.shape[1:] != first:
                    raise ShapeError(
                        f"{part.name}: images of {batch.shape[1:]} do not go with others of {first}; "
                        "say params.yaml: data.source.pixels.channels, size and resize"
                    )
                seen += len(batch)
                yield batch
            if seen != part.count:
                raise DataError(f"{part.name}: {part.count} images were counted, and {seen} read; run again")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.concatenate(list(self.batches())).astype(dtype or np.uint8, copy=False)


def in_batches(images: Array | Stream, size: int = BATCH_BYTES) -> Iterator[Array]:
    """Yield images, or rows, in order, about `size` bytes at a time, wherever they are."""
    if isinstance(images, Stream):
        yield from images.batches(size)
    else:
        rows = max(1, size * len(images) // max(1, images.nbytes))
        for start in range(0, len(images), rows):
            yield images[start : start + rows]
