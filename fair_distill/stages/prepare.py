"""Stage `prepare`: read the source and write the train, tune and gate splits."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fair_distill.config import Config
from fair_distill.seeds import numpy_generator
from fair_distill.stages.progress import ProgressCallback, StageProgress, ignore_progress
from fair_distill.workspace import SPLITS, Workspace

if TYPE_CHECKING:
    from fair_distill.data.grouped_dataset import GroupedDataset

# Smaller sources are read so fast that a progress bar would only flicker.
_FEWEST_EXAMPLES_WITH_PROGRESS = 10_000


def prepare_splits(
    workspace: Workspace, config: Config, *, progress: ProgressCallback = ignore_progress
) -> dict[str, "GroupedDataset"]:
    """Read the source in params.yaml, divide it, and write and return the splits train, tune and gate."""
    from fair_distill.data.split_file import read_split

    paths = {name: workspace.split(name) for name in SPLITS}
    _write_splits(config, paths, root=workspace.root, progress=progress)
    return {name: read_split(path, verify=False) for name, path in paths.items()}


def read_source_splits(
    workspace: Workspace, config: Config, *, progress: ProgressCallback = ignore_progress
) -> dict[str, "GroupedDataset"]:
    """Return the splits that `prepare_splits` would write, without writing to the workspace."""
    from fair_distill.data.split_file import read_split

    with tempfile.TemporaryDirectory(prefix="fair-distill-") as folder:
        paths = {name: Path(folder) / f"{name}.arrow" for name in SPLITS}
        _write_splits(config, paths, root=workspace.root, progress=progress)
        # The files are memory-mapped, so the splits stay readable after the folder is removed.
        return {name: read_split(path) for name, path in paths.items()}


def _write_splits(config: Config, paths: Mapping[str, Path], *, root: Path, progress: ProgressCallback) -> None:
    from fair_distill.data.prepare import plan_splits
    from fair_distill.data.sources import prune_source_cache, read_source

    source = read_source(config.data.source.name, config.data.source.options, root=root)
    planned = plan_splits(
        source,
        config.data,
        dealing=numpy_generator(config.seed, "prepare.split"),
        colouring=numpy_generator(config.seed, "prepare.colours"),
    )
    report = progress if len(source) >= _FEWEST_EXAMPLES_WITH_PROGRESS else ignore_progress
    planned.write(paths, progress=lambda step, steps: report(StageProgress(step, steps, images=1)))
    prune_source_cache(root)
