"""The synthetic images: their initial values, and the form in which a network receives them.

They start as real images chosen evenly from the groups (`group_stratified`), as real images chosen at random
(`natural`), or as noise. In multi-formation (Kim et al., "IDC", ICML 2022) each stored image is a mosaic of
factor × factor smaller images. They are enlarged to full size before use: more, coarser images for the same number of
pixels.

C classes, N images, ipc images per class.
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
from fair_distill.errors import DataError
from fair_distill.plugins import resolve


def stratified_rows(dataset: GroupedDataset, ipc: int, generator: torch.Generator) -> Array:
    """Choose `ipc` rows of each class, as evenly as possible from its groups: (C · ipc,), sorted by class.

    If a group is too small for its share, the other groups fill the gap. Within a class the rows alternate between the
    groups: first one row of every group, then a second one, and so on.
    """
    sizes = np.stack(
        [examples_per_group(counts, ipc, name) for counts, name in zip(dataset.counts, dataset.classes, strict=True)]
    )
    rows = _draw(dataset.offsets[:-1], dataset.counts.ravel(), sizes.ravel(), generator)
    label, group = (np.repeat(index.ravel(), sizes.ravel()) for index in np.indices(sizes.shape))
    turn = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes.ravel(), sizes.ravel())
    return rows[np.lexsort((group, turn, label))]


def natural_rows(dataset: GroupedDataset, ipc: int, generator: torch.Generator) -> Array:
    """Choose `ipc` rows of each class at random, regardless of group: (C · ipc,), sorted by class."""
    counts = dataset.counts.sum(axis=1)
    for count, name in zip(counts, dataset.classes, strict=True):
        _check_count(int(count), ipc, name)
    first = dataset.offsets[:-1].reshape(dataset.counts.shape)[:, 0]
    return _draw(first, counts, np.full(len(counts), ipc), generator)


def examples_per_group(counts_G: Array, ipc: int, name: str) -> Array:
    """Return how many of `ipc` examples to take from each group of a class, (G,): as even as the counts allow.

    Parameters
    ----------
    counts_G : the number of examples of each group
    name : the class, for the error message

    Raises
    ------
    DataError
        If the class has fewer than `ipc` examples.
    """
    _check_count(int(counts_G.sum()), ipc, name)
    sizes = np.zeros(len(counts_G), dtype=np.int64)
    while sizes.sum() < ipc:
        available = np.flatnonzero(sizes < counts_G)[: ipc - sizes.sum()]
        sizes[available] += 1
    return sizes


def _draw(first: Array, counts: Array, sizes: Array, generator: torch.Generator) -> Array:
    first_K, counts_K, sizes_K = (torch.from_numpy(np.ascontiguousarray(array)) for array in (first, counts, sizes))
    rows: Array = draw_rows(first_K, counts_K, sizes_K, generator).numpy()
    return rows


def _check_count(count: int, ipc: int, name: str) -> None:
    if count < ipc:
        raise DataError(f"class {name!r} has {count} examples in train; ipc is {ipc}. Lower distill.ipc, or add data")


def check_class_sizes(dataset: GroupedDataset, ipc: int, formation: int) -> None:
    """Raise DataError if a class has too few examples for `ipc` stored images of formation² real ones each."""
    needed = ipc * formation**2
    for count, name in zip(dataset.counts.sum(axis=1), dataset.classes, strict=True):
        if formation == 1:
            _check_count(int(count), ipc, name)
        elif count < needed:
            raise DataError(
                f"class {name!r} has {count} examples in train; ipc is {ipc}, and mosaics of {formation}×{formation} "
                f"need {needed}. Lower distill.ipc or formation, or add data"
            )


def decode(images: Tensor, factor: int) -> Tensor:
    """Cut each image into factor² tiles and enlarge each tile to full size (bilinear): (N · factor², ...).

    Differentiable. The tiles of one image stay together. If the side is not a multiple of the factor, neighbouring
    tiles overlap by at most one pixel.
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
    """Combine factor² images, reduced by area averaging, into one mosaic of the same size: (N / factor², ...)."""
    if factor == 1:
        return images
    height, width = images.shape[2:]
    small = torch.unflatten(shrink(images, factor), 0, (-1, factor, factor))
    rows = [torch.cat(list(small[:, y].unbind(1)), dim=3) for y in range(factor)]
    mosaic = torch.cat(rows, dim=2)
    return F.interpolate(mosaic, size=(height, width), mode="area") if mosaic.shape[2:] != (height, width) else mosaic


def shrink(images: Tensor, factor: int) -> Tensor:
    """Return images reduced to the size of a tile by area averaging."""
    if factor == 1:
        return images
    size = [-(-side // factor) for side in images.shape[2:]]
    return F.interpolate(images, size=size, mode="area")


def identity(images: Tensor) -> Tensor:
    """Return the images: every image is valid, unlike every row of a table."""
    return images


@dataclass(frozen=True, eq=False)
class Synthetic:
    """The synthetic set at one step, as a matcher receives it.

    Attributes
    ----------
    images : (C · ipc, channels, height, width), normalised, sorted by class; the optimised leaf tensor
    ipc : stored images per class
    formation : tiles along each side of an image; 1 for no mosaic
    augmentation : the augmentation of this step, one draw per class, shared with the real images
    project : maps the optimised tensor to a valid set: the identity for images, the nearest valid rows for a table
    strategies : the names of the augmentations, for methods that draw several augmentations per step
    """

    images: Tensor
    ipc: int
    formation: int
    augmentation: Draw
    project: Callable[[Tensor], Tensor] = identity
    strategies: Sequence[str] = ()

    @property
    def per_class(self) -> int:
        """The number of images per class that a network receives."""
        return self.ipc * self.formation**2

    def view(self, classes: range) -> Tensor:
        """Return the decoded and augmented images of some classes, (len(classes) · per_class, ...), with gradient."""
        rows = decode(self.project(self.images[classes.start * self.ipc : classes.stop * self.ipc]), self.formation)
        draw_of_row = torch.arange(classes.start, classes.stop, device=rows.device).repeat_interleave(self.per_class)
        return augment(rows, self.augmentation, draw_of_row, run_length=self.per_class)


def _noise(
    dataset: GroupedDataset, ipc: int, normalise: Normalisation, generator: torch.Generator, formation: int
) -> Tensor:
    return torch.randn(len(dataset.classes) * ipc, *dataset.shape, generator=generator)


def _real(choose: Callable[[GroupedDataset, int, torch.Generator], Array]) -> Callable[..., Tensor]:
    def initialise(
        dataset: GroupedDataset, ipc: int, normalise: Normalisation, generator: torch.Generator, formation: int
    ) -> Tensor:
        check_class_sizes(dataset, ipc, formation)
        rows = choose(dataset, ipc * formation**2, generator)
        return encode(normalise.apply(as_pixels(torch.from_numpy(dataset.images[rows]))), formation)

    return initialise


STARTS: dict[str, Callable[..., Tensor]] = {
    "group_stratified": _real(stratified_rows),
    "natural": _real(natural_rows),
    "noise": _noise,
}


def initial_images(
    kind: str,
    dataset: GroupedDataset,
    ipc: int,
    normalise: Normalisation,
    generator: torch.Generator,
    *,
    formation: int,
) -> Tensor:
    """Return the normalised images before the first step: (C · ipc, channels, height, width), sorted by class.

    Raises
    ------
    ConfigError
        If `kind` is not a name in STARTS.
    DataError
        If a class has too few examples.
    """
    return resolve(kind, STARTS, where="distill.start")(dataset, ipc, normalise, generator, formation)
