"""Which of many candidates is to be judged: the smallest that should pass, by what the tune split says of each.

However many candidates are looked at on tune, only the one that is chosen meets the gate split, and nothing of the gate
split went into the choice. So its verdict keeps the gate's promise, alpha, as though it had been the only one; a
choice by gate results would not (`tests/gate/test_choose.py` counts both).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from fair_distill.config import Limit
from fair_distill.gate.verdict import Verdict


@dataclass(frozen=True)
class Tuned:
    """A candidate as the tune split shows it.

    Attributes
    ----------
    name : what its point of the sweep is called
    examples : how large the set is
    verdict : by the gate's policy, on tune; nobody is promised anything by it
    """

    name: str
    examples: int
    verdict: Verdict


def margin(tuned: Tuned, limits: Sequence[Limit], *, shrink: float) -> float | None:
    """Return by how much the clause that is nearest to its limit should keep it on the gate split; None if unknown.

    A bound lies as far from its value as the split is small. On a split with 1/shrink² as many examples the distance is
    `shrink` times as large, if the seeds are as many; what part of it is the seeds' does not shrink with the split, so
    this is an estimate, good enough to rank by.
    """
    least = None
    for limit, finding in zip(limits, tuned.verdict.findings, strict=True):
        if finding.value is None:
            return None
        bound = finding.value if finding.bound is None else finding.bound
        expected = finding.value + shrink * (bound - finding.value)
        over = expected - finding.limit if limit.at_most is not None else finding.limit - expected
        least = -over if least is None else min(least, -over)
    return least


def shrinkage(tune_examples: int, gate_examples: int) -> float:
    """Return how far a bound moves towards its value, from the tune split to the gate split."""
    return sqrt(tune_examples / gate_examples)


def smallest_that_should_pass(tuned: Sequence[Tuned], limits: Sequence[Limit], *, shrink: float) -> Tuned | None:
    """Return the smallest candidate that should keep every limit; of those, the one that keeps them best; or None."""
    margins = {id(one): margin(one, limits, shrink=shrink) for one in tuned}
    fit = [one for one in tuned if (of := margins[id(one)]) is not None and of >= 0]
    return min(fit, key=lambda one: (one.examples, -(margins[id(one)] or 0), one.name), default=None)
