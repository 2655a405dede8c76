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
seeds: Student's t over seeds, widened on the side to which networks scatter further (`bend`). Three networks are
    few, and it says so.

The method was chosen by simulation (tests/gate/simulation.py). A single Satterthwaite quantile for both parts, entering
the score bounds through one effective size, is narrower for rates near one half, wider near 1, and holds up to two
points less often where all rests on few seeds. What networks and examples do together is counted in both parts, which
makes bounds wider than they need be on small cells.

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
    """Means of values in [-1, 1] and what a score bound needs of them; all of one shape.

    Attributes
    ----------
    positive, negative : means of the values' positive and negative parts; the mean is their difference. None of
        values that cannot be negative: rates
    effective : how many independent values in {-1, 0, 1} would be as informative
    freedom : degrees of freedom, clusters - 1
    """

    positive: Floats
    negative: Floats | None
    effective: Floats
    freedom: Floats

    def above(self, alpha: float) -> Floats:
        """Upper bound minus mean."""
        return self._distance(_t(alpha, self.freedom), 1)

    def below(self, alpha: float) -> Floats:
        """Mean minus lower bound."""
        return self._distance(_t(alpha, self.freedom), -1)

    def _distance(self, q: Floats, side: int) -> Floats:
        up = _wilson(self.positive, self.effective, q, side)
        if self.negative is None:
            return up
        # A value is not positive and negative at once, so the parts are negatively correlated.
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
    first, second : the examples' part: of one sample, or of two that are subtracted
    seeds : the rate or difference of each seed, (J, S)
    bend : how lopsided the seeds' scatter is, (J,), see `bend`; None where it is taken to be symmetrical
    scale : what a value of 1 in `first` and `second` stands for
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
        first = self.first.above(alpha)
        return self.scale * (first if self.second is None else np.hypot(first, self.second.below(alpha)))

    def examples_below(self, alpha: float) -> Floats:
        first = self.first.below(alpha)
        return self.scale * (first if self.second is None else np.hypot(first, self.second.above(alpha)))

    def seeds_above(self, alpha: float) -> Floats:
        return self._seeds(alpha, 1)

    def seeds_below(self, alpha: float) -> Floats:
        return self._seeds(alpha, -1)

    def upper(self, alpha: float) -> Floats:
        return np.asarray(self.value + np.hypot(self.examples_above(alpha), self.seeds_above(alpha)))

    def lower(self, alpha: float) -> Floats:
        return np.asarray(self.value - np.hypot(self.examples_below(alpha), self.seeds_below(alpha)))

    def _seeds(self, alpha: float, side: int) -> Floats:
        """Infinite for one seed: of how networks scatter it knows nothing."""
        count = self.seeds.shape[-1]
        if count < 2:
            return np.full(self.seeds.shape[:-1], np.inf)
        q = t_quantile(alpha, count - 1)
        part = q * self.seeds.std(axis=-1, ddof=1) / np.sqrt(count)
        if self.bend is None:
            return np.asarray(part)
        # Johnson's correction of t for a skewed mean (1978), taken where it widens.
        return np.asarray(part + np.maximum(side * self.bend, 0) * (1 + 2 * q * q) / count)

    def __getitem__(self, index: Any) -> "Contrasts":
        second = None if self.second is None else self.second[index]
        bend = None if self.bend is None else self.bend[index]
        return Contrasts(self.first[index], second, self.seeds[index], bend, self.scale)


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
    return Score(positive, negative if lowest else None, effective, np.full(positive.shape, count - 1.0))


def level(outcomes: Floats, clusters: Ints | None = None, *, lowest: int = 0) -> Contrasts:
    """The mean of outcomes (..., S, n) in [lowest, 1]; of the same n examples for every seed."""
    seeds = np.asarray(outcomes.mean(axis=-1))
    found = score(outcomes.mean(axis=-2), clusters, lowest=lowest)
    if lowest < 0:
        return Contrasts(found, None, seeds)
    return Contrasts(found, None, seeds, bend(seeds, found.freedom + 1))


def bend(seeds: Floats, n: Floats) -> Floats:
    """How lopsided networks scatter about a rate: a sixth of the third moment over the second, by the rate itself.

    Three seeds cannot tell, but a rate can: networks that differ by a threshold move a rate of 0.98 further down than
    up, with a skewness of about 3 (1 - 2p) s / (p (1 - p)) at standard deviation s, as a lognormal rate of errors
    does. What n independent examples of one seed scatter by themselves is not the network's and is taken off.
    """
    rate = seeds.mean(axis=-1)
    binomial = rate * (1 - rate)
    own = np.maximum(seeds.var(axis=-1, ddof=1) - binomial / n, 0) if seeds.shape[-1] > 1 else np.zeros_like(rate)
    return np.asarray((1 - 2 * rate) * np.divide(own, 2 * binomial, out=np.zeros_like(rate), where=binomial > 0))


def minus(first: Contrasts, second: Contrasts) -> Contrasts:
    """The difference of two levels on different examples, answered by the same networks.

    Clusters that reach into both are not credited: they make a difference surer where they pull alike.
    """
    bent = None if first.bend is None or second.bend is None else first.bend - second.bend
    return Contrasts(first.first, second.first, first.seeds - second.seeds, bent, first.scale)


def on_the_same(
    differences: Floats,
    clusters: Ints | None = None,
    *,
    scale: float = 1.0,
) -> Contrasts:
    """The mean of differences (..., S, n) in [-scale, scale], each on one example or pair of examples."""
    of_one = level(differences / scale, clusters, lowest=-1)
    return Contrasts(of_one.first, None, of_one.seeds * scale, None, scale)


def stacked(parts: Sequence[Contrasts]) -> Contrasts:
    """Put contrasts of one kind one after another."""
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
    distinct, where = np.unique(freedom, return_inverse=True)
    return np.array([_quantile(alpha, df) for df in distinct.tolist()])[where].reshape(freedom.shape)


def _quantile(alpha: float, freedom: float) -> float:
    return t_quantile(alpha, freedom) if freedom > 0 else np.inf


def _wilson(p: Floats, n: Floats, q: Floats, side: int) -> Floats:
    """Distance from p to its Wilson bound above (side 1) or below (-1)."""
    with np.errstate(invalid="ignore", over="ignore"):
        square = q * q / n
        root = np.sqrt(square * (np.maximum(p * (1 - p), 0) + square / 4))
        distance = (side * square * (0.5 - p) + root) / (1 + square)
    # No degrees of freedom: anything may be true.
    return np.where(np.isfinite(q), distance, 1.0)
