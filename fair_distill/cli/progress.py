"""How far a stage is: a bar on a terminal, JSON lines where FAIR_DISTILL_PROGRESS=lines asks for them, else nothing.

A line is an object with `stage`, `set`, `step`, `of`, `loss`, `images_per_second`, `seconds_left` and `memory_mb` (the
process's peak; `device_memory_mb` beside it on a GPU). What is not known, or is no measure of the stage, is null.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fair_distill.stages.progress import ProgressCallback, StageProgress

Figures = dict[str, int | float | None]
# However long a run, its log shows no more lines than these and the last.
_LINES = 20


def add_quiet(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--quiet", action="store_true", help="show no progress on stderr")


@contextmanager
def shown(
    stage: str, of_set: str, *, quiet: bool, clock: Callable[[], float] = time.monotonic
) -> "Iterator[ProgressCallback]":
    """Give a stage something to tell its progress to, and take the bar away however the stage ends."""
    from fair_distill.versioning.dvc_commands import PROGRESS

    figures = _figures(clock)
    if not quiet and os.environ.get(PROGRESS) == "lines":
        yield lambda reached: _line(stage, of_set, reached, figures)
    elif not quiet and sys.stderr.isatty():
        with _bar(f"{stage} {of_set}", figures) as told:
            yield told
    else:
        yield lambda reached: None


def _line(stage: str, of_set: str, reached: "StageProgress", figures: "Callable[[StageProgress], Figures]") -> None:
    measured = figures(reached)
    if reached.step == reached.steps or reached.step % -(-reached.steps // _LINES) == 0:
        line = {"stage": stage, "set": of_set, "step": reached.step, "of": reached.steps, **measured}
        print(json.dumps(line), file=sys.stderr, flush=True)


def _figures(clock: Callable[[], float]) -> "Callable[[StageProgress], Figures]":
    """Return what turns steps and the moments they are told at into rates.

    The first step that is told starts the count: it also loads and compiles, and a run that was taken up starts late.
    """
    first: list[tuple[int, float]] = []

    def measured(reached: "StageProgress") -> Figures:
        now = clock()
        first[:] = first or [(reached.step, now)]
        steps, seconds = reached.step - first[0][0], now - first[0][1]
        left = reached.steps - reached.step
        known = steps > 0 and seconds > 0
        figures: Figures = {
            "loss": None if reached.loss is None else float(f"{reached.loss:.6g}"),
            "images_per_second": round(reached.images * steps / seconds, 1) if known and reached.images else None,
            "seconds_left": round(left * seconds / steps, 1) if known else (None if left else 0.0),
            "memory_mb": round(peak_memory_mb()),
        }
        if reached.device_memory_mb is not None:
            figures["device_memory_mb"] = round(reached.device_memory_mb)
        return figures

    return measured


def peak_memory_mb() -> float:
    """The most memory this process ever held.

    From /proc where there is one: getrusage counts what the process that started this one held then, which of a large
    one is more than this one ever needs. It counts in KiB, or in bytes on a Mac.
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
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, note="")

        def told(reached: "StageProgress") -> None:
            bar.update(task, completed=reached.step, total=reached.steps, note=_note(figures(reached)))

        yield told


def _note(figures: Figures) -> str:
    """Return the figures that are known, as people read them."""
    words = {
        "loss": "loss {:.4g}",
        "images_per_second": "{:,.0f} images/s",
        "memory_mb": "{:,} MB",
        "device_memory_mb": "{:,} MB on the device",
    }
    notes = [words[name].format(value) for name, value in figures.items() if name in words and value is not None]
    if (left := figures["seconds_left"]) is not None:
        notes.append(f"{int(left) // 60}:{int(left) % 60:02} left")
    return " · ".join(notes)
