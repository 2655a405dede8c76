"""Stratified batches: correct cells, no repeated rows, and no missing group."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats
from small_workspace import grouped

from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.augment import Draw
from fair_distill.distillation.sampling import (
    Allocation,
    Batch,
    GroupSampler,
    Normalisation,
    allocate,
    draw_rows,
    normalisation,
    reader,
)
from fair_distill.errors import DataError

PLAIN = Normalisation((0.0,), (1.0,))
CPU = torch.device("cpu")


def numbered(counts: Array) -> GroupedDataset:
    """Return a dataset of one-pixel images whose values are their row numbers."""
    n = int(counts.sum())
    cells = np.repeat(np.arange(counts.size), counts.ravel())
    names = [[str(i) for i in range(size)] for size in counts.shape]
    return GroupedDataset.from_arrays(
        np.arange(n, dtype=np.uint8)[:, None, None, None],
        *np.divmod(cells, counts.shape[1]),
        classes=names[0],
        groups=names[1],
    )


def sampler(dataset: GroupedDataset, per_class: int, allocation: Allocation = "equal") -> GroupSampler:
    read = reader(dataset.images, PLAIN, CPU)
    return GroupSampler(dataset, per_class=per_class, allocation=allocation, read=read, device=CPU)


def rows_of(batch: Batch) -> Array:
    return (batch.images[:, 0, 0, 0] * 255).round().int().numpy()


COUNTS = np.array([[40, 5, 0], [3, 30, 1], [0, 0, 9]])


@pytest.mark.parametrize(
    ("counts", "per_class", "allocation", "sizes"),
    [
        ([[90, 10]], 60, "equal", [[30, 10]]),  # All images of the rare cell.
        ([[90, 10]], 60, "proportional", [[54, 6]]),
        ([[900, 100]], 60, "equal", [[30, 30]]),
        ([[990, 1]], 10, "proportional", [[10, 1]]),  # At least one, so every group is in every batch.
        ([[90, 10]], 1000, "equal", [[90, 10]]),
        ([[90, 10]], 100, "proportional", [[90, 10]]),
        ([[50, 0, 50], [0, 0, 7]], 6, "equal", [[3, 0, 3], [0, 0, 6]]),
        ([[50, 0, 50], [0, 0, 7]], 6, "proportional", [[3, 0, 3], [0, 0, 6]]),
        ([[50] * 10], 3, "equal", [[1] * 10]),
    ],
)
def test_images_are_allocated_to_cells(
    counts: list[list[int]], per_class: int, allocation: Allocation, sizes: list[list[int]]
) -> None:
    assert allocate(np.array(counts), per_class, allocation).tolist() == sizes


@pytest.mark.parametrize("allocation", ["equal", "proportional"])
@pytest.mark.parametrize("per_class", [1, 6, 20, 1000])
def test_a_batch_has_rows_of_every_cell_without_repetition(per_class: int, allocation: Allocation) -> None:
    dataset = numbered(COUNTS)
    sizes = allocate(COUNTS, per_class, allocation)
    generator = torch.Generator().manual_seed(0)
    drawn = sampler(dataset, per_class, allocation)

    for _ in range(20):
        batch = drawn.draw(generator)
        rows = rows_of(batch)
        counted = np.zeros_like(COUNTS)
        np.add.at(counted, (dataset.labels[rows], dataset.group_indices[rows]), 1)
        assert np.array_equal(counted, sizes)
        assert ((counted > 0) == (COUNTS > 0)).all()
        assert len(set(rows)) == len(rows)
        assert np.array_equal(batch.labels.numpy(), dataset.labels[rows])


def test_averaging_gives_the_mean_of_each_cell() -> None:
    dataset = numbered(COUNTS)
    batch = sampler(dataset, 6).draw(torch.Generator().manual_seed(0))
    rows = rows_of(batch)

    means = (batch.averaging @ torch.from_numpy(rows).float()[:, None]).reshape(3, 3).numpy()

    for label in range(3):
        for group in range(3):
            of_cell = rows[(dataset.labels[rows] == label) & (dataset.group_indices[rows] == group)]
            assert means[label, group] == pytest.approx(of_cell.mean() if len(of_cell) else 0)


def test_weights_are_those_of_the_dense_matrix() -> None:
    batch = sampler(numbered(COUNTS), 7).draw(torch.Generator().manual_seed(0))
    cells = torch.rand(COUNTS.shape, generator=torch.Generator().manual_seed(1))

    assert torch.equal(batch.weights(cells), cells.flatten() @ batch.averaging)


def test_all_rows_of_a_cell_are_equally_likely() -> None:
    drawn = sampler(numbered(np.array([[10, 30]])), 6)
    generator = torch.Generator().manual_seed(0)

    times = np.bincount(np.concatenate([rows_of(drawn.draw(generator)) for _ in range(2000)]), minlength=40)

    for cell, share in ((times[:10], 3 / 10), (times[10:], 3 / 30)):
        assert np.abs(cell - 2000 * share).max() < 5 * np.sqrt(2000 * share * (1 - share))


@pytest.mark.parametrize(("count", "size"), [(7, 7), (7, 4), (7, 3), (1, 1), (400, 150), (10**9, 40)])
def test_rows_are_drawn_once_from_their_cell(count: int, size: int) -> None:
    first, counts, sizes = torch.tensor([0, 5, 10**10]), torch.tensor([5, 0, count]), torch.tensor([2, 0, size])

    rows = draw_rows(first, counts, sizes, torch.Generator().manual_seed(0))

    assert len(rows) == 2 + size
    assert len(set(rows.tolist())) == len(rows)
    assert (rows[:2] < 5).all()
    assert ((rows[2:] >= 10**10) & (rows[2:] < 10**10 + count)).all()


@pytest.mark.parametrize("size", [2, 3])  # By rejection, and by sorting.
def test_all_sets_of_rows_are_equally_likely(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    cell = torch.tensor([0]), torch.tensor([5]), torch.tensor([size])

    drawn = Counter(tuple(sorted(draw_rows(*cell, generator).tolist())) for _ in range(4000))

    assert len(drawn) == 10  # 5 choose 2, and 5 choose 3.
    assert stats.chisquare(list(drawn.values())).pvalue > 1e-3


def test_the_generator_determines_the_batches() -> None:
    drawn = sampler(numbered(COUNTS), 6)
    once, again, other = (rows_of(drawn.draw(torch.Generator().manual_seed(seed))) for seed in (1, 1, 2))

    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


def test_batches_are_normalised() -> None:
    dataset = grouped([[2, 2]])
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    normalise = Normalisation(mean, std)
    read = reader(dataset.images, normalise, CPU)
    whole = GroupSampler(dataset, per_class=4, allocation="equal", read=read, device=CPU)

    images = whole.draw(torch.Generator().manual_seed(0)).images.sum(dim=0)

    wanted = (dataset.images / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    np.testing.assert_allclose(images.numpy(), wanted.sum(axis=0), rtol=1e-5, atol=1e-5)


def test_a_batch_is_augmented_class_by_class() -> None:
    batch = sampler(numbered(COUNTS), 6).draw(torch.Generator().manual_seed(0))
    brighter = Draw(None, torch.tensor([[0.0, 1, 1], [1.0, 1, 1], [0.0, 1, 1]]), None)

    difference = (batch.augmented(brighter).images - batch.images)[:, 0, 0, 0]

    torch.testing.assert_close(difference, (batch.labels == 1).float())


def test_a_class_without_examples_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="class 'class1' has no examples in train; add examples, or remove the class"):
        sampler(grouped([[3, 3], [0, 0]]), 4)


def test_normalisation_is_the_mean_and_deviation_of_each_channel() -> None:
    dataset = grouped([[20, 3], [5, 9]])
    pixels = dataset.images / 255

    measured = normalisation(dataset)

    np.testing.assert_allclose(measured.mean, pixels.mean(axis=(0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(measured.std, pixels.std(axis=(0, 2, 3)), atol=1e-6)


def test_a_channel_without_variation_is_not_divided_by_zero() -> None:
    flat = GroupedDataset.from_arrays(np.full((4, 1, 2, 2), 51, np.uint8), np.zeros(4, int), np.zeros(4, int))

    assert normalisation(flat) == Normalisation((0.2,), (1.0,))


def test_the_order_of_rows_does_not_change_the_normalisation() -> None:
    dataset = grouped([[20, 3], [5, 9]])
    order = np.random.default_rng(0).permutation(len(dataset))

    other = GroupedDataset.from_arrays(dataset.images[order], dataset.labels[order], dataset.group_indices[order])

    assert normalisation(other) == normalisation(dataset)


def test_a_large_dataset_is_measured_on_evenly_spaced_rows() -> None:
    dataset = numbered(np.array([[100, 100]]))

    assert normalisation(dataset, most=2).mean[0] == pytest.approx((0 + 199) / 2 / 255, abs=1e-6)


def test_undoing_a_normalisation_gives_the_pixels_back() -> None:
    normalise = Normalisation((0.1, 0.2, 0.3), (0.5, 0.25, 2.0))
    pixels = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))

    torch.testing.assert_close(normalise.undo(normalise.apply(pixels)), pixels)
