"""Calibration error in bins of confidence: how far confidence is from accuracy, for confidence of every height.

Guo et al., "On Calibration of Modern Neural Networks" (2017), call it the expected calibration error. A network that
is 15 points too sure of one half of the examples and 15 points too unsure of the other half has the error 0.15.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from fair_distill.gate.bounds import Contrasts
from fair_distill.gate.combinations import Combinations
from fair_distill.gate.comparisons import Comparison, Comparisons, Side, Sides
from fair_distill.gate.confusion import BINS, Confusion, Floats, bins_of
from fair_distill.gate.evidence import Evidence
from fair_distill.gate.metrics import rates
from fair_distill.gate.metrics.base import Measurement, PredictionMetric
from fair_distill.gate.network_predictions import NetworkPredictions
from fair_distill.gate.sentences import groups_phrase


@dataclass(frozen=True, kw_only=True)
class _CalibrationError(PredictionMetric):
    """The largest calibration error of a group: max_g sum_b |E[(p - right) 1{p in bin b} | g]|.

    p is the probability of the predicted class, and the 10 bins have equal width. The error of a network without any
    error is 0; a measured error is larger, because the absolute values of bins add up chance.

    Null hypothesis: the error of some group is above the limit. The error is the largest of the means of
    s_b (p - right) over all choices of a sign s_b per bin. Each choice is one mean with a bound at level alpha, and the
    largest of these bounds is compared with the limit (intersection-union test over signs and groups).
    """

    direction = "at_most"

    def sides(self, groups: Sequence[int], *, against_rest: bool = False) -> Sides:
        return tuple(((g,), None) for g in groups)

    def value(self, table: Confusion, comparisons: Comparisons | None = None) -> float:
        assert table.excess is not None
        each = np.abs(table.excess).sum(axis=1) / table.support.sum(axis=1)
        return float((each if comparisons is None else each[[side[0] for side, _ in comparisons.sides]]).max())

    def undefined(self, table: Confusion) -> str | None:
        if table.counts.sum() and table.excess is None:
            return "the predictions come without probabilities"
        return super().undefined(table)

    def evidence(self, predictions: NetworkPredictions, comparisons: Comparisons) -> Evidence:
        errors = [
            _BinnedError.of(predictions, comparisons.rates[0].true_classes, side) for side, _ in comparisons.sides
        ]
        values = np.array([float(np.abs(error.bins.value).sum()) for error in errors])
        of_seeds = np.stack([np.abs(error.bins.seeds).sum(axis=0) for error in errors])

        def half_widths(alpha: float) -> tuple[Floats, Floats]:
            worst = [error.widest(alpha) for error in errors]
            return (
                np.concatenate([contrast.examples_above(alpha) for contrast in worst]),
                np.concatenate([contrast.seeds_above(alpha) for contrast in worst]),
            )

        return Evidence(
            network=predictions.network,
            value=float(values.max()),
            per_seed=float(of_seeds.max(axis=0).mean()),
            values=values,
            comparisons=comparisons.each,
            upper=lambda alpha: np.concatenate([error.widest(alpha).upper(alpha) for error in errors]),
            lower=lambda alpha: np.array([error.lower(alpha) for error in errors]),
            half_widths=half_widths,
            centre=lambda alpha: np.concatenate([error.widest(alpha).value for error in errors]),
        )

    def describe(self, comparison: Comparison, predictions: NetworkPredictions) -> Measurement:
        table = predictions.table()
        excess, count = _excess(table, comparison.first), round(float(table.support[list(comparison.first)].sum()))
        error, largest = float(np.abs(excess).sum()), int(np.abs(excess).argmax())
        direction = "above" if excess[largest] > 0 else "below"
        low, high = largest / BINS, (largest + 1) / BINS
        return Measurement(
            classes=(),
            rates=(error,),
            examples=(count,),
            sentence=f"confidence and accuracy differ by {100 * error:.1f} points over {count:,} examples of "
            f"{groups_phrase(comparison.first, predictions.groups)}; confidence between {low:.1f} and {high:.1f} is "
            f"{direction} accuracy and contributes {100 * abs(excess[largest]):.1f} points",
        )


@dataclass(frozen=True, eq=False)
class _BinnedError:
    """The calibration error of some examples.

    Attributes
    ----------
    bins : the mean of (p - right) 1{p in bin b} of each bin with predictions, (B,)
    signed : the mean of s_b (p - right) for every choice of signs, (2^B,)
    """

    bins: Contrasts
    signed: Contrasts

    @classmethod
    def of(cls, predictions: NetworkPredictions, classes: tuple[int, ...], side: Side) -> "_BinnedError":
        rows = predictions.rows(classes, side)
        probability = predictions.probability[:, rows.indices]
        excess = probability - (predictions.predicted[:, rows.indices] == predictions.labels[rows.indices])
        bins = bins_of(probability)
        used = np.unique(bins)
        values = np.where(bins == used[:, None, None], excess, 0.0)
        combinations = Combinations.of(values, rows.clusters, predictions.treatment)
        signs = np.array(list(product((1.0, -1.0), repeat=len(used))))
        return cls(combinations.sums(np.eye(len(used))), combinations.sums(signs))

    def widest(self, alpha: float) -> Contrasts:
        """Return the choice of signs that has the largest upper bound, (1,)."""
        return self.signed[[int(self.signed.upper(alpha).argmax())]]

    def lower(self, alpha: float) -> float:
        """Return a lower bound: the sum of the lower bounds of bins, or that of the overall excess if it is larger.

        Each of the two takes half of the risk. The sum divides it between both signs of all bins.
        """
        each = alpha / (4 * len(self.bins.value))
        of_bins = np.maximum(self.bins.lower(each), -self.bins.upper(each))
        overall = self.signed[[0]]
        return float(max(np.maximum(of_bins, 0).sum(), overall.lower(alpha / 4)[0], -overall.upper(alpha / 4)[0]))


def _excess(table: Confusion, side: Side) -> Floats:
    """Return the mean of (p - right) 1{p in bin b} over the examples of a side, (B,)."""
    assert table.excess is not None
    groups = list(side)
    return np.asarray(table.excess[groups].sum(axis=0) / table.support[groups].sum())


CALIBRATION_ERROR = _CalibrationError(
    name="calibration_error",
    title="Largest calibration error of a group",
    short="calibration error",
    definition=f"Largest calibration error of any group in {BINS} bins of confidence of equal width: "
    "max_g sum_b |E[(p - right) 1{p in b} | g]| with p the probability of the predicted class. Errors of opposite "
    "sign in different bins add up",
    null_hypothesis="some group's error is above the limit",
    bound="largest upper bound over groups and over the signs of bins, each at alpha (intersection-union)",
    rates=rates.accuracy,
    needs="groups",
    selects_classes=False,
    covers_parts=True,
)
