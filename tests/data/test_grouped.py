"""Rows sorted by cell, and nothing that does not fit together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_workspace import grouped

from fair_distill.data.grouped_dataset import Array, Cell, GroupedDataset
from fair_distill.errors import DataError, ShapeError

CELLS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=40)


def numbered(cells: list[tuple[int, int]]) -> tuple[Array, Array, Array]:
    """Images that carry their number in every pixel, with labels and groups."""
    labels, groups = np.array(cells).T
    images = np.arange(len(cells), dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), dtype=np.uint8)
    return images, labels, groups


def dataset(cells: list[tuple[int, int]], order: Array | None = None) -> GroupedDataset:
    images, labels, groups = numbered(cells)
    rows = np.arange(len(cells)) if order is None else order
    return GroupedDataset.from_arrays(
        images[rows], labels[rows], groups[rows], classes="abc", groups="wxyz", pairs=rows
    )


@given(CELLS)
def test_rows_stand_by_cell_in_the_order_they_came(cells: list[tuple[int, int]]) -> None:
    made = dataset(cells)

    assert len(made) == len(cells)
    for label in range(3):
        for group in range(4):
            rows = made.rows(Cell(label, group))
            came = [i for i, cell in enumerate(cells) if cell == (label, group)]
            assert made.images[rows, 0, 0, 0].tolist() == came
            assert made.pairs[rows].tolist() == came
            assert set(made.labels[rows]) <= {label}
            assert set(made.group_indices[rows]) <= {group}
            assert made.counts[label, group] == len(came)


@given(CELLS, st.data())
def test_the_order_of_rows_changes_no_cell(cells: list[tuple[int, int]], data: st.DataObject) -> None:
    order = np.array(data.draw(st.permutations(range(len(cells)))))

    straight, shuffled = dataset(cells), dataset(cells, order)

    assert np.array_equal(straight.offsets, shuffled.offsets)
    for i in range(12):
        rows = straight.rows(Cell(i // 4, i % 4))
        assert sorted(straight.pairs[rows]) == sorted(shuffled.pairs[rows])


def test_offsets_are_the_running_count_of_cells() -> None:
    made = dataset([(2, 0), (0, 1), (0, 1), (2, 3)])

    assert made.offsets.tolist() == [0, 0, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 4]
    assert made.counts.tolist() == [[0, 2, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]]
    assert made.shape == (1, 2, 2)


def test_names_and_pairs_that_are_not_given_are_numbers() -> None:
    images, labels, groups = numbered([(1, 0), (0, 2)])

    made = GroupedDataset.from_arrays(images, labels, groups)

    assert (made.classes, made.groups) == (("0", "1"), ("0", "1", "2"))
    assert made.pairs.tolist() == [1, 0]  # of the row each was, so nothing is paired


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64])
def test_labels_of_any_whole_type_are_the_same(kind: type) -> None:
    images, labels, groups = numbered([(1, 0), (0, 2), (1, 2)])

    made = GroupedDataset.from_arrays(images, labels.astype(kind), groups.astype(kind))

    assert made.labels.tolist() == [0, 1, 1]
    assert made.labels.dtype == made.group_indices.dtype == np.int64


def test_cells_are_counted_right_where_a_small_type_would_overflow() -> None:
    images, labels, groups = numbered([(100, 100), (0, 1)])

    made = GroupedDataset.from_arrays(images, labels.astype(np.int8), groups.astype(np.int8))

    assert made.counts[100, 100] == made.counts[0, 1] == 1


IMAGES = np.zeros((3, 1, 2, 2), dtype=np.uint8)


@pytest.mark.parametrize("attributes", [(("f",),), (("f",), ("f",)), (("f",), ("m", "dark")), (("f",), ("m",), ("x",))])
def test_attributes_that_do_not_tell_the_groups_apart_are_refused(attributes: tuple[tuple[str, ...], ...]) -> None:
    with pytest.raises(ShapeError, match="the same number of values for each of the 2 groups, and differ"):
        GroupedDataset.from_arrays(IMAGES, np.zeros(3, int), np.array([0, 1, 0]), attributes=attributes)


@pytest.mark.parametrize(
    ("images", "labels", "group_indices", "error", "message"),
    [
        (IMAGES[:0], [], [], DataError, "a dataset needs at least one example; got none"),
        (IMAGES, [0, 1], [0, 0, 0], ShapeError, r"got the shapes \(2,\) and \(3,\) for 3 images"),
        (IMAGES, [[0, 1, 0]], [0, 0, 0], ShapeError, r"got the shapes \(1, 3\) and \(3,\) for 3 images"),
        (IMAGES, [0, 1, 3], [0, 0, 0], DataError, "label 3 of example 2 is outside 0 to 2.*data.classes"),
        (IMAGES, [0, -1, 0], [0, 0, 0], DataError, "label -1 of example 1 is outside 0 to 2"),
        (IMAGES, [0, 1, 0], [0, 0, 2], DataError, "group 2 of example 2 is outside 0 to 1.*data.groups"),
        (IMAGES, [0.0, 1.0, 0.0], [0, 0, 0], DataError, "each label must be an index into data.classes; got float64"),
        (IMAGES, [0, 1, 0], [True, False, True], DataError, "each group must be an index into data.groups; got bool"),
        (IMAGES, ["a", "z", "a"], [0, 0, 0], DataError, "the label 'z' is not one of `classes`, a, b, c"),
        (IMAGES.astype(np.int64), [0, 1, 0], [0, 0, 0], ShapeError, "uint8 or float32; got .* int64"),
        (IMAGES[:, 0], [0, 1, 0], [0, 0, 0], ShapeError, r"uint8 or float32; got \(3, 2, 2\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    images: Array, labels: list[object], group_indices: list[object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        GroupedDataset.from_arrays(images, np.array(labels), np.array(group_indices), classes="abc", groups="xy")


@pytest.mark.parametrize("labels", [np.array([0, -1, 0]), np.array([0.0, 1.0, 2.0])])
def test_labels_without_names_are_whole_numbers_from_0(labels: Array) -> None:
    with pytest.raises(DataError, match="indices must be integers from 0"):
        GroupedDataset.from_arrays(IMAGES, labels, np.zeros(3, dtype=int))


@pytest.mark.parametrize("count", [2, 4])
def test_a_pair_number_for_every_image_is_needed(count: int) -> None:
    with pytest.raises(ShapeError, match=f"pairs.*{count}.*3 images"):
        GroupedDataset.from_arrays(IMAGES, np.zeros(3, int), np.zeros(3, int), pairs=np.arange(count))


def test_offsets_that_describe_other_rows_are_refused() -> None:
    made = grouped([[1, 2], [3, 4]])

    for offsets in (made.offsets[:-1], made.offsets + 1):
        with pytest.raises(ShapeError, match="offsets do not match 10 rows in 2 classes × 2 groups"):
            GroupedDataset(made.images, made.labels, made.group_indices, made.pairs, made.classes, made.groups, offsets)


def test_the_examples_of_some_rows_keep_all_that_is_known_of_them() -> None:
    made = grouped([[3, 0], [2, 4]])
    rows = np.array([8, 0, 0, 4])

    selected = made.take(rows)

    assert selected.counts.tolist() == [[2, 0], [1, 1]]
    assert selected.pairs.tolist() == [0, 0, 4, 8]
    assert np.array_equal(selected.images, made.images[selected.pairs])
    assert (selected.classes, selected.groups, selected.attributes) == (made.classes, made.groups, made.attributes)
