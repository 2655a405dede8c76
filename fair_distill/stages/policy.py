"""The policy that a stage applies: the organisation's policy floor, and the policy without the promoted version."""

import os

from fair_distill.config import Gate, load_floor
from fair_distill.gate.policy import PROMOTED

FLOOR = "FAIR_DISTILL_POLICY_FLOOR"


def load_policy_floor(url: str | None) -> Gate | None:
    """Return the organisation's policy from an address, or else from the one in FAIR_DISTILL_POLICY_FLOOR.

    Commands that decide use it (enforce, explain, replay, promote). The stage `judge` does not: its verdict must not
    depend on the environment.
    """
    url = url or os.environ.get(FLOOR)
    return load_floor(url) if url else None


def without_promoted(policy: Gate) -> Gate:
    """Return the policy without the clauses that compare with the promoted version."""
    return policy.model_copy(update={"limits": tuple(limit for limit in policy.limits if limit.over != PROMOTED)})
