"""Infers the schema of a table's rows from the training data, and the types of its columns from the source."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce

import numpy as np
import pyarrow as pa

from fair_distill.errors import DataError
from fair_distill.formats.row_columns import Categorical, Numeric, is_whole
from fair_distill.formats.row_schema import MAX_VALUES, RowSchema
from fair_distill.formats.table_columns import EXACT_DOUBLE, Table, column_of, numbers_of, text_of, value_type
from fair_distill.formats.value_types import arrow_type


def schema_of(
    table: Table,
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    missing: str | None = None,
    unseen: str | None = None,
) -> RowSchema:
    """Return the schema of training data, without the types of its columns in the source; see `with_types`.

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
        whole = bool(is_whole(numbers).all() and np.abs(numbers).max(initial=0) <= EXACT_DOUBLE)
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


@dataclass(frozen=True)
class SourceType:
    """The type of a column in the source, and for a category whether missing values are null; see `Categorical`."""

    type: str
    null: bool = False


def types_of(table: Table, schema: RowSchema) -> dict[str, SourceType]:
    """Return the type of each column of a table in memory."""
    types = {}
    for column in schema.columns:
        values = column_of(table, column.name)
        null = False
        if isinstance(column, Categorical) and column.missing is not None:
            texts = set(np.unique(text_of(values, column.name, missing="")).tolist())
            null = "" in texts and column.missing not in texts
        types[column.name] = SourceType(value_type(values, column.name), null)
    return types


def with_types(schema: RowSchema, types: Mapping[str, SourceType]) -> RowSchema:
    """Return a schema whose columns have the types of the source."""
    columns: list[Numeric | Categorical] = []
    for column in schema.columns:
        source = types[column.name]
        if isinstance(column, Numeric):
            columns.append(replace(column, type=_numeric_type(source.type, column.whole)))
        else:
            columns.append(replace(column, type=source.type, null=source.null))
    return replace(schema, columns=tuple(columns))


def _numeric_type(kind: str, whole: bool) -> str:
    """Return the type that stores the numbers of a column, which may be text in the source."""
    if kind == "string" or (not whole and pa.types.is_integer(arrow_type(kind))):
        return "int64" if whole else "double"
    return kind
