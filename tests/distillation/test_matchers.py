"""Matchers compared with simple loops, and every matcher with every alignment."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_workspace import candidate, grouped
from torch import Tensor

from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.distillation.alignment import Alignment, build_alignment
from fair_distill.distillation.augment import Draw
from fair_distill.distillation.distance import distance
from fair_distill.distillation.embedding import Embedding
from fair_distill.distillation.matchers import MATCHERS, build_matcher
from fair_distill.distillation.matchers.base import Pair, Step
from fair_distill.distillation.matchers.dc import GradientMatcher
from fair_distill.distillation.networks import build
from fair_distill.distillation.sampling import Batch, GroupSampler, Normalisation, reader
from fair_distill.distillation.synthetic import Synthetic
from fair_distill.errors import ConfigError

COUNTS = np.array([[5, 2], [3, 4]])
DATA = grouped(COUNTS)
NETWORK = build("convnet", {"width": 8, "depth": 2}, (3, 8, 8), 2, torch.Generator().manual_seed(0))
OPTIONS: dict[str, dict[str, Any]] = {
    "cafe": {"layer_weights": [0.5, 1.0], "discrimination": 0.1},
    "ridge_probe": {"penalties": [0.01, 1.0], "decay": 0.1, "scale": 10.0, "scale_learning_rate": 0.03},
    "mtt": {
        "student_steps": 2,
        "expert_epochs": 1,
        "start_epochs": 1,
        "step_size": 0.01,
        "step_size_learning_rate": 0.0,
        "batch_size": 6,
        "experts": {
            "count": 1,
            "epochs": 1,
            "learning_rate": 0.01,
            "momentum": 0.0,
            "batch_size": 8,
            "augment": [],
        },
    },
}
ALIGNMENTS = {
    "pooled": candidate("pooled"),
    "per_group": candidate("per_group"),
    "mean": candidate("barycentric", barycenter="mean"),
    "minimax": candidate("barycentric", barycenter="minimax"),
    "huber": candidate("barycentric", barycenter={"name": "huber", "delta": 1.0}),
}
IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def alignment(name: str) -> Alignment:
    return build_alignment(ALIGNMENTS[name], COUNTS, DATA.groups)


def whole() -> Batch:
    """Return a batch of the whole dataset."""
    plain = Normalisation((0.0,) * 3, (1.0,) * 3)
    cpu = torch.device("cpu")
    sampler = GroupSampler(DATA, per_class=100, allocation="equal", read=reader(DATA.images, plain, cpu), device=cpu)
    return sampler.draw(torch.Generator().manual_seed(0))


def synthetic(images: Tensor, formation: int = 1) -> Synthetic:
    return Synthetic(images, 3, formation, Draw(None, None, None))


def pairs(matcher: str, name: str, images: Tensor = IMAGES) -> list[Any]:
    return list(build_matcher(matcher, OPTIONS.get(matcher, {})).pairs(step(whole(), images, alignment(name))))


class Straight:
    """An expert whose weights went from the network's to 0."""

    def between(self, expert: int, first: int, last: int) -> tuple[Tensor, Tensor]:
        start = torch.nn.utils.parameters_to_vector(NETWORK.parameters()).detach()
        return start, torch.zeros_like(start)


def step(real: Batch, images: Tensor, aligned: Alignment) -> Step:
    draws, step_size = torch.Generator().manual_seed(0), {"step_size": torch.tensor(0.01)}
    learned = step_size | dict.fromkeys(("log_scale_0.01", "log_scale_1"), torch.tensor(2.0))
    return Step(NETWORK, lambda: real, synthetic(images), aligned, draws, Embedding(), learned, Straight())


def real_gradient(rows: np.ndarray, label: int) -> list[Tensor]:
    images = torch.from_numpy(DATA.images[rows]).float() / 255
    loss = F.cross_entropy(NETWORK(images), torch.full((len(images),), label))
    return list(torch.autograd.grad(loss, list(NETWORK.parameters())))


@pytest.mark.parametrize("matcher", MATCHERS)
@pytest.mark.parametrize("name", ALIGNMENTS)
def test_every_pair_gives_every_class_a_finite_gradient(matcher: str, name: str) -> None:
    images = IMAGES.clone().requires_grad_()
    if alignment(name).provides not in build_matcher(matcher, OPTIONS.get(matcher, {})).supports:
        pytest.skip(f"{matcher} does not support {name}")

    for pair in pairs(matcher, name, images):
        parts = [distance(target, pair.synthetic, kind="squared", reduce="sum") for target in pair.targets]
        torch.stack(parts + ([] if pair.extra is None else [pair.extra])).sum().backward()

    assert images.grad is not None
    assert images.grad.isfinite().all()
    assert (images.grad.flatten(1).abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize("matcher", MATCHERS)
def test_targets_have_no_gradient(matcher: str) -> None:
    for pair in pairs(matcher, "mean", IMAGES.clone().requires_grad_()):
        assert not any(layer.requires_grad for target in pair.targets for layer in target.statistic)


def test_dm_matches_mean_embeddings() -> None:
    ((pair),) = pairs("dm", "per_group")

    for group, target in enumerate(pair.targets):
        for label in range(2):
            rows = (DATA.labels == label) & (DATA.group_indices == group)
            embedded = NETWORK.embed(torch.from_numpy(DATA.images[rows]).float() / 255).mean(dim=0)
            torch.testing.assert_close(target.statistic[0][label], embedded, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pair.synthetic[0][1], NETWORK.embed(IMAGES[3:]).mean(dim=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("matcher", ["dc", "idc"])
def test_one_weighted_backward_pass_equals_the_mean_of_one_pass_per_group(matcher: str) -> None:
    for label, pair in enumerate(pairs(matcher, "mean")):
        cells = [real_gradient((DATA.labels == label) & (DATA.group_indices == group), label) for group in range(2)]
        wanted = [(one + other) / 2 for one, other in zip(*cells, strict=True)]
        if matcher == "dc":
            wanted = [layer.flatten(1) for layer in wanted if layer.ndim > 1]
        for layer, got in zip(wanted, pair.targets[0].statistic, strict=True):
            torch.testing.assert_close(got.flatten(), layer.flatten(), rtol=1e-3, atol=1e-6)


def test_the_pooled_gradient_is_that_of_all_examples_of_the_class() -> None:
    for label, pair in enumerate(pairs("dc", "pooled")):
        wanted = [layer.flatten(1) for layer in real_gradient(DATA.labels == label, label) if layer.ndim > 1]
        for layer, got in zip(wanted, pair.targets[0].statistic, strict=True):
            torch.testing.assert_close(got[0], layer, rtol=1e-3, atol=1e-6)


def test_a_non_linear_barycenter_receives_the_gradient_of_every_group() -> None:
    """With two groups and equal weights the minimax centre equals the mean."""
    for linear, other in zip(pairs("dc", "mean"), pairs("dc", "minimax"), strict=True):
        for one, two in zip(linear.targets[0].statistic, other.targets[0].statistic, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)


def test_gradient_matching_to_the_data_themselves_is_zero() -> None:
    """A synthetic set of all real images has the gradient of the pooled target."""
    rows = np.concatenate([np.flatnonzero(DATA.labels == label)[:3] for label in range(2)])
    images = torch.from_numpy(DATA.images[rows]).float() / 255
    few = GroupedDataset.from_arrays(DATA.images[rows], DATA.labels[rows], np.zeros(6, int))
    plain = Normalisation((0.0,) * 3, (1.0,) * 3)
    cpu = torch.device("cpu")
    sampler = GroupSampler(few, per_class=9, allocation="equal", read=reader(few.images, plain, cpu), device=cpu)
    pooled = build_alignment(ALIGNMENTS["pooled"], few.counts, few.groups)

    batch = sampler.draw(torch.Generator().manual_seed(0))
    for pair in build_matcher("dc", {}).pairs(step(batch, images, pooled)):
        assert distance(pair.targets[0], pair.synthetic, kind="cosine", reduce="sum").item() == pytest.approx(
            0, abs=1e-3
        )


def test_cafe_weights_layers_and_adds_the_discrimination_loss() -> None:
    ((pair),) = pairs("cafe", "mean")
    ((plain),) = pairs("dm", "mean")

    assert len(pair.synthetic) == 2
    torch.testing.assert_close(pair.synthetic[-1], plain.synthetic[0])
    assert pair.extra.item() > 0


@pytest.mark.parametrize("name", ["sinkhorn", "bures", "free_support"])
def test_a_barycenter_of_clouds_gives_embeddings_a_gradient(name: str) -> None:
    options = {
        "sinkhorn": {"dimension": 4, "epsilon": 0.1},
        "bures": {"dimension": 4, "shrinkage": 0.1, "covariance": "diagonal"},
        "free_support": {"dimension": 4},
    }[name]
    clouds = build_alignment(candidate("barycentric", barycenter={"name": name, **options}), COUNTS, DATA.groups)
    images = IMAGES.clone().requires_grad_()

    ((pair),) = build_matcher("dm", {}).pairs(step(whole(), images, clouds))
    pair.extra.backward()

    assert images.grad is not None
    assert (images.grad.flatten(1).abs().sum(dim=1) > 0).all()


def test_unknown_matchers_and_options_are_refused() -> None:
    with pytest.raises(ConfigError, match=rf"distill.matcher is 'dn'; choose one of {', '.join(MATCHERS)}"):
        build_matcher("dn", {})
    with pytest.raises(ConfigError, match=r"distill.matcher 'dm' has no option 'layers'"):
        build_matcher("dm", {"layers": 3})


@pytest.mark.parametrize("matcher", ["dc", "idc"])
@pytest.mark.parametrize("name", ALIGNMENTS)
def test_all_classes_at_once_equal_the_classes_one_by_one(matcher: str, name: str) -> None:
    """A GPU processes all classes at once. The cells have unequal sizes here, so some are padded."""
    method = build_matcher(matcher, {})

    def losses(pairs: Iterable[Pair], images: Tensor) -> tuple[Tensor, Tensor]:
        parts = [distance(t, pair.synthetic, kind="squared", reduce="sum") for pair in pairs for t in pair.targets]
        loss = torch.stack(parts).sum()
        return loss, torch.autograd.grad(loss, images)[0]

    ones, alls = (IMAGES.clone().requires_grad_() for _ in range(2))
    assert isinstance(method, GradientMatcher)
    wanted = losses(list(method.each_class(step(whole(), ones, alignment(name)))), ones)
    got = losses([method.all_classes(step(whole(), alls, alignment(name)))], alls)

    torch.testing.assert_close(got[0], wanted[0], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(got[1], wanted[1], rtol=1e-3, atol=1e-5)
