"""Counts of predictions per group, true class and predicted class, and the rates that are quotients of them.

Axes: G groups, C true classes, K = C predicted classes, B bins of confidence, R rates. A rate without examples is NaN:
it is undefined, and neither 0 nor 1. This module needs numpy only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from fair_distill.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Confidences are sorted into bins of equal width: [0, 0.1), [0.1, 0.2), ..., [0.9, 1].
BINS = 10


@dataclass(frozen=True)
class Rate:
    """The probability of a prediction among the examples of some true classes, as class indices.

    Attributes
    ----------
    true_classes : the classes whose examples are counted
    predicted : the predicted class; None counts correct predictions of any class
    """

    true_classes: tuple[int, ...]
    predicted: int | None

    def sentence(self, classes: Sequence[str]) -> str:
        """Return the predicted event in words, with the names of the classes."""
        if self.predicted is None:
            return "the class is predicted right"
        name = classes[self.predicted]
        if len(self.true_classes) == len(classes):
            return f"class {name!r} is predicted"
        if self.predicted not in self.true_classes:
            single = len(self.true_classes) == 1
            true = f"class {classes[self.true_classes[0]]!r}" if single else "another class"
            return f"{true} is taken for {name!r}"
        return f"class {name!r} is recognised"


# From the selected classes and the number of classes to the rates that a metric reads.
RatesOfClasses = Callable[[Sequence[int], int], list[Rate]]


@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts (G, C, K) with the names of their axes. Counts are fractions if several seeds are averaged.

    Attributes
    ----------
    confidence : sum of the probabilities of the predicted classes, (G, C); None if the probabilities are unknown
    excess : sum of probability minus correctness over the predictions in each bin of confidence, (G, B), or None
    """

    counts: Floats
    groups: tuple[str, ...]
    classes: tuple[str, ...]
    confidence: Floats | None = None
    excess: Floats | None = None
    _cached: dict[RatesOfClasses, Floats] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def support(self) -> Floats:
        """The number of examples per group and true class, (G, C)."""
        return np.asarray(self.counts.sum(axis=2))

    @property
    def rates(self) -> Floats:
        """P(predicted k | true c, group g), (G, C, K); NaN in an empty cell."""
        return _quotients(self.counts, self.support[:, :, None])

    @property
    def recalls(self) -> Floats:
        """P(predicted c | true c, group g), (G, C): the true positive rate of each cell."""
        return np.diagonal(self.rates, axis1=1, axis2=2)

    def rates_of_groups(self, rates: Sequence[Rate]) -> Floats:
        """Return each rate in each group, (R, G); NaN where a group has no examples of the true classes."""
        return _quotients(*self.counts_of(rates))

    def all_rates(self, rates: RatesOfClasses) -> Floats:
        """Return the rates of all classes in each group, (R, G). Results are cached, because metrics share them."""
        if rates not in self._cached:
            self._cached[rates] = self.rates_of_groups(_all_rates(rates, len(self.classes)))
        return self._cached[rates]

    def counts_of(self, rates: Sequence[Rate]) -> tuple[Floats, Floats]:
        """Return the numerators and the denominators of rates in each group, two arrays (R, G)."""
        support = self.support
        if all(len(rate.true_classes) == 1 for rate in rates):  # the common case needs an index and no sum
            true = [rate.true_classes[0] for rate in rates]
            predicted = [c if rate.predicted is None else rate.predicted for c, rate in zip(true, rates, strict=True)]
            return self.counts[:, true, predicted].T, support[:, true].T
        members_CR, predicted_R = _indices(tuple(rates), len(self.classes))
        # The last column has the correct predictions, for rates without a predicted class.
        right = np.diagonal(self.counts, axis1=1, axis2=2)[..., None]
        events = np.concatenate([self.counts, right], axis=2)[:, :, predicted_R]
        return np.einsum("gcr,cr->rg", events, members_CR), (support @ members_CR).T

    def empty_cell(self) -> str | None:
        """Return a sentence that names the first empty cell, or None."""
        if self.support.all():
            return None
        g, c = np.argwhere(self.support == 0)[0]
        return f"class {self.classes[c]!r} has no examples of group {self.groups[g]!r} to measure on"

    def empty_group(self) -> str | None:
        """Return a sentence that names the first group without examples, or None."""
        empty = np.flatnonzero(self.support.sum(axis=1) == 0)
        return f"group {self.groups[empty[0]]!r} has no examples to measure on" if len(empty) else None


@lru_cache(maxsize=256)
def _all_rates(rates: RatesOfClasses, classes: int) -> tuple[Rate, ...]:
    return tuple(rates(range(classes), classes))


@lru_cache(maxsize=256)
def _indices(rates: tuple[Rate, ...], classes: int) -> tuple[Floats, Ints]:
    """Return which true classes each rate counts, as 0 and 1 in (C, R), and its predicted class or -1, (R,)."""
    members = np.zeros((classes, len(rates)))
    for r, rate in enumerate(rates):
        members[list(rate.true_classes), r] = 1
    return members, np.array([-1 if rate.predicted is None else rate.predicted for rate in rates])


def _quotients(numerator: Floats, denominator: Floats) -> Floats:
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    quotients: Floats = np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)
    return quotients


def confusion(
    labels: Ints,
    group_indices: Ints,
    predicted: Ints,
    *,
    classes: Sequence[str],
    groups: Sequence[str],
    probability: NDArray[np.floating] | None = None,
    binned: bool = True,
) -> Confusion:
    """Count predictions per group and true class, and sum their probabilities if there are any.

    Parameters
    ----------
    binned : also sum probability minus correctness per bin of confidence

    Raises
    ------
    DataError
        If a label, group or prediction is outside the range of its names.
    """
    n_classes, n_groups = len(classes), len(groups)
    for name, column, size in (
        ("label", labels, n_classes),
        ("group", group_indices, n_groups),
        ("prediction", predicted, n_classes),
    ):
        if len(column) and not (0 <= column.min() and column.max() < size):
            raise DataError(f"a {name} is outside 0 to {size - 1}")
    cells = group_indices * n_classes + labels
    counts = np.bincount(cells * n_classes + predicted, minlength=n_groups * n_classes**2).astype(np.float64)
    confidence: Floats | None = None
    excess: Floats | None = None
    if probability is not None:
        sums = np.bincount(cells, probability.astype(np.float64), minlength=n_groups * n_classes)
        confidence = sums.astype(np.float64).reshape(n_groups, n_classes)
        if binned:
            bins = group_indices * BINS + bins_of(probability)
            in_bins = np.bincount(bins, probability - (predicted == labels), minlength=n_groups * BINS)
            excess = np.asarray(in_bins, dtype=np.float64).reshape(n_groups, BINS)
    cube = counts.reshape(n_groups, n_classes, n_classes)
    return Confusion(cube, tuple(groups), tuple(classes), confidence, excess)


def bins_of(probability: NDArray[np.floating]) -> Ints:
    """Return the bin of confidence of each probability."""
    return np.minimum((np.asarray(probability, dtype=np.float64) * BINS).astype(np.int64), BINS - 1)


def mean_confusion(confusions: Sequence[Confusion]) -> Confusion:
    """Return the mean counts of several seeds. On one test set this averages the rates."""
    first = confusions[0]

    def mean(sums: Sequence[Floats | None]) -> Floats | None:
        known = [each for each in sums if each is not None]
        return np.mean(known, axis=0) if len(known) == len(confusions) else None

    return Confusion(
        np.mean([each.counts for each in confusions], axis=0),
        first.groups,
        first.classes,
        mean([each.confidence for each in confusions]),
        mean([each.excess for each in confusions]),
    )
