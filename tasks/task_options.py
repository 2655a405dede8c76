"""Options that all Prefect tasks share: nothing is cached or persisted, and only transient errors are retried."""

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
RetryCondition = Callable[[Any, TaskRun, State[Any]], Awaitable[bool]]


def compute_device() -> str:
    """Return the device that stages compute on, from FAIR_DISTILL_DEVICE."""
    return os.environ.get("FAIR_DISTILL_DEVICE", "cpu")


def device_tags(*, uses_device: bool) -> set[str]:
    """Return the tags of a task: `gpu` if it computes on a GPU, so that a concurrency limit can count it."""
    return {"gpu"} if uses_device and compute_device() != "cpu" else set()


def pipeline_task(
    name: str | None = None, *, hours: float | None, retry_if: RetryCondition | None = None, uses_device: bool = False
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Return a decorator that makes a function a Prefect task.

    Parameters
    ----------
    name : name of the task runs, with parameters in braces; default: the function's name
    hours : time-out in hours; None for tasks that are submitted, because Prefect cannot interrupt a thread or a task on
        a Dask cluster
    retry_if : condition for a retry after a failure. There are up to three retries, with exponential backoff and jitter
    uses_device : whether the task computes on the device of this machine; see `device_tags`
    """
    retries: dict[str, Any] = {}
    if retry_if is not None:
        retries = {
            "retries": 3,
            "retry_jitter_factor": 0.5,
            "retry_condition_fn": retry_if,
            "retry_delay_seconds": exponential_backoff(backoff_factor=5),
        }
    return task(
        task_run_name=name,
        tags=device_tags(uses_device=uses_device),
        cache_policy=NO_CACHE,
        persist_result=False,
        timeout_seconds=None if hours is None else hours * 3600,
        **retries,
    )


async def was_killed(task: Any, run: TaskRun, state: State[Any]) -> bool:
    """Return whether DVC or a stage was killed. An error that a stage reports would occur again."""
    return isinstance(await state.aresult(raise_on_failure=False), Stopped)


async def store_unreachable(task: Any, run: TaskRun, state: State[Any]) -> bool:
    """Return whether a store did not answer or could not be reached; every other error would occur again.

    This excludes the other kinds of OSError: a missing file, a full disk, and the time-out of a task (TimeoutError).
    """
    return isinstance(await state.aresult(raise_on_failure=False), (Unanswered, ConnectionError))
