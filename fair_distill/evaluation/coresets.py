"""Coresets: real examples that represent their cell, chosen by their embeddings. Distilled sets are compared with them.

Shapes: n points of one cell, D dimensions of the embedding. This module uses numpy only.
"""

import warnings
from collections.abc import Callable

import numpy as np

from fair_distill.data.grouped_dataset import Array, Cell, GroupedDataset
from fair_distill.distillation.synthetic import examples_per_group

# Returns the rows to choose, for a cell's points (n, D), the number of rows and the row to start with.
Pick = Callable[[Array, int, int], Array]
# Returns the points (n, D) of stored images.
Embed = Callable[[Array], Array]

# From a larger cell, this many evenly spread examples are embedded.
_MOST_EMBEDDED = 10_000


def herding(points_nD: Array, count: int, first: int) -> Array:
    """Choose points one by one, each so that the mean of the chosen points is nearest to the mean of all.

    Follows Welling, "Herding dynamical weights to learn" (ICML 2009), except that no point is chosen twice. The rule
    also determines the first point, so `first` is ignored.
    """
    squared = (points_nD**2).sum(axis=1)
    mean, total = points_nD.mean(axis=0), np.zeros(points_nD.shape[1])
    chosen: list[int] = []
    for t in range(1, count + 1):
        # |t · mean − total − x|² without the terms that are equal for all x.
        error = squared - 2 * points_nD @ (t * mean - total)
        error[chosen] = np.inf
        chosen.append(int(np.argmin(error)))
        total += points_nD[chosen[-1]]
    return np.array(chosen, dtype=np.int64)


def k_centre(points_nD: Array, count: int, first: int) -> Array:
    """Choose points one by one, each the farthest from the points that are chosen already.

    This is the coreset of Sener & Savarese (ICLR 2018). For any first point, the largest distance of a point from its
    nearest chosen point is at most twice the optimum (Gonzalez, 1985).
    """
    chosen = [first]
    nearest = np.linalg.norm(points_nD - points_nD[first], axis=1)
    for _ in range(count - 1):
        nearest[chosen] = -1.0  # a point is not chosen again, even if all distances are 0
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(points_nD - points_nD[chosen[-1]], axis=1))
    return np.array(chosen, dtype=np.int64)


def medoids(points_nD: Array, count: int, first: int) -> Array:
    """Choose the points that are nearest to the centres of a k-means clustering, a different point for each centre.

    Parameters
    ----------
    first : seed of the starting centres
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    # With one thread, sums have one order, so the choice does not depend on the machine's number of cores.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # equal points give fewer clusters, which is fine here
        centres = KMeans(count, n_init=1, random_state=first).fit(points_nD).cluster_centers_
    chosen: list[int] = []
    for centre in centres:
        nearest = np.linalg.norm(points_nD - centre, axis=1)
        nearest[chosen] = np.inf
        chosen.append(int(np.argmin(nearest)))
    return np.array(chosen, dtype=np.int64)


# To add a coreset, write its function and add a line here.
CORESETS: dict[str, Pick] = {
    "herding": herding,
    "k_centre": k_centre,
    "medoids": medoids,
}


def within_cells(
    pick: Pick, dataset: GroupedDataset, per_class: int, embed: Embed, begin: Callable[[int], int]
) -> Array:
    """Return `per_class` rows of each class, divided evenly among its groups and chosen within each cell by `pick`.

    Parameters
    ----------
    begin : returns the first row of a cell, for the number of its rows

    Returns
    -------
    Array
        Row numbers, sorted by class.
    """
    chosen = []
    for label, name in enumerate(dataset.classes):
        for group, count in enumerate(examples_per_group(dataset.counts[label], per_class, name)):
            if count:
                rows = _spread(dataset.rows(Cell(label, group)), max(_MOST_EMBEDDED, count))
                points = embed(dataset.images[rows])
                chosen.append(rows[pick(points, int(count), begin(len(rows)))])
    return np.concatenate(chosen)


def _spread(rows: range, most: int) -> Array:
    """Return at most this many rows, evenly spread."""
    if len(rows) <= most:
        return np.arange(rows.start, rows.stop)
    return rows.start + np.linspace(0, len(rows) - 1, num=most).astype(np.int64)
