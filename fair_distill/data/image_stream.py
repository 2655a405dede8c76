"""Images that are read when they are asked for: batch by batch, in the order of the source, and never all at once.

Not for: what a file is like. A part knows how to read itself; see `formats` and `sources`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from fair_distill.data.grouped_dataset import Array
from fair_distill.errors import DataError, ShapeError

BATCH_BYTES = 16 * 2**20  # of pixels at a time; more is no faster


@dataclass(frozen=True, eq=False)
class Part:
    """The images of one file, or of one folder.

    Attributes
    ----------
    name : what to call it in a message
    count : how many images it has
    read : given a number of bytes, yields arrays (n, channels, height, width) of about that size, in order; uint8, or
        float32 if they are encoded rows. Rows that are not are structured arrays (n,)
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

    @property
    def shape(self) -> tuple[int, ...]:
        """Images, channels, height, width; the first image is read for it."""
        return (len(self), *self._first.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._first.dtype

    @cached_property
    def _first(self) -> Array:
        return next(self.batches(1))

    def changed(self, change: Callable[[Array, int], Array]) -> "Stream":
        """Return what becomes of the images, a batch at a time; `change` is also given the batch's place in its part.

        Raises
        ------
        DataError
            When it is read: what `change` raised, with the part's name.
        """
        return Stream(tuple(Part(part.name, part.count, partial(_changed, part, change)) for part in self.parts))

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
        whole = np.concatenate(list(self.batches()))
        return whole if dtype is None else whole.astype(dtype, copy=False)


def _changed(part: Part, change: Callable[[Array, int], Array], size: int) -> Iterator[Array]:
    first = 0
    for batch in part.read(size):
        try:
            yield change(batch, first)
        except DataError as error:
            raise DataError(f"{part.name}: {error}") from None
        first += len(batch)


def in_batches(images: Array | Stream, size: int = BATCH_BYTES) -> Iterator[Array]:
    """Yield images, or rows, in order, about `size` bytes at a time, wherever they are."""
    if isinstance(images, Stream):
        yield from images.batches(size)
    else:
        rows = max(1, size * len(images) // max(1, images.nbytes))
        for start in range(0, len(images), rows):
            yield images[start : start + rows]
