"""Features that leak the label: how much of the class a column of a table tells alone."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from fair_distill.data.grouped_dataset import Array
from fair_distill.formats.row_schema import Numeric, RowSchema
from fair_distill.workspace import SPLITS

_BINS = 64


def column_table(schema: RowSchema, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return a row for each column: its name and `leak`, how much of what there is to know of the class it tells.

    The training data give each value its most frequent class (a number with more than 64 different values is cut into
    64 bins of equally many); the other splits say how often that is right. Of accuracy a, and b for always saying the
    most frequent class, leak is (a - b) / (1 - b), at least 0: Goodman & Kruskal's lambda, measured on other examples
    than it was fitted to, so that a column of names that occur once each tells nothing. 1 tells all.
    """
    train = tables[SPLITS[0]]
    others = [table for split, table in tables.items() if split != SPLITS[0] and len(table)]
    held_out = pd.concat(others, ignore_index=True) if others else train
    rows = [
        {
            "column": column.name,
            "leak": _told(
                *(
                    _categories(
                        train[f"row.{column.name}"], held_out[f"row.{column.name}"], isinstance(column, Numeric)
                    )
                ),
                train["class"],
                held_out["class"],
            ),
        }
        for column in schema.columns
    ]
    return pd.DataFrame(rows, columns=["column", "leak"])


def _categories(train: pd.Series, other: pd.Series, numeric: bool) -> tuple[Array, Array]:
    if numeric:
        numbers = train.to_numpy(np.float64), other.to_numpy(np.float64)
        known = numbers[0][np.isfinite(numbers[0])]
        if len(np.unique(known)) > _BINS:
            edges = np.quantile(known, np.arange(1, _BINS) / _BINS)
            binned = [np.searchsorted(edges, each, side="right") for each in numbers]
            return binned[0], binned[1]
    codes = pd.factorize(pd.concat([train, other], ignore_index=True))[0]
    return codes[: len(train)], codes[len(train) :]


def _told(train: Array, other: Array, train_class: pd.Series, other_class: pd.Series) -> float | None:
    labels, names = pd.factorize(pd.concat([train_class, other_class], ignore_index=True))
    fitted, held_out = labels[: len(train)], labels[len(train) :]
    counts = np.zeros((max(train.max(initial=-1), other.max(initial=-1)) + 2, len(names) + 1), np.int64)
    np.add.at(counts, (train, fitted), 1)  # -1, not known, has the last row and column
    usual = int(counts[:, : len(names)].sum(axis=0).argmax()) if len(names) else 0
    likely = np.where(counts[:, : len(names)].any(axis=1), counts[:, : len(names)].argmax(axis=1), usual)
    known = held_out >= 0
    if not known.any():
        return None
    right = float((likely[other] == held_out)[known].mean())
    base = float(np.bincount(held_out[known]).max() / known.sum())
    return None if base == 1 else max(0.0, (right - base) / (1 - base))
