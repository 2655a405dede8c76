"""How many wrong labels in the gate split would change a pass: the smallest rate of label errors of each group.

Rates are measured on labels that can be wrong. If a share ε of a group's labels are random errors, the measured rates
of the group differ from the true ones by a known amount, so a set can pass although the true rates violate the policy.

Axes: C true classes, K = C predicted classes, G groups.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fair_distill.config import Gate, Limit
from fair_distill.gate.confusion import Confusion, Floats
from fair_distill.gate.findings import ROUNDING, signed_limit
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.network_predictions import NetworkPredictions, coarser
from fair_distill.gate.references import References
from fair_distill.gate.verdict import Finding, Verdict
from fair_distill.text import percent

# The rates that are tried first; the smallest that changes the pass is then refined.
_RATES = np.arange(1, 101) * 0.005
_REFINEMENTS = 8


@dataclass(frozen=True)
class CriticalRate:
    """The smallest rate of random label errors in a group with which a pass would no longer hold.

    Attributes
    ----------
    rate : None if no rate up to one half changes the pass
    clause : the clause that the corrected rates would no longer satisfy; empty without a rate
    """

    group: str
    rate: float | None
    clause: str


def without_label_errors(counts_CK: Floats, rate: float) -> Floats:
    """Return the expected counts of a group with its true labels, given counts with random label errors.

    An error replaces the label by one of the other classes with equal probability, independently of the prediction.
    So the measured counts are M = T M*, where T is 1 − ε on the diagonal and b = ε / (C − 1) elsewhere, and the true
    counts are M* = (M − b Σ_c M_c) / (1 − ε − b). The number of each prediction does not change. By chance or because
    errors are not random, an entry of M* can be negative; it is then 0, and the others of its column are scaled.

    Parameters
    ----------
    rate : ε, below (C − 1) / C: with more errors the labels say nothing
    """
    classes = len(counts_CK)
    each = rate / (classes - 1)
    totals = counts_CK.sum(axis=0)
    corrected = np.maximum(counts_CK - each * totals, 0) / (1 - rate - each)
    sums = corrected.sum(axis=0)
    return np.asarray(corrected * np.divide(totals, sums, out=np.zeros_like(totals), where=sums > 0))


def critical_rates(
    verdict: Verdict, policy: Gate, networks: Sequence[NetworkPredictions], references: References
) -> tuple[list[CriticalRate], list[str]]:
    """Return the critical rate of each group of a set that passed, and the clauses that are not considered.

    A clause changes if its value, without the label errors of one group, is nearer to the limit than the distance
    between its value and its bound. For a clause with `over`, the same examples have the same wrong labels for the
    reference, and the change of the reference's value is subtracted. Not considered are clauses that do not read
    labels, that read probabilities, or that count single networks.

    Parameters
    ----------
    networks : the predictions of each network on the gate split
    references : the networks of the sets that clauses compare with, by name and network
    """
    considered: list[tuple[Limit, Finding]] = []
    skipped: list[str] = []
    for limit, finding in zip(policy.limits, verdict.findings, strict=True):
        if finding.outcome != "pass" or finding.value is None or _is_outside(limit, references, networks):
            skipped.append(limit.name)
        else:
            considered.append((limit, finding))
    groups = networks[0].groups
    rates = []
    for g, group in enumerate(groups):
        worst: tuple[float, str] | None = None
        for limit, finding in considered:
            rate = _critical_rate(limit, finding, g, networks, references)
            if rate is not None and (worst is None or rate < worst[0]):
                worst = rate, limit.name
        rates.append(CriticalRate(group, *(worst or (None, ""))))
    return rates, skipped


def critical_rate_sentences(rates: Sequence[CriticalRate], skipped: Sequence[str]) -> list[str]:
    """Return what the critical rates say, as lines for people."""
    lines = []
    for each in rates:
        if each.rate is None:
            lines.append(f"label errors: random errors in the labels of group {each.group!r} do not change the pass")
        else:
            lines.append(
                f"label errors: the pass would no longer hold if {percent(each.rate)} of the labels of group "
                f"{each.group!r} in the gate split were random errors ({each.clause})"
            )
    if skipped:
        lines.append(f"label errors: not considered for {', '.join(skipped)}")
    return lines


def _is_outside(limit: Limit, references: References, networks: Sequence[NetworkPredictions]) -> bool:
    if limit.metric not in PREDICTION_METRICS or limit.each_network is not None:
        return True
    if limit.over is not None and limit.over not in references:
        return True
    table = _without_probabilities(networks[0].table())
    return PREDICTION_METRICS[limit.metric].undefined(table) is not None


def _critical_rate(
    limit: Limit, finding: Finding, group: int, networks: Sequence[NetworkPredictions], references: References
) -> float | None:
    """Return the smallest rate of label errors of a group with which a clause would not pass."""
    sign, number = signed_limit(limit)
    assert finding.value is not None  # `critical_rates` skips clauses that were not measured
    bound = finding.value if finding.bound is None else finding.bound
    shifts = [_shift(limit, predictions, group) for predictions in networks]
    if limit.over is not None:
        compared = references[limit.over]
        subtracted = [_shift(limit, compared[predictions.network], group) for predictions in networks]
        shifts = [_difference(shift, reference) for shift, reference in zip(shifts, subtracted, strict=True)]

    def changes(rate: float) -> bool:
        return any(sign * (bound + shift(rate)) > number + ROUNDING for shift in shifts)

    highest = 1 - 1 / len(networks[0].classes)
    first = next((float(rate) for rate in _RATES if rate < highest and changes(float(rate))), None)
    if first is None:
        return None
    low, high = first - float(_RATES[0]), first
    for _ in range(_REFINEMENTS):
        middle = (low + high) / 2
        low, high = (low, middle) if changes(middle) else (middle, high)
    return high


def _difference(shift: Callable[[float], float], reference: Callable[[float], float]) -> Callable[[float], float]:
    return lambda rate: shift(rate) - reference(rate)


def _shift(limit: Limit, predictions: NetworkPredictions, group: int) -> Callable[[float], float]:
    """Return the change of a clause's value without the label errors of a group, as a function of their rate."""
    metric = PREDICTION_METRICS[limit.metric]
    table = _without_probabilities(predictions.table())
    coarse, groups = np.arange(len(table.groups)), table.groups
    if limit.by:
        attributes, names = predictions.attributes, predictions.attribute_names
        coarse, groups = coarser(attributes, names, limit.by, location="label errors")
    comparisons = metric.comparisons(limit, table.classes, groups)

    def value(counts: Floats) -> float:
        summed = np.zeros((len(groups), *counts.shape[1:]))
        np.add.at(summed, coarse, counts)
        return metric.value(Confusion(summed, groups, table.classes), comparisons)

    before = value(table.counts)

    def shift(rate: float) -> float:
        counts = table.counts.copy()
        counts[group] = without_label_errors(counts[group], rate)
        return value(counts) - before

    return shift


def _without_probabilities(table: Confusion) -> Confusion:
    return Confusion(table.counts, table.groups, table.classes)
