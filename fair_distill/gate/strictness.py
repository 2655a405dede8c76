"""The comparison of two policies by strictness: of a team and its organisation, or of today and of an earlier verdict.

An organisation's floor is a policy that a team's policy may only tighten.
"""

from fair_distill.config import Gate, Limit, checked, shortfall
from fair_distill.errors import ConfigError
from fair_distill.gate.metrics import METRICS
from fair_distill.gate.policy import check, limit_text
from fair_distill.gate.verdict import Verdict


def tighten(policy: Gate, floor: Gate) -> None:
    """Raise ConfigError unless `policy` is at least as strict as `floor` in its clauses and its keys.

    The exams are not compared, because the predictions must satisfy both.
    """
    check(floor)
    difference = _laxer(policy, floor)
    if difference:
        required, actual = difference
        raise ConfigError(
            f"the policy floor requires {required}; {policy.location} has {actual}. Tighten {policy.location}"
        )


def laxer(policy: Gate, than: Gate) -> str | None:
    """Return a term in which `policy` is laxer than another one; None if it is at least as strict in every term."""
    difference = _laxer(policy, than)
    if difference:
        return f"{difference[1]} instead of {difference[0]}"
    if than.exam is None:
        return None
    if policy.exam is None:
        return "no exam instead of one"
    return shortfall(policy.exam, than.exam)


def laxer_than(policy: Gate, verdict: Verdict) -> str | None:
    """Return a term in which `policy` is laxer than the policy of an earlier verdict; None if it is as strict.

    Verdicts of older releases do not record their policy. Their clauses and limits are compared instead.
    """
    if verdict.gate is not None:
        return laxer(policy, checked(Gate, verdict.gate, name="the earlier verdict's policy"))
    limits = {limit.name: limit for limit in policy.limits}
    for finding in verdict.findings:
        limit = limits.get(finding.clause)
        if limit is None:
            return f"no clause {finding.clause!r}"
        weaker = (limit.at_most is not None and limit.at_most > finding.limit) or (
            limit.at_least is not None and limit.at_least < finding.limit
        )
        if weaker:
            return f"{limit.name!r} with {limit_text(limit)} instead of {finding.limit:g}"
    return None


def _laxer(policy: Gate, than: Gate) -> tuple[str, str] | None:
    """Return the first term that is laxer, as the other policy requires it and as this one has it."""
    for key, by_strictness in (("mode", ("point", "bounds")), ("networks", ("normal", "bounded"))):
        required, actual = (getattr(each, key) or by_strictness[0] for each in (than, policy))
        if by_strictness.index(actual) < by_strictness.index(required):
            return f"`{key}: {required}`", f"`{key}: {actual}`"
    for key, sign in (("alpha", -1), ("minimum_seeds", 1), ("minimum_per_cell", 1)):
        required, actual = getattr(than, key), getattr(policy, key)
        if required is not None and sign * actual < sign * required:
            return f"{key} of {'at most' if sign < 0 else 'at least'} {required:g}", f"{actual:g}"
    # With fewer planned attempts, each may take more of alpha.
    if policy.planned_attempts < than.planned_attempts:
        return f"attempts of at least {than.planned_attempts}", f"{policy.planned_attempts}"
    for key in ("evaluators", "approvers"):
        required, actual = set(getattr(than, key)), set(getattr(policy, key))
        if required and not (actual and actual <= required):
            return (
                f"{key} among {len(required)} keys",
                f"{len(actual)} keys, {len(actual - required)} of them not among these",
            )
    for clause in than.limits:
        if not any(_as_strict(limit, clause) for limit in policy.limits):
            return f"the clause {clause.name!r} with {limit_text(clause)}", "no clause that is as strict"
    return None


def _as_strict(limit: Limit, floor: Limit) -> bool:
    same = ("metric", "over")
    if any(getattr(limit, key) != getattr(floor, key) for key in same) or not _as_many_networks(limit, floor):
        return False
    if (limit.against or "each") != (floor.against or "each") or set(limit.by or ()) != set(floor.by or ()):
        return False
    # A limit on the worst of all groups and classes also holds for the worst of some. A limit on a mean does not.
    metric = METRICS.get(limit.metric)
    covers_parts = metric is not None and metric.covers_parts
    for key in ("classes", "groups"):
        selected, required = getattr(limit, key), getattr(floor, key)
        covered = selected is None or (required is not None and set(required) <= set(selected))
        if set(selected or ()) != set(required or ()) and not (covers_parts and covered and limit.against != "rest"):
            return False
    if floor.first_release == "refuse" and limit.first_release != "refuse":
        return False
    if floor.at_most is not None:
        return limit.at_most is not None and limit.at_most <= floor.at_most
    assert floor.at_least is not None
    return limit.at_least is not None and limit.at_least >= floor.at_least


def _as_many_networks(limit: Limit, floor: Limit) -> bool:
    """Return whether a clause is about as large a share of networks as another one, or both about the mean.

    That most networks satisfy a limit does not imply that their mean does, nor the reverse.
    """
    if limit.each_network is None or floor.each_network is None:
        return limit.each_network is floor.each_network
    return limit.each_network >= floor.each_network
