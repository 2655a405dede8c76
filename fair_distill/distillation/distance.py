"""Distances of the synthetic set's statistic from a target. To add one, write a function and add it to DISTANCES."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from fair_distill.distillation.alignment import Statistic, Target
from fair_distill.plugins import resolve


def squared(target: Tensor, synthetic: Tensor) -> Tensor:
    """Return the squared difference of each element: the distance of DM, FairDD and CAFE."""
    return (target - synthetic).square()


def l1(target: Tensor, synthetic: Tensor) -> Tensor:
    """Return the absolute difference of each element: the distance of COBRA's code for DM."""
    return (target - synthetic).abs()


def cosine(target: Tensor, synthetic: Tensor) -> Tensor:
    """Return 1 − cos for each row: the distance of DC, whose rows are the output units of a layer.

    A row of zeros has cosine 0, so its distance is 1 and its gradient 0 (ε is 1e-6, as in the reference code).
    """
    return 1 - F.cosine_similarity(target, synthetic, dim=-1, eps=1e-6)


# To add a distance, write the function and add its line here.
DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": squared,
    "l1": l1,
    "cosine": cosine,
}


def distance(target: Target, synthetic: Statistic, *, kind: str, reduce: str) -> Tensor:
    """Return the weighted distance of the synthetic statistic from a target, summed over classes and layers.

    Parameters
    ----------
    kind : a name in DISTANCES
    reduce : over the elements (or rows) of a layer. "sum" is the papers' choice. "mean" divides by their number; with
        2048 features this divides the effective learning rate by 2048

    Returns
    -------
    scalar, ()
    """
    elementwise = resolve(kind, DISTANCES, where="distill.distance")
    total = synthetic[0].new_zeros(())
    for target_layer, synthetic_layer in zip(target.statistic, synthetic, strict=True):
        elements = elementwise(target_layer, synthetic_layer).flatten(1)
        per_class = elements.sum(dim=1) if reduce == "sum" else elements.mean(dim=1)
        total = total + (target.weight * per_class).sum()
    return total
