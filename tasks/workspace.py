"""A run's own clone of a workspace, and what the run is called after it."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from fair_distill import versioning
from fair_distill.artifacts import Workspace
from fair_distill.config import load_config
from fair_distill.config.files import stages_of
from fair_distill.errors import ConfigError
from fair_distill.registry.store import locate


@contextmanager
def open_clone(repository: str, *, revision: str | None = None, in_place: bool = False) -> Iterator[tuple[Path, str]]:
    """Give a workspace to run in and the registry's address; a clone is removed at the end, whatever the end is.

    Checkpoints outlive it, as `versioning.cloned` says.
    """
    home = Path(repository).absolute()
    if in_place:
        yield home, locate(None, beside=home)
        return
    with tempfile.TemporaryDirectory(prefix="fair-distill-", ignore_cleanup_errors=True) as folder:
        clone = versioning.cloned(repository, Path(folder) / "workspace", revision=revision)
        get_run_logger().info("a clone of %s", versioning.revision(clone))
        yield clone, locate(None, beside=home if home.is_dir() else Path())


def graph_of(workspace: Path, order: Iterable[str]) -> list[str]:
    """Return those stages, in this order, that the workspace's dvc.yaml has."""
    there = stages_of(workspace / "dvc.yaml")
    return [stage for stage in order if stage in there]


def out_of_sight(workspace: Path, stage: str) -> bool:
    """Say whether a stage reads a bucket, which DVC does not look into: then only running it tells what has changed."""
    return stage == "prepare" and load_config(Workspace(workspace).params).data.in_a_bucket


def say_what_runs(workspace: Path) -> None:
    """Name the flow run by what it makes: dataset, backbone and ipc, and the start of its id."""
    config = load_config(Workspace(workspace).params)
    name = f"{config.dataset} · {config.distill.matcher.name} · ipc {config.distill.ipc} · {str(flow_run.id)[:8]}"
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, name=name)


def revision_of(workspace: Path) -> str:
    """Return the commit that other runs are to work on."""
    found = versioning.revision(workspace)
    if found is None:
        raise ConfigError(f"{workspace} has no commit that other runs could clone")
    return found.removesuffix("+")
