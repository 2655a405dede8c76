"""Arrays with a header: idx and npz. Nothing in them is believed before it is checked, and nothing is unpickled.

A header may promise more than the file holds, and a few packed bytes may unpack to more than there is memory or disk:
sizes are compared with the file's own before anything is read, and what is read is read a bit at a time.
"""

import gzip
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from fair_distill.data.files.file import File, one_line
from fair_distill.data.files.tables import columns_there
from fair_distill.data.grouped_dataset import Array
from fair_distill.errors import DataError

_MOST_BYTES = 4 * 2**30  # of an array that has to be in memory as a whole, or is packed and tighter than others are
_DEFLATE = 1032  # deflate packs no better than this
_TIGHT = 100  # pictures are packed less tightly
_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


@dataclass(frozen=True)
class Promise:
    """What the header of an array says will follow.

    Attributes
    ----------
    size : bytes that the file has for it
    packed : whether they are to be unpacked, and so may become far more
    fortran : whether the first axis is the fastest; then the first image ends with the last byte
    """

    content: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    size: int
    packed: bool
    name: str
    fortran: bool = False

    def __post_init__(self) -> None:
        if self.fortran:
            self._at_most(_MOST_BYTES)
        if self.packed:
            self._at_most(max(_MOST_BYTES, self.size * _TIGHT))
        if self._promised > self.size * (_DEFLATE if self.packed else 1):
            self._kept(0)

    def batches(self, size: int) -> Iterator[Array]:
        """Read what was promised, about `size` bytes at a time, and see that it is all there is."""
        if self.fortran or not self.shape:
            yield self._whole()
            return
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        rows, seen = max(1, size // max(1, row)), 0
        for start in range(0, self.shape[0], rows):
            n = min(rows, self.shape[0] - start)
            content = self.content.read(n * row)
            seen += len(content)
            if len(content) < n * row:
                self._kept(seen)
            yield np.frombuffer(content, self.dtype).reshape(n, *self.shape[1:])
        self._kept(seen + len(self.content.read(1)))

    def _whole(self) -> Array:
        content = self.content.read(self._promised + 1)
        self._kept(len(content))
        return np.frombuffer(content, self.dtype).reshape(self.shape[::-1]).T

    @property
    def _promised(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def _what(self) -> str:
        return f"{'×'.join(map(str, self.shape))} of {self.dtype.itemsize} bytes"

    def _at_most(self, most: int) -> None:
        if self._promised > most:
            raise DataError(
                f"{self.name}: the header promises {self._what}; at most {most:,} bytes are read of an array that is "
                "packed so tightly, or in Fortran's order. Cut it in parts"
            )

    def _kept(self, came: int) -> None:
        if came != self._promised:
            more = "more" if came > self._promised else "less"
            raise DataError(
                f"{self.name}: the header promises {self._what}, {self._promised:,} bytes; the file holds {more}"
            )


@contextmanager
def opened_idx(file: File) -> Iterator[Promise]:
    """Open an idx file, the format of MNIST, gzipped or not."""
    size = file.size()
    try:
        with file.path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            content: IO[bytes] = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[assignment]
            magic = content.read(4)
            if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES or not 1 <= magic[3] <= 4:
                raise DataError(f"{file}: an idx file was wanted; it starts with {magic.hex() or 'nothing'}")
            dimensions = content.read(4 * magic[3])
            if len(dimensions) < 4 * magic[3]:
                raise DataError(f"{file}: an idx file was wanted; it ends within its header")
            shape = struct.unpack(f">{magic[3]}I", dimensions)
            yield Promise(content, shape, np.dtype(_IDX_TYPES[magic[2]]), size, packed, str(file))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} is not readable: {one_line(error)}") from None


@contextmanager
def opened_npz(file: File, name: str) -> Iterator[Promise]:
    """Open an array of an .npz file."""
    file.size()
    try:
        with zipfile.ZipFile(file.path) as archive:
            columns_there([member.removesuffix(".npy") for member in archive.namelist()], [name], where=str(file))
            member = archive.getinfo(f"{name}.npy")
            with archive.open(member) as content:
                try:
                    version = np.lib.format.read_magic(content)
                    first = version == (1, 0)
                    reader = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
                    shape, fortran, dtype = reader(content)
                except (ValueError, TypeError) as error:
                    raise DataError(f"{file}: {name}: an array was wanted; {one_line(error)}") from None
                if dtype.hasobject:
                    raise DataError(
                        f"{file}: {name}: Python objects are never unpickled; save numbers or fixed-width text"
                    )
                packed = member.compress_type != zipfile.ZIP_STORED
                size = member.compress_size if packed else min(member.file_size, member.compress_size)
                # An array of one axis is in both orders at once.
                yield Promise(content, shape, dtype, size, packed, f"{file}: {name}", fortran and len(shape) > 1)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, KeyError, RuntimeError) as error:
        raise DataError(f"{file}: an .npz file was wanted; {one_line(error)}") from None
