"""What bounds assume about how rates vary over the networks that are trained on a set, in words."""

from fair_distill.config import Gate
from fair_distill.gate.metrics import PREDICTION_METRICS

ASSUMPTIONS = {
    "normal": "bounds are valid if a difference is normally distributed over networks; outlying networks are listed",
    "bounded": "the part of the networks in each bound is valid for every distribution of rates over networks that are "
    "trained independently",
}


EACH_NETWORK = "clauses with each_network are valid if networks are trained independently"


def assumption(policy: Gate) -> str:
    """Return the assumptions about networks that the bounds of a policy make; an empty string if they make none."""
    if policy.mode == "point":
        return ""
    of_means = ASSUMPTIONS[policy.networks or "normal"] if _judges_means(policy) else ""
    of_each = EACH_NETWORK if any(limit.each_network is not None for limit in policy.limits) else ""
    return "; ".join(filter(None, (of_means, of_each)))


def assumes_normal(policy: Gate) -> bool:
    """Return whether the bounds of a policy assume normally distributed differences."""
    return policy.mode == "bounds" and policy.networks != "bounded" and _judges_means(policy)


def _judges_means(policy: Gate) -> bool:
    """Return whether a clause limits the mean over networks."""
    return any(limit.metric in PREDICTION_METRICS and limit.each_network is None for limit in policy.limits)
