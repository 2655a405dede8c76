"""Colour-skewed benchmarks: the group is a colour, and each class has one it mostly stands in.

Follows the C-MNIST recipe of Zhou et al. ("FairDD", NeurIPS 2025): of each class's training images a share
`own_share` stands in the class's own colour, the rest is dealt to the other colours in turn. We part from it
in the splits that measure: there every image stands in every colour (paired), so a gap between groups is a
gap on the same images and not the luck of the draw.
"""

from collections.abc import Mapping

import numpy as np

from fair_distill.data.grouped import Array, GroupedDataset
from fair_distill.data.sources import Labelled


def colour(grey_NHW: Array, colours_N3: Array) -> Array:
    """Paint each grey image in its colour: (N, 3, height, width), uint8. Black stays black."""
    product = grey_NHW[:, None].astype(np.uint16) * colours_N3[:, :, None, None].astype(np.uint16)
    return ((product + 127) // 255).astype(np.uint8)


def split(labels: Array, shares: Mapping[str, float], rng: np.random.Generator) -> dict[str, Array]:
    """Deal the examples of each class out to the splits by share; return sorted indices per split.

    The last split takes what rounding leaves, so every example is in exactly one.
    """
    names = list(shares)
    parts: dict[str, list[Array]] = {name: [] for name in names}
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        cuts = np.round(np.cumsum([shares[name] for name in names])[:-1] * len(members)).astype(int)
        for name, part in zip(names, np.split(members, cuts), strict=True):
            parts[name].append(part)
    return {name: np.sort(np.concatenate(part)) for name, part in parts.items()}


def skewed(
    source: Labelled,
    rows: Array,
    colours: Mapping[str, list[int]],
    own_share: float,
    rng: np.random.Generator,
) -> GroupedDataset:
    """Return `rows` with int(n · own_share) of each class in its own colour; class c owns colour c mod G."""
    palette = np.array(list(colours.values()))
    labels = source.labels[rows]
    groups = np.empty(len(rows), dtype=np.int64)
    for label in range(len(source.classes)):
        members = rng.permutation(np.flatnonzero(labels == label))
        own = label % len(palette)
        others = np.delete(np.arange(len(palette)), own)
        n_own = int(len(members) * own_share)
        groups[members[:n_own]] = own
        groups[members[n_own:]] = others[np.arange(len(members) - n_own) % len(others)]
    return GroupedDataset.from_arrays(
        colour(source.images[rows], palette[groups]),
        labels,
        groups,
        classes=source.classes,
        group_names=tuple(colours),
        pairs=rows,
    )


def paired(source: Labelled, rows: Array, colours: Mapping[str, list[int]]) -> GroupedDataset:
    """Return `rows` of the source, each in every colour; the copies of one image share a pair number."""
    palette = np.array(list(colours.values()))
    repeated = np.repeat(rows, len(palette))
    groups = np.tile(np.arange(len(palette)), len(rows))
    return GroupedDataset.from_arrays(
        colour(source.images[repeated], palette[groups]),
        source.labels[repeated],
        groups,
        classes=source.classes,
        group_names=tuple(colours),
        pairs=repeated,
    )
