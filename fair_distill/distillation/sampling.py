"""Stratified batches of real images: every batch contains every group of every class.

C classes, G groups, B images in a batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.data.image_stream import iterate_batches
from fair_distill.distillation.augment import Draw, augment
from fair_distill.errors import DataError

Allocation = Literal["equal", "proportional"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Real images of all classes, sorted by cell (class, then group).

    Attributes
    ----------
    images : float (B, channels, height, width), normalised
    labels : int64 (B,)
    cell_indices : int64 (B,), the cell y · G + a of each image
    shares : float (B,), 1 / the number of images of the image's cell
    sizes : int (C, G), the number of images of each cell
    """

    images: Tensor
    labels: Tensor
    cell_indices: Tensor
    shares: Tensor
    sizes: Array

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.sizes)

    @cached_property
    def averaging(self) -> Tensor:
        """A dense matrix, (C·G, B). Row (y, a) averages over cell (y, a): `averaging @ features` has all cell means."""
        averaging = self.shares.new_zeros(self.sizes.size, len(self.shares))
        averaging[self.cell_indices, torch.arange(len(self.shares), device=averaging.device)] = self.shares
        return averaging

    def rows(self, label: int) -> slice:
        """Return the rows of one class."""
        return slice(int(self.sizes[:label].sum()), int(self.sizes[: label + 1].sum()))

    def cells(self, label: int) -> list[slice]:
        """Return the rows of each group of one class. The slice of an absent group is empty."""
        ends = self.rows(label).start + np.cumsum(self.sizes[label])
        return [slice(int(end - size), int(end)) for end, size in zip(ends, self.sizes[label], strict=True)]

    def weights(self, cells_CG: Tensor) -> Tensor:
        """Return one weight per image, (B,), that shares the weight of each cell evenly among its images."""
        return cells_CG.flatten()[self.cell_indices] * self.shares

    def augmented(self, augmentation: Draw) -> "Batch":
        """Return the batch with each class's images augmented by the draw of that class."""
        return replace(self, images=augment(self.images, augmentation, self.labels))


def as_pixels(stored: Tensor) -> Tensor:
    """Return stored images as float32 pixels: uint8 values are divided by 255; float32 values are unchanged."""
    return stored.float() / 255 if stored.dtype == torch.uint8 else stored


def float_images(stored: Array) -> Tensor:
    """Return a float32 copy of stored images, in the unit of published sets (pixels divided by 255)."""
    return as_pixels(torch.from_numpy(np.array(stored)))


def evenly_spaced(rows: Sequence[int], limit: int) -> Array:
    """Return at most `limit` of the rows, evenly spaced over all of them."""
    chosen = np.linspace(0, len(rows) - 1, num=min(len(rows), limit)).round().astype(int)
    spaced: Array = np.asarray(rows, dtype=np.int64)[chosen]
    return spaced


@dataclass(frozen=True)
class Normalisation:
    """Per-channel mean and standard deviation, of pixels in [0, 1] or of the encoded columns of a table."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, pixels: Tensor) -> Tensor:
        """Return normalised images for pixels (N, channels, height, width) in [0, 1]."""
        return (pixels - _per_channel(self.mean, pixels.device)) / _per_channel(self.std, pixels.device)

    def undo(self, images: Tensor) -> Tensor:
        """Return the pixels of normalised images."""
        return images * _per_channel(self.std, images.device) + _per_channel(self.mean, images.device)


@cache
def _per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)[:, None, None]


def reader(images: Array, normalise: Normalisation, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return a function that maps row numbers to normalised images on the device.

    If the images fit four times into the free memory of a GPU, all of them are copied there once. Otherwise rows are
    read on demand, from a memory-mapped file if `images` is one.
    """
    if device.type == "cuda" and 4 * images.nbytes < torch.cuda.mem_get_info(device)[0]:
        resident = torch.tensor(images, device=device)

        def select(rows: Tensor) -> Tensor:
            return resident[rows.to(device, non_blocking=True)]
    else:

        def select(rows: Tensor) -> Tensor:
            return torch.from_numpy(images[rows.cpu().numpy()]).to(device)

    return lambda rows: normalise.apply(as_pixels(select(rows)))


def normalisation(dataset: GroupedDataset, *, most: int = 10_000) -> Normalisation:
    """Return the mean and standard deviation of each channel, over at most `most` evenly spaced rows of the dataset.

    For the rows of a table, numeric columns are standardised and one-hot columns remain 0 and 1.
    """
    rows = np.unique(np.linspace(0, len(dataset) - 1, num=min(len(dataset), most)).astype(int))
    pixels = dataset.images[rows].astype(np.float64) / (255 if dataset.images.dtype == np.uint8 else 1)
    mean, std = pixels.mean(axis=(0, 2, 3)), pixels.std(axis=(0, 2, 3))
    if dataset.schema is not None:
        mean, std = np.where(dataset.schema.standardised, mean, 0), np.where(dataset.schema.standardised, std, 1)
    # Six digits: the last bits of a sum depend on the order of summation and must not change the set's version.
    return Normalisation(
        tuple(round(float(v), 6) for v in mean), tuple(round(float(v), 6) if v > 1e-6 else 1.0 for v in std)
    )


def check_finite(dataset: GroupedDataset) -> None:
    """Raise DataError for the first example with a pixel or number that is NaN or infinite."""
    if dataset.images.dtype == np.uint8:
        return
    first = 0
    for batch in iterate_batches(dataset.images):
        finite = np.isfinite(batch).reshape(len(batch), -1).all(axis=1)
        if not finite.all():
            row = first + int(np.argmin(finite))
            raise DataError(
                f"example {row} of class {dataset.classes[dataset.labels[row]]!r} and group "
                f"{dataset.groups[dataset.group_indices[row]]!r}, in the order of the dataset, has a pixel or number "
                "that is NaN or infinite. Correct the data"
            )
        first += len(batch)


def allocate(counts_CG: Array, per_class: int, allocation: Allocation) -> Array:
    """Return the number of images to draw from each cell, (C, G): at least 1 and at most the size of the cell.

    "equal" suits targets that weight groups equally. "proportional" suits the pooled target, whose variance under
    equal allocation is eight times higher at a skew of 0.9. Both draw from every group that a class has.
    """
    present = counts_CG > 0
    if allocation == "equal":
        sizes = np.where(present, per_class / present.sum(axis=1, keepdims=True), 0)
    else:
        sizes = per_class * counts_CG / counts_CG.sum(axis=1, keepdims=True)
    return np.where(present, np.clip(np.round(sizes), 1, counts_CG), 0).astype(int)


class GroupSampler:
    """Draws stratified batches from a dataset, without replacement within a cell.

    Parameters
    ----------
    per_class : images per class and batch, shared among the groups of the class
    allocation : how to share them; see `allocate`
    read : a function from `reader`; samplers of one dataset can share it

    Raises
    ------
    DataError
        If a class has no examples.
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
            raise DataError(f"class {label!r} has no examples in train; add examples, or remove the class")
        self.sizes = allocate(counts, per_class, allocation)
        self.read = read
        flat = self.sizes.ravel()
        self._cells = [torch.from_numpy(array) for array in (dataset.offsets[:-1], counts.ravel(), flat)]
        shares = (1 / np.maximum(flat, 1)).astype(np.float32)
        columns = np.repeat(np.arange(len(counts)), self.sizes.sum(axis=1)), np.repeat(np.arange(flat.size), flat)
        self._labels, self._cell_indices = (torch.from_numpy(column).to(device) for column in columns)
        self._shares = torch.from_numpy(shares.repeat(flat)).to(device)

    def draw(self, generator: torch.Generator) -> Batch:
        """Draw one batch."""
        first, counts, sizes = self._cells
        rows = draw_rows(first, counts, sizes, generator)
        return Batch(self.read(rows), self._labels, self._cell_indices, self._shares, self.sizes)


def draw_rows(first_K: Tensor, counts_K: Tensor, sizes_K: Tensor, generator: torch.Generator) -> Tensor:
    """Draw rows from K cells at once, without replacement. The result is sorted by cell.

    The cost grows with the number of drawn rows, not with the size of the cells.

    Parameters
    ----------
    first_K : the first row of each cell
    counts_K : the number of rows of each cell
    sizes_K : the number of rows to draw from each cell
    """
    large_share = 2 * sizes_K > counts_K
    rows = first_K.repeat_interleave(sizes_K)
    for cells, choose in ((large_share, _by_sorting), (~large_share & (sizes_K > 0), _by_rejection)):
        if cells.any():
            rows[cells.repeat_interleave(sizes_K)] += choose(counts_K[cells], sizes_K[cells], generator)
    return rows


def _by_sorting(counts_K: Tensor, sizes_K: Tensor, generator: torch.Generator) -> Tensor:
    """Shuffle each cell. For cells of which at least half is drawn."""
    keys = torch.rand(len(counts_K), int(counts_K.max()), dtype=torch.float64, generator=generator)
    keys[torch.arange(keys.shape[1]) >= counts_K[:, None]] = 2.0  # Padding sorts after all real rows.
    order = keys.argsort(dim=1)
    return order[torch.arange(keys.shape[1]) < sizes_K[:, None]]


def _by_rejection(counts_K: Tensor, sizes_K: Tensor, generator: torch.Generator) -> Tensor:
    """Draw with replacement and reject repeated rows. For cells of which less than half is candidates."""
    candidates = torch.empty(len(counts_K), 0, dtype=torch.int64)
    more = 3 * int(sizes_K.max()) // 2 + 8
    while True:
        new = torch.rand(len(counts_K), more, dtype=torch.float64, generator=generator) * counts_K[:, None]
        candidates = torch.cat([candidates, new.long()], dim=1)
        values, order = candidates.sort(dim=1, stable=True)
        repeated = torch.zeros_like(candidates, dtype=torch.bool).scatter_(
            1, order[:, 1:], values[:, 1:] == values[:, :-1]
        )
        distinct = (~repeated).cumsum(dim=1)
        if bool((distinct[:, -1] >= sizes_K).all()):
            return candidates[~repeated & (distinct <= sizes_K[:, None])]
