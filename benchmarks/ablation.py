"""What makes a distilled set good, and what it costs: one thing changed at a time, chosen on the tune split.

    python -m benchmarks.ablation --data DIR [--device cuda] [--workers 12] [--minutes 5] [--rows idc ...]
    python -m benchmarks.ablation --data DIR --cost     CPU-seconds of a step of every row, on this machine
    python -m benchmarks.ablation --data DIR --test --rows "cafe/2×2"     the row that was chosen, on the test images
    python -m benchmarks.ablation --table               what was measured, as the table of docs/ablation.md

C-MNIST, foreground: ten colours, nine tenths of a class in its own; ten stored images a class. A part of MNIST's
training images is held out as the tune split, each in all colours; the test images are looked at once, for the row
that was chosen. Every row is distilled and then trained on by one recipe.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import RESULTS, machine
from benchmarks.reproduce.benchmarks import BENCHMARKS, READERS
from fair_distill.card import TrainingRecipe
from fair_distill.config import Candidate, Distill, checked
from fair_distill.data.colour_skew import paired, skewed
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.distillation.divergence import Diverged
from fair_distill.distillation.loop import Streams, optimise
from fair_distill.distillation.presets import PRESETS
from fair_distill.distillation.sampling import normalisation
from fair_distill.evaluation.evaluate import train_and_predict
from fair_distill.evaluation.references import subset
from fair_distill.files import write_bytes
from fair_distill.gate.confusion import mean_confusion
from fair_distill.gate.metrics import PREDICTION_METRICS

NETWORK = {"name": "convnet", "width": 32, "depth": 3}
MOVES = ["crop", "cutout", "scale", "rotate"]
FRESH = PRESETS["dm"]["networks"]
OURS = {
    "matcher": "dm",
    "network": NETWORK,
    "networks": FRESH,
    "ipc": 10,
    "formation": 1,
    "steps": 300,
    "real_per_class": 60,
    "embedding": "exact",
    "shrinkage": None,
    "unknown": "refuse",
    "distance": "squared",
    "reduce": "sum",
    "optimiser": {"name": "sgd", "learning_rate": 10.0, "momentum": 0.5},
    "start": "group_stratified",
    "augment": MOVES,
}
RECIPE: dict[str, Any] = {
    "network": {"name": "convnet", "options": {"width": 32, "depth": 3}},
    "steps": 600,
    "batch_size": 256,
    "learning_rate": 0.01,
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "augment": tuple(MOVES),
}
BARYCENTRIC = {"alignment": "barycentric", "barycenter": "mean"}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    settings : of `distill`; None for real images that are not distilled
    recipe : changes of how every network is trained
    """

    settings: Mapping[str, Any] | None
    candidate: Mapping[str, Any] = field(default_factory=lambda: BARYCENTRIC)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    select: str = "group_balanced"
    formation: int = 1


def _but(base: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    nested = {key: base[key] | changes.pop(key) for key in ("networks", "optimiser") if key in changes}
    return {**base, **changes, **nested}


def _rate(rate: float) -> dict[str, Any]:
    return {"optimiser": {"learning_rate": rate}}


DM = _but(OURS)
DM2 = _but(OURS, formation=2)
# Gradients in rows, networks that learn from real images between matches and are renewed every ten.
GM = _but(
    OURS,
    matcher="dc",
    distance="cosine",
    formation=2,
    steps=150,
    augment=[],
    networks={"visits": 10, "advance": 5, "advance_on": "real"},
    optimiser={"learning_rate": 0.3},
)
CAFE = _but(
    OURS,
    matcher={"name": "cafe", "layer_weights": [1.0, 1.0, 1.0], "discrimination": 0.1},
    formation=2,
    networks={"visits": 10, "advance": 1},
    optimiser={"learning_rate": 1.0},
)


@lru_cache(maxsize=1)
def rows() -> dict[str, Row]:
    """Return every row by name: the part before the slash is its group."""
    return {**_real_rows(), **_embedding_rows(), **_layer_rows(), **_gradient_rows(), **_recipe_rows()}


def _real_rows() -> dict[str, Row]:
    found: dict[str, Row] = {}
    for formation in (1, 2, 3, 4):
        found[f"real/balanced, {formation}×{formation}"] = Row(None, formation=formation)
    found["real/random, 2×2"] = Row(None, select="random", formation=2)
    return found


def _embedding_rows() -> dict[str, Row]:
    found: dict[str, Row] = {}
    for formation in (1, 2, 3):
        for rate in (1.0, 10.0, 100.0):
            found[f"dm/{formation}×{formation}, rate {rate:g}"] = Row(_but(DM, formation=formation, **_rate(rate)))
    found["dm/l1, rate 1"] = Row(_but(DM2, distance="l1", **_rate(1.0)))
    found["dm/l1, rate 0.1"] = Row(_but(DM2, distance="l1", **_rate(0.1)))
    found["dm/warm-up 10"] = Row(_but(DM2, networks={"warmup_epochs": 10}))
    found["dm/pool of 10"] = Row(_but(DM2, networks={"pool": 10, "visits": 10, "advance": 1}))
    found["dm/pool of 10 on real"] = Row(
        _but(DM2, networks={"pool": 10, "visits": 10, "advance": 1, "advance_on": "real"})
    )
    found["dm/adam 0.01"] = Row(_but(DM2, optimiser={"name": "adam", "learning_rate": 0.01, "momentum": 0.9}))
    for barycenter in ("l1", "l2", "minimax", "cosine"):
        found[f"dm/{barycenter}"] = Row(DM2, {"alignment": "barycentric", "barycenter": barycenter})
    found["dm/sinkhorn"] = Row(
        DM2, {"alignment": "barycentric", "barycenter": {"name": "sinkhorn", "dimension": 32, "epsilon": 0.1}}
    )
    bures = {"name": "bures", "dimension": 32, "shrinkage": 0.1, "covariance": "diagonal"}
    found["dm/bures"] = Row(DM2, {"alignment": "barycentric", "barycenter": bures})
    for alignment in ("pooled", "per_group"):
        found[f"dm/{alignment}"] = Row(DM2, {"alignment": alignment})
    return found


def _layer_rows() -> dict[str, Row]:
    found: dict[str, Row] = {"cafe/2×2": Row(CAFE)}
    for rate in (0.1, 0.3, 3.0, 10.0):
        found[f"cafe/rate {rate:g}"] = Row(_but(CAFE, **_rate(rate)))
    for discrimination in (0.0, 0.01, 1.0):
        found[f"cafe/discrimination {discrimination:g}"] = Row(
            _but(CAFE, matcher=CAFE["matcher"] | {"discrimination": discrimination})
        )
    found["cafe/last layer"] = Row(_but(CAFE, matcher=CAFE["matcher"] | {"layer_weights": [0.0, 0.0, 1.0]}))
    for name, networks in {
        "networks on real": {"advance": 5, "advance_on": "real"},
        "a new network a step": {"visits": 1, "advance": 0},
        "pool of 5": {"pool": 5},
        "50 visits": {"visits": 50},
    }.items():
        found[f"cafe/{name}"] = Row(_but(CAFE, networks=networks))
    found["cafe/adam 0.01"] = Row(_but(CAFE, optimiser={"name": "adam", "learning_rate": 0.01, "momentum": 0.5}))
    for steps in (100, 600):
        found[f"cafe/{steps} steps"] = Row(_but(CAFE, steps=steps))
    found["cafe/20 real a class"] = Row(_but(CAFE, real_per_class=20))
    for formation in (1, 3):
        found[f"cafe/{formation}×{formation}"] = Row(_but(CAFE, formation=formation))
    for alignment in ("pooled", "per_group"):
        found[f"cafe/{alignment}"] = Row(CAFE, {"alignment": alignment})
    for barycenter in ("l1", "minimax"):
        found[f"cafe/{barycenter}"] = Row(CAFE, {"alignment": "barycentric", "barycenter": barycenter})
    found["cafe/start natural"] = Row(_but(CAFE, start="natural"))
    return found


def _gradient_rows() -> dict[str, Row]:
    found: dict[str, Row] = {}
    for formation in (1, 2, 3, 4):
        found[f"gm/{formation}×{formation}"] = Row(_but(GM, formation=formation))
    for rate in (0.1, 1.0, 3.0):
        found[f"gm/rate {rate:g}"] = Row(_but(GM, **_rate(rate)))
    for distance, rates in (("squared", (0.01, 0.1)), ("l1", (0.001, 0.01))):
        for rate in rates:
            found[f"gm/{distance}, rate {rate:g}"] = Row(_but(GM, distance=distance, **_rate(rate)))
            found[f"gm/all gradients, {distance}, rate {rate:g}"] = Row(
                _but(GM, matcher="idc", distance=distance, **_rate(rate))
            )
    for rate in (0.003, 0.01, 0.03):
        adam = {"name": "adam", "learning_rate": rate, "momentum": 0.5}
        found[f"gm/adam {rate:g}"] = Row(_but(GM, optimiser=adam))
    for name, networks in {
        "networks on synthetic": {"advance_on": "synthetic", "advance": 5},
        "networks not trained": {"advance": 0},
        "a new network a step": {"visits": 1, "advance": 0},
        "1 batch between": {"advance": 1},
        "20 batches between": {"advance": 20},
        "50 visits": {"visits": 50},
        "pool of 5": {"pool": 5},
        "larger steps of networks": {"learning_rate": 0.05},
    }.items():
        found[f"gm/{name}"] = Row(_but(GM, networks=networks))
    for count in (20, 30, 120):
        found[f"gm/{count} real a class"] = Row(_but(GM, real_per_class=count))
    for steps in (50, 300):
        found[f"gm/{steps} steps"] = Row(_but(GM, steps=steps))
    for start in ("natural", "noise"):
        found[f"gm/start {start}"] = Row(_but(GM, start=start))
    found["gm/augmented"] = Row(_but(GM, augment=MOVES))
    for barycenter in ("l1", "minimax", "cosine"):
        found[f"gm/{barycenter}"] = Row(GM, {"alignment": "barycentric", "barycenter": barycenter})
    for alignment in ("pooled", "per_group"):
        found[f"gm/{alignment}"] = Row(GM, {"alignment": alignment})
    return found


def _recipe_rows() -> dict[str, Row]:
    found: dict[str, Row] = {}
    for name, recipe in {
        "300 steps": {"steps": 300},
        "3000 steps": {"steps": 3000},
        "rate 0.03": {"learning_rate": 0.03},
        "colour too": {"augment": (*MOVES, "colour")},
        "no augmentation": {"augment": ()},
    }.items():
        found[f"recipe/{name}"] = Row(GM, recipe=recipe)
        found[f"recipe/{name}, balanced 2×2"] = Row(None, formation=2, recipe=recipe)
    return found


_HELD = 50  # training images a class that are held out as tune


@lru_cache(maxsize=1)
def splits(data: Path, per_class: int, *, test: bool) -> tuple[GroupedDataset, GroupedDataset]:
    """Return train, coloured as the papers do, and tune or test, each image in every colour."""
    benchmark = BENCHMARKS["c_mnist_fg"]
    source = READERS[benchmark.read](data)
    assert source.splits is not None
    assert benchmark.colours is not None
    rng = np.random.default_rng(0)
    held, kept = [], []
    for label in range(len(source.classes)):
        order = rng.permutation(np.flatnonzero((source.splits == "train") & (source.labels == label)))
        kept.append(order[_HELD:])
        unseen = np.flatnonzero((source.splits == "test") & (source.labels == label)) if test else order[:_HELD]
        held.append(unseen[:per_class])
    train = skewed(source, np.sort(np.concatenate(kept)), benchmark.colours, 0.9, rng, paint=benchmark.paint)
    return train, paired(source, np.sort(np.concatenate(held)), benchmark.colours, paint=benchmark.paint)


@dataclass(frozen=True)
class Plan:
    data: Path
    device: str
    seeds: int
    per_class: int
    test: bool


def measured(name: str, seed: int, plan: Plan) -> dict[str, Any]:
    """Distil by one row and measure on the tune split; a row that diverged says so."""
    torch.set_num_threads(1)
    row, device = rows()[name], torch.device(plan.device)
    train, tune = splits(plan.data, plan.per_class, test=plan.test)
    normalise = normalisation(train)
    began = time.process_time()
    formation = row.formation if row.settings is None else row.settings["formation"]
    try:
        if row.settings is None:
            images, labels = subset(row.select, train, 10, formation, torch.Generator().manual_seed(seed))
        else:
            made = optimise(
                train,
                checked(Distill, row.settings, name=name),
                checked(Candidate, row.candidate, name=name),
                normalise=normalise,
                streams=Streams.from_seed(seed),
                device=device,
            )
            images, labels = made.images, made.labels
        spent = time.process_time() - began
        recipe = TrainingRecipe(**(RECIPE | row.recipe), formation=formation, mean=normalise.mean, std=normalise.std)
        predictions = train_and_predict(
            images,
            labels,
            recipe,
            tune,
            version="",
            split="",
            seeds=plan.seeds,
            networks={recipe.network["name"]: recipe.network["options"]},
            generator=lambda number: torch.Generator().manual_seed(1000 * seed + number),
            device=device,
            together=device.type == "cuda",
        )
    except Diverged as error:
        return {"row": name, "seed": seed, "failed": str(error)}
    tables = [predictions.confusion(0, number) for number in range(plan.seeds)]
    shown = ("accuracy", "worst_group_accuracy", "eo_diag_max", "eo_diag_mean")
    return {
        "row": name,
        "seed": seed,
        "seconds_on_this_device": round(spent, 1),
        "mean_rates": {metric: PREDICTION_METRICS[metric].value(mean_confusion(tables)) for metric in shown},
        "per_network": {
            metric: float(np.mean([PREDICTION_METRICS[metric].value(table) for table in tables])) for metric in shown
        },
    }


def cost(name: str, data: Path, *, steps: int) -> float:
    """Return the CPU-seconds of a step on one thread, without what a run costs beside its steps."""
    settings = rows()[name].settings
    assert settings is not None
    train, _ = splits(data, _HELD, test=False)
    marks: list[float] = []
    optimise(
        train,
        checked(Distill, _but(settings, steps=steps + 1), name=name),
        checked(Candidate, rows()[name].candidate, name=name),
        normalise=normalisation(train),
        streams=Streams.from_seed(0),
        device=torch.device("cpu"),
        progress=lambda step, of, loss: marks.append(time.process_time()),
    )
    return (marks[-1] - marks[0]) / steps


def table(results: Path) -> str:
    """Return the measured rows as Markdown, best first within a group; the same row on two devices stands twice."""

    def read(name: str) -> list[dict[str, Any]]:
        path = results / f"ablation_{name}.json"
        found: list[dict[str, Any]] = json.loads(path.read_text())["results"] if path.exists() else []
        return found

    costs = {row["row"]: row["cpu_seconds_per_step"] for row in read("cost_cpu")}
    lines = [
        "| row | steps | CPU-s a step | accuracy | worst group | EODM | EODA | EODM, mean over networks | on |",
        "|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    measured = [(row, device) for device in ("cpu", "cuda") for row in read(device) if "failed" not in row]

    def order(item: tuple[dict[str, Any], str]) -> tuple[str, float]:
        row, _ = item
        return row["row"].partition("/")[0], row["mean_rates"]["eo_diag_mean"]

    for row, device in sorted(measured, key=order):
        settings, rates = rows()[row["row"]].settings, row["mean_rates"]
        shown = [rates[name] for name in ("accuracy", "worst_group_accuracy", "eo_diag_max", "eo_diag_mean")]
        percent = [f"{100 * value:.1f}" for value in (*shown, row["per_network"]["eo_diag_max"])]
        steps = "–" if settings is None else str(settings["steps"])
        cost_of = f"{costs[row['row']]:.2f}" if row["row"] in costs else "–"
        lines.append(f"| {row['row']} | {steps} | {cost_of} | {' | '.join(percent)} | {device} |")
    return "\n".join(lines)


def _wanted(prefixes: list[str] | None) -> Iterator[str]:
    for name in rows():
        if not prefixes or any(name.startswith(prefix) for prefix in prefixes):
            yield name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seeds", type=int, default=3, help="networks trained on every set")
    parser.add_argument("--distillations", type=int, default=1)
    parser.add_argument("--rows", nargs="*", help="only rows whose name begins so")
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--test", action="store_true", help="measure on the test images, in the end")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.table:
        print(table(RESULTS))
        return
    if asked.data is None:
        parser.error("--data is needed: the folder that holds mnist/")
    what = "cost_" if asked.cost else "test_" if asked.test else ""
    out = asked.out or RESULTS / f"ablation_{what}{asked.device}.json"
    found: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"results": []}
    found["machine"] = machine(torch.device(asked.device))

    def keep(result: Mapping[str, Any]) -> None:
        found["results"].append(dict(result))
        write_bytes(out, (json.dumps(found, indent=1) + "\n").encode())
        print(json.dumps(result), flush=True)

    if asked.cost:
        torch.set_num_threads(1)
        for name in _wanted(asked.rows):
            if rows()[name].settings is not None and not name.startswith("recipe/"):
                keep({"row": name, "cpu_seconds_per_step": round(cost(name, asked.data, steps=10), 3)})
        return
    plan = Plan(asked.data, asked.device, asked.seeds, 100 if asked.test else _HELD, asked.test)
    done = {(result["row"], result["seed"]) for result in found["results"]}
    jobs = [(name, seed) for seed in range(asked.distillations) for name in _wanted(asked.rows)]
    ends = time.monotonic() + 60 * asked.minutes
    with ProcessPoolExecutor(asked.workers, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(measured, name, seed, plan) for name, seed in jobs if (name, seed) not in done]
        for future in as_completed(waiting):
            if not future.cancelled():
                keep(future.result())
            if time.monotonic() > ends:
                pool.shutdown(wait=False, cancel_futures=True)
                ends = float("inf")


if __name__ == "__main__":
    main()
