"""What a row of a table is: its columns, and how it becomes numbers for a network and a row again. Light: no torch.

A number stays in its column's own unit and a category becomes one-hot, so that the same scaling that serves pixels
(`Normalisation`) standardises the numbers, once, and what is stored decodes without loss.

N rows, D encoded numbers a row; encoded rows are float32 (N, D, 1, 1), so that all that works on images works on them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial, reduce
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fair_distill.errors import DataError, ShapeError
from fair_distill.formats.strict_json import check_fields

Array = NDArray[Any]

MOST_VALUES = 1000
_WHOLE = 2**24  # up to here float32 keeps every whole number


class Table(Protocol):
    """Anything that gives a column by its name: a mapping of arrays, a structured array, a pandas or Arrow table."""

    def __getitem__(self, name: str, /) -> Any: ...


@dataclass(frozen=True)
class Numeric:
    """A column of numbers.

    Attributes
    ----------
    low, high : the range in the training data; a synthetic row stays inside
    whole : whether the training data have whole numbers only
    """

    name: str
    low: float
    high: float
    whole: bool

    @property
    def width(self) -> int:
        return 1

    def encode(self, values: Array, *, first: int = 0) -> Array:
        numbers = numbers_of(values, self.name, first=first)
        if self.whole and (broken := np.flatnonzero(numbers != np.rint(numbers))).size:
            raise DataError(
                f"column {self.name!r} is {numbers[broken[0]]:g} in row {first + broken[0] + 1}; all are whole in the "
                "training data. Round it, or add rows that are not whole to the training data"
            )
        return numbers[:, None]

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
    """A column of names, or of numbers that are names.

    Attributes
    ----------
    values : what occurs in the training data, as text
    missing : the value that stands for what is missing; None refuses what is missing
    other : the name of what does not occur in the training data; None refuses it. It is encoded as no value at all,
        which no network was trained on, and a synthetic row never has it
    """

    name: str
    values: tuple[str, ...]
    missing: str | None
    other: str | None

    @property
    def width(self) -> int:
        return len(self.values)

    def encode(self, values: Array, *, first: int = 0) -> Array:
        text = text_of(values, self.name, missing=self.missing, first=first)
        place = {value: i for i, value in enumerate(self.values)}
        found, of = np.unique(text, return_inverse=True)
        places = np.array([place.get(value, -1) for value in found.tolist()], dtype=np.int64)[of]
        if self.other is None and (unseen := np.flatnonzero(places < 0)).size:
            shown = ", ".join(map(repr, self.values[:10])) + (" and more" if len(self.values) > 10 else "")
            raise DataError(
                f"column {self.name!r} is {text[unseen[0]][:80]!r} in row {first + unseen[0] + 1}, and never in the "
                f"training data, which have {shown}. Mend it, or name such values in params.yaml: "
                "data.source.rows.unseen"
            )
        hot: Array = places[:, None] == np.arange(len(self.values))
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
    """The columns of a table, in the order in which they are encoded. Known from the training data alone."""

    columns: tuple[Numeric | Categorical, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """What a network is given: D, 1, 1."""
        return sum(self.widths), 1, 1

    @cached_property
    def widths(self) -> list[int]:
        return [column.width for column in self.columns]

    @property
    def standardised(self) -> Array:
        """Which encoded numbers are numeric, bool (D,): a one-hot value is 0 or 1 already."""
        return np.repeat([isinstance(column, Numeric) for column in self.columns], self.widths)

    def encode(self, table: Table, *, first: int = 0) -> Array:
        """Return the rows of a table as float32 (N, D, 1, 1); `first` is the number of the first, for messages.

        Raises
        ------
        DataError
            If a column is not there, or a value is missing or unseen in training and no name was declared for that.
        """
        blocks = [column.encode(column_of(table, column.name), first=first) for column in self.columns]
        for column, block in zip(self.columns, blocks, strict=True):
            if len(block) != len(blocks[0]):
                raise ShapeError(
                    f"column {column.name!r} has {len(block)} rows; {self.columns[0].name!r} has {len(blocks[0])}"
                )
        return np.concatenate(blocks, axis=1)[:, :, None, None]

    def decode(self, encoded: Array) -> dict[str, Array]:
        """Return the columns by name: whole numbers int64, other numbers float32, categories text."""
        return {column.name: column.decode(block) for column, block in self._blocks(encoded)}

    def nearest(self, encoded: Array) -> Array:
        """Return the nearest valid rows: numbers clipped to their range and rounded, the largest of a category's."""
        blocks = [column.nearest(block) for column, block in self._blocks(encoded)]
        return np.concatenate(blocks, axis=1)[:, :, None, None]

    def valid(self, encoded: Array) -> dict[str, Array]:
        """Say for each column which rows are valid: a number in its range, exactly one of the declared values."""
        return {column.name: column.valid(block) for column, block in self._blocks(encoded)}

    def check(self, encoded: Array, *, name: str) -> None:
        """Raise DataError, with `name` and the first fault in it, if a row is not valid."""
        for (column, block), valid in zip(self._blocks(encoded), self.valid(encoded).values(), strict=True):
            if (wrong := np.flatnonzero(~valid)).size:
                came = block[wrong[0], 0] if isinstance(column, Numeric) else block[wrong[0]].tolist()
                wanted = (
                    f"{'whole numbers' if column.whole else 'numbers'} from {column.low:g} to {column.high:g}"
                    if isinstance(column, Numeric)
                    else f"exactly one of {len(column.values)} values"
                )
                raise DataError(
                    f"{name}: row {wrong[0] + 1} is no valid row: column {column.name!r} is {came}, wanted are {wanted}"
                )

    def _blocks(self, encoded: Array) -> Iterator[tuple[Numeric | Categorical, Array]]:
        if encoded.shape[1:] != self.shape:
            raise ShapeError(f"rows of {self.shape} are wanted, got an array of {encoded.shape}")
        cuts = np.cumsum(self.widths)[:-1]
        return zip(self.columns, np.split(encoded[:, :, 0, 0], cuts, axis=1), strict=True)

    def to_dict(self) -> dict[str, Any]:
        return {"columns": [{"kind": _KIND[type(column)], **asdict(column)} for column in self.columns]}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "RowSchema":
        """Read what `to_dict` gave. Raises DataError, with the key, its value and the expected type, otherwise."""
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
    """Raise DataError for columns that no training data have."""
    most = float(np.finfo(np.float32).max)
    names = [column.name for column in columns]
    for column in columns:
        if names.count(column.name) > 1 or column.name == "label":
            raise DataError(f"schema: the column name {column.name[:80]!r} is used twice, or for the class")
        if isinstance(column, Numeric) and not -most <= column.low <= column.high <= most:
            raise DataError(
                f"schema: column {column.name[:80]!r} is from {column.low} to {column.high}, which is no range"
            )
        if isinstance(column, Categorical) and not 0 < len(set(column.values)) == len(column.values) <= MOST_VALUES:
            raise DataError(
                f"schema: column {column.name[:80]!r} has {len(column.values)} values; expected 1 to {MOST_VALUES} "
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
    missing : the value that stands for a category that is missing; a missing number is always refused
    unseen : the name for categories that the training data do not have

    Raises
    ------
    DataError
        If a column is not there or named twice, or holds what a column of its kind may not hold.
    """
    names = [*numeric, *categorical]
    for name in names:
        if names.count(name) > 1 or name == "label":
            fault = "is kept for the class" if name == "label" else "stands twice"
            raise DataError(f"column {name!r} {fault}; mend params.yaml: data.source.columns.numeric and categorical")
    if not names:
        raise DataError("a row needs at least one column; name some in params.yaml: data.source.columns.numeric")
    columns: list[Numeric | Categorical] = []
    for name in numeric:
        numbers = numbers_of(column_of(table, name), name)
        whole = bool((numbers == np.rint(numbers)).all() and np.abs(numbers).max(initial=0) <= _WHOLE)
        low, high = float(numbers.min()) + 0.0, float(numbers.max()) + 0.0  # of -0.0 and 0.0, whichever came first, 0.0
        columns.append(Numeric(name, low, high, whole))
    for name in categorical:
        values = np.unique(text_of(column_of(table, name), name, missing=missing)).tolist()
        columns.append(_category(Categorical(name, tuple(values), missing, unseen)))
    return RowSchema(tuple(columns))


def schema_of_batches(
    batches: Iterable[Table],
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    missing: str | None = None,
    unseen: str | None = None,
) -> RowSchema:
    """Return the schema of training data that come in batches, of at least one row each: the one of all together."""
    of_one = partial(schema_of, numeric=numeric, categorical=categorical, missing=missing, unseen=unseen)
    return reduce(_of_both, map(of_one, batches))


def _of_both(one: RowSchema, other: RowSchema) -> RowSchema:
    columns: list[Numeric | Categorical] = []
    for a, b in zip(one.columns, other.columns, strict=True):
        if isinstance(a, Numeric) and isinstance(b, Numeric):
            columns.append(Numeric(a.name, min(a.low, b.low), max(a.high, b.high), a.whole and b.whole))
        elif isinstance(a, Categorical) and isinstance(b, Categorical):
            columns.append(_category(replace(a, values=tuple(sorted({*a.values, *b.values})))))
    return RowSchema(tuple(columns))


def _category(column: Categorical) -> Categorical:
    """Return a column of training data, if it can be one."""
    if len(column.values) > MOST_VALUES:
        raise DataError(
            f"column {column.name!r} has {len(column.values)} values in the training data; a category has at most "
            f"{MOST_VALUES}. Name it among the numeric columns, or leave it out"
        )
    if column.other in column.values:
        raise DataError(
            f"column {column.name!r} has the value {column.other!r} in the training data; "
            "what is unseen needs a name of its own in params.yaml: data.source.rows.unseen"
        )
    return column


def column_of(table: Table, name: str) -> Array:
    """Return a column. Raises DataError where there is none of that name."""
    try:
        return np.asarray(table[name])
    except (KeyError, ValueError, IndexError):
        raise DataError(f"there is no column {name!r}; mend params.yaml: data.source.columns, or the table") from None


def text_of(values: Array, name: str, *, missing: str | None, first: int = 0) -> Array:
    """Return the values of a category as text, with `missing` for what is null, NaN or empty. Raises DataError.

    `first` is the number of the first row, for messages; those before it were fine.
    """
    column = _arrow(values, name)
    if pa.types.is_floating(column.type):  # whole numbers that had gaps: 1.0 is 1
        with suppress(pa.ArrowInvalid):
            column = column.cast(pa.int64())
    try:
        text = np.asarray(column.cast(pa.string()).fill_null("").to_numpy(zero_copy_only=False), dtype=str)
    except pa.ArrowException:
        raise DataError(f"column {name!r}: names or whole numbers are wanted, got {column.type}") from None
    absent = text == ""
    if missing is None and absent.any():
        raise DataError(
            f"column {name!r} is missing in {absent.sum()} of {first + len(values)} rows, the first of them row "
            f"{first + np.flatnonzero(absent)[0] + 1}; name what is missing in params.yaml: data.source.rows.missing"
        )
    return np.where(absent, missing or "", text)


def numbers_of(values: Array, name: str, *, first: int = 0) -> Array:
    """Return a column of numbers as float32, all of them finite. Raises DataError; `first` as in `text_of`."""
    column = _arrow(values, name)
    try:
        numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowException:
        raise DataError(f"column {name!r}: numbers are wanted; mend the table, or name it categorical") from None
    with np.errstate(over="ignore"):
        single: Array = numbers.astype(np.float32)
    if (absent := np.flatnonzero(~np.isfinite(single))).size:
        raise DataError(
            f"column {name!r} is missing or not finite in {len(absent)} of {first + len(values)} rows, the first of "
            f"them row {first + absent[0] + 1}; a number is needed in every row. Mend the rows, or leave them or the "
            "column out"
        )
    return single


def _arrow(values: Array, name: str) -> pa.Array:
    if values.ndim != 1:
        raise ShapeError(f"column {name!r}: one value a row is needed, got an array of {values.shape}")
    try:
        return pa.array(values, from_pandas=True)
    except pa.ArrowException:
        raise DataError(f"column {name!r}: numbers or names are wanted, all of one kind") from None
