"""Herding and k-centre are compared with brute force and with their theoretical guarantees."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_workspace import grouped

from fair_distill.card import TrainingRecipe
from fair_distill.data.grouped_dataset import Array, Cell, GroupedDataset
from fair_distill.evaluation.coresets import CORESETS, herding, k_centre, within_cells
from fair_distill.evaluation.references import embedding, resampled, subset


def points(seed: int, n: int = 9, dimension: int = 2) -> Array:
    return np.random.default_rng(seed).normal(size=(n, dimension))


def mean_error(cloud: Array, chosen: Array | list[int]) -> float:
    """Return the distance from the mean of the chosen points to the mean of all."""
    return float(np.linalg.norm(cloud[chosen].mean(axis=0) - cloud.mean(axis=0)))


def radius(cloud: Array, centres: Array | tuple[int, ...]) -> float:
    """Return the largest distance of a point from its nearest centre."""
    return float(np.linalg.norm(cloud[:, None] - cloud[None, list(centres)], axis=2).min(axis=1).max())


@given(st.integers(0, 200), st.integers(1, 9))
def test_every_choice_of_herding_is_the_best_for_the_mean(seed: int, count: int) -> None:
    cloud = points(seed)

    chosen = herding(cloud, count, 0).tolist()

    for t in range(count):
        candidates = [i for i in range(9) if i not in chosen[:t]]
        assert mean_error(cloud, chosen[: t + 1]) <= min(mean_error(cloud, [*chosen[:t], i]) for i in candidates) + 1e-9


def test_herding_keeps_the_mean_better_than_chance() -> None:
    cloud = points(0, n=200, dimension=8)
    rng = np.random.default_rng(1)

    for count in (2, 5, 20, 100):
        by_chance = [mean_error(cloud, rng.permutation(200)[:count]) for _ in range(50)]
        assert mean_error(cloud, herding(cloud, count, 0)) < min(by_chance)


@given(st.integers(0, 200), st.integers(1, 4), st.integers(0, 8))
def test_k_centre_is_within_twice_the_best_radius_for_every_first_point(seed: int, count: int, first: int) -> None:
    cloud = points(seed)

    best = min(radius(cloud, centres) for centres in combinations(range(9), count))

    assert radius(cloud, k_centre(cloud, count, first)) <= 2 * best + 1e-9


@pytest.mark.parametrize("name", CORESETS)
def test_no_point_is_chosen_twice_even_if_all_are_equal(name: str) -> None:
    chosen = CORESETS[name](np.ones((7, 3)), 7, 4)

    assert sorted(chosen.tolist()) == list(range(7))


def test_a_coreset_has_equal_numbers_of_every_cell() -> None:
    data = grouped([[12, 3], [4, 9]])

    rows = within_cells(herding, data, 6, lambda images: images.reshape(len(images), -1) / 255.0, lambda size: 0)

    assert [sum(row in data.rows(Cell(label, group)) for row in rows) for label in (0, 1) for group in (0, 1)] == [
        3
    ] * 4
    assert len(set(rows.tolist())) == 12


RECIPE = TrainingRecipe(
    network={"name": "convnet", "options": {"width": 4, "depth": 2}},
    steps=3,
    batch_size=16,
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=0.0,
    augment=(),
    formation=1,
    mean=(0.3, 0.3, 0.3),
    std=(0.3, 0.3, 0.3),
)


@pytest.mark.parametrize("select", CORESETS)
def test_a_coreset_is_a_reproducible_selection_of_real_images(select: str) -> None:
    data = grouped([[20, 6], [5, 20]])

    def chosen(formation: int) -> Array:
        embed = embedding(data, RECIPE, torch.Generator().manual_seed(0), torch.device("cpu"))
        return subset(select, data, 2, formation, torch.Generator().manual_seed(1), embed=embed)[0]

    plain = chosen(1)
    real = {image.tobytes() for image in data.images}
    assert {image.tobytes() for image in (plain * 255).round().astype(np.uint8)} <= real
    assert np.array_equal(plain, chosen(1))
    assert chosen(2).shape == plain.shape


def constant_cells(counts_CG: list[list[int]], values_CG: list[list[int]]) -> GroupedDataset:
    """Return a dataset in which all pixels of a cell have one value, so that the mean of a cell is known."""
    dataset = grouped(counts_CG, size=8)
    shade = np.repeat(np.array(values_CG, np.uint8).ravel(), np.array(counts_CG).ravel())
    return GroupedDataset.from_arrays(
        np.broadcast_to(shade[:, None, None, None], dataset.images.shape), dataset.labels, dataset.group_indices
    )


def test_resampled_cells_are_equal_and_their_pooled_mean_is_the_mean_of_the_groups_means() -> None:
    data = constant_cells([[9, 2, 1], [3, 3, 6]], [[10, 40, 100], [0, 0, 90]])

    even = resampled(data, np.random.default_rng(0))

    assert even.counts.tolist() == [[4, 4, 4], [4, 4, 4]]
    means = [even.images[np.asarray(even.labels) == label].mean() for label in (0, 1)]
    np.testing.assert_allclose(means, [50, 30])  # without resampling, the pooled means are 22.5 and 45


def test_resampling_repeats_examples_evenly_and_only_within_their_cell() -> None:
    data = grouped([[10, 3]])

    even = resampled(data, np.random.default_rng(0))

    assert even.counts.tolist() == [[7, 6]]
    _, times = np.unique(even.pairs, return_counts=True)
    assert sorted(times.tolist()) == [1] * 7 + [2] * 3
    assert np.array_equal(even.images, data.images[even.pairs])
    assert resampled(grouped([[0, 4]]), np.random.default_rng(0)).counts.tolist() == [[0, 4]]
