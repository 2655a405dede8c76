"""Parquet files of predictions of models, with any columns."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    """Return a Parquet file with these columns."""
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


def answers(
    right: dict[tuple[str, str], tuple[int, int]], *, seeds: int = 1, classes: tuple[str, str] = ("no", "yes")
) -> dict[str, Any]:
    """Return columns of predictions in which the first examples of each cell are predicted right.

    Parameters
    ----------
    right : for each pair of class and group, the number of right predictions and the number of examples
    """
    rows = [
        (f"{label}-{group}-{i}", label, group, label if i < correct else next(c for c in classes if c != label))
        for (label, group), (correct, count) in right.items()
        for i in range(count)
    ]
    columns: dict[str, Any] = dict(
        zip(("example", "label", "group", "predicted"), map(list, zip(*rows, strict=True)), strict=True)
    )
    if seeds > 1:
        columns = {name: values * seeds for name, values in columns.items()}
        columns["seed"] = np.repeat(np.arange(seeds), len(rows)).tolist()
    return columns


def equal_groups(correct: int = 90, count: int = 100, **options: Any) -> dict[str, Any]:
    """Return predictions that are equally good in both groups and classes."""
    cells = {(label, group): (correct, count) for label in ("no", "yes") for group in ("a", "b")}
    return answers(cells, **options)
