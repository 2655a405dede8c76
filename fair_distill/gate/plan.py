"""Before any GPU time: what can this split show under this policy, and how many examples would a limit need?

Truly fair sets are simulated at an assumed accuracy, with the cells that the split has, and their bounds taken as
`bounds` takes them. What comes out are limits that such a set passes with a given chance, which is how a limit is
to be chosen: from the split and the risk, not from results.

Axes: R simulated sets, J places, S seeds, C classes, G groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from fair_distill.config import Gate, Limit
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.errors import ConfigError
from fair_distill.gate.bounds import Contrasts, Score, bend
from fair_distill.gate.metrics import GAP_RATES, Floats, Ints
from fair_distill.gate.network_predictions import coarser
from fair_distill.gate.policy import alpha_at, check
from fair_distill.gate.published import NEAR_COPIES
from fair_distill.seeds import plain_numpy_generator

_MOST = 1_000_000


@dataclass(frozen=True, eq=False)
class Cells:
    """A gate split as far as the plan needs it: independent examples per class and group, (C, G).

    `marginals` are the same for coarser groups, by the attributes that make them.
    """

    counts: Ints
    paired: bool
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    marginals: Mapping[tuple[str, ...], "Cells"] = field(default_factory=dict)


@dataclass(frozen=True)
class Assumed:
    """What is taken to be true of the sets to come.

    Attributes
    ----------
    accuracy : of every cell; wrong answers spread evenly over the other classes
    seed_sd : standard deviation over seeds of a difference between two groups
    agreement : correlation of two answers about the same thing: of a pair, or of two sets to one example
    """

    accuracy: float
    seeds: int
    seed_sd: float
    agreement: float = 0.5


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
class Plan:
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
    assumed: Sequence[Assumed],
    *,
    rng: np.random.Generator,
    attempt: int = 1,
    draws: int = 1000,
) -> Plan:
    """Return what the split can show, clause by clause, and what to do where that is too little."""
    check(policy)
    if policy.alpha is None or policy.minimum_per_cell is None:
        raise ConfigError("params.yaml: gate.mode is point, which asks no confidence of a split; plan `mode: bounds`")
    alpha = alpha_at(policy.alpha, attempt)
    rows = []
    for limit in policy.limits:
        if limit.metric in ("calibration_gap", NEAR_COPIES) or limit.classes or limit.groups:
            continue
        for assume in assumed:
            of = cells.marginals[limit.by] if limit.by else cells
            rows.append(_row(limit, of, assume, alpha=alpha, rng=rng, draws=draws))
    return Plan(tuple(rows), tuple(_advice(cells, policy, rows, assumed, alpha=alpha, rng=rng)))


def _row(limit: Limit, cells: Cells, assume: Assumed, *, alpha: float, rng: np.random.Generator, draws: int) -> Row:
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
    limit: Limit, cells: Cells, assume: Assumed, *, alpha: float, rng: np.random.Generator | None, draws: int
) -> Floats:
    """The bound that is held against a clause's limit, for each of R fair sets; without rng, of an ideal one."""
    draw = _Draw(cells, assume, rng, draws)
    if limit.over and limit.metric == "accuracy":
        return _least(draw.shared(cells.counts.sum(), 1), alpha)
    if limit.metric in ("accuracy", "worst_group_accuracy", "worst_cell_accuracy"):
        sizes = {
            "accuracy": cells.counts[:, 0].sum() if cells.paired else cells.counts.sum(),
            "worst_group_accuracy": cells.counts.sum(axis=0),
        }.get(limit.metric, cells.counts.ravel())
        return _least(draw.level(np.atleast_1d(sizes), assume.accuracy), alpha)
    sizes, rates = _sizes(limit.metric, cells, assume.accuracy)
    pairs = _sides(len(cells.groups), limit.against == "rest")
    if limit.over:
        # Two differences are subtracted, or the gap itself is small: whichever shows it, each at a third of the level.
        third = alpha / 3
        own, other = draw.apart(sizes, rates, pairs), draw.apart(sizes, rates, pairs)
        both = replace(own, seeds=own.seeds - other.seeds)
        half = np.hypot(own.examples_above(third), other.examples_above(third))
        rise = np.abs(both.value) + np.hypot(half, both.seeds_above(third))
        gap = np.maximum(own.upper(third), -own.lower(third))
        return np.asarray(np.minimum(rise, gap).max(axis=-1))
    apart = draw.apart(sizes, rates, pairs)
    if limit.metric == "eo_diag_mean":
        shape = (-1, len(rates), len(pairs))
        value = np.abs(apart.value).reshape(shape).max(axis=2).mean(axis=1)
        wide = np.maximum(apart.examples_above(alpha), apart.examples_below(alpha)).reshape(shape).max(axis=2)
        examples = np.sqrt(np.square(wide).sum(axis=1)) / len(rates)
        return np.asarray(value + np.hypot(examples, apart.seeds_above(alpha).reshape(shape).max(axis=2).mean(axis=1)))
    return np.asarray(np.maximum(apart.upper(alpha), -apart.lower(alpha)).max(axis=-1))


def _least(rates: Contrasts, alpha: float) -> Floats:
    return np.asarray(rates.lower(alpha).min(axis=-1))


def _sides(groups: int, rest: bool) -> list[tuple[list[int], list[int]]]:
    if not rest or groups == 2:
        return [([a], [b]) for a, b in combinations(range(groups), 2)]
    return [([a], [b for b in range(groups) if b != a]) for a in range(groups)]


def _sizes(metric: str, cells: Cells, accuracy: float) -> tuple[Ints, Floats]:
    """Examples per rate and group, and each rate's value under the assumed accuracy."""
    classes = len(cells.classes)
    rates = GAP_RATES[metric](classes)
    sizes = np.stack([cells.counts[list(rate.of)].sum(axis=0) for rate in rates])
    wrong = (1 - accuracy) / (classes - 1)
    # The share of the rate's examples that are of the class it says, each answered right with `accuracy`.
    own = [
        cells.counts[rate.says].sum() * (rate.says in rate.of) / size.sum()
        for rate, size in zip(rates, sizes, strict=True)
    ]
    return sizes, np.array([share * accuracy + (1 - share) * wrong for share in own])


class _Draw:
    """Fair sets as measured: by binomial chance of the examples and normal scatter of the seeds."""

    def __init__(self, cells: Cells, assume: Assumed, rng: np.random.Generator | None, draws: int) -> None:
        self.cells, self.assume, self.rng, self.draws = cells, assume, rng, draws

    def level(self, sizes: Ints, p: float) -> Contrasts:
        """One rate per size."""
        found = self._share(sizes, np.full(len(sizes), p))
        seeds = self._seeds(found, 1 / np.sqrt(2))
        return Contrasts(self._score(found, None, sizes), None, seeds, bend(seeds, np.array(_MOST)))

    def shared(self, size: int, places: int) -> Contrasts:
        """The difference of two sets' answers to the same examples."""
        sizes = np.full(places, size)
        return self._discordant(sizes, np.full(places, self.assume.accuracy), 1.0)

    def apart(
        self, sizes: Ints, rates: Floats, pairs: list[tuple[list[int], list[int]]], *, scatter: float = 1.0
    ) -> Contrasts:
        """Differences of every rate between every two sides, J = rates × pairs."""
        first = np.stack([sizes[:, a].sum(axis=1) for a, _ in pairs], axis=1)
        second = np.stack([sizes[:, b].sum(axis=1) for _, b in pairs], axis=1)
        p = np.repeat(rates, len(pairs))
        if self.cells.paired:
            return self._discordant(first.ravel(), p, scatter)
        one, other = self._share(first.ravel(), p), self._share(second.ravel(), p)
        return Contrasts(
            self._score(one, None, first.ravel()),
            self._score(other, None, second.ravel()),
            self._seeds(one - other, scatter),
        )

    def _discordant(self, sizes: Ints, p: Floats, scatter: float) -> Contrasts:
        each = p * (1 - p) * (1 - self.assume.agreement)
        if self.rng is None:
            up = down = np.broadcast_to(each, (1, len(p)))
        else:
            differ = self.rng.binomial(sizes, 2 * each, (self.draws, len(p)))
            up = self.rng.binomial(differ, 0.5) / sizes
            down = differ / sizes - up
        return Contrasts(self._score(up, down, sizes), None, self._seeds(up - down, scatter))

    def _share(self, sizes: Ints, p: Floats) -> Floats:
        if self.rng is None:
            return np.broadcast_to(p, (1, len(p)))
        return np.asarray(self.rng.binomial(sizes, p, (self.draws, len(p))) / sizes)

    def _score(self, up: Floats, down: Floats | None, sizes: Ints) -> Score:
        effective = np.broadcast_to(sizes, up.shape).astype(float)
        return Score(up, down, effective, np.maximum(effective - 1, 0))

    def _seeds(self, value: Floats, scatter: float) -> Floats:
        shape = (*value.shape, self.assume.seeds)
        sd = scatter * self.assume.seed_sd
        noise = np.zeros(shape) if self.rng is None else self.rng.normal(0, 1, shape) * sd
        return np.asarray(value[..., None] + noise)


def _advice(
    cells: Cells,
    policy: Gate,
    rows: Sequence[Row],
    assumed: Sequence[Assumed],
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


def _coarser(cells: Cells, policy: Gate, assumed: Sequence[Assumed], *, alpha: float, rng: np.random.Generator) -> str:
    """Say what is gained by holding each group against the rest, and what then is not tested."""
    groups = len(cells.groups)
    told = (
        f"{groups} groups make {groups * (groups - 1) // 2} pairs per rate: hold each group against the rest "
        "(`against: rest`), or declare marginal groups (one attribute at a time) in place of their intersections"
    )
    for limit in policy.limits:
        if limit.metric in GAP_RATES and not limit.over and not limit.by and limit.against != "rest":
            rest = limit.model_copy(update={"against": "rest"})
            assume = assumed[0]
            each, coarse = (
                float(np.quantile(_bounds(one, cells, assume, alpha=alpha, rng=rng, draws=300), 0.8))
                for one in (limit, rest)
            )
            told += f"; for {limit.name} that shows {coarse:.2f} where pairs show {each:.2f}"
            break
    return f"{told}. What is not tested then are differences between two single groups; the card has to say so"
