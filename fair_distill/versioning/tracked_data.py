"""The data of a workspace that `dvc add` tracks: a file `NAME.dvc` in git stands for the file or folder NAME."""

import os
from collections.abc import Callable
from pathlib import Path

from fair_distill.config.loading import read_mapping
from fair_distill.errors import ConfigError, FairDistillError
from fair_distill.versioning.dvc_commands import Dvc
from fair_distill.versioning.dvc_graph import read_graph
from fair_distill.versioning.git_commands import git_output

_SUFFIX = ".dvc"


def fetch_data(dvc: Dvc, stage: str, *, say: Callable[[str], None]) -> tuple[str, ...]:
    """Fetch the data that a stage reads and `dvc add` tracks, where they are missing, as in a new clone.

    They come from the DVC cache, or else from the DVC remote.

    Returns
    -------
    tuple
        The `.dvc` files whose data were missing, relative to the workspace.

    Raises
    ------
    FairDistillError
        If neither the cache nor the remote has the data.
    """
    trackers = missing_trackers(dvc.workspace, stage)
    if not trackers:
        return ()
    dvc.fetch(trackers, say=say)
    missing = missing_trackers(dvc.workspace, stage)
    if missing:
        place = "the DVC remote" if dvc.has_remote else "a DVC remote (none is configured)"
        raise FairDistillError(
            f"stage {stage!r} reads {missing[0].removesuffix(_SUFFIX)}, and neither the DVC cache nor {place} has it; "
            f"run `dvc push {missing[0]}` on the machine that has it"
        )
    return trackers


def missing_trackers(workspace: Path, stage: str) -> tuple[str, ...]:
    """Return the `.dvc` files of data that a stage reads and that are not in the workspace.

    A `.dvc` file counts if its data are a dependency of the stage, contain one, or are in one. The paths are relative
    to the workspace. They begin with `..` if the workspace is a folder of a repository and the data are outside it.

    Parameters
    ----------
    stage : a stage of dvc.yaml, with or without the row of its matrix
    """
    listed = git_output(workspace, "ls-files", "-z", "--", f":(top)*{_SUFFIX}")
    missing = [
        tracker
        for tracker in sorted(filter(None, (listed or "").split("\0")))
        if not (workspace / tracker.removesuffix(_SUFFIX)).exists()
    ]
    if not missing:
        return ()
    read = _dependencies(workspace, stage)
    return tuple(
        tracker
        for tracker in missing
        if any(_overlap(tracker.removesuffix(_SUFFIX), dependency) for dependency in read)
    )


def _dependencies(workspace: Path, stage: str) -> tuple[str, ...]:
    """Return the dependencies of a stage; none if dvc.yaml uses features that only DVC reads."""
    params = read_mapping(workspace / "params.yaml", missing="run this in a workspace with a params.yaml")
    try:
        stages, _ = read_graph(workspace / "dvc.yaml", params)
    except ConfigError:
        return ()
    rows = [each for each in stages.values() if stage in (each.name, each.name.partition("@")[0])]
    return tuple(dict.fromkeys(dependency for row in rows for dependency in row.deps))


def _overlap(first: str, second: str) -> bool:
    """Return whether two paths are equal, or one is in the other."""
    one, other = (Path(os.path.normpath(path)).parts for path in (first, second))
    return one[: len(other)] == other or other[: len(one)] == one
