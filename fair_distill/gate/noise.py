"""The noise floor of a gap: what a perfectly fair classifier would show on these examples, by chance alone.

A gap is a largest difference, so it is above 0 where nothing differs; a measured gap means something only beside
that. The floor keeps what was measured of each class and takes the group away: in a paired split, which of a
pair's answers is whose is drawn anew (the pair's groups are turned round by a random step); else the examples of
each class are dealt out anew to its groups, cluster by cluster. Cell sizes and per-class rates stay as they are.
"""

import numpy as np

from fair_distill.gate.answers import Answers
from fair_distill.gate.metrics import Confusion, Ints

DRAWS = 100


def fair_tables(own: Answers, rng: np.random.Generator, *, draws: int = DRAWS) -> list[Confusion]:
    """Return the counts that a fair classifier with these per-class rates might have shown."""
    return [own.regrouped(_redrawn(own, rng)) for _ in range(draws)]


def _redrawn(own: Answers, rng: np.random.Generator) -> Ints:
    groups = own.of_groups.copy()
    if own.by_pair is not None:
        step = rng.integers(0, len(own.groups), (len(own.by_pair), 1))
        groups[own.by_pair] = (np.arange(len(own.groups)) + step) % len(own.groups)
        return groups
    # One number per cluster sorts the rows of a class into a random order that keeps clusters together.
    order = np.lexsort((rng.random(own.clusters.max() + 1)[own.clusters], own.labels))
    groups[order] = own.of_groups[np.lexsort((own.of_groups, own.labels))]
    return groups
