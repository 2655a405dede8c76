"""Exact intervals for a share of trials, which are independent or in clusters."""

from dataclasses import dataclass

import numpy as np

from fair_distill.data.grouped_dataset import Array


@dataclass(frozen=True)
class Share:
    """A measured share and its two-sided confidence interval.

    Attributes
    ----------
    count, total : the share is count / total
    low, high : the limits of the interval, in [0, 1]
    """

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float | None:
        """The share; None without trials."""
        return self.count / self.total if self.total else None


def exact_share(count: int, total: int, *, confidence: float = 0.95) -> Share:
    """Return a share with the interval of Clopper and Pearson (Biometrika 26, 1934).

    It covers the true probability with at least the given confidence, for any number of independent trials. Without
    trials the interval is [0, 1].

    Raises
    ------
    ValueError
        If the count is not between 0 and the total, or the confidence not between 0 and 1.
    """
    if not 0 <= count <= total or not 0 < confidence < 1:
        raise ValueError(f"0 <= {count} <= {total} and 0 < {confidence} < 1 are required")
    return Share(count, total, *_interval(count, total, confidence))


def least_difference(first: Share, second: Share) -> float:
    """Return the lower confidence limit of the first share minus the second.

    It combines the limits of both shares (Newcombe, Statistics in Medicine 17, 1998, method 10) and has their
    confidence. Shares without trials have no limit: -1.
    """
    if first.value is None or second.value is None:
        return -1.0
    difference = first.value - second.value
    return float(difference - np.hypot(first.value - first.low, second.high - second.value))


def clustered_share(hits: Array, clusters: Array, *, confidence: float = 0.95) -> Share:
    """Return the share of hits among dependent trials, with the interval for as many independent trials.

    This number is p (1 − p) divided by the variance of the share between clusters, but at most the number of trials
    (Korn and Graubard, Survey Methodology 24, 1998). If all trials or none are hits, it is the number of clusters.

    Parameters
    ----------
    hits, clusters : bool and int arrays (N,)
    """
    total, count = len(hits), int(hits.sum())
    numbers = np.unique(clusters, return_inverse=True)[1]
    clusters_present = int(numbers.max(initial=-1)) + 1
    independent = float(clusters_present)
    if 0 < count < total and clusters_present > 1:
        p = count / total
        residuals = np.bincount(numbers, weights=hits - p)
        variance = float(np.square(residuals).sum()) / total**2 * clusters_present / (clusters_present - 1)
        independent = min(total, p * (1 - p) / variance) if variance else float(total)
    elif 0 < count < total:
        independent = 1.0
    scale = independent / total if total else 0.0
    return Share(count, total, *_interval(count * scale, total * scale, confidence))


def _interval(count: float, total: float, confidence: float) -> tuple[float, float]:
    """Return the limits of Clopper and Pearson, which are also defined for fractions of trials."""
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = float(betaincinv(count, total - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
    return low, high
