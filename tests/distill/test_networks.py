"""Weights come from the generator that is given, as torch itself would draw them."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fair_distill.distill.networks import NETWORKS, ConvNet, Network, build
from fair_distill.errors import ConfigError

SHAPE = (3, 16, 16)


def built(seed: int = 0, **options: Any) -> Network:
    return build("convnet", {"width": 32, "depth": 3} | options, SHAPE, 10, torch.Generator().manual_seed(seed))


def weights(network: nn.Module) -> list[Tensor]:
    return list(network.state_dict().values())


def test_a_seed_names_a_network_whatever_torchs_own_generator_says() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        once = weights(built())
        torch.manual_seed(2)
        again = weights(built())

    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(once, weights(built(1)), strict=True) if a.std() > 0)


def test_building_does_not_touch_torchs_own_generator() -> None:
    before = torch.random.get_rng_state()

    built()

    assert torch.equal(torch.random.get_rng_state(), before)


def test_networks_of_one_stream_differ() -> None:
    stream = torch.Generator().manual_seed(0)

    first, second = (weights(build("convnet", {"width": 8, "depth": 1}, SHAPE, 10, stream))[0] for _ in range(2))

    assert not torch.equal(first, second)


def test_weights_are_spread_as_torch_spreads_them() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = ConvNet(SHAPE, 10, width=32, depth=3)
    ours = built().state_dict()

    assert ours.keys() == reference.state_dict().keys()
    for name, theirs in reference.state_dict().items():
        assert ours[name].shape == theirs.shape
        if theirs.numel() > 500:
            bound = 1 / math.sqrt(theirs[0].numel())
            assert 0.98 * bound < ours[name].abs().max() <= bound
            assert ours[name].std() == pytest.approx(theirs.std().item(), rel=0.05)
            assert ours[name].mean().abs() < 0.1 * bound
        elif theirs.std() == 0:  # the norm starts as the identity
            assert torch.equal(ours[name], theirs)


def test_biases_stay_within_torchs_bounds() -> None:
    for module in built().modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert module.bias is not None
            bound = 1 / math.sqrt(module.weight[0].numel())
            assert 0.5 * bound < module.bias.abs().max() <= bound


def test_every_weight_is_drawn_and_none_is_left_as_memory_held_it() -> None:
    for network in (built(), built(7)):
        assert all(torch.isfinite(w).all() and w.device.type == "cpu" for w in weights(network))


def test_the_convnet_is_convolution_instance_norm_relu_and_pool() -> None:
    network = built(depth=1, width=4)
    images = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(1))
    conv = next(module for module in network.modules() if isinstance(module, nn.Conv2d))

    by_hand = F.avg_pool2d(F.relu(F.instance_norm(F.conv2d(images, conv.weight, conv.bias, padding=1))), 2).flatten(1)

    torch.testing.assert_close(network.embed(images), by_hand)


def test_images_of_a_batch_do_not_see_each_other() -> None:
    network, images = built(), torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))

    torch.testing.assert_close(network(images)[2:3], network(images[2:3]), rtol=1e-4, atol=1e-5)


def test_logits_are_linear_in_the_embedding() -> None:
    network, images = built(), torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))

    assert network.embed(images).shape == (4, 32 * 2 * 2)
    torch.testing.assert_close(network(images), network.get_submodule("classifier")(network.embed(images)))


@pytest.mark.parametrize(("shape", "depth"), [((1, 8, 8), 3), ((3, 9, 20), 3), ((3, 2, 2), 1), ((2, 28, 28), 4)])
def test_a_network_is_as_deep_as_the_image_allows(shape: tuple[int, int, int], depth: int) -> None:
    options = {"width": 4, "depth": depth}

    network = build("convnet", options, shape, 5, torch.Generator().manual_seed(0))

    assert network(torch.zeros(2, *shape)).shape == (2, 5)
    with pytest.raises(ConfigError, match=f"network.depth is {depth + 1}.*allow at most {depth}$"):
        build("convnet", options | {"depth": depth + 1}, shape, 5, torch.Generator())


@pytest.mark.parametrize(
    "options",
    [
        *({"width": width} for width in (0, -1, 8.5, "8", None, float("nan"), True)),
        *({"depth": depth} for depth in (0, -1, 2.0, "2", None, float("nan"), True)),
        {"widht": 8},
    ],
)
def test_options_that_make_no_network_are_refused_in_one_line(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^params\.yaml: network[. ][^\n]+$"):
        built(**options)


def test_an_option_that_is_not_given_has_no_default() -> None:
    with pytest.raises(ConfigError, match=r"network 'convnet': .*depth"):
        build("convnet", {"width": 8}, SHAPE, 10, torch.Generator())


def test_an_unknown_network_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=f"network.name is 'convent'; choose one of {', '.join(NETWORKS)}"):
        build("convent", {}, SHAPE, 10, torch.Generator())
