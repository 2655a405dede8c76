"""One clause decided: its bounds in every network against its limit. The worst network decides."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from fair_distill.config import Limit
from fair_distill.gate.evidence import Evidence, value_of
from fair_distill.gate.explain import measured, remedy, sentence
from fair_distill.gate.metrics import GAPS, METRICS, Floats
from fair_distill.gate.network_predictions import Answers
from fair_distill.gate.noise_floor import Floor
from fair_distill.gate.scope import Place
from fair_distill.gate.verdict import Culprit, Finding, Outcome

# The limit itself is kept: 9 of 10 against 6 of 10 is a gap of 0.3, which floats call 0.30000000000000004.
ROUNDING = 1e-9
SHOWN = 5


def decide(
    limit: Limit,
    found: Sequence[Evidence],
    own: Sequence[Answers],
    noise: Sequence[Floor],
    *,
    alpha: float | None,
) -> Finding:
    """Hold a clause against the evidence of every network.

    PASS if at every place of every network the bound at level alpha is within the limit: a set that breaks it
    anywhere must slip through there, so the risk is alpha in all and nothing is to be corrected for
    (intersection-union test). FAIL if Holm's test over all of them shows a breach, at level alpha in all.

    Parameters
    ----------
    found, own, noise : per network: the clause's evidence, the answers, and the noise floor of metrics
    alpha : None to decide by the number itself
    """
    sign, number = _sided(limit)
    bounds = [_bound(one, sign, alpha) for one in found]
    broken = [~(bound <= number + ROUNDING) for bound in bounds]  # a bound that is no number keeps no limit
    shown, rejected = (None, broken) if alpha is None else _holm(found, sign, number, alpha)
    outcome: Outcome = "pass"
    if any(places.any() for places in broken):
        outcome = "fail" if any(places.any() for places in rejected) else "inconclusive"
    guilty = rejected if outcome == "fail" else broken

    worst = max(range(len(found)), key=lambda i: (bool(guilty[i].any()), float(bounds[i].max()), -i))
    evidence = found[worst]
    # The number first: where it is over the limit itself, a bound beside it is not what is to be mended.
    order = np.lexsort((-bounds[worst], -sign * evidence.each))
    culprits = tuple(
        _culprit(limit, outcome, evidence, int(j), own[worst], alpha=alpha) for j in order if guilty[worst][j]
    )[:SHOWN]
    bound = None if alpha is None else _possible(limit, sign * float(bounds[worst].max()))
    told = sentence(
        limit,
        outcome,
        value=evidence.value,
        network=evidence.network,
        bound=bound,
        shown=None if shown is None else _possible(limit, sign * float(shown[worst].max())),
        alpha=alpha,
    )
    if culprits:
        told += f"; {culprits[0].sentence}; {culprits[0].remedy}"
    return Finding(
        clause=limit.name,
        metric=limit.metric,
        network=evidence.network,
        outcome=outcome,
        value=evidence.value,
        per_seed=evidence.per_seed,
        noise=_noise(limit, noise[worst]),
        bound=bound,
        limit=sign * number,
        waiver=None,
        sentence=told,
        culprits=culprits,
    )


def undecided(limit: Limit, network: str, reason: str, *, outcome: Outcome = "insufficient") -> Finding:
    """A clause without numbers, and why."""
    sign, number = _sided(limit)
    return Finding(
        clause=limit.name,
        metric=limit.metric,
        network=network,
        outcome=outcome,
        value=None,
        per_seed=None,
        noise=None,
        bound=None,
        limit=sign * number,
        waiver=None,
        sentence=f"{limit.name}: {reason}",
        culprits=(),
    )


def _sided(limit: Limit) -> tuple[float, float]:
    """The sign that makes more worse, and the limit with that sign."""
    if limit.at_most is not None:
        return 1.0, limit.at_most
    assert limit.at_least is not None
    return -1.0, -limit.at_least


def _bound(evidence: Evidence, sign: float, alpha: float | None) -> Floats:
    if alpha is None:
        return sign * evidence.each
    return sign * (evidence.upper if sign > 0 else evidence.lower)(alpha)


def _possible(limit: Limit, bound: float) -> float:
    """A bound that says no more than what is true of every rate, gap or rise."""
    return min(max(bound, -1.0 if limit.over else 0.0), 1.0)


def _holm(found: Sequence[Evidence], sign: float, number: float, alpha: float) -> tuple[list[Floats], list[Floats]]:
    """Return the simultaneous bounds on the accusing side, and where Holm's step-down test finds a breach."""
    remaining = sum(one.tests * len(one.each) for one in found)
    rejected = [np.zeros(len(one.each), dtype=bool) for one in found]
    simultaneous: list[Floats] = []
    while remaining > 0:
        bounds = [sign * (one.lower if sign > 0 else one.upper)(alpha / remaining) for one in found]
        simultaneous = simultaneous or bounds
        new = [(bound > number + ROUNDING) & ~before for bound, before in zip(bounds, rejected, strict=True)]
        rejected = [before | now for before, now in zip(rejected, new, strict=True)]
        count = sum(int(now.sum()) for now in new)
        if count == 0:
            break
        remaining -= count
    return simultaneous, rejected


def _culprit(
    limit: Limit, outcome: Outcome, evidence: Evidence, j: int, own: Answers, *, alpha: float | None
) -> Culprit:
    sign, number = _sided(limit)
    place = evidence.places[j]
    rates, sizes = _rates_at(place, own)
    examples, seeds = (None, None) if alpha is None else evidence.parts(alpha)
    around = evidence.each if alpha is None or evidence.around is None else evidence.around(alpha)
    return Culprit(
        classes=() if place.rate is None else tuple(own.classes[c] for c in place.rate.of),
        groups=tuple(tuple(own.groups[g] for g in side) for side in (place.first, place.second) if side),
        rates=rates,
        examples=sizes,
        value=float(evidence.each[j]),
        bound=None if alpha is None else _possible(limit, sign * float(_bound(evidence, sign, alpha)[j])),
        sentence=measured(place, rates, sizes, own),
        remedy=remedy(
            limit,
            outcome,
            place,
            own,
            rates=rates,
            margin=number - sign * float(around[j]),
            parts=(0.0, 0.0) if examples is None or seeds is None else (float(examples[j]), float(seeds[j])),
            alpha=alpha,
            examples=min(sizes),
        ),
    )


def _rates_at(place: Place, own: Answers) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """The rate (or signed calibration error) and the examples of each side."""
    table = own.table()
    if place.rate is None:
        assert table.confidence is not None
        said = table.confidence.sum(axis=1) - np.trace(table.counts, axis1=1, axis2=2)
        support = table.support.sum(axis=1)
    else:
        said, support = (part[0] for part in table.parts([place.rate]))
    sides = [list(side) for side in (place.first, place.second) if side]
    return (
        tuple(float(said[side].sum() / support[side].sum()) for side in sides),
        tuple(round(float(support[side].sum())) for side in sides),
    )


def _noise(limit: Limit, floor: Floor) -> float | None:
    if limit.metric not in GAPS or limit.over:
        return None
    if limit.name == limit.metric:
        return floor(METRICS[limit.metric])
    return floor(partial(value_of, limit))
