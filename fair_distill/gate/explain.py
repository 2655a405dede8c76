"""Plain sentences: what was measured where, how sure it is, and what would mend it."""

import math
from collections.abc import Sequence
from typing import Literal

from fair_distill.config import Limit
from fair_distill.gate.answers import Answers
from fair_distill.gate.evidence import Place
from fair_distill.gate.quantiles import t_quantile

Outcome = Literal["pass", "fail", "inconclusive", "insufficient"]
# Beyond this a number of seeds is no advice.
_MOST_SEEDS = 100


def measured(place: Place, rates: Sequence[float], sizes: Sequence[int], own: Answers) -> str:
    """Say what a culprit is: the rate, in which groups, of how many examples."""
    sides = [place.first, *([place.second] if place.second else [])]
    who = [_groups(side, own.groups) for side in sides]
    if place.rate is None:
        signed = [
            f"{100 * rate:+.1f} points over {n:,} examples of {g}" for rate, n, g in zip(rates, sizes, who, strict=True)
        ]
        return f"confidence minus accuracy is {' and '.join(signed)}"
    what = place.rate.sentence(own.classes)
    shares = [f"{100 * rate:.1f} % of {n:,} examples of {g}" for rate, n, g in zip(rates, sizes, who, strict=True)]
    return f"{what} in {' and in '.join(shares)}"


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
    worse: int,
    margin: float,
    parts: tuple[float, float],
    alpha: float | None,
    examples: int,
) -> str:
    """Say the nearest thing that would change the outcome.

    Parameters
    ----------
    worse : 0 if the first side is served worse, 1 if the second is
    margin : how far the number itself lies on the right side of the limit
    parts : half-widths that examples and seeds contribute
    examples : on the smaller side
    """
    if outcome == "inconclusive" and alpha is not None and margin > 0:
        return _more(parts, margin, alpha, examples, own.seeds)
    if place.second is not None and place.rate is not None and outcome == "fail":
        group = _groups((place.first, place.second)[worse], own.groups)
        told = f"serve {group} better there: align to a barycenter, give it more weight (group_weights) or more images (ipc)"
        return f"{told}, or give the full data more of it" if limit.over is None else told
    if place.rate is None:
        return "the set teaches one group's networks to be surer than they may be; more seeds or weight decay even that out"
    if outcome == "fail":
        return "raise distill.ipc or distill.steps; the limit, if it was set too high, is in params.yaml: gate.limits"
    return "the number itself is on the wrong side of the limit, so more examples would more likely show a breach"


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
