"""Stages as Prefect tasks: a name, a log line, one call. DVC decides what has to run; Prefect caches nothing."""

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from fair_distill import versioning


@task(task_run_name="{stage}", cache_policy=NO_CACHE, persist_result=False)
def bring_up_to_date(stage: str, workspace: Path) -> tuple[str, ...]:
    """Run one DVC stage (all rows of a matrix) if it is out of date; return the names of what ran."""
    return versioning.repro_stage(workspace, stage, say=get_run_logger().info)
