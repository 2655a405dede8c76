"""The noise floor of a gap: the gap that a perfectly fair classifier would show on these examples by chance.

A gap is a largest difference, so it is above 0 even if no groups differ. The floor puts a measured gap into proportion.
It keeps the measured rates of each class and removes the effect of the group. In a paired split, the predictions of a
pair are exchanged between its groups at random. Otherwise the examples of each class are reassigned to groups at
random, cluster by cluster. The size of each cell and the rates of each class stay the same.
"""

from collections.abc import Callable
from functools import cache

import numpy as np

from fair_distill.gate.confusion import Confusion, Ints
from fair_distill.gate.network_predictions import NetworkPredictions

# The mean over draws is more precise on a large split, so fewer draws suffice there.
_MOST_DRAWS, _FEWEST_DRAWS, _PREDICTIONS_IN_ALL = 100, 20, 1_000_000
# From a metric of counts to its floor; None if the metric is undefined in any draw.
Floor = Callable[[Callable[[Confusion], float | None]], float | None]


def noise_floor(predictions: NetworkPredictions, rng: np.random.Generator, *, draws: int | None = None) -> Floor:
    """Return a function from a metric to its mean over simulated fair classifiers.

    Parameters
    ----------
    draws : number of simulated classifiers; by default between 20 and 100, depending on the number of predictions
    """
    draws = draws or min(_MOST_DRAWS, max(_FEWEST_DRAWS, _PREDICTIONS_IN_ALL // max(1, predictions.predicted.size)))
    tables = [predictions.regrouped(_reassigned(predictions, rng)) for _ in range(draws)]

    @cache
    def floor(metric: Callable[[Confusion], float | None]) -> float | None:
        values = [value for value in map(metric, tables) if value is not None and not np.isnan(value)]
        return float(np.mean(values)) if len(values) == draws else None

    return floor


def _reassigned(predictions: NetworkPredictions, rng: np.random.Generator) -> Ints:
    """Return the group indices of one simulated fair classifier, (N,)."""
    groups = predictions.group_indices.copy()
    if predictions.examples_by_pair is not None:
        shift = rng.integers(0, len(predictions.groups), (len(predictions.examples_by_pair), 1))
        groups[predictions.examples_by_pair] = (np.arange(len(predictions.groups)) + shift) % len(predictions.groups)
        return groups
    # One random number per cluster sorts the rows of each class and keeps the rows of a cluster together.
    random = rng.random(predictions.clusters.max() + 1)[predictions.clusters]
    order = np.argsort(predictions.labels + random, kind="stable")
    groups[order] = predictions.group_indices[predictions.by_cell]
    return groups
