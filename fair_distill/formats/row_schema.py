"""The schema of a table's rows: its columns, their encoding as numbers for a network, and the decoding. Without torch.

Numbers keep the unit of their column, and categories become one-hot. So `Normalisation`, which scales pixels, also
standardises the numbers, and stored rows decode without loss.

N rows, D encoded numbers per row. Encoded rows are float32 (N, D, 1, 1), so functions for images accept them too.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial, reduce
from typing import Any

import numpy as np

from fair_distill.errors import DataError, ShapeError
from fair_distill.formats.strict_json import check_fields
from fair_distill.formats.table_columns import (
    EXACT_DOUBLE,
    EXACT_SINGLE,
    Array,
    Column,
    Table,
    column_of,
    numbers_of,
    text_of,
)

MAX_VALUES = 1000
# Below this, float32 has fractions of a half. Above it, a fraction could be rounded away.
_MAX_ROUNDED = 2**22


@dataclass(frozen=True)
class Numeric:
    """A column of numbers.

    Attributes
    ----------
    low, high : the range in the training data, which also bounds synthetic rows
    whole : whether the training data have integers only
    """

    name: str
    low: float
    high: float
    whole: bool

    @property
    def width(self) -> int:
        return 1

    def encode(self, values: Column, *, first: int = 0) -> Array:
        numbers = numbers_of(values, self.name, first=first)
        single: Array = numbers.astype(np.float32)
        if self.whole:
            if (fractional := np.flatnonzero(~_is_whole(numbers))).size:
                raise DataError(
                    f"column {self.name!r} is {numbers[fractional[0]]:g} in row {first + fractional[0] + 1}, but the "
                    "training data have integers only. Round the value, or add fractional values to the training data"
                )
            if (inexact := np.flatnonzero((np.abs(numbers) > EXACT_SINGLE) & (single != numbers))).size:
                raise DataError(
                    f"column {self.name!r} is {numbers[inexact[0]]:.0f} in row {first + inexact[0] + 1}; rows are "
                    f"stored as float32, which has not all integers above {EXACT_SINGLE:,}. Subtract a constant from "
                    "the column or divide it by a unit, or move it to categorical"
                )
        return single[:, None]

    def decode(self, encoded_N1: Array) -> Array:
        numbers = encoded_N1[:, 0]
        return np.rint(numbers).astype(np.int64) if self.whole else numbers.copy()

    def nearest(self, encoded_N1: Array) -> Array:
        clipped = encoded_N1.clip(np.float32(self.low), np.float32(self.high))
        return np.rint(clipped) if self.whole else clipped

    def valid(self, encoded_N1: Array) -> Array:
        numbers = encoded_N1[:, 0]
        inside: Array = (self.low <= numbers) & (numbers <= self.high)  # false for NaN
        return inside & (numbers == np.rint(numbers)) if self.whole else inside


@dataclass(frozen=True)
class Categorical:
    """A column of names, or of numbers that are used as names.

    Attributes
    ----------
    values : the values in the training data, as text
    missing : the value that replaces missing ones; None refuses missing values
    other : the name of values that the training data do not have; None refuses them. It is encoded as all zeros, which
        no network was trained on, and synthetic rows never have it
    """

    name: str
    values: tuple[str, ...]
    missing: str | None
    other: str | None

    @property
    def width(self) -> int:
        return len(self.values)

    def encode(self, values: Column, *, first: int = 0) -> Array:
        text = text_of(values, self.name, missing=self.missing, first=first)
        index = {value: i for i, value in enumerate(self.values)}
        distinct, inverse = np.unique(text, return_inverse=True)
        indices = np.array([index.get(value, -1) for value in distinct.tolist()], dtype=np.int64)[inverse]
        if self.other is None and (unseen := np.flatnonzero(indices < 0)).size:
            names = ", ".join(map(repr, self.values[:10])) + (" and more" if len(self.values) > 10 else "")
            raise DataError(
                f"column {self.name!r} is {text[unseen[0]][:80]!r} in row {first + unseen[0] + 1}, but the training "
                f"data have only {names}. Correct the value, or set params.yaml: data.source.rows.unseen"
            )
        hot: Array = indices[:, None] == np.arange(len(self.values))
        return hot.astype(np.float32)

    def decode(self, encoded_NV: Array) -> Array:
        names = np.array([*self.values, self.other or ""], dtype=object)
        return names[np.where(encoded_NV.max(axis=1) > 0, encoded_NV.argmax(axis=1), len(self.values))]

    def nearest(self, encoded_NV: Array) -> Array:
        hot: Array = encoded_NV.argmax(axis=1)[:, None] == np.arange(len(self.values))
        return hot.astype(np.float32)

    def valid(self, encoded_NV: Array) -> Array:
        hot: Array = encoded_NV == 1
        count = hot.sum(axis=1)
        valid: Array = (hot | (encoded_NV == 0)).all(axis=1) & (
            (count == 1) | ((count == 0) & (self.other is not None))
        )
        return valid


@dataclass(frozen=True)
class RowSchema:
    """The columns of a table in the order of their encoding. They are inferred from the training data alone."""

    columns: tuple[Numeric | Categorical, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of an encoded row: D, 1, 1."""
        return sum(self.widths), 1, 1

    @cached_property
    def widths(self) -> list[int]:
        return [column.width for column in self.columns]

    @property
    def standardised(self) -> Array:
        """Which encoded numbers a network gets standardised, bool (D,): numeric columns, but not one-hot values."""
        return np.repeat([isinstance(column, Numeric) for column in self.columns], self.widths)

    def encode(self, table: Table, *, first: int = 0) -> Array:
        """Return the rows of a table as float32 (N, D, 1, 1).

        Parameters
        ----------
        first : the number of rows before these, for messages

        Raises
        ------
        DataError
            If a column is missing or has an invalid value, or if a missing or unseen category is not allowed.
        """
        blocks = [column.encode(column_of(table, column.name), first=first) for column in self.columns]
        for column, block in zip(self.columns, blocks, strict=True):
            if len(block) != len(blocks[0]):
                raise ShapeError(
                    f"column {column.name!r} has {len(block)} rows; {self.columns[0].name!r} has {len(blocks[0])}"
                )
        return np.concatenate(blocks, axis=1)[:, :, None, None]

    def decode(self, encoded: Array) -> dict[str, Array]:
        """Return the columns by name: integers as int64, other numbers as float32, categories as text."""
        return {column.name: column.decode(block) for column, block in self._blocks(encoded)}

    def nearest(self, encoded: Array) -> Array:
        """Return the nearest valid rows: numbers clipped and rounded, and for categories the value with the maximum."""
        blocks = [column.nearest(block) for column, block in self._blocks(encoded)]
        return np.concatenate(blocks, axis=1)[:, :, None, None]

    def valid(self, encoded: Array) -> dict[str, Array]:
        """Return for each column which rows are valid: a number in its range, or exactly one of the values."""
        return {column.name: column.valid(block) for column, block in self._blocks(encoded)}

    def check(self, encoded: Array, *, name: str) -> None:
        """Raise DataError with the first fault if a row is invalid. `name` is the name of the rows in the message."""
        for (column, block), valid in zip(self._blocks(encoded), self.valid(encoded).values(), strict=True):
            if (invalid := np.flatnonzero(~valid)).size:
                row = invalid[0]
                if isinstance(column, Numeric):
                    value = block[row, 0]
                    expected = f"{'an integer' if column.whole else 'a number'} from {column.low:g} to {column.high:g}"
                else:
                    value, expected = block[row].tolist(), f"exactly one of {len(column.values)} values"
                raise DataError(
                    f"{name}: row {row + 1} is invalid: column {column.name!r} is {value}; expected {expected}"
                )

    def _blocks(self, encoded: Array) -> Iterator[tuple[Numeric | Categorical, Array]]:
        if encoded.shape[1:] != self.shape:
            raise ShapeError(
                f"encoded rows must have the shape {self.shape}; got an array of the shape {encoded.shape}"
            )
        cuts = np.cumsum(self.widths)[:-1]
        return zip(self.columns, np.split(encoded[:, :, 0, 0], cuts, axis=1), strict=True)

    def to_dict(self) -> dict[str, Any]:
        return {"columns": [{"kind": _KIND[type(column)], **asdict(column)} for column in self.columns]}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "RowSchema":
        """Return the schema from the result of `to_dict`. Raises DataError with the key and its value if invalid."""
        rows = value.get("columns") if isinstance(value, Mapping) else None
        if not isinstance(rows, list | tuple) or not rows or len(value) > 1:
            raise DataError(f"schema is {str(value)[:80]!r}; expected an object whose `columns` is a list of columns")
        columns: list[Numeric | Categorical] = []
        for i, row in enumerate(rows):
            kind = row.get("kind") if isinstance(row, Mapping) else None
            if not isinstance(kind, str) or kind not in _COLUMNS:
                raise DataError(f"schema.columns[{i}].kind is {str(kind)[:80]!r}; expected {' or '.join(_COLUMNS)}")
            plain: dict[str, Any] = {key: item for key, item in row.items() if key != "kind"}
            check_fields(plain, _COLUMNS[kind], name=f"schema.columns[{i}]")
            frozen: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
            make: Any = _COLUMNS[kind]
            columns.append(make(**frozen))
        _check_columns(columns)
        return cls(tuple(columns))


def _check_columns(columns: Sequence[Numeric | Categorical]) -> None:
    """Raise DataError for columns that training data cannot have."""
    largest = float(np.finfo(np.float32).max)
    names = [column.name for column in columns]
    for column in columns:
        if names.count(column.name) > 1 or column.name == "label":
            raise DataError(f"schema: the column name {column.name[:80]!r} is used twice, or is reserved for the class")
        if isinstance(column, Numeric) and not -largest <= column.low <= column.high <= largest:
            raise DataError(f"schema: column {column.name[:80]!r} has the invalid range {column.low} to {column.high}")
        if isinstance(column, Categorical) and not 0 < len(set(column.values)) == len(column.values) <= MAX_VALUES:
            raise DataError(
                f"schema: column {column.name[:80]!r} has {len(column.values)} values; expected 1 to {MAX_VALUES} "
                "different ones"
            )


_COLUMNS: dict[str, type[Numeric | Categorical]] = {"numeric": Numeric, "categorical": Categorical}
_KIND = {kind: name for name, kind in _COLUMNS.items()}


def schema_of(
    table: Table,
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    missing: str | None = None,
    unseen: str | None = None,
) -> RowSchema:
    """Return the schema of training data.

    Parameters
    ----------
    numeric, categorical : the names of the columns
    missing : the category for missing values; None refuses them. Missing numbers are always refused
    unseen : the category for values that the training data do not have; None refuses them

    Raises
    ------
    DataError
        If a column is missing or named twice, or has an invalid value.
    """
    names = [*numeric, *categorical]
    for name in names:
        if names.count(name) > 1 or name == "label":
            fault = "is reserved for the class" if name == "label" else "is named twice"
            raise DataError(
                f"column {name!r} {fault}. Correct params.yaml: data.source.columns.numeric and categorical"
            )
    if not names:
        raise DataError("a row needs at least one column. Add one to params.yaml: data.source.columns.numeric")
    columns: list[Numeric | Categorical] = []
    for name in numeric:
        numbers = numbers_of(column_of(table, name), name)
        whole = bool(_is_whole(numbers).all() and np.abs(numbers).max(initial=0) <= EXACT_DOUBLE)
        # Adding 0.0 turns -0.0 into 0.0. Which of the two is the minimum depends on the order of the rows.
        low, high = (float(np.float32(number)) + 0.0 for number in (numbers.min(), numbers.max()))
        columns.append(Numeric(name, low, high, whole))
    for name in categorical:
        values = np.unique(text_of(column_of(table, name), name, missing=missing)).tolist()
        columns.append(_checked_category(Categorical(name, tuple(values), missing, unseen)))
    return RowSchema(tuple(columns))


def schema_of_batches(
    batches: Iterable[Table],
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    missing: str | None = None,
    unseen: str | None = None,
) -> RowSchema:
    """Return the schema of training data in batches of at least one row each; see `schema_of`."""
    schema_of_batch = partial(schema_of, numeric=numeric, categorical=categorical, missing=missing, unseen=unseen)
    return reduce(_merge, map(schema_of_batch, batches))


def _merge(left: RowSchema, right: RowSchema) -> RowSchema:
    columns: list[Numeric | Categorical] = []
    for a, b in zip(left.columns, right.columns, strict=True):
        if isinstance(a, Numeric) and isinstance(b, Numeric):
            columns.append(Numeric(a.name, min(a.low, b.low), max(a.high, b.high), a.whole and b.whole))
        elif isinstance(a, Categorical) and isinstance(b, Categorical):
            columns.append(_checked_category(replace(a, values=tuple(sorted({*a.values, *b.values})))))
    return RowSchema(tuple(columns))


def _checked_category(column: Categorical) -> Categorical:
    """Return a column of training data, or raise DataError."""
    if len(column.values) > MAX_VALUES:
        raise DataError(
            f"column {column.name!r} has {len(column.values)} values in the training data; a category may have at most "
            f"{MAX_VALUES}. Move it to the numeric columns, or remove it"
        )
    if column.other in column.values:
        raise DataError(
            f"column {column.name!r} has the value {column.other!r} in the training data, which is also "
            "params.yaml: data.source.rows.unseen. Use another name there"
        )
    return column


def _is_whole(numbers: Array) -> Array:
    """Return which float64 numbers are integers, apart from rounding errors that float32 does not have."""
    single: Array = numbers.astype(np.float32)
    whole: Array = (single == np.rint(single)) & ((np.abs(numbers) <= _MAX_ROUNDED) | (numbers == np.rint(numbers)))
    return whole
