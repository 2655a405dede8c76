"""Plain sentences: what was measured where, how sure it is, and what would mend it."""

import math
from collections.abc import Sequence

from fair_distill.config import Limit
from fair_distill.gate.network_predictions import Answers
from fair_distill.gate.quantiles import t_quantile
from fair_distill.gate.scope import Place
from fair_distill.gate.verdict import Outcome, Verdict

# Beyond this a number of seeds is no advice.
_MOST_SEEDS = 100


def explain(verdict: Verdict) -> list[str]:
    """Say in sentences what decided: per clause the finding, then every culprit with its remedy."""
    lines = []
    for finding in verdict.findings:
        lines.append(f"{finding.outcome.upper()}: {finding.sentence}")
        if finding.noise is not None and finding.per_seed is not None:
            chance = f"a perfectly fair classifier would show {finding.noise:.3f} here by chance"
            lines.append(f"  {chance}; the mean of each seed's own figure is {finding.per_seed:.3f}")
        for culprit in finding.culprits[1:]:
            bound = "" if culprit.bound is None else f", bound {culprit.bound:.3f}"
            lines.append(
                f"  also: {culprit.sentence} ({culprit.value:.3f}{bound}, limit {finding.limit:.3f}); {culprit.remedy}"
            )
    return lines


def sentence(
    limit: Limit,
    outcome: Outcome,
    *,
    value: float,
    network: str,
    bound: float | None,
    shown: float | None,
    alpha: float | None,
) -> str:
    """Say how a clause ended: the number, the limit, and what is sure.

    Parameters
    ----------
    bound : what the number is at most (at least, for a floor), at level alpha; None for a point estimate
    shown : what it is at least (at most), all places taken together
    """
    upward = limit.at_most is not None
    number = limit.at_most if limit.at_most is not None else limit.at_least
    relation = {
        ("pass", True): "is within",
        ("pass", False): "is at or above",
        ("fail", True): "is over",
        ("fail", False): "is below",
        ("inconclusive", True): "is not shown to stay within",
        ("inconclusive", False): "is not shown to reach",
    }[outcome, upward]
    told = f"{limit.name}: {value:.3f} ({network}) {relation} the limit {number:.3f}"
    if alpha is None or bound is None or shown is None:
        return f"{told} (mode: point, no confidence)"
    most = upward == (outcome != "fail")
    return f"{told}: {'at most' if most else 'at least'} {shown if outcome == 'fail' else bound:.3f} {_sure(alpha)}"


def _sure(alpha: float) -> str:
    return f"with {100 * (1 - alpha):.1f} % confidence"


def measured(place: Place, rates: Sequence[float], sizes: Sequence[int], own: Answers) -> str:
    """Say what was measured at a place: the rate, in which groups, of how many examples."""
    who = [_groups(side, own.groups) for side in (place.first, place.second) if side]
    if place.rate is None:
        each = [
            f"{100 * rate:+.1f} points over {n:,} examples of {g}" for rate, n, g in zip(rates, sizes, who, strict=True)
        ]
        return f"confidence minus accuracy is {' and '.join(each)}"
    each = [f"{100 * rate:.1f} % of {n:,} examples of {g}" for rate, n, g in zip(rates, sizes, who, strict=True)]
    return f"{place.rate.sentence(own.classes)} in {' and in '.join(each)}"


def _groups(side: tuple[int, ...], names: tuple[str, ...]) -> str:
    if len(side) == 1:
        return f"group {names[side[0]]!r}"
    return "all groups" if len(side) == len(names) else f"groups {', '.join(names[g] for g in side)}"


def remedy(
    limit: Limit,
    outcome: Outcome,
    place: Place,
    own: Answers,
    *,
    rates: Sequence[float],
    margin: float,
    parts: tuple[float, float],
    alpha: float | None,
    examples: int,
) -> str:
    """Say the nearest thing that would change the outcome.

    Parameters
    ----------
    margin : how far the number itself lies on the right side of the limit
    parts : half-widths that examples and seeds contribute
    examples : on the smaller side
    """
    if outcome == "inconclusive" and alpha is not None:
        if margin > 0:
            return _more(parts, margin, alpha, examples, own.seeds)
        return "the number itself is on the wrong side, so more examples would more likely show a breach than a pass"
    if place.rate is None:
        return "networks trained on it are surer of one group than they may be; give that group more weight or images"
    if place.second is not None:
        lower = _groups((place.first, place.second)[rates.index(min(rates))], own.groups)
        return f"give {lower} more weight (group_weights) or more images (ipc) there, or align to a barycenter"
    if limit.over:
        return "the set adds less than that one; distil longer (distill.steps) or more images (distill.ipc)"
    return "distil longer (distill.steps), more images (distill.ipc), or with more weight on what is served worst"


def _more(parts: tuple[float, float], margin: float, alpha: float, examples: int, seeds: int) -> str:
    of_examples, of_seeds = parts
    if of_seeds < 0.9 * margin:
        needed = math.ceil(examples * (of_examples / math.sqrt(margin**2 - of_seeds**2)) ** 2)
        return f"about {needed:,} examples a cell (now {examples:,}) would show it, if the rates stay as they are"
    scatter = of_seeds / t_quantile(alpha, seeds - 1) * math.sqrt(seeds)
    for count in range(seeds + 1, _MOST_SEEDS + 1):
        if t_quantile(alpha, count - 1) * scatter / math.sqrt(count) < 0.7 * margin:
            return f"networks differ too much for {seeds} seeds: about {count} (evaluate.seeds) would show it"
    return "networks trained on it differ too much for any number of seeds to show it; distil longer or more images"
