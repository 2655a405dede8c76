"""The columns of a table's rows and their label: their values, and their encoding as numbers. Without torch.

N rows, V values of a category.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from fair_distill.errors import DataError
from fair_distill.formats.table_columns import EXACT_SINGLE, Array, Column, numbers_of, text_of, times_as
from fair_distill.formats.value_types import arrow_type, canonical, numbers_as, text_as

# Below this, float32 has fractions of a half. Above it, a fraction could be rounded away.
_MAX_ROUNDED = 2**22


@dataclass(frozen=True)
class Numeric:
    """A column of numbers.

    Attributes
    ----------
    low, high : the range in the training data, which also bounds synthetic rows
    whole : whether the training data have integers only
    type : the type of the values in the source; None in sets from before types were recorded
    """

    name: str
    low: float
    high: float
    whole: bool
    type: str | None = None

    @property
    def width(self) -> int:
        return 1

    def encode(self, values: Column, *, first: int = 0) -> Array:
        numbers = numbers_of(values, self.name, first=first)
        single: Array = numbers.astype(np.float32)
        if self.whole:
            if (fractional := np.flatnonzero(~is_whole(numbers))).size:
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

    @property
    def arrow_type(self) -> pa.DataType:
        return arrow_type(self.type or ("int64" if self.whole else "float"))

    def to_arrow(self, encoded_N1: Array) -> pa.Array:
        return numbers_as(encoded_N1[:, 0], str(self.arrow_type))

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
    type : the type of the values in the source; None in sets from before types were recorded, which have text
    null : whether `missing` is null in the source. It is false if the source has the value `missing` itself
    """

    name: str
    values: tuple[str, ...]
    missing: str | None
    other: str | None
    type: str | None = None
    null: bool = False

    @property
    def width(self) -> int:
        return len(self.values)

    def encode(self, values: Column, *, first: int = 0) -> Array:
        values = times_as(values, self.name, self.arrow_type)
        text = text_of(values, self.name, missing=self.missing, first=first)
        index = {canonical(value, self.type): i for i, value in enumerate(self.values)}
        distinct, inverse = np.unique(text, return_inverse=True)
        codes = [index.get(canonical(value, self.type), -1) for value in distinct.tolist()]
        indices = np.array(codes, dtype=np.int64)[inverse]
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

    @property
    def arrow_type(self) -> pa.DataType:
        return arrow_type(self.type or "string")

    def to_arrow(self, encoded_NV: Array) -> pa.Array:
        names = self.decode(encoded_NV).tolist()
        return text_as([None if self.null and name == self.missing else name for name in names], str(self.arrow_type))

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
class Label:
    """The column of the label in the source.

    Attributes
    ----------
    values : the value of each class, as text
    type : the type of the values in the source
    """

    name: str
    values: tuple[str, ...]
    type: str

    def take(self, classes: Sequence[int]) -> "Label":
        """Return the label of some of the classes."""
        return replace(self, values=tuple(self.values[index] for index in classes))

    def encode(self, values: Column) -> Array:
        """Return the class indices of a column. Raises DataError for a value that is not of a class."""
        index = {canonical(value, self.type): i for i, value in enumerate(self.values)}
        text = text_of(values, self.name, missing=None).tolist()
        for row, value in enumerate(text):
            if canonical(value, self.type) not in index:
                raise DataError(
                    f"label {self.name!r} is {value[:80]!r} in row {row + 1}; expected one of "
                    f"{', '.join(self.values[:10])}"
                )
        return np.array([index[canonical(value, self.type)] for value in text], dtype=np.int64)

    def to_arrow(self, indices: Array) -> pa.Array:
        """Return the values of class indices (N,) with the type in the source."""
        return text_as([self.values[index] for index in indices], self.type)


def is_whole(numbers: Array) -> Array:
    """Return which float64 numbers are integers, apart from rounding errors that float32 does not have."""
    single: Array = numbers.astype(np.float32)
    whole: Array = (single == np.rint(single)) & ((np.abs(numbers) <= _MAX_ROUNDED) | (numbers == np.rint(numbers)))
    return whole
