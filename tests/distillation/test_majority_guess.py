"""Inferred groups are compared with the majority guess, and refused if they are not better."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from test_unknown_groups import PROPAGATION, every, hidden, resolved

from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.distillation.binomial import exact_share
from fair_distill.distillation.majority_guess import MajorityComparison, compare_with_majority, majority_guess
from fair_distill.distillation.unknown_groups import _folds
from fair_distill.errors import DataError


@pytest.mark.parametrize(("count", "total"), [(0, 5), (5, 5), (3, 17), (120, 121)])
def test_the_interval_of_a_share_is_that_of_scipy(count: int, total: int) -> None:
    share = exact_share(count, total, confidence=0.9)

    theirs = binomtest(count, total).proportion_ci(0.9, method="exact")
    assert (share.low, share.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert exact_share(0, 0).value is None
    assert (exact_share(0, 0).low, exact_share(0, 0).high) == (0.0, 1.0)


def test_the_guess_is_the_most_frequent_visible_group_of_the_class() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    groups = np.array([0, 1, 1, 0, 1, 0])
    visible = np.array([True, True, True, True, False, False])

    guess = majority_guess(labels, groups, visible, classes=3, count=2)

    assert guess.tolist() == [
        1,
        1,
        1,
        0,
        0,
        0,
    ]  # class 2 has no visible example; both groups tie


def test_clusters_are_compared_as_one_example() -> None:
    truth, guessed = np.zeros(6, int), np.array([1, 1, 1, 1, 0, 0])
    predicted = np.array([0, 0, 0, 1, 1, 0])

    comparison = compare_with_majority(truth, predicted, guessed, np.array([7, 7, 7, 8, 9, 10]))

    assert comparison == MajorityComparison(known=6, correct=4, majority_correct=2, better=1, worse=1)
    assert not comparison.is_better


@pytest.mark.parametrize(("better", "worse"), [(4, 0), (5, 0), (8, 3), (9, 2), (40, 30), (0, 0)])
def test_better_means_that_an_exact_test_rejects_one_half(better: int, worse: int) -> None:
    comparison = MajorityComparison(90, 20 + better, 20 + worse, better, worse)

    n = better + worse
    assert comparison.is_better == (n > 0 and binomtest(better, n, alternative="greater").pvalue < 0.05)


def test_groups_that_cannot_be_inferred_are_refused_with_the_figures() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (400, 1, 8, 8)).astype(np.uint8)
    blind = GroupedDataset.from_arrays(images, np.zeros(400, int), rng.integers(0, 2, 400), classes=["only"])

    with pytest.raises(DataError) as raised:
        resolved(hidden(blind, every(400, 5)), **PROPAGATION)

    message = str(raised.value)
    assert "\n" not in message
    assert "not better than the majority guess" in message
    assert "of 80 known examples are inferred correctly" in message
    assert "with 95 % confidence" in message
    assert "set params.yaml: distill.unknown to 'drop' (leave the 320 examples of unknown group out)" in message


def test_a_cluster_is_hidden_as_a_whole() -> None:
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(30), 4)
    data = GroupedDataset.from_arrays(
        np.zeros((120, 1, 1, 1), np.uint8), rng.integers(0, 2, 120), people % 2, clusters=people
    )
    known = np.repeat(rng.random(30) < 0.7, 4)[np.argsort(np.argsort(data.clusters, kind="stable"))]

    masks = list(_folds(data, known, 3, torch.Generator().manual_seed(0)))

    assert np.array_equal(np.sum(masks, axis=0), known)
    for mask in masks:
        assert not set(data.clusters[mask]) & set(data.clusters[known & ~mask])


def test_the_images_of_a_person_do_not_reveal_the_group_of_the_person() -> None:
    """Each person has a look, and looks say nothing about the group: only another image of the person would."""
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(60), 5)
    looks = rng.integers(0, 256, (60, 1, 8, 8))
    images = np.clip(looks[people] + rng.integers(-8, 8, (300, 1, 8, 8)), 0, 255).astype(np.uint8)
    groups = rng.integers(0, 2, 60)[people]
    truth = GroupedDataset.from_arrays(images, np.zeros(300, int), groups, clusters=people)
    few = GroupedDataset.from_arrays(
        truth.images,
        truth.labels,
        np.where(truth.clusters % 2 == 0, truth.group_indices, 2),
        groups=["0", "1", "?"],
        attributes=[("0",), ("1",), (None,)],
        clusters=truth.clusters,
    )

    with pytest.raises(DataError, match="not better than the majority guess"):
        resolved(few, **PROPAGATION)
    lost = GroupedDataset.from_arrays(
        few.images, few.labels, few.group_indices, groups=few.groups, attributes=few.attributes
    )
    assert resolved(lost, **PROPAGATION).accuracy > 0.9  # without clusters the leak is invisible


def test_known_examples_of_one_cluster_are_refused() -> None:
    data = GroupedDataset.from_arrays(
        np.zeros((20, 1, 8, 8), np.uint8),
        np.zeros(20, int),
        np.arange(20) % 3,
        groups=["a", "b", "?"],
        attributes=[("a",), ("b",), (None,)],
        clusters=np.zeros(20, int),
    )

    with pytest.raises(DataError, match="one cluster, so the inference of groups cannot be measured"):
        resolved(data, **PROPAGATION)
