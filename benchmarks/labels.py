"""The value of group labels: groups inferred from few labels, and sets distilled with all, few and no labels.

    FAIR_DISTILL_DATA=DIR python -m benchmarks.labels infer --data c_mnist_fg --known 0.05
    FAIR_DISTILL_DATA=DIR python -m benchmarks.labels distil --data c_mnist_fg --known 0.05

`infer` hides labels, infers them and compares them with the truth in each cell. `distil` distils the same images with
the same budget, and measures on test images that have every colour. Both print a table and write JSON.
"""

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import RESULTS, report
from benchmarks.reproduce.benchmarks import BENCHMARKS, Prepared, prepare
from fair_distill.card import TrainingRecipe
from fair_distill.config import Candidate, Distill, Named, checked
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.loop import Streams, optimise
from fair_distill.distillation.sampling import Normalisation, normalisation
from fair_distill.distillation.unknown_groups import ResolvedGroups, resolve_unknown_groups
from fair_distill.evaluation.evaluate import train_and_predict
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.seeds import plain_torch_generator, torch_generator

CPU = torch.device("cpu")
CONVNET = {"name": "convnet", "width": 32, "depth": 3}
PROPAGATION = {
    "name": "propagation",
    "steps": 200,
    "learning_rate": 0.05,
    "batch_size": 64,
    "neighbours": 10,
    "spread": 0.5,
    "folds": 2,
}
CHEAP = {
    "matcher": "dm",
    "network": CONVNET,
    "networks": {
        **{"pool": 1, "visits": 1, "warmup_epochs": 0, "advance": 0, "advance_on": "synthetic"},
        **{"learning_rate": 0.01, "batch_size": 256},
    },
    "ipc": 10,
    "formation": 1,
    "steps": 60,
    "real_per_class": 40,
    "distance": "squared",
    "reduce": "sum",
    "optimiser": {"name": "sgd", "learning_rate": 10.0, "momentum": 0.5},
    "start": "group_stratified",
    "augment": ["crop", "cutout", "scale", "rotate"],
    "embedding": "exact",
    "shrinkage": None,
    "unknown": "refuse",
}


@dataclass(frozen=True)
class Row:
    """One way to distil: what is known, what is done about what is not, and the candidate."""

    name: str
    known: bool
    unknown: dict[str, Any] | str
    alignment: str = "barycentric"
    changes: tuple[tuple[str, Any], ...] = ()


ROWS = (
    Row("few known, propagation", False, PROPAGATION),
    Row("few known, drop", False, "drop"),
    Row("all known", True, "refuse"),
    Row("pooled, start as it comes", True, "refuse", "pooled", (("start", "natural"),)),
)


def trained_on(prepared: Prepared, most: int, rng: np.random.Generator) -> GroupedDataset:
    """At most `most` of the training examples."""
    return prepared.train.take(np.sort(rng.permutation(len(prepared.train))[:most]))


def hidden(dataset: GroupedDataset, share: float, rng: np.random.Generator) -> GroupedDataset:
    """The same examples with all but a share of their groups not known; `pairs` says which row of `dataset` each is."""
    known = rng.random(len(dataset)) < share
    return GroupedDataset.from_arrays(
        dataset.images,
        dataset.labels,
        np.where(known, dataset.group_indices, len(dataset.groups)),
        classes=dataset.classes,
        groups=[*dataset.groups, "?"],
        pairs=np.arange(len(dataset)),
        attributes=[*dataset.attributes, (None,)],
    )


def resolved(dataset: GroupedDataset, method: dict[str, Any] | str, seed: int) -> ResolvedGroups:
    named = Named.model_validate({"name": method} if isinstance(method, str) else method)
    generator = torch_generator(seed, "unknown")
    return resolve_unknown_groups(dataset, named, Named.model_validate(CONVNET), generator=generator, device=CPU)


def cells_of(truth: GroupedDataset, few: GroupedDataset, result: ResolvedGroups) -> dict[str, Any]:
    """How often inference was right on what was hidden: by cell, and what it said of itself."""
    rows = result.dataset.pairs
    asked = np.ones(len(truth), dtype=bool)
    asked[few.pairs[few.known[few.group_indices]]] = False
    labels, groups, guesses = truth.labels[rows], truth.group_indices[rows], result.dataset.group_indices
    asked, shape = asked[rows], truth.counts.shape

    def count(groups_of: Array, which: Array) -> Array:
        return np.bincount((labels * shape[1] + groups_of)[which], minlength=shape[0] * shape[1]).reshape(shape)

    right = count(groups, asked & (groups == guesses))
    accuracy = right / np.maximum(count(groups, asked), 1)
    pure = right / np.maximum(count(guesses, asked), 1)
    counts = np.array([cell.correct for cell in result.cells]), np.array([cell.predicted for cell in result.cells])
    return {
        "examples": len(truth),
        "known": int((~asked).sum()),
        "smallest_known_cell": min(cell.known for cell in result.cells),
        "accuracy": float((groups == guesses)[asked].mean()),
        "accuracy_said": result.accuracy,
        "found": {"mean": float(accuracy.mean()), "least": float(accuracy.min())},
        "pure": {"mean": float(pure.mean()), "least": float(pure.min())},
        "pure_said": float((counts[0] / np.maximum(counts[1], 1))[counts[1] > 0].mean()),
        "found_by_cell": accuracy.round(3).tolist(),
        "pure_by_cell": pure.round(3).tolist(),
    }


def measured(images: Array, labels: Array, pixels: Normalisation, test: GroupedDataset, seeds: int) -> dict[str, float]:
    """Accuracy, EODM and EODA on a test set, means over networks."""
    recipe = TrainingRecipe(
        network={"name": "convnet", "options": {"width": 32, "depth": 3}},
        steps=150,
        batch_size=256,
        learning_rate=0.01,
        momentum=0.9,
        weight_decay=0.0005,
        augment=("crop", "cutout", "scale", "rotate"),
        formation=1,
        mean=pixels.mean,
        std=pixels.std,
    )
    predictions = train_and_predict(
        images,
        labels,
        recipe,
        test,
        version="",
        split="",
        seeds=seeds,
        networks={recipe.network["name"]: recipe.network["options"]},
        generator=plain_torch_generator,
        device=CPU,
    )
    tables = [predictions.confusion(0, number) for number in range(seeds)]
    return {
        name: float(np.mean([PREDICTION_METRICS[metric].value(table) for table in tables]))
        for name, metric in (("accuracy", "accuracy"), ("eodm", "eo_diag_max"), ("eoda", "eo_diag_mean"))
    }


def infer(prepared: Prepared, known: float, examples: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    truth = trained_on(prepared, examples, rng)
    few = hidden(truth, known, rng)
    began = time.process_time()
    result = resolved(few, PROPAGATION, seed)
    spent = time.process_time() - began
    return cells_of(truth, few, result) | {"cpu_seconds": round(spent, 1)}


def distil(
    prepared: Prepared, known: float, examples: int, seed: int, *, steps: int, seeds: int
) -> dict[str, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    truth = trained_on(prepared, examples, rng)
    few = hidden(truth, known, rng)
    apart = prepared.tests["paired"]
    pairs = prepared.test.pairs
    test = prepared.test.take(np.flatnonzero((pairs >= apart.start) & (pairs < apart.stop)))
    pixels = normalisation(truth)
    rows: dict[str, dict[str, Any]] = {}
    for row in ROWS:
        began = time.process_time()
        result = resolved(truth if row.known else few, row.unknown, seed)
        settings = checked(Distill, CHEAP | {"steps": steps} | dict(row.changes), name="benchmark")
        aligned = {"alignment": row.alignment} | ({"barycenter": "mean"} if row.alignment == "barycentric" else {})
        distilled = optimise(
            result.dataset,
            settings,
            checked(Candidate, aligned, name="benchmark"),
            normalise=pixels,
            streams=Streams.from_seed(seed),
            device=CPU,
        )
        figures: dict[str, Any] = {"cpu_seconds": round(time.process_time() - began, 1)}
        figures |= measured(distilled.images, distilled.labels, pixels, test, seeds)
        print(row.name, figures, flush=True)
        rows[row.name] = figures | ({"inference": cells_of(truth, few, result)} if result.cells else {})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["infer", "distil"])
    parser.add_argument("--data", choices=[*BENCHMARKS], default="c_mnist_fg")
    parser.add_argument("--known", type=float, default=0.05, help="share of the group labels that is kept")
    parser.add_argument("--examples", type=int, default=10_000, help="of the training part")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--tests", type=int, default=30, help="test images a class, each in every colour")
    parser.add_argument("--seeds", type=int, default=2, help="networks trained on each set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    prepared = prepare(options.data, Path(os.environ["FAIR_DISTILL_DATA"]), paired_per_class=options.tests)
    common = (prepared, options.known, options.examples, options.seed)
    if options.what == "infer":
        result: dict[str, Any] = {"inference": infer(*common)}
    else:
        result = {"rows": distil(*common, steps=options.steps, seeds=options.seeds)}
    settings = {key: value for key, value in vars(options).items() if key != "out"} | {"propagation": PROPAGATION}
    report(f"labels_{options.what}_{options.data}", result | {"options": settings}, device=CPU, out=options.out)


if __name__ == "__main__":
    main()
