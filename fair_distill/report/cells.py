"""What each cell and each class was measured at, with intervals by the gate's own bounds. numpy only."""

from dataclasses import dataclass

import numpy as np

from fair_distill.config import Limit
from fair_distill.gate.bounds import level
from fair_distill.gate.metrics import EO_DIAG_MAX
from fair_distill.gate.network_predictions import NetworkPredictions


@dataclass(frozen=True)
class CellRate:
    """Recall of one class in one group, and an interval that holds it with the confidence asked for.

    Attributes
    ----------
    examples, clusters : how many, and how many independent ones
    low, high : None where there are too few seeds or clusters for any
    """

    label: str
    group: str
    examples: int
    clusters: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ClassGap:
    """The largest difference in recall between two groups of one class.

    Attributes
    ----------
    upper : what it is at most, one-sided; None where nothing can be said
    better, worse : the two groups; "" where the class has fewer
    """

    label: str
    value: float | None
    upper: float | None
    better: str
    worse: str


def cell_rates(own: NetworkPredictions, alpha: float) -> list[CellRate]:
    """Return the recall of every cell, by class and then group; each interval holds by itself with 1 - alpha."""
    found = []
    for c, label in enumerate(own.classes):
        for g, group in enumerate(own.groups):
            rows = np.flatnonzero((own.labels == c) & (own.group_indices == g))
            clusters = int(own.evidence[c, g])
            right = (own.predicted[:, rows] == c).astype(float)
            low = high = None
            if own.seeds > 1 and clusters > 1:
                rate = level(right[None], own.clusters[rows])
                low, high = max(float(rate.lower(alpha / 2)[0]), 0.0), min(float(rate.upper(alpha / 2)[0]), 1.0)
            value = float(right.mean()) if len(rows) else None
            found.append(CellRate(label, group, len(rows), clusters, value, low, high))
    return found


def class_gaps(own: NetworkPredictions, alpha: float) -> list[ClassGap]:
    """Return every class's gap in recall, with the upper bound that the gate would hold against a limit on it."""
    counts = own.table().support
    found = []
    for c, label in enumerate(own.classes):
        if (counts[:, c] == 0).any() or len(own.groups) < 2:
            found.append(ClassGap(label, None, None, "", ""))
            continue
        comparisons = EO_DIAG_MAX.comparisons(
            Limit(metric=EO_DIAG_MAX.name, at_most=1.0, classes=(label,), why="shown"), own.classes, own.groups
        )
        evidence = EO_DIAG_MAX.evidence(own, comparisons)
        recalls = own.table().recalls[:, c]
        upper = None
        if own.seeds > 1 and own.evidence[c].min() > 1:
            upper = min(float(evidence.upper(alpha).max()), 1.0)
        better, worse = own.groups[int(recalls.argmax())], own.groups[int(recalls.argmin())]
        found.append(ClassGap(label, float(np.ptp(recalls)), upper, better, worse))
    return found
