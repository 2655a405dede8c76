"""Batches of real images, stratified by class and group, so a rare group can never leave a batch."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fair_distill.data.grouped import Array, Cell, GroupedDataset
from fair_distill.distillation.augment import Draw, augment
from fair_distill.errors import DataError

Allocation = Literal["equal", "proportional"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Real images of all classes, sorted by cell.

    Attributes
    ----------
    images : float (B, channels, height, width), normalised
    labels : int64 (B,)
    averaging : float (C·G, B); row (y, a) takes the mean over cell (y, a): `averaging @ features` gives all cell means
    offsets : class c is rows offsets[c] : offsets[c + 1]
    """

    images: Tensor
    labels: Tensor
    averaging: Tensor
    offsets: tuple[int, ...]

    @property
    def classes(self) -> int:
        return len(self.offsets) - 1

    def rows(self, label: int) -> slice:
        """The rows of one class."""
        return slice(self.offsets[label], self.offsets[label + 1])

    def cells(self, label: int) -> list[Tensor]:
        """The rows of each group of one class, as indices; an absent group has none."""
        groups = len(self.averaging) // self.classes
        return [row.nonzero()[:, 0] for row in self.averaging[label * groups : (label + 1) * groups]]

    def weights(self, cells_CG: Tensor) -> Tensor:
        """Return the weight of every image, (B,), when every cell counts what `cells_CG` says."""
        return cells_CG.flatten() @ self.averaging

    def augmented(self, drawn: Draw) -> "Batch":
        """Apply to each class's images that class's draw."""
        return replace(self, images=augment(self.images, drawn, self.labels))


@dataclass(frozen=True)
class Normalisation:
    """Per-channel mean and standard deviation of pixels in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, pixels: Tensor) -> Tensor:
        """Normalise (N, channels, height, width) pixels in [0, 1]."""
        mean, std = (torch.tensor(v, device=pixels.device)[:, None, None] for v in (self.mean, self.std))
        return (pixels - mean) / std

    def undo(self, images: Tensor) -> Tensor:
        mean, std = (torch.tensor(v, device=images.device)[:, None, None] for v in (self.mean, self.std))
        return images * std + mean


def normalisation(dataset: GroupedDataset, *, most: int = 10_000) -> Normalisation:
    """Return the channels' mean and deviation over the dataset, or over `most` rows spread evenly through it."""
    rows = np.unique(np.linspace(0, len(dataset) - 1, num=min(len(dataset), most)).astype(int))
    pixels = dataset.images[rows].astype(np.float64) / 255
    mean, std = pixels.mean(axis=(0, 2, 3)), pixels.std(axis=(0, 2, 3))
    # Six digits, so that the last bit of a sum in another order does not name another version.
    return Normalisation(
        tuple(round(float(v), 6) for v in mean), tuple(round(float(v), 6) if v > 1e-6 else 1.0 for v in std)
    )


def allocate(counts_CG: Array, per_class: int, allocation: Allocation) -> Array:
    """Say how many images to draw of each cell: (C, G), at least one, at most what is there.

    "equal" serves targets that weigh groups alike; "proportional" serves the pooled target, whose variance under
    equal allocation is eight times higher at a skew of 0.9. Both draw every group that exists.
    """
    present = counts_CG > 0
    if allocation == "equal":
        wanted = np.where(present, per_class / present.sum(axis=1, keepdims=True), 0)
    else:
        wanted = per_class * counts_CG / counts_CG.sum(axis=1, keepdims=True)
    return np.where(present, np.clip(np.round(wanted), 1, counts_CG), 0).astype(int)


class GroupSampler:
    """Draws stratified batches from a dataset without replacement within a cell.

    Parameters
    ----------
    per_class : images a class and batch, shared out over its groups
    """

    def __init__(
        self,
        dataset: GroupedDataset,
        *,
        per_class: int,
        allocation: Allocation,
        normalise: Normalisation,
        device: torch.device,
    ) -> None:
        counts = dataset.counts
        if (counts.sum(axis=1) == 0).any():
            label = dataset.classes[int(np.flatnonzero(counts.sum(axis=1) == 0)[0])]
            raise DataError(f"class {label!r} has no examples in train; add some, or drop the class")
        self.dataset = dataset
        self.sizes = allocate(counts, per_class, allocation)
        self.normalise = normalise
        self.device = device
        flat = self.sizes.ravel()
        averaging = np.zeros((flat.size, flat.sum()), dtype=np.float32)
        for i, (start, size) in enumerate(zip(np.cumsum(flat) - flat, flat, strict=True)):
            averaging[i, start : start + size] = 1 / max(size, 1)
        self._averaging = torch.from_numpy(averaging).to(device)
        self._offsets = (0, *np.cumsum(self.sizes.sum(axis=1)).tolist())
        self._labels = torch.from_numpy(np.repeat(np.arange(len(counts)), self.sizes.sum(axis=1))).to(device)

    def draw(self, generator: torch.Generator) -> Batch:
        """Draw one batch."""
        rows = np.concatenate(
            [
                np.asarray(_choose(self.dataset.rows(Cell(label, group)), int(size), generator))
                for (label, group), size in np.ndenumerate(self.sizes)
                if size
            ]
        )
        pixels = torch.from_numpy(self.dataset.images[rows]).to(self.device)
        return Batch(self.normalise.apply(pixels.float() / 255), self._labels, self._averaging, self._offsets)


def _choose(rows: range, size: int, generator: torch.Generator) -> Array:
    """Choose `size` of `rows` without replacement, at a cost that does not grow with the cell."""
    if size > len(rows) // 2:
        return rows.start + torch.randperm(len(rows), generator=generator)[:size].numpy()
    chosen: dict[int, None] = {}
    while len(chosen) < size:
        for i in torch.randint(len(rows), (size - len(chosen),), generator=generator).tolist():
            chosen[i] = None
    return rows.start + np.fromiter(chosen, dtype=np.int64, count=size)
