"""Reads the columns of a table in memory, of whatever library, as text or as numbers. Without torch.

A value is read exactly or refused with its row.
"""

import re
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fair_distill.errors import DataError, ShapeError
from fair_distill.formats.value_types import days_of, type_name

Array = NDArray[Any]
# A column in memory: an array of NumPy, or an Array or ChunkedArray of Arrow.
Column = Any

# Whole numbers up to these limits are exact in float32 and in float64; of larger ones, some are.
EXACT_SINGLE, EXACT_DOUBLE = 2**24, 2**53
_EXACT = {pa.float16(): 2**11, pa.float32(): EXACT_SINGLE, pa.float64(): EXACT_DOUBLE}
_INTEGER = re.compile(r"[-+]?[0-9]+")


class Table(Protocol):
    """A mapping of arrays, a structured array, or a pandas or Arrow table."""

    def __getitem__(self, name: str, /) -> Any: ...


def column_of(table: Table, name: str) -> Column:
    """Return a column. Raises DataError if it is missing."""
    try:
        column = table[name]
    except Exception:
        raise DataError(
            f"the table has no column {name!r}. Correct params.yaml: data.source.columns, or the table"
        ) from None
    if hasattr(column, "to_arrow"):  # of polars; NumPy would make floats of integers with gaps
        column = column.to_arrow()
    if type(column).__module__.split(".")[0] == "pandas":  # NumPy would make floats of these too
        column = _from_pandas(column, name)
    return column if isinstance(column, pa.Array | pa.ChunkedArray) else np.asarray(column)


def value_type(values: Column, name: str) -> str:
    """Return the name of the type of a column's values; see `value_types`."""
    return type_name(_arrow(values, name).type)


def times_as(values: Column, name: str, kind: pa.DataType) -> Column:
    """Return dates or timestamps in the unit and time zone of a type, because their text depends on both.

    Other columns are returned unchanged. Timestamps without a zone are in UTC.
    """
    column = _arrow(values, name)
    if not pa.types.is_temporal(kind) or not pa.types.is_temporal(column.type):
        return values
    try:
        return column.cast(kind)
    except pa.ArrowException:
        raise DataError(f"column {name!r} has the type {column.type}, which loses digits as {kind}") from None


def text_of(values: Column, name: str, *, missing: str | None, first: int = 0) -> Array:
    """Return the values of a category as text.

    Parameters
    ----------
    missing : replaces null, NaN and empty values; None refuses them with a DataError
    first : the number of rows before these, for messages
    """
    column = integers_of_floats(_arrow(values, name), f"column {name!r}", first=first)
    try:
        text = np.asarray(column.cast(pa.large_string()).fill_null("").to_numpy(zero_copy_only=False), dtype=str)
    except pa.ArrowException:
        raise DataError(
            f"column {name!r} has the type {column.type}; a category must be text or an integer. Convert the column"
        ) from None
    empty = text == ""
    if missing is None and empty.any():
        raise DataError(
            f"column {name!r} is missing in {empty.sum()} of {first + len(values)} rows, the first of them row "
            f"{first + np.flatnonzero(empty)[0] + 1}. Set params.yaml: data.source.rows.missing to a category for them"
        )
    return np.where(empty, missing or "", text)


def integers_of_floats(column: pa.Array, where: str, *, first: int = 0) -> pa.Array:
    """Return a column of floats as integers, with null for NaN, if it has integers only; other columns unchanged.

    pandas stores integers with gaps as floats, so 1.0 means 1.

    Parameters
    ----------
    where : the column, for messages
    first : the number of rows before these, for messages

    Raises
    ------
    DataError
        If an integer is so large that digits may have been lost when it became a float.
    """
    if not pa.types.is_floating(column.type):
        return column

    numbers = pa.compute.if_else(pa.compute.is_nan(column), pa.scalar(None, column.type), column)
    with suppress(pa.ArrowInvalid):
        integers = numbers.cast(pa.int64())
        limit = _EXACT[column.type]
        large = pa.compute.fill_null(pa.compute.greater(pa.compute.abs(integers), limit), False)
        if (row := pa.compute.index(large, True).as_py()) >= 0:
            raise DataError(
                f"{where} is {integers[row].as_py()} in row {first + row + 1}, a float of the type {column.type}, "
                f"which has not all integers above {limit:,}. Store the column as integers or as text"
            )
        return integers
    return numbers


def numbers_of(values: Column, name: str, *, first: int = 0) -> Array:
    """Return a column as float64 numbers that are finite in float32 too, or raise DataError; see `text_of` for `first`.

    Dates become days since 1970. Integers that float64 cannot represent are refused.
    """
    column = days_of(_arrow(values, name), name, first=first)
    try:
        numbers: Array = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except pa.ArrowException:
        raise DataError(
            f"column {name!r} has values that are not numbers. Correct the table, or move the column to categorical"
        ) from None
    with np.errstate(over="ignore"):
        single: Array = numbers.astype(np.float32)
    if (invalid := np.flatnonzero(~np.isfinite(single))).size:
        raise DataError(
            f"column {name!r} is missing or not finite in {len(invalid)} of {first + len(values)} rows, the first of "
            f"them row {first + invalid[0] + 1}; every row needs a number. Correct or remove the rows, or the column"
        )
    for row in np.flatnonzero(np.abs(numbers) >= EXACT_DOUBLE):
        value = str(column[row].as_py()).strip()
        if _INTEGER.fullmatch(value):
            raise DataError(
                f"column {name!r} is {value[:40]} in row {first + row + 1}; integers above {EXACT_DOUBLE:,} cannot be "
                "stored as numbers. Move the column to categorical, or subtract a constant from it"
            )
    return numbers


def _arrow(values: Column, name: str) -> pa.Array:
    """Return a column in Arrow, without a dictionary."""
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise ShapeError(f"column {name!r} must have one value per row; got an array of the shape {values.shape}")
        return _from_pandas(values, name)
    column = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def _from_pandas(values: Any, name: str) -> Any:
    """Return an array of NumPy or a column of pandas in Arrow, with null for NaN."""
    try:
        return pa.array(values, from_pandas=True)
    except pa.ArrowException:
        raise DataError(f"column {name!r} has values of several types. Use only numbers or only text") from None
