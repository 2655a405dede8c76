"""Flow `refresh`: run every outdated stage, then publish and promote the release candidate."""

import sys

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Failed

from fair_distill.errors import Refused
from flows.parameters import Channel, Elsewhere, Registry, Repository
from tasks.checks import check_refresh
from tasks.fan_out import evaluate_on_cluster
from tasks.placement import dask_scheduler, run_in_deployment, stage_task, task_runner
from tasks.registry import promote, publish, reserve, show
from tasks.stages import commit_lock, is_up_to_date
from tasks.workspace import name_flow_run, open_clone, stages_in_graph

STAGES = (
    "prepare",
    "validate",
    "experts",
    "distill",
    "references",
    "tune",
    "choose",
    "project",
    "evaluate",
    "judge",
)


@flow(name="refresh", persist_result=False, task_runner=task_runner())
def refresh(
    repository: Repository = ".",
    registry: Registry = None,
    channel: Channel = "production",
    elsewhere: Elsewhere = {},  # noqa: B006 (Prefect shows it as the form's default)
    in_place: bool = False,
) -> State[str] | str:
    """Distil, evaluate, judge, publish and promote the release candidate of a workspace.

    The run works in its own clone, which shares the machine's DVC cache, and pushes dvc.lock if there is a git remote.
    If the gate refuses the candidate, nothing is promoted and the run ends in the state `Blocked`.

    Args:
        repository: The workspace, with params.yaml and dvc.yaml: a folder in a git repository, or a URL. In a larger
            repository, URL//folder names the folder. Put credentials into git's credential helper, never here.
        registry: Address of the registry: a folder, file:// or s3://bucket/prefix. Default: FAIR_DISTILL_REGISTRY, or
            the folder `registry` in the repository.
        channel: The channel to promote to, one of release.channels in params.yaml.
        elsewhere: Stages that run as flow runs of another deployment, in a container or on a GPU, for example
            {"distill": "run-stage/gpu"}. This needs a DVC remote that both machines reach.
        in_place: Run in the folder itself, with its uncommitted changes.

    Returns:
        The version: SHA-256 of the set's manifest.
    """
    with open_clone(repository, registry=registry, in_place=in_place) as clone:
        name_flow_run(clone)
        stages = stages_in_graph(clone, STAGES)
        check_refresh(clone, channel, elsewhere, stages)
        if not in_place and is_up_to_date(clone):
            reserve(clone)
        else:
            for stage in stages:
                if stage == "evaluate":  # the attempt must be recorded before anybody sees the predictions
                    reserve(clone)
                if stage in elsewhere:
                    run_in_deployment(stage, elsewhere[stage], clone)
                elif stage == "evaluate" and dask_scheduler() and not in_place:
                    evaluate_on_cluster(clone)
                stage_task(stage)(stage, clone.dvc, pull=stage in elsewhere)
        show(clone)
        if not in_place:
            commit_lock(clone.dvc, "Refresh dvc.lock")
        publish(clone)
        promotion = promote(clone, channel, return_state=True)
        if promotion.name == "Blocked":
            refusal = Refused(promotion.message or "refused")
            return Failed(name="Blocked", message=promotion.message, data=refusal)
        return promotion.result()


if __name__ == "__main__":
    refresh(sys.argv[1] if len(sys.argv) > 1 else ".", in_place=True)
