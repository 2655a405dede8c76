"""Shrinkage: closed forms, the gain in accuracy, and the equivalence of mapped cells and mapped weights."""

from typing import Any

import numpy as np
import pytest
import torch
from small_workspace import candidate, grouped
from torch import Tensor

from fair_distill.data.grouped_dataset import Array
from fair_distill.distillation.alignment import Alignment, Pooled, Shrunken, build_alignment
from fair_distill.distillation.augment import Draw
from fair_distill.distillation.embedding import Embedding
from fair_distill.distillation.matchers import build_matcher
from fair_distill.distillation.matchers.base import Pair, Step
from fair_distill.distillation.networks import build
from fair_distill.distillation.sampling import GroupSampler, Normalisation, reader
from fair_distill.distillation.shrinkage import shrinkage, thin_cells
from fair_distill.distillation.synthetic import Synthetic
from fair_distill.errors import ConfigError

# C classes, G groups, D dimensions
COLOURS = (("red",), ("green",), ("blue",))
SEX_AND_SKIN = (("f", "dark"), ("f", "light"), ("m", "dark"), ("m", "light"))
COUNTS = np.array([[90, 10, 5], [10, 80, 0]])
GROUPS = ("red", "green", "blue")


def test_two_cells_of_one_attribute() -> None:
    mapped = shrinkage(np.array([[30, 10]]), COLOURS[:2], prior=10)

    # The cells keep 3/4 and 1/2; the parent weights them 3 to 2.
    np.testing.assert_allclose(
        mapped, [[[3 / 4 + 1 / 4 * 3 / 5, 1 / 4 * 2 / 5], [1 / 2 * 3 / 5, 1 / 2 + 1 / 2 * 2 / 5]]]
    )


def test_the_parent_of_a_cell_of_two_attributes_shares_either_attribute() -> None:
    mapped = shrinkage(np.array([[0, 10, 30, 90]]), SEX_AND_SKIN, prior=10)

    np.testing.assert_allclose(mapped[0, 0], [0, 1 / 2, 1 / 2, 0])  # f×light and m×dark, without m×light.
    # f×light keeps 1/2. It is the only cell with f, so that attribute is ignored. The light cells count 1/2 and 9/10.
    np.testing.assert_allclose(mapped[0, 1], [0, 1 / 2 + 1 / 2 * 5 / 14, 0, 1 / 2 * 9 / 14])


def test_the_parent_of_a_cell_that_shares_no_attribute_is_its_class() -> None:
    mapped = shrinkage(np.array([[0, 10, 0, 0], [0, 0, 0, 10], [0, 10, 30, 0]]), SEX_AND_SKIN, prior=10)

    np.testing.assert_allclose(mapped[0, 2], [0, 1, 0, 0])
    np.testing.assert_allclose(mapped[0, 1], [0, 1, 0, 0])  # It is the only cell of its class.
    np.testing.assert_allclose(mapped[2, 1], [0, 1 / 2 + 1 / 2 * 2 / 5, 1 / 2 * 3 / 5, 0])


def test_prior_0_changes_nothing_and_an_infinite_prior_gives_the_parents() -> None:
    np.testing.assert_allclose(shrinkage(COUNTS[:1], COLOURS, prior=0), np.eye(3)[None])

    all_one = shrinkage(COUNTS, COLOURS, prior=1e12)

    shares = COUNTS / COUNTS.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        all_one, np.repeat(shares[:, None], 3, axis=1), atol=1e-9
    )  # The vanilla target, everywhere.


def test_a_class_without_examples_has_an_empty_map() -> None:
    assert (shrinkage(np.array([[0, 0, 0], [1, 1, 1]]), COLOURS, prior=5)[0] == 0).all()


@pytest.mark.parametrize("attributes", [COLOURS, (("f", "x"), ("f", "y"), ("m", "x"))])
def test_every_cell_is_a_mixture_of_present_cells(attributes: Any) -> None:
    mapped = shrinkage(COUNTS, attributes, prior=7.0)

    assert (mapped >= 0).all()
    np.testing.assert_allclose(mapped.sum(axis=2), 1)
    assert (mapped[1, :, 2] == 0).all()


def test_the_order_of_groups_and_the_names_of_their_values_do_not_matter() -> None:
    counts, order = np.array([[3, 10, 30, 90], [0, 4, 8, 7]]), [2, 0, 3, 1]
    renamed = tuple((f"sex {sex}", {"dark": "1", "light": "0"}[skin]) for sex, skin in SEX_AND_SKIN)

    straight = shrinkage(counts, SEX_AND_SKIN, prior=5)
    moved = shrinkage(counts[:, order], tuple(renamed[a] for a in order), prior=5)

    np.testing.assert_allclose(moved, straight[:, order][:, :, order])
    swapped = tuple((skin, sex) for sex, skin in SEX_AND_SKIN)
    np.testing.assert_allclose(shrinkage(counts, swapped, prior=5), straight)


def test_with_one_attribute_it_is_the_best_linear_unbiased_prediction() -> None:
    counts, between, within = np.array([200, 40, 9, 3, 1]), 0.5, 6.0

    # Henderson's mixed-model solution by generalised least squares, which does not use n/(n+k).
    covariance = between * np.eye(5) + np.diag(within / counts)
    weights = np.linalg.solve(covariance, np.ones(5))
    centre = weights / weights.sum()
    predicted = centre + between * np.linalg.solve(covariance, np.eye(5) - centre)

    mapped = shrinkage(counts[None], tuple((str(a),) for a in range(5)), prior=within / between)
    np.testing.assert_allclose(mapped[0], predicted, atol=1e-12)


def test_the_correct_prior_brings_thin_cells_closer_to_the_truth() -> None:
    counts, right, draws = np.array([[400, 100, 20, 5, 2]]), 8.0, 4000
    rng = np.random.default_rng(0)
    truth = 3 + rng.normal(size=(5, draws))  # between groups: 1
    measured = truth + rng.normal(size=(5, draws)) * np.sqrt(right / counts[0])[:, None]  # within: 8

    def error(prior: float) -> Array:
        mapped = shrinkage(counts, tuple((str(a),) for a in range(5)), prior)[0]
        return np.square(mapped @ measured - truth).mean(axis=1)

    bare, shrunk = error(0), error(right)
    np.testing.assert_allclose(bare, right / counts[0], rtol=0.1)  # σ²/n
    assert (shrunk[2:] < 0.9 * bare[2:]).all()
    assert shrunk[4] < 0.35 * bare[4]
    assert (shrunk.sum() < [error(right / 8).sum(), error(right * 8).sum()]).all()


def test_an_empty_intersection_is_nearer_to_its_kin_than_to_its_class() -> None:
    rng = np.random.default_rng(0)
    sex, skin = rng.normal(size=(2, 1, 4000)), rng.normal(size=(1, 2, 4000))
    truth = (sex + skin).reshape(4, 4000)  # f×dark, f×light, m×dark, m×light; every attribute moves it by 1
    counts = np.array([[0, 1000, 1000, 9000]])

    kin = shrinkage(counts, SEX_AND_SKIN, prior=1.0)[0, 0]
    whole = shrinkage(counts, tuple((str(a),) for a in range(4)), prior=1.0)[0, 0]

    errors = [np.square(row @ truth - truth[0]).mean() for row in (kin, whole)]
    # (f×light + m×dark)/2 misses by half of either difference, 4/4; a third of each cell by two thirds, 4 · 4/9.
    np.testing.assert_allclose(errors, [1, 16 / 9], rtol=0.1)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def aligned(name: str, barycenter: Any = None, *, prior: float = 10.0) -> Alignment:
    return build_alignment(
        candidate(name, barycenter=barycenter), COUNTS, GROUPS, cell_map=shrinkage(COUNTS, COLOURS, prior)
    )


@pytest.mark.parametrize(("name", "barycenter"), [("barycentric", "mean"), ("per_group", None)])
def test_mapped_mixtures_equal_the_targets_of_mapped_cells(name: str, barycenter: Any) -> None:
    cells, alignment = normal(2, 3, 4), aligned(name, barycenter)
    cells[1, 2] = 1e4  # The values of an absent cell have no effect.

    assert alignment.mixtures is not None
    targets = alignment.targets((cells,))
    for mixture, target in zip(alignment.mixtures, targets, strict=True):
        folded = (mixture.cells[..., None] * cells).sum(dim=1)
        torch.testing.assert_close(folded, target.statistic[0])
        torch.testing.assert_close(mixture.weight, target.weight)
    assert len(targets) == (1 if name == "barycentric" else 3)
    torch.testing.assert_close(alignment.emphasis.sum(dim=1), torch.ones(2))


def test_an_empty_cell_counts_as_the_others_do_and_stands_at_its_parent() -> None:
    cells = normal(2, 3, 4)

    (target,) = aligned("barycentric", "mean", prior=1e-9).targets((cells,))

    parent = cells[1, :2].mean(dim=0)
    torch.testing.assert_close(target.statistic[0][1], (cells[1, 0] + cells[1, 1] + parent) / 3)


def test_a_non_linear_barycenter_uses_the_mapped_cells() -> None:
    cells, mapped = normal(2, 3, 4), torch.from_numpy(shrinkage(COUNTS, COLOURS, 10.0)).float()

    alignment = aligned("barycentric", "l1")
    (whole,) = alignment.targets((cells,))
    (second,) = alignment.targets((cells[1:],), slice(1, 2))

    assert alignment.mixtures is None
    torch.testing.assert_close(whole.statistic[0], (mapped @ cells).median(dim=1).values)
    torch.testing.assert_close(second.statistic[0], whole.statistic[0][1:])


def test_shrinkage_does_not_change_the_pooled_target_and_refuses_clouds() -> None:
    assert isinstance(aligned("pooled"), Pooled)
    with pytest.raises(
        ConfigError, match=r"distill\.shrinkage shrinks the means of cells, but this barycenter compares whole"
    ):
        aligned("barycentric", {"name": "bures", "dimension": 2, "shrinkage": 0.1, "covariance": "diagonal"})


@pytest.mark.parametrize("matcher", ["dm", "dc"])
@pytest.mark.parametrize("name", ["barycentric", "per_group"])
def test_one_pass_with_mapped_weights_gives_the_gradients_of_mapped_cells(matcher: str, name: str) -> None:
    counts = np.array([[6, 2], [3, 5]])
    data = grouped(counts)
    mapped = shrinkage(counts, data.attributes, 4.0)
    plain = build_alignment(candidate(name, barycenter="mean" if name == "barycentric" else None), counts, data.groups)
    network = build("convnet", {"width": 4, "depth": 2}, data.shape, 2, torch.Generator().manual_seed(0))
    cpu = torch.device("cpu")
    read = reader(data.images, Normalisation((0.0,) * 3, (1.0,) * 3), cpu)
    sampler = GroupSampler(data, per_class=100, allocation="equal", read=read, device=cpu)
    real = sampler.draw(torch.Generator().manual_seed(0))

    class CellByCell(Shrunken):
        mixtures = None  # The matcher then computes the statistic of every cell.

    def pairs(alignment: Alignment) -> list[Pair]:
        synthetic = Synthetic(
            torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1)), 2, 1, Draw(None, None, None)
        )
        step = Step(network, lambda: real, synthetic, alignment, torch.Generator(), Embedding())
        return list(build_matcher(matcher, {}).pairs(step))

    shrink = torch.from_numpy(mapped).float()
    pairs_of_both = zip(
        pairs(Shrunken.map_cells(plain, shrink)), pairs(CellByCell.map_cells(plain, shrink)), strict=True
    )
    for folded, cell_by_cell in pairs_of_both:
        assert len(folded.targets) == len(cell_by_cell.targets)
        for one, other in zip(folded.targets, cell_by_cell.targets, strict=True):
            for layer, same in zip(one.statistic, other.statistic, strict=True):
                torch.testing.assert_close(layer, same, rtol=1e-3, atol=1e-5)
            torch.testing.assert_close(one.weight, other.weight)


def test_thin_cells_give_away_more_than_a_tenth() -> None:
    thin = thin_cells(np.array([[90, 91, 10], [0, 500, 30]]), prior=10)

    assert [(cell.label, cell.group, cell.examples, cell.share) for cell in thin] == [
        (0, 2, 10, 0.5),
        (1, 0, 0, 0.0),
        (1, 2, 30, 0.75),
    ]  # 90/(90 + 10) gives away exactly a tenth.
