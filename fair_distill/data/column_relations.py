"""Columns that determine others, such as a code and its name, and rows that contradict such a relation.

One column determines another if the rows with each of its values nearly always have one value of the other. Compared
are categories, and numbers with few different values. N rows, R relations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fair_distill.data.grouped_dataset import Array
from fair_distill.formats.row_columns import Categorical, Numeric
from fair_distill.formats.row_schema import RowSchema

# The share of rows in which the determined value must occur.
SHARE = 0.99
# A relation must also remove this share of the errors of always naming the most frequent value. Otherwise, every column
# would determine one that is nearly constant.
_REMOVED_ERRORS = 0.5
# A number with more different values is a quantity, and a column with fewer rows per value identifies rows.
_MAX_NUMBERS, _ROWS_PER_VALUE = 1000, 10


@dataclass(frozen=True, eq=False)
class ColumnRelation:
    """One column that determines another.

    Attributes
    ----------
    determinant, dependent : the indices of both columns in the schema
    share : the share of training rows that have the determined value
    keys, targets : arrays (V,); each value of the determinant and the value that it determines. A value of a category
        is its index in the schema. Keys are in ascending order
    """

    determinant: int
    dependent: int
    share: float
    keys: Array
    targets: Array


def find_relations(schema: RowSchema, rows: Array) -> tuple[ColumnRelation, ...]:
    """Return the relations between the columns of training rows (N, D, 1, 1).

    Values with a single row are not counted, because each of them determines every other column.
    """
    columns = {}
    for index, values in enumerate(_values(schema, np.asarray(rows))):
        distinct, codes = np.unique(values, return_inverse=True)
        column = schema.columns[index]
        quantity = isinstance(column, Numeric) and (not column.whole or len(distinct) > _MAX_NUMBERS)
        if len(distinct) > 1 and not quantity:
            columns[index] = distinct, codes
    relations = []
    for a, (keys, a_codes) in columns.items():
        if len(keys) * _ROWS_PER_VALUE > len(rows):
            continue
        for b, (targets, b_codes) in columns.items():
            if a == b:
                continue
            size = len(targets)
            pairs, counts = np.unique(a_codes * size + b_codes, return_counts=True)
            largest, total = np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)
            np.maximum.at(largest, pairs // size, counts)
            np.add.at(total, pairs // size, counts)
            repeated = total > 1
            share = largest[repeated].sum() / max(1, total[repeated].sum())
            constant = np.bincount(b_codes).max() / len(rows)
            if share < SHARE or 1 - share > (1 - _REMOVED_ERRORS) * (1 - constant):
                continue
            order = np.lexsort((-counts, pairs // size))  # of each key the most frequent pair first
            _, first = np.unique(pairs[order] // size, return_index=True)
            relations.append(ColumnRelation(a, b, float(share), keys, targets[pairs[order][first] % size]))
    return tuple(relations)


def broken_relations(schema: RowSchema, relations: Sequence[ColumnRelation], rows: Array) -> Array:
    """Return for each relation which rows (N, D, 1, 1) have another value than the determined one, bool (R, N)."""
    values = _values(schema, rows)
    broken = np.zeros((len(relations), len(rows)), dtype=bool)
    for r, relation in enumerate(relations):
        known, targets = _determined(relation, values[relation.determinant])
        broken[r] = known & (values[relation.dependent] != targets)
    return broken


def keep_relations(schema: RowSchema, relations: Sequence[ColumnRelation], rows: Array) -> Array:
    """Return valid rows (N, D, 1, 1) with the value that another column determines, in each column that has one.

    Of two columns that determine each other, the one that is later in the schema keeps its value.
    """
    rows = rows.copy()
    cuts = np.concatenate([[0], np.cumsum(schema.widths)])
    for relation in _acyclic(relations):
        known, targets = _determined(relation, _values(schema, rows)[relation.determinant])
        block = rows[:, cuts[relation.dependent] : cuts[relation.dependent + 1], 0, 0]  # a view
        if isinstance(schema.columns[relation.dependent], Categorical):
            block[known] = targets[known].astype(np.int64)[:, None] == np.arange(block.shape[1])
        else:
            block[known, 0] = targets[known]
    return rows


def _acyclic(relations: Sequence[ColumnRelation]) -> list[ColumnRelation]:
    """Return at most one relation for each dependent column, whose determinant depends on no column."""
    chosen: dict[int, ColumnRelation] = {}
    determinants: set[int] = set()
    for relation in sorted(relations, key=lambda relation: relation.dependent):
        if relation.dependent in chosen or relation.dependent in determinants or relation.determinant in chosen:
            continue
        chosen[relation.dependent] = relation
        determinants.add(relation.determinant)
    return list(chosen.values())


def _values(schema: RowSchema, rows: Array) -> list[Array]:
    """Return the values of each column, (N,): numbers, or the index of a category's value; -1 for an unseen value."""
    blocks = np.split(rows[:, :, 0, 0], np.cumsum(schema.widths)[:-1], axis=1)
    return [
        block[:, 0] if isinstance(column, Numeric) else np.where(block.max(axis=1) > 0, block.argmax(axis=1), -1)
        for column, block in zip(schema.columns, blocks, strict=True)
    ]


def _determined(relation: ColumnRelation, values: Array) -> tuple[Array, Array]:
    """Return which values occur in the training rows, and the value that each of them determines."""
    position = np.searchsorted(relation.keys, values).clip(0, len(relation.keys) - 1)
    return relation.keys[position] == values, relation.targets[position]
