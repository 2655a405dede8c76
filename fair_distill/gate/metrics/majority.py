"""Accuracy over the majority class: what the networks add to a classifier that always predicts the largest class."""

from dataclasses import dataclass

import numpy as np

from fair_distill.config import Limit
from fair_distill.gate.bounds import on_the_same, stacked
from fair_distill.gate.comparisons import Comparison, Comparisons
from fair_distill.gate.confusion import Confusion, Floats, Rate
from fair_distill.gate.evidence import Evidence, smallest
from fair_distill.gate.fair_sets import FairSets
from fair_distill.gate.metrics import rates
from fair_distill.gate.metrics.base import Measurement, Planner
from fair_distill.gate.metrics.smallest_rate import SmallestRate, smallest_lower
from fair_distill.gate.network_predictions import NetworkPredictions
from fair_distill.gate.sentences import rates_sentence


@dataclass(frozen=True, kw_only=True)
class _AccuracyOverMajority(SmallestRate):
    """Accuracy minus the share of the most frequent class: min_c [P(right) - P(label = c)].

    Null hypothesis: for some class, the accuracy of a classifier that always predicts it is higher than the accuracy
    of the networks minus the limit. Both classifiers are compared on the same examples. Each class has a lower bound
    at level alpha, and the smallest is compared with the limit (intersection-union test). The bound therefore holds
    for the class that is most frequent in the population, although another one may be so in the split.
    """

    def value(self, table: Confusion, comparisons: Comparisons | None = None) -> float:
        comparisons = comparisons or self.comparisons(None, table.classes, table.groups)
        of_groups = table.counts[list(comparisons.sides[0][0])].sum(axis=0)
        return float((np.trace(of_groups) - of_groups.sum(axis=1).max()) / of_groups.sum())

    def evidence(self, predictions: NetworkPredictions, comparisons: Comparisons) -> Evidence:
        rows = predictions.rows(comparisons.rates[0].true_classes, comparisons.sides[0][0])
        labels = predictions.labels[rows.indices]
        right = (predictions.predicted[:, rows.indices] == labels).astype(float)
        # One class at a time, because all of them together would need much memory on a split with many classes.
        over_each = [
            on_the_same(right[None] - (labels == rate.predicted), rows.clusters, treatment=predictions.treatment)
            for rate in comparisons.rates
        ]
        return smallest(predictions.network, comparisons, stacked(over_each))

    def planner(self, limit: Limit) -> Planner | None:
        return _planned

    def describe(self, comparison: Comparison, predictions: NetworkPredictions) -> Measurement:
        table, groups, majority = predictions.table(), list(comparison.first), comparison.rate.predicted
        assert majority is not None
        of_groups = table.counts[groups].sum(axis=0)
        count = round(float(of_groups.sum()))
        accuracy = float(np.trace(of_groups) / of_groups.sum())
        share = float(of_groups[majority].sum() / of_groups.sum())
        everything = Comparison(Rate(comparison.rate.true_classes, None), comparison.first, None)
        return Measurement(
            classes=(table.classes[majority],),
            rates=(accuracy,),
            examples=(count,),
            sentence=f"{rates_sentence(everything, (accuracy,), (count,), predictions)}, and class "
            f"{table.classes[majority]!r} is {100 * share:.1f} % of them",
        )


def _planned(sets: FairSets, comparisons: Comparisons, alpha: float) -> Floats:
    return smallest_lower(sets.over_classes(comparisons.sides[0][0]), alpha)


ACCURACY_OVER_MAJORITY = _AccuracyOverMajority(
    name="accuracy_over_majority",
    title="Accuracy over the majority class",
    short="over majority class",
    column="over majority",
    definition="Accuracy minus the share of the most frequent class of the gate split: P(right) - max_c P(label = c). "
    "Below 0, a classifier that always predicts one class is better",
    null_hypothesis="for some class, accuracy minus the share of this class is below the limit",
    bound="smallest lower bound over classes, each of the difference example by example",
    rates=rates.selections,
    measured_in="together",
    needs="examples",
    pools_groups=True,
    selects_classes=False,
    lowest=-1.0,
)
