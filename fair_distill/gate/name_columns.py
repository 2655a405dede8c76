"""Columns of names in foreign Parquet files: examples, classes, groups, clusters and pairs, as codes with their texts.

Names are compared as text, so 1 and "1" are the same name, as in prepared data. Every fault is one sentence with the
column and the first row, counted from 1.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fair_distill.errors import MeasurementError
from fair_distill.formats import arrow
from fair_distill.gate.confusion import Floats, Ints

_LONGEST_NAME = 1_000
_INTEGER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, eq=False)
class NameColumn:
    """A column of names. R rows.

    Attributes
    ----------
    codes : int array (R,); indices into `names`
    names : the distinct names, sorted; as numbers if all of them are integers
    """

    codes: Ints
    names: tuple[str, ...]

    def __getitem__(self, row: int) -> str:
        return self.names[int(self.codes[row])]

    def take(self, rows: Ints) -> "NameColumn":
        """Return some rows, with the same names."""
        return NameColumn(self.codes[rows], self.names)

    def codes_in(self, names: Sequence[str]) -> Ints:
        """Return the position of each row's name in `names`, (R,); -1 for a name that is not in it."""
        position = {name: i for i, name in enumerate(names)}
        return np.array([position.get(name, -1) for name in self.names], dtype=np.int64)[self.codes]


def read_names(table: pa.Table, column: str, *, file: str) -> NameColumn:
    """Return a column of texts or integers.

    Raises
    ------
    MeasurementError
        With `file`, the column and the first row at fault, if a name is missing, empty, too long or not UTF-8, or if
        the column has another type.
    """
    values = table.column(column)
    _refuse_nulls(values, column, file=file)
    if pa.types.is_integer(values.type):
        distinct, codes = np.unique(_numbers(values), return_inverse=True)
        return NameColumn(codes.astype(np.int64), tuple(map(str, distinct.tolist())))
    if not pa.types.is_dictionary(values.type):
        raise MeasurementError(
            f"{file}: column {column!r} has the type {values.type}; names are text or integers. Convert it, for "
            "example with .astype(int) or .astype(str)"
        )
    return _read_texts(values, column, file=file)


def _read_texts(values: pa.ChunkedArray, column: str, *, file: str) -> NameColumn:
    """Return a column of texts, which are stored as one dictionary for each chunk."""
    # Two entries of a dictionary can be the same text, and each chunk has its own dictionary.
    code_of: dict[str, int] = {}
    codes: list[Ints] = [np.zeros(0, dtype=np.int64)]
    start = 0
    for chunk in values.chunks:
        indices = arrow.view(chunk.indices).astype(np.int64)
        used = np.unique(indices)
        try:
            texts = chunk.dictionary.to_pylist()
        except UnicodeDecodeError:
            raise MeasurementError(f"{file}: column {column!r} has a text that is not UTF-8. Write it again") from None
        if len(used) and not 0 <= used[0] <= used[-1] < len(texts):
            raise MeasurementError(f"{file}: column {column!r} refers to a text that it does not have. Write it again")
        code_of_entry = np.zeros(len(texts), dtype=np.int64)
        for i in used.tolist():
            text = texts[i]
            if not text or len(text) > _LONGEST_NAME:
                row = start + int(np.flatnonzero(indices == i)[0]) + 1
                fault = f"has {len(text):,} characters" if text else "is empty"
                raise MeasurementError(
                    f"{file}: column {column!r} {fault} in row {row}; a name has 1 to {_LONGEST_NAME:,} characters. "
                    "Correct the row"
                )
            code_of_entry[i] = code_of.setdefault(text, len(code_of))
        codes.append(code_of_entry[indices])
        start += len(indices)
    names = sorted(code_of, key=_order(code_of))
    rank = np.zeros(len(names), dtype=np.int64)
    rank[[code_of[name] for name in names]] = np.arange(len(names))
    return NameColumn(rank[np.concatenate(codes)], tuple(names))


def read_integers(table: pa.Table, column: str, *, file: str) -> NameColumn:
    """Return a column of integers, such as seeds. Raises what `read_names` raises, also for texts."""
    kind = table.column(column).type
    if not pa.types.is_integer(kind):
        raise MeasurementError(
            f"{file}: column {column!r} has the type {_type_name(kind)}; write integers, for example with .astype(int)"
        )
    return read_names(table, column, file=file)


def read_probabilities(table: pa.Table, column: str, *, file: str) -> Floats:
    """Return a column of numbers from 0 to 1. Raises MeasurementError with the first row that is not one."""
    values = table.column(column)
    _refuse_nulls(values, column, file=file)
    if not pa.types.is_floating(values.type):
        raise MeasurementError(
            f"{file}: column {column!r} has the type {_type_name(values.type)}; write the probability of the predicted "
            "class, a floating point number from 0 to 1"
        )
    numbers: Floats = _numbers(values).astype(np.float64)
    outside = np.flatnonzero(~((numbers >= 0) & (numbers <= 1)))
    if outside.size:
        row = int(outside[0])
        raise MeasurementError(
            f"{file}: column {column!r} is {numbers[row]:g} in row {row + 1}; write the probability of the predicted "
            "class, from 0 to 1"
        )
    return numbers


def _refuse_nulls(values: pa.ChunkedArray, column: str, *, file: str) -> None:
    start = 0
    for chunk in values.chunks:
        if chunk.null_count:
            row = start + next(i for i, value in enumerate(chunk) if not value.is_valid) + 1
            raise MeasurementError(
                f"{file}: column {column!r} has no value in row {row}; every row needs one. Write a name such as "
                "'unknown', or remove the column if it is optional"
            )
        start += len(chunk)


def _numbers(values: pa.ChunkedArray) -> Any:
    chunks = [arrow.view(chunk) for chunk in values.chunks if len(chunk)]
    return np.concatenate(chunks) if chunks else np.zeros(0)


def _order(names: Iterable[str]) -> Callable[[str], tuple[int, str]]:
    """Return the key that sorts names: integers by value, others as text."""
    if all(_INTEGER.fullmatch(name) for name in names):
        return lambda name: (int(name), name)
    return lambda name: (0, name)


def _type_name(kind: pa.DataType) -> str:
    return str(kind.value_type if pa.types.is_dictionary(kind) else kind)
