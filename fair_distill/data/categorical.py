"""What is known of many examples, in as little memory as it takes: text of few values as numbers, of many on disk.

N examples.
"""

import mmap
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa

from fair_distill.data.grouped_dataset import Array
from fair_distill.errors import ConfigError


@dataclass(frozen=True, eq=False)
class Coded:
    """Text that has few values: what these are, and which of them each example has.

    Attributes
    ----------
    codes : int32 array (N,); indices into `values`
    """

    codes: Array
    values: tuple[str, ...]

    @classmethod
    def of(cls, text: Iterable[str]) -> "Coded":
        """Return text that is in memory already."""
        codes = Codes()
        codes.add(pa.array(text, pa.large_string()))
        return codes.whole()

    @classmethod
    def repeated(cls, text: Sequence[str], counts: Sequence[int]) -> "Coded":
        """Return each text as often as its count says."""
        each = cls.of(text)
        return cls(np.repeat(each.codes, counts), each.values)

    def __len__(self) -> int:
        return len(self.codes)

    def rows(self, value: str) -> Array:
        """Return the rows that have a value; none if there is no such value."""
        return np.flatnonzero(self.codes == self.values.index(value)) if value in self.values else np.arange(0)

    def tolist(self) -> list[str]:
        return [self.values[code] for code in self.codes.tolist()]


class Codes:
    """Gathers text of few values."""

    def __init__(self) -> None:
        self._place: dict[str, int] = {}
        self._codes: list[Array] = []

    def add(self, text: pa.Array) -> None:
        coded = text.dictionary_encode()
        places = [self._place.setdefault(value, len(self._place)) for value in coded.dictionary.to_pylist()]
        self._codes.append(np.array(places, dtype=np.int32)[coded.indices.to_numpy()])

    def whole(self) -> Coded:
        return Coded(np.concatenate([np.empty(0, np.int32), *self._codes]), tuple(self._place))


class Numbers:
    """Gathers numbers."""

    def __init__(self) -> None:
        self._numbers: list[pa.Array] = []

    def add(self, numbers: pa.Array) -> None:
        self._numbers.append(numbers)

    def whole(self) -> pa.Array:
        return pa.concat_arrays(self._numbers)


class Texts:
    """Gathers text of any values in two nameless files: letters, and where each text ends.

    So it takes memory only while it is looked at, and the system may have that back.
    """

    def __init__(self) -> None:
        self._letters, self._ends = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 (whole closes them)
        self._count = self._end = 0
        self._write(self._ends, bytes(8))

    def add(self, text: pa.Array) -> None:
        _, ends, letters = text.buffers()
        at = np.frombuffer(ends, np.int64)[text.offset : text.offset + len(text) + 1]
        if letters is not None:
            self._write(self._letters, memoryview(letters)[at[0] : at[-1]])
        self._write(self._ends, (at[1:] - at[0] + self._end).tobytes())
        self._count, self._end = self._count + len(text), self._end + int(at[-1] - at[0])

    def whole(self) -> pa.Array:
        """Return all of it, a large_string array (N,)."""
        with self._letters, self._ends:
            return pa.LargeStringArray.from_buffers(self._count, _mapped(self._ends), _mapped(self._letters))

    def _write(self, file: IO[bytes], content: bytes | memoryview) -> None:
        try:
            file.write(content)
            file.flush()
        except OSError as error:  # a full disk is the reader's to mend
            where = tempfile.gettempdir()
            raise ConfigError(f"cannot write to {where}: {error.strerror}; TMPDIR names another folder") from None


def _mapped(file: IO[bytes]) -> pa.Buffer:
    with suppress(ValueError):  # nothing cannot be mapped
        return pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return pa.py_buffer(b"")


def numbered(keys: Array) -> tuple[Array, Array]:
    """Return for each key its place among those that occur, int32 (N,), and how often each of these does.

    Keys are whole numbers from 0, and the largest is not far larger than N.
    """
    counts = np.bincount(keys)
    there = counts > 0
    return (np.cumsum(there, dtype=np.int32) - 1)[keys], counts[there]
