"""Clusters with examples of several cells: the correlation of rates over the choice of clusters.

A person with examples in both groups of a difference moves both rates. If the two rates move apart, the difference is
less certain than that of two independent samples. If they move together, it is more certain; this is not credited,
because a correlation that few clusters show may be chance.

Axes: J rates or differences, K clusters.
"""

import numpy as np

from fair_distill.gate.clusters import unbiased
from fair_distill.gate.confusion import Floats, Ints


def influences(values: Floats, clusters: Ints, count: int) -> Floats:
    """Return how far each of `count` clusters moves the mean of values (n,), (K,).

    The sum of their squares is the variance of the mean, see `gate.clusters`. Clusters without examples do not move it.
    """
    n = len(values)
    sizes = np.bincount(clusters, minlength=count).astype(float)
    deviations = np.bincount(clusters, values - values.mean(), minlength=count) / n
    return np.asarray(np.where(sizes > 0, np.sqrt(unbiased(sizes / n)), 0.0) * deviations)


def correlation(first: Floats, second: Floats) -> Floats:
    """Return the correlations of pairs of means from their influences, two arrays (J, K), as far as they are negative.

    A cluster with examples of both moves both; every other cluster moves one of them.
    """
    # The influence of a single cluster is not defined (NaN), and neither is its correlation.
    with np.errstate(invalid="ignore"):
        covariances = (first * second).sum(axis=-1)
        norms = np.sqrt(np.square(first).sum(axis=-1) * np.square(second).sum(axis=-1))
        found = np.divide(covariances, norms, out=np.zeros_like(covariances), where=norms > 0)
    return np.asarray(np.clip(found, -1.0, 0.0))
