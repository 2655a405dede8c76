"""Refresh a distilled set: bring every stage up to date, publish, promote."""

import sys
from pathlib import Path

from prefect import flow

from tasks.registry import promote, publish
from tasks.stages import bring_up_to_date

STAGES = ("prepare", "validate", "distill", "references", "project", "evaluate", "judge")


@flow(name="refresh", persist_result=False)
def refresh(workspace: Path, registry: str, channel: str) -> str:
    """Make, judge, publish and promote the release candidate of a workspace.

    Parameters
    ----------
    workspace : folder with params.yaml and dvc.yaml
    registry : where versions and channels are kept
    channel : how far to promote it

    Returns
    -------
    The version: SHA-256 of the set's manifest.
    """
    for stage in STAGES:
        bring_up_to_date(stage, workspace)
    publish(workspace, registry)
    return promote(workspace, registry, channel)


if __name__ == "__main__":
    here = Path(sys.argv[1] if len(sys.argv) > 1 else ".").absolute()
    refresh(workspace=here, registry=str(here / "registry"), channel="production")
