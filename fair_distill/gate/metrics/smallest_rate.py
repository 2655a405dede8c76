"""Scores: the smallest of some rates, in all groups together or in each group."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from fair_distill.config import Limit
from fair_distill.gate.bounds import Contrasts
from fair_distill.gate.comparisons import Comparisons, Sides, rates_of_sides
from fair_distill.gate.confusion import Confusion, Floats
from fair_distill.gate.evidence import Evidence, levels, matches, smallest
from fair_distill.gate.fair_sets import FairSets
from fair_distill.gate.metrics.base import Planner, PredictionMetric
from fair_distill.gate.network_predictions import NetworkPredictions


@dataclass(frozen=True, kw_only=True)
class SmallestRate(PredictionMetric):
    """The smallest rate over the selected classes and groups, bounded from below.

    Null hypothesis: some rate is below the limit. Each rate has a lower bound at level alpha, and the smallest bound
    is compared with the limit; no correction is needed (intersection-union test).

    Attributes
    ----------
    measured_in : `each` group, or the groups `together`
    """

    measured_in: Literal["each", "together"]

    direction = "at_least"

    def sides(self, groups: Sequence[int], *, against_rest: bool = False) -> Sides:
        return ((tuple(groups), None),) if self.measured_in == "together" else tuple(((g,), None) for g in groups)

    def value(self, table: Confusion, comparisons: Comparisons | None = None) -> float:
        rates, _ = rates_of_sides(table, comparisons or self.comparisons(None, table.classes, table.groups))
        return float(rates.min())

    def evidence(self, predictions: NetworkPredictions, comparisons: Comparisons) -> Evidence:
        rates = levels(predictions, comparisons, partial(matches, predictions))
        return smallest(predictions.network, comparisons, rates)

    def planner(self, limit: Limit) -> Planner | None:
        if limit.over:
            return None if self.rise is None else self.rise.planned
        return _planned


def _planned(sets: FairSets, comparisons: Comparisons, alpha: float) -> Floats:
    return smallest_lower(sets.levels(comparisons.rates, comparisons.distinct_sides), alpha)


def smallest_lower(rates: Contrasts, alpha: float) -> Floats:
    return np.asarray(rates.lower(alpha).min(axis=-1))
