"""One measurement: a method makes a set, networks are trained on the set, and their predictions are scored."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.reproduce.benchmarks import Prepared, find_benchmark, prepare
from benchmarks.reproduce.budget import Budget
from benchmarks.reproduce.methods import MethodResult, Task, method
from fair_distill.errors import FairDistillError
from fair_distill.evaluation.evaluate import train_and_predict
from fair_distill.gate.confusion import Confusion, mean_confusion
from fair_distill.gate.metrics import ACCURACY, EO_DIAG_MAX, EO_DIAG_MEAN, PREDICTION_METRICS, WORST_GROUP_ACCURACY
from fair_distill.gate.network_predictions import NetworkPredictions, network_predictions
from fair_distill.gate.noise_floor import noise_floor
from fair_distill.gate.predictions import Predictions
from fair_distill.seeds import numpy_generator, torch_generator

SHOWN = (ACCURACY.name, WORST_GROUP_ACCURACY.name, EO_DIAG_MAX.name, EO_DIAG_MEAN.name)
GAPS = (EO_DIAG_MAX.name, EO_DIAG_MEAN.name)
Clock = Callable[[], float]


@dataclass(frozen=True)
class Job:
    """One measurement. The seed determines both the distillation and the networks of the evaluation."""

    benchmark: str
    method: str
    seed: int


@dataclass(frozen=True)
class MeasurementPlan:
    """The settings that all measurements of a table share."""

    data: Path
    budget: Budget
    ipc: int
    device: str


def measure(job: Job, plan: MeasurementPlan, clock: Clock) -> dict[str, Any]:
    """Return a measurement as the results store it, or the message with which the library refused the method.

    Parameters
    ----------
    clock : returns the CPU seconds of this process

    Raises
    ------
    ConfigError, DataError
        If a file of the benchmark is missing or invalid.
    """
    # One thread per process, because many processes share the cores. The GPU does not wait for the CPU.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(torch.device(plan.device).type == "cpu")
    identity = asdict(job)
    # An error in the data must not be stored as a result, so it is outside of the `try`.
    prepared = _prepared(job.benchmark, plan.data, plan.budget.paired_per_class)
    try:
        start, std = clock(), find_benchmark(job.benchmark).std
        result = method(job.method).make(Task(prepared.train, plan.budget, plan.ipc, job.seed, plan.device, std))
        distilled = clock()
        tests = _test(result, prepared, job, plan)
    except FairDistillError as error:
        return identity | {"failed": str(error)}
    return identity | {
        "images": len(result.labels),
        "losses": [result.losses[0], result.losses[-1]] if result.losses else [],
        "cpu_seconds": {"made": round(distilled - start, 2), "evaluated": round(clock() - distilled, 2)},
        "tests": tests,
    }


# Jobs are sorted by benchmark, so a cache of one is sufficient.
@lru_cache(maxsize=1)
def _prepared(name: str, data: Path, paired_per_class: int) -> Prepared:
    return prepare(name, data, paired_per_class=paired_per_class)


def _test(result: MethodResult, prepared: Prepared, job: Job, plan: MeasurementPlan) -> dict[str, Any]:
    predictions = train_and_predict(
        result.images,
        result.labels,
        result.recipe,
        prepared.test,
        version="",
        split="",
        seeds=plan.budget.networks,
        networks={result.recipe.network["name"]: result.recipe.network["options"]},
        generator=lambda number: torch_generator(job.seed, f"reproduce.evaluate.{number}"),
        device=torch.device(plan.device),
        together=torch.device(plan.device).type == "cuda",
    )
    return {
        test: figures(
            network_predictions(_only(predictions, pairs), 0),
            numpy_generator(job.seed, f"reproduce.{job.benchmark}.{job.method}.{test}"),
        )
        for test, pairs in prepared.tests.items()
    }


def _only(predictions: Predictions, pairs: range) -> Predictions:
    number = predictions.columns["pair"]
    selected = (number >= pairs.start) & (number < pairs.stop)
    return replace(predictions, columns={name: column[selected] for name, column in predictions.columns.items()})


def figures(predictions: NetworkPredictions, rng: np.random.Generator) -> dict[str, Any]:
    """Return the metrics of one test in two ways, each with the gap that a fair classifier would show by chance.

    A gap is a maximum, so the mean of the networks' gaps is never smaller than the gap of their mean rates. Papers
    report one or the other, and rarely say which.
    """
    networks = [
        replace(predictions, predicted=predictions.predicted[[s]], probability=predictions.probability[[s]])
        for s in range(predictions.seeds)
    ]
    floors = [noise_floor(network, rng) for network in networks]
    floor = noise_floor(predictions, rng)
    runs = predictions.tables()

    def mean_of(name: str, tables: list[Confusion]) -> float:
        return float(np.mean([PREDICTION_METRICS[name].value(table) for table in tables]))

    def floors_of(name: str) -> list[float | None]:
        return [each(PREDICTION_METRICS[name].value) for each in floors]

    return {
        "per_network": {name: mean_of(name, runs) for name in SHOWN},
        "mean_rates": {name: PREDICTION_METRICS[name].value(mean_confusion(runs)) for name in SHOWN},
        "floor_per_network": {
            name: float(
                np.mean([value for each in floors if (value := each(PREDICTION_METRICS[name].value)) is not None])
            )
            for name in GAPS
        },
        "floor_mean_rates": {name: floor(PREDICTION_METRICS[name].value) for name in GAPS},
    }
