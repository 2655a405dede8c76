"""Colour-skewed benchmarks: the group is a colour, and most training images of a class have the colour of the class.

Follows the C-MNIST recipe of Zhou et al. ("FairDD", NeurIPS 2025): a share `own_share` of each class's training images
has the class's own colour, and the other images are divided evenly between the other colours. We deviate in the splits
that measure: every image occurs in every colour (paired). A gap between groups is then a gap on the same images, and
does not depend on which images a group got.

CIFAR10-S is `colours: {grey: grey, colour: original}` with `owners: [grey, grey, grey, grey, grey, colour, ...]`: the
papers give the first five classes to one group. Without `owners`, class c owns group c mod G.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from fair_distill.data.columns import SourceData
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.data.pixels import luma

_BATCH = 4096


def foreground(images: Array, colour_3: Array) -> Array:
    """Multiply the image by the colour: bright strokes take the colour, black stays black (C-FMNIST, foreground)."""
    return _divide_by_255(images.astype(np.uint16) * colour_3[:, None, None].astype(np.uint16))


def stroke(images: Array, colour_3: Array) -> Array:
    """Show the colour where the image is bright (128 and above), and black elsewhere (C-MNIST, foreground)."""
    return np.where(luma(images) >= 128, colour_3[:, None, None], 0).astype(np.uint8)


def background(images: Array, colour_3: Array) -> Array:
    """Show the colour where the image is dark (below 128), and black strokes elsewhere (C-MNIST, background)."""
    return np.where(luma(images) < 128, colour_3[:, None, None], 0).astype(np.uint8)


def behind(images: Array, colour_3: Array) -> Array:
    """Put the colour behind the image, with the blend mode `screen` of image editors.

    On white the image is invisible.
    """
    light = (255 - images.astype(np.uint16)) * (255 - colour_3[:, None, None].astype(np.uint16))
    return 255 - _divide_by_255(light)


def around(images: Array, colour_3: Array) -> Array:
    """Show the colour where the image is black (below 8), and the image itself elsewhere (C-FMNIST, background).

    The reference code adds the two, and overflows modulo 256. This function does not overflow, and no colour hides the
    image.
    """
    return np.where(luma(images) < 8, colour_3[:, None, None], images).astype(np.uint8)


# To add a way to paint, write the function and add its line.
PAINTS = {
    "foreground": foreground,
    "stroke": stroke,
    "background": background,
    "behind": behind,
    "around": around,
}


def colour(grey_NHW: Array, colours_N3: Array) -> Array:
    """Multiply each grey image by its own colour: (N, 3, height, width), uint8. Black stays black."""
    return _divide_by_255(grey_NHW[:, None].astype(np.uint16) * colours_N3[:, :, None, None].astype(np.uint16))


def _divide_by_255(product: Array) -> Array:
    return ((product + 127) // 255).astype(np.uint8)


def paint_groups(images: Array, group_indices: Array, colours: Mapping[str, Sequence[int] | str], paint: str) -> Array:
    """Return each image in the colour of its group, (N, 3, height, width).

    Parameters
    ----------
    colours : the colour of each group; `grey` removes the image's colours, `original` keeps the image
    paint : a key of PAINTS
    """
    result = np.empty((len(images), 3, *images.shape[2:]), dtype=np.uint8)
    for group, group_colour in enumerate(colours.values()):
        rows = np.flatnonzero(group_indices == group)
        for batch in np.split(rows, np.arange(_BATCH, len(rows), _BATCH)):
            if isinstance(group_colour, str):
                result[batch] = luma(images[batch]) if group_colour == "grey" else images[batch]
            else:
                result[batch] = PAINTS[paint](images[batch], np.array(group_colour))
    return result


def assign_groups(
    labels: Array, n_groups: int, own_share: float, rng: np.random.Generator, *, owners: Sequence[int]
) -> Array:
    """Return a group index for each example.

    Of the n examples of class c, int(n · own_share) get owners[c]. The others are divided between the other groups.
    """
    group_indices = np.empty(len(labels), dtype=np.int64)
    for label, owner in enumerate(owners):
        members = rng.permutation(np.flatnonzero(labels == label))
        minorities = np.delete(np.arange(n_groups), owner)
        n_own = int(len(members) * own_share)
        group_indices[members[:n_own]] = owner
        group_indices[members[n_own:]] = minorities[np.arange(len(members) - n_own) % len(minorities)]
    return group_indices


def default_owners(n_classes: int, n_groups: int) -> list[int]:
    """Return the group that each class owns by default: class c owns group c mod G."""
    return [label % n_groups for label in range(n_classes)]


def skewed_dataset(
    source: SourceData,
    rows: Array,
    colours: Mapping[str, Sequence[int] | str],
    own_share: float,
    rng: np.random.Generator,
    *,
    paint: str,
    owners: Sequence[int] | None = None,
) -> GroupedDataset:
    """Return these rows of the source, each in one colour; see `assign_groups`."""
    labels = source.labels[rows]
    owners = default_owners(len(source.classes), len(colours)) if owners is None else owners
    group_indices = assign_groups(labels, len(colours), own_share, rng, owners=owners)
    return GroupedDataset.from_arrays(
        paint_groups(np.asarray(source.images)[rows], group_indices, colours, paint),
        labels,
        group_indices,
        classes=source.classes,
        groups=tuple(colours),
        pairs=rows,
    )


def paired_dataset(
    source: SourceData, rows: Array, colours: Mapping[str, Sequence[int] | str], *, paint: str
) -> GroupedDataset:
    """Return these rows of the source, each in every colour. The copies of an image share a pair number."""
    repeated = np.repeat(rows, len(colours))
    group_indices = np.tile(np.arange(len(colours)), len(rows))
    return GroupedDataset.from_arrays(
        paint_groups(np.asarray(source.images)[repeated], group_indices, colours, paint),
        source.labels[repeated],
        group_indices,
        classes=source.classes,
        groups=tuple(colours),
        pairs=repeated,
    )
