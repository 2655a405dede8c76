"""The sentences in a verdict: how a clause ended, and what was measured. `gate.remedies` has the remedies.

They are part of verdict.json, so a change of one character here changes the digest of every verdict. `explain` and
`render` show them, and may add to them freely.
"""

from collections.abc import Sequence

from fair_distill.config import Limit
from fair_distill.gate.comparisons import Comparison, Side
from fair_distill.gate.network_predictions import NetworkPredictions
from fair_distill.gate.verdict import Outcome


def relation_phrase(outcome: Outcome, *, is_ceiling: bool) -> str:
    """Return how a value relates to its limit, as a phrase that `the limit` follows."""
    return {
        ("pass", True): "is within",
        ("pass", False): "is at or above",
        ("fail", True): "is over",
        ("fail", False): "is below",
        ("inconclusive", True): "is not shown to stay within",
        ("inconclusive", False): "is not shown to reach",
    }[outcome, is_ceiling]


def outcome_sentence(
    limit: Limit,
    outcome: Outcome,
    *,
    value: float,
    network: str,
    bound: float | None,
    violating_bound: float | None,
    alpha: float | None,
) -> str:
    """Return how a clause ended: the value, the limit, and the bound that decided.

    Parameters
    ----------
    bound : the bound on the side of the limit, at level alpha; None in `mode: point`
    violating_bound : the simultaneous bound on the other side, which shows a violation
    """
    is_ceiling = limit.at_most is not None
    number = limit.at_most if limit.at_most is not None else limit.at_least
    relation = relation_phrase(outcome, is_ceiling=is_ceiling)
    sentence = f"{limit.name}: {value:.3f} ({network}) {relation} the limit {number:.3f}"
    if alpha is None or bound is None or violating_bound is None:
        return f"{sentence} (mode: point, no confidence)"
    side = "at most" if is_ceiling == (outcome != "fail") else "at least"
    deciding = violating_bound if outcome == "fail" else bound
    return f"{sentence}: {side} {deciding:.3f} with {100 * (1 - alpha):.1f} % confidence"


def rates_sentence(
    comparison: Comparison, rates: Sequence[float], sizes: Sequence[int], predictions: NetworkPredictions
) -> str:
    """Return the rate and the number of examples of each side of a comparison."""
    return event_sentence(comparison.rate.sentence(predictions.classes), comparison, rates, sizes, predictions)


def event_sentence(
    event: str, comparison: Comparison, rates: Sequence[float], sizes: Sequence[int], predictions: NetworkPredictions
) -> str:
    """Return how often an event happens on each side of a comparison, and the number of examples there."""
    each = [
        f"{100 * rate:.1f} % of {size:,} examples of {groups_phrase(side, predictions.groups)}"
        for rate, size, side in zip(rates, sizes, comparison.sides, strict=True)
    ]
    return f"{event} in {' and in '.join(each)}"


def groups_phrase(side: Side, names: tuple[str, ...]) -> str:
    if len(side) == 1:
        return f"group {names[side[0]]!r}"
    return "all groups" if len(side) == len(names) else f"groups {', '.join(names[g] for g in side)}"


def too_few(predictions: NetworkPredictions, comparison: Comparison, count: int, minimum: int) -> str:
    """Return which class and groups have too few independent examples."""
    side, true_classes = comparison.first, comparison.rate.true_classes
    names = predictions.groups
    groups = f"group {names[side[0]]!r}" if len(side) == 1 else f"groups {', '.join(names[g] for g in side)}"
    subject = f"class {predictions.classes[true_classes[0]]!r} has" if len(true_classes) == 1 else None
    if count == 0:
        nothing = "no examples"
        return f"{subject} {nothing} of {groups} to measure on" if subject else f"{groups} has {nothing} to measure on"
    number, need = f"{count} independent examples", f"{minimum} are needed"
    return f"{subject} {number} of {groups}, {need}" if subject else f"{groups} has {number}, {need}"
