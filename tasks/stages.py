"""Stages as Prefect tasks: a name, a log line, one call. DVC decides what has to run."""

from prefect.logging import get_run_logger

from fair_distill.versioning import dvc_commands, lock_commit
from tasks.run_page import Telling
from tasks.task_options import step, went_down
from tasks.workspace import out_of_sight


@step("{stage}", hours=24, again=went_down)
def bring_up_to_date(stage: str, dvc: dvc_commands.Dvc, *, pull: bool = False) -> tuple[str, ...]:
    """Run one DVC stage (all rows of a matrix), and what it needs, if out of date; return the names of what ran."""
    say, force = Telling(get_run_logger().info), out_of_sight(dvc.workspace, stage)
    return dvc.repro(stage, say=say, pull=pull, force=force)


@step("keep the lock", hours=6, again=went_down)
def keep_lock(dvc: dvc_commands.Dvc, message: str) -> str | None:
    """Commit dvc.lock and push data and commit, where there are remotes; return the commit, None if nothing is new."""
    kept, log = lock_commit.commit_lock(dvc, message=message), get_run_logger()
    if kept is None:
        log.info("dvc.lock is as it was")
        return None
    log.info("dvc.lock is in %s%s", kept.commit[:12], f", not pushed: {kept.unpushed}" if kept.unpushed else ", pushed")
    return kept.commit


@step("push what was made", hours=6, again=went_down)
def push_data(dvc: dvc_commands.Dvc) -> None:
    """Push what the stages made to the DVC remote."""
    dvc.push(say=get_run_logger().info)
