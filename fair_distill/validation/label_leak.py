"""Columns that leak the label: how well each column of a table predicts the class on its own."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from fair_distill.data.grouped_dataset import Array
from fair_distill.formats.row_columns import Numeric
from fair_distill.formats.row_schema import RowSchema
from fair_distill.workspace import SPLITS

_BINS = 64


def leak_table(schema: RowSchema, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the columns `column`, a name, and `leak`, Goodman and Kruskal's lambda on held-out examples.

    Each value of a column predicts its most frequent class in the training data. Numbers with more than 64 different
    values are cut into 64 bins of equal size first. With a the accuracy of these predictions in the other splits, and b
    the accuracy of always predicting their most frequent class, leak is (a - b) / (1 - b), and at least 0.

    Unlike the usual lambda, it is measured on examples that it was not fitted to. A column of unique names, which
    cannot predict anything, gets 0; a column that determines the class gets 1.

    Parameters
    ----------
    tables : the examples of each split, with a column `row.NAME` for each column of the schema
    """
    train = tables[SPLITS[0]]
    later = [table for split, table in tables.items() if split != SPLITS[0] and len(table)]
    held_out = pd.concat(later, ignore_index=True) if later else train
    rows = []
    for column in schema.columns:
        name = f"row.{column.name}"
        categories = _categories(train[name], held_out[name], numeric=isinstance(column, Numeric))
        rows.append({"column": column.name, "leak": _lambda(*categories, train["class"], held_out["class"])})
    return pd.DataFrame(rows, columns=["column", "leak"])


def _categories(train: pd.Series, held_out: pd.Series, *, numeric: bool) -> tuple[Array, Array]:
    """Return the number of the category or bin of each training and held-out value; -1 for a missing category."""
    if numeric:
        train_numbers, held_out_numbers = train.to_numpy(np.float64), held_out.to_numpy(np.float64)
        finite = train_numbers[np.isfinite(train_numbers)]
        if len(np.unique(finite)) > _BINS:
            edges = np.quantile(finite, np.arange(1, _BINS) / _BINS)
            return (
                np.searchsorted(edges, train_numbers, side="right"),
                np.searchsorted(edges, held_out_numbers, side="right"),
            )
    codes = pd.factorize(pd.concat([train, held_out], ignore_index=True))[0]
    return codes[: len(train)], codes[len(train) :]


def _lambda(train: Array, held_out: Array, train_class: pd.Series, held_out_class: pd.Series) -> float | None:
    """Return lambda, or None if the held-out examples have fewer than two classes."""
    labels, names = pd.factorize(pd.concat([train_class, held_out_class], ignore_index=True))
    train_labels, held_out_labels = labels[: len(train)], labels[len(train) :]
    counts = np.zeros((max(train.max(initial=-1), held_out.max(initial=-1)) + 2, len(names) + 1), np.int64)
    np.add.at(counts, (train, train_labels), 1)  # a missing value is -1, which is the last row or column
    counts = counts[:, : len(names)]
    most_frequent = int(counts.sum(axis=0).argmax()) if len(names) else 0
    predictions = np.where(counts.any(axis=1), counts.argmax(axis=1), most_frequent)
    labelled = held_out_labels >= 0
    if not labelled.any():
        return None
    accuracy = float((predictions[held_out] == held_out_labels)[labelled].mean())
    baseline = float(np.bincount(held_out_labels[labelled]).max() / labelled.sum())
    return None if baseline == 1 else max(0.0, (accuracy - baseline) / (1 - baseline))
