"""The algebraic relations between the vanilla method, FairDD and COBRA, and the treatment of absent groups."""

import numpy as np
import pytest
import torch
from small_workspace import candidate
from torch import Tensor

from fair_distill.data.grouped_dataset import Array
from fair_distill.distillation.alignment import Alignment, build_alignment, group_weights
from fair_distill.distillation.barycenter import BARYCENTERS
from fair_distill.distillation.distance import distance
from fair_distill.errors import ConfigError

# C classes, G groups, D dimensions
COUNTS = np.array([[90, 10, 5], [10, 80, 30]])
GROUPS = ("red", "green", "blue")
ALIGNMENTS = ("pooled", "per_group", "barycentric")


def aligned(
    name: str, counts: Array = COUNTS, groups: tuple[str, ...] = GROUPS, weights: dict[str, float] | None = None
) -> Alignment:
    barycenter = "mean" if name == "barycentric" else None
    declared = None if name == "pooled" else weights  # The pooled alignment ignores declared weights.
    return build_alignment(candidate(name, barycenter=barycenter, group_weights=declared), counts, groups)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def loss(alignment: Alignment, cells: Tensor, synthetic: Tensor, kind: str = "squared") -> Tensor:
    targets = alignment.targets((cells,))
    return torch.stack([distance(target, (synthetic,), kind=kind, reduce="sum") for target in targets]).sum()


def slope(alignment: Alignment, cells: Tensor, synthetic: Tensor) -> Tensor:
    at = synthetic.clone().requires_grad_()
    return torch.autograd.grad(loss(alignment, cells, at), at)[0]


def test_the_distances_to_all_groups_are_g_times_that_to_their_mean_plus_a_constant() -> None:
    cells, one, other = normal(2, 3, 7), normal(2, 7, seed=1), normal(2, 7, seed=2)
    per_group, barycentric = aligned("per_group"), aligned("barycentric")

    at_one, at_other = (loss(per_group, cells, s) - 3 * loss(barycentric, cells, s) for s in (one, other))

    torch.testing.assert_close(at_one, at_other)  # METHOD: sum_a ||Phi_a - s||² = G ||mean Phi_a - s||² + const
    torch.testing.assert_close(at_one, (cells - cells.mean(dim=1, keepdim=True)).square().sum())


def test_the_gradient_of_per_group_is_g_times_that_of_the_mean() -> None:
    cells, synthetic = normal(2, 3, 7), normal(2, 7, seed=1)

    torch.testing.assert_close(
        slope(aligned("per_group"), cells, synthetic), 3 * slope(aligned("barycentric"), cells, synthetic)
    )


def test_this_also_holds_for_declared_weights() -> None:
    weights = {"red": 5.0, "green": 3.0, "blue": 2.0}
    cells, synthetic = normal(2, 3, 7), normal(2, 7, seed=1)

    torch.testing.assert_close(
        slope(aligned("per_group", weights=weights), cells, synthetic),
        3 * slope(aligned("barycentric", weights=weights), cells, synthetic),
    )


def test_this_does_not_hold_for_the_l1_distance() -> None:
    cells = torch.tensor([[[0.0], [1.0], [5.0]]])
    counts = np.array([[1, 1, 1]])

    per_group = loss(aligned("per_group", counts), cells, torch.tensor([[1.5]]), kind="l1")
    barycentric = loss(aligned("barycentric", counts), cells, torch.tensor([[1.5]]), kind="l1")

    assert per_group.item() == pytest.approx(1.5 + 0.5 + 3.5)
    assert barycentric.item() == pytest.approx(0.5)


def test_the_pooled_target_is_the_mean_of_all_examples_of_the_class() -> None:
    embeddings = [[normal(int(n), 4, seed=10 * c + g) for g, n in enumerate(row)] for c, row in enumerate(COUNTS)]
    cells = torch.stack([torch.stack([cell.mean(dim=0) for cell in row]) for row in embeddings])

    (target,) = aligned("pooled").targets((cells,))

    torch.testing.assert_close(target.statistic[0], torch.stack([torch.cat(row).mean(dim=0) for row in embeddings]))


def test_the_barycentric_target_does_not_depend_on_group_sizes() -> None:
    cells = normal(2, 3, 4)

    for counts in (COUNTS, COUNTS * 7, np.ones((2, 3), dtype=int)):
        (target,) = aligned("barycentric", counts).targets((cells,))
        torch.testing.assert_close(target.statistic[0], cells.mean(dim=1))


def test_every_layer_is_aligned_separately() -> None:
    layers = (normal(2, 3, 4), normal(2, 3, 9, seed=1))

    for name in ALIGNMENTS:
        together = aligned(name).targets(layers)
        for i, layer in enumerate(layers):
            for target, alone in zip(together, aligned(name).targets((layer,)), strict=True):
                torch.testing.assert_close(target.statistic[i], alone.statistic[0])


@pytest.mark.parametrize("name", ALIGNMENTS)
@pytest.mark.parametrize("weights", [None, {"red": 1.0, "green": 2.0, "blue": 3.0}])
def test_relabelled_groups_give_the_same_loss(name: str, weights: dict[str, float] | None) -> None:
    cells, synthetic, order = normal(2, 3, 4), normal(2, 4, seed=1), [2, 0, 1]

    straight = aligned(name, weights=weights)
    relabelled = aligned(name, COUNTS[:, order], tuple(GROUPS[i] for i in order), weights=weights)

    torch.testing.assert_close(loss(relabelled, cells[:, order], synthetic), loss(straight, cells, synthetic))


@pytest.mark.parametrize("name", ALIGNMENTS)
def test_a_class_without_a_group_is_aligned_to_the_groups_it_has(name: str) -> None:
    cells, synthetic = normal(2, 3, 4), normal(2, 4, seed=1)
    counts = COUNTS.copy()
    counts[0, 1] = 0
    elsewhere = cells.clone()
    elsewhere[0, 1] = 1e4

    measured = slope(aligned(name, counts), cells, synthetic)

    torch.testing.assert_close(slope(aligned(name, counts), elsewhere, synthetic), measured)
    # The target of the first class is the same as without the second group. The other class does not change.
    without = aligned(name, counts[:, [0, 2]], ("red", "blue"))
    torch.testing.assert_close(measured[0], slope(without, cells[:, [0, 2]], synthetic)[0])
    torch.testing.assert_close(measured[1], slope(aligned(name), cells, synthetic)[1])


def test_weights_are_uniform_over_the_groups_a_class_has() -> None:
    weights = group_weights(np.array([[9, 1, 1], [5, 0, 5], [0, 0, 3]]), GROUPS, None)

    torch.testing.assert_close(weights, torch.tensor([[1 / 3] * 3, [0.5, 0, 0.5], [0, 0, 1]]))


def test_declared_weights_are_shares_of_the_groups_a_class_has() -> None:
    weights = group_weights(np.array([[9, 1, 1], [5, 0, 5]]), GROUPS, {"blue": 1.0, "green": 2.0, "red": 3.0})

    torch.testing.assert_close(weights, torch.tensor([[3 / 6, 2 / 6, 1 / 6], [3 / 4, 0, 1 / 4]]))


@pytest.mark.parametrize("declared", [{"red": 1.0}, {"red": 1.0, "green": 1.0, "blue": 1.0, "pink": 1.0}, {}])
def test_weights_that_do_not_name_the_groups_are_refused(declared: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"group_weights names .*; the groups are red, green, blue"):
        group_weights(COUNTS, GROUPS, declared)


def test_only_the_pooled_target_uses_proportional_batches() -> None:
    assert {name: aligned(name).allocation for name in ALIGNMENTS} == {
        "pooled": "proportional",
        "per_group": "equal",
        "barycentric": "equal",
    }


def test_an_unknown_name_is_refused_with_the_known_names() -> None:
    with pytest.raises(ConfigError, match="alignment is 'pool'; choose one of pooled, per_group, barycentric"):
        build_alignment(candidate("pool"), COUNTS, GROUPS)
    with pytest.raises(ConfigError, match=f"barycenter is 'median'; choose one of {', '.join(BARYCENTERS)}"):
        build_alignment(candidate("barycentric", barycenter="median"), COUNTS, GROUPS)
