"""How the numbers of a clause vary over networks and over examples, measured by leaving some of them out.

The evidence of a clause is computed again without some networks, and on halves of the examples. This works for every
metric, and for clauses over a reference, because it uses nothing of a metric except its evidence.

Axes: J comparisons, S networks (seeds), H halves of the examples, N examples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fair_distill.config import Limit
from fair_distill.gate.confusion import Floats, Ints
from fair_distill.gate.evidence import Evidence
from fair_distill.gate.findings import signed_limit
from fair_distill.gate.metrics import PredictionMetric
from fair_distill.gate.network_predictions import NetworkPredictions
from fair_distill.gate.quantiles import normal_quantile

# More networks are left out in blocks of several, so that the cost does not grow with their number.
_MOST_BLOCKS = 12
HALVES = 12
# Comparisons far within the limit do not decide. The others follow from the largest bounds.
_MOST_COMPARISONS = 40


@dataclass(frozen=True, eq=False)
class ClauseInfluence:
    """The comparisons that decide a clause for one architecture, as numbers of which larger ones are worse.

    Attributes
    ----------
    architecture : its number among the evaluated ones; their networks differ, their examples are the same
    limit : the limit of the numbers
    folded : whether the numbers are absolute values
    centres, distances : the numbers, and the distances of their bounds, (J,)
    widths : contributions of examples and of networks to the distances, (2, J)
    regression : how much smaller than the measured numbers the true ones are expected to be, (J,), see `shrinkage`
    networks : deviation of the number under each block of networks, scaled to that of a single network, (blocks, J)
    halves : difference between the number on half of the examples and on all of them, (H, J)
    seeds : S
    """

    clause: str
    architecture: int
    limit: float
    folded: bool
    centres: Floats
    distances: Floats
    widths: Floats
    regression: Floats
    networks: Floats
    halves: Floats
    seeds: int


def clause_influence(
    limit: Limit,
    metric: PredictionMetric,
    predictions: NetworkPredictions,
    reference: NetworkPredictions | None,
    *,
    architecture: int,
    alpha: float,
    halves: Sequence[NDArray[np.bool_]],
) -> ClauseInfluence:
    """Measure how the numbers of a clause vary.

    Parameters
    ----------
    alpha : level of the bounds
    halves : examples of each half, (N,) each
    """
    sign, number = signed_limit(limit)

    def centres(select: Callable[[NetworkPredictions], NetworkPredictions]) -> Floats:
        other = None if reference is None else select(reference)
        return _centres(metric.gather(limit, select(predictions), other), sign, alpha)

    evidence = metric.gather(limit, predictions, reference)
    all_centres = _centres(evidence, sign, alpha)
    distances = sign * (evidence.upper if sign > 0 else evidence.lower)(alpha) - all_centres
    widths = np.stack(evidence.half_widths(alpha))
    folded = metric.is_gap and sign > 0
    errors = np.nan_to_num(np.sqrt(np.square(widths).sum(axis=0)) / normal_quantile(alpha), posinf=0.0)
    decisive = np.argsort(-(all_centres + distances), kind="stable")[:_MOST_COMPARISONS]

    blocks = np.array_split(np.arange(predictions.seeds), min(predictions.seeds, _MOST_BLOCKS))
    networks = np.zeros((1, len(all_centres)))
    if len(blocks) > 1:
        without = [centres(partial(without_networks, omitted=block)) for block in blocks]
        networks = np.stack(
            [
                (predictions.seeds - len(block)) / len(block) * (all_centres - rest) * np.sqrt(len(block))
                for block, rest in zip(blocks, without, strict=True)
            ]
        )
    of_halves = np.stack([centres(partial(only_examples, kept=half)) for half in halves]) - all_centres
    return ClauseInfluence(
        clause=limit.name,
        architecture=architecture,
        limit=number,
        folded=folded,
        centres=all_centres[decisive],
        distances=distances[decisive],
        widths=widths[:, decisive],
        regression=shrinkage(all_centres, errors, centred=folded)[decisive],
        networks=np.nan_to_num(networks[:, decisive]),
        halves=np.nan_to_num(of_halves[:, decisive]),
        seeds=predictions.seeds,
    )


def shrinkage(numbers: Floats, errors: Floats, *, centred: bool) -> Floats:
    """Return the differences between measured numbers and the expected true ones, (J,).

    The largest of many measured numbers is partly the largest by chance. The true numbers are assumed to scatter about
    0 (`centred`, for differences) or about their mean. Their variance is what the measured numbers scatter more than
    their standard errors explain (James and Stein, 1961). No number moves by more than its standard error, so a single
    large one stays large (limited translation, Efron and Morris, 1972).
    """
    deviations = numbers if centred else numbers - numbers.mean()
    freedom = len(numbers) - (2 if centred else 3)
    if freedom < 1:
        return np.zeros(len(numbers))
    variance = max(float(np.square(deviations).sum() / freedom - np.square(errors).mean()), 0.0)
    shares = np.divide(errors**2, variance + errors**2, out=np.zeros(len(numbers)), where=errors > 0)
    return np.asarray(np.clip(shares * deviations, -errors, errors))


def _centres(evidence: Evidence, sign: float, alpha: float) -> Floats:
    """Return the numbers that the half-widths refer to, (J,)."""
    return np.asarray(sign * (evidence.values if evidence.centre is None else evidence.centre(alpha)))


def without_networks(predictions: NetworkPredictions, omitted: Ints) -> NetworkPredictions:
    """Return the predictions without some networks, by their numbers."""
    return replace(
        predictions,
        predicted=np.delete(predictions.predicted, omitted, axis=0),
        probability=np.delete(predictions.probability, omitted, axis=0),
    )


def only_examples(predictions: NetworkPredictions, kept: NDArray[np.bool_]) -> NetworkPredictions:
    """Return the predictions for the examples (N,) that are kept; a pair is kept or omitted as a whole."""
    pairs = predictions.examples_by_pair
    if pairs is not None:
        numbers = np.cumsum(kept) - 1
        pairs = numbers[pairs[kept[pairs[:, 0]]]]
    return replace(
        predictions,
        **{name: getattr(predictions, name)[kept] for name in ("examples", "labels", "group_indices", "pairs")},
        clusters=np.unique(predictions.clusters[kept], return_inverse=True)[1],
        predicted=predictions.predicted[:, kept],
        probability=predictions.probability[:, kept],
        examples_by_pair=pairs,
    )


def random_halves(predictions: NetworkPredictions, rng: np.random.Generator, count: int) -> list[NDArray[np.bool_]]:
    """Return halves of the examples, (N,) each. Every class and group is halved, and clusters stay whole."""
    clusters = int(predictions.clusters.max()) + 1
    cells = np.zeros(clusters, dtype=np.int64)
    cells[predictions.clusters] = predictions.labels * len(predictions.groups) + predictions.group_indices
    halves: list[NDArray[np.bool_]] = []
    while len(halves) < count:
        order = np.lexsort((rng.random(clusters), cells))
        chosen = np.zeros(clusters, dtype=bool)
        # Each half begins at random, so that the odd cluster of a cell is not always on the same side.
        chosen[order[int(rng.integers(2)) :: 2]] = True
        halves.append(chosen[predictions.clusters])
    return halves
