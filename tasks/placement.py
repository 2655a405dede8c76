"""Where a stage runs: here, or as a flow run of its own on another work pool, which a container belongs to."""

import os
from typing import Any

from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.exceptions import FailedRun
from prefect.logging import get_run_logger
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from tasks.stages import bring_up_to_date
from tasks.task_options import step, tags, went_down
from tasks.workspace import Clone

# What computes on the device that FAIR_DISTILL_DEVICE names.
COMPUTING = ("experts", "distill", "evaluate")


def placed(stage: str) -> Any:
    """Return the task that runs a stage, or one row of its matrix, with the tags of what computes if it does."""
    return bring_up_to_date.with_options(tags=tags(computes=stage.partition("@")[0] in COMPUTING))


def cluster() -> str | None:
    """The scheduler of a Dask cluster that tasks fan out over; `local` for one that is started here; None for none."""
    return os.environ.get("FAIR_DISTILL_DASK") or None


def task_runner() -> TaskRunner[Any]:
    """What runs tasks that are submitted: the workers of the cluster, or two threads here."""
    address = cluster()
    if address is None:
        return ThreadPoolTaskRunner(max_workers=2)
    from prefect_dask.task_runners import DaskTaskRunner

    return DaskTaskRunner() if address == "local" else DaskTaskRunner(address=address)


@step("{stage} on {deployment}", hours=48, again=went_down)
def run_elsewhere(stage: str, deployment: str, clone: Clone) -> None:
    """Run a stage as a run of another deployment and wait for it.

    It is told the commit and dvc.lock as it is by now; data go through the DVC remote and no other way.

    Raises
    ------
    FailedRun
        If it did not complete; with its own last words.
    """
    clone.dvc.push(say=get_run_logger().info)
    parameters = {"repository": clone.repository, "stage": stage, "revision": clone.revision, "lock": clone.lock}
    run: Any = run_deployment(deployment, parameters=parameters, timeout=None)
    state: State[Any] = run.state
    if not state.is_completed():
        raise FailedRun(f"{stage} on {deployment} ended as {state.name}: {state.message or 'it says no more'}")
