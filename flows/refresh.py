"""Refresh a distilled set: bring every stage up to date, publish, promote."""

import sys

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Failed

from fair_distill.errors import Refused, Undecided
from flows.parameters import Channel, Elsewhere, Registry, Repository
from tasks.fan_out import evaluate_everywhere
from tasks.placement import cluster, placed, run_elsewhere, task_runner
from tasks.registry import promote, publish, reserve, show
from tasks.stages import keep_lock
from tasks.workspace import graph_of, open_clone, say_what_runs

STAGES = ("prepare", "validate", "experts", "distill", "references", "project", "evaluate", "judge")


@flow(name="refresh", persist_result=False, task_runner=task_runner())
def refresh(
    repository: Repository = ".",
    registry: Registry = None,
    channel: Channel = "production",
    elsewhere: Elsewhere = {},  # noqa: B006 (Prefect shows it as the form's default)
    in_place: bool = False,
) -> State[str] | str:
    """Make, judge, publish and promote the release candidate of a workspace.

    The run works in a clone of its own, which shares the DVC cache of the machine, and pushes dvc.lock where there is
    a remote. If the gate refuses, nothing is promoted and the run ends in the state `Blocked`.

    Args:
        repository: The git repository of the workspace, with params.yaml and dvc.yaml: a folder or a URL. Credentials
            belong into git's credential helper, never here.
        registry: Where versions and channels are kept: a folder, file:// or s3://bucket/prefix; else
            FAIR_DISTILL_REGISTRY, else the folder `registry` in the repository.
        channel: How far to promote what passes: a channel under `release` in params.yaml.
        elsewhere: Stages that run as flow runs of another deployment, in a container or on a GPU, as in
            {"distill": "run-stage/gpu"}. Needs a DVC remote that both reach.
        in_place: Run in the folder itself, uncommitted changes and all.

    Returns:
        The version: SHA-256 of the set's manifest.
    """
    with open_clone(repository, registry=registry, in_place=in_place) as clone:
        say_what_runs(clone)
        for stage in graph_of(clone, STAGES):
            if stage == "evaluate":  # whose predictions nobody is to have seen
                reserve(clone)
            if stage in elsewhere:
                run_elsewhere(stage, elsewhere[stage], clone)
            elif stage == "evaluate" and cluster() and not in_place:
                evaluate_everywhere(clone)
            placed(stage)(stage, clone.dvc, pull=stage in elsewhere)
        show(clone)
        if not in_place:
            keep_lock(clone.dvc, "Refresh dvc.lock")
        publish(clone)
        try:
            return promote(clone, channel)
        except (Refused, Undecided) as refusal:
            return Failed(name="Blocked", message=str(refusal), data=refusal)


if __name__ == "__main__":
    refresh(sys.argv[1] if len(sys.argv) > 1 else ".", in_place=True)
