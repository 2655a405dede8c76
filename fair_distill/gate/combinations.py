"""The means of many signed sums of the same values, without a pass over the examples for each sum.

A calibration error in bins is the largest of 2^B means. All statistics that a bound needs are linear or quadratic in
the signs, so they follow from the sums of each kind of value over clusters, which are computed once.

Axes: B kinds of values, J choices of signs, S seeds, n examples, m clusters.
"""

import numpy as np

from fair_distill.gate.bounds import Contrasts
from fair_distill.gate.clusters import Clusters
from fair_distill.gate.confusion import Floats, Ints
from fair_distill.gate.score import score_of_squares


def signed_sums(values: Floats, clusters: Ints | None, signs: Floats) -> Contrasts:
    """Return the means of sum_b sign_b value_b for each of J choices of signs, (J,).

    It equals `level` of these sums if no example has values of two kinds in different seeds. Otherwise the positive and
    the negative parts are larger, and the variance is the same.

    Parameters
    ----------
    values : in [-1, 1], (B, S, n); at most one of the B values of an example in a seed is not 0
    clusters : the cluster of each example, (n,); None if each example is a cluster
    signs : -1, 0 or 1, (J, B)
    """
    groups = Clusters.of(clusters, values.shape[-1])
    seeds_BS = values.mean(axis=-1)
    means_Bn = values.mean(axis=1)
    above, below = np.maximum(means_Bn, 0).mean(axis=-1), np.maximum(-means_Bn, 0).mean(axis=-1)
    plus, minus = np.maximum(signs, 0), np.maximum(-signs, 0)
    sums_Bm = groups.sums(means_Bn)

    def squares(factors: Floats, mean: Floats) -> Floats:
        weighted = sums_Bm * factors
        crossed = mean * (signs @ (weighted @ groups.sizes))
        return _quadratic(weighted @ sums_Bm.T, signs) - 2 * crossed + mean**2 * (factors * groups.sizes**2).sum()

    examples = score_of_squares(plus @ above + minus @ below, plus @ below + minus @ above, groups, squares, lowest=-1)
    interaction = _quadratic(_interactions(values, seeds_BS, groups), signs)
    return Contrasts(examples, None, signs @ seeds_BS, interaction)


def _quadratic(matrix_BB: Floats, signs: Floats) -> Floats:
    """Return s' M s for each choice of signs s, (J,)."""
    return np.asarray(((signs @ matrix_BB) * signs).sum(axis=1))


def _interactions(values: Floats, seeds_BS: Floats, clusters: Clusters) -> Floats:
    """Return the covariances of the means that the interaction of clusters and seeds causes, (B, B)."""
    kinds, count, n = values.shape
    if count < 2 or len(clusters.sizes) < 2:
        return np.zeros((kinds, kinds))
    residuals = clusters.sums(values) - seeds_BS[..., None] * clusters.sizes
    residuals -= residuals.mean(axis=1, keepdims=True)
    weighted = (residuals * clusters.corrections).reshape(kinds, -1)
    return np.asarray(weighted @ residuals.reshape(kinds, -1).T / ((count - 1) * n * n * count))
