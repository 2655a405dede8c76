"""Batches of real images, stratified by class and group, so a rare group can never leave a batch."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fair_distill.data.grouped_dataset import Array, GroupedDataset
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
    sizes : (C, G), how many there are of each cell
    """

    images: Tensor
    labels: Tensor
    averaging: Tensor
    sizes: Array

    @property
    def classes(self) -> int:
        return len(self.sizes)

    def rows(self, label: int) -> slice:
        """The rows of one class."""
        return slice(int(self.sizes[:label].sum()), int(self.sizes[: label + 1].sum()))

    def cells(self, label: int) -> list[slice]:
        """The rows of each group of one class; an absent group has none."""
        ends = self.rows(label).start + np.cumsum(self.sizes[label])
        return [slice(int(end - size), int(end)) for end, size in zip(ends, self.sizes[label], strict=True)]

    def weights(self, cells_CG: Tensor) -> Tensor:
        """Return the weight of every image, (B,), when every cell counts what `cells_CG` says."""
        return cells_CG.flatten() @ self.averaging

    def augmented(self, drawn: Draw) -> "Batch":
        """Apply to each class's images that class's draw."""
        return replace(self, images=augment(self.images, drawn, self.labels))


def as_pixels(stored: Tensor) -> Tensor:
    """Return stored images as pixels: uint8 is divided by 255; float32 is in that unit already, or a row's numbers."""
    return stored.float() / 255 if stored.dtype == torch.uint8 else stored


@dataclass(frozen=True)
class Normalisation:
    """Per-channel mean and standard deviation of pixels in [0, 1], or of a row's numbers in their own units."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, pixels: Tensor) -> Tensor:
        """Normalise (N, channels, height, width) pixels in [0, 1]."""
        return (pixels - _per_channel(self.mean, pixels.device)) / _per_channel(self.std, pixels.device)

    def undo(self, images: Tensor) -> Tensor:
        return images * _per_channel(self.std, images.device) + _per_channel(self.mean, images.device)


@cache
def _per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)[:, None, None]


def reader(images: Array, normalise: Normalisation, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return a function from rows to those images on the device, normalised.

    On a GPU with room for them all, four times over, the images move there once; elsewhere rows are read as they are
    asked for, from a memory-mapped file if that is what `images` is.
    """
    if device.type == "cuda" and 4 * images.nbytes < torch.cuda.mem_get_info(device)[0]:
        resident = torch.tensor(images, device=device)

        def picked(rows: Tensor) -> Tensor:
            return resident[rows.to(device, non_blocking=True)]
    else:

        def picked(rows: Tensor) -> Tensor:
            return torch.from_numpy(images[rows.cpu().numpy()]).to(device)

    return lambda rows: normalise.apply(as_pixels(picked(rows)))


def normalisation(dataset: GroupedDataset, *, most: int = 10_000) -> Normalisation:
    """Return the channels' mean and deviation over the dataset, or over `most` rows spread evenly through it.

    Of the rows of a table, numeric columns are standardised; what is one-hot stays 0 and 1.
    """
    rows = np.unique(np.linspace(0, len(dataset) - 1, num=min(len(dataset), most)).astype(int))
    pixels = dataset.images[rows].astype(np.float64) / (255 if dataset.images.dtype == np.uint8 else 1)
    mean, std = pixels.mean(axis=(0, 2, 3)), pixels.std(axis=(0, 2, 3))
    if dataset.schema is not None:
        mean, std = np.where(dataset.schema.standardised, mean, 0), np.where(dataset.schema.standardised, std, 1)
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
    read : as `reader` gives; shared by samplers of one dataset
    """

    def __init__(
        self,
        dataset: GroupedDataset,
        *,
        per_class: int,
        allocation: Allocation,
        read: Callable[[Tensor], Tensor],
        device: torch.device,
    ) -> None:
        counts = dataset.counts
        if (counts.sum(axis=1) == 0).any():
            label = dataset.classes[int(np.flatnonzero(counts.sum(axis=1) == 0)[0])]
            raise DataError(f"class {label!r} has no examples in train; add some, or drop the class")
        self.sizes = allocate(counts, per_class, allocation)
        self.read = read
        flat = self.sizes.ravel()
        self._cells = [torch.from_numpy(of) for of in (dataset.offsets[:-1], counts.ravel(), flat)]
        averaging = np.zeros((flat.size, flat.sum()), dtype=np.float32)
        for i, (start, size) in enumerate(zip(np.cumsum(flat) - flat, flat, strict=True)):
            averaging[i, start : start + size] = 1 / max(size, 1)
        self._averaging = torch.from_numpy(averaging).to(device)
        self._labels = torch.from_numpy(np.repeat(np.arange(len(counts)), self.sizes.sum(axis=1))).to(device)

    def draw(self, generator: torch.Generator) -> Batch:
        """Draw one batch."""
        first, counts, sizes = self._cells
        rows = draw_rows(first, counts, sizes, generator)
        return Batch(self.read(rows), self._labels, self._averaging, self.sizes)


def draw_rows(first_K: Tensor, counts_K: Tensor, sizes_K: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from K cells at once `sizes` of `counts` rows each, without replacement: sorted by cell, else in any order.

    The cost grows with the rows that are drawn and not with the cells they are drawn from.
    """
    crowded = 2 * sizes_K > counts_K
    rows = first_K.repeat_interleave(sizes_K)
    for these, choose in ((crowded, _by_sorting), (~crowded & (sizes_K > 0), _by_rejection)):
        if these.any():
            rows[these.repeat_interleave(sizes_K)] += choose(counts_K[these], sizes_K[these], generator)
    return rows


def _by_sorting(counts_K: Tensor, sizes_K: Tensor, generator: torch.Generator) -> Tensor:
    """Shuffle every cell: where half of it or more is drawn."""
    keys = torch.rand(len(counts_K), int(counts_K.max()), dtype=torch.float64, generator=generator)
    keys[torch.arange(keys.shape[1]) >= counts_K[:, None]] = 2.0  # behind all that are there
    order = keys.argsort(dim=1)
    return order[torch.arange(keys.shape[1]) < sizes_K[:, None]]


def _by_rejection(counts_K: Tensor, sizes_K: Tensor, generator: torch.Generator) -> Tensor:
    """Draw with replacement and keep what comes for the first time: where less than half of a cell is drawn."""
    drawn = torch.empty(len(counts_K), 0, dtype=torch.int64)
    more = 3 * int(sizes_K.max()) // 2 + 8
    while True:
        new = torch.rand(len(counts_K), more, dtype=torch.float64, generator=generator) * counts_K[:, None]
        drawn = torch.cat([drawn, new.long()], dim=1)
        values, order = drawn.sort(dim=1, stable=True)
        again = torch.zeros_like(drawn, dtype=torch.bool).scatter_(1, order[:, 1:], values[:, 1:] == values[:, :-1])
        distinct = (~again).cumsum(dim=1)
        if bool((distinct[:, -1] >= sizes_K).all()):
            return drawn[~again & (distinct <= sizes_K[:, None])]
