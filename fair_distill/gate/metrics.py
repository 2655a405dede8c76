"""Accuracy and fairness from counts. numpy only.

Everything starts from one table: of the examples of class c in group g, how many were predicted as class k.
Axes: G groups, C true classes, K = C predicted classes, R rates. A rate that has nothing under it is not 0 and
not 1; it is undefined, and says what is empty.

The null hypotheses and bounds that the docstrings name are those of `bounds` and `evidence`: a limit is kept if
the hypothesis that it is broken is rejected at level alpha.
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


@dataclass(frozen=True)
class Rate:
    """P(prediction is `says` | true class among `of`), by index; `says` None: the prediction is right."""

    of: tuple[int, ...]
    says: int | None

    def sentence(self, classes: Sequence[str]) -> str:
        """What happens, with the class's name."""
        if self.says is None:
            return "the class is predicted right"
        said = classes[self.says]
        if len(self.of) == len(classes):
            return f"class {said!r} is predicted"
        if self.says not in self.of:
            return f"{f'class {classes[self.of[0]]!r}' if len(self.of) == 1 else 'another class'} is taken for {said!r}"
        return f"class {said!r} is recognised"


@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts (G, C, K) with the names of their axes; fractions where several seeds are averaged.

    `confidence` is the sum of the predictions' probabilities, (G, C), where they are known.
    """

    counts: Floats
    groups: tuple[str, ...]
    classes: tuple[str, ...]
    confidence: Floats | None = None

    @property
    def support(self) -> Floats:
        """Examples per group and true class, (G, C)."""
        return self.counts.sum(axis=2)

    @property
    def rates(self) -> Floats:
        """P(predicted k | true c, group g), (G, C, K); NaN in an empty cell."""
        return _share(self.counts, self.support[:, :, None])

    @property
    def recalls(self) -> Floats:
        """P(predicted c | true c, group g), (G, C): the true positive rate of each cell."""
        return np.diagonal(self.rates, axis1=1, axis2=2)

    def shares(self, rates: Sequence[Rate]) -> Floats:
        """The rates of each group, (R, G); NaN where nothing is under one."""
        return _share(*self.parts(rates))

    def parts(self, rates: Sequence[Rate]) -> tuple[Floats, Floats]:
        """What the rates are quotients of, (R, G) each: answers that say so, and examples."""
        support = self.support
        if all(len(rate.of) == 1 for rate in rates):  # most are of one class: looked up, not added up
            of = [rate.of[0] for rate in rates]
            says = [c if rate.says is None else rate.says for c, rate in zip(of, rates, strict=True)]
            return self.counts[:, of, says].T, support[:, of].T
        return (
            np.stack([self._says(rate) for rate in rates]),
            np.stack([support[:, list(rate.of)].sum(axis=1) for rate in rates]),
        )

    def _says(self, rate: Rate) -> Floats:
        of = list(rate.of)
        if rate.says is None:
            return np.asarray(self.counts[:, of, of].sum(axis=1))
        return np.asarray(self.counts[:, of, rate.says].sum(axis=1))

    def empty_cell(self) -> str | None:
        """A sentence that names the first empty cell, if there is one."""
        empty = np.argwhere(self.support == 0)
        if not len(empty):
            return None
        g, c = empty[0]
        return f"class {self.classes[c]!r} has no examples of group {self.groups[g]!r} to measure on"

    def empty_group(self) -> str | None:
        """A sentence that names the first group without examples, if there is one."""
        empty = np.flatnonzero(self.support.sum(axis=1) == 0)
        return f"group {self.groups[empty[0]]!r} has no examples to measure on" if len(empty) else None


def _share(part: Floats, whole: Floats) -> Floats:
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def confusion(
    labels: Ints,
    group_indices: Ints,
    predicted: Ints,
    *,
    classes: Sequence[str],
    groups: Sequence[str],
    probability: NDArray[np.floating] | None = None,
) -> Confusion:
    """Count predictions per group and true class, and add up their probabilities where there are any."""
    n_classes, n_groups = len(classes), len(groups)
    for name, column, size in (
        ("label", labels, n_classes),
        ("group", group_indices, n_groups),
        ("prediction", predicted, n_classes),
    ):
        if len(column) and not (0 <= column.min() and column.max() < size):
            raise DataError(f"a {name} lies outside 0 to {size - 1}")
    cells = group_indices * n_classes + labels
    counts = np.bincount(cells * n_classes + predicted, minlength=n_groups * n_classes**2).astype(np.float64)
    confidence: Floats | None = None
    if probability is not None:
        sums = np.bincount(cells, probability.astype(np.float64), minlength=n_groups * n_classes)
        confidence = sums.astype(np.float64).reshape(n_groups, n_classes)
    return Confusion(counts.reshape(n_groups, n_classes, n_classes), tuple(groups), tuple(classes), confidence)


def mean_confusion(confusions: Sequence[Confusion]) -> Confusion:
    """Average the counts of several seeds; on one test set that averages the rates."""
    first = confusions[0]
    sure = [c.confidence for c in confusions if c.confidence is not None]
    confidence = np.mean(sure, axis=0) if len(sure) == len(confusions) else None
    return Confusion(np.mean([c.counts for c in confusions], axis=0), first.groups, first.classes, confidence)


def diagonal(classes: int) -> list[Rate]:
    """Each class recognised: P(c | c), the true positive rates."""
    return [Rate((c,), c) for c in range(classes)]


def full(classes: int) -> list[Rate]:
    """Each class taken for each class: P(k | c)."""
    return [Rate((c,), k) for c in range(classes) for k in range(classes)]


def one_against_rest(classes: int) -> list[Rate]:
    """Each class recognised, and each other class taken for it: true and false positive rates."""
    others = [tuple(c for c in range(classes) if c != k) for k in range(classes)]
    return [*diagonal(classes), *(Rate(others[k], k) for k in range(classes))]


def selection(classes: int) -> list[Rate]:
    """How often each class is predicted, whatever the truth: P(k)."""
    return [Rate(tuple(range(classes)), k) for k in range(classes)]


# What each gap is a gap of. The gate bounds every one of these rates' differences.
GAP_RATES: dict[str, Callable[[int], list[Rate]]] = {
    "eo_diag_max": diagonal,
    "eo_diag_mean": diagonal,
    "eo_full_max": full,
    "eo_ovr_max": one_against_rest,
    "dpd_max": selection,
}


def _gaps(table: Confusion, name: str) -> Floats:
    """Largest minus smallest rate over groups, for each rate of a metric."""
    return np.asarray(np.ptp(table.shares(GAP_RATES[name](len(table.classes))), axis=1))


def accuracy(table: Confusion) -> float:
    """Share of examples predicted right.

    Null hypothesis: it is below the limit. Bound: lower score bound of one rate.
    """
    return float(np.trace(table.counts.sum(axis=0)) / table.counts.sum())


def worst_group_accuracy(table: Confusion) -> float:
    """Smallest accuracy of any group: min_g P(k = c | g).

    Null hypothesis: some group's is below the limit. Bound: the smallest of the groups' lower bounds.
    """
    right = np.trace(table.counts, axis1=1, axis2=2)
    return float((right / table.support.sum(axis=1)).min())


def worst_cell_accuracy(table: Confusion) -> float:
    """Smallest recall of any class in any group: min_{g,c} P(c | c, g).

    Null hypothesis: some cell's is below the limit. Bound: the smallest of the cells' lower bounds.
    """
    return float(table.recalls.min())


def eo_diag_max(table: Confusion) -> float:
    """EODM: the largest gap in recall between groups, over classes. max_c [max_g P(c|c,g) - min_g P(c|c,g)].

    "max Equalized Odds" of FairDD (Zhou et al., 2025) and COBRA (Moslemi et al., 2026). With two classes it is
    equalized odds difference; with more it does not look at which wrong class was predicted.

    Null hypothesis: some class and pair of groups differ by more than the limit. Bound: the largest of the upper
    bounds of all these differences, each at alpha (intersection-union).
    """
    return float(_gaps(table, "eo_diag_max").max())


def eo_diag_mean(table: Confusion) -> float:
    """EODA: the gap in recall between groups, averaged over classes. mean_c [max_g P(c|c,g) - min_g P(c|c,g)].

    Null hypothesis: with some choice of a pair of groups for every class, the differences' mean is above the limit.
    Bound: the largest upper bound of those means, each at alpha (intersection-union over the choices), which
    is never wider than the mean of per-class bounds and needs no alpha / C.
    """
    return float(_gaps(table, "eo_diag_mean").mean())


def eo_full_max(table: Confusion) -> float:
    """The largest gap in any kind of answer to a class: max_{c,k} [max_g P(k|c,g) - min_g P(k|c,g)].

    Zero if and only if the prediction is independent of the group given the class: equalized odds of several
    classes, the wrong ones included. Null hypothesis and bound as for `eo_diag_max`, over classes and answers.
    """
    return float(np.ptp(table.rates, axis=0).max())


def eo_ovr_max(table: Confusion) -> float:
    """The largest gap in true or false positive rate of any class against the rest, over classes.

    Per class what fairlearn calls equalized odds difference (worst case). The false positive rate of a group
    depends on its mix of classes. Null hypothesis and bound as for `eo_diag_max`, over classes and both rates.
    """
    return float(_gaps(table, "eo_ovr_max").max())


def dpd_max(table: Confusion) -> float:
    """Demographic parity: the largest gap in how often a class is predicted: max_k [max_g P(k|g) - min_g P(k|g)].

    Not zero for a perfect classifier where groups differ in their mix of classes. Null hypothesis and bound as for
    `eo_diag_max`, over predicted classes.
    """
    return float(_gaps(table, "dpd_max").max())


def calibration_gap(table: Confusion) -> float:
    """How much further confidence lies from accuracy in one group than in another.

    max_g b_g - min_g b_g with b_g = |mean probability of the predicted class - accuracy| in group g.

    Null hypothesis: two groups' signed errors differ by more than the limit. Bound: the largest upper bound of the
    differences of *signed* errors, which are never smaller than those of their absolute values.
    """
    assert table.confidence is not None
    size = table.support.sum(axis=1)
    error = np.abs(table.confidence.sum(axis=1) - np.trace(table.counts, axis1=1, axis2=2)) / size
    return float(error.max() - error.min())


# The one place a metric is added: write the function, add its line (and a gap's rates above).
METRICS: dict[str, Callable[[Confusion], float]] = {
    "accuracy": accuracy,
    "worst_group_accuracy": worst_group_accuracy,
    "worst_cell_accuracy": worst_cell_accuracy,
    "eo_diag_max": eo_diag_max,
    "eo_diag_mean": eo_diag_mean,
    "eo_full_max": eo_full_max,
    "eo_ovr_max": eo_ovr_max,
    "dpd_max": dpd_max,
    "calibration_gap": calibration_gap,
}
GAPS = (*GAP_RATES, "calibration_gap")
# What an empty cell leaves defined: accuracy does not look into groups, these two not into classes.
_WHOLE = ("accuracy",)
_BY_GROUP = ("dpd_max", "calibration_gap")


def measure(name: str, table: Confusion) -> Measured:
    """Return a metric of METRICS, or None with the reason where something it needs is empty."""
    if table.counts.sum() == 0:
        return Measured(None, table.empty_cell() or "there is nothing to measure on")
    if name == "calibration_gap" and table.confidence is None:
        return Measured(None, "the predictions come without probabilities")
    if name not in _WHOLE:
        reason = table.empty_group() if name in _BY_GROUP else table.empty_cell()
        if reason:
            return Measured(None, reason)
    return Measured(METRICS[name](table))
