"""Balanced accuracy: the mean recall of the classes, so that rare classes count as much as frequent ones."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from fair_distill.config import Limit
from fair_distill.gate.comparisons import Comparison, Comparisons, rates_of_sides
from fair_distill.gate.confusion import Confusion, Floats, Rate
from fair_distill.gate.evidence import Evidence, levels, matches, smallest
from fair_distill.gate.fair_sets import FairSets
from fair_distill.gate.mean_of_levels import mean_of_levels
from fair_distill.gate.metrics import rates
from fair_distill.gate.metrics.base import Measurement, Planner
from fair_distill.gate.metrics.smallest_rate import SmallestRate, smallest_lower
from fair_distill.gate.network_predictions import NetworkPredictions
from fair_distill.gate.sentences import groups_phrase, rates_sentence


@dataclass(frozen=True, kw_only=True)
class _MeanRecall(SmallestRate):
    """The mean recall of the selected classes, of all groups together or of the worst group.

    Null hypothesis: the mean recall of some group is below the limit. Each class has its own score bound, and the mean
    has the bound of `gate.mean_of_levels`.
    """

    def value(self, table: Confusion, comparisons: Comparisons | None = None) -> float:
        if comparisons is None and self.measured_in == "each":
            return float(table.all_rates(self.rates).mean(axis=0).min())
        recalls, _ = rates_of_sides(table, comparisons or self.comparisons(None, table.classes, table.groups))
        return float(recalls.mean(axis=0).min())

    def evidence(self, predictions: NetworkPredictions, comparisons: Comparisons) -> Evidence:
        recalls = levels(predictions, comparisons, partial(matches, predictions))
        by_side = recalls[np.arange(len(recalls.seeds)).reshape(len(comparisons.rates), -1).T]
        means = mean_of_levels(by_side, clusters_are_shared=predictions.clusters_span_classes)
        classes = tuple(rate.true_classes[0] for rate in comparisons.rates)
        return smallest(predictions.network, Comparisons((Rate(classes, None),), comparisons.sides), means)

    def planner(self, limit: Limit) -> Planner | None:
        return _planned

    def describe(self, comparison: Comparison, predictions: NetworkPredictions) -> Measurement:
        classes, side = comparison.rate.true_classes, comparison.first
        recalls = predictions.table().counts_of(rates.recalls(classes, len(predictions.classes)))
        right, support = (counts[:, list(side)].sum(axis=1) for counts in recalls)
        each = right / support
        worst = int(each.argmin())
        in_worst = rates_sentence(
            Comparison(Rate((classes[worst],), classes[worst]), side, None),
            (float(each[worst]),),
            (round(float(support[worst])),),
            predictions,
        )
        return Measurement(
            classes=tuple(predictions.classes[c] for c in classes),
            rates=(float(each.mean()),),
            examples=(round(float(support.sum())),),
            sentence=f"the mean recall of {len(classes)} classes is {100 * each.mean():.1f} % in "
            f"{groups_phrase(side, predictions.groups)}; {in_worst}",
        )


def _planned(sets: FairSets, comparisons: Comparisons, alpha: float) -> Floats:
    return smallest_lower(sets.means(comparisons.rates, comparisons.distinct_sides), alpha)


BALANCED_ACCURACY = _MeanRecall(
    name="balanced_accuracy",
    title="Balanced accuracy",
    short="balanced accuracy",
    column="balanced",
    definition="Mean recall of the classes, over all groups: mean_c P(c | c). Rare classes count as much as others",
    null_hypothesis="the mean recall is below the limit",
    bound="lower bound of the mean: one score bound for each class, combined in squares",
    rates=rates.recalls,
    measured_in="together",
    pools_groups=True,
)

WORST_GROUP_BALANCED_ACCURACY = _MeanRecall(
    name="worst_group_balanced_accuracy",
    title="Balanced accuracy in the worst-performing group",
    short="worst group, balanced",
    definition="Smallest mean recall of any group: min_g mean_c P(c | c, g)",
    null_hypothesis="some group's mean recall is below the limit",
    bound="smallest lower bound of the groups",
    rates=rates.recalls,
    measured_in="each",
)
