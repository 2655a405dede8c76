"""The noise floor of a gap: what a perfectly fair classifier would show on these examples, by chance alone.

A gap is a largest difference, so it is above 0 where nothing differs; a measured gap means something only beside
that. The floor keeps what was measured of each class and takes the group away: in a paired split, which of a
pair's answers is whose is drawn anew (the pair's groups are turned round by a random step); else the examples of
each class are dealt out anew to its groups, cluster by cluster. Cell sizes and per-class rates stay as they are.
"""

from collections.abc import Callable
from functools import cache

import numpy as np

from fair_distill.gate.confusion import Confusion, Ints
from fair_distill.gate.network_predictions import NetworkPredictions

# A large split varies less, so fewer draws tell its mean as well.
DRAWS, FEWEST, ENOUGH_ROWS = 100, 20, 1_000_000
Floor = Callable[[Callable[[Confusion], float | None]], float | None]


def noise_floor(own: NetworkPredictions, rng: np.random.Generator, *, draws: int | None = None) -> Floor:
    """Return a function from a metric to its mean over what a fair classifier with these rates might have shown."""
    draws = draws or min(DRAWS, max(FEWEST, ENOUGH_ROWS // max(1, own.predicted.size)))
    tables = [own.regrouped(_redrawn(own, rng)) for _ in range(draws)]

    @cache
    def floor(metric: Callable[[Confusion], float | None]) -> float | None:
        values = [value for value in map(metric, tables) if value is not None]
        return float(np.mean(values)) if len(values) == draws else None

    return floor


def _redrawn(own: NetworkPredictions, rng: np.random.Generator) -> Ints:
    groups = own.group_indices.copy()
    if own.examples_by_pair is not None:
        step = rng.integers(0, len(own.groups), (len(own.examples_by_pair), 1))
        groups[own.examples_by_pair] = (np.arange(len(own.groups)) + step) % len(own.groups)
        return groups
    # One number per cluster sorts the rows of a class into a random order that keeps clusters together.
    order = np.argsort(own.labels + rng.random(own.clusters.max() + 1)[own.clusters], kind="stable")
    groups[order] = own.group_indices[own.by_cell]
    return groups
