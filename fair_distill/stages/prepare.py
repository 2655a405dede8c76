"""Stage `prepare`: read the source and write the train, tune and gate splits."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fair_distill.config import Config
from fair_distill.errors import ConfigError
from fair_distill.seeds import derive_seed, numpy_generator
from fair_distill.stages.progress import ProgressCallback, StageProgress, ignore_progress
from fair_distill.versioning.dvc_commands import ASSIGNMENTS
from fair_distill.versioning.lock_file import read_lock
from fair_distill.workspace import SPLITS, Workspace

if TYPE_CHECKING:
    from fair_distill.data.assignments import Changes
    from fair_distill.data.columns import SourceData
    from fair_distill.data.grouped_dataset import GroupedDataset
    from fair_distill.data.prepare import Preparation

# Receives a sentence for the user.
Notice = Callable[[str], object]
# The number of files, or of things that are not read, that a sentence names.
_SHOWN = 5


def ignore_notice(sentence: str) -> None:
    """Ignore a sentence."""


# Smaller sources are read so fast that a progress bar would only flicker.
_FEWEST_EXAMPLES_WITH_PROGRESS = 10_000


def prepare_splits(
    workspace: Workspace,
    config: Config,
    *,
    deal_again: bool = False,
    progress: ProgressCallback = ignore_progress,
    notice: Notice = ignore_notice,
) -> "PreparedSplits":
    """Read the source in params.yaml, divide it, and write and return the splits train, tune and gate.

    Units keep the splits in artifacts/assignments.arrow, and new units are added to this file.

    Parameters
    ----------
    deal_again : deal all units as if they were new. Only the report of changes uses the earlier assignments
    notice : receives a sentence about what was read, and one about what was not

    Raises
    ------
    ConfigError
        If dvc.lock has assignments that the workspace lacks, so that units could move.
    """
    from fair_distill.data.split_file import read_split

    if not deal_again:
        _check_assignments(workspace)
    paths = {name: workspace.split(name) for name in SPLITS}
    planned = _write_splits(workspace, config, paths, deal_again=deal_again, progress=progress, notice=notice)
    planned.assignments.write(workspace.assignments)
    return PreparedSplits({name: read_split(path, verify=False) for name, path in paths.items()}, planned.changes)


def read_source_splits(
    workspace: Workspace,
    config: Config,
    *,
    progress: ProgressCallback = ignore_progress,
    notice: Notice = ignore_notice,
) -> dict[str, "GroupedDataset"]:
    """Return the splits that `prepare_splits` would write, without writing to the workspace."""
    from fair_distill.data.split_file import read_split

    with tempfile.TemporaryDirectory(prefix="fair-distill-") as folder:
        paths = {name: Path(folder) / f"{name}.arrow" for name in SPLITS}
        _write_splits(workspace, config, paths, deal_again=False, progress=progress, notice=notice)
        # The files are memory-mapped, so the splits stay readable after the folder is removed.
        return {name: read_split(path) for name, path in paths.items()}


@dataclass(frozen=True)
class PreparedSplits:
    """The splits, and how they differ from the previous ones."""

    splits: Mapping[str, "GroupedDataset"]
    changes: "Changes"


def _write_splits(
    workspace: Workspace,
    config: Config,
    paths: Mapping[str, Path],
    *,
    deal_again: bool,
    progress: ProgressCallback,
    notice: Notice,
) -> "Preparation":
    from fair_distill.data.assignments import Assignments
    from fair_distill.data.blocklist import apply_blocklist
    from fair_distill.data.prepare import plan_splits
    from fair_distill.data.sources import prune_source_cache, read_source
    from fair_distill.data.units import name_units

    assignments = Assignments.read(workspace.assignments) if workspace.assignments.exists() else None
    if assignments is not None and deal_again:
        assignments = replace(assignments, rule="")
    source = read_source(config.data.source.name, config.data.source.options, root=workspace.root)
    for sentence in _reading_notices(source):
        notice(sentence)
    source, blocked = apply_blocklist(source, workspace.blocklist, config.data.blocklist, environment=os.environ)
    if blocked is not None:
        notice(f"blocklist.json: left out {len(blocked.labels):,} examples of people who were erased")
        if assignments is not None:
            assignments = assignments.without(name_units(blocked).names)
    planned = plan_splits(
        source,
        config.data,
        dealing=derive_seed(config.seed, "prepare.split"),
        colouring=numpy_generator(config.seed, "prepare.colours"),
        assignments=assignments,
    )
    report = progress if len(source) >= _FEWEST_EXAMPLES_WITH_PROGRESS else ignore_progress
    planned.write(paths, progress=lambda step, steps: report(StageProgress(step, steps, images=1)))
    prune_source_cache(workspace.root)
    return planned


def _check_assignments(workspace: Workspace) -> None:
    lock = workspace.root / "dvc.lock"
    if workspace.assignments.exists() or not lock.exists():
        return
    if any(ASSIGNMENTS in record.outs for record in read_lock(lock).values()):
        raise ConfigError(
            f"{ASSIGNMENTS} is in dvc.lock, but not in the workspace; without it, examples could move between train "
            f"and gate. Run `dvc pull {ASSIGNMENTS}`; if it is lost, run `fair-distill stage prepare --deal-again`"
        )


def _reading_notices(source: "SourceData") -> list[str]:
    """Return sentences on the files that were read and on what was not; none for a source without files."""
    notices = []
    if source.files:
        names = _listed([f"{name} ({count:,})" for name, count in source.files])
        notices.append(f"read {len(source):,} examples: {names}")
    if source.not_read:
        notices.append(f"not read: {_listed(source.not_read)}")
    return notices


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
