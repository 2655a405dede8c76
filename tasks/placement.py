"""Where a stage runs: in this process, or as a flow run of another deployment, which may be a container."""

import os
import time
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.exceptions import FailedRun
from prefect.logging import get_run_logger
from prefect.states import Cancelling
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from tasks.stages import run_dvc_stage
from tasks.task_options import device_tags, pipeline_task, was_killed
from tasks.workspace import Clone

# The stages that compute on the device in FAIR_DISTILL_DEVICE.
DEVICE_STAGES = ("experts", "distill", "tune", "evaluate")
_POLL_SECONDS = 5


def stage_task(stage: str) -> Any:
    """Return the task that runs a stage, or one row of its matrix, with the tags for its device."""
    return run_dvc_stage.with_options(tags=device_tags(uses_device=stage.partition("@")[0] in DEVICE_STAGES))


def dask_scheduler() -> str | None:
    """Return the address of the Dask scheduler, `local` for a cluster that is started here, or None for no cluster."""
    return os.environ.get("FAIR_DISTILL_DASK") or None


def task_runner() -> TaskRunner[Any]:
    """Return the runner of submitted tasks: the Dask cluster, or two threads."""
    address = dask_scheduler()
    if address is None:
        return ThreadPoolTaskRunner(max_workers=2)
    from prefect_dask.task_runners import DaskTaskRunner

    return DaskTaskRunner() if address == "local" else DaskTaskRunner(address=address)


@pipeline_task("{stage} on {deployment}", hours=48, retry_if=was_killed)
def run_in_deployment(stage: str, deployment: str, clone: Clone) -> None:
    """Run a stage as a flow run of another deployment and wait for it.

    The run gets the commit and the current dvc.lock as parameters. Data are exchanged through the DVC remote only. If
    this task is interrupted, the other run is cancelled: Prefect (3.8) would let it work on, in its container.

    Raises
    ------
    FailedRun
        If the run did not complete; with the message of its state.
    """
    clone.dvc.push(say=get_run_logger().info)
    parameters = {"repository": clone.repository, "stage": stage, "revision": clone.revision, "lock": clone.lock}
    run: Any = run_deployment(deployment, parameters=parameters, timeout=0)
    try:
        state = _final_state(run.id)
    except BaseException:
        _cancel(run.id)
        raise
    if not state.is_completed():
        raise FailedRun(f"{stage} on {deployment} ended as {state.name}: {state.message or 'without a message'}")


def _final_state(run: UUID) -> State[Any]:
    """Wait until a flow run has ended, and return its state."""
    with get_client(sync_client=True) as client:
        while (state := client.read_flow_run(run).state) is None or not state.is_final():
            time.sleep(_POLL_SECONDS)
    return state


def _cancel(run: UUID) -> None:
    """Cancel a flow run. A failure is logged, because the error that led to this call is more important."""
    try:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run, Cancelling(message="The flow run that waited for this one was stopped."))
    except Exception as error:
        get_run_logger().warning("cannot cancel the flow run %s (%s); cancel it yourself", run, type(error).__name__)
