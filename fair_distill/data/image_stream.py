"""Streams of images that are read in batches, in the order of the source, and never all at once.

A `StreamPart` contains the function that reads it. The readers of file formats are in `files` and `sources`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from fair_distill.data.grouped_dataset import Array
from fair_distill.errors import DataError, ShapeError

# Bytes of pixels in a batch. Larger batches are not faster.
BATCH_BYTES = 16 * 2**20


@dataclass(frozen=True, eq=False)
class StreamPart:
    """The images of one file or of one folder.

    Attributes
    ----------
    name : the name in messages
    count : the number of images
    read : receives a number of bytes, and yields arrays (n, channels, height, width) of about that size, in order. They
        are uint8, or float32 for encoded rows. Rows that are not encoded yet are structured arrays (n,)
    """

    name: str
    count: int
    read: Callable[[int], Iterator[Array]]


@dataclass(frozen=True, eq=False)
class ImageStream:
    """Images of one size from several parts, one part after the other."""

    parts: tuple[StreamPart, ...]

    def __len__(self) -> int:
        return sum(part.count for part in self.parts)

    @property
    def shape(self) -> tuple[int, ...]:
        """Images, channels, height, width. Reads the first image."""
        return (len(self), *self._first.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._first.dtype

    @cached_property
    def _first(self) -> Array:
        return next(self.batches(1))

    def map(self, function: Callable[[Array, int], Array]) -> "ImageStream":
        """Return the stream with a function applied to each batch.

        Parameters
        ----------
        function : receives a batch and the position of its first image in the part. A DataError that it raises gets the
            name of the part
        """
        return ImageStream(
            tuple(StreamPart(part.name, part.count, partial(_map_part, part, function)) for part in self.parts)
        )

    def take(self, rows: Array) -> "ImageStream":
        """Return the stream of these rows, which are in ascending order."""
        parts, start = [], 0
        for part in self.parts:
            first, last = np.searchsorted(rows, [start, start + part.count])
            of_part = rows[first:last] - start
            parts.append(StreamPart(part.name, len(of_part), partial(_take_part, part, of_part)))
            start += part.count
        return ImageStream(tuple(parts))

    def batches(self, size: int = BATCH_BYTES) -> Iterator[Array]:
        """Yield the images in order, about `size` bytes at a time.

        Raises
        ------
        DataError, ShapeError
            If an image has another size than the first one, or a part has another number of images than its count.
        """
        shape: tuple[int, ...] | None = None
        for part in self.parts:
            count = 0
            for batch in part.read(size):
                shape = shape or batch.shape[1:]
                if batch.shape[1:] != shape:
                    raise ShapeError(
                        f"{part.name}: images have the shape {batch.shape[1:]}, the images before them {shape}. "
                        "Set params.yaml: data.source.pixels.channels, size and resize"
                    )
                count += len(batch)
                yield batch
            if count != part.count:
                raise DataError(
                    f"{part.name} had {part.count} images when they were counted, and {count} when they were read. "
                    "Do not change the source while it is read, and run again"
                )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        whole = np.concatenate(list(self.batches()))
        return whole if dtype is None else whole.astype(dtype, copy=False)


def _map_part(part: StreamPart, function: Callable[[Array, int], Array], size: int) -> Iterator[Array]:
    first = 0
    for batch in part.read(size):
        try:
            yield function(batch, first)
        except DataError as error:
            raise DataError(f"{part.name}: {error}") from None
        first += len(batch)


def _take_part(part: StreamPart, rows: Array, size: int) -> Iterator[Array]:
    start = 0
    for batch in part.read(size):
        first, last = np.searchsorted(rows, [start, start + len(batch)])
        if first < last:
            yield batch[rows[first:last] - start]
        start += len(batch)


def iterate_batches(images: Array | ImageStream, size: int = BATCH_BYTES) -> Iterator[Array]:
    """Yield images or rows in order, about `size` bytes at a time, from an array or from a stream."""
    if isinstance(images, ImageStream):
        yield from images.batches(size)
    else:
        rows = max(1, size * len(images) // max(1, images.nbytes))
        for start in range(0, len(images), rows):
            yield images[start : start + rows]
