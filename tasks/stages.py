"""DVC stages as Prefect tasks. DVC decides which stages must run."""

from prefect.logging import get_run_logger

from fair_distill.errors import FairDistillError
from fair_distill.versioning import dvc_commands, lock_commit
from fair_distill.versioning.tracked_data import fetch_data
from tasks.run_page import ProgressArtifacts
from tasks.stage_lock import stage_lock
from tasks.task_options import pipeline_task, was_killed
from tasks.workspace import Clone, reads_bucket


@pipeline_task("{stage}", hours=24, retry_if=was_killed)
def run_dvc_stage(stage: str, dvc: dvc_commands.Dvc, *, pull: bool = False) -> tuple[str, ...]:
    """Run a DVC stage, or all rows of a matrix, and the stages that it needs, if they are out of date.

    Parameters
    ----------
    pull : whether results that the DVC remote has are downloaded instead of computed

    Returns
    -------
    tuple
        The names of the stages that ran.
    """
    say, force = ProgressArtifacts(get_run_logger().info), reads_bucket(dvc.workspace, stage)
    for tracker in fetch_data(dvc, stage, say=say):
        say(f"fetched the data that {tracker} tracks")
    with stage_lock(dvc, stage, say=say):
        return dvc.repro(stage, say=say, pull=pull, force=force)


@pipeline_task("look for outdated stages", hours=6, retry_if=was_killed)
def is_up_to_date(clone: Clone) -> bool:
    """Check out all results from the DVC cache, and return whether they are complete and no stage would run.

    A DVC process takes a CPU second to start, so one for all stages is cheaper than one for each. DVC also runs
    `prepare` if its results are missing, because the assignments are an output that it updates.
    """
    dvc, say = clone.dvc, get_run_logger().info
    if reads_bucket(dvc.workspace, "prepare") or not (dvc.workspace / "dvc.lock").exists():
        return False
    try:
        fetch_data(dvc, "prepare", say=say)
        return dvc.check_out() and not dvc.would_run(None)
    except FairDistillError:  # the stages run one by one, and the one that fails reports the error
        return False


@pipeline_task("commit dvc.lock", hours=6, retry_if=was_killed)
def commit_lock(dvc: dvc_commands.Dvc, message: str) -> str | None:
    """Commit dvc.lock, and push data and commit to the DVC and git remotes, if there are any.

    Returns
    -------
    str or None
        The commit; None if dvc.lock has not changed.
    """
    result, log = lock_commit.commit_lock(dvc, message=message), get_run_logger()
    if result is None:
        log.info("dvc.lock has not changed")
        return None
    if result.unpushed:
        log.warning("committed dvc.lock as %s, not pushed: %s", result.commit[:12], result.unpushed)
    else:
        log.info("committed dvc.lock as %s, pushed", result.commit[:12])
    return result.commit


@pipeline_task("push data", hours=6, retry_if=was_killed)
def push_data(dvc: dvc_commands.Dvc) -> None:
    """Push the outputs of the stages to the DVC remote."""
    dvc.push(say=get_run_logger().info)
