"""Sketches in closed form and by invariance; near duplicates against a search that compares all with all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fair_distill.data.colour_skew import colour
from fair_distill.data.grouped_dataset import Array
from fair_distill.validation import near_duplicates
from fair_distill.validation.near_duplicates import find_near_duplicates, sketch_images

RED, CYAN, DIM = [255, 0, 0], [0, 255, 255], [0, 0, 51]


def noise(n: int, *, size: tuple[int, int]) -> Array:
    return np.random.default_rng(0).integers(0, 256, (n, 3, *size), dtype=np.uint8)


def shapes(n: int, *, size: tuple[int, int]) -> Array:
    """Grey images of five brightnesses; a factor of 1/5 keeps them whole numbers."""
    return (np.random.default_rng(1).integers(0, 6, (n, *size)) * 50).astype(np.uint8)


def sketched(images: Array) -> list[list[int]]:
    sketches, seen = sketch_images(images)
    assert seen.all()
    return sketches.tolist()


def test_a_sketch_is_the_level_of_each_block():
    ramp = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)

    assert sketched(ramp) == [[min(255, i * 256 // 63) for i in range(64)]]


def test_blocks_of_unequal_size_are_compared_by_their_mean():
    image = np.full((1, 3, 12, 19), 100, np.uint8)
    image[:, :, :1, :2] = 200  # the first block: 12 pixels in 8 rows, 19 in 8 columns

    assert sketched(image) == [[255] + [0] * 63]


@pytest.mark.parametrize("size", [(16, 16), (8, 8), (28, 28), (17, 31), (40, 9)])
def test_a_sketch_does_not_see_the_colour(size: tuple[int, int]):
    grey = shapes(50, size=size)

    in_red, in_cyan, dimmed = (sketched(colour(grey, np.array([paint] * 50))) for paint in (RED, CYAN, DIM))

    assert in_red == in_cyan == dimmed
    assert len(np.unique(in_red, axis=0)) == 50


@pytest.mark.parametrize("size", [(1, 5), (4, 4), (7, 3), (8, 2)])
def test_an_image_smaller_than_the_blocks_repeats_its_pixels(size: tuple[int, int]):
    images = noise(20, size=size)
    rows, columns = (np.arange(8) * side // 8 for side in size)

    assert sketched(images) == sketched(images[:, :, rows][:, :, :, columns])


def test_faint_noise_within_a_block_does_not_move_a_sketch():
    image = np.kron(np.arange(64).reshape(1, 1, 8, 8) % 4 * 80 + 5, np.ones((4, 4), int))
    checker = np.indices((32, 32)).sum(axis=0) % 2 * 2 - 1

    assert sketched(image.astype(np.uint8)) == sketched((image + checker).astype(np.uint8))


def test_blank_images_have_none_and_are_no_near_duplicates():
    blank = np.stack([np.full((3, 16, 16), level, np.uint8) for level in (0, 0, 200)])
    sketches, seen = sketch_images(blank)

    also_in, within, _ = find_near_duplicates(
        sketches, seen, np.array([0, 0, 1]), np.arange(3), distance=4, difference=1.0
    )

    assert not seen.any()
    assert (also_in.tolist(), within.tolist()) == ([-1] * 3, [False] * 3)


def naive(sketches: Array, seen: Array, splits: Array, pairs: Array, distance: int, difference: float):
    """All with all."""
    also_in, within = np.full(len(seen), -1), np.zeros(len(seen), bool)
    for i in np.flatnonzero(seen):
        blocks = (sketches // 64 != sketches[i] // 64).sum(axis=1)
        apart = np.abs(sketches.astype(int) - sketches[i]).sum(axis=1)
        close = seen & (blocks <= distance) & (apart <= difference * 255 * 64)
        earliest = splits[close].min()
        also_in[i] = earliest if earliest < splits[i] else -1
        within[i] = (close & (splits == splits[i]) & (pairs != pairs[i])).any()
    return also_in, within


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), distance=st.integers(0, 4), difference=st.sampled_from([0.0, 0.005, 0.01, 0.03, 1]))
def test_near_duplicates_are_those_of_a_naive_search(seed: int, distance: int, difference: float):
    rng = np.random.default_rng(seed)
    sketches = rng.integers(0, 256, (6, 64), dtype=np.uint8)[rng.integers(0, 6, 60)]
    for row in sketches:
        moved = rng.integers(0, 64, rng.integers(0, 6))
        row[moved] = np.clip(row[moved] + rng.integers(-90, 90, len(moved)), 0, 255)
    seen, splits, pairs = rng.random(60) < 0.9, rng.integers(0, 3, 60), rng.integers(0, 40, 60)

    also_in, within, not_compared = find_near_duplicates(
        sketches, seen, splits, pairs, distance=distance, difference=difference
    )

    wanted = naive(sketches, seen, splits, pairs, distance, difference)
    assert not_compared == 0
    np.testing.assert_array_equal(also_in, wanted[0])
    np.testing.assert_array_equal(within, wanted[1])


def test_a_heap_of_images_that_are_nearly_alike_is_not_compared_each_with_each(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(near_duplicates, "_MAX_COMPARED", 4)
    heap = np.tile(np.arange(64, dtype=np.uint8) * 4, (50, 1))
    heap[:, 0] = np.arange(50)  # all on one level, and a hair apart
    splits = np.repeat([0, 1], [49, 1])

    also_in, within, not_compared = find_near_duplicates(
        heap, np.ones(50, bool), splits, np.arange(50), distance=0, difference=1.0
    )

    assert not_compared == 46  # the last four have fewer than four after them
    assert also_in.tolist() == [-1] * 49 + [0]
    assert within.tolist() == [True] * 49 + [False]
