"""Matchers against the plain loop they replace."""

import numpy as np
import pytest
import torch
from small_workspace import grouped

from fair_distill.distill.matchers import MATCHERS, build_matcher
from fair_distill.distill.networks import build
from fair_distill.distill.sampling import GroupSampler, Normalisation
from fair_distill.errors import ConfigError

COUNTS = np.array([[5, 2], [3, 0]])
NETWORK = build("convnet", {"width": 8, "depth": 2}, (3, 8, 8), 2, torch.Generator().manual_seed(0))


def test_the_statistic_of_a_cell_is_its_mean_embedding() -> None:
    dataset = grouped(COUNTS)
    plain = Normalisation((0.0,) * 3, (1.0,) * 3)
    whole = GroupSampler(dataset, per_class=100, allocation="equal", normalise=plain, device=torch.device("cpu"))

    (cells,) = build_matcher("dm", {}).cells(NETWORK, whole.draw(torch.Generator().manual_seed(0)), 2)

    assert cells.shape == (2, 2, 8 * 2 * 2)
    assert not cells.requires_grad
    for label, group in ((0, 0), (0, 1), (1, 0)):
        rows = (dataset.labels == label) & (dataset.groups == group)
        embedded = NETWORK.embed(torch.from_numpy(dataset.images[rows]).float() / 255).mean(dim=0)
        torch.testing.assert_close(cells[label, group], embedded, rtol=1e-4, atol=1e-5)
    assert (cells[1, 1] == 0).all()  # absent: finite, so a weight of 0 removes it


def test_the_statistic_of_the_synthetic_set_is_the_mean_embedding_of_each_class() -> None:
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()

    (synthetic,) = build_matcher("dm", {}).synthetic(NETWORK, images, 2)

    torch.testing.assert_close(synthetic[1], NETWORK.embed(images[3:]).mean(dim=0), rtol=1e-4, atol=1e-5)
    (gradient,) = torch.autograd.grad(synthetic[1].square().sum(), images)
    assert gradient[:3].abs().sum() == 0
    assert gradient[3:].abs().sum() > 0


def test_unknown_matchers_and_options_are_refused() -> None:
    with pytest.raises(ConfigError, match=f"distill.matcher is 'dn'; choose one of {', '.join(MATCHERS)}"):
        build_matcher("dn", {})
    with pytest.raises(ConfigError, match=r"distill.matcher 'dm': .*layers"):
        build_matcher("dm", {"layers": 3})
