"""Colour-skewed benchmarks: the group is a colour, and each class has one it mostly stands in.

Follows the C-MNIST recipe of Zhou et al. ("FairDD", NeurIPS 2025): of each class's training images a share
`own_share` stands in the class's own colour, the rest is dealt to the other colours in turn. We part from it
in the splits that measure: there every image stands in every colour (paired), so a gap between groups is a
gap on the same images and not the luck of the draw.

CIFAR10-S is `colours: {grey: grey, colour: original}`, with `owners: [grey, grey, grey, grey, grey, colour, ...]`: the
papers give the first five classes to one group. Without `owners`, class c owns group c mod G.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from fair_distill.data.columns import Labelled
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.data.pixels import luma

_BATCH = 4096


def foreground(images: Array, colour_3: Array) -> Array:
    """Image times colour: bright strokes take the colour, black stays black (C-FMNIST, foreground)."""
    return _divided(images.astype(np.uint16) * colour_3[:, None, None].astype(np.uint16))


def stroke(images: Array, colour_3: Array) -> Array:
    """The colour where the image is bright (128 and above), black elsewhere (C-MNIST, foreground)."""
    return np.where(luma(images) >= 128, colour_3[:, None, None], 0).astype(np.uint8)


def background(images: Array, colour_3: Array) -> Array:
    """The colour where the image is dark (below 128), black strokes elsewhere (C-MNIST, background)."""
    return np.where(luma(images) < 128, colour_3[:, None, None], 0).astype(np.uint8)


def behind(images: Array, colour_3: Array) -> Array:
    """The colour shining through where the image is dark, the image on top of it: the `screen` of image editors.

    A white colour leaves nothing of the image.
    """
    light = (255 - images.astype(np.uint16)) * (255 - colour_3[:, None, None].astype(np.uint16))
    return 255 - _divided(light)


def around(images: Array, colour_3: Array) -> Array:
    """The colour where the image is black (below 8), the image itself elsewhere (C-FMNIST, background).

    The reference code adds the two, and overflows modulo 256; this cannot, and no colour hides the image.
    """
    return np.where(luma(images) < 8, colour_3[:, None, None], images).astype(np.uint8)


# The one place a way to paint is added: write the function, add its line.
PAINTS = {
    "foreground": foreground,
    "stroke": stroke,
    "background": background,
    "behind": behind,
    "around": around,
}


def colour(grey_NHW: Array, colours_N3: Array) -> Array:
    """Paint each grey image in a colour of its own: (N, 3, height, width), uint8. Black stays black."""
    return _divided(grey_NHW[:, None].astype(np.uint16) * colours_N3[:, :, None, None].astype(np.uint16))


def _divided(product: Array) -> Array:
    return ((product + 127) // 255).astype(np.uint8)


def painted(images: Array, group_indices: Array, colours: Mapping[str, Sequence[int] | str], paint: str) -> Array:
    """Return the images, each as its group says, (N, 3, height, width).

    Parameters
    ----------
    colours : for each group a colour, or `grey` (without its colours) or `original` (as it is)
    paint : one of PAINTS
    """
    result = np.empty((len(images), 3, *images.shape[2:]), dtype=np.uint8)
    for group, tint in enumerate(colours.values()):
        rows = np.flatnonzero(group_indices == group)
        for some in np.split(rows, np.arange(_BATCH, len(rows), _BATCH)):
            if isinstance(tint, str):
                result[some] = luma(images[some]) if tint == "grey" else images[some]
            else:
                result[some] = PAINTS[paint](images[some], np.array(tint))
    return result


def skewed_groups(
    labels: Array, n_groups: int, own_share: float, rng: np.random.Generator, *, owners: Sequence[int]
) -> Array:
    """Return a group for each example: int(n · own_share) of each class c get owners[c], the others the rest."""
    group_indices = np.empty(len(labels), dtype=np.int64)
    for label, own in enumerate(owners):
        members = rng.permutation(np.flatnonzero(labels == label))
        others = np.delete(np.arange(n_groups), own)
        n_own = int(len(members) * own_share)
        group_indices[members[:n_own]] = own
        group_indices[members[n_own:]] = others[np.arange(len(members) - n_own) % len(others)]
    return group_indices


def in_turn(n_classes: int, n_groups: int) -> list[int]:
    """Return whose own group is which, where nobody said: class c owns group c mod G."""
    return [label % n_groups for label in range(n_classes)]


def skewed(
    source: Labelled,
    rows: Array,
    colours: Mapping[str, Sequence[int] | str],
    own_share: float,
    rng: np.random.Generator,
    *,
    paint: str,
    owners: Sequence[int] | None = None,
) -> GroupedDataset:
    """Return `rows` with int(n · own_share) of each class in its own colour: owners[c], or c mod G."""
    labels = source.labels[rows]
    owners = in_turn(len(source.classes), len(colours)) if owners is None else owners
    group_indices = skewed_groups(labels, len(colours), own_share, rng, owners=owners)
    return GroupedDataset.from_arrays(
        painted(np.asarray(source.images)[rows], group_indices, colours, paint),
        labels,
        group_indices,
        classes=source.classes,
        groups=tuple(colours),
        pairs=rows,
    )


def paired(source: Labelled, rows: Array, colours: Mapping[str, Sequence[int] | str], *, paint: str) -> GroupedDataset:
    """Return `rows` of the source, each in every colour; the copies of one image share a pair number."""
    repeated = np.repeat(rows, len(colours))
    group_indices = np.tile(np.arange(len(colours)), len(rows))
    return GroupedDataset.from_arrays(
        painted(np.asarray(source.images)[repeated], group_indices, colours, paint),
        source.labels[repeated],
        group_indices,
        classes=source.classes,
        groups=tuple(colours),
        pairs=repeated,
    )
