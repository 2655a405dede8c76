"""What our tasks have in common: Prefect remembers nothing of what they made, and only what is transient is retried."""

import os
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from fair_distill.storage.store import Unanswered
from fair_distill.versioning.dvc_commands import Stopped

P = ParamSpec("P")
R = TypeVar("R")
Condition = Callable[[Any, TaskRun, State[Any]], Awaitable[bool]]


def device() -> str:
    """The device that stages compute on."""
    return os.environ.get("FAIR_DISTILL_DEVICE", "cpu")


def tags(*, computes: bool) -> set[str]:
    """Return the tags of a task: on a GPU, what computes has the tag `gpu`, which a concurrency limit may count."""
    return {"gpu"} if computes and device() != "cpu" else set()


def step(
    name: str | None = None, *, hours: float, again: Condition | None = None, computes: bool = False
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a task of a function.

    Parameters
    ----------
    name : of its runs, with parameters in braces; else the function's
    hours : after so many it is stopped
    again : what says whether to try again after a failure, up to three times, with growing pauses and jitter
    computes : whether it computes on the device of this machine; it then has the tags that say so
    """
    retried: dict[str, Any] = {"retries": 3, "retry_jitter_factor": 0.5, "retry_condition_fn": again}
    return task(
        task_run_name=name,
        tags=tags(computes=computes),
        cache_policy=NO_CACHE,
        persist_result=False,
        timeout_seconds=hours * 3600,
        **(retried | {"retry_delay_seconds": exponential_backoff(backoff_factor=5)} if again else {}),
    )


async def went_down(task: Any, run: TaskRun, state: State[Any]) -> bool:
    """Say whether DVC or a stage was killed. What refused, or failed with a word, would do so again."""
    return isinstance(await state.aresult(raise_on_failure=False), Stopped)


async def unanswered(task: Any, run: TaskRun, state: State[Any]) -> bool:
    """Say whether the store left us without an answer, or could not be reached; all else would be the same again.

    No other OSError is: a file that is not there, a full disk, or a task that ran out of its time (a TimeoutError).
    """
    return isinstance(await state.aresult(raise_on_failure=False), (Unanswered, ConnectionError))
