"""Where a stage runs: here, or as a flow run of its own on another work pool, which a container belongs to."""

import os
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.exceptions import FailedRun
from prefect.logging import get_run_logger

from fair_distill import versioning
from tasks.stages import HOUR, bring_up_to_date
from tasks.workspace import revision_of

# What computes on the device that FAIR_DISTILL_DEVICE names.
COMPUTING = ("experts", "distill", "evaluate")


def placed(stage: str) -> Any:
    """Return the task that runs a stage; on a GPU it has the tag `gpu`, which a concurrency limit may count."""
    on_gpu = stage in COMPUTING and os.environ.get("FAIR_DISTILL_DEVICE", "cpu") != "cpu"
    return bring_up_to_date.with_options(tags={"gpu"} if on_gpu else set())


@task(task_run_name="{stage} on {deployment}", cache_policy=NO_CACHE, persist_result=False, timeout_seconds=48 * HOUR)
def run_elsewhere(stage: str, deployment: str, workspace: Path, repository: str) -> None:
    """Run a stage as a run of another deployment and wait for it. The two meet in the DVC remote and nowhere else.

    Raises
    ------
    FailedRun
        If it did not complete; with its own last words.
    """
    versioning.push_data(workspace, say=get_run_logger().info)
    parameters = {"repository": repository, "stage": stage, "revision": revision_of(workspace)}
    run: Any = run_deployment(deployment, parameters=parameters, timeout=None)
    state: State[Any] = run.state
    if not state.is_completed():
        raise FailedRun(f"{stage} on {deployment} ended as {state.name}: {state.message or 'it says no more'}")
