"""`gate plan`: which limits a gate split can demonstrate, and how many examples a limit needs. Nothing is trained.

Sets without any gap are simulated at an assumed accuracy on the cells of the split, and bounded as the gate bounds
real sets. The limit that 80 % of such sets satisfy follows from the split and from the accepted risk, so limits can be
chosen before there are results.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from fair_distill.config import Gate, Limit
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.errors import ConfigError
from fair_distill.gate.confusion import Floats, Ints
from fair_distill.gate.each_network import planned_bounds
from fair_distill.gate.fair_sets import Assumptions, Cells, FairSets
from fair_distill.gate.fewest_networks import fewest_networks
from fair_distill.gate.metrics import METRICS, PREDICTION_METRICS
from fair_distill.gate.network_predictions import coarser, independent_examples, is_divided
from fair_distill.gate.policy import check
from fair_distill.gate.spending import fraction_of
from fair_distill.seeds import plain_numpy_generator

_MOST_EXAMPLES = 1_000_000
_SEARCH_DRAWS = 300
# Numbers of seeds that are tried for clauses over a random reference.
_SEEDS = (3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 30, 40, 50)
# From cells and a number of simulated sets to the bound of each set.
_BoundsOf = Callable[[Cells, int], Floats]


@dataclass(frozen=True)
class Row:
    """One clause under one set of assumptions.

    Attributes
    ----------
    strictest : the strictest limit that any set could pass: all differences are 0 and all seeds agree
    likely : limits that a fair set passes with a probability of 80 % and of 90 %
    chance : probability that a fair set passes the policy's own limit
    needed : examples per cell for a probability of 80 % and of 90 %; None if the seeds scatter too much for any number
    """

    clause: str
    accuracy: float
    limit: float
    strictest: float
    likely: tuple[float, float]
    chance: float
    needed: tuple[int | None, int | None]


@dataclass(frozen=True)
class PowerPlan:
    """The rows of a plan, and sentences that propose what to change where the split is too small."""

    rows: tuple[Row, ...]
    advice: tuple[str, ...]


def cells_of(split: GroupedDataset, policy: Gate | None = None) -> Cells:
    """Count the independent examples of each cell: pairs and other clusters, by their effective number.

    Parameters
    ----------
    policy : its clauses with `by` require the cells of coarser groups
    """
    groupings = {limit.by for limit in policy.limits if limit.by} if policy else set()
    marginals = {attributes: _cells(split, *_coarse(split, attributes)) for attributes in sorted(groupings)}
    return replace(_cells(split, split.group_indices, split.groups), marginals=marginals)


def _coarse(split: GroupedDataset, attributes: tuple[str, ...]) -> tuple[Ints, tuple[str, ...]]:
    location = f"params.yaml: gate.limits: by {', '.join(attributes)}"
    coarse_indices, names = coarser(split.attributes, split.attribute_names, attributes, location=location)
    return coarse_indices[split.group_indices], names


def _cells(split: GroupedDataset, group_indices: Ints, groups: tuple[str, ...]) -> Cells:
    shape = (len(split.classes), len(groups))
    distinct = np.unique(np.stack([split.labels, group_indices, split.pairs]), axis=1)
    pairs = np.bincount(distinct[0] * shape[1] + distinct[1], minlength=shape[0] * shape[1]).reshape(shape)
    paired = len(split) == len(np.unique(split.pairs)) * shape[1] and bool((pairs == pairs[:, :1]).all())
    clusters = np.unique(split.clusters, return_inverse=True)[1]
    counts = independent_examples(split.labels, group_indices, clusters, shape)
    spanning = is_divided(clusters, split.labels)
    return Cells(counts, paired, split.classes, groups, clusters_span_classes=spanning)


def plan(
    cells: Cells,
    policy: Gate,
    assumptions: Sequence[Assumptions],
    *,
    rng: np.random.Generator,
    fraction: float | None = None,
    draws: int = 1000,
    draw_sd: Mapping[str, float] = MappingProxyType({}),
) -> PowerPlan:
    """Return for each clause and assumption the limits that the split can demonstrate, and advice.

    Parameters
    ----------
    fraction : the fraction of alpha that the attempt takes; by default that of a first attempt
    draws : number of simulated sets
    draw_sd : for each random reference, the standard deviation over its draws of what a clause compares with; each
        network of the reference has its own draw

    Raises
    ------
    ConfigError
        If the policy cannot be applied, or if it has `mode: point`.
    """
    check(policy)
    if policy.alpha is None or policy.minimum_per_cell is None:
        raise ConfigError(
            "params.yaml: gate.mode is 'point', which needs no confidence; `gate plan` requires `mode: bounds`"
        )
    alpha = policy.alpha * (fraction_of(1.0, policy.planned_attempts) if fraction is None else fraction)
    assumptions = [replace(assumed, treatment=policy.networks or "normal") for assumed in assumptions]
    rows = []
    for limit in policy.limits:
        if not _is_planned(limit):
            continue
        for assumed in assumptions:
            clause_cells = cells.marginals[limit.by] if limit.by else cells
            scattered = _with_draws(assumed, draw_sd.get(limit.over or "", 0.0))
            rows.append(_row(limit, clause_cells, scattered, alpha=alpha, rng=rng, draws=draws))
    advice = _advice(cells, policy, rows, assumptions, alpha=alpha, rng=rng)
    advice += _draws_advice(cells, policy, assumptions[0], draw_sd, alpha=alpha)
    return PowerPlan(tuple(rows), tuple(advice))


def _with_draws(assumed: Assumptions, draw_sd: float) -> Assumptions:
    """Return assumptions in which differences over seeds also scatter with the draws of a reference."""
    return replace(assumed, seed_sd=float(np.hypot(assumed.seed_sd, draw_sd))) if draw_sd else assumed


def _draws_advice(
    cells: Cells, policy: Gate, assumed: Assumptions, draw_sd: Mapping[str, float], *, alpha: float
) -> list[str]:
    """Return the smallest number of seeds, and so of draws, with which each clause over a random reference passes."""
    advice = []
    for limit in filter(_is_planned, policy.limits):
        scatter = draw_sd.get(limit.over or "", 0.0)
        if not scatter:
            continue
        clause_cells = cells.marginals[limit.by] if limit.by else cells
        sign, number = (1, limit.at_most) if limit.at_most is not None else (-1, limit.at_least)
        assert number is not None

        def passes(
            seeds: int,
            limit: Limit = limit,
            clause_cells: Cells = clause_cells,
            signed: tuple[int, float] = (sign, number),
            scatter: float = scatter,
        ) -> bool:
            more = replace(_with_draws(assumed, scatter), seeds=seeds)
            rng = plain_numpy_generator(0)
            bounds = _bounds(limit, clause_cells, more, alpha=alpha, rng=rng, draws=_SEARCH_DRAWS)
            return bool((signed[0] * bounds <= signed[0] * signed[1]).mean() >= 0.8)

        seeds = next((count for count in _SEEDS if passes(count)), None)
        enough = f"{seeds} seeds are enough" if seeds is not None else f"more than {_SEEDS[-1]} seeds are needed"
        advice.append(
            f"{limit.name}: each seed has its own draw of {limit.over}; if draws differ with a standard deviation of "
            f"{scatter:g}, {enough} for a chance of 80 % (evaluate.seeds is {assumed.seeds})"
        )
    return advice


def _is_planned(limit: Limit) -> bool:
    metric = PREDICTION_METRICS.get(limit.metric)
    return metric is not None and metric.planner(limit) is not None


def _row(
    limit: Limit, cells: Cells, assumed: Assumptions, *, alpha: float, rng: np.random.Generator, draws: int
) -> Row:
    sign, number = (1, limit.at_most) if limit.at_most is not None else (-1, limit.at_least)
    assert number is not None
    seed = int(rng.integers(2**32))

    def bounds_of(cells: Cells, draws: int) -> Floats:
        # Every size gets the same random numbers, so the probability to pass grows with the size.
        return _bounds(limit, cells, assumed, alpha=alpha, rng=plain_numpy_generator(seed), draws=draws)

    signed = sign * bounds_of(cells, draws)
    likely = tuple(float(sign * quantile) for quantile in np.quantile(signed, [0.8, 0.9]))
    ideal = replace(assumed, seed_sd=0.0)
    return Row(
        clause=limit.name,
        accuracy=assumed.accuracy,
        limit=number,
        strictest=float(_bounds(limit, cells, ideal, alpha=alpha, rng=None, draws=1)[0]),
        likely=(likely[0], likely[1]),
        chance=float((signed <= sign * number).mean()),
        needed=(_needed(bounds_of, cells, sign, number, 0.8), _needed(bounds_of, cells, sign, number, 0.9)),
    )


def _needed(bounds_of: _BoundsOf, cells: Cells, sign: int, number: float, chance: float) -> int | None:
    """Return the smallest size of all cells, within 2 %, with which a fair set passes with this probability."""

    def passes(size: int) -> bool:
        even = replace(cells, counts=np.full_like(cells.counts, size))
        return bool((sign * bounds_of(even, _SEARCH_DRAWS) <= sign * number).mean() >= chance)

    high = 16
    while not passes(high):
        high *= 2
        if high > _MOST_EXAMPLES:
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
    assert planner is not None  # `_is_planned`
    comparisons = metric.comparisons(limit, cells.classes, cells.groups)
    if limit.each_network is None:
        return planner(FairSets(cells, assumed, rng, draws), comparisons, alpha)
    one = replace(assumed, seeds=1, treatment="given")

    def of_networks(count: int, level: float) -> Floats:
        return planner(FairSets(cells, one, rng, count), comparisons, level)

    return planned_bounds(of_networks, limit, networks=assumed.seeds, alpha=alpha, draws=draws)


def _advice(
    cells: Cells,
    policy: Gate,
    rows: Sequence[Row],
    assumptions: Sequence[Assumptions],
    *,
    alpha: float,
    rng: np.random.Generator,
) -> list[str]:
    advice = []
    assert policy.minimum_per_cell is not None
    c, g = np.unravel_index(int(cells.counts.argmin()), cells.counts.shape)
    smallest = int(cells.counts[c, g])
    too_small = smallest < policy.minimum_per_cell
    if too_small:
        lower = f", or set gate.minimum_per_cell to at most {smallest}" if smallest >= 2 else ""
        advice.append(
            f"class {cells.classes[c]!r} has {smallest} independent examples of group {cells.groups[g]!r}, but "
            f"gate.minimum_per_cell is {policy.minimum_per_cell}, so every verdict will be insufficient. Add examples "
            f"or increase the share of data.splits.gate{lower}"
        )
    for limit in filter(_is_planned, policy.limits):
        needed, seeds = _seeds_needed(limit, policy, cells, alpha), assumptions[0].seeds
        if needed is not None and needed > seeds:
            advice.append(
                f"{limit.name}: {seeds} seeds cannot show the limit, whatever they predict; it needs at least "
                f"{needed:,} seeds"
            )
    # Sets with the assumed accuracy should not pass a floor above it.
    floors = {limit.name for limit in policy.limits if limit.at_least is not None and not limit.over}
    unlikely = [row for row in rows if row.chance < 0.8 and not (row.clause in floors and row.accuracy <= row.limit)]
    for row in unlikely:
        more = f"{row.needed[0]:,} examples a cell" if row.needed[0] else "more seeds, or seeds that scatter less"
        advice.append(
            f"{row.clause}: at accuracy {row.accuracy:g} a fair set passes the limit {row.limit:g} with a chance of "
            f"{100 * row.chance:.0f} %; for 80 % use {more}, or a limit of {row.likely[0]:.2f}"
        )
    if len(cells.groups) > 2 and (too_small or unlikely):
        advice.append(_coarser_groups(cells, policy, assumptions[0], alpha=alpha, rng=rng))
    return advice


def _seeds_needed(limit: Limit, policy: Gate, cells: Cells, alpha: float) -> int | None:
    """Return the smallest number of seeds with which a clause can pass, if no distribution of networks is assumed."""
    if policy.networks != "bounded" and limit.each_network is None:
        return None
    clause_cells = cells.marginals[limit.by] if limit.by else cells
    metric = PREDICTION_METRICS[limit.metric]
    return fewest_networks(limit, metric, clause_cells.classes, clause_cells.groups, alpha=alpha)


def _coarser_groups(cells: Cells, policy: Gate, assumed: Assumptions, *, alpha: float, rng: np.random.Generator) -> str:
    """Propose to compare each group with the rest, with the limit that this would allow."""
    groups = len(cells.groups)
    advice = (
        f"{groups} groups make {groups * (groups - 1) // 2} pairs per rate: compare each group with the rest "
        "(`against: rest`), or declare marginal groups (one attribute at a time) instead of their intersections"
    )
    for limit in policy.limits:
        is_pairwise = METRICS[limit.metric].is_gap and not (limit.over or limit.by or limit.against == "rest")
        if is_pairwise and _is_planned(limit):
            rest = limit.model_copy(update={"against": "rest"})
            share = 0.8 if limit.at_most is not None else 0.2
            pairwise, against_rest = (
                float(np.quantile(_bounds(clause, cells, assumed, alpha=alpha, rng=rng, draws=_SEARCH_DRAWS), share))
                for clause in (limit, rest)
            )
            advice += f"; for {limit.name} a limit of {against_rest:.2f} is then likely to pass, now {pairwise:.2f}"
            break
    return f"{advice}. Differences between two single groups are then not tested, and the card must say so"
