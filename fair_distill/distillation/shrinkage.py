"""Shrinkage of the statistic of a thin cell towards the statistic of its parent.

The statistic of a cell with n training examples is replaced by n/(n+k) of itself plus k/(n+k) of its parent. This
module computes the linear map; `alignment.Shrunken` applies it. C classes, G groups, J attributes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fair_distill.data.grouped_dataset import Array, Attributes


@dataclass(frozen=True)
class ThinCell:
    """A cell whose statistic is noticeably shrunken: it keeps the share n/(n+k), and its parent gets the rest."""

    label: int
    group: int
    examples: int
    share: float


def shrinkage(counts_CG: Array, attributes: Sequence[Attributes], prior: float) -> Array:
    """Return the map from the cells' sample statistics to their shrunken statistics, (C, G, G); rows sum to 1.

    With one attribute, this is the best linear unbiased prediction of the cells' true means in the random-effects
    model Φ_a ~ N(μ, τ²), sample mean ~ N(Φ_a, σ²/n_a), μ unknown, k = σ²/τ² (Henderson, Biometrics 31, 1975). In that
    model the estimate of μ, the parent, is the mean of the class's cells with weights n_b/(n_b+k). So the majority
    group alone does not determine the parent. For k → ∞ the parent becomes the size-weighted mean, and every target
    the pooled target. For k = 0 only empty cells change.

    With several attributes, the parent is the average, over attributes, of such means of the cells that share the
    attribute's value. This is not the best prediction of a known model. An additive model (f×light + m×dark − m×light)
    has less bias if attributes do not interact, but it extrapolates, with negative weights, from cells that may be
    thin themselves. An attribute is ignored if no other cell of the class shares its value; if all attributes are
    ignored, the parent is that of the class.

    Parameters
    ----------
    counts_CG : training examples per cell; the statistic of an empty cell becomes its parent's
    attributes : the attribute values of each group
    prior : k, the number of examples that the parent counts as
    """
    shares_CG = own_share(counts_CG, prior)
    values = np.array(attributes, dtype=object)
    if values.shape[1] == 1:
        values = np.zeros_like(values)  # Groups of a single attribute share the class only.
    # same[j, a, b]: whether groups a and b have the same value of attribute j
    same = (values.T[:, :, None] == values.T[:, None, :]).astype(float)
    groups = len(attributes)
    result = np.empty((len(counts_CG), groups, groups))
    for label, shares in enumerate(shares_CG):
        relatives = same * shares  # (J, G, G)
        without_self = relatives * (1 - np.eye(groups))
        informative = without_self.sum(axis=2) > 0  # (J, G)
        means = relatives / np.where(informative, relatives.sum(axis=2), 1)[:, :, None]
        parent = (means * informative[:, :, None]).sum(axis=0) / np.maximum(informative.sum(axis=0), 1)[:, None]
        parent[~informative.any(axis=0)] = shares / (shares.sum() or 1)  # Other code refuses a class without examples.
        result[label] = np.diag(shares) + (1 - shares)[:, None] * parent
    return result


def own_share(counts_CG: Array, prior: float) -> Array:
    """Return the share n/(n+k) of each cell's statistic that remains, (C, G); 0 for an empty cell."""
    return np.divide(counts_CG, counts_CG + prior, out=np.zeros(counts_CG.shape), where=counts_CG > 0)


def thin_cells(counts_CG: Array, prior: float, *, threshold: float = 0.1) -> tuple[ThinCell, ...]:
    """Return the cells that give more than the share `threshold` of their statistic to their parents."""
    return tuple(
        ThinCell(label, group, int(counts_CG[label, group]), float(share))
        for (label, group), share in np.ndenumerate(own_share(counts_CG, prior))
        if 1 - share > threshold
    )
