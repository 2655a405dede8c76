"""What every distilled set is measured against: the full data, and random real images of equal size.

A distilled set is worth what it adds to the group-balanced random subset, which costs nothing to make.
"""

import numpy as np
import torch

from fair_distill.data.grouped import Array, GroupedDataset
from fair_distill.distill.synthetic import natural_rows, stratified_rows


def subset(select: str, dataset: GroupedDataset, ipc: int, generator: torch.Generator) -> tuple[Array, Array]:
    """Return `ipc` real images a class and their classes, pixels over 255.

    Parameters
    ----------
    select : "random" takes groups as they come, "group_balanced" deals each class out over its groups
    """
    choose = {"random": natural_rows, "group_balanced": stratified_rows}[select]
    rows = choose(dataset, ipc, generator)
    return dataset.images[rows].astype(np.float32) / np.float32(255), dataset.labels[rows]
