"""The worst case of unknown groups in the gate split: the largest gap that some assignment of their examples gives.

An example of unknown group counts as a group of its own, so a verdict says nothing about the group that it belongs to.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fair_distill.gate.confusion import Floats
from fair_distill.gate.network_predictions import NetworkPredictions


@dataclass(frozen=True)
class WorstCase:
    """The largest difference in recall between two known groups, measured and in the worst case.

    Attributes
    ----------
    network, label : where the worst case occurs
    unknown, examples : number of examples of unknown group, and of all examples
    measured : the largest gap between known groups, without the examples of unknown group
    worst : the largest gap over all assignments of these examples to known groups
    """

    network: str
    label: str
    unknown: int
    examples: int
    measured: float
    worst: float

    def sentence(self) -> str:
        """Return the worst case in words."""
        return (
            f"unknown groups: {self.unknown:,} of {self.examples:,} examples in the gate split have no known group; "
            f"the largest gap in recall between known groups is {self.measured:.3f} without them, and up to "
            f"{self.worst:.3f} depending on their groups (class {self.label!r}, {self.network})"
        )


def worst_case(networks: Sequence[NetworkPredictions]) -> WorstCase | None:
    """Return the worst case over all networks; None without unknown groups, or with fewer than two known groups.

    Recall is averaged over seeds. For the lower group, those examples are added that are recognised least often while
    they lower its recall; for the higher group, those that are recognised most often while they raise it. The others
    are in the remaining groups; if there are only two, each example is in one of them. The result ignores that an
    example with some known attributes belongs to few groups, and then it is an upper bound.
    """
    first = networks[0]
    known = np.array([None not in values for values in first.attributes])
    is_known = known[first.group_indices]
    if is_known.all() or known.sum() < 2:
        return None
    cases = [case for predictions in networks if (case := _of_network(predictions, known)) is not None]
    return max(cases, key=lambda case: case.worst, default=None)


def _of_network(predictions: NetworkPredictions, known: NDArray[np.bool_]) -> WorstCase | None:
    recognised = (predictions.predicted == predictions.labels).mean(axis=0)
    is_known = known[predictions.group_indices]
    measured, worst, label = 0.0, -1.0, ""
    for c, name in enumerate(predictions.classes):
        of_class = predictions.labels == c
        unknown = np.sort(recognised[of_class & ~is_known])
        groups = [recognised[of_class & (predictions.group_indices == g)] for g in np.flatnonzero(known)]
        means = [float(each.mean()) for each in groups if len(each)]
        if len(means) > 1:
            measured = max(measured, max(means) - min(means))
        pairs = [(low, high) for low in groups for high in groups if low is not high]
        gaps = [_largest_gap(low, high, unknown, only_two=len(groups) == 2) for low, high in pairs]
        largest = float(np.nanmax(gaps)) if not np.isnan(gaps).all() else -1.0
        if largest > worst:
            worst, label = largest, name
    if worst < 0:
        return None
    count = int((~is_known).sum())
    return WorstCase(predictions.network, label, count, len(predictions.labels), measured, worst)


def _largest_gap(low: Floats, high: Floats, unknown: Floats, *, only_two: bool) -> float:
    """Return how far the mean of `high` can be above that of `low` when ascending unknown values join groups.

    If there are only two groups, each unknown value joins one of them; otherwise it can join a third. NaN if one of the
    groups stays empty in every case.
    """
    lows, highs = _means(low, unknown), _means(high, unknown[::-1])
    if only_two:
        gaps = highs[::-1] - lows
        return float("nan") if np.isnan(gaps).all() else float(np.nanmax(gaps))
    if np.isnan(lows).all() or np.isnan(highs).all():
        return float("nan")
    # The examples that lower the one group and those that raise the other are different ones.
    return float(np.nanmax(highs) - np.nanmin(lows))


def _means(values: Floats, added: Floats) -> Floats:
    """Return the mean of the values with the first m added ones, for m = 0, 1, ..., all; NaN of nothing."""
    counts = len(values) + np.arange(len(added) + 1)
    sums = values.sum() + np.concatenate([[0.0], np.cumsum(added)])
    return np.asarray(np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0))
