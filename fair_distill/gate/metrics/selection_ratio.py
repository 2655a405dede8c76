"""Selection-rate ratio: the four-fifths rule of the US Uniform Guidelines on Employee Selection Procedures (1978)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from fair_distill.config import Limit
from fair_distill.gate.bounds import Contrasts, minus, stacked
from fair_distill.gate.combinations import Combinations
from fair_distill.gate.comparisons import Comparisons, rates_of_sides
from fair_distill.gate.confusion import Confusion, Floats
from fair_distill.gate.evidence import Evidence, influences_of, levels, matches
from fair_distill.gate.fair_sets import FairSets
from fair_distill.gate.metrics import rates
from fair_distill.gate.metrics.base import Planner
from fair_distill.gate.metrics.largest_gap import Gap
from fair_distill.gate.network_predictions import NetworkPredictions
from fair_distill.gate.shared_clusters import correlation

# The distance between two bounds of a ratio that the search does not distinguish.
_PRECISION = 1e-7
_MOST_STEPS = 60


@dataclass(frozen=True, kw_only=True)
class _SelectionRatio(Gap):
    """The smallest ratio of the rates at which two groups are predicted as a class: min_{k,g,g'} P(k|g) / P(k|g').

    Null hypothesis: for some class, one group's rate is less than the limit times that of another group, p < r p'.
    It is rejected if the lower bound of p - r p' is at least 0. The largest such r is the bound of the ratio, as in
    Fieller's theorem. Both orders of every pair of groups have a bound at level alpha, and the smallest is compared
    with the limit (intersection-union test).

    A class that is never predicted has the ratio 0 / 0, which is undefined. It is never 1.
    """

    direction = "at_least"

    def value(self, table: Confusion, comparisons: Comparisons | None = None) -> float:
        if comparisons is None:  # the smallest ratio of any two groups is that of the smallest and the largest rate
            of_groups = table.all_rates(self.rates)
            return float(_ratios(of_groups.min(axis=1), of_groups.max(axis=1)).min())
        first, second = rates_of_sides(table, comparisons)
        assert second is not None
        return float(_smallest(_ratios(first, second).ravel(), len(comparisons.rates)))

    def undefined(self, table: Confusion) -> str | None:
        return super().undefined(table) or _never_predicted(table, range(len(table.classes)), range(len(table.groups)))

    def lack_of_examples(self, predictions: NetworkPredictions, comparisons: Comparisons, minimum: int) -> str | None:
        few = super().lack_of_examples(predictions, comparisons, minimum)
        classes = [rate.predicted for rate in comparisons.rates if rate.predicted is not None]
        groups = sorted({g for side in comparisons.distinct_sides for g in side})
        return few or _never_predicted(predictions.table(), classes, groups)

    def evidence(self, predictions: NetworkPredictions, comparisons: Comparisons) -> Evidence:
        ratio = _Ratio.of(predictions, comparisons)
        of_seeds = _smallest(_ratios(ratio.first.seeds, ratio.second.seeds), len(comparisons.rates)).mean()
        return Evidence(
            network=predictions.network,
            value=float(ratio.values.min()),
            per_seed=None if np.isnan(of_seeds) else float(of_seeds),
            values=ratio.values,
            comparisons=comparisons.each,
            upper=ratio.upper,
            lower=ratio.lower,
            half_widths=ratio.half_widths,
            tests=2,
        )

    def planner(self, limit: Limit) -> Planner | None:
        return _planned


def _planned(sets: FairSets, comparisons: Comparisons, alpha: float) -> Floats:
    first, second, correlations = sets.both_sides(comparisons.rates, comparisons.sides)
    return np.asarray(_Ratio(first, second, correlation=correlations).lower(alpha).min(axis=-1))


@dataclass(frozen=True, eq=False)
class _Ratio:
    """The selection rates of the two sides of every comparison, (J,), and the bounds of the smaller ratio of the two.

    Attributes
    ----------
    pairs : the rates of both sides within pairs, (J, 2 kinds), if every pair of the split has an example of each group
    correlation : of the two rates over the choice of clusters, (J,); None if no cluster is on both sides
    """

    first: Contrasts
    second: Contrasts
    pairs: Combinations | None = None
    correlation: Floats | None = None

    @classmethod
    def of(cls, predictions: NetworkPredictions, comparisons: Comparisons) -> "_Ratio":
        events = partial(matches, predictions)
        each = levels(predictions, comparisons, events)
        index = {side: i for i, side in enumerate(comparisons.distinct_sides)}
        starts = np.arange(len(comparisons.rates))[:, None] * len(index)
        first = (starts + [index[a] for a, _ in comparisons.sides]).ravel()
        second = (starts + [index[b] for _, b in comparisons.sides if b]).ravel()
        levels_of_sides = each[first], each[second]
        if predictions.examples_by_pair is not None:
            return cls(*levels_of_sides, pairs=_within_pairs(predictions, comparisons))
        if not predictions.clusters_span_groups:
            return cls(*levels_of_sides)
        moves = influences_of(predictions, comparisons, events)
        return cls(*levels_of_sides, correlation=correlation(moves[first], moves[second]))

    @property
    def values(self) -> Floats:
        """The smaller ratio of the mean rates, (J,). It is 0 where both are 0: nothing is established there."""
        return np.nan_to_num(_ratios(self.first.value, self.second.value), nan=0.0)

    def lower(self, alpha: float) -> Floats:
        """Return the largest ratio that both orders establish at level alpha, (J,)."""
        return np.minimum(*self._lower(alpha))

    def upper(self, alpha: float) -> Floats:
        """Return the smallest ratio of which one order establishes at level alpha that the rates are below it, (J,)."""
        ends = _crossing(lambda ratio: self._contrasts(ratio).upper(alpha), self._orders[0].value.shape)
        return np.minimum(*np.split(ends[1], 2))

    def half_widths(self, alpha: float) -> tuple[Floats, Floats]:
        """Return the contributions of examples and of networks to the distance between value and lower bound."""
        forward, backward = self._lower(alpha)
        contrasts = self._contrasts(np.concatenate([forward, backward]))
        parts = [np.split(part, 2) for part in (contrasts.examples_below(alpha), contrasts.seeds_below(alpha))]
        examples, networks = (np.where(forward <= backward, *part) for part in parts)
        together = np.maximum(contrasts.together(examples, networks), np.finfo(float).tiny)
        distance = (self.values - np.minimum(forward, backward)) / together
        return distance * examples, distance * networks

    def _lower(self, alpha: float) -> list[Floats]:
        ends = _crossing(lambda ratio: self._contrasts(ratio).lower(alpha), self._orders[0].value.shape)
        return np.split(ends[0], 2)

    @cached_property
    def _orders(self) -> tuple[Contrasts, Contrasts]:
        """The rates p and p' of both orders of the sides, (2 J,)."""
        return stacked([self.first, self.second]), stacked([self.second, self.first])

    def _contrasts(self, ratio: Floats) -> Contrasts:
        """Return p - r p' for both orders of the sides, (2 J,)."""
        both = None if self.correlation is None else np.concatenate([self.correlation, self.correlation])
        contrasts = minus(*self._orders, both, weight=ratio)
        if self.pairs is None:
            return contrasts
        count, one = len(ratio) // 2, np.ones(len(ratio) // 2)
        forward = np.stack([one, -ratio[:count]], axis=-1)
        backward = np.stack([-ratio[count:], one], axis=-1)
        sums = self.pairs.sums(np.stack([forward, backward], axis=1))
        return replace(sums[np.tile(np.arange(count), 2), np.repeat([0, 1], count)], bend=contrasts.bend)


def _within_pairs(predictions: NetworkPredictions, comparisons: Comparisons) -> Combinations:
    """Return for every comparison whether the prediction is the class, on the first and the second side of a pair."""
    assert predictions.examples_by_pair is not None
    pairs = predictions.examples_by_pair
    clusters = predictions.clusters[pairs[:, 0]]
    all_distinct = len(np.unique(clusters)) == len(clusters)
    values = []
    for rate in comparisons.rates:
        event = matches(predictions, rate)[:, pairs]
        values += [
            np.stack([event[..., list(side)].mean(axis=-1) for side in (a, b or ())]) for a, b in comparisons.sides
        ]
    return Combinations.of(np.stack(values), None if all_distinct else clusters, predictions.treatment)


def _crossing(bound: Callable[[Floats], Floats], shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Return the largest ratio found with a bound of at least 0, and the smallest with one below 0.

    `bound` falls with the ratio. The two ends are `_PRECISION` apart, or both 0 or 1 if the bound does not change its
    sign between. The false position method of Illinois needs about eight steps.
    """
    low, high = np.zeros(shape), np.ones(shape)
    at_low, at_high = bound(low), bound(high)
    never, always = at_low < 0, at_high >= 0
    last = np.zeros(shape)
    for _ in range(_MOST_STEPS):
        if (never | always | (high - low <= _PRECISION)).all():
            break
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = (low * at_high - high * at_low) / (at_high - at_low)
        inside = (ratio > low) & (ratio < high)
        ratio = np.where(inside, ratio, (low + high) / 2)
        value = bound(ratio)
        is_low = value >= 0
        # The end that stays for a second time counts half, so that it moves soon.
        at_high = np.where(is_low, np.where(last == 1, at_high / 2, at_high), value)
        at_low = np.where(is_low, value, np.where(last == -1, at_low / 2, at_low))
        low, high = np.where(is_low, ratio, low), np.where(is_low, high, ratio)
        last = np.where(is_low, 1, -1)
    low, high = np.where(always, 1.0, low), np.where(never, 0.0, high)
    return np.where(never, 0.0, low), np.where(always, 1.0, high)


def _ratios(first: Floats, second: Floats) -> Floats:
    """Return the smaller rate divided by the larger, elementwise; NaN for 0 / 0."""
    low, high = np.minimum(first, second), np.maximum(first, second)
    return np.asarray(np.divide(low, high, out=np.full(low.shape, np.nan), where=high > 0))


def _smallest(ratios: Floats, rates: int) -> Floats:
    """Return the smallest ratio of J = rates x sides, (...); NaN if all ratios of some rate are 0 / 0.

    If a class is predicted in one of three groups only, the ratio of the two others is 0 / 0, and the smallest is 0.
    """
    by_rate = ratios.reshape(rates, -1, *ratios.shape[1:])
    smallest = np.nan_to_num(by_rate, nan=np.inf).min(axis=1)
    return np.asarray(np.where(np.isinf(smallest), np.nan, smallest).min(axis=0))


def _never_predicted(table: Confusion, classes: Sequence[int], groups: Sequence[int]) -> str | None:
    """Return which of some classes is predicted in none of some groups, or None."""
    predicted = table.counts[list(groups)].sum(axis=(0, 1))
    for c in classes:
        if predicted[c] == 0:
            return (
                f"class {table.classes[c]!r} is never predicted, so the ratio of its rates is 0 / 0; name the "
                "favourable class with `classes`"
            )
    return None


SELECTION_RATE_RATIO = _SelectionRatio(
    name="selection_rate_ratio",
    title="Smallest ratio of selection rates",
    short="selection-rate ratio",
    definition="Smallest ratio between two groups of how often a class is predicted: min_{k,g,g'} P(k|g) / P(k|g'). "
    "With `classes: [favourable]` and `at_least: 0.8` it is the four-fifths rule. Undefined for a class that is never "
    "predicted",
    null_hypothesis="for some class and two groups, one group's rate is less than the limit times the other's",
    bound="smallest ratio r at which the lower bound of p - r p' is 0, over both orders of every pair of groups, each "
    "at alpha (intersection-union)",
    rates=rates.selections,
    needs="groups",
    covers_parts=True,
    perfect_is_best=False,
)
