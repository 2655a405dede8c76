"""What a barycenter owes, and what the mean is in closed form."""

import pytest
import torch
from torch import Tensor

from fair_distill.distill.barycenter import BARYCENTERS, Barycenter, mean
from fair_distill.errors import ShapeError

# C classes, G groups, D dimensions


@pytest.fixture(params=["mean"])
def barycenter(request: pytest.FixtureRequest) -> Barycenter:
    return BARYCENTERS[request.param]


@pytest.fixture
def cells() -> Tensor:
    return torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


UNIFORM = torch.full((3, 4), 0.25, dtype=torch.float64)
SKEWED = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64).repeat(3, 1)


def test_a_minority_group_pulls_as_hard_as_the_majority() -> None:
    majority, minority = torch.zeros(990, 2), torch.full((10, 2), 4.0)
    cells = torch.stack([majority.mean(dim=0), minority.mean(dim=0)])[None]

    target = mean(cells, torch.tensor([[0.5, 0.5]]))

    torch.testing.assert_close(target, torch.tensor([[2.0, 2.0]]))  # a pooled mean would give 0.04


def test_the_mean_weighs_groups_as_it_is_told() -> None:
    cells = torch.tensor([[[0.0, 0.0], [4.0, 8.0]]])

    torch.testing.assert_close(mean(cells, torch.tensor([[0.75, 0.25]])), torch.tensor([[1.0, 2.0]]))


def test_the_mean_minimises_the_weighted_squared_distance(cells: Tensor) -> None:
    centre = mean(cells, SKEWED).requires_grad_()
    objective = (SKEWED * (cells - centre[:, None]).square().sum(dim=2)).sum()

    (slope,) = torch.autograd.grad(objective, centre)

    torch.testing.assert_close(slope, torch.zeros_like(slope))


def test_one_group_is_its_own_barycenter(barycenter: Barycenter, cells: Tensor) -> None:
    alone = torch.zeros(3, 4, dtype=torch.float64)
    alone[:, 2] = 1

    torch.testing.assert_close(barycenter(cells, alone), cells[:, 2])


def test_groups_that_agree_stay_where_they_are(barycenter: Barycenter, cells: Tensor) -> None:
    agreed = cells[:, :1].expand(-1, 4, -1)

    torch.testing.assert_close(barycenter(agreed, SKEWED), cells[:, 0])


def test_translated_clouds_have_a_translated_barycenter(barycenter: Barycenter, cells: Tensor) -> None:
    shift = torch.arange(5, dtype=torch.float64)

    torch.testing.assert_close(barycenter(cells + shift, SKEWED), barycenter(cells, SKEWED) + shift)


def test_relabelled_groups_have_the_same_barycenter(barycenter: Barycenter, cells: Tensor) -> None:
    order = [2, 0, 3, 1]

    torch.testing.assert_close(barycenter(cells[:, order], SKEWED[:, order]), barycenter(cells, SKEWED))


def test_classes_do_not_see_each_other(barycenter: Barycenter, cells: Tensor) -> None:
    one_by_one = torch.cat([barycenter(cells[c : c + 1], SKEWED[c : c + 1]) for c in range(3)])

    torch.testing.assert_close(barycenter(cells, SKEWED), one_by_one)


def test_what_stands_in_an_absent_cell_does_not_matter(barycenter: Barycenter, cells: Tensor) -> None:
    weights = UNIFORM.clone()
    weights[:, 3] = 0
    weights /= weights.sum(dim=1, keepdim=True)
    elsewhere = cells.clone()
    elsewhere[:, 3] = 1e6

    torch.testing.assert_close(barycenter(elsewhere, weights), barycenter(cells, weights))


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (3, 4, 1), (12,)])
def test_a_weight_for_every_class_and_group_is_needed(
    barycenter: Barycenter, cells: Tensor, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ShapeError, match=r"one weight per class and group is needed: got \(.*\) for \(3, 4\)"):
        barycenter(cells, torch.ones(shape))
