"""Builders for columns of many examples that use little memory.

Text with few different values becomes numbers; other text is kept in temporary files. N is the number of examples.
"""

import mmap
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa

from fair_distill.data.grouped_dataset import Array
from fair_distill.errors import ConfigError


@dataclass(frozen=True, eq=False)
class CategoryColumn:
    """A text column with few different values.

    Attributes
    ----------
    codes : int32 array (N,); indices into `values`
    values : the different values
    """

    codes: Array
    values: tuple[str, ...]

    @classmethod
    def from_text(cls, text: Iterable[str]) -> "CategoryColumn":
        builder = CategoryBuilder()
        builder.add(pa.array(text, pa.large_string()))
        return builder.finish()

    @classmethod
    def repeated(cls, text: Sequence[str], counts: Sequence[int]) -> "CategoryColumn":
        """Return a column that has each text as often as its count says."""
        single = cls.from_text(text)
        return cls(np.repeat(single.codes, counts), single.values)

    def renamed(self, becomes: Mapping[str, str]) -> "CategoryColumn":
        """Return the column with some values replaced. Values that become equal are one value."""
        names = [becomes.get(value, value) for value in self.values]
        values = tuple(dict.fromkeys(names))
        codes = np.array([values.index(name) for name in names], dtype=np.int32)
        return CategoryColumn(codes[self.codes], values)

    def take(self, rows: Array) -> "CategoryColumn":
        """Return the entries of these rows, with only the values that they have."""
        occurring, codes = np.unique(self.codes[rows], return_inverse=True)
        return CategoryColumn(codes.astype(np.int32), tuple(self.values[code] for code in occurring.tolist()))

    def __len__(self) -> int:
        return len(self.codes)

    def rows(self, value: str) -> Array:
        """Return the rows with a value; empty if the column does not have it."""
        return np.flatnonzero(self.codes == self.values.index(value)) if value in self.values else np.arange(0)

    def tolist(self) -> list[str]:
        return [self.values[code] for code in self.codes.tolist()]


class CategoryBuilder:
    """Collects text with few different values."""

    def __init__(self) -> None:
        self._code_of_value: dict[str, int] = {}
        self._codes: list[Array] = []

    def add(self, text: pa.Array) -> None:
        encoded = text.dictionary_encode()
        codes = [
            self._code_of_value.setdefault(value, len(self._code_of_value)) for value in encoded.dictionary.to_pylist()
        ]
        self._codes.append(np.array(codes, dtype=np.int32)[encoded.indices.to_numpy()])

    def finish(self) -> CategoryColumn:
        return CategoryColumn(np.concatenate([np.empty(0, np.int32), *self._codes]), tuple(self._code_of_value))


class NumberBuilder:
    """Collects numbers."""

    def __init__(self) -> None:
        self._numbers: list[pa.Array] = []

    def add(self, numbers: pa.Array) -> None:
        self._numbers.append(numbers)

    def finish(self) -> pa.Array:
        return pa.concat_arrays(self._numbers)


class TextBuilder:
    """Collects text in two temporary files: the letters, and the end of each text.

    The result is memory-mapped, so its pages are in memory only while they are used.
    """

    def __init__(self) -> None:
        self._letters, self._ends = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 (closed by finish)
        self._count = self._end = 0
        self._write(self._ends, bytes(8))

    def add(self, text: pa.Array) -> None:
        _, ends, letters = text.buffers()
        offsets = np.frombuffer(ends, np.int64)[text.offset : text.offset + len(text) + 1]
        if letters is not None:
            self._write(self._letters, memoryview(letters)[offsets[0] : offsets[-1]])
        self._write(self._ends, (offsets[1:] - offsets[0] + self._end).tobytes())
        self._count, self._end = self._count + len(text), self._end + int(offsets[-1] - offsets[0])

    def finish(self) -> pa.Array:
        """Return all texts as a large_string array (N,)."""
        with self._letters, self._ends:
            return pa.LargeStringArray.from_buffers(self._count, _map_file(self._ends), _map_file(self._letters))

    def _write(self, file: IO[bytes], content: bytes | memoryview) -> None:
        try:
            file.write(content)
            file.flush()
        except OSError as error:
            folder = tempfile.gettempdir()
            raise ConfigError(
                f"cannot write to {folder}: {error.strerror}. Free space, or set TMPDIR to another folder"
            ) from None


def _map_file(file: IO[bytes]) -> pa.Buffer:
    with suppress(ValueError):  # an empty file cannot be mapped
        return pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return pa.py_buffer(b"")


def dense_ranks(keys: Array) -> tuple[Array, Array]:
    """Return the rank of each key among the different keys, int32 (N,), and the count of each different key.

    Keys are integers from 0. The largest may not be much larger than N, because memory grows with it.
    """
    counts = np.bincount(keys)
    occurs = counts > 0
    return (np.cumsum(occurs, dtype=np.int32) - 1)[keys], counts[occurs]
