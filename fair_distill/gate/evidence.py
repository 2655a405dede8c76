"""Evidence for one clause from the predictions of one network: values, and one-sided bounds at any level.

The classes of `gate.metrics` build `Evidence` from the functions here, so the decision does not depend on the metric.
Axes: J comparisons, S seeds, N examples.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fair_distill.gate.bounds import Contrasts, combined_bend, level, minus, on_the_same, rescaled, stacked
from fair_distill.gate.comparisons import Comparison, Comparisons
from fair_distill.gate.confusion import Floats, Ints, Rate
from fair_distill.gate.network_predictions import NetworkPredictions, Rows
from fair_distill.gate.shared_clusters import correlation, influences

# From a significance level to one bound per comparison, (J,).
Bound = Callable[[float], Floats]
# From a rate to one number per seed and example, (S, N).
ExampleValues = Callable[[Rate], Floats]


@dataclass(frozen=True, eq=False)
class Evidence:
    """The evidence for a clause in the predictions of one network.

    Attributes
    ----------
    value : the metric of the mean rates over seeds
    per_seed : the mean over seeds of each seed's metric; for a largest gap it is never smaller than `value`.
        None if the metric of some seed is undefined
    values : the number of each comparison that is compared with the limit, (J,)
    comparisons : the comparison of each number, (J,)
    upper, lower : one-sided bounds of `values` at a level
    half_widths : the contributions of examples and of seeds to the bound's distance, at a level
    tests : number of one-sided tests per comparison behind a bound that shows a violation, for Holm's procedure
    centre : the numbers that `half_widths` refer to, at a level; None if they are `values`
    """

    network: str
    value: float
    per_seed: float | None
    values: Floats
    comparisons: tuple[Comparison, ...]
    upper: Bound
    lower: Bound
    half_widths: Callable[[float], tuple[Floats, Floats]]
    tests: int = 1
    centre: Bound | None = None


def matches(predictions: NetworkPredictions, rate: Rate) -> Floats:
    """Return 1 where the prediction is the rate's event, else 0, (S, N)."""
    event = predictions.labels if rate.predicted is None else rate.predicted
    return np.asarray(predictions.predicted == event, dtype=float)


def levels(
    predictions: NetworkPredictions, comparisons: Comparisons, values: ExampleValues, *, lowest: int = 0
) -> Contrasts:
    """Return the means of values in [lowest, 1] for every rate on every distinct side, rate by rate."""
    rows: list[Rows] = []
    selected: list[Floats] = []
    for rate in comparisons.rates:
        value = values(rate)
        rows_of_rate = [predictions.rows(rate.true_classes, side) for side in comparisons.distinct_sides]
        rows += rows_of_rate
        selected += [value[:, cell.indices] for cell in rows_of_rate]
    # Cells of equal size without clusters have arrays of equal shape, so one pass bounds all of them.
    batches: dict[int, list[int]] = {}
    for i, cell in enumerate(rows):
        batches.setdefault(len(cell.indices) if cell.clusters is None else -1 - i, []).append(i)
    parts = [
        level(
            np.stack([selected[i] for i in batch]),
            rows[batch[0]].clusters,
            lowest=lowest,
            treatment=predictions.treatment,
        )
        for batch in batches.values()
    ]
    return stacked(parts)[np.argsort([i for batch in batches.values() for i in batch])]


def differences(
    predictions: NetworkPredictions,
    comparisons: Comparisons,
    values: ExampleValues,
    *,
    lowest: int = 0,
    scale: float = 1.0,
) -> Contrasts:
    """Return the differences between sides of values in [lowest, scale], (J,).

    If every pair of the split has one example of each group, differences are taken within the pairs.
    """
    if predictions.examples_by_pair is not None:
        width = scale * (1 - lowest)
        return stacked(
            [_paired(predictions, rate, comparisons, values(rate), scale=width) for rate in comparisons.rates]
        )
    each = levels(predictions, comparisons, lambda rate: values(rate) / scale, lowest=lowest)
    first, second = _sides(comparisons)
    moves = influences_of(predictions, comparisons, values) if predictions.clusters_span_groups else None
    correlations = None if moves is None else correlation(moves[first], moves[second])
    return rescaled(minus(each[first], each[second], correlations), scale)


def cluster_influences(predictions: NetworkPredictions, comparisons: Comparisons, values: ExampleValues) -> Floats:
    """Return how far each cluster moves every difference of `differences`, (J, K)."""
    count = int(predictions.clusters.max()) + 1
    if predictions.examples_by_pair is None:
        moves = influences_of(predictions, comparisons, values)
        first, second = _sides(comparisons)
        with np.errstate(invalid="ignore"):  # the influence of a single cluster is not defined
            return np.asarray(moves[first] - moves[second])
    moves_of_pairs = []
    for rate in comparisons.rates:
        pairs = _pairs(predictions, rate)
        by_pair = values(rate).mean(axis=0)[pairs]
        for a, b in comparisons.sides:
            difference = by_pair[:, list(a)].mean(axis=-1) - by_pair[:, list(b or ())].mean(axis=-1)
            moves_of_pairs.append(influences(difference, predictions.clusters[pairs[:, 0]], count))
    return np.stack(moves_of_pairs)


def _sides(comparisons: Comparisons) -> tuple[Ints, Ints]:
    """Return the indices of the first and second side of each difference among all rates × distinct sides."""
    index = {side: i for i, side in enumerate(comparisons.distinct_sides)}
    starts = np.arange(len(comparisons.rates))[:, None] * len(index)
    first = starts + np.array([index[a] for a, _ in comparisons.sides])
    second = starts + np.array([index[b] for _, b in comparisons.sides if b])
    return first.ravel(), second.ravel()


def influences_of(predictions: NetworkPredictions, comparisons: Comparisons, values: ExampleValues) -> Floats:
    """Return how far each cluster moves every rate on every distinct side, rate by rate, (rates × sides, K)."""
    count = int(predictions.clusters.max()) + 1
    moves = []
    for rate in comparisons.rates:
        value = values(rate).mean(axis=0)
        for side in comparisons.distinct_sides:
            indices = predictions.rows(rate.true_classes, side).indices
            moves.append(influences(value[indices], predictions.clusters[indices], count))
    return np.stack(moves)


def _paired(
    predictions: NetworkPredictions, rate: Rate, comparisons: Comparisons, value: Floats, *, scale: float
) -> Contrasts:
    pairs = _pairs(predictions, rate)
    clusters = predictions.clusters[pairs[:, 0]]
    all_distinct = len(np.unique(clusters)) == len(clusters)
    by_pair = value[:, pairs]
    sides = {side: by_pair[..., list(side)].mean(axis=-1) for side in comparisons.distinct_sides}
    difference = np.stack([sides[a] - sides[b or ()] for a, b in comparisons.sides])
    clusters_of_pairs = None if all_distinct else clusters
    contrasts = on_the_same(difference, clusters_of_pairs, scale=scale, treatment=predictions.treatment)
    if scale != 1:  # `bend` describes the scatter of a rate; these are differences of rates
        return contrasts
    each = {side: level(mean, clusters_of_pairs) for side, mean in sides.items()}
    bends = [combined_bend(each[a], each[b or ()], -1) for a, b in comparisons.sides]
    return replace(contrasts, bend=np.stack([bend for bend in bends if bend is not None]))


def _pairs(predictions: NetworkPredictions, rate: Rate) -> Ints:
    """Return the pairs of a rate's classes, (pairs, G)."""
    assert predictions.examples_by_pair is not None
    labels = predictions.labels[predictions.examples_by_pair[:, 0]]
    return predictions.examples_by_pair[_is_any_of(labels, rate.true_classes)]


def _is_any_of(values: Ints, candidates: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the result of `np.isin`, which is slower for few candidates."""
    return np.asarray(np.logical_or.reduce([values == candidate for candidate in candidates]))


def absolute_upper(contrasts: Contrasts) -> Bound:
    """Return the upper bound of the absolute values."""
    return lambda alpha: np.maximum(contrasts.upper(alpha), -contrasts.lower(alpha))


def absolute_lower(contrasts: Contrasts) -> Bound:
    """Return the lower bound of the absolute values."""
    return lambda alpha: np.maximum(contrasts.lower(alpha), -contrasts.upper(alpha))


def half_widths(contrasts: Contrasts) -> Callable[[float], tuple[Floats, Floats]]:
    """Return the half-widths of examples and of seeds on the side away from 0."""

    def at_level(alpha: float) -> tuple[Floats, Floats]:
        positive = contrasts.value >= 0
        examples = np.where(positive, contrasts.examples_above(alpha), contrasts.examples_below(alpha))
        return examples, np.where(positive, contrasts.seeds_above(alpha), contrasts.seeds_below(alpha))

    return at_level


def smallest(network: str, comparisons: Comparisons, rates: Contrasts) -> Evidence:
    """Return the evidence for the smallest of some rates, or of some rises of rates."""

    def half_widths_below(alpha: float) -> tuple[Floats, Floats]:
        return rates.examples_below(alpha), rates.seeds_below(alpha)

    return Evidence(
        network=network,
        value=float(rates.value.min()),
        per_seed=float(rates.seeds.min(axis=0).mean()),
        values=rates.value,
        comparisons=comparisons.each,
        upper=rates.upper,
        lower=rates.lower,
        half_widths=half_widths_below,
    )
