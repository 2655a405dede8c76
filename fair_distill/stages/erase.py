"""Command `erase`: remove people from the workspace, from DVC and from the registry, and keep them out.

Every step can be repeated. If the command is killed, the same command finds what is left. The order of the steps
ensures this: the blocklist is written first, and the prepared files, which show where else the people are, go last.
"""

import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fair_distill.config import Config
from fair_distill.data.assignments import Assignments
from fair_distill.data.blocklist import Blocklist
from fair_distill.errors import FairDistillError, IntegrityError
from fair_distill.files import is_sha256
from fair_distill.registry.actor import Actor
from fair_distill.registry.client_state import cache_folder, registry_cache
from fair_distill.registry.erasure import RegistryPlan, execute, plan_erasure
from fair_distill.registry.erasures import Erasures, read_erasures
from fair_distill.registry.version_contents import left_over
from fair_distill.registry.writer import Writer, open_to_write
from fair_distill.stages.erase_blocklist import BlocklistChange, plan_blocklist
from fair_distill.stages.erase_dvc import DvcPlan, plan_dvc
from fair_distill.stages.erase_traces import People, TraceCollector, has_units
from fair_distill.storage.schemes import open_store
from fair_distill.storage.store import Store
from fair_distill.workspace import SPLITS, Workspace


@dataclass(frozen=True)
class ErasurePlan:
    """What an erasure removes from everywhere.

    Attributes
    ----------
    counts : for each split of the workspace, the number of examples of the people
    in_workspace : whether files of the workspace contain them, or were computed from them
    assignments : whether the file of assignments contains them
    in_source : the number of their examples that the source has; None if it could not be read
    checkpoints : the keys of all checkpoints
    pending : keys that an earlier erasure was to remove and that are still in the registry
    pending_versions : the versions that this earlier erasure erased
    unreached : for each place that the command does not reach, what to do about it
    """

    people: People
    blocklist: BlocklistChange
    registry: RegistryPlan
    dvc: DvcPlan
    counts: dict[str, int]
    in_workspace: bool
    assignments: bool
    in_source: int | None
    checkpoints: tuple[str, ...]
    pending: tuple[str, ...]
    pending_versions: tuple[str, ...]
    unreached: tuple[tuple[str, str], ...]

    @property
    def is_done(self) -> bool:
        """Whether nothing of the people is left in the places that the command reaches."""
        rest = self.in_workspace or self.assignments or self.pending or any(self.dvc.counts().values())
        return not rest and self.registry.is_empty and not self.blocklist.new


@dataclass(frozen=True)
class Places:
    """The locations that an erasure covers besides the workspace and DVC: the registry and the checkpoints."""

    registry: str
    checkpoints: str | None = None


def plan_all(
    workspace: Workspace,
    config: Config,
    people: People,
    *,
    places: Places,
    key: bytes,
    include_unknown: bool,
    rng: np.random.Generator,
) -> ErasurePlan:
    """Return what an erasure removes, without changing anything.

    Parameters
    ----------
    key : the key of the blocklist
    include_unknown : also remove versions and results of which it is unknown whether they are of the people
    rng : draws the digests that replace those of the people, so nobody may be able to repeat it
    """
    store = open_to_write(places.registry)
    blocklist = plan_blocklist(workspace, config.data.blocklist, people, key=key)
    collector, counts, in_workspace = TraceCollector(people), {}, False
    for name in SPLITS:
        path = workspace.split(name)
        if not path.exists():
            continue
        holds = collector.add(path, name)
        in_workspace |= holds is not False
        counts[name] = collector.matched
    with tempfile.TemporaryDirectory(prefix="fair-distill-") as folder:
        dvc = plan_dvc(
            workspace,
            collector,
            registry=store.identity.rstrip("/"),
            include_unknown=include_unknown,
            folder=Path(folder),
        )
    in_workspace |= _has_derived(workspace, dvc)
    traces = collector.traces(config.dataset)
    registry = plan_erasure(store, config.dataset, traces, include_unknown=include_unknown, rng=rng)
    in_source, unreached = _source(workspace, config, people, key)
    erasures = read_erasures(store)
    pending = left_over(store, erasures)
    interrupted = [removal for removal in erasures.lists if not set(pending).isdisjoint(removal.removed)]
    return ErasurePlan(
        people=people,
        blocklist=blocklist,
        registry=registry,
        dvc=dvc,
        counts=counts,
        in_workspace=in_workspace,
        assignments=has_units(workspace.assignments, collector.erased_units()) or False,
        in_source=in_source,
        checkpoints=_checkpoint_keys(_checkpoint_store(workspace, places)) if in_workspace else (),
        pending=pending,
        pending_versions=tuple(version for removal in interrupted for version in removal.versions),
        unreached=(*unreached, *dvc.unreached, *(("registry", line) for line in registry.unknown)),
    )


def erase(workspace: Workspace, plan: ErasurePlan, *, places: Places, actor: Actor) -> tuple[str, ...]:
    """Do what a plan says, and return the keys that were removed from the registry.

    Raises
    ------
    MeasurementError
        If a publication is running that needs a content. Everything else is done.
    """
    store = open_to_write(places.registry)
    plan.blocklist.write(workspace)
    collector = TraceCollector(plan.people)
    for name in SPLITS:
        if workspace.split(name).exists():
            collector.add(workspace.split(name), name)
    removed = execute(store, plan.registry, delete=store.remove, actor=actor)
    _clear_cache(store, read_erasures(store))
    plan.dvc.remove_derived()
    if plan.in_workspace:
        checkpoints = _checkpoint_store(workspace, places)
        for key in plan.checkpoints:
            checkpoints.remove(key)
        _clear_workspace(workspace)
    _rewrite_assignments(workspace, collector)
    plan.dvc.remove_prepared()
    if plan.in_workspace:
        for name in SPLITS:
            workspace.split(name).unlink(missing_ok=True)
    return removed


def check_erased(plan: ErasurePlan) -> None:
    """Raise IntegrityError if a new plan still finds the people in a place that the command reaches."""
    if not plan.is_done:
        where = [name for name, count in plan.dvc.counts().items() if count]
        where += ["the workspace"] if plan.in_workspace or plan.assignments else []
        where += ["the registry"] if plan.pending or not plan.registry.is_empty else []
        raise IntegrityError(
            f"after the erasure, {', '.join(where) or 'the blocklist'} still has contents of the people; another "
            "process may have written them. Stop it, and run the same command again"
        )


def _has_derived(workspace: Workspace, dvc: DvcPlan) -> bool:
    """Return whether the workspace has outputs and no prepared files, as after an erasure that was killed."""
    prepared = any(workspace.split(name).exists() for name in SPLITS)
    others = [path for path in _outputs(workspace) if path != workspace.assignments]
    return not prepared and bool(others) and any(dvc.counts().values())


def _outputs(workspace: Workspace) -> list[Path]:
    return sorted(workspace.artifacts.iterdir()) if workspace.artifacts.is_dir() else []


def _clear_workspace(workspace: Workspace) -> None:
    """Remove outputs, reports and copies of source files, except the prepared splits and the assignments."""
    keep = {workspace.assignments, workspace.split(SPLITS[0]).parent}
    pages = sorted((workspace.root / "reports").rglob("*.html"))
    for path in [*_outputs(workspace), *pages, workspace.context.with_name("promoted.parquet")]:
        if path not in keep:
            _remove(path)
    _remove(workspace.root / ".cache" / "prepare")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _rewrite_assignments(workspace: Workspace, collector: TraceCollector) -> None:
    if workspace.assignments.exists():
        assignments, units = Assignments.read(workspace.assignments), collector.erased_units()
        if np.isin(assignments.names, units).any():
            assignments.without(units).write(workspace.assignments)


def _clear_cache(store: Writer, erasures: Erasures) -> None:
    """Remove this machine's copies of contents that were removed from the registry."""
    folder = cache_folder()
    if folder is None:
        return
    contents = registry_cache(folder, store.identity) / "contents"
    for key in erasures.of_key:
        with suppress(OSError):
            (contents / key).unlink(missing_ok=True)


def _checkpoint_store(workspace: Workspace, places: Places) -> Store:
    return open_store(str(places.checkpoints or workspace.checkpoints), source="--checkpoints")


def _checkpoint_keys(store: Store) -> tuple[str, ...]:
    """Return the keys of all checkpoints. The first part of a key is a SHA-256, so other files stay."""
    return tuple(key for key in store.list() if is_sha256(key.partition("/")[0]))


def _source(
    workspace: Workspace, config: Config, people: People, key: bytes
) -> tuple[int | None, list[tuple[str, str]]]:
    """Return how many examples of the people the source has, and what to do about it."""
    from fair_distill.data.sources import read_source

    try:
        source = read_source(config.data.source.name, config.data.source.options, root=workspace.root)
    except FairDistillError as error:
        return None, [("the source", f"it could not be read: {error}. Remove the people there")]
    listed = Blocklist().with_names(people.kind, people.names, key=key)
    count = int(listed.blocked(source, key=key).sum())
    if not count:
        return 0, []
    return count, [("the source", f"it still has {count:,} of their examples. Remove them there; `prepare` skips them")]
