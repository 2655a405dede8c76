"""Limits that `gate plan --write` proposes: from the gate split, from the data themselves, and from constant answers.

A limit on a gap is the one that nine of ten fair sets pass on this split. Networks that were trained on all data,
resampled so that groups have equal size, show whether the data are unfair in themselves: if their gap is larger, no
set that is made of these data can be expected to satisfy that limit, and the reason says so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fair_distill.config import Gate, Limit
from fair_distill.gate.metrics import (
    ACCURACY,
    ACCURACY_OVER_MAJORITY,
    BALANCED_ACCURACY,
    EO_DIAG_MAX,
    EO_DIAG_MEAN,
)
from fair_distill.gate.plan import Row

GAPS = (EO_DIAG_MAX.name, EO_DIAG_MEAN.name)


@dataclass(frozen=True)
class Observations:
    """What the networks of a reference show, by metric: the value of the worst network.

    Attributes
    ----------
    name : the reference of all data, resampled
    values : None if it has not been evaluated
    """

    name: str
    values: Mapping[str, float] | None


def planned_clauses(balanced: str | None) -> list[Limit]:
    """Return the clauses whose power a proposal depends on, with limits that are replaced.

    Parameters
    ----------
    balanced : the reference with as many real examples of each group; None without one
    """
    clauses = [Limit(metric=name, at_most=0.5, why="planned") for name in GAPS]
    clauses.append(Limit(metric=BALANCED_ACCURACY.name, at_least=0.0, why="planned"))
    if balanced is not None:
        clauses.append(Limit(metric=ACCURACY.name, over=balanced, at_least=-0.5, why="planned"))
    return clauses


def propose(rows: Sequence[Row], observed: Observations, *, classes: int, unit: str) -> tuple[Limit, ...]:
    """Return the proposed limits, each with its reason.

    Parameters
    ----------
    rows : the plan of `planned_clauses`, for one assumption
    classes : number of classes, which determines the balanced accuracy of a constant answer
    unit : what an example is, in the plural
    """
    by_clause = {row.clause: row for row in rows}
    limits = [_gap_limit(name, by_clause[name], observed) for name in GAPS]
    limits.append(
        Limit(
            metric=ACCURACY_OVER_MAJORITY.name,
            at_least=0.0,
            why=f"a set has to teach more than the answer that is the same for all {unit}",
        )
    )
    limits.append(_balanced_limit(by_clause[BALANCED_ACCURACY.name], observed, classes))
    limits += [_uplift_limit(row) for row in rows if " over " in row.clause]
    return tuple(limits)


def proposed_policy(policy: Gate, limits: Sequence[Limit], title: str) -> Gate:
    """Return the policy with other limits, and with the data set that they were planned for."""
    return policy.model_copy(update={"limits": tuple(limits), "planned_for": title})


def _gap_limit(name: str, row: Row, observed: Observations) -> Limit:
    split = _rounded_up(row.likely[1])
    reason = (
        f"on this gate split, nine of ten sets without any gap show at most {split:g} at accuracy {row.accuracy:g}; "
        f"no set can show less than {row.strictest:.2f}"
    )
    if observed.values is None:
        reason += f". {observed.name} was not evaluated, so it is not known whether the data are unfair in themselves"
        return Limit(metric=name, at_most=split, why=reason)
    gap = observed.values[name]
    if gap <= split:
        reason += f". Networks of all data, resampled to equal groups ({observed.name}), have a gap of {gap:.2f}"
        return Limit(metric=name, at_most=split, why=reason)
    reason += (
        f". The data are unfair in themselves: networks of all data, resampled to equal groups ({observed.name}), have "
        f"a gap of {gap:.2f}. The limit adds the two. Decide whether these data may be used at all"
    )
    return Limit(metric=name, at_most=min(1.0, _rounded_up(gap + row.likely[1])), why=reason)


def _balanced_limit(row: Row, observed: Observations, classes: int) -> Limit:
    constant = 1 / classes
    reachable = row.likely[1]
    reason = f"a constant answer has {constant:.2f}; the limit is halfway to what nine of ten sets show at accuracy "
    reason += f"{row.accuracy:g} on this split"
    if observed.values is not None and observed.values[BALANCED_ACCURACY.name] < reachable:
        reachable = observed.values[BALANCED_ACCURACY.name]
        reason = f"a constant answer has {constant:.2f}; the limit is halfway to what {observed.name} shows"
    limit = max(_rounded_down((constant + reachable) / 2), _rounded_up(constant))
    return Limit(metric=BALANCED_ACCURACY.name, at_least=min(limit, 1.0), why=reason)


def _uplift_limit(row: Row) -> Limit:
    metric, _, over = row.clause.partition(" over ")
    return Limit(
        metric=metric,
        over=over,
        at_least=max(-1.0, _rounded_down(row.likely[1])),
        why=f"a set has to teach as much as equally many real ones of each group ({over}); nine of ten sets that teach "
        "as much pass this limit on this split",
    )


def _rounded_up(value: float) -> float:
    return math.ceil(round(100 * value, 6)) / 100


def _rounded_down(value: float) -> float:
    return math.floor(round(100 * value, 6)) / 100
