"""The tables: digests in closed form, invariances, and a naive referee for overlaps."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.validation import example_table
from fair_distill.validation.contract_tables import cell_table, class_table
from fair_distill.validation.example_table import ExampleTable, add_overlaps, tabulate_examples


def noise(n: int, *, size: tuple[int, int] = (16, 16), seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, *size), dtype=np.uint8)


def test_the_facts_of_an_image_are_what_its_bytes_say():
    images = noise(7)
    dataset = GroupedDataset.from_arrays(
        images, np.zeros(7, int), np.zeros(7, int), classes=["cat"], groups=["red"], pairs=np.arange(7) * 10
    )

    facts = tabulate_examples(dataset).rows

    assert facts["example"].tolist() == list(range(7))
    assert facts["pair"].tolist() == [0, 10, 20, 30, 40, 50, 60]
    assert set(facts["class"]) == {"cat"}
    assert set(facts["group"]) == {"red"}
    assert facts["pixels"].tolist() == [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    assert facts["minimum"].tolist() == images.min(axis=(1, 2, 3)).tolist()
    assert facts["maximum"].tolist() == images.max(axis=(1, 2, 3)).tolist()
    np.testing.assert_allclose(facts["mean"], images.mean(axis=(1, 2, 3)))
    assert facts["finite"].all()
    assert facts["id"].tolist() == facts["pair"].tolist()  # the source gave no ids


def test_the_batch_size_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    dataset = GroupedDataset.from_arrays(noise(11), np.arange(11) % 2, np.arange(11) % 3)
    whole = tabulate_examples(dataset).rows

    monkeypatch.setattr(example_table, "_BATCH_BYTES", 3 * dataset.images[0].nbytes)

    pd.testing.assert_frame_equal(tabulate_examples(dataset).rows, whole)


def test_the_order_of_the_rows_changes_nothing_but_where_they_stand():
    # many share pair and group, some the class too: then the pixels decide
    images, labels, groups, pairs = noise(12), np.arange(12) % 2, np.arange(12) % 3, np.arange(12) // 12
    images[[4, 9]] = images[0]
    order = np.random.default_rng(5).permutation(12)

    one, other = (
        tabulate_examples(GroupedDataset.from_arrays(images[o], labels[o], groups[o], pairs=pairs[o])).rows
        for o in (np.arange(12), order)
    )

    pd.testing.assert_frame_equal(one.drop(columns="example"), other.drop(columns="example"))
    assert one["example"].tolist() != other["example"].tolist()


def test_an_index_without_a_name_is_told_from_no_index():
    dataset = GroupedDataset(
        images=noise(4),
        labels=np.array([0, -1, 5, -2]),
        group_indices=np.zeros(4, int),
        pairs=np.arange(4),
        classes=("cat", "dog"),
        groups=("red",),
        offsets=np.array([0, 4, 4]),
    )

    named = tabulate_examples(dataset).rows["class"]

    assert named.isna().tolist() == [False, True, False, False]
    assert named.dropna().tolist() == ["cat", "#5", "#-2"]


def test_floating_point_pixels_are_finite_or_not():
    images = np.ones((3, 3, 16, 16), np.float32)
    images[1, 2, 3, 4], images[2, 0, 0, 0] = np.nan, np.inf
    dataset = GroupedDataset.from_arrays(images, np.zeros(3, int), np.zeros(3, int))

    assert tabulate_examples(dataset).rows["finite"].tolist() == [True, False, False]


def test_every_cell_has_a_count_and_an_empty_one_has_zero():
    train = GroupedDataset.from_arrays(
        noise(5),
        np.array([0, 0, 0, 1, 1]),
        np.array([0, 0, 1, 1, 1]),
        classes=["cat", "dog"],
        groups=["red", "cyan"],
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


def test_what_is_declared_has_a_cell_whether_or_not_it_occurs():
    train = GroupedDataset.from_arrays(noise(1), np.array([0]), np.array([0]), classes=["cat"], groups=["red"])

    cells = cell_table({"train": train}, classes=["dog", "cat"], groups=["red", "cyan"])

    assert list(zip(cells["class"], cells["group"], cells["count"], strict=True)) == [
        ("cat", "red", 1),
        ("cat", "cyan", 0),
        ("dog", "red", 0),
        ("dog", "cyan", 0),
    ]


def test_examples_of_unknown_group_are_counted_apart():
    train = GroupedDataset.from_arrays(
        noise(6),
        np.array([0, 0, 0, 0, 1, 1]),
        np.array([0, 0, 1, 2, 0, 1]),
        classes=["cat", "dog", "fox"],
        groups=["red", "cyan", "?"],
        attributes=[("red",), ("cyan",), (None,)],
    )

    classes = class_table(cell_table({"train": train}))

    assert classes["unknown"].tolist()[:2] == [0.25, 0]
    assert classes["unknown"].isna().tolist() == [False, False, True]  # the share is undefined without examples
    assert classes["imbalance"].tolist()[:2] == [2, 1]


keys = st.lists(st.sampled_from("abcdef"), max_size=6)


@settings(max_examples=30, deadline=None)
@given(splits=st.tuples(keys, keys, keys))
def test_overlaps_are_those_of_a_naive_search(splits: tuple[list[str], list[str], list[str]]):
    held = {
        split: ExampleTable(
            pd.DataFrame(
                {
                    "id": np.array(values, object),
                    "pair": np.array([ord(v) for v in values], np.int64),
                    "cluster": np.array([ord(v) for v in values], np.int64),
                    "pixels": np.array(values, object),
                }
            ),
            np.zeros((len(values), 64), np.uint8),
            np.zeros(len(values), bool),
        )
        for split, values in zip(("train", "tune", "gate"), splits, strict=True)
    }

    marked, not_compared = add_overlaps(held, distance=0, difference=0)

    assert not_compared == 0
    earlier: dict[str, list[str]] = {}
    for split, values in zip(held, splits, strict=True):
        expected = [next((name for name, of in earlier.items() if value in of), None) for value in values]
        for column in ("id_also_in", "pair_also_in", "cluster_also_in", "pixels_also_in"):
            found = [None if pd.isna(value) else value for value in marked[split][column]]
            assert found == expected
        assert marked[split]["near_also_in"].isna().all()
        earlier[split] = values


def test_a_near_duplicate_is_not_told_twice():
    x, y, z = (np.full(64, level, np.uint8) for level in (10, 20, 30))
    train = pd.DataFrame({"id": [1, 2, 3], "pair": [1, 2, 3], "pixels": ["a", "b", "c"]})
    gate = pd.DataFrame({"id": [1, 7, 8], "pair": [1, 7, 8], "pixels": ["d", "b", "e"]})
    seen = np.ones(3, bool)

    marked, _ = add_overlaps(
        {
            "train": ExampleTable(train, np.stack([x, y, z]), seen),
            "gate": ExampleTable(gate, np.stack([x, y, z]), seen),
        },
        distance=0,
        difference=0,
    )

    gate = marked["gate"]
    assert gate["pair_also_in"].notna().tolist() == [True, False, False]
    assert gate["pixels_also_in"].notna().tolist() == [False, True, False]
    assert gate["near_also_in"].notna().tolist() == [False, False, True]
