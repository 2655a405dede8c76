"""Helpers for findings of all metrics: the sign of a limit, rounding, and findings without a number."""

from fair_distill.config import Limit
from fair_distill.gate.verdict import Finding, Outcome

# A value equal to the limit satisfies it: 9/10 - 6/10 is 0.30000000000000004 in floating point and satisfies 0.3.
ROUNDING = 1e-9
MOST_CULPRITS = 5


def signed_limit(limit: Limit) -> tuple[float, float]:
    """Return the sign with which larger values are worse, and the limit times that sign."""
    if limit.at_most is not None:
        return 1.0, limit.at_most
    assert limit.at_least is not None
    return -1.0, -limit.at_least


def clipped(limit: Limit, bound: float, *, lowest: float) -> float:
    """Return a bound within the range of the metric, from `lowest`, or of its rises."""
    return min(max(bound, -1.0 if limit.over else lowest), 1.0)


def undecided(limit: Limit, network: str, reason: str, *, outcome: Outcome = "insufficient") -> Finding:
    """Return the finding of a clause that has no number, with the reason."""
    sign, number = signed_limit(limit)
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
