"""The means of many weighted sums of the same values: their bounds follow from statistics that are computed once.

A calibration error in bins is the largest of 2^B means, one for each choice of signs. A ratio of rates is bounded by
p - r p' for many r. Variances of such sums are quadratic in the weights, so no sum needs its own pass over clusters and
networks.

Axes: B kinds of values, J sums, S seeds, n examples, m clusters. Leading axes are free.
"""

from dataclasses import dataclass

import numpy as np

from fair_distill.gate.bounds import Contrasts, Treatment
from fair_distill.gate.clusters import Clusters
from fair_distill.gate.confusion import Floats, Ints
from fair_distill.gate.score import score_of_squares

# The largest number of sums of single examples in memory.
_AT_ONCE = 4_000_000


@dataclass(frozen=True, eq=False)
class Combinations:
    """Values of B kinds for the same examples.

    Attributes
    ----------
    means : the mean over seeds of each example, (..., B, n)
    seeds : the mean over examples of each seed, (..., B, S)
    totals : the sums of the means over clusters, (..., B, m)
    interactions : covariances of the means that the interaction of clusters and seeds causes, (..., B, B)
    """

    means: Floats
    seeds: Floats
    totals: Floats
    interactions: Floats
    clusters: Clusters
    treatment: Treatment

    @classmethod
    def of(cls, values: Floats, labels: Ints | None, treatment: Treatment = "normal") -> "Combinations":
        """Summarise values (..., B, S, n) whose clusters are `labels`, (n,); None if each example is a cluster."""
        clusters = Clusters.of(labels, values.shape[-1])
        means, seeds = values.mean(axis=-2), values.mean(axis=-1)
        interactions = _interactions(values, seeds, clusters)
        return cls(means, seeds, clusters.sums(means), interactions, clusters, treatment)

    def sums(self, weights: Floats) -> Contrasts:
        """Return the means of sum_b weight_b value_b for weights (..., J, B), (..., J).

        It equals `level` of each sum, which must be in [-1, 1] for every example.
        """
        sizes = self.clusters.sizes

        def squares(factors: Floats, mean: Floats) -> Floats:
            weighted = self.totals * factors
            own = _quadratic(weighted @ np.swapaxes(self.totals, -1, -2), weights)
            crossed = (weights @ (weighted @ sizes)[..., None])[..., 0]
            return np.asarray(own - 2 * mean * crossed + mean**2 * (factors * sizes**2).sum())

        mean = (weights @ self.means.mean(axis=-1)[..., None])[..., 0]
        size = _mean_size(self.means, weights)
        examples = score_of_squares((size + mean) / 2, (size - mean) / 2, self.clusters, squares, lowest=-1)
        interaction = _quadratic(self.interactions, weights)
        return Contrasts(examples, None, weights @ self.seeds, interaction, treatment=self.treatment)


def _mean_size(means: Floats, weights: Floats) -> Floats:
    """Return the mean absolute value of each sum, (..., J), the only statistic that needs a pass over the examples."""
    count, step = weights.shape[-2], max(1, _AT_ONCE // means.shape[-1])
    if count > 1 and (weights == -weights[..., ::-1, :]).all():  # opposite weights have equal sizes
        half = _mean_size(means, weights[..., : count // 2, :])
        return np.concatenate([half, half[..., ::-1]], axis=-1)
    parts = [weights[..., first : first + step, :] for first in range(0, count, step)]
    return np.concatenate([np.abs(part @ means).mean(axis=-1) for part in parts], axis=-1)


def _quadratic(matrix: Floats, weights: Floats) -> Floats:
    """Return w' M w for matrices (..., B, B) and weights (..., J, B), (..., J)."""
    return np.asarray(((weights @ matrix) * weights).sum(axis=-1))


def _interactions(values: Floats, seeds: Floats, clusters: Clusters) -> Floats:
    """Return the covariances of the means that the interaction of clusters and seeds causes, (..., B, B)."""
    *leading, kinds, count, n = values.shape
    if count < 2 or len(clusters.sizes) < 2:
        return np.zeros((*leading, kinds, kinds))
    residuals = clusters.sums(values) - seeds[..., None] * clusters.sizes
    residuals -= residuals.mean(axis=-2, keepdims=True)
    flat = residuals.reshape(*leading, kinds, -1)
    weighted = (residuals * clusters.corrections).reshape(*leading, kinds, -1)
    return np.asarray(weighted @ np.swapaxes(flat, -1, -2) / ((count - 1) * n * n * count))
