"""Near duplicates: a sketch of each image, and a search for similar sketches that does not compare all with all.

N images, U different sketches, B = 64 blocks per sketch.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from fair_distill.data.grouped_dataset import Array

_SIDE = 8
BLOCKS = _SIDE**2
_LEVELS = 256
# The search uses four coarse levels of 64 levels each.
_COARSE = 64
# A sketch is compared with at most this many others that share its key.
_MAX_COMPARED = 512
_BATCH = 2**18


def sketch_images(images: Array) -> tuple[Array, Array]:
    """Return a coarse picture of each image that does not depend on its colour or brightness.

    A sketch is the mean of each of 8×8 blocks over all channels, in 256 levels between the image's own darkest and
    brightest block. Multiplying all pixels by one number does not change it: the same shape in red and in cyan on black
    has one sketch.

    Returns
    -------
    sketches : uint8 array (N, B)
    has_sketch : bool array (N,)
        False for an image whose blocks are all equal. Otherwise all blank images would be near duplicates.
    """
    # Integers where the pixels are integers: rounding could move equal shapes to different levels.
    exact = np.int64 if np.issubdtype(images.dtype, np.integer) else np.float64
    grey = np.nan_to_num(images, posinf=0.0, neginf=0.0).sum(axis=1, dtype=exact)
    rows, heights = _blocks(grey.shape[1])
    columns, widths = _blocks(grey.shape[2])
    sums = np.add.reduceat(np.add.reduceat(grey, rows, axis=1), columns, axis=2)
    areas = np.outer(heights, widths)
    means = (sums * (np.lcm.reduce(areas.ravel()) // areas)).reshape(len(images), BLOCKS)

    low = means.min(axis=1, keepdims=True)
    span = means.max(axis=1, keepdims=True) - low
    has_sketch = span[:, 0] > 0
    span[~has_sketch] = 1
    return np.minimum((means - low) * _LEVELS // span, _LEVELS - 1).astype(np.uint8), has_sketch


def _blocks(length: int) -> tuple[Array, Array]:
    """Return the start and the length of each block of a side; a side of fewer than 8 pixels repeats pixels."""
    starts = np.arange(_SIDE) * length // _SIDE
    return starts, np.maximum(np.diff(starts, append=length), 1)


def find_near_duplicates(
    sketches_NB: Array,
    has_sketch_N: Array,
    splits_N: Array,
    pairs_N: Array,
    *,
    distance: int,
    difference: float,
) -> tuple[Array, Array, int]:
    """Find for every image whether a similar one is in an earlier split or in its own.

    Two sketches are similar if at most `distance` of their blocks are on different coarse levels, and the mean absolute
    difference of all blocks, on a scale from 0 to 1, is at most `difference`.

    Parameters
    ----------
    has_sketch_N : see `sketch_images`
    splits_N : the index of each image's split, in the order of the splits
    pairs_N : images of one pair show the same thing in several groups, and are not near duplicates of each other

    Returns
    -------
    also_in : int array (N,)
        The earliest split before the image's own with a similar image; otherwise -1.
    within : bool array (N,)
        Whether the image's own split has a similar image of another pair.
    not_compared : int
        How many sketches share a key and a brightness with more than 512 others, and were not compared with all.
    """
    rows = np.flatnonzero(has_sketch_N)
    also_in, within = np.full(len(has_sketch_N), -1), np.zeros(len(has_sketch_N), bool)
    if not len(rows):
        return also_in, within, 0
    with np.errstate(over="ignore"):
        hashes = sketches_NB[rows].astype(np.uint64) @ _multipliers(BLOCKS)
    _, first, codes = np.unique(hashes, return_index=True, return_inverse=True)
    sketches_UB = sketches_NB[rows[first]]
    splits, pairs = splits_N[rows], pairs_N[rows]

    # The lowest and highest pair number of each sketch in each split, (U, splits); then also of similar sketches.
    shape = (len(first), int(splits_N.max()) + 1)
    low, high = np.full(shape, np.iinfo(np.int64).max), np.full(shape, -1)
    np.minimum.at(low, (codes, splits), pairs)
    np.maximum.at(high, (codes, splits), pairs)
    similar_low, similar_high = low.copy(), high.copy()
    not_compared = 0
    if distance or difference:
        for left, right, remaining in _similar(sketches_UB, distance, difference):
            not_compared = max(not_compared, remaining)
            for a, b in ((left, right), (right, left)):
                np.minimum.at(similar_low, a, low[b])
                np.maximum.at(similar_high, a, high[b])
    earliest = np.argmax(similar_high >= 0, axis=1)[codes]
    also_in[rows] = np.where(earliest < splits, earliest, -1)
    within[rows] = (similar_low[codes, splits] != pairs) | (similar_high[codes, splits] != pairs)
    return also_in, within, not_compared


def _similar(sketches_UB: Array, distance: int, difference: float) -> Iterator[tuple[Array, Array, int]]:
    """Yield batches of index pairs of similar sketches, and the number of sketches not compared with all candidates.

    A pair may occur more than once. The blocks are divided into distance + 2 bands. By the pigeonhole principle, two
    sketches that differ in `distance` blocks agree on at least two bands, so only sketches with two equal bands are
    compared. (One equal band of distance + 1 would suffice, but its key has half as many blocks, and more sketches
    share it by chance.)
    """
    bands = distance + 2
    coarse_UB = (sketches_UB // _COARSE).astype(np.uint8)
    multipliers = _multipliers(BLOCKS)
    with np.errstate(over="ignore"):
        # A band takes every bands-th block, because adjacent blocks are similar and would make a poor key.
        sums = [coarse_UB[:, band::bands].astype(np.uint64) @ multipliers[band::bands] for band in range(bands)]
        keys = [(each ^ (each >> np.uint64(32))) * multipliers[band] for band, each in enumerate(sums)]
        for first, second in combinations(range(bands), 2):
            yield from _similar_with_key(keys[first] + keys[second], sketches_UB, coarse_UB, distance, difference)


def _similar_with_key(
    keys_U: Array, sketches_UB: Array, coarse_UB: Array, distance: int, difference: float
) -> Iterator[tuple[Array, Array, int]]:
    """Compare the sketches that share a key, in order of brightness: the sums of similar ones differ by little."""
    sums = sketches_UB.sum(axis=1, dtype=np.int64)
    max_difference = difference * (_LEVELS - 1) * BLOCKS
    order = np.lexsort((sums, keys_U))
    keys, sums = keys_U[order], sums[order]
    candidates = np.arange(len(order) - 1)
    for step in range(1, _MAX_COMPARED + 1):
        candidates = candidates[candidates + step < len(order)]
        same_key = keys[candidates] == keys[candidates + step]
        candidates = candidates[same_key & (sums[candidates + step] - sums[candidates] <= max_difference)]
        remaining = len(candidates) if step == _MAX_COMPARED else 0
        for start in range(0, len(candidates), _BATCH):
            batch = candidates[start : start + _BATCH]
            left, right = order[batch], order[batch + step]
            near = (coarse_UB[left] != coarse_UB[right]).sum(axis=1) <= distance
            left, right = left[near], right[near]
            near = np.abs(sketches_UB[left].astype(np.int16) - sketches_UB[right]).sum(axis=1) <= max_difference
            yield left[near], right[near], remaining


def _multipliers(count: int) -> Array:
    """Return odd multipliers that spread keys over 64 bits, so that different blocks share a key only by chance."""
    with np.errstate(over="ignore"):
        spread = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        odd: Array = (spread ^ (spread >> np.uint64(29))) | np.uint64(1)
    return odd
