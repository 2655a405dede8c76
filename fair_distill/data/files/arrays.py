"""Readers of arrays with a header, in idx and .npz files. Headers are checked, and nothing is unpickled.

A header can claim more data than the file has, and a small compressed file can expand to more than memory or disk. So
the claimed size is compared with the size of the file before anything is read, and arrays are read in batches.
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

from fair_distill.data.files.input_file import InputFile, one_line
from fair_distill.data.files.tables import require_columns
from fair_distill.data.grouped_dataset import Array
from fair_distill.errors import DataError

# The largest array that has to be in memory as a whole, or that may be compressed more than `_USUAL_RATIO`.
_MAX_BYTES = 4 * 2**30
# The largest ratio that deflate can reach.
_MAX_RATIO = 1032
# A ratio that images rarely reach.
_USUAL_RATIO = 100
_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


@dataclass(frozen=True)
class ArrayReader:
    """Reads an array whose shape and type are claimed by its header.

    Attributes
    ----------
    content : the open file, after the header
    size : the bytes of the array in the file
    compressed : whether the array can have more bytes than the file
    name : the name in messages
    fortran : whether the first axis varies fastest, so that the first image is complete only at the end
    """

    content: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    size: int
    compressed: bool
    name: str
    fortran: bool = False

    def __post_init__(self) -> None:
        if self.fortran:
            self._check_limit(_MAX_BYTES)
        if self.compressed:
            self._check_limit(max(_MAX_BYTES, self.size * _USUAL_RATIO))
        if self._claimed_bytes > self.size * (_MAX_RATIO if self.compressed else 1):
            self._check_length(0)

    def batches(self, size: int) -> Iterator[Array]:
        """Yield the array in batches of about `size` bytes, and check that nothing follows.

        Raises
        ------
        DataError
            If the file has more or less data than the header claims.
        """
        if self.fortran or not self.shape:
            yield self._read_all()
            return
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        rows, length = max(1, size // max(1, row_bytes)), 0
        for start in range(0, self.shape[0], rows):
            n = min(rows, self.shape[0] - start)
            content = self.content.read(n * row_bytes)
            length += len(content)
            if len(content) < n * row_bytes:
                self._check_length(length)
            yield np.frombuffer(content, self.dtype).reshape(n, *self.shape[1:])
        self._check_length(length + len(self.content.read(1)))

    def _read_all(self) -> Array:
        content = self.content.read(self._claimed_bytes + 1)
        self._check_length(len(content))
        return np.frombuffer(content, self.dtype).reshape(self.shape[::-1]).T

    @property
    def _claimed_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def _claim(self) -> str:
        return f"the header claims {'×'.join(map(str, self.shape))} values of {self.dtype.itemsize} bytes"

    def _check_limit(self, limit: int) -> None:
        if self._claimed_bytes > limit:
            raise DataError(
                f"{self.name}: {self._claim}; at most {limit:,} bytes are read of an array that is compressed this "
                "much, or is in Fortran order. Divide it into several files"
            )

    def _check_length(self, length: int) -> None:
        if length != self._claimed_bytes:
            comparison = "more" if length > self._claimed_bytes else "less"
            raise DataError(
                f"{self.name}: {self._claim}, {self._claimed_bytes:,} bytes; the file has {comparison}. "
                "Replace the file"
            )


@contextmanager
def open_idx(file: InputFile) -> Iterator[ArrayReader]:
    """Open an idx file, the format of MNIST, gzipped or not."""
    size = file.size()
    try:
        with file.path.open("rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            content: IO[bytes] = gzip.GzipFile(fileobj=raw) if compressed else raw  # type: ignore[assignment]
            magic = content.read(4)
            if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES or not 1 <= magic[3] <= 4:
                raise DataError(f"{file} is not an idx file; it starts with {magic.hex() or 'nothing'}. Replace it")
            dimensions = content.read(4 * magic[3])
            if len(dimensions) < 4 * magic[3]:
                raise DataError(f"{file} is not an idx file; it ends within its header. Replace it")
            shape = struct.unpack(f">{magic[3]}I", dimensions)
            yield ArrayReader(content, shape, np.dtype(_IDX_TYPES[magic[2]]), size, compressed, str(file))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} cannot be read ({one_line(error)}). Replace the file") from None


@contextmanager
def open_npz(file: InputFile, name: str) -> Iterator[ArrayReader]:
    """Open an array of an .npz file."""
    file.size()
    try:
        with zipfile.ZipFile(file.path) as archive:
            require_columns([member.removesuffix(".npy") for member in archive.namelist()], [name], where=str(file))
            member = archive.getinfo(f"{name}.npy")
            with archive.open(member) as content:
                shape, fortran, dtype = _read_npy_header(content, f"{file}: {name}")
                compressed = member.compress_type != zipfile.ZIP_STORED
                size = member.compress_size if compressed else min(member.file_size, member.compress_size)
                # An array with one axis is in both orders at once.
                fortran = fortran and len(shape) > 1
                yield ArrayReader(content, shape, dtype, size, compressed, f"{file}: {name}", fortran)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, KeyError, RuntimeError) as error:
        raise DataError(f"{file} is not a readable .npz file ({one_line(error)}). Replace it") from None


def _read_npy_header(content: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether the array is in Fortran order, and type. Raises DataError for Python objects."""
    try:
        version = np.lib.format.read_magic(content)
        is_first = version == (1, 0)
        read = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(content)
    except (ValueError, TypeError) as error:
        raise DataError(f"{where} is not an array ({one_line(error)}). Write it again with numpy.savez") from None
    if dtype.hasobject:
        raise DataError(f"{where} has Python objects, which are never unpickled. Save numbers or fixed-width text")
    return shape, fortran, dtype
