"""The decision on one clause: the bounds of every network against the limit. The worst network decides."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from fair_distill.config import Limit
from fair_distill.gate.confusion import Floats
from fair_distill.gate.evidence import Evidence
from fair_distill.gate.fewest_networks import lack_of_networks
from fair_distill.gate.findings import MOST_CULPRITS, ROUNDING, clipped, signed_limit
from fair_distill.gate.metrics import PredictionMetric
from fair_distill.gate.network_predictions import NetworkPredictions
from fair_distill.gate.noise_floor import Floor
from fair_distill.gate.remedies import BEYOND, evidence_remedy, value_remedy
from fair_distill.gate.sentences import outcome_sentence
from fair_distill.gate.set_kind import SetKind
from fair_distill.gate.verdict import Culprit, Finding, Outcome


def decide(
    limit: Limit,
    metric: PredictionMetric,
    evidence: Sequence[Evidence],
    predictions: Sequence[NetworkPredictions],
    floors: Sequence[Floor],
    *,
    alpha: float | None,
    kind: SetKind = "unknown",
) -> Finding:
    """Compare the evidence of every network with the limit of a clause.

    PASS if every comparison of every network has a bound at level alpha within the limit. A set that violates the
    limit has to pass by chance in the comparison where it does, so the risk is at most alpha without a correction
    (intersection-union test). FAIL if Holm's test over all comparisons rejects "the limit is satisfied" at level alpha.

    Parameters
    ----------
    evidence, predictions, floors : one entry per network
    alpha : None decides by the values themselves
    kind : how the set was made, for remedies
    """
    sign, number = signed_limit(limit)
    bounds = [_bound(each, sign, alpha) for each in evidence]
    not_satisfied = [~(bound <= number + ROUNDING) for bound in bounds]  # NaN satisfies no limit
    simultaneous, violated = (None, not_satisfied) if alpha is None else _holm(evidence, sign, number, alpha)
    outcome: Outcome = "pass"
    if any(comparisons.any() for comparisons in not_satisfied):
        outcome = "fail" if any(comparisons.any() for comparisons in violated) else "inconclusive"
    culpable = violated if outcome == "fail" else not_satisfied
    if outcome == "inconclusive":
        lacking = lack_of_networks(limit, metric, predictions, alpha)
        if lacking is not None:
            return lacking

    worst = max(range(len(evidence)), key=lambda i: (bool(culpable[i].any()), float(bounds[i].max()), -i))
    decisive = evidence[worst]
    # Values come before bounds: where a value itself is over the limit, more examples do not help.
    order = np.lexsort((-bounds[worst], -sign * decisive.values))
    culprits = tuple(
        _culprit(limit, metric, outcome, decisive, int(j), predictions[worst], alpha=alpha, kind=kind)
        for j in order
        if culpable[worst][j]
    )[:MOST_CULPRITS]
    bound = violating_bound = None
    if simultaneous is not None:
        bound = clipped(limit, sign * float(bounds[worst].max()), lowest=metric.lowest)
        violating_bound = clipped(limit, sign * float(simultaneous[worst].max()), lowest=metric.lowest)
    sentence = outcome_sentence(
        limit,
        outcome,
        value=decisive.value,
        network=decisive.network,
        bound=bound,
        violating_bound=violating_bound,
        alpha=alpha,
    )
    if culprits:
        sentence += f"; {culprits[0].sentence}; {culprits[0].remedy}"
    return Finding(
        clause=limit.name,
        metric=limit.metric,
        network=decisive.network,
        outcome=outcome,
        value=decisive.value,
        per_seed=decisive.per_seed,
        noise=_noise(limit, metric, predictions[worst], floors[worst]),
        bound=bound,
        limit=sign * number,
        waiver=None,
        sentence=sentence,
        culprits=culprits,
    )


def _bound(evidence: Evidence, sign: float, alpha: float | None) -> Floats:
    """Return the signed bounds that must stay within the signed limit, (J,)."""
    if alpha is None:
        return sign * evidence.values
    return sign * (evidence.upper if sign > 0 else evidence.lower)(alpha)


def _holm(evidence: Sequence[Evidence], sign: float, number: float, alpha: float) -> tuple[list[Floats], list[Floats]]:
    """Return the simultaneous bounds on the side of a violation, and where Holm's step-down test rejects."""
    remaining = sum(each.tests * len(each.values) for each in evidence)
    rejected = [np.zeros(len(each.values), dtype=bool) for each in evidence]
    simultaneous: list[Floats] = []
    while remaining > 0:
        bounds = [sign * (each.lower if sign > 0 else each.upper)(alpha / remaining) for each in evidence]
        simultaneous = simultaneous or bounds
        new = [(bound > number + ROUNDING) & ~before for bound, before in zip(bounds, rejected, strict=True)]
        rejected = [before | newly for before, newly in zip(rejected, new, strict=True)]
        count = sum(int(newly.sum()) for newly in new)
        if count == 0:
            break
        remaining -= count
    return simultaneous, rejected


def _culprit(
    limit: Limit,
    metric: PredictionMetric,
    outcome: Outcome,
    evidence: Evidence,
    j: int,
    predictions: NetworkPredictions,
    *,
    alpha: float | None,
    kind: SetKind,
) -> Culprit:
    sign, number = signed_limit(limit)
    comparison = evidence.comparisons[j]
    measurement = metric.describe(comparison, predictions)
    value, bound = float(evidence.values[j]), None
    if alpha is not None:
        bound = clipped(limit, sign * float(_bound(evidence, sign, alpha)[j]), lowest=metric.lowest)
    remedy = value_remedy(kind, is_gap=metric.is_gap)
    if outcome == "inconclusive" and alpha is not None:
        examples, networks = evidence.half_widths(alpha)
        centre = value if evidence.centre is None else float(evidence.centre(alpha)[j])
        margin = number - sign * centre
        of_evidence = evidence_remedy(margin, (float(examples[j]), float(networks[j])))
        remedy = of_evidence if margin > 0 else f"{BEYOND}: {remedy}"
    return Culprit(
        classes=measurement.classes,
        groups=tuple(tuple(predictions.groups[g] for g in side) for side in comparison.sides),
        rates=measurement.rates,
        examples=measurement.examples,
        value=value,
        bound=bound,
        sentence=measurement.sentence,
        remedy=remedy,
    )


def _noise(limit: Limit, metric: PredictionMetric, predictions: NetworkPredictions, floor: Floor) -> float | None:
    if not metric.is_gap or limit.over:
        return None
    if limit.name == limit.metric:
        return floor(metric.value)
    comparisons = metric.comparisons(limit, predictions.classes, predictions.groups)
    return floor(partial(metric.value, comparisons=comparisons))
