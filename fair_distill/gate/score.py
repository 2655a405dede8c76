"""The part of a bound that comes from the choice of examples: a score bound at an effective sample size.

It is Wilson's, and the exact one of `gate.rare_events` where events are rare.

The width is never 0: a cell whose predictions are all right is bounded like binomial data of as many clusters.

Axes: J differences (or rates), S seeds, n examples. Leading axes are free: the simulation puts replicates there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fair_distill.gate.clusters import Clusters, unbiased
from fair_distill.gate.confusion import Floats, Ints
from fair_distill.gate.degrees_of_freedom import spread_of
from fair_distill.gate.rare_events import event_rate_lower, event_rate_upper

# Wilson's bound towards more events is close enough above this number of observed events. It lies between two whole
# numbers, so that rounding decides nothing.
_FEW_EVENTS = 9.5
# Wilson's bound towards fewer events is close enough from this rate, unless the quantile is in the far tail.
_COMMON, _FAR = 0.25, 2.5
# With fewer events, the bound towards fewer events is also at least a normal one: it ends at 0 events, so it would be
# too short in a sum with other bounds.
_SHORTEST_EVENTS = 4.5


@dataclass(frozen=True, eq=False)
class Score:
    """The means of values in [-1, 1], and the statistics that a score bound needs. All arrays have one shape.

    Attributes
    ----------
    positive, negative : means of the positive and negative parts of the values; the mean is their difference.
        `negative` is None for rates, whose values cannot be negative
    effective : the number of independent values in {-1, 0, 1} that would be as informative
    freedom : degrees of freedom, the effective number of clusters minus 1
    variance : of the mean; never 0
    """

    positive: Floats
    negative: Floats | None
    effective: Floats
    freedom: Floats
    variance: Floats

    @property
    def expected_errors(self) -> Floats:
        """The number of independent values that differ from the most frequent one, about."""
        absolute = self.positive if self.negative is None else self.positive + self.negative
        return np.asarray(self.effective * np.minimum(absolute, 1 - absolute))

    def above(self, q: Floats) -> Floats:
        """Return the upper bound minus the mean, with q times the standard error."""
        return self._distance(q, 1)

    def below(self, q: Floats) -> Floats:
        """Return the mean minus the lower bound, with q times the standard error."""
        return self._distance(q, -1)

    def _distance(self, q: Floats, side: int) -> Floats:
        if self.negative is None:
            return rate_distance(self.positive, self.effective, q, side, guard=self.guard)
        up = rate_distance(self.positive, self.effective, q, side, guard=self.guard)
        # A value cannot be positive and negative at the same time, so the parts are negatively correlated.
        down = rate_distance(self.negative, self.effective, q, -side, guard=self.guard)
        odds = self.positive * self.negative
        odds = odds / np.maximum((1 - self.positive) * (1 - self.negative), np.finfo(float).tiny)
        return np.asarray(np.sqrt(up**2 + down**2 + 2 * np.sqrt(np.minimum(odds, 1)) * up * down))

    @property
    def guard(self) -> Floats:
        """The number of independent values that guards against rare ones which were not drawn.

        Clusters that all look alike may give more effective values than there are clusters. A rare cluster that differs
        entirely is still drawn as seldom as one of that number of values.
        """
        return np.minimum(self.effective, self.freedom + 1)

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest possible value."""
        return (0.0 if self.negative is None else -1.0), 1.0

    def __getitem__(self, index: Any) -> "Score":
        negative = None if self.negative is None else self.negative[index]
        return Score(self.positive[index], negative, self.effective[index], self.freedom[index], self.variance[index])


@dataclass(frozen=True, eq=False)
class MeanOfScores(Score):
    """The means of C scores of rates, see `gate.mean_of_levels`.

    Attributes
    ----------
    each : the scores of the rates of every mean, (..., C)
    are_correlated : whether the rates may be correlated over the choice of clusters, so that half-widths add
    """

    each: Score
    are_correlated: bool

    @classmethod
    def of(cls, each: Score, *, are_correlated: bool) -> "MeanOfScores":
        variance = _square_of_mean(np.sqrt(each.variance), are_correlated)
        if are_correlated:
            freedom = each.freedom.min(axis=-1)
        else:
            spread = spread_of(each.variance, each.freedom).sum(axis=-1)
            freedom = np.square(each.variance.sum(axis=-1)) / spread
        effective = 1 / _square_of_mean(1 / np.sqrt(each.effective), are_correlated)
        return cls(each.positive.mean(axis=-1), None, effective, freedom, variance, each, are_correlated)

    @property
    def expected_errors(self) -> Floats:
        """The number of errors of one rate that would make the variance as uncertain.

        The relative variance of an estimated variance is about 1 / errors; one error is added to each, so that a rate
        without errors counts as far as it contributes. It is that of the rate with the fewest errors if the rates may
        be correlated.
        """
        errors = self.each.expected_errors
        if self.are_correlated:
            return np.asarray(errors.min(axis=-1))
        shares = self.each.variance / self.each.variance.sum(axis=-1, keepdims=True)
        return np.asarray(1 / (np.square(shares) / (errors + 1)).sum(axis=-1) - 1)

    def _distance(self, q: Floats, side: int) -> Floats:
        """Combine the bounds of the rates.

        Wilson's interval is wider towards 1/2: its middle is shifted by about q² k3 / (2 k2), with the cumulants of the
        rate. The cumulants of independent rates add, so the shift of the sum is the mean of the shifts, weighted by
        variance. The half-lengths add in squares.
        """
        up, down = (self.each._distance(np.asarray(q)[..., None], direction) for direction in (1, -1))
        if self.are_correlated:
            return np.asarray((up if side > 0 else down).mean(axis=-1))
        squares, shifts = np.square(up + down) / 4, (up - down) / 2
        shift = (squares * shifts).sum(axis=-1) / squares.sum(axis=-1)
        return np.asarray((np.sqrt(squares.sum(axis=-1)) + side * shift) / up.shape[-1])

    def __getitem__(self, index: Any) -> "MeanOfScores":
        return MeanOfScores.of(self.each[index], are_correlated=self.are_correlated)


def _square_of_mean(errors: Floats, are_correlated: bool) -> Floats:
    """Return the squared error of means of values with errors (..., C), (...)."""
    if are_correlated:
        return np.asarray(np.square(errors.mean(axis=-1)))
    return np.asarray(np.square(errors).mean(axis=-1) / errors.shape[-1])


def score(values: Floats, clusters: Clusters | Ints | None = None, *, lowest: int = 0) -> Score:
    """Summarise values (..., n) in [lowest, 1], where lowest is 0 or -1.

    The effective size is the variance of independent values in {lowest, 0, 1} with these means, divided by the
    observed variance between clusters. Both are computed with two extra clusters, one of values 1 and one of values
    `lowest`. If nothing varies, the effective size is then about the effective number of clusters; otherwise the extra
    clusters change little.

    Parameters
    ----------
    clusters : the cluster of each value, (n,); None if each value is a cluster
    """
    if not isinstance(clusters, Clusters):
        clusters = Clusters.of(clusters, values.shape[-1])
    sums = clusters.sums(values)

    def squares(factors: Floats, mean: Floats) -> Floats:
        return np.asarray((factors * np.square(sums - mean[..., None] * clusters.sizes)).sum(axis=-1))

    positive, negative = np.maximum(values, 0).mean(axis=-1), np.maximum(-values, 0).mean(axis=-1)
    return score_of_squares(positive, negative, clusters, squares, lowest=lowest)


def score_of_squares(
    positive: Floats,
    negative: Floats,
    clusters: Clusters,
    squares: Callable[[Floats, Floats], Floats],
    *,
    lowest: int,
) -> Score:
    """Summarise values as `score` does, from statistics of them.

    Parameters
    ----------
    positive, negative : means of the positive and negative parts of the values; rounding may make them negative
    squares : from a factor per cluster, (m,), and a mean per sum of values to the weighted sum over clusters of the
        squared deviations of the sums of values from the mean
    """
    positive, negative = np.maximum(positive, 0), np.maximum(negative, 0)
    n = clusters.sizes.sum()
    count = clusters.effective
    added = n / count
    total = n + 2 * added
    up, down = (n * positive + added) / total, (n * negative - added * lowest) / total
    mean = up - down
    factors = unbiased(np.append(clusters.sizes, [added, added]) / total)
    extremes = factors[-1] * added**2 * ((1 - mean) ** 2 + (lowest - mean) ** 2)
    variance = (squares(factors[:-2], mean) + extremes) / total**2
    effective = (up + down - mean**2) / variance * count / (count + 2)
    freedom = np.full(positive.shape, count - 1.0)
    return Score(positive, negative if lowest else None, effective, freedom, variance)


def rate_distance(p: Floats, n: Floats, q: Floats, side: int, *, guard: Floats) -> Floats:
    """Return the distance from a rate to its bound above (side 1) or below (side -1): Wilson's, or the exact one.

    Parameters
    ----------
    n, guard : see `wilson`
    """
    distance = wilson(p, n, q, side, guard=guard)
    # Events are errors if they are rarer, otherwise successes.
    errors_are_rare = p > 0.5
    rate = np.where(errors_are_rare, 1 - p, p)
    fewer = errors_are_rare == (side > 0)  # the bound is towards fewer events
    are_few = rate * guard < _FEW_EVENTS
    size = np.where(are_few, guard, n)
    with np.errstate(invalid="ignore", over="ignore"):
        lower = rate - event_rate_lower(rate * size, size, q)
        standard = np.where(rate * guard < _SHORTEST_EVENTS, q * np.sqrt(np.maximum(rate * (1 - rate), 0) / guard), 0)
        exact = np.where(fewer, np.maximum(lower, standard), event_rate_upper(rate * size, size, q) - rate)
    is_exact = np.where(fewer, (rate < _COMMON) | (q > _FAR), are_few) & np.isfinite(q)
    return np.asarray(np.where(is_exact, np.maximum(distance, exact), distance))


def wilson(p: Floats, n: Floats, q: Floats, side: int, *, guard: Floats | None = None) -> Floats:
    """Return the distance from p to its Wilson bound above (side 1) or below (side -1).

    Parameters
    ----------
    n : the number of independent values that the variance p (1 - p) / n belongs to
    guard : the number of values in the terms that remain when nothing varies; n if omitted
    """
    with np.errstate(invalid="ignore", over="ignore"):
        square = q * q / (n if guard is None else guard)
        root = np.sqrt(q * q / n * np.maximum(p * (1 - p), 0) + square * square / 4)
        distance = (side * square * (0.5 - p) + root) / (1 + square)
    # Without degrees of freedom, any rate is possible.
    return np.where(np.isfinite(q), distance, 1.0)
