"""One measurement: a method makes a set of a benchmark, networks are trained on it, their answers are counted."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.reproduce.benchmarks import Prepared, prepare
from benchmarks.reproduce.budget import Budget
from benchmarks.reproduce.methods import Made, Task, method
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
    """Which measurement; the seed is the distillation's, and the evaluation's networks follow from it too."""

    benchmark: str
    method: str
    seed: int


@dataclass(frozen=True)
class MeasurementPlan:
    """What is the same for all measurements of a table."""

    data: Path
    budget: Budget
    ipc: int
    device: str


def measured(job: Job, plan: MeasurementPlan, clock: Clock) -> dict[str, Any]:
    """Return a measurement as it stands in the results, or the sentence with which the library refused the method.

    Parameters
    ----------
    clock : seconds of CPU that this process has used

    Raises
    ------
    ConfigError, DataError
        If the benchmark's files are not there, or are not what they should be.
    """
    # One thread a process: many processes share the cores, and a GPU waits for none of them.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(torch.device(plan.device).type == "cpu")
    own = asdict(job)
    prepared = _prepared(job.benchmark, plan.data, plan.budget.paired_per_class)  # no data is no result, and not kept
    try:
        began = clock()
        made = method(job.method).make(Task(prepared.train, plan.budget, plan.ipc, job.seed, plan.device))
        then = clock()
        tests = _tested(made, prepared, job, plan)
    except FairDistillError as error:
        return own | {"failed": str(error)}
    return own | {
        "images": len(made.labels),
        "losses": [made.losses[0], made.losses[-1]] if made.losses else [],
        "cpu_seconds": {"made": round(then - began, 2), "evaluated": round(clock() - then, 2)},
        "tests": tests,
    }


# Jobs come sorted by benchmark, so one is enough to keep.
@lru_cache(maxsize=1)
def _prepared(name: str, data: Path, paired_per_class: int) -> Prepared:
    return prepare(name, data, paired_per_class=paired_per_class)


def _tested(made: Made, prepared: Prepared, job: Job, plan: MeasurementPlan) -> dict[str, Any]:
    predictions = train_and_predict(
        made.images,
        made.labels,
        made.recipe,
        prepared.test,
        version="",
        split="",
        seeds=plan.budget.networks,
        networks={made.recipe.network["name"]: made.recipe.network["options"]},
        generator=lambda number: torch_generator(job.seed, f"reproduce.evaluate.{number}"),  # whatever the method
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
    here = (number >= pairs.start) & (number < pairs.stop)
    return replace(predictions, columns={name: column[here] for name, column in predictions.columns.items()})


def figures(own: NetworkPredictions, rng: np.random.Generator) -> dict[str, Any]:
    """Return the metrics of one test in both readings, each with its floor.

    A gap is a maximum, so the mean over networks of each one's gap is never smaller than the gap of their mean rates.
    Papers differ in which they show, and seldom say.
    """
    alone = [replace(own, predicted=own.predicted[[s]], probability=own.probability[[s]]) for s in range(own.seeds)]
    floors = [noise_floor(one, rng) for one in alone]
    floor = noise_floor(own, rng)
    runs = own.tables()

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
