"""The budget in params.yaml: a stage that would exceed it is refused before it computes anything."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from fair_distill.config import Budget
from fair_distill.errors import ConfigError
from fair_distill.stages.costs import StageCost

# The stages that `estimate` measures. The others take a few seconds, and count when they have run.
ESTIMATED = ("distill", "references", "evaluate")


def check_budget(
    budget: Budget, costs: Sequence[StageCost], *, run: str, seconds: float, threads: int, on_gpu: bool, now: datetime
) -> None:
    """Raise ConfigError if a run would exceed the budget, together with the runs of the last `budget.days` days.

    Parameters
    ----------
    costs : the recorded costs of the dataset; runs that failed count too
    run : the stage and its set, for the message
    seconds : the estimated duration
    threads : the CPU time is at most this many times the duration, and is taken to be as large
    on_gpu : whether the run occupies a GPU for its duration
    """
    since = (now - timedelta(days=budget.days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    recent = [cost for cost in costs if cost.time >= since]
    for key, allowed, used, needed in (
        ("cpu_hours", budget.cpu_hours, sum(cost.cpu_seconds for cost in recent), seconds * threads),
        ("gpu_hours", budget.gpu_hours, sum(cost.gpu_seconds for cost in recent), seconds if on_gpu else 0.0),
    ):
        if allowed is not None and used + needed > 3600 * allowed:
            raise ConfigError(
                f"params.yaml: budget.{key} is {allowed:g} in {budget.days} days; {used / 3600:.3g} were used, and "
                f"{run} needs about {needed / 3600:.3g} more. It was not started. Increase budget.{key}, make the run "
                "smaller, or wait"
            )
