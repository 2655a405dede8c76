"""Run one stage: the flow that a container runs, wherever its work pool puts it."""

from prefect import flow

from flows.parameters import Repository, Stage
from tasks.placement import placed
from tasks.stages import push_data
from tasks.workspace import open_clone, say_what_runs


@flow(name="run-stage", persist_result=False)
def run_stage(
    stage: Stage,
    repository: Repository,
    revision: str | None = None,
    lock: str | None = None,
) -> None:
    """Make what one stage makes, from what the DVC remote has, and push it there with the record of how it came to be.

    What the stage needs and the remote has not is made first. Whoever asked then finds both, and has nothing to run.

    Args:
        stage: The stage.
        repository: The git repository of the workspace, with params.yaml and dvc.yaml: a folder or a URL. Credentials
            belong into git's credential helper, never here.
        revision: A commit, tag or branch; else the newest.
        lock: The text of dvc.lock to go on from, which a run that has this one do a stage for it sends; else what is
            committed.
    """
    with open_clone(repository, revision=revision, lock=lock) as clone:
        say_what_runs(clone)
        placed(stage)(stage, clone.dvc, pull=True)
        push_data(clone.dvc)
