"""Stages as Prefect tasks: a name, a log line, one call. DVC decides what has to run; Prefect caches nothing."""

from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.tasks import exponential_backoff

from fair_distill import versioning
from tasks.telling import Telling
from tasks.workspace import out_of_sight

HOUR = 3600


async def went_down(task: Any, run: TaskRun, state: State[Any]) -> bool:
    """Say whether a stage may be tried again: it was killed. What refused, or failed with a word, would do so again."""
    return isinstance(await state.aresult(raise_on_failure=False), versioning.Stopped)


@task(
    task_run_name="{stage}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=exponential_backoff(backoff_factor=10),
    retry_jitter_factor=0.5,
    retry_condition_fn=went_down,
    timeout_seconds=24 * HOUR,
)
def bring_up_to_date(stage: str, workspace: Path, *, pull: bool = False) -> tuple[str, ...]:
    """Run one DVC stage (all rows of a matrix), and what it needs, if out of date; return the names of what ran."""
    say, force = Telling(get_run_logger().info), out_of_sight(workspace, stage)
    return versioning.repro_stage(workspace, stage, say=say, pull=pull, force=force)


@task(
    task_run_name="keep the lock",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=5),
    retry_jitter_factor=0.5,
    retry_condition_fn=went_down,
    timeout_seconds=6 * HOUR,
)
def keep_lock(workspace: Path, message: str) -> str | None:
    """Commit dvc.lock and push data and commit, where there are remotes; return the commit, None if nothing is new."""
    kept, log = versioning.keep_lock(workspace, message=message), get_run_logger()
    if kept is None:
        log.info("dvc.lock is as it was")
        return None
    log.info("dvc.lock is in %s%s", kept.commit[:12], f", not pushed: {kept.unpushed}" if kept.unpushed else ", pushed")
    return kept.commit


@task(
    task_run_name="push what was made",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=5),
    retry_jitter_factor=0.5,
    retry_condition_fn=went_down,
    timeout_seconds=6 * HOUR,
)
def push_data(workspace: Path) -> None:
    """Push what the stages made to the DVC remote."""
    versioning.push_data(workspace, say=get_run_logger().info)
