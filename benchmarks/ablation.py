"""The effect of each setting on the quality of a distilled set, and the cost of a step.

    python -m benchmarks.ablation --data DIR [--device cuda] [--workers 12] [--minutes 5] [--rows idc ...]
    python -m benchmarks.ablation --data DIR --cost     CPU seconds per step of every row, on this machine
    python -m benchmarks.ablation --data DIR --test --rows "cafe/2×2"     the chosen row, on the test images
    python -m benchmarks.ablation --table               the results as the table of docs/ablation.md

The data are C-MNIST, foreground, with ten colours; nine tenths of the images of a class have its own colour. Each set
has ten stored images per class. Rows are compared on a tune split, which is a held-out part of the training images with
each image in every colour. The test images are used once, for the chosen row. Every set is evaluated with one recipe.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.ablation_rows import RECIPE, all_rows, changed
from benchmarks.measure import RESULTS, machine
from benchmarks.reproduce.benchmarks import BENCHMARKS, READERS
from fair_distill.card import TrainingRecipe
from fair_distill.config import Candidate, Distill, checked
from fair_distill.data.colour_skew import paired_dataset, skewed_dataset
from fair_distill.data.columns import SourceData
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.divergence import Diverged
from fair_distill.distillation.loop import Streams, optimise
from fair_distill.distillation.sampling import normalisation
from fair_distill.evaluation.evaluate import train_and_predict
from fair_distill.evaluation.references import subset
from fair_distill.files import write_bytes
from fair_distill.gate.confusion import mean_confusion
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.seeds import plain_torch_generator
from fair_distill.text import ABSENT, decimal, markdown_table, percent

# Training images per class that are held out as tune.
_TUNE_PER_CLASS = 50


@lru_cache(maxsize=1)
def splits(data: Path, per_class: int, *, test: bool) -> tuple[GroupedDataset, GroupedDataset]:
    """Return train, coloured as in the papers, and tune or test, with each image in every colour."""
    benchmark = BENCHMARKS["c_mnist_fg"]
    source = READERS[benchmark.read](data)
    assert source.splits is not None
    assert benchmark.colours is not None
    rng = np.random.default_rng(0)
    evaluation_rows, train_rows = [], []
    for label in range(len(source.classes)):
        order = rng.permutation(_of_class(source, "train", label))
        train_rows.append(order[_TUNE_PER_CLASS:])
        unseen = _of_class(source, "test", label) if test else order[:_TUNE_PER_CLASS]
        evaluation_rows.append(unseen[:per_class])
    train = skewed_dataset(
        source, np.sort(np.concatenate(train_rows)), benchmark.colours, 0.9, rng, paint=benchmark.paint
    )
    return train, paired_dataset(
        source, np.sort(np.concatenate(evaluation_rows)), benchmark.colours, paint=benchmark.paint
    )


def _of_class(source: SourceData, split: str, label: int) -> Array:
    assert source.splits is not None
    rows: Array = source.splits.rows(split)
    selected: Array = rows[source.labels[rows] == label]
    return selected


@dataclass(frozen=True)
class AblationPlan:
    """The settings that all measurements share."""

    data: Path
    device: str
    seeds: int
    per_class: int
    test: bool


def measure_row(name: str, seed: int, plan: AblationPlan) -> dict[str, Any]:
    """Distil with the settings of one row, and measure on the tune split or on the test images."""
    torch.set_num_threads(1)
    row, device = all_rows()[name], torch.device(plan.device)
    train, tune = splits(plan.data, plan.per_class, test=plan.test)
    normalise = normalisation(train)
    start = time.process_time()
    formation = row.formation if row.settings is None else row.settings["formation"]
    try:
        if row.settings is None:
            images, labels = subset(row.select, train, 10, formation, plain_torch_generator(seed))
        else:
            result = optimise(
                train,
                checked(Distill, dict(row.settings), name=name),
                checked(Candidate, dict(row.candidate), name=name),
                normalise=normalise,
                streams=Streams.from_seed(seed),
                device=device,
            )
            images, labels = result.images, result.labels
        spent = time.process_time() - start
        recipe = TrainingRecipe(
            **({**RECIPE, **row.recipe}), formation=formation, mean=normalise.mean, std=normalise.std
        )
        predictions = train_and_predict(
            images,
            labels,
            recipe,
            tune,
            version="",
            split="",
            seeds=plan.seeds,
            networks={recipe.network["name"]: recipe.network["options"]},
            generator=lambda number: plain_torch_generator(1000 * seed + number),
            device=device,
            together=device.type == "cuda",
        )
    except Diverged as error:
        return {"row": name, "seed": seed, "failed": str(error)}
    tables = [predictions.confusion(0, number) for number in range(plan.seeds)]
    metrics = ("accuracy", "worst_group_accuracy", "eo_diag_max", "eo_diag_mean")
    return {
        "row": name,
        "seed": seed,
        "seconds_on_this_device": round(spent, 1),
        "mean_rates": {metric: PREDICTION_METRICS[metric].value(mean_confusion(tables)) for metric in metrics},
        "per_network": {
            metric: float(np.mean([PREDICTION_METRICS[metric].value(table) for table in tables])) for metric in metrics
        },
    }


def cost_per_step(name: str, data: Path, *, steps: int) -> float:
    """Return the CPU seconds per step on one thread. The fixed cost of a run is not included."""
    settings = all_rows()[name].settings
    assert settings is not None
    train, _ = splits(data, _TUNE_PER_CLASS, test=False)
    times: list[float] = []
    optimise(
        train,
        checked(Distill, changed(settings, steps=steps + 1), name=name),
        checked(Candidate, dict(all_rows()[name].candidate), name=name),
        normalise=normalisation(train),
        streams=Streams.from_seed(0),
        device=torch.device("cpu"),
        progress=lambda step, of, loss: times.append(time.process_time()),
    )
    return (times[-1] - times[0]) / steps


def table(results: Path) -> str:
    """Return the results as Markdown, the best first in each block. A row that ran on two devices has two lines."""

    def read(name: str) -> list[dict[str, Any]]:
        path = results / f"ablation_{name}.json"
        rows: list[dict[str, Any]] = json.loads(path.read_text())["results"] if path.exists() else []
        return rows

    costs = {row["row"]: row["cpu_seconds_per_step"] for row in read("cost_cpu")}
    measured = [(row, device) for device in ("cpu", "cuda") for row in read(device) if "failed" not in row]

    def order(item: tuple[dict[str, Any], str]) -> tuple[str, float]:
        row, _ = item
        return row["row"].partition("/")[0], row["mean_rates"]["eo_diag_mean"]

    lines = []
    for row, device in sorted(measured, key=order):
        settings, rates = all_rows()[row["row"]].settings, row["mean_rates"]
        values = [rates[name] for name in ("accuracy", "worst_group_accuracy", "eo_diag_max", "eo_diag_mean")]
        values.append(row["per_network"]["eo_diag_max"])
        steps = ABSENT if settings is None else settings["steps"]
        seconds = decimal(costs.get(row["row"]), 2)
        lines.append([row["row"], steps, seconds, *(percent(value, unit="") for value in values), device])
    header = [
        "row",
        "steps",
        "CPU-s a step",
        "accuracy",
        "worst group",
        "EODM",
        "EODA",
        "EODM, mean over networks",
        "on",
    ]
    return markdown_table(header, lines, align="lrrrrrrrl")


def _selected(prefixes: list[str] | None) -> Iterator[str]:
    for name in all_rows():
        if not prefixes or any(name.startswith(prefix) for prefix in prefixes):
            yield name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seeds", type=int, default=3, help="networks that are trained on every set")
    parser.add_argument("--distillations", type=int, default=1)
    parser.add_argument("--rows", nargs="*", help="only rows whose name starts with one of these")
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--test", action="store_true", help="measure on the test images")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.table:
        print(table(RESULTS))
        return
    if arguments.data is None:
        parser.error("--data is missing; pass the folder that contains mnist/")
    kind = "cost_" if arguments.cost else "test_" if arguments.test else ""
    out = arguments.out or RESULTS / f"ablation_{kind}{arguments.device}.json"
    results: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"results": []}
    results["machine"] = machine(torch.device(arguments.device))

    def save(result: Mapping[str, Any]) -> None:
        results["results"].append(dict(result))
        write_bytes(out, (json.dumps(results, indent=1) + "\n").encode())
        print(json.dumps(result), flush=True)

    if arguments.cost:
        torch.set_num_threads(1)
        for name in _selected(arguments.rows):
            if all_rows()[name].settings is not None and not name.startswith("recipe/"):
                save({"row": name, "cpu_seconds_per_step": round(cost_per_step(name, arguments.data, steps=10), 3)})
        return
    plan = AblationPlan(
        arguments.data, arguments.device, arguments.seeds, 100 if arguments.test else _TUNE_PER_CLASS, arguments.test
    )
    done = {(result["row"], result["seed"]) for result in results["results"]}
    jobs = [(name, seed) for seed in range(arguments.distillations) for name in _selected(arguments.rows)]
    deadline = time.monotonic() + 60 * arguments.minutes
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(measure_row, name, seed, plan) for name, seed in jobs if (name, seed) not in done]
        for future in as_completed(futures):
            if not future.cancelled():
                save(future.result())
            if time.monotonic() > deadline:
                pool.shutdown(wait=False, cancel_futures=True)
                deadline = float("inf")


if __name__ == "__main__":
    main()
