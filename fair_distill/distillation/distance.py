"""How far the synthetic set's statistic is from a target. A function and a line in DISTANCES."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from fair_distill.distillation.alignment import Statistic, Target


def squared(wanted: Tensor, got: Tensor) -> Tensor:
    """Squared differences, one per element: the distance of DM, FairDD and CAFE."""
    return (wanted - got).square()


def l1(wanted: Tensor, got: Tensor) -> Tensor:
    """Absolute differences, one per element: what COBRA's code uses for DM."""
    return (wanted - got).abs()


def cosine(wanted: Tensor, got: Tensor) -> Tensor:
    """1 − cos, one per row: the distance of DC, whose rows are the output units of a layer.

    Rows of zero length have cosine 0, so they count 1 and push nowhere (ε is 1e-6, as in the reference code).
    """
    return 1 - F.cosine_similarity(wanted, got, dim=-1, eps=1e-6)


# The one place a distance is added: write the function, add its line.
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
    reduce : over the elements (or rows) of a layer. "sum" is the papers'; "mean" divides by their number, which at 2048
        features divides the learning rate by 2048.
    """
    total = synthetic[0].new_zeros(())
    for wanted, got in zip(target.statistic, synthetic, strict=True):
        each = DISTANCES[kind](wanted, got).flatten(1)
        per_class = each.sum(dim=1) if reduce == "sum" else each.mean(dim=1)
        total = total + (target.weight * per_class).sum()
    return total
