"""Shrinkage: how much of a thin cell's statistic is its own, and how much its parent's.

A cell of n training examples stands in the targets at n/(n+k) of itself and k/(n+k) of its parent. C classes, G groups.
Not where the cells are mapped: that is `alignment.Shrunken`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fair_distill.data.grouped_dataset import Array, Attributes


@dataclass(frozen=True)
class ThinCell:
    """A cell that is not all its own: `own` is n/(n+k), the rest is its parent's."""

    label: int
    group: int
    examples: int
    own: float


def shrinkage(counts_CG: Array, attributes: Sequence[Attributes], prior: float) -> Array:
    """Return the map from the cells' own statistics to those that stand in the targets, (C, G, G); rows sum to 1.

    With one attribute it is the best linear unbiased prediction of the cells' true means in the random-effects model
    Φ_a ~ N(μ, τ²), sample mean ~ N(Φ_a, σ²/n_a), μ unknown, k = σ²/τ² (Henderson, Biometrics 31, 1975). There the
    estimate of μ, the parent, is the mean of the class's cells with weights n_b/(n_b+k): each cell counts with what is
    its own. So the majority alone does not make the parent; for k → ∞ it becomes the size-weighted mean, and every
    target the pooled one. With k = 0 nothing is mapped but empty cells.

    With several attributes the parent is the average, over attributes, of such means of the cells that share the
    attribute's value. That is no longer the best prediction of a known model: an additive one (f×light + m×dark −
    m×light) has less bias where attributes do not interact, but extrapolates, with negative weights, from cells that
    may be thin themselves. An attribute whose value no other cell of the class shows says nothing; where that is so of
    all, the parent is the class's.

    Parameters
    ----------
    counts_CG : training examples per cell; an empty cell stands at its parent
    attributes : the values that make up each group
    prior : k, the examples that a parent is worth
    """
    owned = own_share(counts_CG, prior)
    values = np.array(attributes, dtype=object)
    if values.shape[1] == 1:
        values = np.zeros_like(values)  # what the groups of one attribute share is the class
    # same[j, a, b]: whether groups a and b have the same value of attribute j
    same = (values.T[:, :, None] == values.T[:, None, :]).astype(float)
    groups = len(attributes)
    result = np.empty((len(counts_CG), groups, groups))
    for label, own in enumerate(owned):
        kin = same * own  # (J, G, G)
        others = kin * (1 - np.eye(groups))
        speaks = others.sum(axis=2) > 0  # (J, G)
        means = kin / np.where(speaks, kin.sum(axis=2), 1)[:, :, None]
        parent = (means * speaks[:, :, None]).sum(axis=0) / np.maximum(speaks.sum(axis=0), 1)[:, None]
        parent[~speaks.any(axis=0)] = own / (own.sum() or 1)  # a class of no examples is refused elsewhere
        result[label] = np.diag(own) + (1 - own)[:, None] * parent
    return result


def own_share(counts_CG: Array, prior: float) -> Array:
    """Return n/(n+k) of each cell, 0 where there is nothing."""
    return np.divide(counts_CG, counts_CG + prior, out=np.zeros(counts_CG.shape), where=counts_CG > 0)


def thin_cells(counts_CG: Array, prior: float, *, lost: float = 0.1) -> tuple[ThinCell, ...]:
    """Return the cells that lose more than a share `lost` of themselves to their parents."""
    owned = own_share(counts_CG, prior)
    return tuple(
        ThinCell(label, group, int(counts_CG[label, group]), float(own))
        for (label, group), own in np.ndenumerate(owned)
        if 1 - own > lost
    )
