"""Record what a stage costs, and check the budget before it starts."""

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING

from fair_distill.cli.arguments import open_workspace
from fair_distill.cli.parser import Arguments
from fair_distill.cli.progress import peak_memory_mb
from fair_distill.errors import FairDistillError, FairDistillWarning

if TYPE_CHECKING:
    from fair_distill.config import Config
    from fair_distill.workspace import Workspace

Run = Callable[[Arguments], None]
_SHORTEST_FAILURE = 1.0


def costed(stage: str, argument: str = "") -> Callable[[Run], Run]:
    """Return a decorator for the command of a stage: it checks the budget, runs the stage and records its cost.

    Parameters
    ----------
    argument : the name of the argument with the set; empty for stages without one
    """

    def decorate(run: Run) -> Run:
        @wraps(run)
        def command(arguments: Arguments) -> None:
            workspace, config = open_workspace(arguments)
            name = getattr(arguments, argument) if argument else ""
            device = getattr(arguments, "device", "cpu")
            if config.budget is not None:
                _check_budget(workspace, config, stage, name, device)
            with _recorded(workspace, config, stage, name, device):
                run(arguments)

        return command

    return decorate


def _check_budget(workspace: "Workspace", config: "Config", stage: str, name: str, device: str) -> None:
    from datetime import UTC, datetime

    from fair_distill.stages.budget import ESTIMATED, check_budget
    from fair_distill.stages.costs import read_costs

    seconds = 0.0
    if stage in ESTIMATED:
        from fair_distill.stages.estimate import Meters, estimate_stage

        meters = Meters(time.monotonic, peak_memory_mb)
        estimate = estimate_stage(workspace, config, stage, name, device=device, meters=meters)
        seconds = estimate.seconds if estimate else 0.0
    assert config.budget is not None
    check_budget(
        config.budget,
        read_costs(workspace, config.dataset),
        run=f"`{f'{stage} {name}'.strip()}`",
        seconds=seconds,
        threads=config.threads,
        on_gpu=device != "cpu",
        now=datetime.now(UTC),
    )


@contextmanager
def _recorded(workspace: "Workspace", config: "Config", stage: str, name: str, device: str) -> Iterator[None]:
    """Record the cost of the stage that runs in the block, also if it fails. A failure to record is a warning.

    A run that fails within a second, for example because of a misspelt name, is not recorded.
    """
    from datetime import UTC, datetime
    from uuid import uuid4

    from fair_distill.stages.costs import StageCost, costs_location, outputs_of, write_cost

    location = costs_location(workspace)
    if location is None:
        yield
        return
    started, start, cpu_start = datetime.now(UTC), time.monotonic(), _cpu_seconds()
    completed = False
    try:
        yield
        completed = True
    finally:
        seconds, cpu_seconds = time.monotonic() - start, _cpu_seconds() - cpu_start
        if completed or seconds >= _SHORTEST_FAILURE:
            try:
                size, version = outputs_of(workspace, stage, name) if completed else (0, None)
                cost = StageCost(
                    dataset=config.dataset,
                    stage=stage,
                    set=name,
                    version=version,
                    completed=completed,
                    device=device,
                    cpu_seconds=round(cpu_seconds, 3),
                    gpu_seconds=round(seconds, 3) if device != "cpu" else 0.0,
                    seconds=round(seconds, 3),
                    output_bytes=size,
                    time=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
                )
                write_cost(location, cost, id=f"{started:%f}-{uuid4().hex[:12]}")
            except (FairDistillError, OSError) as error:
                line = f"the cost of `{f'{stage} {name}'.strip()}` was not recorded: {error}"
                warnings.warn(line, FairDistillWarning, stacklevel=2)


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
