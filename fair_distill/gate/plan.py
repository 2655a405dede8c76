"""Before any GPU time: what can this split show under this policy, and how many examples would a limit need?

Truly fair sets are simulated at an assumed accuracy, with the cells that the split has, and their bounds taken as
`bounds` takes them. What comes out are limits that such a set passes with a given chance, which is how a limit is
to be chosen: from the split and the risk, not from results.

Axes: R simulated sets, J places, S seeds, C classes, G groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fair_distill.config import Gate, Limit
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.errors import ConfigError
from fair_distill.gate.confusion import Floats, Ints
from fair_distill.gate.fair_sets import Assumptions, Cells, FairSets
from fair_distill.gate.metrics import METRICS, PREDICTION_METRICS
from fair_distill.gate.network_predictions import coarser
from fair_distill.gate.policy import alpha_at, check
from fair_distill.seeds import plain_numpy_generator

_MOST = 1_000_000


@dataclass(frozen=True)
class Row:
    """One clause under one assumption.

    Attributes
    ----------
    ever : the strictest limit that could be shown at all: every difference measured as 0, every seed alike
    likely : limits that a fair set passes with a chance of 80 and of 90 %
    chance : of a fair set to pass the policy's own limit
    needed : examples a cell for a chance of 80 and of 90 %; None where seeds forbid it whatever the number
    """

    clause: str
    accuracy: float
    limit: float
    ever: float
    likely: tuple[float, float]
    chance: float
    needed: tuple[int | None, int | None]


@dataclass(frozen=True)
class PowerPlan:
    rows: tuple[Row, ...]
    advice: tuple[str, ...]


def cells_of(split: GroupedDataset, policy: Gate | None = None) -> Cells:
    """Count the independent examples of each cell: pairs, where examples show the same thing.

    Parameters
    ----------
    policy : whose clauses may look at coarser groups (`by`)
    """
    wanted = {limit.by for limit in policy.limits if limit.by} if policy else set()
    marginals = {by: _cells(split, *_coarse(split, by)) for by in sorted(wanted)}
    return replace(_cells(split, split.group_indices, split.groups), marginals=marginals)


def _coarse(split: GroupedDataset, by: tuple[str, ...]) -> tuple[Ints, tuple[str, ...]]:
    where = f"params.yaml: gate.limits: by {', '.join(by)}"
    kept, names = coarser(split.attributes, split.attribute_names, by, where=where)
    return kept[split.group_indices], names


def _cells(split: GroupedDataset, groups: Ints, names: tuple[str, ...]) -> Cells:
    shape = (len(split.classes), len(names))
    keys = np.unique(np.stack([split.labels, groups, split.pairs]), axis=1)
    counts = np.bincount(keys[0] * shape[1] + keys[1], minlength=shape[0] * shape[1]).reshape(shape)
    pairs = len(np.unique(split.pairs))
    paired = len(split) == pairs * shape[1] and bool((counts == counts[:, :1]).all())
    return Cells(counts, paired, split.classes, names)


def plan(
    cells: Cells,
    policy: Gate,
    assumed: Sequence[Assumptions],
    *,
    rng: np.random.Generator,
    attempt: int = 1,
    draws: int = 1000,
) -> PowerPlan:
    """Return what the split can show, clause by clause, and what to do where that is too little."""
    check(policy)
    if policy.alpha is None or policy.minimum_per_cell is None:
        raise ConfigError("params.yaml: gate.mode is point, which asks no confidence of a split; plan `mode: bounds`")
    alpha = alpha_at(policy.alpha, attempt)
    rows = []
    for limit in policy.limits:
        if not _is_planned(limit):
            continue
        for assume in assumed:
            of = cells.marginals[limit.by] if limit.by else cells
            rows.append(_row(limit, of, assume, alpha=alpha, rng=rng, draws=draws))
    return PowerPlan(tuple(rows), tuple(_advice(cells, policy, rows, assumed, alpha=alpha, rng=rng)))


def _is_planned(limit: Limit) -> bool:
    metric = PREDICTION_METRICS.get(limit.metric)
    return metric is not None and metric.planner(limit) is not None and not (limit.classes or limit.groups)


def _row(limit: Limit, cells: Cells, assume: Assumptions, *, alpha: float, rng: np.random.Generator, draws: int) -> Row:
    sign, number = (1, limit.at_most) if limit.at_most is not None else (-1, limit.at_least)
    assert number is not None
    seed = int(rng.integers(2**32))

    def bound(cells: Cells, draws: int) -> Floats:
        # The same draws for every size, so that the chance grows with it.
        return _bounds(limit, cells, assume, alpha=alpha, rng=plain_numpy_generator(seed), draws=draws)

    drawn = sign * bound(cells, draws)
    likely = tuple(float(sign * q) for q in np.quantile(drawn, [0.8, 0.9]))
    return Row(
        clause=limit.name,
        accuracy=assume.accuracy,
        limit=number,
        ever=float(_bounds(limit, cells, replace(assume, seed_sd=0.0), alpha=alpha, rng=None, draws=1)[0]),
        likely=(likely[0], likely[1]),
        chance=float((drawn <= sign * number).mean()),
        needed=(_needed(bound, cells, sign, number, 0.8), _needed(bound, cells, sign, number, 0.9)),
    )


def _needed(bound: object, cells: Cells, sign: int, number: float, chance: float) -> int | None:
    """Return the fewest examples a cell, alike in all, with this chance to pass."""
    assert callable(bound)

    def passes(n: int) -> bool:
        even = replace(cells, counts=np.full_like(cells.counts, n))
        return bool((sign * bound(even, 300) <= sign * number).mean() >= chance)

    high = 16
    while not passes(high):
        high *= 2
        if high > _MOST:
            return None
    low = high // 2
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high


def _bounds(
    limit: Limit, cells: Cells, assumed: Assumptions, *, alpha: float, rng: np.random.Generator | None, draws: int
) -> Floats:
    """Return the bound of a clause for each of R fair sets; without rng, for one ideal set."""
    metric = PREDICTION_METRICS[limit.metric]
    planner = metric.planner(limit)
    assert planner is not None
    return planner(FairSets(cells, assumed, rng, draws), metric.comparisons(limit, cells.classes, cells.groups), alpha)


def _advice(
    cells: Cells,
    policy: Gate,
    rows: Sequence[Row],
    assumed: Sequence[Assumptions],
    *,
    alpha: float,
    rng: np.random.Generator,
) -> list[str]:
    advice = []
    assert policy.minimum_per_cell is not None
    c, g = np.unravel_index(int(cells.counts.argmin()), cells.counts.shape)
    least = int(cells.counts[c, g])
    thin = least < policy.minimum_per_cell
    if thin:
        advice.append(
            f"class {cells.classes[c]!r} has {least} independent examples of group {cells.groups[g]!r} and "
            f"{policy.minimum_per_cell} are asked for: every verdict will be insufficient"
        )
    # A floor above the assumed accuracy is not meant to be passed.
    floors = {limit.name for limit in policy.limits if limit.at_least is not None and not limit.over}
    hard = [row for row in rows if row.chance < 0.8 and not (row.clause in floors and row.accuracy <= row.limit)]
    for row in hard:
        wanted = f"{row.needed[0]:,} examples a cell" if row.needed[0] else "more seeds, or ones that scatter less"
        advice.append(
            f"{row.clause}: at accuracy {row.accuracy:g} a fair set passes the limit {row.limit:g} with a chance of "
            f"{100 * row.chance:.0f} %; it takes {wanted}, or a limit of {row.likely[0]:.2f}"
        )
    if len(cells.groups) > 2 and (thin or hard):
        advice.append(_coarser(cells, policy, assumed, alpha=alpha, rng=rng))
    return advice


def _coarser(
    cells: Cells, policy: Gate, assumed: Sequence[Assumptions], *, alpha: float, rng: np.random.Generator
) -> str:
    """Say what is gained by holding each group against the rest, and what then is not tested."""
    groups = len(cells.groups)
    told = (
        f"{groups} groups make {groups * (groups - 1) // 2} pairs per rate: hold each group against the rest "
        "(`against: rest`), or declare marginal groups (one attribute at a time) in place of their intersections"
    )
    for limit in policy.limits:
        if (
            METRICS[limit.metric].is_gap
            and _is_planned(limit)
            and not (limit.over or limit.by or limit.against == "rest")
        ):
            rest = limit.model_copy(update={"against": "rest"})
            assume = assumed[0]
            each, coarse = (
                float(np.quantile(_bounds(one, cells, assume, alpha=alpha, rng=rng, draws=300), 0.8))
                for one in (limit, rest)
            )
            told += f"; for {limit.name} that shows {coarse:.2f} where pairs show {each:.2f}"
            break
    return f"{told}. What is not tested then are differences between two single groups; the card has to say so"
