"""Equalized odds: differences between groups in the predictions for examples of one true class.

"max Equalized Odds" (EODM) and "average" (EODA) of FairDD (Zhou et al., 2025) and COBRA (Moslemi et al., 2026) are
`eo_diag_max` and `eo_diag_mean`. With two classes `eo_diag_max` is fairlearn's equalized odds difference; with more
classes it ignores which wrong class is predicted, and `eo_full_max` does not.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from fair_distill.config import Limit
from fair_distill.gate.choices import MeanOfLargest
from fair_distill.gate.comparisons import Comparisons
from fair_distill.gate.confusion import Confusion, Floats
from fair_distill.gate.evidence import Evidence, absolute_lower, cluster_influences, differences, matches
from fair_distill.gate.fair_sets import FairSets
from fair_distill.gate.metrics import rates
from fair_distill.gate.metrics.base import Planner
from fair_distill.gate.metrics.largest_gap import LARGEST_RISE, LargestGap
from fair_distill.gate.network_predictions import NetworkPredictions


@dataclass(frozen=True, kw_only=True)
class _MeanGap(LargestGap):
    """The largest difference of each rate between groups, averaged over rates.

    Null hypothesis: for some choice of a pair of groups per rate, the mean of the differences exceeds the limit. Each
    choice is one mean with a bound at level alpha, and the largest of these bounds is compared with the limit
    (intersection-union test over the choices), see `gate.choices`.
    """

    def value(self, table: Confusion, comparisons: Comparisons | None = None) -> float:
        return float(self._gaps(table, comparisons).mean())

    def evidence(self, predictions: NetworkPredictions, comparisons: Comparisons) -> Evidence:
        """Return one number, named by the rate and the pair of groups that differ most."""
        values = partial(matches, predictions)
        contrasts = differences(predictions, comparisons, values)
        shape = (len(comparisons.rates), len(comparisons.sides))
        moves = cluster_influences(predictions, comparisons, values) if predictions.clusters_span_classes else None
        mean = MeanOfLargest(contrasts, shape[0], moves)

        def half_widths(alpha: float) -> tuple[Floats, Floats]:
            parts = mean.parts(alpha)
            return parts.examples[None], parts.seeds[None]

        def lower(alpha: float) -> Floats:
            each = absolute_lower(contrasts)(alpha / (2 * shape[0] * shape[1]))
            return np.array([np.maximum(each, 0).reshape(shape).max(axis=1).mean()])

        return Evidence(
            network=predictions.network,
            value=float(mean.value),
            per_seed=float(np.abs(contrasts.seeds).reshape(*shape, -1).max(axis=1).mean()),
            values=mean.value[None],
            comparisons=(comparisons.each[int(np.abs(contrasts.value).argmax())],),
            upper=lambda alpha: mean.upper(alpha)[None],
            lower=lower,
            half_widths=half_widths,
            centre=lambda alpha: mean.parts(alpha).centre[None],
        )

    def planner(self, limit: Limit) -> Planner | None:
        return None if limit.over else _planned_mean


def _planned_mean(sets: FairSets, comparisons: Comparisons, alpha: float) -> Floats:
    contrasts = sets.differences(comparisons.rates, comparisons.sides)
    return MeanOfLargest(contrasts, len(comparisons.rates)).upper(alpha)


EO_DIAG_MAX = LargestGap(
    name="eo_diag_max",
    title="Largest gap between groups in any class",
    short="largest gap (EODM)",
    column="EODM",
    definition="Largest gap in recall between groups, over classes: max_c [max_g P(c|c,g) - min_g P(c|c,g)]",
    null_hypothesis="some class and pair of groups differ by more than the limit",
    bound="largest upper bound of these differences, each at alpha (intersection-union)",
    rates=rates.recalls,
    rise=LARGEST_RISE,
    covers_parts=True,
)

EO_DIAG_MEAN = _MeanGap(
    name="eo_diag_mean",
    title="Gap between groups, average class",
    short="average gap (EODA)",
    column="EODA",
    definition="Gap in recall between groups, averaged over classes: mean_c [max_g P(c|c,g) - min_g P(c|c,g)]",
    null_hypothesis="for some choice of a pair of groups per class, the mean difference is above the limit",
    bound="largest upper bound of these means, each at alpha (intersection-union over the choices)",
    rates=rates.recalls,
)

EO_FULL_MAX = LargestGap(
    name="eo_full_max",
    title="Largest gap in any kind of answer",
    short="largest gap (full)",
    definition="Largest gap in the rate of any prediction for any class: "
    "max_{c,k} [max_g P(k|c,g) - min_g P(k|c,g)]; 0 only if predictions are independent of the group given the class",
    null_hypothesis="some class, prediction and pair of groups differ by more than the limit",
    bound="as `eo_diag_max`",
    rates=rates.confusions,
    rise=LARGEST_RISE,
    covers_parts=True,
)

EO_OVR_MAX = LargestGap(
    name="eo_ovr_max",
    title="Largest gap in true or false positives",
    short="largest gap (1 v rest)",
    definition="Largest gap in the true or false positive rate of any class against the rest: per class fairlearn's "
    "equalized odds difference. The false positive rate of a group depends on its mix of classes",
    null_hypothesis="some class, rate and pair of groups differ by more than the limit",
    bound="as `eo_diag_max`",
    rates=rates.one_against_rest,
    rise=LARGEST_RISE,
    covers_parts=True,
)
