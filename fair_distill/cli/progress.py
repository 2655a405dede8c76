"""Show the progress of a stage: a bar on a terminal, JSON lines if FAIR_DISTILL_PROGRESS is `lines`, otherwise nothing.

A JSON line is an object with the keys `stage`, `set`, `step`, `of`, `loss`, `images_per_second`, `seconds_left` and
`memory_mb` (peak of the process), on a GPU also `device_memory_mb`. A value that is unknown or does not describe the
stage is null.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fair_distill.cli.parser import Parser

if TYPE_CHECKING:
    from fair_distill.stages.progress import ProgressCallback, StageProgress

Figures = dict[str, int | float | None]
# At most this many lines and the last one, however long the run.
_LINES = 20


def add_quiet(command: Parser) -> None:
    """Add `--quiet`."""
    command.add_argument("--quiet", action="store_true", help="show no progress on stderr")


@contextmanager
def progress_display(
    stage: str, set_name: str, *, quiet: bool, clock: Callable[[], float] = time.monotonic
) -> "Iterator[ProgressCallback]":
    """Yield the function to which a stage reports its progress. A bar is removed even if the stage fails.

    Parameters
    ----------
    stage, set_name : printed with the progress
    quiet : show nothing
    clock : returns seconds
    """
    from fair_distill.versioning.dvc_commands import PROGRESS

    figures = _figures(clock)
    if not quiet and os.environ.get(PROGRESS) == "lines":
        yield lambda progress: _print_progress(stage, set_name, progress, figures)
    elif not quiet and sys.stderr.isatty():
        with _bar(f"{stage} {set_name}", figures) as update:
            yield update
    else:
        yield lambda progress: None


def _print_progress(
    stage: str, set_name: str, progress: "StageProgress", figures: "Callable[[StageProgress], Figures]"
) -> None:
    measured = figures(progress)
    interval = -(-progress.steps // _LINES)
    if progress.step == progress.steps or progress.step % interval == 0:
        line = {"stage": stage, "set": set_name, "step": progress.step, "of": progress.steps, **measured}
        print(json.dumps(line), file=sys.stderr, flush=True)


def _figures(clock: Callable[[], float]) -> "Callable[[StageProgress], Figures]":
    """Return a function that computes rates from the steps and the times at which they are reported.

    Time is counted from the first report: the step before it also loads and compiles, and a continued run does not
    start at step 0.
    """
    first: list[tuple[int, float]] = []

    def measure(progress: "StageProgress") -> Figures:
        seconds_now = clock()
        first[:] = first or [(progress.step, seconds_now)]
        steps, seconds = progress.step - first[0][0], seconds_now - first[0][1]
        remaining = progress.steps - progress.step
        has_rate = steps > 0 and seconds > 0
        figures: Figures = {
            "loss": None if progress.loss is None else float(f"{progress.loss:.6g}"),
            "images_per_second": round(progress.images * steps / seconds, 1) if has_rate and progress.images else None,
            "seconds_left": round(remaining * seconds / steps, 1) if has_rate else (None if remaining else 0.0),
            "memory_mb": round(peak_memory_mb()),
        }
        if progress.device_memory_mb is not None:
            figures["device_memory_mb"] = round(progress.device_memory_mb)
        return figures

    return measure


def peak_memory_mb() -> float:
    """Return the peak memory of this process in MB.

    On Linux it is read from /proc, because getrusage starts with the memory of the parent process, which may be larger.
    getrusage counts KiB, or bytes on macOS.
    """
    try:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(status["VmHWM"].split()[0]) / 2**10
    except (OSError, KeyError, ValueError):
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


@contextmanager
def _bar(title: str, figures: "Callable[[StageProgress], Figures]") -> "Iterator[ProgressCallback]":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, note="")

        def update(progress: "StageProgress") -> None:
            bar.update(task, completed=progress.step, total=progress.steps, note=_note(figures(progress)))

        yield update


def _note(figures: Figures) -> str:
    """Return the known figures as text."""
    words = {
        "loss": "loss {:.4g}",
        "images_per_second": "{:,.0f} images/s",
        "memory_mb": "{:,} MB",
        "device_memory_mb": "{:,} MB on the device",
    }
    notes = [words[name].format(value) for name, value in figures.items() if name in words and value is not None]
    if (seconds := figures["seconds_left"]) is not None:
        notes.append(f"{int(seconds) // 60}:{int(seconds) % 60:02} left")
    return " · ".join(notes)
