"""Accuracy and fairness from counts. numpy only.

Everything starts from one table: of the examples of class c in group g, how many were predicted as class k.
Axes: G groups, C true classes, K = C predicted classes. A rate that has nothing under it is not 0 and not 1;
it is undefined, and says which cell is empty.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fair_distill.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Measured:
    """A metric's value in [0, 1], or None and the reason why there is none."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts (G, C, K) with the names of their axes; fractions where several seeds are averaged."""

    counts: Floats
    groups: tuple[str, ...]
    classes: tuple[str, ...]

    @property
    def support(self) -> Floats:
        """Examples per group and true class, (G, C)."""
        return self.counts.sum(axis=2)

    @property
    def rates(self) -> Floats:
        """P(predicted k | true c, group g), (G, C, K); NaN in an empty cell."""
        support = self.support[:, :, None]
        return np.divide(self.counts, support, out=np.full_like(self.counts, np.nan), where=support > 0)

    @property
    def recalls(self) -> Floats:
        """P(predicted c | true c, group g), (G, C): the true positive rate of each cell."""
        return np.diagonal(self.rates, axis1=1, axis2=2)

    def empty_cell(self) -> str | None:
        """A sentence that names the first empty cell, if there is one."""
        empty = np.argwhere(self.support == 0)
        if not len(empty):
            return None
        g, c = empty[0]
        return f"class {self.classes[c]!r} has no examples of group {self.groups[g]!r} to measure on"


def confusion(
    labels: Ints, groups: Ints, predicted: Ints, *, classes: Sequence[str], group_names: Sequence[str]
) -> Confusion:
    """Count predictions per group and true class."""
    n_classes, n_groups = len(classes), len(group_names)
    for name, column, size in (
        ("label", labels, n_classes),
        ("group", groups, n_groups),
        ("prediction", predicted, n_classes),
    ):
        if len(column) and not (0 <= column.min() and column.max() < size):
            raise DataError(f"a {name} lies outside 0 to {size - 1}")
    flat = (groups * n_classes + labels) * n_classes + predicted
    counts = np.bincount(flat, minlength=n_groups * n_classes**2).reshape(n_groups, n_classes, n_classes)
    return Confusion(counts.astype(float), tuple(group_names), tuple(classes))


def mean_confusion(confusions: Sequence[Confusion]) -> Confusion:
    """Average the counts of several seeds; on one test set that averages the rates."""
    first = confusions[0]
    return Confusion(np.mean([c.counts for c in confusions], axis=0), first.groups, first.classes)


def _spread(rates: Floats) -> Floats:
    """Largest minus smallest over groups (axis 0)."""
    return np.asarray(rates.max(axis=0) - rates.min(axis=0))


def accuracy(table: Confusion) -> float:
    """Share of examples predicted right."""
    return float(np.trace(table.counts.sum(axis=0)) / table.counts.sum())


def worst_group_accuracy(table: Confusion) -> float:
    """Smallest accuracy of any group: min_g P(k = c | g)."""
    right = np.trace(table.counts, axis1=1, axis2=2)
    return float((right / table.support.sum(axis=1)).min())


def worst_cell_accuracy(table: Confusion) -> float:
    """Smallest recall of any class in any group: min_{g,c} P(c | c, g)."""
    return float(table.recalls.min())


def eo_diag_max(table: Confusion) -> float:
    """EODM: the largest gap in recall between groups, over classes. max_c [max_g P(c|c,g) - min_g P(c|c,g)].

    "max Equalized Odds" of FairDD (Zhou et al., 2025) and COBRA (Moslemi et al., 2026). With two classes it is
    equalized odds difference; with more it does not look at which wrong class was predicted.
    """
    return float(_spread(table.recalls).max())


def eo_diag_mean(table: Confusion) -> float:
    """EODA: the gap in recall between groups, averaged over classes."""
    return float(_spread(table.recalls).mean())


# The one place a metric is added: write the function, add its line.
METRICS: dict[str, Callable[[Confusion], float]] = {
    "accuracy": accuracy,
    "worst_group_accuracy": worst_group_accuracy,
    "worst_cell_accuracy": worst_cell_accuracy,
    "eo_diag_max": eo_diag_max,
    "eo_diag_mean": eo_diag_mean,
}
# accuracy alone does not look into cells, so it is the only one that an empty cell leaves defined
_WHOLE = {"accuracy"}


def measure(name: str, table: Confusion) -> Measured:
    """Return a metric of METRICS, or None with the reason where a cell it needs is empty."""
    reason = table.empty_cell()
    if table.counts.sum() == 0 or (reason and name not in _WHOLE):
        return Measured(None, reason)
    return Measured(METRICS[name](table))
