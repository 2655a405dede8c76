"""Accuracy: of all examples, of the worst group, and of the worst class-group cell."""

from dataclasses import dataclass, replace

import numpy as np

from fair_distill.gate.bounds import combined_bend, level, on_the_same
from fair_distill.gate.comparisons import Comparisons
from fair_distill.gate.confusion import Confusion, Floats
from fair_distill.gate.evidence import Evidence, matches, smallest
from fair_distill.gate.fair_sets import FairSets
from fair_distill.gate.metrics import rates
from fair_distill.gate.metrics.base import Rise
from fair_distill.gate.metrics.smallest_rate import SmallestRate, smallest_lower
from fair_distill.gate.network_predictions import NetworkPredictions


@dataclass(frozen=True, kw_only=True)
class _Accuracy(SmallestRate):
    """The share of examples that are predicted right."""

    def value(self, table: Confusion, comparisons: Comparisons | None = None) -> float:
        if comparisons is not None:
            return super().value(table, comparisons)
        # Digests of published verdicts depend on this order of summation.
        return float(np.trace(table.counts.sum(axis=0)) / table.counts.sum())


@dataclass(frozen=True, kw_only=True)
class _WorstGroupAccuracy(SmallestRate):
    """The smallest accuracy of any group. A clause is undecidable if a cell is empty, although classes are pooled."""

    def value(self, table: Confusion, comparisons: Comparisons | None = None) -> float:
        if comparisons is not None:
            return super().value(table, comparisons)
        # Digests of published verdicts depend on this order of summation.
        return float((np.trace(table.counts, axis1=1, axis2=2) / table.support.sum(axis=1)).min())

    def lack_of_examples(self, predictions: NetworkPredictions, comparisons: Comparisons, minimum: int) -> str | None:
        return super().lack_of_examples(predictions, comparisons, minimum) or predictions.table().empty_cell()


def _uplift(predictions: NetworkPredictions, reference: NetworkPredictions, comparisons: Comparisons) -> Evidence:
    """Return the difference in accuracy, example by example."""
    (comparison,) = comparisons.each
    rows = predictions.rows(comparison.rate.true_classes, comparison.first)
    right, right_by_reference = (
        matches(network, comparison.rate)[None][..., rows.indices] for network in (predictions, reference)
    )
    difference = on_the_same(right - right_by_reference, rows.clusters, treatment=predictions.treatment)
    bend = combined_bend(level(right, rows.clusters), level(right_by_reference, rows.clusters), -1)
    return smallest(predictions.network, comparisons, replace(difference, bend=bend))


def _planned_uplift(sets: FairSets, comparisons: Comparisons, alpha: float) -> Floats:
    return smallest_lower(sets.uplift(comparisons.rates[0], comparisons.sides[0][0]), alpha)


ACCURACY = _Accuracy(
    name="accuracy",
    title="Accuracy",
    short="accuracy",
    column="accuracy",
    definition="Share of examples predicted right",
    null_hypothesis="it is below the limit",
    bound="lower score bound of one rate",
    rates=rates.accuracy,
    measured_in="together",
    needs="examples",
    pools_groups=True,
    rise=Rise(_uplift, _planned_uplift),
)

WORST_GROUP_ACCURACY = _WorstGroupAccuracy(
    name="worst_group_accuracy",
    title="Accuracy in the worst-performing group",
    short="worst group",
    column="worst group",
    definition="Smallest accuracy of any group: min_g P(k = c | g)",
    null_hypothesis="some group's accuracy is below the limit",
    bound="smallest lower bound of the groups",
    rates=rates.accuracy,
    measured_in="each",
)

WORST_CELL_ACCURACY = SmallestRate(
    name="worst_cell_accuracy",
    title="Recall in the worst-performing cell",
    short="worst cell",
    definition="Smallest recall of any class in any group: min_{g,c} P(c | c, g)",
    null_hypothesis="some cell's recall is below the limit",
    bound="smallest lower bound of the cells",
    rates=rates.recalls,
    measured_in="each",
    covers_parts=True,
)
