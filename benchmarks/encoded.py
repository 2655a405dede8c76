"""Sets of features compared with real examples: `ridge_probe`, coresets of one to ten times its size, and all the data.

    python -m benchmarks.encoded race --data DIR --features FOLDER --names adult cifar10_s
    python -m benchmarks.encoded speed

`race` adds each data set to one JSON file. All choices are made on the tune part: the penalty of every head, and the
option `decay` of a distilled set (once for each data set and alignment, at ten examples per class). The criterion is
the mean recall over all cells. Heads of the full data give classes equal weights, as the small sets do.

C classes, G groups, N test examples, D features.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.encoded_data import READERS, Encoded, read
from benchmarks.measure import RESULTS, machine
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.api import distill
from fair_distill.distillation.loop import Distilled
from fair_distill.distillation.presets import PRESETS
from fair_distill.evaluation.coresets import CORESETS, within_cells
from fair_distill.evaluation.references import subset

CPU = torch.device("cpu")
PENALTIES, INVERSES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0), (0.1, 1.0, 10.0, 100.0)
DECAYS = (0.03, 0.1, 0.3)
IPCS, MULTIPLES, SEEDS, REPLICATES = (1, 4, 10, 50), (2, 5, 10), 5, 200
DISTILLED = {"pooled": "pooled", "barycentric": "barycentric"}
ABSENT = ("linear_svm", "mlp", "boosted_trees")


@dataclass(frozen=True, eq=False)
class Small:
    """Standardised examples (n, D), their classes, and their weights in a head."""

    features: Array
    labels: Array
    weights: Array


class Task:
    """A data set, standardised by its training part."""

    def __init__(self, encoded: Encoded) -> None:
        self.encoded = encoded
        features = encoded.train.images.reshape(len(encoded.train), -1).astype(np.float64)
        std = features.std(axis=0)
        self.mean, self.std = features.mean(axis=0), np.where(std > 1e-6, std, 1.0)
        self.train = self.standardised(encoded.train.images)
        self.tune, self.test = (self.standardised(part.images) for part in (encoded.tune, encoded.test))
        self.classes = len(encoded.train.classes)

    def standardised(self, images: Array) -> Array:
        standardised: Array = ((images.reshape(len(images), -1) - self.mean) / self.std).astype(np.float64)
        return standardised

    def small(self, images: Array, labels: Array) -> Small:
        return Small(self.standardised(images), np.asarray(labels), np.full(len(labels), 1 / len(labels)))

    def full(self, cells: bool) -> Small:
        """Return all training examples, with equal weights of classes, or of all cells."""
        counts = self.encoded.train.counts
        per_cell = 1 / ((counts > 0).sum(axis=1, keepdims=True) * np.maximum(counts, 1)) if cells else None
        per_class = np.broadcast_to(1 / counts.sum(axis=1, keepdims=True), counts.shape)
        weights = (per_class if per_cell is None else per_cell)[
            self.encoded.train.labels, self.encoded.train.group_indices
        ]
        return Small(self.train, self.encoded.train.labels, weights / weights.sum())


# --- heads


def ridge(small: Small, penalty: float, classes: int) -> Callable[[Array], Array]:
    root = np.sqrt(small.weights * len(small.weights))[:, None]
    x, y = small.features * root, (np.eye(classes)[small.labels] - 1 / classes) * root
    ridge_term = penalty * (x**2).sum() / len(x)
    if len(x) <= x.shape[1]:
        head = x.T @ np.linalg.solve(x @ x.T + ridge_term * np.eye(len(x)), y)
    else:
        head = np.linalg.solve(x.T @ x + ridge_term * np.eye(x.shape[1]), x.T @ y)
    return lambda features: (features @ head).argmax(axis=1)


def _fitted(make: Callable[[float], Any], small: Small, option: float, classes: int) -> Callable[[Array], Array]:
    scale = small.features.shape[1] ** -0.5
    model = make(option)
    weighted = {"sample_weight": small.weights * len(small.weights)} if np.ptp(small.weights) > 0 else {}
    model.fit(small.features * scale, small.labels, **weighted)
    return lambda features: np.asarray(model.predict(features * scale))


def heads() -> dict[str, tuple[Callable[..., Callable[[Array], Array]], tuple[float, ...]]]:
    """Return each head with the options among which the tune part decides."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import LinearSVC

    return {
        "ridge": (ridge, PENALTIES),
        "logistic": (partial(_fitted, lambda c: LogisticRegression(C=c, max_iter=300)), INVERSES),
        "linear_svm": (partial(_fitted, lambda c: LinearSVC(C=c, random_state=0)), INVERSES),
        "mlp": (partial(_fitted, lambda a: MLPClassifier((128,), alpha=a, max_iter=200, random_state=0)), (0.01, 1.0)),
        "boosted_trees": (
            partial(_fitted, lambda n: HistGradientBoostingClassifier(min_samples_leaf=int(n), max_iter=30)),
            (3.0,),
        ),
    }


def predicted(task: Task, small: Small, head: str) -> tuple[Array, float]:
    """Return the test predictions of a head with the option that is best on tune, and its criterion there."""
    fit, options = heads()[head]
    fitted = [fit(small, option, task.classes) for option in options]
    scores = [float(recalls(model(task.tune), task.encoded.tune).mean()) for model in fitted]
    return fitted[int(np.argmax(scores))](task.test), max(scores)


# --- figures


def recalls(predictions: Array, part: GroupedDataset, weights: Array | None = None) -> Array:
    """Return the recall of each cell, (C, G); cells without examples repeat the mean of their class."""
    weights = np.ones(len(part)) if weights is None else weights
    cell = part.labels * len(part.groups) + part.group_indices
    right, total = (
        np.bincount(cell, weights * factor, part.counts.size).reshape(part.counts.shape)
        for factor in (predictions == part.labels, 1.0)
    )
    empty = total == 0
    rates = right / np.where(empty, 1, total)
    means = rates.sum(axis=1, keepdims=True) / np.maximum((~empty).sum(axis=1, keepdims=True), 1)
    result: Array = np.where(empty, means, rates)
    return result


def figures(rates_CG: Array) -> dict[str, float]:
    """Return mean recall, the recall over classes of the worst-performing group, EODM and EODA."""
    gaps = np.ptp(rates_CG, axis=1)
    return {
        "balanced": float(rates_CG.mean()),
        "worst_group": float(rates_CG.mean(axis=0).min()),
        "eodm": float(gaps.max()),
        "eoda": float(gaps.mean()),
    }


def bootstrap(predictions: Mapping[str, list[Array]], part: GroupedDataset) -> dict[str, dict[str, Array]]:
    """Return replicates of all figures of each row: seeds and dependent test examples are drawn again.

    All rows have the same draws of test examples, so that differences between rows are paired.
    """
    rng = np.random.default_rng(0)
    unit = np.unique(part.pairs, return_inverse=True)[1]
    drawn: dict[str, list[dict[str, float]]] = {name: [] for name in predictions}
    for _ in range(REPLICATES):
        weights = rng.multinomial(unit.max() + 1, np.full(unit.max() + 1, 1 / (unit.max() + 1)))[unit].astype(float)
        for name, seeds in predictions.items():
            chosen = rng.integers(len(seeds), size=len(seeds))
            each = [figures(recalls(seeds[seed], part, weights)) for seed in chosen]
            drawn[name].append({key: float(np.mean([one[key] for one in each])) for key in each[0]})
    return {name: {key: np.array([one[key] for one in rows]) for key in rows[0]} for name, rows in drawn.items()}


# --- the race


def coreset(task: Task, select: str, ipc: int, seed: int) -> Small:
    generator = torch.Generator().manual_seed(seed)
    if select == "medoids":
        rng = np.random.default_rng(seed)
        rows = within_cells(
            partial(_medoids, seed=seed), task.encoded.train, ipc, task.standardised, lambda n: int(rng.integers(n))
        )
        return task.small(task.encoded.train.images[rows], task.encoded.train.labels[rows])
    embed = task.standardised if select in CORESETS else None
    images, labels = subset(select, task.encoded.train, ipc, 1, generator, embed=embed)
    return task.small(images, labels)


def _medoids(points: Array, count: int, first: int, *, seed: int) -> Array:
    """Choose the point that is nearest to each of `count` k-means centres; no point twice."""
    from sklearn.cluster import KMeans

    centres = KMeans(count, n_init=1, random_state=seed).fit(points).cluster_centers_
    chosen: list[int] = []
    for centre in centres:
        distances = ((points - centre) ** 2).sum(axis=1)
        distances[chosen] = np.inf
        chosen.append(int(np.argmin(distances)))
    return np.array(chosen)


def distilled(task: Task, alignment: str, ipc: int, seed: int, decay: float) -> Small:
    matcher = PRESETS["ridge_probe"]["matcher"] | {"decay": decay}
    result: Distilled = distill(
        task.encoded.train, preset="ridge_probe", alignment=alignment, ipc=ipc, seed=seed, matcher=matcher
    )
    return task.small(result.images, result.labels)


def chosen_decay(task: Task, alignment: str) -> float:
    scores = [predicted(task, distilled(task, alignment, 10, 0, decay), "ridge")[1] for decay in DECAYS]
    return DECAYS[int(np.argmax(scores))]


def race(task: Task, ipcs: tuple[int, ...]) -> dict[str, Any]:
    """Return the figures of every row, with 95 % intervals."""
    test = task.encoded.test
    smallest = int(task.encoded.train.counts.sum(axis=1).min())
    large = task.train.shape[1] > 1000 and task.classes > 2
    predictions: dict[str, list[Array]] = {}
    seconds: dict[str, list[float]] = {}
    tuned: dict[str, list[float]] = {}

    def add(name: str, small: Callable[[], Small], names: tuple[str, ...]) -> None:
        began = time.process_time()
        made = small()
        seconds.setdefault(name, []).append(time.process_time() - began)
        for head in names:
            answers, score = predicted(task, made, head)
            predictions.setdefault(f"{name} | {head}", []).append(answers)
            tuned.setdefault(f"{name} | {head}", []).append(score)

    for title, cells in (("full", False), ("full, equal cells", True)):
        add(title, partial(task.full, cells), ("ridge",))
    decays = {name: chosen_decay(task, alignment) for name, alignment in DISTILLED.items()}
    for ipc in (ipc for ipc in ipcs if ipc <= smallest):
        for seed in range(1 if large and ipc == 50 else SEEDS):
            names = ("ridge", "logistic") if ipc == 10 else ("ridge",)
            absent = ABSENT if ipc == 10 and seed == 0 else ()
            for name, alignment in DISTILLED.items():
                small = partial(distilled, task, alignment, ipc, seed, decays[name])
                add(f"{name}, ipc {ipc}", small, names + (absent if name == "barycentric" else ()))
            for select in ("random", "group_balanced", "k_centre", "medoids"):
                add(f"{select}, ipc {ipc}", partial(coreset, task, select, ipc, seed), ("ridge",))
            if seed == 0:  # Herding draws nothing.
                add(f"herding, ipc {ipc}", partial(coreset, task, "herding", ipc, seed), names + absent)
        for factor in MULTIPLES if ipc == 10 else ():
            for select in ("herding", "medoids"):
                if factor * ipc <= smallest:
                    add(f"{select}, {factor} × ipc 10", partial(coreset, task, select, factor * ipc, 0), ("ridge",))
    replicates = bootstrap(predictions, test)
    rows = {}
    for name, seeds in predictions.items():
        each = [figures(recalls(answers, test)) for answers in seeds]
        rows[name] = {
            key: [float(np.mean([one[key] for one in each])), *np.quantile(replicates[name][key], (0.025, 0.975))]
            for key in each[0]
        } | {"seeds": len(seeds), "tune": float(np.mean(tuned[name]))}
        rows[name]["cpu_seconds"] = float(np.mean(seconds[name.split(" | ")[0]]))
    return {
        "sizes": {part: len(getattr(task.encoded, part)) for part in ("train", "tune", "test")},
        "columns": task.train.shape[1],
        "smallest_cells": {part: _smallest(getattr(task.encoded, part)) for part in ("train", "tune", "test")},
        "decay": decays,
        "rows": rows,
        "over_best_coreset": _comparison(rows, replicates, ipcs),
    }


def _smallest(part: GroupedDataset) -> int:
    return int(part.counts[part.counts > 0].min())


def _comparison(rows: Mapping[str, Any], replicates: Mapping[str, Any], ipcs: tuple[int, ...]) -> dict[str, Any]:
    """Return the gain of the barycentric set in the worst group over the coreset that is best on tune, paired."""
    gains = {}
    for ipc in ipcs:
        rivals = [
            f"{select}, ipc {ipc} | ridge" for select in ("random", "group_balanced", "herding", "k_centre", "medoids")
        ]
        present = [name for name in rivals if name in rows]
        if not present:
            continue
        best = max(present, key=lambda name: float(rows[name]["tune"]))
        own = f"barycentric, ipc {ipc} | ridge"
        gain = replicates[own]["worst_group"] - replicates[best]["worst_group"]
        mean = rows[own]["worst_group"][0] - rows[best]["worst_group"][0]
        gains[str(ipc)] = {"coreset": best, "gain": [mean, *np.quantile(gain, (0.025, 0.975))]}
    return gains


# --- speed


def noise(classes: int, groups: int, per_cell: int, columns: int) -> GroupedDataset:
    rng = np.random.default_rng(0)
    labels, indices = (np.repeat(index.ravel(), per_cell) for index in np.indices((classes, groups)))
    features = rng.standard_normal((len(labels), columns), dtype=np.float32)
    features[np.arange(len(labels)), labels % columns] += 3
    return GroupedDataset.from_arrays(features[:, :, None, None], labels, indices)


def cost_of_a_step(per_cell: int) -> float:
    """Return the CPU seconds of one step, without the steps' start: the difference between 60 and 10 steps."""
    data, taken = noise(10, 10, per_cell, 1280), []
    distill(data, preset="ridge_probe", steps=1)
    for steps in (10, 60):
        began = time.process_time()
        distill(data, preset="ridge_probe", steps=steps)
        taken.append(time.process_time() - began)
    return (taken[1] - taken[0]) / 50


def speed(rounds: int, steps_of_large: int) -> dict[str, Any]:
    """Return CPU seconds and memory of sets of the sizes that the issue of the encoder mode names."""
    small, seconds = noise(10, 10, 500, 1280), {"pooled": [], "barycentric": []}  # type: ignore[var-annotated]
    for _ in range(rounds):
        for alignment, taken in seconds.items():
            began = time.process_time()
            distill(small, preset="ridge_probe", alignment=alignment)
            taken.append(time.process_time() - began)
    ratios = [b / p for b, p in zip(seconds["barycentric"], seconds["pooled"], strict=True)]
    began = time.process_time()
    distill(noise(1000, 10, 2, 1280), preset="ridge_probe", steps=steps_of_large, real_per_class=10)
    return {
        "cpu_seconds": {name: float(np.median(taken)) for name, taken in seconds.items()},
        "barycentric_over_pooled": {"median": float(np.median(ratios)), "low": min(ratios), "high": max(ratios)},
        "cpu_seconds_per_step_of_examples": {str(100 * n): cost_of_a_step(n) for n in (50, 500)},
        "thousand_classes": {
            "steps": steps_of_large,
            "cpu_seconds_per_step": (time.process_time() - began) / steps_of_large,
            "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["race", "speed"])
    parser.add_argument("--data", type=Path, help="the folder of the data sets")
    parser.add_argument("--features", type=Path, help="the folder of encoded data sets; missing ones are encoded")
    parser.add_argument("--names", nargs="+", choices=[*READERS], default=[*READERS])
    parser.add_argument("--ipcs", nargs="+", type=int, default=[*IPCS])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = options.out / ("encoded_cpu.json" if options.what == "race" else "encoded_speed_cpu.json")
    result: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    result |= {"machine": machine(CPU), "preset": PRESETS["ridge_probe"]}
    if options.what == "speed":
        result |= speed(options.rounds, steps_of_large=3)
    else:
        for name in options.names:
            task = Task(read(name, options.data, options.features))
            result.setdefault("data", {})[name] = race(task, tuple(options.ipcs))
            path.write_text(json.dumps(result, indent=1) + "\n")
            print(name, json.dumps(result["data"][name]["over_best_coreset"]), flush=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
