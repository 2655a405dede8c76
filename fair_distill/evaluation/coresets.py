"""Coresets: real examples that stand for their cell, chosen in an embedding. What distillation has to beat.

n points of one cell, D their embedding. numpy only.
"""

from collections.abc import Callable

import numpy as np

from fair_distill.data.grouped_dataset import Array, Cell, GroupedDataset
from fair_distill.distillation.synthetic import examples_per_group

# Given a cell's points (n, D), how many, and a row to begin with: which rows.
Pick = Callable[[Array, int, int], Array]
# Stored images to points, (n, D).
Embed = Callable[[Array], Array]

_CANDIDATES = 10_000  # of a cell are embedded, spread evenly through it


def herding(points_nD: Array, count: int, first: int) -> Array:
    """Choose points one by one so that the mean of the chosen stays as near as can be to the mean of all.

    Welling, "Herding dynamical weights to learn" (ICML 2009), without replacement: each choice is the best next one
    for the mean. Where to begin follows from that, so `first` is not looked at.
    """
    squared = (points_nD**2).sum(axis=1)
    mean, total = points_nD.mean(axis=0), np.zeros(points_nD.shape[1])
    chosen: list[int] = []
    for t in range(1, count + 1):
        # |t · mean − total − x|², without the part that is the same for all x.
        error = squared - 2 * points_nD @ (t * mean - total)
        error[chosen] = np.inf
        chosen.append(int(np.argmin(error)))
        total += points_nD[chosen[-1]]
    return np.array(chosen, dtype=np.int64)


def k_centre(points_nD: Array, count: int, first: int) -> Array:
    """Choose points one by one, each the furthest from those chosen already.

    Greedy farthest-first: the largest distance of any point from its nearest chosen one is at most twice the least
    possible (Gonzalez, 1985), wherever it begins. The coreset of Sener & Savarese (ICLR 2018).
    """
    chosen = [first]
    nearest = np.linalg.norm(points_nD - points_nD[first], axis=1)
    for _ in range(count - 1):
        nearest[chosen] = -1.0  # where points coincide, each is still chosen once
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(points_nD - points_nD[chosen[-1]], axis=1))
    return np.array(chosen, dtype=np.int64)


# The one place a coreset is added: write the function, add its line.
CORESETS: dict[str, Pick] = {
    "herding": herding,
    "k_centre": k_centre,
}


def within_cells(
    pick: Pick, dataset: GroupedDataset, per_class: int, embed: Embed, begin: Callable[[int], int]
) -> Array:
    """Choose `per_class` rows of each class, shared out to its groups, each group's by `pick`: sorted by class.

    Parameters
    ----------
    begin : given how many there are, the row that a cell begins with
    """
    chosen = []
    for label, name in enumerate(dataset.classes):
        for group, count in enumerate(examples_per_group(dataset.counts[label], per_class, name)):
            if count:
                rows = _spread(dataset.rows(Cell(label, group)), max(_CANDIDATES, count))
                points = embed(dataset.images[rows])
                chosen.append(rows[pick(points, int(count), begin(len(rows)))])
    return np.concatenate(chosen)


def _spread(rows: range, most: int) -> Array:
    if len(rows) <= most:
        return np.arange(rows.start, rows.stop)
    return rows.start + np.linspace(0, len(rows) - 1, num=most).astype(np.int64)
