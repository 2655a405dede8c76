"""Theorem 4.1 and the decomposition of the shift, as algebra and by example; sets with a known residual."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_workspace import candidate, grouped
from torch import Tensor, nn

from fair_distill.audit.residuals import TargetGeometry, measure_geometry, measure_residuals
from fair_distill.card import Residuals
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.distillation.alignment import build_alignment
from fair_distill.distillation.barycenter import l1, mean, minimax
from fair_distill.distillation.networks import Network, build
from fair_distill.distillation.sampling import Normalisation
from fair_distill.distillation.synthetic import encode

BURES = {"name": "bures", "dimension": 2, "shrinkage": 0.1, "covariance": "diagonal"}
PLAIN = Normalisation((0.0,) * 3, (1.0,) * 3)


def points(groups: int) -> Any:
    """Return group means in three dimensions, as whole numbers so that ties occur."""
    return st.lists(st.tuples(*[st.integers(-4, 4)] * 3), min_size=groups, max_size=groups)


def shares(groups: int) -> Any:
    counted = st.lists(st.integers(1, 50), min_size=groups, max_size=groups)
    return counted.map(lambda counts: torch.tensor(counts, dtype=torch.float64) / sum(counts))


def measured(barycenter: Any, means: Any, of: Tensor, weights: Tensor) -> TargetGeometry:
    cells = torch.tensor(means, dtype=torch.float64)
    return measure_geometry(cells, of, weights, barycenter(cells[None], weights[None])[0])


@settings(max_examples=50)
@given(st.data(), st.integers(2, 5), st.sampled_from([mean, l1, minimax]))
def test_if_a_condition_holds_the_barycenter_is_at_least_as_good(data: Any, groups: int, barycenter: Any) -> None:
    found = measured(barycenter, data.draw(points(groups)), data.draw(shares(groups)), data.draw(shares(groups)))

    assert found.weak_condition or not found.condition
    if found.weak_condition:
        assert found.barycenter_residual <= found.vanilla_residual * (1 + 1e-5) + 1e-9


@settings(max_examples=50)
@given(st.data())
def test_with_two_groups_of_equal_weight_and_with_minimax_the_conditions_always_hold(data: Any) -> None:
    two = measured(mean, data.draw(points(2)), data.draw(shares(2)), torch.full((2,), 0.5, dtype=torch.float64))
    ball = measured(minimax, data.draw(points(4)), data.draw(shares(4)), data.draw(shares(4)))

    assert two.condition
    assert two.weak_condition
    assert ball.condition
    assert ball.weak_condition


def test_the_conditions_can_fail_and_so_can_the_conclusion() -> None:
    halves, unequal = torch.tensor([0.5, 0.5]).double(), torch.tensor([0.3, 0.7]).double()

    found = measured(mean, [[0.0], [1.0]], halves, unequal)  # Only the vanilla target is the midpoint.

    assert not found.condition
    assert not found.weak_condition
    assert found.barycenter_residual == pytest.approx(0.7)
    assert found.vanilla_residual == pytest.approx(0.5)


def test_the_weak_condition_can_hold_if_the_strong_one_fails() -> None:
    means = [[0.1, 3.0], [2.0, -1.5], [-2.1, -1.5]]  # Centred; the first is the farthest.
    second = (1 - 0.1 / 3 + 1.4) / 4.1
    of = torch.tensor([1 / 3, second, 2 / 3 - second]).double()  # so that s = (1, 0)

    found = measured(mean, means, of, torch.full((3,), 1 / 3).double())

    assert found.shift == pytest.approx(1, rel=1e-6)
    assert (found.condition, found.weak_condition) == (False, True)  # 0 < .1 < ½
    assert found.barycenter_residual < found.vanilla_residual


@settings(max_examples=50)
@given(st.data(), st.integers(2, 6))
def test_the_shift_is_imbalance_times_separation(data: Any, groups: int) -> None:
    found = measured(mean, data.draw(points(groups)), data.draw(shares(groups)), data.draw(shares(groups)))

    if found.separation is None:
        assert (found.imbalance, found.shift) == (0, pytest.approx(0, abs=1e-8))
        return
    assert found.shift == pytest.approx(found.imbalance * found.separation, abs=1e-9)
    assert found.separation <= found.spread + 1e-9
    assert found.offset == 0
    other = measured(l1, data.draw(points(groups)), data.draw(shares(groups)), data.draw(shares(groups)))
    if other.separation is not None:
        assert abs(other.shift - other.imbalance * other.separation) <= other.offset + 1e-9


def test_two_groups_are_exact() -> None:
    found = measured(
        mean, [[0.0, 0.0], [3.0, 4.0]], torch.tensor([0.9, 0.1]).double(), torch.tensor([0.5, 0.5]).double()
    )

    assert found.imbalance == pytest.approx(0.4)
    assert found.separation == pytest.approx(5.0)
    assert found.spread == pytest.approx(5.0)
    assert found.shift == pytest.approx(2.0)
    assert found.barycenter_residual == pytest.approx(2.5)
    assert found.vanilla_residual == pytest.approx(4.5)


class Pixels(nn.Module):
    """An embedding that equals the image, so that residuals are known."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def embed(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        return x.flatten(1)


def looked_at(dataset: GroupedDataset, images: Any, labels: Any, aligned: Any = None, **more: Any) -> Residuals:
    alignment = build_alignment(aligned or candidate("barycentric", barycenter="mean"), dataset.counts, dataset.groups)
    settings: dict[str, Any] = {
        "formation": 1,
        "normalise": PLAIN,
        "networks": [Pixels()],
        "rows_per_cell": 10**6,
    } | more
    return measure_residuals(
        dataset,
        np.asarray(images, dtype=np.float32),
        np.asarray(labels),
        alignment=alignment,
        device=torch.device("cpu"),
        **settings,
    )


def flat(counts_CG: Any, values_G: Any) -> GroupedDataset:
    """Return images of 12 equal pixels, whose value depends on the group."""
    template = grouped(counts_CG, size=2)
    values = np.asarray(values_G, dtype=np.float32)[template.group_indices]
    images = np.broadcast_to(values[:, None, None, None], (len(values), 3, 2, 2)).copy()
    return GroupedDataset.from_arrays(
        images, template.labels, template.group_indices, classes=template.classes, groups=template.groups
    )


def test_the_residuals_of_a_known_set() -> None:
    data = flat([[9, 1], [5, 5]], [0.0, 1.0])  # The distance between the groups is √12.
    images = np.full((2, 3, 2, 2), 0.25)

    found = looked_at(data, images, [0, 1])

    root = 12**0.5
    assert found.residual == (pytest.approx(0.75 * root, rel=1e-5),) * 2
    assert found.worst == found.residual[0]
    assert found.vanilla_residual == (pytest.approx(0.9 * root, rel=1e-5), pytest.approx(0.5 * root, rel=1e-5))
    assert found.barycenter_residual == (pytest.approx(0.5 * root, rel=1e-5),) * 2
    assert found.shift == (pytest.approx(0.4 * root, rel=1e-5), 0)
    assert found.imbalance == (0.4, 0)
    assert found.separation == (pytest.approx(root, rel=1e-5), None)
    assert found.condition == found.weak_condition == (1, 1)
    assert found.undefined == {}


@pytest.mark.parametrize("name", ["pooled", "per_group", "clouds", "minimax"])
def test_every_alignment_has_a_target_to_measure(name: str) -> None:
    aligned = {
        "pooled": candidate("pooled"),
        "per_group": candidate("per_group"),
        "clouds": candidate("barycentric", barycenter=BURES),
        "minimax": candidate("barycentric", barycenter="minimax"),
    }[name]
    data = flat([[6, 2, 2]], [0.0, 0.3, 1.0])

    found = looked_at(data, np.full((1, 3, 2, 2), 0.5), [0], aligned)

    farthest = 1 - (0.5 if name == "minimax" else 1.3 / 3)
    assert found.barycenter_residual[0] == pytest.approx(farthest * 12**0.5, rel=1e-5)
    assert (found.offset[0] == 0) == (name != "minimax")


def test_absent_cells_are_undefined_and_not_zero() -> None:
    data = flat([[4, 2, 0], [3, 0, 0], [2, 2, 2]], [0.0, 0.5, 1.0])
    images = np.zeros((2, 3, 2, 2))

    found = looked_at(data, images, [0, 1])

    root = 12**0.5
    assert found.residual == (pytest.approx(0.5 * root, rel=1e-5), 0, None)  # Of the present groups.
    assert found.worst is None
    for field in fields(TargetGeometry):
        assert getattr(found, field.name)[1] is None
        assert getattr(found, field.name)[0] is not None
    assert found.undefined["class0"] == "train has no examples of group2, which no number here looks at"
    assert "one group" in found.undefined["class1"]
    assert "the set has no images" in found.undefined["class2"]


def test_each_real_image_is_embedded_once_up_to_the_limit() -> None:
    data, images = grouped([[700, 20]], size=4), np.zeros((1, 3, 4, 4))
    whole, capped = Pixels(), Pixels()

    looked_at(data, images, [0], networks=[whole])
    looked_at(data, images, [0], networks=[capped], rows_per_cell=100)

    assert sum(whole.batches) == 721
    assert max(whole.batches) <= 128
    assert sum(capped.batches) == 121


def test_the_order_of_rows_does_not_matter_and_each_tile_counts() -> None:
    data = flat([[6, 3]], [0.25, 0.75])
    order = np.random.default_rng(0).permutation(9)
    turned = GroupedDataset.from_arrays(data.images[order], data.labels[order], data.group_indices[order])
    tiles = torch.tensor([0.0, 1.0, 0.0, 1.0])[:, None, None, None].expand(4, 3, 2, 2)

    found = looked_at(data, np.full((1, 3, 2, 2), 0.5), [0])
    assert replace(found, undefined={}) == looked_at(turned, np.full((1, 3, 2, 2), 0.5), [0])
    mosaic = looked_at(data, encode(tiles, 2).numpy(), [0], formation=2)
    assert mosaic.residual == found.residual


def test_several_networks_are_averaged_and_the_same_for_every_set() -> None:
    data = grouped([[20, 5], [7, 9]])

    def networks(count: int) -> list[Network]:
        generator = torch.Generator().manual_seed(0)
        return [build("convnet", {"width": 4, "depth": 2}, data.shape, 2, generator) for _ in range(count)]

    images, labels = data.images[[0, 30]].astype(np.float32) / 255, [0, 1]
    both = looked_at(data, images, labels, networks=networks(2))
    each = [looked_at(data, images, labels, networks=[network]) for network in networks(2)]

    assert both.networks == 2
    for one, first, second in zip(both.residual, each[0].residual, each[1].residual, strict=True):
        assert one is not None
        assert first is not None
        assert second is not None
        assert first != second
        assert one == pytest.approx((first + second) / 2, rel=1e-4)
