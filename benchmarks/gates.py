"""A race of gates on the same predictions: this gate, fairlearn's bootstrap, vfairness, and bare numbers.

Every gate limits the largest gap in recall between two groups to 0.10. Sets at and above the limit must not pass; fair
sets, and sets at half the limit, should. Each gate is used as its documentation describes:

ours: `eo_diag_max` with `mode: bounds` at alpha 5 %, a single attempt. One network is judged as it is; several are a
    sample of the networks that the set can train.
fairlearn bootstrap: `MetricFrame(n_boot=…, ci_quantiles=[0.95])` with the recall of every class, and `difference_ci`.
    The set passes if the 95 % quantile of every difference is within the limit.
vfairness gate: `ModelFairnessGate` with `equalized_odds_difference`. It knows the labels 0 and 1 only, so with three
    classes there is one gate per class against the rest, and all must approve. A column shows the gate as it is.
vfairness interval: the verdict "fair" of the bootstrap interval of the same metric at 90 %, whose upper end is then a
    95 % bound like the others; per class against the rest with three classes.
bare numbers: the measured gap is within the limit.

The rivals have no notion of several networks. They get all rows together, as from one model.

Resampling rows with replacement is the same as drawing the counts of all cells from a multinomial distribution, which
is thousands of times faster. The two bootstraps are simulated in this way, and the vfairness gate is computed from
counts. `agreement` compares all three with the libraries on some draws.
"""

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from math import sqrt
from typing import Any

import numpy as np
import torch
from fairlearn.metrics import MetricFrame
from scipy.stats import norm

from benchmarks.measure import arguments, report
from fair_distill.config import Limit
from fair_distill.gate.findings import ROUNDING
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.network_predictions import NetworkPredictions

ALPHA, LIMIT = 0.05, 0.10
SCATTER = 0.03  # standard deviation of a rate over networks
RESAMPLES = 500
# Correlation of the predictions of two networks for one example.
ALIKE = 0.6
# Draws, and resamples of each, on which the simulated bootstraps are compared with the libraries.
_COMPARED, _COMPARED_RESAMPLES = 5, 400

# C classes, 2 groups, S networks, n examples per cell, B resamples
Right = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Case:
    """A set whose recalls are known.

    Attributes
    ----------
    gap : true difference in recall between the groups, in the last class; 0.85 in all other cells
    """

    classes: int
    networks: int
    examples: int
    gap: float

    @property
    def recalls(self) -> Any:
        recalls = np.full((self.classes, 2), 0.85)
        recalls[-1] += self.gap / 2 * np.array([1, -1])
        return recalls

    def draw(self, rng: np.random.Generator) -> Right:
        """Draw whether each network predicts each example right, (C, 2, S, n)."""
        shape = (self.classes, 2, self.networks, self.examples)
        # One network is the model that is judged. Of several, each is one draw of the networks that could be trained.
        scatter = SCATTER if self.networks > 1 else 0.0
        quantile = norm.ppf(self.recalls)
        moves = scatter / norm.pdf(quantile)
        shifts = (rng.standard_normal(shape[:3]) + rng.standard_normal(self.networks)) / sqrt(2)
        threshold = (quantile * np.sqrt(1 + moves**2))[..., None] + moves[..., None] * shifts
        difficulty = rng.standard_normal((self.classes, 2, 1, self.examples), dtype=np.float32)
        noise = rng.standard_normal(shape, dtype=np.float32)
        score = sqrt(ALIKE) * difficulty + sqrt(1 - ALIKE) * noise
        return np.asarray(score < threshold[..., None].astype(np.float32))


@dataclass(frozen=True)
class Columns:
    """The predictions as rivals receive them: one row per example and network. A wrong one is the next class."""

    labels: Any
    predicted: Any
    groups: Any


def columns_of(right: Right) -> Columns:
    classes = len(right)
    label, group = (axis.ravel() for axis in np.indices(right.shape)[:2])
    predicted = np.where(right.ravel(), label, (label + 1) % classes)
    return Columns(label, predicted, group)


def network_predictions_of(right: Right) -> NetworkPredictions:
    """Return the predictions in the form in which the gate judges them."""
    classes, _, networks, examples = right.shape
    label, group, _ = (axis.ravel() for axis in np.indices((classes, 2, examples)))
    rows = np.moveaxis(right, 2, 0).reshape(networks, -1)
    count = np.arange(len(label))
    predictions = NetworkPredictions(
        network="network",
        classes=tuple(f"class{c}" for c in range(classes)),
        groups=("a", "b"),
        examples=count,
        labels=label,
        group_indices=group,
        pairs=count,
        clusters=count,
        predicted=np.where(rows, label, (label + 1) % classes),
        probability=np.full(rows.shape, 0.9),
        examples_by_pair=None,
        attributes=(("a",), ("b",)),
        attribute_names=("group",),
        seed_numbers=tuple(range(networks)),
    )
    return replace(predictions, treatment="given") if networks == 1 else predictions


def ours(right: Right, rng: np.random.Generator) -> bool:
    metric = "eo_diag_max"
    limit = Limit.model_validate({"metric": metric, "at_most": LIMIT, "why": "the race"})
    evidence = PREDICTION_METRICS[metric].gather(limit, network_predictions_of(right), None)
    return bool((evidence.upper(ALPHA) <= LIMIT + ROUNDING).all())


def bare_numbers(right: Right, rng: np.random.Generator) -> bool:
    recalls = right.mean(axis=(2, 3))
    return bool(np.ptp(recalls, axis=1).max() <= LIMIT + ROUNDING)


def fairlearn_bootstrap(right: Right, rng: np.random.Generator) -> bool:
    return bool((fairlearn_quantiles(right, rng) <= LIMIT + ROUNDING).all())


def fairlearn_quantiles(right: Right, rng: np.random.Generator) -> Any:
    """Return the 95 % quantile of the difference in recall of each class over resamples of all rows, (C,)."""
    counts = counts_of(right)
    resampled = rng.multinomial(counts.sum(), counts.ravel() / counts.sum(), RESAMPLES).reshape(-1, *counts.shape)
    recalls = resampled[..., 0] / resampled.sum(axis=-1)
    return np.quantile(np.ptp(recalls, axis=2), 1 - ALPHA, axis=0)


def counts_of(right: Right) -> Any:
    """Return the rows of every cell that are right and wrong, (C, 2, 2)."""
    hits = right.sum(axis=(2, 3))
    return np.stack([hits, right[0, 0].size - hits], axis=-1)


def vfairness_gate(right: Right, rng: np.random.Generator) -> bool:
    """Return whether the gate approves; with more than two classes, whether it approves each class against the rest."""
    measured = _equalized_odds(np.moveaxis(counts_of(right), 1, 0)[None])[0]
    return bool(((measured[-1:] if len(right) == 2 else measured) <= LIMIT).all())


def vfairness_gate_by_the_library(right: Right, rng: np.random.Generator) -> bool:
    rows = columns_of(right)
    if len(right) == 2:
        return _approves(rows.labels, rows.predicted, rows.groups)
    each = range(len(right))
    return all(_approves((rows.labels == c) * 1, (rows.predicted == c) * 1, rows.groups) for c in each)


def vfairness_gate_as_it_is(right: Right, rng: np.random.Generator) -> bool:
    """Return whether the gate approves the labels of several classes as they are; it reads only 0 and 1."""
    rows = columns_of(right)
    return _approves(rows.labels, rows.predicted, rows.groups)


def _approves(labels: Any, predicted: Any, groups: Any) -> bool:
    from vfairness.operations.cicd import ModelFairnessGate

    name = "equalized_odds_difference"
    gate = ModelFairnessGate(metrics=[name], thresholds={name: LIMIT})
    return bool(gate.evaluate(labels, predicted, groups).approved)


def vfairness_interval(right: Right, rng: np.random.Generator) -> bool:
    return bool((vfairness_upper(right, rng) <= LIMIT + ROUNDING).all())


def vfairness_upper(right: Right, rng: np.random.Generator) -> Any:
    """Return the upper end of the interval of each class against the rest (one of them with two classes).

    It is the larger of the percentile and of the basic bound, and each group is resampled separately.
    """
    counts = counts_of(right)
    classes = len(right)
    resampled = np.stack(
        [
            rng.multinomial(counts[:, g].sum(), counts[:, g].ravel() / counts[:, g].sum(), RESAMPLES)
            for g in range(counts.shape[1])
        ],
        axis=1,
    ).reshape(RESAMPLES, counts.shape[1], classes, 2)
    measured = _equalized_odds(np.moveaxis(counts, 1, 0)[None])[0]
    gaps = _equalized_odds(resampled)
    low, high = np.quantile(gaps, [ALPHA, 1 - ALPHA], axis=0)
    upper = np.maximum(high, 2 * measured - low)
    return upper[-1:] if classes == 2 else upper


def _equalized_odds(counts: Any) -> Any:
    """Return the equalized odds difference of each class against the rest, (B, C), from counts (B, 2, C, 2)."""
    support = counts.sum(axis=-1)
    recalls = counts[..., 0] / support
    # A wrong prediction is the next class, so the false positives of a class come from the one before it.
    false_positives = np.roll(counts[..., 1], 1, axis=-1) / (support.sum(axis=-1, keepdims=True) - support)
    return np.maximum(np.ptp(recalls, axis=1), np.ptp(false_positives, axis=1))


Gate = Callable[[Right, np.random.Generator], bool]
GATES: dict[str, Gate] = {
    "ours": ours,
    "fairlearn bootstrap": fairlearn_bootstrap,
    "vfairness interval": vfairness_interval,
    "vfairness gate": vfairness_gate,
    "bare numbers": bare_numbers,
}


def race(case: Case, draws: int, seed: int) -> dict[str, Any]:
    """Return how many of the draws of a case each gate passes."""
    rng = np.random.default_rng(seed)
    passes = dict.fromkeys(GATES, 0)
    for _ in range(draws):
        right = case.draw(rng)
        for name, gate in GATES.items():
            passes[name] += gate(right, rng)
    return {**asdict(case), "draws": draws, "passes": passes}


def unrecognised(draws: int, seed: int) -> dict[str, int]:
    """Return how many draws each gate passes if one group's third class is never recognised."""
    rng = np.random.default_rng(seed)
    gates = {**GATES, "vfairness gate, labels as they are": vfairness_gate_as_it_is}
    passes = dict.fromkeys(gates, 0)
    for _ in range(draws):
        right = Case(classes=3, networks=1, examples=400, gap=0.0).draw(rng)
        right[-1, 1] = False
        for name, gate in gates.items():
            passes[name] += gate(right, rng)
    return passes


def agreement(rng: np.random.Generator) -> dict[str, float]:
    """Return the mean differences of bounds, and the share of equal decisions, between the race and the libraries."""
    from vfairness.evaluation.vfairness_metrics.classification import equalized_odds_difference_with_ci

    ours_minus_theirs: dict[str, list[float]] = {"fairlearn bootstrap": [], "vfairness interval": []}
    for _ in range(_COMPARED):
        right = Case(classes=2, networks=1, examples=100, gap=LIMIT).draw(rng)
        rows = columns_of(right)
        recalls = {f"recall of {c}": partial(_recall, c) for c in range(2)}
        frame = MetricFrame(
            metrics=recalls,
            y_true=rows.labels,
            y_pred=rows.predicted,
            sensitive_features=rows.groups,
            n_boot=_COMPARED_RESAMPLES,
            ci_quantiles=[1 - ALPHA],
            random_state=int(rng.integers(2**31)),
        )
        theirs = np.asarray(frame.difference_ci()[0])
        ours_minus_theirs["fairlearn bootstrap"].append(float((fairlearn_quantiles(right, rng) - theirs).mean()))
        interval = equalized_odds_difference_with_ci(
            rows.labels,
            rows.predicted,
            rows.groups,
            n_bootstrap=_COMPARED_RESAMPLES,
            confidence_level=1 - 2 * ALPHA,
            random_state=int(rng.integers(2**31)),
        )
        difference = float(vfairness_upper(right, rng)[0]) - interval.upper_bound
        ours_minus_theirs["vfairness interval"].append(difference)
    draws = [Case(classes, 1, 100, LIMIT).draw(rng) for classes in (2, 3) for _ in range(100)]
    same = [vfairness_gate(right, rng) == vfairness_gate_by_the_library(right, rng) for right in draws]
    bounds = {name: float(np.mean(values)) for name, values in ours_minus_theirs.items()}
    return {**bounds, "vfairness gate, share of the same decisions": float(np.mean(same))}


def _recall(label: int, labels: Any, predicted: Any) -> float:
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    return float((predicted[labels == label] == label).mean())


def main() -> None:
    parsed = arguments(__doc__, rounds=1000)
    warnings.filterwarnings("ignore", module="vfairness")
    cases = [
        Case(classes, networks, examples, gap)
        for classes in (2, 3)
        for networks in (1, 5)
        for examples in (100, 400, 1600)
        for gap in (0.12, LIMIT, LIMIT / 2, 0.0)
    ]
    rows = []
    for seed, case in enumerate(cases):
        rows.append(race(case, parsed.rounds, seed))
        print(rows[-1])
    result = {
        "versions": {name: version(name) for name in ("fairlearn", "vfairness")},
        "settings": {"alpha": ALPHA, "limit": LIMIT, "resamples": RESAMPLES, "scatter": SCATTER},
        "agreement": agreement(np.random.default_rng(1)),
        "unrecognised": {"draws": 100, "passes": unrecognised(100, 2)},
        "cases": rows,
    }
    report("gates", result, device=torch.device("cpu"), out=parsed.out)


if __name__ == "__main__":
    main()
