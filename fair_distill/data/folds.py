"""Divide examples into folds. Dependent examples are in the same fold, and every cell is spread over the folds.

N examples, U units, K names of each unit.
"""

import numpy as np

from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.data.units import connected


def unit_of_each(dataset: GroupedDataset) -> Array:
    """Return a number from 0 for each example, (N,), that dependent examples share.

    Examples depend on each other if they share a pair, a cluster, or a name of their unit, also indirectly.
    """
    links = [dataset.pairs, dataset.clusters]
    links += [] if dataset.units is None else list(dataset.units.T)
    units = np.arange(len(dataset))
    for link in links:
        units = connected(np.unique(link, return_inverse=True)[1], units)
    return np.asarray(np.unique(units, return_inverse=True)[1])


def deal_folds(cells: Array, units: Array, folds: int) -> Array:
    """Return the fold of each example, (N,).

    Units are dealt in turn, in the order of their first example, and sorted by the cell of this example.

    Parameters
    ----------
    cells, units : int arrays (N,), in random order
    """
    _, first, unit_of_row = np.unique(units, return_index=True, return_inverse=True)
    order = np.lexsort((first, cells[first]))
    fold_of_unit = np.empty(len(first), dtype=np.int64)
    fold_of_unit[order] = np.arange(len(first)) % folds
    return fold_of_unit[unit_of_row]
