"""The synthetic images: where they start, and how they are looked at.

They start as real images chosen over the groups, as real images as they come, or as noise. In multi-formation (Kim et
al., "IDC", ICML 2022) each stored image is a mosaic of factor × factor smaller ones, which are enlarged to full size
when they are used: more, coarser images for the same number of pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.augment import Draw, augment
from fair_distill.distillation.sampling import Normalisation, as_pixels, draw_rows
from fair_distill.errors import ConfigError, DataError


def stratified_rows(dataset: GroupedDataset, ipc: int, generator: torch.Generator) -> Array:
    """Choose `ipc` rows of each class, dealt out to its groups in turn: (C · ipc,), sorted by class.

    A group with fewer rows than its turn gives all it has, and the others fill up. Of a class's rows, the first of
    every group come first, then the second ones, and so on.
    """
    sizes = np.stack([dealt(of, ipc, name) for of, name in zip(dataset.counts, dataset.classes, strict=True)])
    rows = _drawn(dataset.offsets[:-1], dataset.counts.ravel(), sizes.ravel(), generator)
    label, group = (np.repeat(index.ravel(), sizes.ravel()) for index in np.indices(sizes.shape))
    turn = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes.ravel(), sizes.ravel())
    return rows[np.lexsort((group, turn, label))]


def natural_rows(dataset: GroupedDataset, ipc: int, generator: torch.Generator) -> Array:
    """Choose `ipc` rows of each class at random, groups as they come: (C · ipc,), sorted by class."""
    counts = dataset.counts.sum(axis=1)
    for count, name in zip(counts, dataset.classes, strict=True):
        _enough(int(count), ipc, name)
    first = dataset.offsets[:-1].reshape(dataset.counts.shape)[:, 0]
    return _drawn(first, counts, np.full(len(counts), ipc), generator)


def dealt(counts_G: Array, ipc: int, name: str) -> Array:
    """Say how many of each group of a class to take, (G,): one in turn until there are `ipc`, from whoever has more."""
    _enough(int(counts_G.sum()), ipc, name)
    taken = np.zeros(len(counts_G), dtype=np.int64)
    while taken.sum() < ipc:
        more = np.flatnonzero(taken < counts_G)[: ipc - taken.sum()]
        taken[more] += 1
    return taken


def _drawn(first: Array, counts: Array, sizes: Array, generator: torch.Generator) -> Array:
    first_K, counts_K, sizes_K = (torch.from_numpy(np.ascontiguousarray(of)) for of in (first, counts, sizes))
    rows: Array = draw_rows(first_K, counts_K, sizes_K, generator).numpy()
    return rows


def _enough(count: int, ipc: int, name: str) -> None:
    if count < ipc:
        raise DataError(f"class {name!r} has {count} examples in train; ipc is {ipc}. Lower distill.ipc, or add data")


def decode(images: Tensor, factor: int) -> Tensor:
    """Cut each image into factor² tiles and enlarge each to full size (bilinear): (N · factor², ...). Differentiable.

    Tiles of one image stay together. Where the side is no multiple of the factor, tiles overlap by a pixel or less.
    """
    if factor == 1:
        return images
    return F.interpolate(tiles(images, factor), size=images.shape[2:], mode="bilinear", align_corners=False)


def tiles(images: Tensor, factor: int) -> Tensor:
    """Cut each image into factor² tiles: (N · factor², channels, height / factor, width / factor), rounded up."""
    if factor == 1:
        return images
    height, width = images.shape[2:]
    tile_h, tile_w = -(-height // factor), -(-width // factor)
    tops = [round(i * (height - tile_h) / (factor - 1)) for i in range(factor)]
    lefts = [round(i * (width - tile_w) / (factor - 1)) for i in range(factor)]
    return torch.stack([images[:, :, y : y + tile_h, x : x + tile_w] for y in tops for x in lefts], dim=1).flatten(0, 1)


def training_examples(images: Tensor, labels: Tensor, formation: int) -> tuple[Tensor, Tensor]:
    """Return the images that a network is trained on, and their classes: each tile of a mosaic is one example."""
    return decode(images, formation), labels.repeat_interleave(formation**2)


def encode(images: Tensor, factor: int) -> Tensor:
    """Lay factor² images side by side, made smaller (area average), into one of the same size: (N / factor², ...)."""
    if factor == 1:
        return images
    height, width = images.shape[2:]
    small = shrink(images, factor).unflatten(0, (-1, factor, factor))
    rows = [torch.cat(list(small[:, y].unbind(1)), dim=3) for y in range(factor)]
    mosaic = torch.cat(rows, dim=2)
    return F.interpolate(mosaic, size=(height, width), mode="area") if mosaic.shape[2:] != (height, width) else mosaic


def as_it_is(images: Tensor) -> Tensor:
    """Any image is an image."""
    return images


def shrink(images: Tensor, factor: int) -> Tensor:
    """Return images made as small as a tile (area average)."""
    if factor == 1:
        return images
    size = [-(-side // factor) for side in images.shape[2:]]
    return F.interpolate(images, size=size, mode="area")


@dataclass(frozen=True, eq=False)
class Synthetic:
    """The synthetic set at one step, as a matcher looks at it.

    Attributes
    ----------
    images : (C · ipc, channels, height, width), normalised, sorted by class; the leaf that is optimised
    formation : tiles along a side, 1 for none
    drawn : this step's augmentation, a draw per class, shared with the real images
    valid : what makes of the leaf what a network may see; of images, nothing; of rows, the nearest valid ones
    strategies : what it was drawn from, for methods that look at the set more than once a step
    """

    images: Tensor
    ipc: int
    formation: int
    drawn: Draw
    valid: Callable[[Tensor], Tensor] = as_it_is
    strategies: Sequence[str] = ()

    @property
    def per_class(self) -> int:
        """Images a class as a network sees them."""
        return self.ipc * self.formation**2

    def view(self, classes: range) -> Tensor:
        """Return the images of some classes, decoded and augmented, (len(classes) · per_class, ...); with gradient."""
        rows = decode(self.valid(self.images[classes.start * self.ipc : classes.stop * self.ipc]), self.formation)
        which = torch.arange(classes.start, classes.stop, device=rows.device).repeat_interleave(self.per_class)
        return augment(rows, self.drawn, which, runs_of=self.per_class)


def start(
    kind: str,
    dataset: GroupedDataset,
    ipc: int,
    normalise: Normalisation,
    generator: torch.Generator,
    *,
    formation: int,
) -> Tensor:
    """Return the first synthetic images, normalised: (C · ipc, channels, height, width), sorted by class."""
    if kind == "noise":
        return torch.randn(len(dataset.classes) * ipc, *dataset.shape, generator=generator)
    choose = {"group_stratified": stratified_rows, "natural": natural_rows}.get(kind)
    if choose is None:
        raise ConfigError(f"params.yaml: distill.start is {kind!r}; choose group_stratified, natural or noise")
    rows = choose(dataset, ipc * formation**2, generator)
    return encode(normalise.apply(as_pixels(torch.from_numpy(dataset.images[rows]))), formation)
