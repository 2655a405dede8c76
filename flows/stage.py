"""Flow `run-stage`: run one stage, in a container or wherever the work pool starts it."""

from prefect import flow

from flows.parameters import Repository, Stage
from tasks.placement import stage_task
from tasks.stages import push_data
from tasks.workspace import name_flow_run, open_clone


@flow(name="run-stage", persist_result=False)
def run_stage(
    stage: Stage,
    repository: Repository,
    revision: str | None = None,
    lock: str | None = None,
) -> None:
    """Run one stage on data from the DVC remote, and push its outputs and its run cache to the remote.

    Outdated stages that it needs run first. The flow run that started this one then pulls the outputs instead of
    computing them.

    Args:
        stage: The stage.
        repository: The workspace, with params.yaml and dvc.yaml: a folder in a git repository, or a URL. In a larger
            repository, URL//folder names the folder. Put credentials into git's credential helper, never here.
        revision: A commit, tag or branch. Default: the newest commit.
        lock: The text of dvc.lock to continue from, sent by the flow run that started this one. Default: the committed
            file.
    """
    with open_clone(repository, revision=revision, lock=lock) as clone:
        name_flow_run(clone)
        stage_task(stage)(stage, clone.dvc, pull=True)
        push_data(clone.dvc)
