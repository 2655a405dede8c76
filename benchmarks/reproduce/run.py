"""A table from beginning to end: what is to be measured, measured, recorded, shown."""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.reproduce.benchmarks import known, look_for_files
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
    """Which cells of which table."""

    table: str
    benchmarks: Sequence[str]
    methods: Sequence[str]
    seeds: int


def reproduce(
    wanted: Selection,
    plan: MeasurementPlan,
    *,
    out: Path,
    workers: int,
    today: str,
    clock: Clock,
    stopping: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int, str], None] = lambda done, of, note: None,
) -> Record:
    """Measure what the file `out` does not hold yet, add it there as it comes, and write the table beside it.

    Parameters
    ----------
    today : when, for the record
    stopping : asked before every measurement whether to begin no more

    Raises
    ------
    ConfigError, DataError
        If there is no such table, data set or method, a data set's files are not there, or `out` holds results of
        other settings.
    Exception
        The first that was not expected of a measurement, after all others are done.
    """
    if wanted.table not in COBRA:
        raise ConfigError(f"there is no table {wanted.table!r} to reproduce; choose from {', '.join(COBRA)}")
    for name in wanted.benchmarks:
        known(name)
    about = {"table": wanted.table, "ipc": plan.ipc, "budget": plan.budget.to_dict(), "device": plan.device}
    about["embedding"] = embedding_on(plan.device, plan.budget)
    methods = {name: method(name).settings(plan.budget, plan.ipc) for name in wanted.methods}
    record = open_record(out, about, methods)
    # Whole data sets one after the other, and in each every method once before any twice.
    jobs = [
        Job(benchmark, name, seed)
        for benchmark in wanted.benchmarks
        for seed in range(wanted.seeds)
        for name in wanted.methods
    ]
    left = [job for job in jobs if (job.benchmark, job.method, job.seed) not in record.done]
    for name in dict.fromkeys(job.benchmark for job in left):
        look_for_files(name, plan.data)
    record = record.begun({"date": today, "workers": workers, "machine": machine(plan.device)})
    unexpected: list[Exception] = []
    for number, (job, outcome) in enumerate(work(left, plan, workers=workers, clock=clock, stopping=stopping), start=1):
        if isinstance(outcome, Exception):
            unexpected.append(outcome)
            note = f"{type(outcome).__name__}: {outcome}"
        else:
            record = record.added(outcome)
            note = outcome.get("failed") or _note(outcome)
        progress(number, len(left), f"{job.benchmark}, {job.method}, seed {job.seed}: {note}")
    write_bytes(out.with_suffix(".md"), markdown(record).encode())
    if unexpected:
        raise unexpected[0]
    return record


def _note(result: dict[str, Any]) -> str:
    test, found = list(result["tests"].items())[-1]
    shown = found["per_network"]
    accuracy, worst, mean = (100 * shown[name] for name in (ACCURACY.name, EO_DIAG_MAX.name, EO_DIAG_MEAN.name))
    return f"accuracy {accuracy:.1f}, EODM {worst:.1f}, EODA {mean:.1f} ({test})"


def machine(device: str) -> dict[str, Any]:
    """Return what figures of time and last digits depend on."""
    chosen = torch.device(device)
    return {
        "device": torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "cpu",
        "processor": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
