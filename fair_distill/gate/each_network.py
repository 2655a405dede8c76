"""Clauses with `each_network`: with confidence, at least a share of the networks trained on the set satisfies a limit.

Other clauses judge the mean rate over networks, but a consumer trains one network. A set whose networks are fair on
average may have a gap above the limit in many of them.

A network satisfies the clause if every comparison of this network does. Its own bounds are over the choice of examples
alone, because this network is the one that is judged. `gate.tolerance` derives how many networks must satisfy the
clause by these bounds; nothing is assumed about how networks vary. With `over`, the network and the reference's network
with the same seed are one pair. Pairs are independent of each other, and the statement is about the share of pairs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fair_distill.config import Limit
from fair_distill.gate.confusion import Floats
from fair_distill.gate.evidence import Evidence
from fair_distill.gate.findings import MOST_CULPRITS, ROUNDING, clipped, signed_limit, undecided
from fair_distill.gate.metrics import PredictionMetric
from fair_distill.gate.network_predictions import NetworkPredictions, of_seed
from fair_distill.gate.remedies import BEYOND, value_remedy
from fair_distill.gate.sentences import relation_phrase
from fair_distill.gate.set_kind import SetKind
from fair_distill.gate.tolerance import Tolerance, networks_needed, tolerance, violations_needed
from fair_distill.gate.verdict import Culprit, Finding, Outcome

# Smallest number of sets and largest number of networks that `gate plan` simulates for one bound.
_FEWEST_PLANNED, _MOST_PLANNED = 100, 10_000
# The worst outcome of an architecture decides.
_ORDER: tuple[Outcome, ...] = ("fail", "insufficient", "inconclusive", "pass")


@dataclass(frozen=True, eq=False)
class Counts:
    """The networks of one architecture, one by one. S networks; larger signed numbers are worse.

    Attributes
    ----------
    evidence : of each network
    values : the signed metric of each network, (S,)
    bounds : each network's own signed bound on the side of the limit, (S,); the values if there is no `rule`
    violates : whether each network is shown to violate the limit, (S,)
    rule, failing : how many networks must satisfy the limit for a pass and violate it for a fail; None if there are too
        few networks, or in `mode: point`
    """

    predictions: NetworkPredictions
    evidence: tuple[Evidence, ...]
    values: Floats
    bounds: Floats
    violates: NDArray[np.bool_]
    rule: Tolerance | None
    failing: Tolerance | None

    def value(self, share: float) -> float:
        """Return the smallest signed limit that `share` of the measured networks satisfy."""
        count = int(np.ceil(share * len(self.values) - ROUNDING))
        return float(np.sort(self.values)[count - 1])

    def bound(self) -> float:
        """Return the smallest signed limit that would pass."""
        return np.inf if self.rule is None else float(np.sort(self.bounds)[self.rule.needed - 1])


def decide_each_network(
    limit: Limit,
    metric: PredictionMetric,
    predictions: Sequence[NetworkPredictions],
    references: Sequence[NetworkPredictions | None],
    *,
    alpha: float | None,
    kind: SetKind = "unknown",
) -> Finding:
    """Decide a clause with `each_network`.

    PASS if enough networks of every architecture satisfy the limit. FAIL if enough networks of some architecture are
    shown to violate it; each of A architectures is tested at alpha / A. INSUFFICIENT if there are too few networks for
    a pass, whatever they predict. The value of the finding is the smallest limit that the share of the measured
    networks satisfies, and its bound is the smallest limit that would pass.

    Parameters
    ----------
    predictions, references : one entry per architecture; references are None without `over`
    alpha : None decides by the values, so by the share of the measured networks that satisfy the limit
    kind : how the set was made, for remedies
    """
    assert limit.each_network is not None
    share, (sign, number) = limit.each_network, signed_limit(limit)
    counts = [
        _count(limit, metric, own, reference, alpha=alpha, architectures=len(predictions))
        for own, reference in zip(predictions, references, strict=True)
    ]
    outcomes = [_outcome(each, share, number, alpha) for each in counts]
    worst = min(
        range(len(counts)),
        key=lambda i: (_ORDER.index(outcomes[i]), -counts[i].bound(), -counts[i].value(share), i),
    )
    each, outcome = counts[worst], outcomes[worst]
    network = each.predictions.network
    if outcome == "insufficient":
        assert alpha is not None
        return undecided(limit, network, _too_few(share, each.predictions, alpha))
    value = sign * each.value(share)
    bound = None if each.rule is None else clipped(limit, sign * each.bound(), lowest=metric.lowest)
    culprits = () if outcome == "pass" else _culprits(limit, metric, each, outcome, kind)
    sentence = f"{limit.name}: {value:.3f} ({network}) {_sentence(limit, each, outcome, alpha)}"
    if culprits:
        sentence += f"; {culprits[0].sentence}; {culprits[0].remedy}"
    return Finding(
        clause=limit.name,
        metric=limit.metric,
        network=network,
        outcome=outcome,
        value=value,
        per_seed=sign * float(each.values.mean()),
        noise=None,
        bound=bound,
        limit=sign * number,
        waiver=None,
        sentence=sentence,
        culprits=culprits,
    )


def _count(
    limit: Limit,
    metric: PredictionMetric,
    predictions: NetworkPredictions,
    reference: NetworkPredictions | None,
    *,
    alpha: float | None,
    architectures: int,
) -> Counts:
    assert limit.each_network is not None
    sign, number = signed_limit(limit)
    seeds = range(predictions.seeds)
    evidence = tuple(
        metric.gather(limit, of_seed(predictions, s), None if reference is None else of_seed(reference, s))
        for s in seeds
    )
    values = np.array([float((sign * each.values).max()) for each in evidence])
    rule = failing = None
    bounds, violates = values, ~(values <= number + ROUNDING)
    if alpha is not None:
        rule = tolerance(predictions.seeds, limit.each_network, alpha)
        failing = violations_needed(predictions.seeds, limit.each_network, alpha / architectures)
        violates = np.array([failing is not None and _violates(each, sign, number, failing.alpha) for each in evidence])
    if rule is not None:
        bounds = np.array(
            [float((sign * (each.upper if sign > 0 else each.lower)(rule.alpha)).max()) for each in evidence]
        )
    return Counts(predictions, evidence, values, bounds, violates, rule, failing)


def _violates(evidence: Evidence, sign: float, number: float, alpha: float) -> bool:
    """Return whether some comparison of one network violates the limit, at level alpha over all its comparisons."""
    each = alpha / (evidence.tests * len(evidence.values))
    return bool((sign * (evidence.lower if sign > 0 else evidence.upper)(each) > number + ROUNDING).any())


def _outcome(counts: Counts, share: float, number: float, alpha: float | None) -> Outcome:
    if alpha is None:
        return "pass" if counts.value(share) <= number + ROUNDING else "fail"
    if counts.failing is not None and counts.violates.sum() >= counts.failing.needed:
        return "fail"
    if counts.rule is None:
        return "insufficient"
    return "pass" if counts.bound() <= number + ROUNDING else "inconclusive"


def _sentence(limit: Limit, counts: Counts, outcome: Outcome, alpha: float | None) -> str:
    """Return the rest of the sentence of a finding, after its value and its network."""
    assert limit.each_network is not None
    sign, number = signed_limit(limit)
    relation = relation_phrase(outcome, is_ceiling=limit.at_most is not None)
    networks = counts.predictions.seeds
    sentence = f"{relation} the limit {sign * number:.3f}"
    if alpha is None:
        return f"{sentence} (mode: point, no confidence)"
    confidence, share = f"{100 * (1 - alpha):.1f} % confidence", f"{100 * limit.each_network:g} %"
    if outcome == "fail":
        assert counts.failing is not None
        return (
            f"{sentence}: {counts.violates.sum()} of {networks} networks are shown to violate it and "
            f"{counts.failing.needed} suffice to show with {confidence} that fewer than {share} satisfy it"
        )
    assert counts.rule is not None
    satisfied = int((counts.bounds <= number + ROUNDING).sum())
    return (
        f"{sentence}: {satisfied} of {networks} networks are shown to satisfy it and {counts.rule.needed} are needed "
        f"to show with {confidence} that {share} do"
    )


def _too_few(share: float, predictions: NetworkPredictions, alpha: float) -> str:
    needed = networks_needed(share, alpha)
    seeds = "more seeds than can be trained" if needed is None else f"{needed:,} seeds"
    return (
        f"too little evidence, {predictions.network} was trained with {predictions.seeds} seeds and {seeds} without a "
        f"violation are needed to show with {100 * (1 - alpha):.1f} % confidence that {100 * share:g} % of networks "
        "satisfy the limit; raise params.yaml: evaluate.seeds"
    )


def _culprits(
    limit: Limit, metric: PredictionMetric, counts: Counts, outcome: Outcome, kind: SetKind
) -> tuple[Culprit, ...]:
    """Return the networks that do not satisfy the limit, the worst first, each with its worst comparison."""
    _, number = signed_limit(limit)
    culpable = counts.violates if outcome == "fail" else ~(counts.bounds <= number + ROUNDING)
    order = [int(s) for s in np.lexsort((-counts.bounds, -counts.values)) if culpable[s]]
    return tuple(_culprit(limit, metric, counts, s, outcome, kind) for s in order[:MOST_CULPRITS])


def _culprit(
    limit: Limit, metric: PredictionMetric, counts: Counts, s: int, outcome: Outcome, kind: SetKind
) -> Culprit:
    sign, number = signed_limit(limit)
    evidence, predictions = counts.evidence[s], of_seed(counts.predictions, s)
    signed = sign * evidence.values
    if counts.rule is not None:
        signed = sign * (evidence.upper if sign > 0 else evidence.lower)(counts.rule.alpha)
    j = int(signed.argmax())
    comparison = evidence.comparisons[j]
    measurement = metric.describe(comparison, predictions)
    remedy = value_remedy(kind, is_gap=metric.is_gap)
    if outcome == "inconclusive" and counts.values[s] <= number + ROUNDING:
        remedy = "the number of examples limits the bound: this network satisfies the limit on these examples"
    elif outcome == "inconclusive":
        remedy = f"{BEYOND}: {remedy}"
    return Culprit(
        classes=measurement.classes,
        groups=tuple(tuple(predictions.groups[g] for g in side) for side in comparison.sides),
        rates=measurement.rates,
        examples=measurement.examples,
        value=float(evidence.values[j]),
        bound=None if counts.rule is None else clipped(limit, sign * float(signed[j]), lowest=metric.lowest),
        sentence=f"the network of seed {counts.predictions.seed_numbers[s]}: {measurement.sentence}",
        remedy=remedy,
    )


def planned_bounds(
    bounds_of_networks: Callable[[int, float], Floats], limit: Limit, *, networks: int, alpha: float, draws: int
) -> Floats:
    """Return the bound of a clause for each of R simulated sets, for `gate plan`, (R,).

    Networks are simulated with their own examples, although real networks share them. Errors that come together make it
    more likely that all networks pass, so the plan is careful. R is smaller than `draws` if there are many networks.

    Parameters
    ----------
    bounds_of_networks : from a number of single networks and a level to their own bounds, or to one bound if networks
        do not vary
    """
    assert limit.each_network is not None
    sign, _ = signed_limit(limit)
    rule = tolerance(networks, limit.each_network, alpha)
    if rule is None:
        return np.full(1, sign)  # no number of networks that satisfy the limit suffices
    sets = min(draws, max(_FEWEST_PLANNED, _MOST_PLANNED // networks))
    own = np.resize(sign * bounds_of_networks(sets * networks, rule.alpha), (sets, networks))
    return np.asarray(sign * np.sort(own, axis=1)[:, rule.needed - 1])
