"""One-sided bounds for rates and their differences that hold for few examples, clusters and seeds.

Two things make a measured rate uncertain: which examples were asked, and which networks answered. An example that
several networks answered is one piece of evidence, and so is a cluster of examples, hence the first part comes
from the means of examples over seeds, clustered; the same networks answer in every group, hence the second comes
from the scatter over seeds of the *difference*. Each part has a bound of its own, and half-widths add in squares:

    upper - value = sqrt(examples² + seeds²)

examples: Wilson's score bound at an effective sample size, t quantile over clusters; for a difference between
    different examples the two in squares (Newcombe's hybrid score interval), for a difference on the same examples
    the score bound of its positive and negative part. It is never of width 0: a cell that is all right is bounded
    as binomial data of as many clusters are.
seeds: Student's t over seeds. Three networks are few, and it says so.

A single Satterthwaite quantile for both parts was tried and is narrower for rates near one half, but passes too
often at 3 to 5 points of seed scatter on large cells, where all rests on few seeds (tests/gate/simulation.py).

Axes: J differences (or rates), S seeds, n examples. Leading axes are free: the simulation puts replicates there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fair_distill.gate.metrics import Floats, Ints
from fair_distill.gate.quantiles import t_quantile


@dataclass(frozen=True, eq=False)
class Score:
    """Means of values in [-1, 1] and what a score bound needs of them; all of one shape.

    Attributes
    ----------
    positive, negative : means of the values' positive and negative parts; the mean is their difference
    effective : how many independent values in {-1, 0, 1} would be as informative
    freedom : degrees of freedom, clusters - 1
    """

    positive: Floats
    negative: Floats
    effective: Floats
    freedom: Floats

    def above(self, alpha: float) -> Floats:
        """Upper bound minus mean."""
        return _half_width(self.positive, self.negative, self.effective, _t(alpha, self.freedom))

    def below(self, alpha: float) -> Floats:
        """Mean minus lower bound."""
        return _half_width(self.negative, self.positive, self.effective, _t(alpha, self.freedom))

    def __getitem__(self, index: Any) -> "Score":
        return Score(self.positive[index], self.negative[index], self.effective[index], self.freedom[index])


@dataclass(frozen=True, eq=False)
class Contrasts:
    """Rates, or differences of rates, with both parts of their uncertainty.

    Attributes
    ----------
    first, second : the examples' part: of one sample, or of two that are subtracted
    seeds : the rate or difference of each seed, (J, S)
    scale : what a value of 1 in `first` and `second` stands for
    """

    first: Score
    second: Score | None
    seeds: Floats
    scale: float = 1.0

    @property
    def value(self) -> Floats:
        """The mean over seeds, (J,)."""
        return np.asarray(self.seeds.mean(axis=-1))

    def examples_above(self, alpha: float) -> Floats:
        first = self.first.above(alpha)
        return self.scale * (first if self.second is None else np.hypot(first, self.second.below(alpha)))

    def examples_below(self, alpha: float) -> Floats:
        first = self.first.below(alpha)
        return self.scale * (first if self.second is None else np.hypot(first, self.second.above(alpha)))

    def seeds_part(self, alpha: float) -> Floats:
        """Infinite for one seed: of how networks scatter it knows nothing."""
        count = self.seeds.shape[-1]
        if count < 2:
            return np.full(self.seeds.shape[:-1], np.inf)
        return np.asarray(t_quantile(alpha, count - 1) * self.seeds.std(axis=-1, ddof=1) / np.sqrt(count))

    def upper(self, alpha: float) -> Floats:
        return np.asarray(self.value + np.hypot(self.examples_above(alpha), self.seeds_part(alpha)))

    def lower(self, alpha: float) -> Floats:
        return np.asarray(self.value - np.hypot(self.examples_below(alpha), self.seeds_part(alpha)))

    def __getitem__(self, index: Any) -> "Contrasts":
        second = None if self.second is None else self.second[index]
        return Contrasts(self.first[index], second, self.seeds[index], self.scale)


def score(values: Floats, clusters: Ints | None = None, *, lowest: int = 0) -> Score:
    """Summarise values (..., n) in [lowest, 1], where lowest is 0 or -1.

    The effective size is the variance that values in {lowest, 0, 1} of these means would have, over the variance
    that is seen between clusters. Both are taken with two clusters added, one all 1 and one all `lowest`: where
    nothing varies, that leaves about as many independent values as there are clusters, and where much does it
    changes nothing.

    Parameters
    ----------
    clusters : the cluster of each value, (n,); None where each is its own
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
    whole = n + 2 * added
    right, wrong = (n * positive + added) / whole, (n * negative - added * lowest) / whole
    mean = right - wrong
    squares = np.square(totals - mean[..., None] * sizes).sum(axis=-1)
    squares = squares + added**2 * ((1 - mean) ** 2 + (lowest - mean) ** 2)
    variance = squares * (count + 2) / (count + 1) / whole**2
    effective = (right + wrong - mean**2) / variance * count / (count + 2)
    return Score(positive, negative, effective, np.full(positive.shape, count - 1.0))


def level(outcomes: Floats, clusters: Ints | None = None, *, lowest: int = 0) -> Contrasts:
    """The mean of outcomes (..., S, n) in [lowest, 1]; of the same n examples for every seed."""
    return Contrasts(score(outcomes.mean(axis=-2), clusters, lowest=lowest), None, np.asarray(outcomes.mean(axis=-1)))


def minus(first: Contrasts, second: Contrasts) -> Contrasts:
    """The difference of two levels on different examples, answered by the same networks.

    Clusters that reach into both are not credited: they make a difference surer where they pull alike.
    """
    return Contrasts(first.first, second.first, first.seeds - second.seeds, first.scale)


def on_the_same(differences: Floats, clusters: Ints | None = None, *, scale: float = 1.0) -> Contrasts:
    """The mean of differences (..., S, n) in [-scale, scale], each on one example or pair of examples."""
    of_one = level(differences / scale, clusters, lowest=-1)
    return Contrasts(of_one.first, None, of_one.seeds * scale, scale)


def stacked(parts: Sequence[Contrasts]) -> Contrasts:
    """Put contrasts of one kind one after another."""
    second = None
    if parts[0].second is not None:
        second = _stacked([part.second for part in parts if part.second is not None])
    seeds = np.concatenate([part.seeds for part in parts])
    return Contrasts(_stacked([part.first for part in parts]), second, seeds, parts[0].scale)


def _stacked(scores: Sequence[Score]) -> Score:
    names = ("positive", "negative", "effective", "freedom")
    return Score(*(np.concatenate([getattr(score, name) for score in scores]) for name in names))


def _t(alpha: float, freedom: Floats) -> Floats:
    if freedom.size and (freedom == freedom.flat[0]).all():
        return np.asarray(_quantile(alpha, float(freedom.flat[0])))
    distinct, where = np.unique(freedom, return_inverse=True)
    return np.array([_quantile(alpha, df) for df in distinct.tolist()])[where].reshape(freedom.shape)


def _quantile(alpha: float, freedom: float) -> float:
    return t_quantile(alpha, freedom) if freedom > 0 else np.inf


def _half_width(up: Floats, down: Floats, n: Floats, q: Floats) -> Floats:
    """How far the mean `up - down` may lie above itself: both parts' score bounds, which cannot grow together.

    The parts of one value exclude each other, so they are negatively correlated; with `down` 0 this is Wilson's.
    """
    grows, shrinks = _wilson(up, n, q, 1), _wilson(down, n, q, -1)
    odds = up * down / np.maximum((1 - up) * (1 - down), np.finfo(float).tiny)
    together = np.sqrt(np.minimum(odds, 1))
    return np.asarray(np.sqrt(grows**2 + shrinks**2 + 2 * together * grows * shrinks))


def _wilson(p: Floats, n: Floats, q: Floats, side: int) -> Floats:
    """Distance from p to its Wilson bound above (side 1) or below (-1)."""
    with np.errstate(invalid="ignore", over="ignore"):
        square = q * q / n
        root = np.sqrt(square * (np.maximum(p * (1 - p), 0) + square / 4))
        distance = (side * square * (0.5 - p) + root) / (1 + square)
    # No degrees of freedom: anything may be true.
    return np.where(np.isfinite(q), distance, 1.0)
