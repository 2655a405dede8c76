"""The types of a table's values in its source, and the conversion between them and text or numbers. Without torch.

A type has the name that Arrow prints, such as `int64` or `timestamp[us]`. Values are converted without loss.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fair_distill.errors import DataError

Array = NDArray[Any]

_EPOCH = np.datetime64("1970-01-01", "D")
_INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
_FLOATS = [pa.float16(), pa.float32(), pa.float64()]
_PLAIN = {str(kind): kind for kind in (*_INTEGERS, *_FLOATS, pa.bool_(), pa.string(), pa.date32())}
_TIMESTAMP = re.compile(r"timestamp\[(ms|us|ns)(?:, tz=([A-Za-z0-9_+/:-]{1,60}))?\]")
# Text such as 007 is a name: as an integer it would lose its zeros.
_INTEGER = r"-?(?:0|[1-9][0-9]*)"
_WHOLE = re.compile(_INTEGER)
_DECIMAL = re.compile(_INTEGER + r"(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_TRUTH = ("false", "true")
# The type of a column of text with more different values is not inferred.
MAX_INFERRED = 10_000


def arrow_type(name: str) -> pa.DataType:
    """Return the Arrow type of a name. Raises DataError for a name that is none."""
    if name in _PLAIN:
        return _PLAIN[name]
    if match := _TIMESTAMP.fullmatch(name):
        kind = pa.timestamp(match[1], tz=match[2])
        with suppress(Exception):  # Arrow accepts any text as a zone, and libraries raise various errors later
            pa.scalar(0, kind).as_py()
            return kind
    raise DataError(f"the type {name[:80]!r} is unknown; expected {', '.join(_PLAIN)} or timestamp[…]")


def type_name(kind: pa.DataType) -> str:
    """Return the name of the type that stores the values of an Arrow type; `string` for types that have no name."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_date(kind):
        return str(pa.date32())
    if pa.types.is_timestamp(kind):  # Parquet has no seconds
        return str(pa.timestamp("ms" if kind.unit == "s" else kind.unit, tz=kind.tz))
    if pa.types.is_decimal(kind):
        return str(pa.float64())
    return str(kind) if str(kind) in _PLAIN else str(pa.string())


def common_type(names: Iterable[str]) -> str:
    """Return the type that can store the values of all these types."""
    different = set(names)
    if len(different) == 1:
        return different.pop()
    kinds = {arrow_type(name) for name in different}
    if kinds <= set(_INTEGERS):
        return str(pa.int64())
    return str(pa.float64() if kinds <= {*_INTEGERS, *_FLOATS} else pa.string())


def is_integer_text(texts: pa.ChunkedArray) -> bool:
    """Return whether all texts are integers; missing ones do not count."""
    import pyarrow.compute

    matches = pyarrow.compute.match_substring_regex(texts, f"^{_INTEGER}$")
    return bool(pyarrow.compute.all(matches, min_count=0).as_py())


def inferred_type(texts: Iterable[str]) -> str:
    """Return the type of different texts from a CSV file, as `pandas.read_csv` reads them, if no value loses digits.

    Texts that are equal as numbers, such as 1 and 1.0, or that have leading zeros, such as 007, stay text.
    """
    values = list(texts)
    if not values or len(values) > MAX_INFERRED:
        return str(pa.string())
    if all(_WHOLE.fullmatch(value) and len(value) < 19 for value in values):
        return str(pa.int64())
    if all(value.lower() in _TRUTH for value in values) and _distinct(values, "bool"):
        return str(pa.bool_())
    if all(_DECIMAL.fullmatch(value) and Decimal(value) == Decimal(repr(float(value))) for value in values) and (
        _distinct(values, "double")
    ):
        return str(pa.float64())
    return str(pa.string())


def _distinct(values: Sequence[str], kind: str) -> bool:
    return len({canonical(value, kind) for value in values}) == len(values)


def canonical(text: str, kind: str | None) -> str:
    """Return the text that all spellings of a value have in common, such as 2.50 and 2.5 of the type `double`."""
    if kind == "bool":
        return text.lower()
    if kind in ("float", "double", "halffloat"):
        try:
            return repr(float(text))
        except ValueError:
            return text
    return text


def text_as(texts: Sequence[str | None], kind: str) -> pa.Array:
    """Return texts as values of a type; None becomes null. Raises DataError if a text is not a value of the type."""
    target = arrow_type(kind)
    values = [None if text is None else text.lower() if target == pa.bool_() else text for text in texts]
    try:
        return pa.array(values, pa.string()).cast(target)
    except pa.ArrowException:
        raise DataError(f"{str(texts)[:80]} are not values of the type {kind}") from None


def numbers_as(numbers: Array, kind: str) -> pa.Array:
    """Return float32 numbers (N,) as values of a type: days since 1970 as dates, and 0 and 1 as booleans."""
    target = arrow_type(kind)
    try:
        if target in _FLOATS:
            return pa.array(shortest_doubles(numbers)).cast(target)
        if np.abs(numbers).max(initial=0) >= 2**63:
            raise OverflowError
        whole = np.rint(numbers).astype(np.int64)
        if pa.types.is_date(target) or pa.types.is_timestamp(target):
            return pa.array(_EPOCH + whole).cast(target)
        if target == pa.bool_():
            return pa.array(whole != 0)
        return pa.array(whole).cast(target)
    except (pa.ArrowException, ValueError, OverflowError):
        raise DataError(f"numbers from {numbers.min():g} to {numbers.max():g} do not fit the type {kind}") from None


def shortest_doubles(numbers: Array) -> Array:
    """Return for each float32 number the shortest decimal that rounds to it, as float64: 0.1, not 0.10000000149."""
    doubles = np.array([float(str(number)) for number in numbers.astype(np.float32)], dtype=np.float64)
    exact = numbers.astype(np.float64)
    return np.where(doubles.astype(np.float32) == exact, doubles, exact)


def days_of(column: pa.Array, name: str, *, first: int = 0) -> pa.Array:
    """Return dates, or timestamps at midnight, as days since 1970; other columns unchanged.

    Raises
    ------
    DataError
        If a timestamp has a time of day.
    """
    import pyarrow.compute

    if not (pa.types.is_date(column.type) or pa.types.is_timestamp(column.type)):
        return column
    days = column.cast(pa.date32())
    if pa.types.is_timestamp(column.type):
        local = column if column.type.tz is None else pyarrow.compute.local_timestamp(column)
        days = local.cast(pa.date32())
        midnight = pyarrow.compute.fill_null(pyarrow.compute.equal(days.cast(local.type), local), True)
        if (row := pyarrow.compute.index(midnight, False).as_py()) >= 0:
            raise DataError(
                f"column {name!r} is {column[row].as_py()} in row {first + row + 1}; a numeric column may have dates, "
                "but no time of day. Replace it by a number, such as the hours since a start"
            )
    return days.cast(pa.int32())
