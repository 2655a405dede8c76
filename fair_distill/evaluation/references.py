"""What every distilled set is measured against: the full data, and random real images of equal size.

A distilled set is worth what it adds to the group-balanced random subset, which costs nothing to make.
"""

import numpy as np
import torch

from fair_distill.data.grouped import Array, GroupedDataset
from fair_distill.distillation.synthetic import encode, natural_rows, stratified_rows


def subset(
    select: str, dataset: GroupedDataset, ipc: int, formation: int, generator: torch.Generator
) -> tuple[Array, Array]:
    """Return `ipc` stored images a class and their classes, pixels over 255.

    Parameters
    ----------
    select : "random" takes groups as they come, "group_balanced" deals each class out over its groups
    formation : above 1, each stored image is a mosaic of formation² real ones, made smaller
    """
    choose = {"random": natural_rows, "group_balanced": stratified_rows}[select]
    rows = choose(dataset, ipc * formation**2, generator)
    pixels = torch.from_numpy(dataset.images[rows]).float() / 255
    return encode(pixels, formation).numpy(), np.repeat(np.arange(len(dataset.classes)), ipc)
