"""One-sided bounds for rates and their differences that hold for few examples, clusters and seeds.

A measured rate is uncertain for two reasons: the choice of examples, and the choice of networks.

Predictions of several networks for one example are one piece of evidence, and so are the examples of a cluster. The
first part therefore comes from the means of examples over seeds, grouped by cluster. All groups are predicted by the
same networks, so the second part comes from the scatter of the *difference* over seeds. Each part has its own bound,
and the half-widths add in squares:

    upper - value = sqrt(examples² + seeds²)

examples: Wilson's score bound at an effective sample size, with a t quantile over clusters. For a difference between
    different examples, two of them are combined (Newcombe's hybrid score interval). For a difference on the same
    examples, the score bounds of its positive and negative parts are combined. The width is never 0: a cell whose
    predictions are all right is bounded like binomial data of as many clusters.
seeds: Student's t over seeds, widened on the side to which networks scatter further (`bend`). With three seeds the
    quantile is large, and the bound is wide.

The method was chosen by simulation (tests/gate/simulation.py). The alternative, a single Satterthwaite quantile in the
score bounds, is narrower for rates near one half and wider near 1, and covers up to two points less often if most of
the uncertainty comes from few seeds. The interaction of networks and examples is counted in both parts, which makes
bounds wider than necessary on small cells.

Axes: J differences (or rates), S seeds, n examples. Leading axes are free: the simulation puts replicates there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fair_distill.gate.confusion import Floats, Ints
from fair_distill.gate.quantiles import t_quantile


@dataclass(frozen=True, eq=False)
class Score:
    """The means of values in [-1, 1], and the statistics that a score bound needs. All arrays have one shape.

    Attributes
    ----------
    positive, negative : means of the positive and negative parts of the values; the mean is their difference.
        `negative` is None for rates, whose values cannot be negative
    effective : the number of independent values in {-1, 0, 1} that would be as informative
    freedom : degrees of freedom, the number of clusters minus 1
    """

    positive: Floats
    negative: Floats | None
    effective: Floats
    freedom: Floats

    def above(self, alpha: float) -> Floats:
        """Return the upper bound minus the mean."""
        return self._distance(_t(alpha, self.freedom), 1)

    def below(self, alpha: float) -> Floats:
        """Return the mean minus the lower bound."""
        return self._distance(_t(alpha, self.freedom), -1)

    def _distance(self, q: Floats, side: int) -> Floats:
        up = _wilson(self.positive, self.effective, q, side)
        if self.negative is None:
            return up
        # A value cannot be positive and negative at the same time, so the parts are negatively correlated.
        down = _wilson(self.negative, self.effective, q, -side)
        odds = self.positive * self.negative
        odds = odds / np.maximum((1 - self.positive) * (1 - self.negative), np.finfo(float).tiny)
        return np.asarray(np.sqrt(up**2 + down**2 + 2 * np.sqrt(np.minimum(odds, 1)) * up * down))

    def __getitem__(self, index: Any) -> "Score":
        negative = None if self.negative is None else self.negative[index]
        return Score(self.positive[index], negative, self.effective[index], self.freedom[index])


@dataclass(frozen=True, eq=False)
class Contrasts:
    """Rates, or differences of rates, with both parts of their uncertainty.

    Attributes
    ----------
    first, second : the part of the examples: of one sample, or of two that are subtracted
    seeds : the rate or difference of each seed, (J, S)
    bend : asymmetry of the scatter over seeds, (J,), see `bend`; None if it is assumed to be symmetrical
    scale : the difference that a value of 1 in `first` and `second` represents
    """

    first: Score
    second: Score | None
    seeds: Floats
    bend: Floats | None = None
    scale: float = 1.0

    @property
    def value(self) -> Floats:
        """The mean over seeds, (J,)."""
        return np.asarray(self.seeds.mean(axis=-1))

    def examples_above(self, alpha: float) -> Floats:
        """Return the half-width of the examples above the value, (J,)."""
        first = self.first.above(alpha)
        return self.scale * (first if self.second is None else np.hypot(first, self.second.below(alpha)))

    def examples_below(self, alpha: float) -> Floats:
        """Return the half-width of the examples below the value, (J,)."""
        first = self.first.below(alpha)
        return self.scale * (first if self.second is None else np.hypot(first, self.second.above(alpha)))

    def seeds_above(self, alpha: float) -> Floats:
        """Return the half-width of the seeds above the value, (J,)."""
        return self._seeds(alpha, 1)

    def seeds_below(self, alpha: float) -> Floats:
        """Return the half-width of the seeds below the value, (J,)."""
        return self._seeds(alpha, -1)

    def upper(self, alpha: float) -> Floats:
        """Return the one-sided upper bound at level alpha, (J,)."""
        return np.asarray(self.value + np.hypot(self.examples_above(alpha), self.seeds_above(alpha)))

    def lower(self, alpha: float) -> Floats:
        """Return the one-sided lower bound at level alpha, (J,)."""
        return np.asarray(self.value - np.hypot(self.examples_below(alpha), self.seeds_below(alpha)))

    def _seeds(self, alpha: float, side: int) -> Floats:
        """Return the half-width of the seeds. It is infinite for one seed, which shows no scatter."""
        count = self.seeds.shape[-1]
        if count < 2:
            return np.full(self.seeds.shape[:-1], np.inf)
        q = t_quantile(alpha, count - 1)
        half_width = q * self.seeds.std(axis=-1, ddof=1) / np.sqrt(count)
        if self.bend is None:
            return np.asarray(half_width)
        # Johnson's correction of t for a skewed mean (1978), applied only where it widens the bound.
        return np.asarray(half_width + np.maximum(side * self.bend, 0) * (1 + 2 * q * q) / count)

    def __getitem__(self, index: Any) -> "Contrasts":
        second = None if self.second is None else self.second[index]
        bend = None if self.bend is None else self.bend[index]
        return Contrasts(self.first[index], second, self.seeds[index], bend, self.scale)


def score(values: Floats, clusters: Ints | None = None, *, lowest: int = 0) -> Score:
    """Summarise values (..., n) in [lowest, 1], where lowest is 0 or -1.

    The effective size is the variance of independent values in {lowest, 0, 1} with these means, divided by the
    observed variance between clusters. Both are computed with two extra clusters, one of values 1 and one of values
    `lowest`. If nothing varies, the effective size is then about the number of clusters; otherwise the extra clusters
    change little.

    Parameters
    ----------
    clusters : the cluster of each value, (n,); None if each value is a cluster
    """
    n = values.shape[-1]
    positive, negative = np.maximum(values, 0).mean(axis=-1), np.maximum(-values, 0).mean(axis=-1)
    totals, sizes = values, np.ones(n)
    if clusters is not None:
        order = np.argsort(clusters, kind="stable")
        starts = np.flatnonzero(np.diff(clusters[order], prepend=clusters[order[:1]] - 1))
        totals, sizes = np.add.reduceat(values[..., order], starts, axis=-1), np.diff(starts, append=n).astype(float)
    count = len(sizes)
    added = n / count
    total = n + 2 * added
    up, down = (n * positive + added) / total, (n * negative - added * lowest) / total
    mean = up - down
    squares = np.square(totals - mean[..., None] * sizes).sum(axis=-1)
    squares = squares + added**2 * ((1 - mean) ** 2 + (lowest - mean) ** 2)
    variance = squares * (count + 2) / (count + 1) / total**2
    effective = (up + down - mean**2) / variance * count / (count + 2)
    return Score(positive, negative if lowest else None, effective, np.full(positive.shape, count - 1.0))


def level(outcomes: Floats, clusters: Ints | None = None, *, lowest: int = 0) -> Contrasts:
    """Return the mean of outcomes (..., S, n) in [lowest, 1] for the same n examples of every seed."""
    seeds = np.asarray(outcomes.mean(axis=-1))
    examples = score(outcomes.mean(axis=-2), clusters, lowest=lowest)
    if lowest < 0:
        return Contrasts(examples, None, seeds)
    return Contrasts(examples, None, seeds, bend(seeds, examples.freedom + 1))


def bend(seeds: Floats, n: Floats) -> Floats:
    """Return the asymmetry of the scatter of networks about a rate: third moment over six times the second.

    Three seeds are too few to estimate it, so it is derived from the rate: networks that differ by a threshold move a
    rate of 0.98 further down than up. The skewness is about 3 (1 - 2p) s / (p (1 - p)) at standard deviation s, like
    that of a lognormal rate of errors. The binomial variance of n independent examples is subtracted from the variance
    over seeds, because it does not come from the networks.
    """
    rate = seeds.mean(axis=-1)
    binomial = rate * (1 - rate)
    excess = np.maximum(seeds.var(axis=-1, ddof=1) - binomial / n, 0) if seeds.shape[-1] > 1 else np.zeros_like(rate)
    return np.asarray((1 - 2 * rate) * np.divide(excess, 2 * binomial, out=np.zeros_like(rate), where=binomial > 0))


def minus(first: Contrasts, second: Contrasts) -> Contrasts:
    """Return the difference of two levels on different examples that the same networks predict.

    A cluster with examples in both levels would make the difference more certain; this is ignored.
    """
    bends = None if first.bend is None or second.bend is None else first.bend - second.bend
    return Contrasts(first.first, second.first, first.seeds - second.seeds, bends, first.scale)


def on_the_same(
    differences: Floats,
    clusters: Ints | None = None,
    *,
    scale: float = 1.0,
) -> Contrasts:
    """Return the mean of differences (..., S, n) in [-scale, scale], each within one example or one pair."""
    unit = level(differences / scale, clusters, lowest=-1)
    return Contrasts(unit.first, None, unit.seeds * scale, None, scale)


def stacked(parts: Sequence[Contrasts]) -> Contrasts:
    """Concatenate contrasts of one kind."""
    second = None
    if parts[0].second is not None:
        second = _stacked([part.second for part in parts if part.second is not None])
    bends = [part.bend for part in parts if part.bend is not None]
    return Contrasts(
        _stacked([part.first for part in parts]),
        second,
        np.concatenate([part.seeds for part in parts]),
        np.concatenate(bends) if bends else None,
        parts[0].scale,
    )


def _stacked(scores: Sequence[Score]) -> Score:
    negatives = [score.negative for score in scores if score.negative is not None]
    return Score(
        np.concatenate([score.positive for score in scores]),
        np.concatenate(negatives) if negatives else None,
        np.concatenate([score.effective for score in scores]),
        np.concatenate([score.freedom for score in scores]),
    )


def _t(alpha: float, freedom: Floats) -> Floats:
    if freedom.size and (freedom == freedom.flat[0]).all():
        return np.asarray(_quantile(alpha, float(freedom.flat[0])))
    distinct, indices = np.unique(freedom, return_inverse=True)
    return np.array([_quantile(alpha, df) for df in distinct.tolist()])[indices].reshape(freedom.shape)


def _quantile(alpha: float, freedom: float) -> float:
    return t_quantile(alpha, freedom) if freedom > 0 else np.inf


def _wilson(p: Floats, n: Floats, q: Floats, side: int) -> Floats:
    """Return the distance from p to its Wilson bound above (side 1) or below (side -1)."""
    with np.errstate(invalid="ignore", over="ignore"):
        square = q * q / n
        root = np.sqrt(square * (np.maximum(p * (1 - p), 0) + square / 4))
        distance = (side * square * (0.5 - p) + root) / (1 + square)
    # Without degrees of freedom, any rate is possible.
    return np.where(np.isfinite(q), distance, 1.0)
