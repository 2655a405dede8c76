"""Near duplicates: sketches of images, and which of them are near each other, without comparing all with all.

N images, U different sketches, B = 64 blocks a sketch.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from fair_distill.data.grouped_dataset import Array

_SIDE = 8
BLOCKS = _SIDE**2
_LEVELS = 256
_COARSE = 64  # of the 256 levels, in one of the four that are searched by
_MOST = 512  # with how many others that share a key a sketch is compared
_AT_ONCE = 2**18


def sketch(images: Array) -> tuple[Array, Array]:
    """Return a coarse picture of each image, uint8 (N, B): 8×8 block means over all channels, in 256 levels.

    The levels divide the range between the image's own darkest and brightest block, so the sketch is the same, to the
    bit, when all pixels are multiplied by one number: a shape painted on black in red and in cyan is found. The second
    array, bool (N,), says which images have one: without contrast between blocks, every blank would equal every other.
    """
    # Whole numbers where the pixels are: rounding would tear equal shapes apart at the edge of a level.
    exact = np.int64 if np.issubdtype(images.dtype, np.integer) else np.float64
    grey = np.nan_to_num(images, posinf=0.0, neginf=0.0).sum(axis=1, dtype=exact)
    rows, heights = _blocks(grey.shape[1])
    columns, widths = _blocks(grey.shape[2])
    sums = np.add.reduceat(np.add.reduceat(grey, rows, axis=1), columns, axis=2)
    areas = np.outer(heights, widths)
    means = (sums * (np.lcm.reduce(areas.ravel()) // areas)).reshape(len(images), BLOCKS)

    low = means.min(axis=1, keepdims=True)
    span = means.max(axis=1, keepdims=True) - low
    seen = span[:, 0] > 0
    span[~seen] = 1
    return np.minimum((means - low) * _LEVELS // span, _LEVELS - 1).astype(np.uint8), seen


def _blocks(length: int) -> tuple[Array, Array]:
    """Where each of the blocks starts, and how long it is; a short side repeats its pixels."""
    starts = np.arange(_SIDE) * length // _SIDE
    return starts, np.maximum(np.diff(starts, append=length), 1)


def near_facts(
    sketches_NB: Array, seen_N: Array, splits_N: Array, pairs_N: Array, *, distance: int, difference: float
) -> tuple[Array, Array, int]:
    """Say for every image where another one is near it.

    Two sketches are near if at most `distance` of their blocks are on another of four levels, and the mean absolute
    difference of all blocks, in the range 0 to 1, is at most `difference`.

    Parameters
    ----------
    seen_N : which have a sketch
    splits_N : number of each image's split, in the order in which splits are held against each other
    pairs_N : images of one pair are one thing shown in several groups, and no near duplicates of each other

    Returns
    -------
    also_in : int array (N,); the earliest split before the image's own that holds one near it, -1 if none does
    within : bool array (N,); whether the image's own split holds one of another pair
    incomplete : how many sketches have 512 others that share a key and are as bright, and were compared with no more
    """
    rows = np.flatnonzero(seen_N)
    also_in, within = np.full(len(seen_N), -1), np.zeros(len(seen_N), bool)
    if not len(rows):
        return also_in, within, 0
    with np.errstate(over="ignore"):
        numbers = sketches_NB[rows].astype(np.uint64) @ _odd(BLOCKS)
    _, first, codes = np.unique(numbers, return_index=True, return_inverse=True)
    distinct_UB = sketches_NB[rows[first]]
    splits, pairs = splits_N[rows], pairs_N[rows]

    # The lowest and the highest pair that shows each sketch in each split, (U, splits); then in what is near it.
    shape = (len(first), int(splits_N.max()) + 1)
    low, high = np.full(shape, np.iinfo(np.int64).max), np.full(shape, -1)
    np.minimum.at(low, (codes, splits), pairs)
    np.maximum.at(high, (codes, splits), pairs)
    around_low, around_high = low.copy(), high.copy()
    incomplete = 0
    if distance or difference:
        for one, other, left in _near(distinct_UB, distance, difference):
            incomplete = max(incomplete, left)
            for a, b in ((one, other), (other, one)):
                np.minimum.at(around_low, a, low[b])
                np.maximum.at(around_high, a, high[b])
    earliest = np.argmax(around_high >= 0, axis=1)[codes]
    also_in[rows] = np.where(earliest < splits, earliest, -1)
    within[rows] = (around_low[codes, splits] != pairs) | (around_high[codes, splits] != pairs)
    return also_in, within, incomplete


def _near(sketches_UB: Array, distance: int, difference: float) -> Iterator[tuple[Array, Array, int]]:
    """Give pairs of different sketches, by index, that are near; a pair may come more than once.

    By the pigeonhole principle: of distance + 2 bands of blocks, two sketches that differ in `distance` blocks have at
    least two bands alike, whichever blocks differ. So only those with two equal bands are compared. (One equal band of
    distance + 1 would do, but half as many blocks make a key that more share by chance.) The third of a triple says how
    many sketches were not compared with all that share their key, lest a heap of images that are nearly all alike be
    compared each with each.
    """
    bands = distance + 2
    coarse_UB = (sketches_UB // _COARSE).astype(np.uint8)
    odd = _odd(BLOCKS)
    with np.errstate(over="ignore"):
        # Every bands-th block: neighbours are alike, and would make a poor key together.
        sums = [coarse_UB[:, band::bands].astype(np.uint64) @ odd[band::bands] for band in range(bands)]
        keys = [(each ^ (each >> np.uint64(32))) * odd[band] for band, each in enumerate(sums)]
        for one, other in combinations(range(bands), 2):
            yield from _sharing(keys[one] + keys[other], sketches_UB, coarse_UB, distance, difference)


def _sharing(
    keys_U: Array, sketches_UB: Array, coarse_UB: Array, distance: int, difference: float
) -> Iterator[tuple[Array, Array, int]]:
    """Compare those that share a key, in order of their brightness: near ones differ in their sums by little."""
    sums = sketches_UB.sum(axis=1, dtype=np.int64)
    reach = difference * (_LEVELS - 1) * BLOCKS
    order = np.lexsort((sums, keys_U))
    keys, sums = keys_U[order], sums[order]
    alive = np.arange(len(order) - 1)
    for step in range(1, _MOST + 1):
        alive = alive[alive + step < len(order)]
        alive = alive[(keys[alive] == keys[alive + step]) & (sums[alive + step] - sums[alive] <= reach)]
        left = len(alive) if step == _MOST else 0
        for start in range(0, len(alive), _AT_ONCE):
            part = alive[start : start + _AT_ONCE]
            one, other = order[part], order[part + step]
            near = (coarse_UB[one] != coarse_UB[other]).sum(axis=1) <= distance
            one, other = one[near], other[near]
            near = np.abs(sketches_UB[one].astype(np.int16) - sketches_UB[other]).sum(axis=1) <= reach
            yield one[near], other[near], left


def _odd(count: int) -> Array:
    """Multipliers that spread keys over 64 bits, so that different blocks share one by chance alone."""
    with np.errstate(over="ignore"):
        spread = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        odd: Array = (spread ^ (spread >> np.uint64(29))) | np.uint64(1)
    return odd
