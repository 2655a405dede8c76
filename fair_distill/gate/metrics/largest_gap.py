"""Gaps: the largest difference in a rate between groups, and its rise over a reference set."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

import numpy as np

from fair_distill.config import Limit
from fair_distill.gate.bounds import Contrasts, combined_bend
from fair_distill.gate.comparisons import Comparisons, Sides, pairs_of_groups, rates_of_sides
from fair_distill.gate.confusion import Confusion, Floats
from fair_distill.gate.evidence import (
    Evidence,
    absolute_lower,
    absolute_upper,
    differences,
    half_widths,
    matches,
)
from fair_distill.gate.fair_sets import FairSets
from fair_distill.gate.metrics.base import Planner, PredictionMetric, Rise
from fair_distill.gate.network_predictions import NetworkPredictions


@dataclass(frozen=True, kw_only=True)
class Gap(PredictionMetric):
    """A metric that compares groups, bounded from above."""

    direction: ClassVar[Literal["at_most", "at_least"]] = "at_most"
    is_gap: ClassVar[bool] = True

    def sides(self, groups: Sequence[int], *, against_rest: bool = False) -> Sides:
        return pairs_of_groups(groups, against_rest=against_rest)


@dataclass(frozen=True, kw_only=True)
class LargestGap(Gap):
    """The largest difference of any rate between any two groups.

    Null hypothesis: some rate differs between two groups by more than the limit. Each difference has an upper bound
    at level alpha, and the largest bound is compared with the limit; no correction is needed (intersection-union test).
    """

    def value(self, table: Confusion, comparisons: Comparisons | None = None) -> float:
        return float(self._gaps(table, comparisons).max())

    def _gaps(self, table: Confusion, comparisons: Comparisons | None) -> Floats:
        """Return the largest difference of each rate, (rates,)."""
        if comparisons is None:
            return np.asarray(np.ptp(table.all_rates(self.rates), axis=1))
        first, second = rates_of_sides(table, comparisons)
        assert second is not None
        return np.asarray(np.abs(first - second).max(axis=1))

    def evidence(self, predictions: NetworkPredictions, comparisons: Comparisons) -> Evidence:
        contrasts = differences(predictions, comparisons, partial(matches, predictions))
        values = np.abs(contrasts.value)
        return Evidence(
            network=predictions.network,
            value=float(values.max()),
            per_seed=float(np.abs(contrasts.seeds).max(axis=0).mean()),
            values=values,
            comparisons=comparisons.each,
            upper=absolute_upper(contrasts),
            lower=absolute_lower(contrasts),
            half_widths=half_widths(contrasts),
            tests=2,
        )

    def planner(self, limit: Limit) -> Planner | None:
        if limit.over:
            return None if self.rise is None else self.rise.planned
        return _planned


def _planned(sets: FairSets, comparisons: Comparisons, alpha: float) -> Floats:
    contrasts = sets.differences(comparisons.rates, comparisons.sides)
    return np.asarray(absolute_upper(contrasts)(alpha).max(axis=-1))


def _largest_rise(predictions: NetworkPredictions, reference: NetworkPredictions, comparisons: Comparisons) -> Evidence:
    """Return how much larger each difference d is than the reference's d': |d| - |d'|.

    The largest rise bounds the rise of the largest gap. |d| - |d'| is the maximum over signs s of the minimum over
    signs r of s d - r d', and it is at most the maximum of s d. To satisfy a limit, one of the three suffices for each
    s, so each is bounded at alpha / 3. The third, the gap itself, matters if networks of the reference scatter widely.
    To show a violation, both r are needed for one s; these are two tests.
    """
    gaps = differences(predictions, comparisons, partial(matches, predictions))
    fall = differences(
        predictions, comparisons, lambda rate: matches(predictions, rate) - matches(reference, rate), lowest=-1
    )
    total = differences(
        predictions, comparisons, lambda rate: matches(predictions, rate) + matches(reference, rate), scale=2.0
    )
    reference_gaps = differences(reference, comparisons, partial(matches, reference))
    fall = replace(fall, bend=combined_bend(gaps, reference_gaps, -1))
    total = replace(total, bend=combined_bend(gaps, reference_gaps, 1))
    seeds, reference_seeds = (fall.seeds + total.seeds) / 2, (total.seeds - fall.seeds) / 2
    values = np.abs(seeds.mean(axis=-1)) - np.abs(reference_seeds.mean(axis=-1))
    candidates = (fall, total, gaps)

    def upper(alpha: float) -> Floats:
        third = alpha / 3
        positive = np.min([contrasts.upper(third) for contrasts in candidates], axis=0)
        negative = np.min([-contrasts.lower(third) for contrasts in candidates], axis=0)
        return np.asarray(np.maximum(positive, negative))

    def lower(alpha: float) -> Floats:
        positive = np.minimum(fall.lower(alpha), total.lower(alpha))
        negative = np.minimum(-fall.upper(alpha), -total.upper(alpha))
        return np.asarray(np.maximum(positive, negative))

    def of_tightest(alpha: float, of_candidates: Sequence[Floats]) -> Floats:
        """Select for each comparison the entry of the candidate with the smallest bound."""
        bounds = np.stack([absolute_upper(contrasts)(alpha / 3) for contrasts in candidates])
        return np.asarray(np.take_along_axis(np.stack(of_candidates), bounds.argmin(axis=0)[None], axis=0)[0])

    def half_widths_of_tightest(alpha: float) -> tuple[Floats, Floats]:
        widths = [half_widths(contrasts)(alpha / 3) for contrasts in candidates]
        return (
            of_tightest(alpha, [examples for examples, _ in widths]),
            of_tightest(alpha, [scatter for _, scatter in widths]),
        )

    return Evidence(
        network=predictions.network,
        value=float(values.max()),
        per_seed=float((np.abs(seeds) - np.abs(reference_seeds)).max(axis=0).mean()),
        values=values,
        comparisons=comparisons.each,
        upper=upper,
        lower=lower,
        half_widths=half_widths_of_tightest,
        tests=2,
        centre=lambda alpha: of_tightest(alpha, [np.abs(contrasts.value) for contrasts in candidates]),
    )


def _planned_rise(sets: FairSets, comparisons: Comparisons, alpha: float) -> Floats:
    """Bound the rise by the difference of two gaps or by the gap itself, whichever is smaller; each at alpha / 3."""
    third = alpha / 3
    candidate: Contrasts = sets.differences(comparisons.rates, comparisons.sides)
    reference = sets.differences(comparisons.rates, comparisons.sides)
    # Both sets have the same cells and are simulated independently, so their examples contribute the same variance.
    rise = replace(candidate, seeds=candidate.seeds - reference.seeds, scale=np.sqrt(2))
    return np.asarray(np.minimum(absolute_upper(rise)(third), absolute_upper(candidate)(third)).max(axis=-1))


LARGEST_RISE = Rise(_largest_rise, _planned_rise)
