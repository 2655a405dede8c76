"""The tables: digests in closed form, invariances, and a naive referee for overlaps."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fair_distill.data.grouped import Array, GroupedDataset
from fair_distill.data.skew import colour
from fair_distill.validation import table
from fair_distill.validation.table import cell_table, class_table, example_table, near_hash, with_overlaps

RED, CYAN, DIM = [255, 0, 0], [0, 255, 255], [0, 0, 51]


def noise(n: int, *, size: tuple[int, int] = (16, 16), seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, *size), dtype=np.uint8)


def shapes(n: int, *, size: tuple[int, int] = (16, 16)) -> Array:
    """Grey images of five brightnesses; a factor of 1/5 keeps them whole numbers."""
    return (np.random.default_rng(1).integers(0, 6, (n, *size)) * 50).astype(np.uint8)


def test_the_facts_of_an_image_are_what_its_bytes_say():
    images = noise(7)
    dataset = GroupedDataset.from_arrays(
        images, np.zeros(7, int), np.zeros(7, int), classes=["cat"], group_names=["red"], pairs=np.arange(7) * 10
    )

    facts = example_table(dataset)

    assert facts["example"].tolist() == list(range(7))
    assert facts["pair"].tolist() == [0, 10, 20, 30, 40, 50, 60]
    assert set(facts["class"]) == {"cat"}
    assert set(facts["group"]) == {"red"}
    assert facts["pixels"].tolist() == [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    assert facts["minimum"].tolist() == images.min(axis=(1, 2, 3)).tolist()
    assert facts["maximum"].tolist() == images.max(axis=(1, 2, 3)).tolist()
    assert facts["finite"].all()


def test_the_batch_size_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    dataset = GroupedDataset.from_arrays(noise(11), np.arange(11) % 2, np.arange(11) % 3)
    whole = example_table(dataset)

    monkeypatch.setattr(table, "_BATCH_BYTES", 3 * dataset.images[0].nbytes)

    pd.testing.assert_frame_equal(example_table(dataset), whole)


def test_the_order_of_the_rows_changes_nothing_but_where_they_stand():
    # many share pair and group, some the class too: then the pixels decide
    images, labels, groups, pairs = noise(12), np.arange(12) % 2, np.arange(12) % 3, np.arange(12) // 12
    images[[4, 9]] = images[0]
    order = np.random.default_rng(5).permutation(12)

    one, other = (
        example_table(GroupedDataset.from_arrays(images[o], labels[o], groups[o], pairs=pairs[o]))
        for o in (np.arange(12), order)
    )

    pd.testing.assert_frame_equal(one.drop(columns="example"), other.drop(columns="example"))
    assert one["example"].tolist() != other["example"].tolist()


def test_an_index_without_a_name_is_told_from_no_index():
    dataset = GroupedDataset(
        images=noise(4),
        labels=np.array([0, -1, 5, -2]),
        groups=np.zeros(4, int),
        pairs=np.arange(4),
        classes=("cat", "dog"),
        group_names=("red",),
        offsets=np.array([0, 4, 4]),
    )

    named = example_table(dataset)["class"]

    assert named.isna().tolist() == [False, True, False, False]
    assert named.dropna().tolist() == ["cat", "#5", "#-2"]


def test_floating_point_pixels_are_finite_or_not():
    images = np.ones((3, 3, 16, 16), np.float32)
    images[1, 2, 3, 4], images[2, 0, 0, 0] = np.nan, np.inf
    dataset = GroupedDataset.from_arrays(images, np.zeros(3, int), np.zeros(3, int))

    assert example_table(dataset)["finite"].tolist() == [True, False, False]


def test_a_near_hash_is_the_level_of_each_block():
    ramp = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)

    assert near_hash(ramp).tolist() == ["0" * 16 + "1" * 16 + "2" * 16 + "3" * 16]


def test_blocks_of_unequal_size_are_compared_by_their_mean():
    image = np.full((1, 3, 12, 19), 100, np.uint8)
    image[:, :, :1, :2] = 200  # the first block: 12 pixels in 8 rows, 19 in 8 columns

    assert near_hash(image).tolist() == ["3" + "0" * 63]


@pytest.mark.parametrize("size", [(16, 16), (8, 8), (28, 28), (17, 31), (40, 9)])
def test_a_near_hash_does_not_see_the_colour(size: tuple[int, int]):
    grey = shapes(50, size=size)

    in_red, in_cyan, dimmed = (near_hash(colour(grey, np.array([paint] * 50))) for paint in (RED, CYAN, DIM))

    assert in_red.tolist() == in_cyan.tolist() == dimmed.tolist()
    assert len(set(in_red)) == 50


@pytest.mark.parametrize("size", [(1, 5), (4, 4), (7, 3), (8, 2)])
def test_an_image_smaller_than_the_blocks_repeats_its_pixels(size: tuple[int, int]):
    images = noise(20, size=size)
    rows, columns = (np.arange(8) * side // 8 for side in size)

    assert near_hash(images).tolist() == near_hash(images[:, :, rows][:, :, :, columns]).tolist()


def test_faint_noise_within_a_block_does_not_move_a_near_hash():
    image = np.kron(np.arange(64).reshape(1, 1, 8, 8) % 4 * 80 + 5, np.ones((4, 4), int))
    checker = np.indices((32, 32)).sum(axis=0) % 2 * 2 - 1

    assert near_hash(image.astype(np.uint8)) == near_hash((image + checker).astype(np.uint8))


def test_blank_images_are_no_near_duplicates():
    blank = np.stack([np.full((3, 16, 16), level, np.uint8) for level in (0, 0, 200)])

    assert near_hash(blank).tolist() == [None, None, None]


def test_every_cell_has_a_count_and_an_empty_one_has_zero():
    train = GroupedDataset.from_arrays(
        noise(5),
        np.array([0, 0, 0, 1, 1]),
        np.array([0, 0, 1, 1, 1]),
        classes=["cat", "dog"],
        group_names=["red", "cyan"],
    )

    cells = cell_table({"train": train})

    assert cells["split"].tolist() == ["train"] * 4
    assert list(zip(cells["class"], cells["group"], cells["count"], strict=True)) == [
        ("cat", "red", 2),
        ("cat", "cyan", 1),
        ("dog", "red", 0),
        ("dog", "cyan", 2),
    ]
    assert class_table(cells)["imbalance"].isna().tolist() == [False, True]
    assert class_table(cells)["imbalance"][0] == 2.0


keys = st.lists(st.sampled_from("abcdef"), max_size=6)


@settings(max_examples=30, deadline=None)
@given(splits=st.tuples(keys, keys, keys))
def test_overlaps_are_those_of_a_naive_search(splits: tuple[list[str], list[str], list[str]]):
    tables = {
        split: pd.DataFrame({"pair": [ord(v) for v in values], "pixels": values, "near": [None] * len(values)}).astype(
            {"pair": "int64", "pixels": "object", "near": "object"}
        )
        for split, values in zip(("train", "tune", "gate"), splits, strict=True)
    }

    marked = with_overlaps(tables)

    earlier: dict[str, list[str]] = {}
    for split, values in zip(tables, splits, strict=True):
        expected = [next((name for name, held in earlier.items() if value in held), None) for value in values]
        for column in ("pair_also_in", "pixels_also_in"):
            found = [None if pd.isna(value) else value for value in marked[split][column]]
            assert found == expected
        assert marked[split]["near_also_in"].isna().all()
        earlier[split] = values


def test_a_near_duplicate_is_not_told_twice():
    tables = {
        "train": pd.DataFrame({"pair": [1, 2, 3], "pixels": ["a", "b", "c"], "near": ["x", "y", "z"]}),
        "gate": pd.DataFrame({"pair": [1, 7, 8], "pixels": ["d", "b", "e"], "near": ["x", "y", "z"]}),
    }

    gate = with_overlaps(tables)["gate"]

    assert gate["pair_also_in"].notna().tolist() == [True, False, False]
    assert gate["pixels_also_in"].notna().tolist() == [False, True, False]
    assert gate["near_also_in"].notna().tolist() == [False, False, True]
