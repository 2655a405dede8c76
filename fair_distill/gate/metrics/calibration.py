"""Calibration: how much the distance between confidence and accuracy differs between groups.

Errors of opposite sign cancel within a group: a network that is 15 points too sure of one half of the examples and 15
points too unsure of the other half has no error here. `calibration_error` adds up the errors of bins of confidence.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from fair_distill.gate.comparisons import Comparison, Comparisons, Side, pooled
from fair_distill.gate.confusion import Confusion, Floats, Rate
from fair_distill.gate.evidence import (
    Evidence,
    absolute_upper,
    differences,
    half_widths,
    levels,
    matches,
)
from fair_distill.gate.metrics import rates
from fair_distill.gate.metrics.base import Measurement
from fair_distill.gate.metrics.largest_gap import Gap
from fair_distill.gate.network_predictions import NetworkPredictions
from fair_distill.gate.sentences import groups_phrase


@dataclass(frozen=True, kw_only=True)
class _CalibrationGap(Gap):
    """The largest minus the smallest calibration error of a group.

    The calibration error of a group is |mean probability of the predicted class - accuracy|.

    Null hypothesis: the signed errors of two groups differ by more than the limit. Differences of signed errors are
    never smaller than differences of absolute errors, so their upper bounds hold for both.
    """

    def value(self, table: Confusion, comparisons: Comparisons | None = None) -> float:
        assert table.confidence is not None
        sizes = table.support.sum(axis=1)
        errors = np.abs(_signed_sums(table)) / sizes
        if comparisons is None:
            return float(errors.max() - errors.min())

        def error(side: Side | None) -> Floats:
            return pooled(errors * sizes, sizes, side or ())

        return float(max(abs(error(a) - error(b)) for a, b in comparisons.sides))

    def undefined(self, table: Confusion) -> str | None:
        if table.counts.sum() and table.confidence is None:
            return "the predictions come without probabilities"
        return super().undefined(table)

    def evidence(self, predictions: NetworkPredictions, comparisons: Comparisons) -> Evidence:
        error = partial(_errors, predictions)
        signed = differences(predictions, comparisons, error, lowest=-1)
        of_sides = levels(predictions, comparisons, error, lowest=-1)
        sides = comparisons.distinct_sides
        first = np.array([sides.index(a) for a, _ in comparisons.sides])
        second = np.array([sides.index(b) for _, b in comparisons.sides if b])
        values = np.abs(np.abs(of_sides.value)[first] - np.abs(of_sides.value)[second])
        errors_of_seeds = np.abs(of_sides.seeds)

        def lower(alpha: float) -> Floats:
            low, high = of_sides.lower(alpha / 4), of_sides.upper(alpha / 4)
            least, most = np.maximum(np.maximum(low, -high), 0), np.maximum(high, -low)
            return np.asarray(np.maximum(least[first] - most[second], least[second] - most[first]))

        return Evidence(
            network=predictions.network,
            value=float(values.max()),
            per_seed=float(np.abs(errors_of_seeds[first] - errors_of_seeds[second]).max(axis=0).mean()),
            values=values,
            comparisons=comparisons.each,
            upper=absolute_upper(signed),
            lower=lower,
            half_widths=half_widths(signed),
            tests=2,
        )

    def describe(self, comparison: Comparison, predictions: NetworkPredictions) -> Measurement:
        table = predictions.table()
        sums, support = _signed_sums(table), table.support.sum(axis=1)
        sides = [list(side) for side in comparison.sides]
        errors = tuple(float(sums[side].sum() / support[side].sum()) for side in sides)
        examples = tuple(round(float(support[side].sum())) for side in sides)
        each = [
            f"{100 * error:+.1f} points over {size:,} examples of {groups_phrase(side, predictions.groups)}"
            for error, size, side in zip(errors, examples, comparison.sides, strict=True)
        ]
        return Measurement((), errors, examples, f"confidence minus accuracy is {' and '.join(each)}")


def _signed_sums(table: Confusion) -> Floats:
    """Return the sum of probabilities minus the correct predictions of each group, (G,)."""
    assert table.confidence is not None
    return np.asarray(table.confidence.sum(axis=1) - np.trace(table.counts, axis1=1, axis2=2))


def _errors(predictions: NetworkPredictions, rate: Rate) -> Floats:
    """Return probability minus correctness of each prediction, (S, N)."""
    return np.asarray(predictions.probability - matches(predictions, rate))


CALIBRATION_GAP = _CalibrationGap(
    name="calibration_gap",
    title="Gap in how far confidence is off",
    short="calibration gap",
    definition="Largest minus smallest calibration error of any group, "
    "with the error |mean probability of the predicted class - accuracy|. Errors of opposite sign cancel within a "
    "group; `calibration_error` adds them up",
    null_hypothesis="the signed errors of two groups differ by more than the limit",
    bound="largest upper bound of the differences of *signed* errors, "
    "which are never smaller than those of their absolute values",
    rates=rates.accuracy,
    needs="groups",
    selects_classes=False,
    covers_parts=True,
)
