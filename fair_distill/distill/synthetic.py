"""Where the synthetic images start: real images chosen over the groups, real images as they come, or noise."""

import numpy as np
import torch
from torch import Tensor

from fair_distill.data.grouped import Array, Cell, GroupedDataset
from fair_distill.distill.sampling import Normalisation
from fair_distill.errors import ConfigError, DataError


def stratified_rows(dataset: GroupedDataset, ipc: int, generator: torch.Generator) -> Array:
    """Choose `ipc` rows of each class, dealt out to its groups in turn: (C · ipc,), sorted by class.

    A group with fewer rows than its turn gives all it has, and the others fill up.
    """
    chosen = []
    for label, name in enumerate(dataset.classes):
        shuffled = [_shuffled(dataset.rows(Cell(label, group)), generator) for group in range(len(dataset.group_names))]
        turns = [row for turn in range(ipc) for rows in shuffled if turn < len(rows) for row in rows[turn : turn + 1]]
        chosen.append(_enough(turns, ipc, name))
    return np.concatenate(chosen)


def natural_rows(dataset: GroupedDataset, ipc: int, generator: torch.Generator) -> Array:
    """Choose `ipc` rows of each class at random, groups as they come: (C · ipc,), sorted by class."""
    groups = len(dataset.group_names)
    chosen = []
    for label, name in enumerate(dataset.classes):
        rows = range(int(dataset.offsets[label * groups]), int(dataset.offsets[(label + 1) * groups]))
        chosen.append(_enough(_shuffled(rows, generator).tolist(), ipc, name))
    return np.concatenate(chosen)


def _shuffled(rows: range, generator: torch.Generator) -> Array:
    return rows.start + torch.randperm(len(rows), generator=generator).numpy()


def _enough(rows: list[int], ipc: int, name: str) -> Array:
    if len(rows) < ipc:
        raise DataError(
            f"class {name!r} has {len(rows)} examples in train; ipc is {ipc}. Lower distill.ipc, or add data"
        )
    return np.array(rows[:ipc], dtype=np.int64)


def start(kind: str, dataset: GroupedDataset, ipc: int, normalise: Normalisation, generator: torch.Generator) -> Tensor:
    """Return the first synthetic images, normalised: (C · ipc, channels, height, width), sorted by class."""
    if kind == "noise":
        return torch.randn(len(dataset.classes) * ipc, *dataset.shape, generator=generator)
    choose = {"group_stratified": stratified_rows, "natural": natural_rows}.get(kind)
    if choose is None:
        raise ConfigError(f"params.yaml: distill.start is {kind!r}; choose group_stratified, natural or noise")
    rows = choose(dataset, ipc, generator)
    return normalise.apply(torch.from_numpy(dataset.images[rows]).float() / 255)
