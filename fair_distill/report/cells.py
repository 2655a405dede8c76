"""The recall of each cell and the gap of each class, with intervals from the gate's own bounds. numpy only."""

from dataclasses import dataclass

import numpy as np

from fair_distill.config import Limit
from fair_distill.gate.bounds import level
from fair_distill.gate.metrics import EO_DIAG_MAX
from fair_distill.gate.network_predictions import NetworkPredictions


@dataclass(frozen=True)
class CellRate:
    """The recall of one class in one group, with a confidence interval.

    Attributes
    ----------
    examples : number of examples
    clusters : number of independent examples
    value : None for an empty cell
    low, high : the interval; None with too few seeds or clusters
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
    value : None if a group has no example of the class
    upper : one-sided upper bound; None with too few seeds or clusters
    better, worse : the two groups; "" without a value
    """

    label: str
    value: float | None
    upper: float | None
    better: str
    worse: str


def cell_rates(predictions: NetworkPredictions, alpha: float) -> list[CellRate]:
    """Return the recall of every cell, sorted by class and then group.

    Each interval separately has the confidence 1 - alpha, without a correction for the number of cells.
    """
    rates = []
    for c, label in enumerate(predictions.classes):
        for g, group in enumerate(predictions.groups):
            rows = np.flatnonzero((predictions.labels == c) & (predictions.group_indices == g))
            clusters = int(predictions.evidence[c, g])
            correct = (predictions.predicted[:, rows] == c).astype(float)
            low = high = None
            if predictions.seeds > 1 and clusters > 1:
                bounds = level(correct[None], predictions.clusters[rows], treatment=predictions.treatment)
                low, high = max(float(bounds.lower(alpha / 2)[0]), 0.0), min(float(bounds.upper(alpha / 2)[0]), 1.0)
            value = float(correct.mean()) if len(rows) else None
            rates.append(CellRate(label, group, len(rows), clusters, value, low, high))
    return rates


def class_gaps(predictions: NetworkPredictions, alpha: float) -> list[ClassGap]:
    """Return the gap of every class, with the upper bound that the gate would compare with a limit on this class."""
    counts = predictions.table().support
    gaps = []
    for c, label in enumerate(predictions.classes):
        if (counts[:, c] == 0).any() or len(predictions.groups) < 2:
            gaps.append(ClassGap(label, None, None, "", ""))
            continue
        comparisons = EO_DIAG_MAX.comparisons(
            Limit(metric=EO_DIAG_MAX.name, at_most=1.0, classes=(label,), why="shown"),
            predictions.classes,
            predictions.groups,
        )
        evidence = EO_DIAG_MAX.evidence(predictions, comparisons)
        recalls = predictions.table().recalls[:, c]
        upper = None
        if predictions.seeds > 1 and predictions.evidence[c].min() > 1:
            upper = min(float(evidence.upper(alpha).max()), 1.0)
        better, worse = predictions.groups[int(recalls.argmax())], predictions.groups[int(recalls.argmin())]
        gaps.append(ClassGap(label, float(np.ptp(recalls)), upper, better, worse))
    return gaps
