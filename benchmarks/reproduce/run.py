"""A complete table: select the measurements, run them, record them and write the table."""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.reproduce.benchmarks import BENCHMARKS, check_files, find_benchmark
from benchmarks.reproduce.measure import Clock, Job, MeasurementPlan
from benchmarks.reproduce.methods import embedding_on, method
from benchmarks.reproduce.record import Record, open_record
from benchmarks.reproduce.reported import COBRA
from benchmarks.reproduce.table import markdown
from benchmarks.reproduce.workers import work
from fair_distill.errors import ConfigError
from fair_distill.files import write_bytes
from fair_distill.gate.metrics import ACCURACY, EO_DIAG_MAX, EO_DIAG_MEAN


@dataclass(frozen=True)
class Selection:
    """The rows and columns of a table to measure."""

    table: str
    benchmarks: Sequence[str]
    methods: Sequence[str]
    seeds: int


def reproduce(
    selection: Selection,
    plan: MeasurementPlan,
    *,
    out: Path,
    workers: int,
    today: str,
    clock: Clock,
    stopping: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int, str], None] = lambda number, total, note: None,
) -> Record:
    """Measure what the file `out` lacks, add each result to it, and write the table next to it.

    Parameters
    ----------
    today : the date, for the record
    stopping : called before every measurement; returns True to start no more

    Raises
    ------
    ConfigError, DataError
        If a table, data set or method is unknown, a file of a data set is missing, or `out` has results with other
        settings.
    Exception
        The first unexpected error of a measurement, after all others are finished.
    """
    if selection.table not in COBRA:
        raise ConfigError(f"the table is {selection.table!r}; choose from {', '.join(COBRA)}")
    for name in selection.benchmarks:
        find_benchmark(name)
    about = {"table": selection.table, "ipc": plan.ipc, "budget": plan.budget.to_dict(), "device": plan.device}
    about["normalised by"] = {name: benchmark.std for name, benchmark in BENCHMARKS.items()}
    about["embedding"] = embedding_on(plan.device, plan.budget)
    methods = {name: method(name).settings(plan.budget, plan.ipc) for name in selection.methods}
    record = open_record(out, about, methods)
    # One data set after the other; within a data set, every method once before the next seed.
    jobs = [
        Job(benchmark, name, seed)
        for benchmark in selection.benchmarks
        for seed in range(selection.seeds)
        for name in selection.methods
    ]
    remaining = [job for job in jobs if (job.benchmark, job.method, job.seed) not in record.done]
    for name in dict.fromkeys(job.benchmark for job in remaining):
        check_files(name, plan.data)
    record = record.begun({"date": today, "workers": workers, "machine": machine(plan.device)})
    unexpected: list[Exception] = []
    for number, (job, outcome) in enumerate(
        work(remaining, plan, workers=workers, clock=clock, stopping=stopping), start=1
    ):
        if isinstance(outcome, Exception):
            unexpected.append(outcome)
            note = f"{type(outcome).__name__}: {outcome}"
        else:
            record = record.added(outcome)
            note = outcome.get("failed") or _note(outcome)
        progress(number, len(remaining), f"{job.benchmark}, {job.method}, seed {job.seed}: {note}")
    write_bytes(out.with_suffix(".md"), markdown(record).encode())
    if unexpected:
        raise unexpected[0]
    return record


def _note(result: dict[str, Any]) -> str:
    test, figures = list(result["tests"].items())[-1]
    values = figures["per_network"]
    accuracy, worst, mean = (100 * values[name] for name in (ACCURACY.name, EO_DIAG_MAX.name, EO_DIAG_MEAN.name))
    return f"accuracy {accuracy:.1f}, EODM {worst:.1f}, EODA {mean:.1f} ({test})"


def machine(device: str) -> dict[str, Any]:
    """Return the machine and the versions, on which times and last digits depend."""
    chosen = torch.device(device)
    return {
        "device": torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "cpu",
        "processor": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
