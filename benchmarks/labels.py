"""What a group label is worth: groups inferred from few labels, and sets distilled with all, few and no labels.

    FAIR_DISTILL_DATA=DIR python benchmarks/labels.py infer --data mnist --known 0.05
    FAIR_DISTILL_DATA=DIR python benchmarks/labels.py distil --data mnist --known 0.05

`infer` hides labels, infers them and holds them against the truth, cell by cell. `distil` distils the same images with
an equal budget and measures on test images that stand in every colour. Both print a table and write JSON.
"""

import argparse
import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fair_distill.card import TrainingRecipe
from fair_distill.config import Candidate, Distill, Named, checked
from fair_distill.data.columns import Labelled
from fair_distill.data.grouped import Array, GroupedDataset
from fair_distill.data.skew import paired, skewed
from fair_distill.data.sources import read_source
from fair_distill.distillation.loop import Streams, distill, stream
from fair_distill.distillation.sampling import Normalisation, normalisation
from fair_distill.distillation.unknown import Resolved, with_known_groups
from fair_distill.evaluation.train import predict, train, unpacked
from fair_distill.gate.metrics import accuracy, confusion, diagonal

TEN = [(255, 0, 0), (255, 128, 0), (255, 255, 0), (255, 255, 128), (0, 255, 0)]
TEN += [(0, 255, 255), (0, 0, 255), (128, 0, 255), (255, 0, 255), (255, 255, 255)]
COLOURS = {str(i): list(colour) for i, colour in enumerate(TEN)}
GREY = {"grey": "grey", "colour": "original"}
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


def source(data: Path, name: str, part: str) -> Labelled:
    if name == "cifar10_4k":
        with np.load(data / "cifar10_4k/cifar10_first4000.npz") as arrays:
            images, labels = arrays["x"].transpose(0, 3, 1, 2), arrays["y"].astype(int)
        return Labelled(np.ascontiguousarray(images), labels, tuple("0123456789"))
    stem = data / name.removesuffix("_by_writer") / ("train" if part == "train" else "t10k")
    options: dict[str, Any] = {"images": f"{stem}-images-idx3-ubyte.gz", "labels": f"{stem}-labels-idx1-ubyte.gz"}
    if name == "mnist_by_writer":
        options |= {"attributes": f"{stem}_groups.npz", "columns": {"groups": "student", "cluster": "writer"}}
    return read_source("idx", options | {"pixels": {"size": 32, "resize": "pad"}}, root=Path("/"))


def coloured(raw: Labelled, name: str, most: int, rng: np.random.Generator) -> GroupedDataset:
    """At most `most` examples of a source in the groups of the benchmark of that name."""
    rows = np.sort(rng.permutation(len(raw))[:most])
    if raw.groups is not None:
        return GroupedDataset.from_arrays(
            raw.images[rows], raw.labels[rows], raw.groups[rows], classes=raw.classes, group_names=raw.group_names
        )
    colours, paint = (GREY, "foreground") if name == "cifar10_4k" else (COLOURS, PAINT[name])
    return skewed(raw, rows, colours, 0.9, rng, paint=paint)


PAINT = {"mnist": "foreground", "fashion_mnist": "behind"}


def hidden(dataset: GroupedDataset, share: float, rng: np.random.Generator) -> GroupedDataset:
    """The same examples with all but a share of their groups not known; `pairs` says which row of `dataset` each is."""
    known = rng.random(len(dataset)) < share
    return GroupedDataset.from_arrays(
        dataset.images,
        dataset.labels,
        np.where(known, dataset.groups, len(dataset.group_names)),
        classes=dataset.classes,
        group_names=[*dataset.group_names, "?"],
        pairs=np.arange(len(dataset)),
        attributes=[*dataset.attributes, (None,)],
    )


def resolved(dataset: GroupedDataset, method: dict[str, Any] | str, seed: int) -> Resolved:
    named = Named.model_validate({"name": method} if isinstance(method, str) else method)
    generator = stream(seed, "unknown")
    return with_known_groups(
        dataset, named, Named.model_validate(CONVNET), generator=generator, device=torch.device("cpu")
    )


def cells_of(truth: GroupedDataset, few: GroupedDataset, result: Resolved) -> dict[str, Any]:
    """How often inference was right on what was hidden: by cell, and what it said of itself."""
    rows = result.dataset.pairs
    asked = np.ones(len(truth), dtype=bool)
    asked[few.pairs[few.known[few.groups]]] = False
    labels, groups, guesses = truth.labels[rows], truth.groups[rows], result.dataset.groups
    asked, shape = asked[rows], truth.counts.shape

    def count(of: Array, which: Array) -> Array:
        return np.bincount((labels * shape[1] + of)[which], minlength=shape[0] * shape[1]).reshape(shape)

    right = count(groups, asked & (groups == guesses))
    found = right / np.maximum(count(groups, asked), 1)
    pure = right / np.maximum(count(guesses, asked), 1)
    said = np.array([cell.right for cell in result.cells]), np.array([cell.guessed for cell in result.cells])
    return {
        "examples": len(truth),
        "known": int((~asked).sum()),
        "smallest_known_cell": min(cell.known for cell in result.cells),
        "accuracy": float((groups == guesses)[asked].mean()),
        "accuracy_said": result.accuracy,
        "found": {"mean": float(found.mean()), "least": float(found.min())},
        "pure": {"mean": float(pure.mean()), "least": float(pure.min())},
        "pure_said": float((said[0] / np.maximum(said[1], 1))[said[1] > 0].mean()),
        "found_by_cell": found.round(3).tolist(),
        "pure_by_cell": pure.round(3).tolist(),
    }


def measured(
    images: Array, labels: Array, pixels: Normalisation, test: GroupedDataset, seeds: int, formation: int
) -> dict[str, float]:
    """Accuracy, EODM and EODA on a test set, means over networks."""
    recipe = TrainingRecipe(
        network={"name": "convnet", "options": {"width": 32, "depth": 3}},
        steps=150,
        batch_size=256,
        learning_rate=0.01,
        momentum=0.9,
        weight_decay=0.0005,
        augment=("crop", "cutout", "scale", "rotate"),
        formation=formation,
        mean=pixels.mean,
        std=pixels.std,
    )
    shown, classes = unpacked(torch.tensor(images), torch.tensor(labels), formation)
    shown = pixels.apply(shown)
    asked = torch.from_numpy(test.images)
    results = []
    for seed in range(seeds):
        network = train(
            recipe,
            lambda rows: shown[rows],
            classes,
            shape=test.shape,
            classes=len(test.classes),
            generator=torch.Generator().manual_seed(seed),
        )
        predicted, _ = predict(
            network, lambda rows: pixels.apply(asked[rows].float() / 255), len(test), device=torch.device("cpu")
        )
        table = confusion(
            test.labels, test.groups, predicted.numpy(), classes=test.classes, group_names=test.group_names
        )
        gaps = np.ptp(table.shares(diagonal(len(test.classes))), axis=1)
        results.append((accuracy(table), gaps.max(), gaps.mean()))
    return dict(zip(("accuracy", "eodm", "eoda"), np.mean(results, axis=0).tolist(), strict=True))


def infer(data: Path, name: str, known: float, examples: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    truth = coloured(source(data, name, "train"), name, examples, rng)
    few = hidden(truth, known, rng)
    began = time.process_time()
    result = resolved(few, PROPAGATION, seed)
    facts = cells_of(truth, few, result) | {"cpu_seconds": round(time.process_time() - began, 1)}
    print({key: value for key, value in facts.items() if not key.endswith("by_cell")}, flush=True)
    return facts


def distil(
    data: Path, name: str, known: float, examples: int, seed: int, *, steps: int, tests: int, seeds: int
) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    truth = coloured(source(data, name, "train"), name, examples, rng)
    few = hidden(truth, known, rng)
    raw = source(data, name, "test")
    test = paired(raw, np.sort(rng.permutation(len(raw))[:tests]), COLOURS, paint=PAINT[name])
    pixels = normalisation(truth)
    rows = []
    for row in ROWS:
        began = time.process_time()
        result = resolved(truth if row.known else few, row.unknown, seed)
        settings = checked(Distill, CHEAP | {"steps": steps} | dict(row.changes), name="benchmark")
        aligned = {"alignment": row.alignment} | ({"barycenter": "mean"} if row.alignment == "barycentric" else {})
        made = distill(
            result.dataset,
            settings,
            checked(Candidate, aligned, name="benchmark"),
            normalise=pixels,
            streams=Streams.from_seed(seed),
            device=torch.device("cpu"),
        )
        spent = time.process_time() - began
        facts: dict[str, Any] = {"row": row.name, "cpu_seconds": round(spent, 1)}
        if result.cells:
            facts["inference"] = cells_of(truth, few, result)
        facts |= measured(made.images, made.labels, pixels, test, seeds, settings.formation)
        print({key: value for key, value in facts.items() if key != "inference"}, flush=True)
        rows.append(facts)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["infer", "distil"])
    parser.add_argument("--data", choices=["mnist", "fashion_mnist", "cifar10_4k", "mnist_by_writer"], default="mnist")
    parser.add_argument("--known", type=float, default=0.05, help="share of the group labels that is kept")
    parser.add_argument("--examples", type=int, default=10_000, help="of the training part")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--tests", type=int, default=300, help="test images, each in every colour")
    parser.add_argument("--seeds", type=int, default=2, help="networks trained on each set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = Path(os.environ["FAIR_DISTILL_DATA"]).resolve()
    common = (data, options.data, options.known, options.examples, options.seed)
    if options.what == "infer":
        result: Any = infer(*common)
    else:
        result = distil(*common, steps=options.steps, tests=options.tests, seeds=options.seeds)
    if options.out:
        about = {
            "options": {key: value for key, value in vars(options).items() if key != "out"},
            "propagation": PROPAGATION,
            "machine": {
                "processor": platform.machine(),
                "cpu_capability": torch.backends.cpu.get_cpu_capability(),
                "threads": 1,
                "torch": torch.__version__.split("+")[0],
            },
        }
        options.out.write_text(json.dumps(about | {"result": result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
