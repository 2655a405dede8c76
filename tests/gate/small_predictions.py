"""Predictions that have given counts or rates, and short forms for one metric or clause."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fair_distill.config import Limit
from fair_distill.gate.comparisons import Comparisons
from fair_distill.gate.confusion import Confusion
from fair_distill.gate.evidence import Evidence
from fair_distill.gate.metrics import PREDICTION_METRICS, Measured
from fair_distill.gate.network_predictions import NetworkPredictions
from fair_distill.gate.predictions import Predictions

GAPS = tuple(name for name, metric in PREDICTION_METRICS.items() if metric.is_gap and metric.direction == "at_most")

# G groups, C true classes, K predicted classes


def predictions_of(
    runs: Mapping[tuple[int, int], Any], *, networks: tuple[str, ...] = ("convnet",), **about: str
) -> Predictions:
    """Return predictions whose run (network, seed) has these counts, (G, C, K)."""
    columns: dict[str, list[Any]] = {name: [] for name in ("example", "label", "group", "seed", "network", "predicted")}
    for (network, seed), counts in runs.items():
        table = np.asarray(counts)
        group, label, predicted = np.repeat(np.indices(table.shape).reshape(3, -1), table.ravel(), axis=1)
        n = len(label)
        rows = {"example": np.arange(n), "label": label, "group": group, "predicted": predicted}
        for name, values in (rows | {"seed": np.full(n, seed), "network": np.full(n, network)}).items():
            columns[name].append(values)
        groups, classes = table.shape[:2]
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    joined["pair"] = joined["example"]
    joined["probability"] = np.full(len(joined["label"]), 0.5, dtype=np.float32)
    return Predictions(
        set=about.get("set", "a" * 64),
        split=about.get("split", "b" * 64),
        classes=tuple(f"class{i}" for i in range(classes)),
        groups=tuple(f"group{i}" for i in range(groups)),
        networks=networks,
        columns=joined,
    )


def recalls_of(right: Any, of: int) -> Any:
    """Counts (G, 2, 2) of `of` examples a cell, right[g][c] of them predicted right."""
    return np.array([[[r0, of - r0], [of - r1, r1]] for r0, r1 in right])


def predictions_from(
    answers: Any,
    labels: Any,
    groups: Any,
    *,
    pairs: Any = None,
    clusters: Any = None,
    probability: float = 0.9,
    networks: tuple[str, ...] = ("convnet",),
    classes: int | None = None,
    **about: str,
) -> Predictions:
    """Return predictions of answers (networks, S, N), or (S, N) of one network, to N examples."""
    answers, labels, groups = np.asarray(answers), np.asarray(labels), np.asarray(groups)
    answers = answers[None] if answers.ndim == 2 else answers
    count, seeds, n = answers.shape
    pairs = np.arange(n) if pairs is None else np.asarray(pairs)
    facts = {"example": np.arange(n), "label": labels, "group": groups, "pair": pairs}
    facts["cluster"] = pairs if clusters is None else np.asarray(clusters)
    columns = {name: np.tile(values, count * seeds) for name, values in facts.items()}
    columns["network"] = np.repeat(np.arange(count), seeds * n)
    columns["seed"] = np.tile(np.repeat(np.arange(seeds), n), count)
    columns["predicted"] = answers.ravel()
    columns["probability"] = np.full(answers.size, probability)
    return Predictions(
        set=about.get("set", "a" * 64),
        split=about.get("split", "b" * 64),
        classes=tuple(f"class{i}" for i in range(classes or int(labels.max()) + 1)),
        groups=tuple(f"group{i}" for i in range(int(groups.max()) + 1)),
        networks=networks,
        columns=columns,
    )


def drawn(
    rates: Any,
    of: int,
    rng: np.random.Generator,
    *,
    seeds: int = 3,
    paired: bool = False,
    alike: float = 0.8,
    **more: Any,
) -> Predictions:
    """Return predictions of `of` examples a cell, right at these rates (C, G); wrong ones say the next class.

    A share `alike` of examples has the same answer in every seed. Paired: pair i has one example of each group.
    """
    rates = np.asarray(rates)
    shape = (*rates.shape, of)
    label, group, number = (axis.ravel() for axis in np.indices(shape))
    hard = rng.random((rates.shape[0], 1, of) if paired else shape) * np.ones(shape)
    luck = np.where(rng.random(shape) < alike, hard, rng.random((seeds, *shape)))
    right = (luck < rates[..., None]).reshape(seeds, -1)
    answers = np.where(right, label, (label + 1) % len(rates))
    pairs = label * of + number if paired else None
    return predictions_from(answers, label, group, pairs=pairs, **more)


def measure(name: str, table: Confusion) -> Measured:
    return PREDICTION_METRICS[name].measure(table)


def comparisons_of(limit: Limit, classes: Sequence[str], groups: Sequence[str]) -> Comparisons:
    return PREDICTION_METRICS[limit.metric].comparisons(limit, classes, groups)


def gather(limit: Limit, predictions: NetworkPredictions, reference: NetworkPredictions | None) -> Evidence:
    return PREDICTION_METRICS[limit.metric].gather(limit, predictions, reference)


def lack_of_examples(limit: Limit, predictions: NetworkPredictions, minimum: int) -> str | None:
    comparisons = comparisons_of(limit, predictions.classes, predictions.groups)
    return PREDICTION_METRICS[limit.metric].lack_of_examples(predictions, comparisons, minimum)
