"""The clone of a workspace that a flow run works in, and the name of the flow run."""

import os
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
from tasks.clone_folder import clone_folder

REPORTS = "FAIR_DISTILL_REPORTS"


@dataclass(frozen=True, eq=False)
class Clone:
    """The clone that a flow run works in, and the addresses that belong to it.

    Attributes
    ----------
    repository : path or URL of the workspace, so that other runs can clone it too
    registry : address of the registry
    reports : address of the folder for reports
    dvc : DVC in the clone
    """

    repository: str
    registry: str
    reports: str
    dvc: dvc_commands.Dvc

    @property
    def workspace(self) -> Workspace:
        """The workspace in the clone."""
        return Workspace(self.dvc.workspace)

    @property
    def revision(self) -> str:
        """The commit that other runs must check out."""
        revision = git_commands.revision(self.dvc.workspace)
        if revision is None:
            raise ConfigError(f"{self.dvc.workspace} has no commit that other runs could clone; commit it first")
        return revision.removesuffix("+")

    @property
    def lock(self) -> str | None:
        """The current text of dvc.lock, from which other runs continue."""
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
    """Clone a repository into a temporary folder, which is removed at the end, or by the next run after a kill.

    Checkpoints outlive the clone; see `git_commands.clone_workspace`.

    Parameters
    ----------
    revision : commit, tag or branch; default: the newest commit
    registry : address of the registry; default: FAIR_DISTILL_REGISTRY, or the folder `registry` in the repository
    lock : text of dvc.lock from another run, which replaces the committed file, so that results of that run are used
    in_place : whether to work in the folder itself instead of a clone
    """
    source = Path(repository).absolute()
    with clone_folder() as folder:
        root = source
        if not in_place:
            root = git_commands.clone_workspace(repository, folder / "workspace", revision=revision)
            get_run_logger().info("cloned revision %s", git_commands.revision(root))
        if lock is not None:
            (root / "dvc.lock").write_text(lock)
        dvc = dvc_commands.Dvc(root)
        outputs = source if source.is_dir() else Path()
        yield Clone(
            repository=str(source) if source.is_dir() else repository,
            registry=locate(registry, folder=outputs),
            reports=os.environ.get(REPORTS) or str(outputs / "reports"),
            dvc=dvc,
        )


def stages_in_graph(clone: Clone, order: Iterable[str]) -> list[str]:
    """Return those of the given stages that the workspace's dvc.yaml has, in the given order."""
    declared = stages_of(clone.workspace.root / "dvc.yaml")
    return [stage for stage in order if stage in declared]


def reads_bucket(workspace: Path, stage: str) -> bool:
    """Return whether a stage reads from a bucket. DVC cannot see changes there, so the stage must always run."""
    return stage == "prepare" and load_config(Workspace(workspace).params).data.in_a_bucket


def name_flow_run(clone: Clone) -> None:
    """Name the flow run after dataset, matcher, ipc and the start of its id."""
    config = load_config(clone.workspace.params)
    name = f"{config.dataset} · {config.distill.matcher.name} · ipc {config.distill.ipc} · {str(flow_run.id)[:8]}"
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, name=name)
