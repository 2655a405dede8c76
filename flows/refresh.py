"""Refresh a distilled set: bring every stage up to date, publish, promote."""

import sys

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Failed

from fair_distill.errors import Refused, Undecided
from flows.parameters import Channel, Elsewhere, Registry, Repository
from tasks.placement import placed, run_elsewhere
from tasks.registry import promote, publish, reserve, show
from tasks.stages import keep_lock
from tasks.workspace import graph_of, open_clone, say_what_runs

STAGES = ("prepare", "validate", "experts", "distill", "references", "project", "evaluate", "judge")


@flow(name="refresh", persist_result=False)
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
    with open_clone(repository, in_place=in_place) as (workspace, address):
        say_what_runs(workspace)
        for stage in graph_of(workspace, STAGES):
            if stage == "evaluate":  # whose predictions nobody is to have seen
                reserve(workspace, registry or address)
            if stage in elsewhere:
                run_elsewhere(stage, elsewhere[stage], workspace, repository)
            placed(stage)(stage, workspace, pull=stage in elsewhere)
        show(workspace)
        if not in_place:
            keep_lock(workspace, "Refresh dvc.lock")
        publish(workspace, registry or address)
        try:
            return promote(workspace, registry or address, channel)
        except (Refused, Undecided) as refusal:
            return Failed(name="Blocked", message=str(refusal), data=refusal)


if __name__ == "__main__":
    refresh(sys.argv[1] if len(sys.argv) > 1 else ".", in_place=True)
