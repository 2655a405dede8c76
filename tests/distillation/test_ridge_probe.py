"""The ridge probe: heads in closed form, its gradient, the weights of cells, and the limit on the length of vectors."""

from typing import Any

import numpy as np
import pytest
import small_rows
import torch
import torch.nn.functional as F
from small_methods import BARYCENTER_OPTIONS, MATCHER_OPTIONS
from small_workspace import candidate
from torch import Tensor

from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.distillation.alignment import build_alignment
from fair_distill.distillation.api import distill
from fair_distill.distillation.augment import Draw
from fair_distill.distillation.embedding import Embedding
from fair_distill.distillation.loop import Distilled
from fair_distill.distillation.matchers import build_matcher
from fair_distill.distillation.matchers.base import Step
from fair_distill.distillation.matchers.ridge_probe import ridge_heads
from fair_distill.distillation.networks import build
from fair_distill.distillation.sampling import GroupSampler, Normalisation, reader
from fair_distill.distillation.synthetic import Synthetic
from fair_distill.errors import ConfigError

D, IPC = 5, 2
COUNTS = [[6, 2, 3], [3, 4, 0]]
NETWORK = build("linear", {}, (D, 1, 1), 2, torch.Generator().manual_seed(0)).double()
MEAN = candidate("barycentric", barycenter="mean")


def features(counts: Any, seed: int = 0, shift: float = 0.0) -> GroupedDataset:
    """Return noise; one column tells the class apart, but has the other sign in the last group, which another column
    tells apart.
    """
    labels, groups = (np.repeat(index.ravel(), np.ravel(counts)) for index in np.indices(np.shape(counts)))
    x = np.random.default_rng(seed).normal(size=(len(labels), D)).astype(np.float32)
    last = groups == np.shape(counts)[1] - 1
    x[~last, 0] += shift * (2 * labels[~last] - 1)
    x[last, 0] -= shift * (2 * labels[last] - 1)
    x[last, 1] += shift * (2 * labels[last] - 1)
    return GroupedDataset.from_arrays(x[:, :, None, None], labels, groups, groups=[*"abc"[: np.shape(counts)[1]]])


def loss(
    data: GroupedDataset,
    images: Tensor,
    alignment: Any = MEAN,
    *,
    unit: float = 1.0,
    learned: Any = None,
    **options: Any,
) -> Tensor:
    """Return the loss on the whole dataset, in double precision."""
    cpu, plain = torch.device("cpu"), Normalisation((0.0,) * D, (1.0,) * D)
    matcher = build_matcher("ridge_probe", MATCHER_OPTIONS["ridge_probe"] | options)
    aligned = build_alignment(alignment, data.counts, data.groups)
    read = reader(data.images, plain, cpu)
    sampler = GroupSampler(
        data, per_class=10_000, allocation=aligned.allocation, read=lambda rows: unit * read(rows).double(), device=cpu
    )
    learned = learned or {name: torch.tensor(each.start).double() for name, each in matcher.learned.items()}
    step = Step(
        NETWORK,
        lambda: sampler.draw(torch.Generator().manual_seed(0)),
        Synthetic(unit * images, IPC, 1, Draw(None, None, None)),
        aligned,
        torch.Generator(),
        Embedding(),
        learned,
    )
    (pair,) = matcher.pairs(step)
    assert not pair.targets
    assert pair.extra is not None
    return pair.extra


def synthetic(classes: int = 2) -> Tensor:
    return torch.randn(classes * IPC, D, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# --- the heads


@pytest.mark.parametrize(("size", "width"), [(4, 9), (9, 9), (12, 5)])
def test_heads_are_those_of_both_forms_of_ridge_regression(size: int, width: int) -> None:
    rng = np.random.default_rng(0)
    x, labels, penalties = rng.normal(size=(size, width)), np.arange(size) % 3, [1e-3, 1.0]
    centred = np.eye(3)[labels] - 1 / 3
    mean_length = (x**2).sum(axis=1).mean()

    heads = ridge_heads(torch.from_numpy(x), torch.from_numpy(labels), penalties, classes=3).numpy()

    for head, penalty in zip(heads, penalties, strict=True):
        dual = x.T @ np.linalg.solve(x @ x.T + penalty * mean_length * np.eye(size), centred)
        primal = np.linalg.solve(x.T @ x + penalty * mean_length * np.eye(width), x.T @ centred)
        np.testing.assert_allclose(head, dual, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(head, primal, rtol=1e-8, atol=1e-10)


def test_the_head_of_orthogonal_examples_has_a_closed_form() -> None:
    (head,) = ridge_heads(2 * torch.eye(3), torch.arange(3), [0.5], classes=3)

    # XᵀX = 4 I and m = 4, so the head is 2 (I − 1/3) / (4 + 0.5 · 4).
    torch.testing.assert_close(head, (torch.eye(3) - 1 / 3) / 3)


# --- the loss


def test_the_loss_is_the_cross_entropy_of_weighted_examples() -> None:
    data, images = features(COUNTS), synthetic()
    x, y = data.images.reshape(len(data), D).astype(np.float64), data.labels
    cells = 1 / (2 * (data.counts > 0).sum(axis=1, keepdims=True) * np.maximum(data.counts, 1))
    weights = cells[y, data.group_indices]
    expected = 0.0
    for head in ridge_heads(images.flatten(1), torch.tensor([0, 0, 1, 1]), [0.01, 1.0], classes=2).numpy():
        logits = 10 * x @ head
        errors = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]
        expected += (weights * errors).sum() + 0.1 * 100 * (head**2).sum() * (weights @ x**2).mean()

    assert float(loss(data, images)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("ipc_exceeds_columns", [False, True])
def test_the_gradient_equals_finite_differences(ipc_exceeds_columns: bool) -> None:
    data = features([[3, 2]] * (3 if ipc_exceeds_columns else 2))
    images = synthetic(len(data.classes)).requires_grad_()
    scales = torch.tensor([1.0, 2.0], dtype=torch.float64).requires_grad_()

    def of(images: Tensor, scales: Tensor) -> Tensor:
        return loss(data, images, learned=dict(zip(("log_scale_0.01", "log_scale_1"), scales, strict=True)))

    assert torch.autograd.gradcheck(of, (images, scales))


def test_pooled_weights_cells_by_their_sizes_and_barycentric_does_not() -> None:
    images = synthetic()
    balanced = features([[3, 3], [3, 3]])
    skewed = balanced.take(np.array([0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 6, 7, 8, 9, 10, 11]))  # Group a twice.

    fair = float(loss(balanced, images))
    assert float(loss(skewed, images)) == pytest.approx(fair, rel=1e-6)
    assert float(loss(balanced, images, candidate("pooled"))) == pytest.approx(fair, rel=1e-6)
    assert abs(float(loss(skewed, images, candidate("pooled"))) - fair) > 1e-3


def test_the_order_of_groups_and_the_unit_of_features_do_not_matter() -> None:
    data, images = features([[6, 2, 3], [3, 4, 2]]), synthetic()
    turned = GroupedDataset.from_arrays(
        data.images, data.labels, 2 - data.group_indices, classes=data.classes, groups=data.groups
    )
    weights = {"a": 1.0, "b": 2.0, "c": 3.0}
    one = candidate("barycentric", barycenter="mean", group_weights=weights)
    other = candidate("barycentric", barycenter="mean", group_weights=weights | {"a": 3.0, "c": 1.0})

    assert float(loss(turned, images, other)) == pytest.approx(float(loss(data, images, one)), rel=1e-6)
    assert float(loss(data, images, one)) != pytest.approx(float(loss(data, images)), rel=1e-3)
    assert float(loss(data, images, unit=7.0)) == pytest.approx(float(loss(data, images)), rel=1e-6)


def test_the_sum_over_groups_is_the_barycenter_times_the_number_of_groups() -> None:
    data, images = features([[6, 2, 3], [3, 4, 2]]), synthetic()

    summed = loss(data, images, candidate("per_group"))

    assert float(summed) == pytest.approx(3 * float(loss(data, images)), rel=1e-6)


@pytest.mark.parametrize("barycenter", ["l1", {"name": "bures", **BARYCENTER_OPTIONS["bures"]}])
def test_barycenters_that_are_not_linear_are_refused(barycenter: Any) -> None:
    with pytest.raises(ConfigError, match=r"does not support .* Use 'pooled', or 'barycentric' with barycenter 'mean'"):
        distilled(barycenter=barycenter)


def test_equal_penalties_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"penalties is \[0\.1, 0\.1\]; give each penalty once"):
        build_matcher("ridge_probe", MATCHER_OPTIONS["ridge_probe"] | {"penalties": [0.1, 0.1]})


# --- the set

SKEWED = features([[200, 10], [200, 10]], shift=1.5)


def distilled(data: GroupedDataset = SKEWED, **settings: Any) -> Distilled:
    return distill(data, preset="ridge_probe", ipc=IPC, **{"steps": 60} | settings)


def recall_of_last_group(result: Distilled) -> float:
    test = features([[2000, 2000], [2000, 2000]], seed=1, shift=1.5)
    x = (torch.from_numpy(test.images) - torch.from_numpy(SKEWED.images.mean(axis=0))).flatten(1)
    images = torch.from_numpy(result.images - SKEWED.images.mean(axis=0)).flatten(1)
    (head,) = ridge_heads(images, torch.from_numpy(result.labels), [0.1], classes=2)
    correct = (x @ head).argmax(dim=1).numpy() == test.labels
    return float(correct[test.group_indices == 1].mean())


def test_a_barycentric_set_serves_the_minority_better_than_a_pooled_one() -> None:
    pooled, barycentric = (recall_of_last_group(distilled(alignment=name)) for name in ("pooled", "barycentric"))

    assert barycentric > pooled + 0.1


def test_vectors_are_at_most_as_long_as_standardised_ones() -> None:
    data = GroupedDataset.from_arrays(
        100 + 50 * SKEWED.images, SKEWED.labels, SKEWED.group_indices, classes=SKEWED.classes, groups=SKEWED.groups
    )
    images = distilled(data, optimiser={"learning_rate": 3.0}).images
    standardised = (images - data.images.mean(axis=0)) / data.images.std(axis=0)

    lengths = np.linalg.norm(standardised.reshape(len(images), -1), axis=1)
    assert lengths.max() == pytest.approx(D**0.5, rel=1e-4)


def test_short_vectors_stay_as_they_are() -> None:
    images = F.normalize(torch.randn(4, D, generator=torch.Generator().manual_seed(0))).view(4, D, 1, 1)
    images = images * torch.tensor([0.0, 1.0, 2.0, 100.0]).view(4, 1, 1, 1)

    constrained = build_matcher("ridge_probe", MATCHER_OPTIONS["ridge_probe"]).constrain(images)

    assert torch.equal(constrained[:3], images[:3])
    torch.testing.assert_close(constrained[3], images[3] * D**0.5 / 100)


def test_the_rows_of_a_table_stay_valid() -> None:
    rows = small_rows.dataset()
    assert rows.schema is not None

    images = distilled(rows, steps=5).images

    np.testing.assert_array_equal(rows.schema.encode(rows.schema.decode(images)), images)
