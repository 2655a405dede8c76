"""How often a set passes a limit that equals its true value, for every metric, through the code of the gate.

Each metric has two groups and two classes, and rates for which one comparison is at the limit and the others are
clearly within it. Otherwise, several comparisons have to pass by chance at once, and a wrong bound goes unnoticed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from simulated_sets import Case, cluster_labels, outcomes

from fair_distill.config import Limit
from fair_distill.gate.confusion import Floats, Ints
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.network_predictions import NetworkPredictions

_BATCH = 100
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class AtLimit:
    """Recalls by class and group, and the classes that the clause selects; None for all."""

    recalls: tuple[tuple[float, float], tuple[float, float]]
    classes: tuple[str, ...] | None = None


_ONE_GAP = AtLimit(((0.9, 0.8), (0.9, 0.9)))
_TWO_GAPS = AtLimit(((0.9, 0.8), (0.9, 0.8)))
# Predictions that do not depend on the label. As labels are fixed, others make a selection rate scatter less than its
# bound assumes, and no set passes.
_SELECTION = AtLimit(((0.5, 0.4), (0.5, 0.6)))
AT_LIMIT = {
    "accuracy": _ONE_GAP,
    "worst_group_accuracy": _TWO_GAPS,
    "worst_cell_accuracy": _ONE_GAP,
    "balanced_accuracy": _ONE_GAP,
    "worst_group_balanced_accuracy": _TWO_GAPS,
    "accuracy_over_majority": _ONE_GAP,
    "eo_diag_max": _ONE_GAP,
    "eo_diag_mean": _TWO_GAPS,
    "eo_full_max": _ONE_GAP,
    "eo_ovr_max": _ONE_GAP,
    "false_positive_gap": replace(_ONE_GAP, classes=("class1",)),
    "false_negative_gap": replace(_ONE_GAP, classes=("class0",)),
    "dpd_max": _SELECTION,
    "selection_rate_ratio": replace(_SELECTION, classes=("class0",)),
    "calibration_gap": _TWO_GAPS,
    "calibration_error": _TWO_GAPS,
}


def metric_rows(
    rng: np.random.Generator, replicates: int, *, alpha: float, size: int = 200, seeds: int = 5
) -> Iterator[tuple[str, Case, int, float]]:
    """Yield each metric, its case, the number of replicates, and the share of sets at the limit that pass.

    `accuracy_over_majority` also counts the scatter of the labels, which are fixed here: `boundary_simulation` draws
    them.
    """
    for name, at_limit in AT_LIMIT.items():
        if name == "accuracy_over_majority":
            continue
        case = Case(at_limit.recalls[0], (size, size), 2, seeds)
        yield name, case, replicates, false_passes(name, at_limit, case, rng, replicates, alpha=alpha)
        for other in (replace(case, paired=True), replace(case, clusters="fours")):
            count = replicates // 4
            yield name, other, count, false_passes(name, at_limit, other, rng, count, alpha=alpha)


def false_passes(
    name: str, at_limit: AtLimit, case: Case, rng: np.random.Generator, replicates: int, *, alpha: float
) -> float:
    """Return how often sets pass a limit that is their true value."""
    metric = PREDICTION_METRICS[name]
    template = _network(case)
    limit = Limit.model_validate({"metric": name, metric.direction: 0.5, "why": "a test", "classes": at_limit.classes})
    truth = metric.gather(limit, _expected(template, at_limit), None).value
    passed = 0
    for start in range(0, replicates, _BATCH):
        count = min(_BATCH, replicates - start)
        right = [np.stack(outcomes(case, recalls, rng, count)) for recalls in at_limit.recalls]  # (G, R, S, n)
        for r in range(count):
            evidence = metric.gather(limit, _with(template, np.stack([of_class[:, r] for of_class in right])), None)
            if metric.direction == "at_most":
                passed += bool(evidence.upper(alpha).max() <= truth + 1e-9)
            else:
                passed += bool(evidence.lower(alpha).min() >= truth - 1e-9)
    return passed / replicates


def _network(case: Case) -> NetworkPredictions:
    """Return predictions of two classes and two groups without answers; examples are sorted by class and group."""
    n = case.sizes[0]
    label, group, number = (axis.ravel() for axis in np.indices((2, 2, n)))
    pairs = label * n + number if case.paired else np.arange(4 * n)
    labels = cluster_labels(case.clusters, n)
    clusters = pairs if labels is None else (label * 2 + group) * n + labels[number]
    return NetworkPredictions(
        network="network",
        classes=("class0", "class1"),
        groups=("group0", "group1"),
        examples=np.arange(4 * n),
        labels=label,
        group_indices=group,
        pairs=pairs,
        seed_numbers=(),
        clusters=np.unique(clusters, return_inverse=True)[1],
        predicted=np.zeros((0, 4 * n), dtype=np.int64),
        probability=np.zeros((0, 4 * n)),
        examples_by_pair=np.arange(4 * n).reshape(2, 2, n).swapaxes(1, 2).reshape(-1, 2) if case.paired else None,
        attributes=(("group0",), ("group1",)),
        attribute_names=("group",),
    )


def _with(template: NetworkPredictions, right: Floats) -> NetworkPredictions:
    """Return predictions that are right where `right` (C, G, S, n) is 1."""
    correct = np.moveaxis(right, 2, 0).reshape(right.shape[2], -1) > 0.5
    predicted: Ints = np.where(correct, template.labels, 1 - template.labels)
    return replace(
        template,
        seed_numbers=tuple(range(len(predicted))),
        predicted=predicted,
        probability=np.full(predicted.shape, _CONFIDENCE),
    )


def _expected(template: NetworkPredictions, at_limit: AtLimit) -> NetworkPredictions:
    """Return predictions of one seed that have exactly the true recalls."""
    n = len(template.labels) // 4
    right = np.arange(n) < np.round(np.array(at_limit.recalls)[..., None] * n)
    return _with(template, right[:, :, None].astype(float))
