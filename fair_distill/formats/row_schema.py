"""The schema of a table's rows: its columns, their encoding as numbers for a network, and the decoding. Without torch.

Numbers keep the unit of their column, and categories become one-hot. So `Normalisation`, which scales pixels, also
standardises the numbers, and stored rows decode without loss.

N rows, D encoded numbers per row. Encoded rows are float32 (N, D, 1, 1), so functions for images accept them too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from fair_distill.errors import DataError, ShapeError
from fair_distill.formats.row_columns import Categorical, Label, Numeric
from fair_distill.formats.strict_json import check_fields
from fair_distill.formats.table_columns import Array, Table, column_of

MAX_VALUES = 1000


@dataclass(frozen=True)
class RowSchema:
    """The columns of a table in the order of their encoding. They are inferred from the training data alone.

    Attributes
    ----------
    label : the column of the label in the source; None if it is not known
    """

    columns: tuple[Numeric | Categorical, ...]
    label: Label | None = None

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

    def to_arrow(self, encoded: Array) -> dict[str, pa.Array]:
        """Return the columns by name, with the types of the source. Missing categories are null as in the source."""
        return {column.name: column.to_arrow(block) for column, block in self._blocks(encoded)}

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
        """Return plain values. Keys that older sets do not have are left out if they have no value."""
        columns = [{"kind": _KIND[type(column)], **_without_absent(asdict(column))} for column in self.columns]
        return {"columns": columns} | ({} if self.label is None else {"label": asdict(self.label)})

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "RowSchema":
        """Return the schema from the result of `to_dict`. Raises DataError with the key and its value if invalid."""
        rows = value.get("columns") if isinstance(value, Mapping) else None
        if not isinstance(rows, list | tuple) or not rows or not {"columns", "label"} >= set(value):
            raise DataError(
                f"schema is {str(value)[:80]!r}; expected an object with a list `columns`, and at most `label` besides"
            )
        columns: list[Numeric | Categorical] = []
        for i, row in enumerate(rows):
            kind = row.get("kind") if isinstance(row, Mapping) else None
            if not isinstance(kind, str) or kind not in _COLUMNS:
                raise DataError(f"schema.columns[{i}].kind is {str(kind)[:80]!r}; expected {' or '.join(_COLUMNS)}")
            columns.append(_from_plain(_COLUMNS[kind], {k: v for k, v in row.items() if k != "kind"}, f"columns[{i}]"))
        schema = cls(tuple(columns), _from_plain(Label, value["label"], "label") if "label" in value else None)
        _check_columns(schema.columns)
        _check_types(schema)
        return schema


def _without_absent(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in plain.items() if key not in ("type", "null") or item}


def _from_plain(kind: Any, plain: Any, name: str) -> Any:
    check_fields(plain, kind, name=f"schema.{name}")
    return kind(**{key: tuple(item) if isinstance(item, list) else item for key, item in plain.items()})


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


def _check_types(schema: RowSchema) -> None:
    """Raise DataError if a value of the schema does not have the type that the schema gives for it."""
    for column in schema.columns:
        try:
            if isinstance(column, Numeric):
                column.to_arrow(np.array([[column.low], [column.high]], dtype=np.float32))
            else:
                column.to_arrow(np.eye(column.width, dtype=np.float32))
        except DataError as error:
            raise DataError(f"schema: column {column.name[:80]!r}: {error}") from None
    if (label := schema.label) is not None:
        label.to_arrow(np.arange(len(label.values)))
        if label.name in [column.name for column in schema.columns] or len(set(label.values)) < len(label.values):
            raise DataError(f"schema: the label {label.name[:80]!r} is a column too, or has a value twice")


_COLUMNS: dict[str, type[Numeric | Categorical]] = {"numeric": Numeric, "categorical": Categorical}
_KIND = {kind: name for name, kind in _COLUMNS.items()}
