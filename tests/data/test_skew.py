"""Colours, skew and pairs, counted."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fair_distill.data.colour_skew import PAINTS, behind, colour, paint_groups, paired_dataset, skewed_dataset
from fair_distill.data.grouped_dataset import Array, Cell, GroupedDataset
from fair_distill.data.sources import SourceData
from fair_distill.data.splits import split_rows
from fair_distill.data.units import name_units
from fair_distill.errors import DataError

RED_CYAN = {"red": [255, 0, 0], "cyan": [0, 255, 255]}
THREE = {"red": [255, 0, 0], "green": [0, 255, 0], "blue": [0, 0, 255]}


def source(*sizes: int) -> SourceData:
    """Grey images of one pixel that carry their number, shuffled; class c has sizes[c] of them."""
    labels = np.random.default_rng(7).permutation(np.repeat(np.arange(len(sizes)), sizes))
    images = (np.arange(len(labels)) % 256).astype(np.uint8)[:, None, None, None]
    return SourceData(images, labels, tuple(f"class{i}" for i in range(len(sizes))))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def everything(data: SourceData) -> Array:
    return np.arange(len(data.labels))


def test_a_colour_scales_each_channel_and_rounds_to_nearest() -> None:
    grey = np.arange(256, dtype=np.uint8)[:, None, None]

    painted = colour(grey, np.tile([255, 128, 0], (256, 1)))[:, :, 0, 0]

    assert painted.dtype == np.uint8
    assert np.array_equal(painted[:, 0], np.arange(256))  # 255 is one, exactly
    assert np.array_equal(painted[:, 1], np.round(np.arange(256) * 128 / 255))  # no overflow on the way
    assert not painted[:, 2].any()


@given(st.integers(0, 255), st.integers(0, 255))
def test_white_takes_the_colour_and_black_stays_black(value: int, channel: int) -> None:
    colours = np.array([[channel, channel, channel]])

    assert (colour(np.full((1, 1, 1), 255, np.uint8), colours) == channel).all()
    assert (colour(np.zeros((1, 1, 1), np.uint8), colours) == 0).all()
    # Colour and grey are interchangeable: it is one product.
    swapped = colour(np.full((1, 1, 1), channel, np.uint8), np.full((1, 3), value))
    assert np.array_equal(colour(np.full((1, 1, 1), value, np.uint8), colours), swapped)


def test_each_image_is_painted_in_its_own_colour() -> None:
    painted = colour(np.full((2, 2, 3), 100, np.uint8), np.array([[255, 0, 0], [0, 255, 255]]))

    assert painted.shape == (2, 3, 2, 3)
    assert painted[:, :, 0, 0].tolist() == [[100, 0, 0], [0, 100, 100]]


@pytest.mark.parametrize(
    ("sizes", "colours", "own_share", "counts"),
    [
        ((100, 100), RED_CYAN, 0.9, [[90, 10], [10, 90]]),
        ((99, 101, 10), RED_CYAN, 0.9, [[89, 10], [11, 90], [9, 1]]),  # int(n · share); class c owns colour c mod G
        ((100, 100, 100, 100), THREE, 0.9, [[90, 5, 5], [5, 90, 5], [5, 5, 90], [90, 5, 5]]),
        ((103,), THREE, 0.9, [[92, 6, 5]]),  # the odd one goes to the first of the others
        ((10, 10), RED_CYAN, 0.5, [[5, 5], [5, 5]]),
        ((3, 3), RED_CYAN, 0.1, [[0, 3], [3, 0]]),
    ],
)
def test_the_skew_is_the_recipes_to_the_example(
    sizes: tuple[int, ...], colours: dict[str, list[int]], own_share: float, counts: list[list[int]]
) -> None:
    data = source(*sizes)

    dataset = skewed_dataset(data, everything(data), colours, own_share, rng(), paint="foreground")

    assert dataset.counts.tolist() == counts
    assert dataset.groups == tuple(colours)


@pytest.mark.parametrize(
    ("paint", "black", "middle", "white"),
    [
        ("foreground", [0, 0, 0], [100, 50, 0], [255, 128, 0]),
        ("stroke", [0, 0, 0], [0, 0, 0], [255, 128, 0]),
        ("background", [255, 128, 0], [255, 128, 0], [0, 0, 0]),
        ("behind", [255, 128, 0], [255, 178, 100], [255, 255, 255]),  # 100 + 155 · colour / 255
        ("around", [255, 128, 0], [100, 100, 100], [255, 255, 255]),
    ],
)
def test_each_way_to_paint_does_to_black_grey_and_white_what_its_recipe_says(
    paint: str, black: list[int], middle: list[int], white: list[int]
) -> None:
    image = np.array([0, 100, 255], np.uint8).reshape(1, 1, 1, 3)

    data = PAINTS[paint](image, np.array([255, 128, 0]))[0, :, 0]

    assert data.T.tolist() == [black, middle, white]
    # A colour image whose channels are equal is a grey image.
    assert np.array_equal(PAINTS[paint](image.repeat(3, axis=1), np.array([255, 128, 0]))[0, :, 0], data)


@given(st.integers(0, 255), st.integers(0, 255))
def test_a_colour_behind_never_overflows_and_never_darkens(value: int, tint: int) -> None:
    data = int(behind(np.full((1, 3, 1, 1), value, np.uint8), np.array([tint] * 3))[0, 0, 0, 0])

    assert max(value, tint) <= data <= 255


def test_classes_may_own_groups_as_declared() -> None:
    data = source(10, 10, 10)

    dataset = skewed_dataset(data, everything(data), RED_CYAN, 0.8, rng(), paint="foreground", owners=(0, 0, 1))

    assert dataset.counts.tolist() == [[8, 2], [8, 2], [2, 8]]


def test_a_group_may_be_grey_or_original_as_in_cifar10_s() -> None:
    images = np.array([[255, 0, 0], [10, 20, 30]], np.uint8).repeat(2, axis=0)[:, :, None, None]

    data = paint_groups(images, np.array([0, 1, 0, 1]), {"grey": "grey", "colour": "original"}, "foreground")

    assert data[:, :, 0, 0].tolist() == [[76, 76, 76], [255, 0, 0], [18, 18, 18], [10, 20, 30]]


def painted_right(dataset: GroupedDataset, data: SourceData, colours: dict[str, list[int]]) -> None:
    """Assert that each row is the image of its pair number, in the colour of its group, with its class."""
    palette = np.array(list(colours.values()))
    assert np.array_equal(dataset.images, colour(data.images[dataset.pairs, 0], palette[dataset.group_indices]))
    assert np.array_equal(dataset.labels, data.labels[dataset.pairs])


def test_a_skewed_row_is_its_source_image_in_its_groups_colour() -> None:
    data = source(60, 60)
    rows = everything(data)[10:90]

    dataset = skewed_dataset(data, rows, THREE, 0.9, rng(), paint="foreground")

    painted_right(dataset, data, THREE)
    assert sorted(dataset.pairs) == rows.tolist()


def test_who_stands_in_which_colour_is_drawn() -> None:
    data = source(60, 60)
    once, again, other = (
        skewed_dataset(data, everything(data), THREE, 0.9, rng(seed), paint="foreground") for seed in (1, 1, 2)
    )

    assert np.array_equal(once.pairs, again.pairs)
    assert not np.array_equal(once.pairs, other.pairs)
    assert np.array_equal(once.counts, other.counts)


def test_a_paired_split_holds_every_image_in_every_colour() -> None:
    data = source(30, 20)
    rows = everything(data)[::2]

    dataset = paired_dataset(data, rows, THREE, paint="foreground")

    painted_right(dataset, data, THREE)
    assert len(dataset) == 3 * len(rows)
    for group in range(3):
        assert sorted(dataset.pairs[dataset.group_indices == group]) == rows.tolist()
    assert np.array_equal(dataset.counts, np.bincount(data.labels[rows])[:, None].repeat(3, axis=1))
    # The same order in every group, so a gap is a difference of rows.
    for label in range(2):
        first, *others = (dataset.pairs[dataset.rows(Cell(label, group))].tolist() for group in range(3))
        assert all(other == first for other in others)


def test_splits_share_no_image() -> None:
    data = source(60, 61)
    rows = split_rows(data, {"train": 0.5, "tune": 0.1, "gate": 0.4}, name_units(data), key=0)

    pairs = [
        set(skewed_dataset(data, rows["train"], RED_CYAN, 0.9, rng(), paint="foreground").pairs),
        set(paired_dataset(data, rows["tune"], RED_CYAN, paint="foreground").pairs),
        set(paired_dataset(data, rows["gate"], RED_CYAN, paint="foreground").pairs),
    ]

    assert sum(map(len, pairs)) == len(set.union(*pairs)) == 121


def test_a_split_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match="a dataset needs at least one example; got none"):
        paired_dataset(source(3), np.arange(0), RED_CYAN, paint="foreground")


def test_real_mnist_is_skewed_as_the_recipe_says(real_data: Path) -> None:
    content = gzip.decompress((real_data / "mnist/train-labels-idx1-ubyte.gz").read_bytes())
    labels = np.frombuffer(content, np.uint8, offset=8)
    data = SourceData(np.zeros((len(labels), 1, 1, 1), np.uint8), labels.astype(int), tuple("0123456789"))
    colours = {f"colour{i}": [i, i, i] for i in range(10)}

    dataset = skewed_dataset(data, everything(data), colours, 0.9, rng(), paint="foreground")

    sizes = np.bincount(labels)
    assert np.diagonal(dataset.counts).tolist() == (sizes * 0.9).astype(int).tolist()
    assert np.array_equal(dataset.counts.sum(axis=1), sizes)
    others = dataset.counts[~np.eye(10, dtype=bool)].reshape(10, 9)
    assert (np.ptp(others, axis=1) <= 1).all()
