"""Sets of the first training rows of a table in a file, made as `prepare` and `distill` make them."""

from pathlib import Path
from typing import Any

import numpy as np

from fair_distill.card import DatasetCard, TrainingRecipe
from fair_distill.config import Data
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.data.prepare import make_splits
from fair_distill.data.sources import read_source
from fair_distill.distilled_set import DistilledSet

SHARES = {"train": 0.6, "tune": 0.2, "gate": 0.2}


def splits_of(root: Path, options: dict[str, Any], **data: Any) -> dict[str, GroupedDataset]:
    """Return the splits of the source `table` with these options."""
    section = {"source": {"name": "table"} | options, "splits": SHARES} | data
    return make_splits(
        read_source("table", options, root=root),
        Data.model_validate(section),
        dealing=0,
        colouring=np.random.default_rng(0),
    )


def set_of_rows(split: GroupedDataset, per_class: int) -> DistilledSet:
    """Return a set of random rows of each class."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.permutation(np.flatnonzero(split.labels == c))[:per_class] for c in range(2)])
    recipe = TrainingRecipe({"name": "mlp", "width": 4, "depth": 1}, 2, 4, 0.01, 0.9, 0.0, (), 1, (0.0,), (1.0,))
    card = DatasetCard(
        dataset="table",
        name="random",
        kind="subset",
        classes=split.classes,
        groups=split.groups,
        shape=split.shape,
        examples=len(rows),
        train_counts=tuple(map(tuple, split.counts.tolist())),
        recipe=recipe,
        diagnostics={},
        schema=split.schema,
    )
    return DistilledSet(np.array(split.images[rows]), split.labels[rows], card)
