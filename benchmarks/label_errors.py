"""Planted label errors: which group does the audit of labels name, and how many of the errors does it list?

    FAIR_DISTILL_DATA=DIR python -m benchmarks.label_errors --data adult
    FAIR_DISTILL_DATA=DIR python -m benchmarks.label_errors --data mnist --examples 20000

The labels of a share of one group are replaced by other classes at random, and the audit runs on the result; it also
runs on the data as they are. The groups are sex for Adult, and census employees and students for MNIST by writer, where
the images of a writer are in one fold. It prints a table and writes JSON.
"""

import argparse
import gzip
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import RESULTS, report
from fair_distill.audit.suspected_labels import audit_labels
from fair_distill.card import TrainingRecipe
from fair_distill.config import load_config
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.data.prepare import make_splits
from fair_distill.data.sources import read_source
from fair_distill.distillation.sampling import normalisation
from fair_distill.evaluation.out_of_fold import out_of_fold_probabilities
from fair_distill.seeds import derive_seed, numpy_generator, torch_generator

CPU = torch.device("cpu")
REPOSITORY = Path(__file__).parents[1]
NETWORKS: dict[str, dict[str, Any]] = {
    "adult": {"name": "mlp", "options": {"width": 128, "depth": 2}},
    "mnist": {"name": "convnet", "options": {"width": 16, "depth": 2}},
}
STEPS = {"adult": 1500, "mnist": 600}
BATCH_SIZE = {"adult": 256, "mnist": 128}


def adult(folder: Path) -> GroupedDataset:
    config = load_config(REPOSITORY / "examples/adult/params.yaml")
    options = config.data.source.options | {
        "path": {"learn": str(folder / "adult/adult.data"), "test": str(folder / "adult/adult.test")}
    }
    source = read_source(config.data.source.name, options, root=REPOSITORY)
    colouring = numpy_generator(config.seed, "prepare.colours")
    dealing = derive_seed(config.seed, "prepare.split")
    return make_splits(source, config.data, dealing=dealing, colouring=colouring)["train"]


def mnist(folder: Path) -> GroupedDataset:
    groups = np.load(folder / "mnist/train_groups.npz")
    images = read_idx(folder / "mnist/train-images-idx3-ubyte.gz")[:, None]
    labels = read_idx(folder / "mnist/train-labels-idx1-ubyte.gz").astype(np.int64)
    return GroupedDataset.from_arrays(
        images,
        labels,
        groups["student"].astype(np.int64),
        groups=["employee", "student"],
        clusters=groups["writer"].astype(np.int64),
    )


def read_idx(path: Path) -> Array:
    content = gzip.decompress(path.read_bytes())
    shape = [int.from_bytes(content[4 * i : 4 * i + 4]) for i in range(1, content[3] + 1)]
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def with_errors(dataset: GroupedDataset, group: int | None, rate: float) -> tuple[GroupedDataset, Array]:
    """Return the dataset with wrong labels in one group, and which of its rows are wrong."""
    rng = np.random.default_rng(1)
    labels, wrong = dataset.labels.copy(), np.zeros(len(dataset), dtype=bool)
    if group is not None:
        rows = np.flatnonzero(dataset.group_indices == group)
        chosen = rng.choice(rows, round(rate * len(rows)), replace=False)
        classes = len(dataset.classes)
        labels[chosen] = (labels[chosen] + rng.integers(1, classes, len(chosen))) % classes
        wrong[chosen] = True
    changed = GroupedDataset.from_arrays(
        dataset.images,
        labels,
        dataset.group_indices,
        classes=dataset.classes,
        groups=dataset.groups,
        pairs=np.arange(len(dataset)),
        clusters=dataset.clustered,
        schema=dataset.schema,
    )
    return changed, wrong[changed.pairs]


def measure(dataset: GroupedDataset, group: int | None, rate: float, data: str) -> dict[str, Any]:
    """Audit the dataset with planted errors, and compare the result with the truth."""
    began = time.process_time()
    changed, wrong = with_errors(dataset, group, rate)
    pixels = normalisation(changed)
    recipe = TrainingRecipe(
        network=NETWORKS[data],
        steps=STEPS[data],
        batch_size=BATCH_SIZE[data],
        learning_rate=0.01,
        momentum=0.9,
        weight_decay=0.0005,
        augment=(),
        formation=1,
        mean=pixels.mean,
        std=pixels.std,
    )
    probabilities = out_of_fold_probabilities(
        changed, recipe, folds=5, generator=torch_generator(0, "labels"), device=CPU
    )
    audit = audit_labels(changed, probabilities)
    listed = np.zeros(len(changed), dtype=bool)
    listed[audit.rows] = True
    groups: dict[str, Any] = {}
    for index, each in enumerate(audit.groups):
        inside = changed.group_indices == index
        planted, ranked = int(wrong[inside].sum()), wrong[audit.rows[inside[audit.rows]]]
        groups[each.group] = {
            "examples": int(inside.sum()),
            "planted": planted,
            "suspected": each.suspected.value,
            "error_rate": each.error_rate.value,
            "interval": [each.error_rate.low, each.error_rate.high],
            "named": each.is_high,
            "recovered": float(wrong[inside & listed].sum() / planted) if planted else None,
            "precision": float(ranked.mean()) if len(ranked) else None,
            "estimated_precision": each.precision,
            "precision_at_70": precision_at(ranked, planted, 0.7),
        }
    return {
        "flipped": None if group is None else dataset.groups[group],
        "accuracy": float((probabilities.argmax(axis=1) == changed.labels)[~wrong].mean()),
        "cpu_seconds": time.process_time() - began,
        "groups": groups,
    }


def precision_at(ranked: Array, planted: int, recall: float) -> float | None:
    """Return the precision of the shortest start of the list that contains this share of the planted errors."""
    found = np.cumsum(ranked)
    if not planted or not len(found) or found[-1] < recall * planted:
        return None
    count = int(np.searchsorted(found, recall * planted)) + 1
    return float(found[count - 1] / count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("adult", "mnist"), required=True)
    parser.add_argument("--rate", type=float, default=0.05, help="share of wrong labels in one group (default: 0.05)")
    parser.add_argument("--examples", type=int, help="use the first examples of MNIST only")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(os.environ["FAIR_DISTILL_DATA"])
    dataset = adult(folder) if options.data == "adult" else mnist(folder)
    if options.examples:
        rows = np.sort(np.argsort(dataset.pairs)[: options.examples])
        dataset = dataset.take(rows)
    runs = []
    for group in (None, *range(len(dataset.groups))):
        run = measure(dataset, group, options.rate, options.data)
        runs.append(run)
        print(run, flush=True)
    settings = {"data": options.data, "rate": options.rate, "examples": len(dataset), "folds": 5}
    settings |= {"steps": STEPS[options.data], "network": NETWORKS[options.data]}
    report(f"label_errors_{options.data}", {"runs": runs, "options": settings}, device=CPU, out=options.out)


if __name__ == "__main__":
    main()
