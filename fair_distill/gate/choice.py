"""The choice of a candidate: the smallest, then the most accurate, of those that should pass by the tune split.

Only the chosen candidate meets the gate split, and the choice uses nothing of the gate split. Its verdict therefore
keeps the risk alpha, however many candidates were tried on the tune split. A choice by gate results would not;
`tests/gate/test_choice.py` measures both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

from fair_distill.config import Limit
from fair_distill.gate.verdict import Verdict


@dataclass(frozen=True)
class TuneResult:
    """A candidate with its result on the tune split.

    Attributes
    ----------
    name : of the candidate, or of its point in a sweep
    examples : size of the set
    verdict : the verdict of the gate's policy on the tune split, which promises nothing
    accuracy : of the worst architecture
    """

    name: str
    examples: int
    verdict: Verdict
    accuracy: float


def margin(candidate: TuneResult, limits: Sequence[Limit], *, shrink: float) -> float | None:
    """Return the expected distance on the gate split between the tightest clause and its limit.

    A bound is closer to its value on a larger split: on 1/shrink² times as many examples, its distance is multiplied
    by `shrink`. The part of the distance that comes from seeds does not shrink, so this is an estimate that is good
    enough for ranking.

    Returns
    -------
    float, negative if a limit is expected to be violated; None if a clause has no value
    """
    margins = []
    for limit, finding in zip(limits, candidate.verdict.findings, strict=True):
        if finding.value is None:
            return None
        bound = finding.value if finding.bound is None else finding.bound
        expected = finding.value + shrink * (bound - finding.value)
        margins.append(finding.limit - expected if limit.at_most is not None else expected - finding.limit)
    return min(margins, default=None)


def shrinkage(tune_examples: int, gate_examples: int) -> float:
    """Return the factor between the distances of bounds from their values on the gate split and on the tune split."""
    return sqrt(tune_examples / gate_examples)


def best_that_should_pass(
    candidates: Sequence[TuneResult], limits: Sequence[Limit], *, shrink: float
) -> TuneResult | None:
    """Return the best candidate without a negative margin, or None: the smallest, and of these the most accurate."""
    passing = []
    for candidate in candidates:
        expected = margin(candidate, limits, shrink=shrink)
        if expected is not None and expected >= 0:
            passing.append((candidate.examples, -candidate.accuracy, -expected, candidate.name, candidate))
    return min(passing, key=lambda entry: entry[:4])[4] if passing else None


def nearest_to_passing(candidates: Sequence[TuneResult], limits: Sequence[Limit], *, shrink: float) -> TuneResult:
    """Return the candidate with the largest margin, for the case that none should pass."""

    def rank(candidate: TuneResult) -> tuple[float, float, str]:
        expected = margin(candidate, limits, shrink=shrink)
        return (inf if expected is None else -expected, -candidate.accuracy, candidate.name)

    return min(candidates, key=rank)
