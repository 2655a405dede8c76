"""The fast embedding equals the exact embedding up to bfloat16 rounding, for each network in turn."""

import pytest
import torch

from fair_distill.distillation.embedding import build_embedding
from fair_distill.distillation.networks import build


@pytest.mark.parametrize(
    ("name", "options"),
    [("convnet", {"width": 16, "depth": 2}), ("resnet18", {"width": 0.125}), ("mlp", {"width": 16, "depth": 2})],
)
def test_fast_features_are_right_to_a_few_per_cent_at_worst(name: str, options: dict[str, float]) -> None:
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    exact, fast = build_embedding("exact"), build_embedding("fast")

    for seed in (1, 2):  # The copy must use the weights of each network.
        network = build(name, options, (3, 16, 16), 4, torch.Generator().manual_seed(seed))
        wanted, got = exact.embed(network, images), fast.embed(network, images)
        assert got.dtype == torch.float32
        assert (got - wanted).norm() / wanted.norm() < 0.05
        for one, other in zip(exact.layers(network, images), fast.layers(network, images), strict=True):
            assert (other - one).norm() / one.norm() < 0.05
        assert not got.requires_grad
        assert not wanted.requires_grad
