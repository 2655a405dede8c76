"""One clause of the policy against one network's answers: the numbers, where they were measured, their bounds.

Every metric becomes a list of places (a rate in one group, or its difference between two) with a value each and
one-sided bounds at any level, so that `judge` need not know which metric it is. J places, S seeds, N examples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fair_distill.config import Limit
from fair_distill.gate.bounds import Contrasts, bend, level, minus, on_the_same, stacked
from fair_distill.gate.metrics import GAP_RATES, Confusion, Floats, Ints, Rate
from fair_distill.gate.network_predictions import Answers, Rows
from fair_distill.gate.scope import Place, Scope, scope

Bound = Callable[[float], Floats]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a clause looks at in one network's answers.

    Attributes
    ----------
    value : the metric, of mean rates
    per_seed : the mean over seeds of each seed's own metric; for a largest gap never smaller
    each : the number at each place that is held against the limit, (J,)
    upper, lower : given alpha, one-sided bounds of `each`
    parts : given alpha, the half-widths that examples and seeds contribute
    tests : how many one-sided tests a bound from the accusing side is, per place (for Holm)
    around : given alpha, what the parts are half-widths about, where that is not `each`
    """

    network: str
    value: float
    per_seed: float
    each: Floats
    places: tuple[Place, ...]
    upper: Bound
    lower: Bound
    parts: Callable[[float], tuple[Floats, Floats]]
    tests: int = 1
    around: Bound | None = None


def gather(limit: Limit, own: Answers, other: Answers | None) -> Evidence:
    """Measure what a clause limits, in one network; `other` is the same network trained on what it is held `over`."""
    of = scope(limit, own.classes, own.groups)
    if limit.over:
        assert other is not None
        return _uplift(own, other, of) if limit.metric == "accuracy" else _rise(own, other, of)
    if limit.metric == "calibration_gap":
        return _calibration(own, of)
    if limit.metric in GAP_RATES:
        contrasts = _differences(own, of, lambda rate: _says(own, rate))
        return (_mean_gap if limit.metric == "eo_diag_mean" else _largest_gap)(own, of, contrasts)
    return _smallest(own, of)


def value_of(limit: Limit, table: Confusion) -> float | None:
    """The metric of a clause from a table of counts; None for what is held over another set."""
    if limit.over:
        return None
    of = scope(limit, table.classes, table.groups)
    if limit.metric == "calibration_gap":
        assert table.confidence is not None
        sizes, error = table.support.sum(axis=1), table.confidence.sum(axis=1)
        error = np.abs(error - np.trace(table.counts, axis1=1, axis2=2)) / sizes
        return float(max(abs(_pooled(error * sizes, sizes, a) - _pooled(error * sizes, sizes, b)) for a, b in of.sides))
    said, support = table.parts(of.rates)
    first = np.stack([_pooled(said, support, a) for a, _ in of.sides], axis=1)
    if limit.metric not in GAP_RATES:
        return float(first.min())
    second = np.stack([_pooled(said, support, b) for _, b in of.sides], axis=1)
    gaps = np.abs(first - second).max(axis=1)
    return float(gaps.mean() if limit.metric == "eo_diag_mean" else gaps.max())


def _pooled(part: Floats, whole: Floats, side: tuple[int, ...] | None) -> Floats:
    groups = list(side or ())
    return np.asarray(part[..., groups].sum(axis=-1) / whole[..., groups].sum(axis=-1))


def _says(own: Answers, rate: Rate) -> Floats:
    """1 where the answer is the rate's, else 0, (S, N)."""
    return np.asarray(own.predicted == (own.labels if rate.says is None else rate.says), dtype=float)


def _among(values: Ints, wanted: tuple[int, ...]) -> NDArray[np.bool_]:
    """`np.isin` for few values."""
    return np.logical_or.reduce([values == one for one in wanted])


def _levels(own: Answers, of: Scope, values: Callable[[Rate], Floats], *, lowest: int = 0) -> Contrasts:
    """The means of values (S, N) over what every rate is of, in all sides of its own, one side after another."""
    rows: list[Rows] = []
    taken: list[Floats] = []
    for rate in of.rates:
        value = values(rate)
        of_rate = [own.rows(rate.of, side) for side in of.distinct]
        rows += of_rate
        taken += [value[:, cell.at] for cell in of_rate]
    # Cells of equal size, without clusters, are alike but for their numbers: one pass for all of them.
    alike: dict[int, list[int]] = {}
    for i, cell in enumerate(rows):
        alike.setdefault(len(cell.at) if cell.clusters is None else -1 - i, []).append(i)
    parts = [
        level(np.stack([taken[i] for i in of_size]), rows[of_size[0]].clusters, lowest=lowest)
        for of_size in alike.values()
    ]
    return stacked(parts)[np.argsort([i for of_size in alike.values() for i in of_size])]


def _differences(
    own: Answers, of: Scope, values: Callable[[Rate], Floats], *, lowest: int = 0, scale: float = 1.0
) -> Contrasts:
    """Differences between sides of a value (S, N) in [lowest, scale]; by pairs of examples where all are paired."""
    if own.by_pair is not None:
        return stacked([_paired(own, rate, of, values(rate), scale=scale * (1 - lowest)) for rate in of.rates])
    levels = _levels(own, of, lambda rate: values(rate) / scale, lowest=lowest)
    starts = np.arange(len(of.rates))[:, None] * len(of.distinct)
    place = {side: i for i, side in enumerate(of.distinct)}
    first = levels[(starts + [place[a] for a, _ in of.sides]).ravel()]
    second = levels[(starts + [place[b] for _, b in of.sides if b]).ravel()]
    apart = minus(first, second)
    return replace(apart, seeds=apart.seeds * scale, scale=scale)


def _paired(own: Answers, rate: Rate, of: Scope, value: Floats, *, scale: float) -> Contrasts:
    assert own.by_pair is not None
    pairs = own.by_pair[_among(own.labels[own.by_pair[:, 0]], rate.of)]
    clusters = own.clusters[pairs[:, 0]]
    alone = len(np.unique(clusters)) == len(clusters)
    of_pair = value[:, pairs]
    sides = {side: of_pair[..., list(side)].mean(axis=-1) for side in of.distinct}
    apart = np.stack([sides[a] - sides[b or ()] for a, b in of.sides])
    found = on_the_same(apart, None if alone else clusters, scale=scale)
    if scale != 1:  # not the values of a rate, but of a difference of rates
        return found
    count = np.asarray(found.first.freedom[0] + 1)
    bends = {side: bend(values.mean(axis=-1), count) for side, values in sides.items()}
    return replace(found, bend=np.stack([bends[a] - bends[b or ()] for a, b in of.sides]))


def _within(contrasts: Contrasts) -> tuple[Bound, Bound]:
    """Bounds of the differences' absolute values."""
    return (
        lambda alpha: np.maximum(contrasts.upper(alpha), -contrasts.lower(alpha)),
        lambda alpha: np.maximum(contrasts.lower(alpha), -contrasts.upper(alpha)),
    )


def _parts(contrasts: Contrasts) -> Callable[[float], tuple[Floats, Floats]]:
    def parts(alpha: float) -> tuple[Floats, Floats]:
        up = contrasts.value >= 0
        examples = np.where(up, contrasts.examples_above(alpha), contrasts.examples_below(alpha))
        return examples, np.where(up, contrasts.seeds_above(alpha), contrasts.seeds_below(alpha))

    return parts


def _largest_gap(own: Answers, of: Scope, contrasts: Contrasts) -> Evidence:
    upper, lower = _within(contrasts)
    each = np.abs(contrasts.value)
    per_seed = float(np.abs(contrasts.seeds).max(axis=0).mean())
    return Evidence(own.network, float(each.max()), per_seed, each, of.places, upper, lower, _parts(contrasts), tests=2)


def _mean_gap(own: Answers, of: Scope, contrasts: Contrasts) -> Evidence:
    """The mean over rates of the largest gap: one place, named by the rate and pair that differ most.

    The mean exceeds the limit if and only if some choice of a pair for every rate has a mean difference above it.
    Each choice is one difference, with a bound of its own; the largest of them is bounded by taking every part at
    its worst. Examples of different rates are different examples, so their parts add in squares (plainly where a
    cluster reaches into several); the same networks answer all, so seeds' parts add plainly.
    """
    count = len(of.rates)
    shape = (count, len(of.sides))
    value = np.abs(contrasts.value).reshape(shape).max(axis=1).mean()
    cells = np.unique(own.clusters * len(own.classes) + own.labels)
    apart = len(cells) == own.clusters.max() + 1

    def parts(alpha: float) -> tuple[Floats, Floats]:
        widest = np.maximum(contrasts.examples_above(alpha), contrasts.examples_below(alpha)).reshape(shape).max(axis=1)
        examples = np.sqrt(np.square(widest).sum()) if apart else widest.sum()
        scatter = np.maximum(contrasts.seeds_above(alpha), contrasts.seeds_below(alpha)).reshape(shape).max(axis=1)
        return np.array([examples / count]), np.array([scatter.mean()])

    def upper(alpha: float) -> Floats:
        return np.asarray(value + np.hypot(*parts(alpha)))

    def lower(alpha: float) -> Floats:
        _, below = _within(contrasts)
        return np.array([np.maximum(below(alpha / (2 * len(of.places))), 0).reshape(shape).max(axis=1).mean()])

    per_seed = float(np.abs(contrasts.seeds).reshape(*shape, -1).max(axis=1).mean())
    worst = of.places[int(np.abs(contrasts.value).argmax())]
    return Evidence(own.network, float(value), per_seed, np.array([value]), (worst,), upper, lower, parts)


def _smallest(own: Answers, of: Scope) -> Evidence:
    """The smallest of some rates: accuracy (one), of groups, of cells."""
    return _floor(own, of, _levels(own, of, lambda rate: _says(own, rate)))


def _floor(own: Answers, of: Scope, rates: Contrasts) -> Evidence:
    def parts(alpha: float) -> tuple[Floats, Floats]:
        return rates.examples_below(alpha), rates.seeds_below(alpha)

    per_seed = float(rates.seeds.min(axis=0).mean())
    return Evidence(
        own.network, float(rates.value.min()), per_seed, rates.value, of.places, rates.upper, rates.lower, parts
    )


def _uplift(own: Answers, other: Answers, of: Scope) -> Evidence:
    """How much more accurate, example by example."""
    (place,) = of.places
    assert place.rate is not None
    rows = own.rows(place.rate.of, place.first)
    right, theirs = (_says(one, place.rate)[None][..., rows.at] for one in (own, other))
    found = on_the_same(right - theirs, rows.clusters)
    bends = [bend(one.mean(axis=-1), found.first.freedom + 1) for one in (right, theirs)]
    return _floor(own, of, replace(found, bend=bends[0] - bends[1]))


def _rise(own: Answers, other: Answers, of: Scope) -> Evidence:
    """How much further apart two groups are than with the other set: |d| - |d'|, at every place.

    |d| - |d'| is the larger over signs s of the smaller over signs r of s d - r d', and never above the larger s d. To
    keep a limit, any of the three will do for each s: three chances, so each at alpha / 3. (Without the third, networks
    of the other set that scatter widely would hide a gap that is shown to be small.) To break it, both r are needed for
    one s: two chances, and `tests` counts them.
    """
    gaps = _differences(own, of, partial(_says, own))
    same = _differences(own, of, lambda rate: _says(own, rate) - _says(other, rate), lowest=-1)
    summed = _differences(own, of, lambda rate: _says(own, rate) + _says(other, rate), scale=2.0)
    theirs = _differences(other, of, partial(_says, other)).bend
    if gaps.bend is not None and theirs is not None:
        same, summed = replace(same, bend=gaps.bend - theirs), replace(summed, bend=gaps.bend + theirs)
    own_seeds, other_seeds = (same.seeds + summed.seeds) / 2, (summed.seeds - same.seeds) / 2
    each = np.abs(own_seeds.mean(axis=-1)) - np.abs(other_seeds.mean(axis=-1))
    ways = (same, summed, gaps)

    def upper(alpha: float) -> Floats:
        third = alpha / 3
        up = np.min([way.upper(third) for way in ways], axis=0)
        down = np.min([-way.lower(third) for way in ways], axis=0)
        return np.maximum(up, down)

    def lower(alpha: float) -> Floats:
        up = np.minimum(same.lower(alpha), summed.lower(alpha))
        down = np.minimum(-same.upper(alpha), -summed.upper(alpha))
        return np.maximum(up, down)

    def nearest(alpha: float, of_ways: Sequence[Floats]) -> Floats:
        """What belongs to the way that bounds a place most closely."""
        widest = np.stack([_within(way)[0](alpha / 3) for way in ways])
        return np.asarray(np.take_along_axis(np.stack(of_ways), widest.argmin(axis=0)[None], axis=0)[0])

    def parts(alpha: float) -> tuple[Floats, Floats]:
        found = [_parts(way)(alpha / 3) for way in ways]
        return nearest(alpha, [examples for examples, _ in found]), nearest(alpha, [seeds for _, seeds in found])

    def around(alpha: float) -> Floats:
        return nearest(alpha, [np.abs(way.value) for way in ways])

    per_seed = float((np.abs(own_seeds) - np.abs(other_seeds)).max(axis=0).mean())
    return Evidence(
        own.network, float(each.max()), per_seed, each, of.places, upper, lower, parts, tests=2, around=around
    )


def _calibration(own: Answers, of: Scope) -> Evidence:
    def error(rate: Rate) -> Floats:
        return np.asarray(own.probability - _says(own, rate))

    signed = _differences(own, of, error, lowest=-1)
    sides = of.distinct
    biases = _levels(own, of, error, lowest=-1)
    first = np.array([sides.index(a) for a, _ in of.sides])
    second = np.array([sides.index(b) for _, b in of.sides if b])
    each = np.abs(np.abs(biases.value)[first] - np.abs(biases.value)[second])

    def lower(alpha: float) -> Floats:
        low, high = biases.lower(alpha / 4), biases.upper(alpha / 4)
        least, most = np.maximum(np.maximum(low, -high), 0), np.maximum(high, -low)
        return np.maximum(least[first] - most[second], least[second] - most[first])

    per_seed = np.abs(biases.seeds)
    per_seed = np.abs(per_seed[first] - per_seed[second])
    places = tuple(Place(None, *side) for side in of.sides)
    return Evidence(
        own.network,
        float(each.max()),
        float(per_seed.max(axis=0).mean()),
        each,
        places,
        _within(signed)[0],
        lower,
        _parts(signed),
        tests=2,
    )
