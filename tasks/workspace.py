"""A run's own clone of a workspace, and what the run is called after it."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from fair_distill.config import load_config
from fair_distill.config.loading import stages_of
from fair_distill.errors import ConfigError
from fair_distill.registry.store import locate
from fair_distill.versioning import dvc_commands, git_commands
from fair_distill.workspace import Workspace

REPORTS = "FAIR_DISTILL_REPORTS"


@dataclass(frozen=True, eq=False)
class Clone:
    """What a run works in.

    Attributes
    ----------
    repository : what was cloned, for runs elsewhere to clone too
    registry : the address of the registry that belongs to it
    reports : where reports on its sets are kept for people, an address too
    dvc : what brings its stages up to date
    """

    repository: str
    registry: str
    reports: str
    dvc: dvc_commands.Dvc

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.dvc.workspace)

    @property
    def revision(self) -> str:
        """The commit that other runs are to work on."""
        found = git_commands.revision(self.dvc.workspace)
        if found is None:
            raise ConfigError(f"{self.dvc.workspace} has no commit that other runs could clone")
        return found.removesuffix("+")

    @property
    def lock(self) -> str | None:
        """What dvc.lock says by now, for other runs to go on from."""
        path = self.dvc.workspace / "dvc.lock"
        return path.read_text() if path.exists() else None


@contextmanager
def open_clone(
    repository: str,
    *,
    revision: str | None = None,
    registry: str | None = None,
    lock: str | None = None,
    in_place: bool = False,
) -> Iterator[Clone]:
    """Give a clone to run in, or with `in_place` the folder itself; a clone is removed at the end, whatever the end is.

    Checkpoints outlive it, see `git_commands.clone_workspace`.

    Parameters
    ----------
    lock : the dvc.lock of who asks, in place of the one that is committed: what it has made is taken as it is
    """
    home = Path(repository).absolute()
    with tempfile.TemporaryDirectory(prefix="fair-distill-", ignore_cleanup_errors=True) as folder:
        at = home
        if not in_place:
            at = git_commands.clone_workspace(repository, Path(folder) / "workspace", revision=revision)
            get_run_logger().info("a clone of %s", git_commands.revision(at))
        if lock is not None:
            (at / "dvc.lock").write_text(lock)
        dvc = dvc_commands.Dvc(at)
        beside = home if home.is_dir() else Path()
        yield Clone(
            repository=str(home) if home.is_dir() else repository,
            registry=locate(registry, folder=beside),
            reports=os.environ.get(REPORTS) or str(beside / "reports"),
            dvc=dvc,
        )


def graph_of(clone: Clone, order: Iterable[str]) -> list[str]:
    """Return those stages, in this order, that the workspace's dvc.yaml has."""
    there = stages_of(clone.workspace.root / "dvc.yaml")
    return [stage for stage in order if stage in there]


def out_of_sight(workspace: Path, stage: str) -> bool:
    """Say whether a stage reads a bucket, which DVC does not look into: then only running it tells what has changed."""
    return stage == "prepare" and load_config(Workspace(workspace).params).data.in_a_bucket


def say_what_runs(clone: Clone) -> None:
    """Name the flow run by what it makes: dataset, backbone and ipc, and the start of its id."""
    config = load_config(clone.workspace.params)
    name = f"{config.dataset} · {config.distill.matcher.name} · ipc {config.distill.ipc} · {str(flow_run.id)[:8]}"
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, name=name)
