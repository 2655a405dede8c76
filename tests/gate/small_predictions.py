"""Predictions made from the counts that they are to show."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fair_distill.gate.predictions import Predictions

# G groups, C true classes, K predicted classes


def predictions_of(
    runs: Mapping[tuple[int, int], Any], *, networks: tuple[str, ...] = ("convnet",), **about: str
) -> Predictions:
    """Return predictions whose run (network, seed) has these counts, (G, C, K)."""
    columns: dict[str, list[Any]] = {name: [] for name in ("example", "label", "group", "seed", "network", "predicted")}
    for (network, seed), counts in runs.items():
        table = np.asarray(counts)
        group, label, predicted = np.repeat(np.indices(table.shape).reshape(3, -1), table.ravel(), axis=1)
        n = len(label)
        rows = {"example": np.arange(n), "label": label, "group": group, "predicted": predicted}
        for name, values in (rows | {"seed": np.full(n, seed), "network": np.full(n, network)}).items():
            columns[name].append(values)
        groups, classes = table.shape[:2]
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    joined["pair"] = joined["example"]
    joined["probability"] = np.full(len(joined["label"]), 0.5, dtype=np.float32)
    return Predictions(
        set=about.get("set", "a" * 64),
        split=about.get("split", "b" * 64),
        classes=tuple(f"class{i}" for i in range(classes)),
        groups=tuple(f"group{i}" for i in range(groups)),
        networks=networks,
        columns=joined,
    )


def recalls_of(right: Any, of: int) -> Any:
    """Counts (G, 2, 2) of `of` examples a cell, right[g][c] of them predicted right."""
    return np.array([[[r0, of - r0], [of - r1, r1]] for r0, r1 in right])
