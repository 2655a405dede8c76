"""Stage `prepare`: read the source and write the train, tune and gate splits."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fair_distill.config import Config
from fair_distill.seeds import numpy_generator
from fair_distill.stages.progress import ProgressCallback, StageProgress, ignore_progress
from fair_distill.workspace import SPLITS, Workspace

if TYPE_CHECKING:
    from fair_distill.data.columns import SourceData
    from fair_distill.data.grouped_dataset import GroupedDataset

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
    progress: ProgressCallback = ignore_progress,
    notice: Notice = ignore_notice,
) -> dict[str, "GroupedDataset"]:
    """Read the source in params.yaml, divide it, and write and return the splits train, tune and gate.

    Parameters
    ----------
    notice : receives a sentence about what was read, and one about what was not
    """
    from fair_distill.data.split_file import read_split

    paths = {name: workspace.split(name) for name in SPLITS}
    _write_splits(config, paths, root=workspace.root, progress=progress, notice=notice)
    return {name: read_split(path, verify=False) for name, path in paths.items()}


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
        _write_splits(config, paths, root=workspace.root, progress=progress, notice=notice)
        # The files are memory-mapped, so the splits stay readable after the folder is removed.
        return {name: read_split(path) for name, path in paths.items()}


def _write_splits(
    config: Config, paths: Mapping[str, Path], *, root: Path, progress: ProgressCallback, notice: Notice
) -> None:
    from fair_distill.data.prepare import plan_splits
    from fair_distill.data.sources import prune_source_cache, read_source

    source = read_source(config.data.source.name, config.data.source.options, root=root)
    for sentence in _reading_notices(source):
        notice(sentence)
    planned = plan_splits(
        source,
        config.data,
        dealing=numpy_generator(config.seed, "prepare.split"),
        colouring=numpy_generator(config.seed, "prepare.colours"),
    )
    report = progress if len(source) >= _FEWEST_EXAMPLES_WITH_PROGRESS else ignore_progress
    planned.write(paths, progress=lambda step, steps: report(StageProgress(step, steps, images=1)))
    prune_source_cache(root)


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
