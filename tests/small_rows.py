"""Small tables in which one column depends on the group, and other columns depend on the class."""

from typing import Any

import numpy as np

from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.formats.row_schema import RowSchema
from fair_distill.formats.schema_inference import schema_of

NUMERIC, CATEGORICAL = ("age", "height"), ("work", "colour")


def table(n: int, *, seed: int = 0) -> dict[str, Array]:
    """Return rows of two classes and two groups, with cells 3:1 and 1:3. `kind` and `sex` are not features."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    group = np.where(np.arange(n) % 8 < 6, label, 1 - label)
    return {
        "age": 20 + 30 * label + rng.integers(0, 20, n),
        "height": (1.5 + 0.2 * group + rng.uniform(0, 0.2, n)).astype(np.float32),
        "work": np.where(label == 1, "office", rng.choice(["farm", "sea"], n)).astype(object),
        "colour": rng.choice(["red", "blue"], n).astype(object),
        "kind": np.array(["no", "yes"], dtype=object)[label],
        "sex": np.array(["f", "m"], dtype=object)[group],
    }


def schema(columns: dict[str, Array], **rules: Any) -> RowSchema:
    return schema_of(columns, numeric=NUMERIC, categorical=CATEGORICAL, **rules)


def dataset(n: int = 80, *, seed: int = 0) -> GroupedDataset:
    columns = table(n, seed=seed)
    return GroupedDataset.from_rows(
        columns,
        (columns["kind"] == "yes").astype(int),
        (columns["sex"] == "m").astype(int),
        numeric=NUMERIC,
        categorical=CATEGORICAL,
        classes=("no", "yes"),
        groups=("f", "m"),
    )
