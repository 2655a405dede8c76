"""Networks: the contract, their architecture as in the papers, and weights drawn from the given generator."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fair_distill.distillation.networks import NETWORKS, ConvNet, MeanOfFour, Network, build, build_from_factory
from fair_distill.errors import ConfigError
from fair_distill.testing import check_network

SHAPE = (3, 16, 16)
SMALL: dict[str, dict[str, Any]] = {
    "convnet": {"width": 4, "depth": 3},
    "mlp": {"width": 8, "depth": 2},
    "linear": {},
    "alexnet": {"width": 1 / 32},
    "vgg11": {"width": 1 / 16},
    "resnet18": {"width": 1 / 16},
}
STANDARD: dict[str, dict[str, Any]] = {
    "convnet": {"width": 128, "depth": 3},
    "mlp": {"width": 128, "depth": 2},
    "linear": {},
    "alexnet": {"width": 1.0},
    "vgg11": {"width": 1.0},
    "resnet18": {"width": 1.0},
}


def small(name: str, *, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> Network:
    return build(name, SMALL[name], shape, 10, torch.Generator().manual_seed(seed))


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def built(seed: int = 0, **options: Any) -> Network:
    return build("convnet", {"width": 32, "depth": 3} | options, SHAPE, 10, torch.Generator().manual_seed(seed))


def weights(network: nn.Module) -> list[Tensor]:
    return list(network.state_dict().values())


# --- the contract


def test_every_component_is_tested() -> None:
    assert SMALL.keys() == STANDARD.keys() == NETWORKS.keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_satisfies_the_contract_at_16_to_128_pixels(name: str) -> None:
    check_network(NETWORKS[name], SMALL[name], torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_seed_determines_a_network_regardless_of_torchs_global_generator(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        once = weights(small(name))
        torch.manual_seed(2)
        again = weights(small(name))

    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(once, weights(small(name, seed=1)), strict=True) if a.std() > 0)


@pytest.mark.parametrize("name", NETWORKS)
def test_building_does_not_use_torchs_global_generator(name: str) -> None:
    before = torch.random.get_rng_state()

    small(name)

    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_one_stream_differ(name: str) -> None:
    stream = torch.Generator().manual_seed(0)

    first, second = (weights(build(name, SMALL[name], SHAPE, 10, stream))[0] for _ in range(2))

    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", NETWORKS)
def test_images_need_not_be_square_nor_even(name: str) -> None:
    network = small(name, shape=(3, 28, 21))

    assert network(normal(2, 3, 28, 21)).shape == (2, 10)
    assert network(normal(2, 3, 28, 21)).isfinite().all()


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_one_architecture_can_be_stacked(name: str) -> None:
    networks, images = [small(name, seed=seed) for seed in range(3)], normal(2, *SHAPE)
    parameters, buffers = torch.func.stack_module_state(list(networks))

    def run(state: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(networks[0], (state, buffers), (images,))

    together = torch.func.vmap(run)(parameters)

    torch.testing.assert_close(together, torch.stack([n(images) for n in networks]), rtol=1e-4, atol=1e-5)


# --- weights


def test_weights_are_drawn_in_the_order_of_the_layers() -> None:
    stream, network = torch.Generator().manual_seed(5), built(5)

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = 1 / math.sqrt(module.weight[0].numel())
            for weight in (module.weight, module.bias):
                assert torch.equal(weight, torch.empty_like(weight).uniform_(-bound, bound, generator=stream))


def test_weights_have_the_same_spread_as_torchs_defaults() -> None:
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
        elif theirs.std() == 0:  # The norm is initially the identity.
            assert torch.equal(ours[name], theirs)


def test_biases_stay_within_torchs_bounds() -> None:
    for module in built().modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert module.bias is not None
            bound = 1 / math.sqrt(module.weight[0].numel())
            assert 0.5 * bound < module.bias.abs().max() <= bound


def test_every_weight_is_initialised() -> None:
    for network in (built(), built(7), *map(small, NETWORKS)):
        assert all(torch.isfinite(w).all() and w.device.type == "cpu" for w in weights(network))


def test_layers_with_other_weights_are_refused() -> None:
    def with_batch_norm(shape: tuple[int, int, int], classes: int) -> Network:
        return Network([nn.Conv2d(shape[0], 4, 3), nn.BatchNorm2d(4)], nn.Linear(4 * 14 * 14, classes))

    with pytest.raises(ConfigError, match=r"^params\.yaml: the network contains a BatchNorm2d; use only Conv2d, "):
        build_from_factory(with_batch_norm, {}, SHAPE, 10, torch.Generator())


# --- architectures


@pytest.mark.parametrize(
    ("name", "features", "parameters"),
    [
        ("convnet", 2048, 320_010),
        ("mlp", 128, 411_146),
        ("linear", 3072, 30_730),
        ("alexnet", 192 * 4 * 4, 1_872_202),
        ("vgg11", 512, 9_231_114),
        ("resnet18", 512, 11_173_962),
    ],
)
def test_a_network_of_standard_size_has_the_literatures_number_of_weights(
    name: str, features: int, parameters: int
) -> None:
    with torch.device("meta"):  # Only sizes are needed.
        network = NETWORKS[name]((3, 32, 32), 10, **STANDARD[name])
        embedding = network.embed(torch.empty(2, 3, 32, 32))

    assert embedding.shape == (2, features)
    assert sum(weight.numel() for weight in network.parameters()) == parameters


def test_the_convnet_is_convolution_instance_norm_relu_and_pool() -> None:
    network = built(depth=1, width=4)
    images = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(1))
    conv = next(module for module in network.modules() if isinstance(module, nn.Conv2d))

    by_hand = F.avg_pool2d(F.relu(F.instance_norm(F.conv2d(images, conv.weight, conv.bias, padding=1))), 2).flatten(1)

    torch.testing.assert_close(network.embed(images), by_hand)


@pytest.mark.parametrize("shape", [(8, 8), (7, 7), (5, 9), (3, 2)])
def test_the_mean_of_four_pixels_is_an_average_pool_with_its_gradients(shape: tuple[int, int]) -> None:
    images = normal(2, 3, *shape).double().requires_grad_()
    pooled = MeanOfFour()(images)

    torch.testing.assert_close(pooled, F.avg_pool2d(images, 2))
    cotangent = normal(*pooled.shape, seed=2).double()
    torch.testing.assert_close(
        torch.autograd.grad(pooled, images, cotangent), torch.autograd.grad(F.avg_pool2d(images, 2), images, cotangent)
    )
    assert torch.autograd.gradgradcheck(MeanOfFour(), images)


def test_the_mlp_is_linear_and_relu() -> None:
    network, images = small("mlp"), normal(2, *SHAPE)
    first, second, last = (module for module in network.modules() if isinstance(module, nn.Linear))

    hidden = F.relu(F.linear(images.flatten(1), first.weight, first.bias))
    by_hand = F.relu(F.linear(hidden, second.weight, second.bias))

    torch.testing.assert_close(network.layers(images), [hidden, by_hand])
    torch.testing.assert_close(network(images), F.linear(by_hand, last.weight, last.bias))


def test_alexnet_is_five_convolutions_and_three_max_pools() -> None:
    network, images = small("alexnet"), normal(2, *SHAPE)
    one, two, three, four, five = (module for module in network.modules() if isinstance(module, nn.Conv2d))

    def conv(x: Tensor, by: nn.Conv2d, padding: int) -> Tensor:
        return F.relu(F.conv2d(x, by.weight, by.bias, padding=padding))

    x = F.max_pool2d(conv(F.max_pool2d(conv(images, one, 2), 2), two, 2), 2)
    by_hand = F.max_pool2d(conv(conv(conv(x, three, 1), four, 1), five, 1), 2).flatten(1)

    torch.testing.assert_close(network.embed(images), by_hand)


@pytest.mark.parametrize(
    ("side", "sides"),
    [
        (16, [8, 4, 2, 2, 1]),
        (28, [14, 7, 3, 3, 1]),
        (32, [16, 8, 4, 2, 1]),
        (64, [32, 16, 8, 4, 2]),
        (128, [64, 32, 16, 8, 4]),
    ],
)
def test_vgg11_never_normalises_a_single_pixel(side: int, sides: list[int]) -> None:
    network = small("vgg11", shape=(3, side, side))

    widths = [layer.shape[1] for layer in network.layers(normal(1, 3, side, side))]

    assert widths == [channels * n**2 for channels, n in zip((4, 8, 16, 32, 32), sides, strict=True)]


def test_a_residual_block_adds_its_input() -> None:
    network, images = small("resnet18"), normal(2, *SHAPE)
    stem, stage = network.features[0], network.features[1]
    first = stage[0]
    conv, _, _, other, _ = first.change

    x = stem(images)
    changed = F.conv2d(F.relu(F.instance_norm(F.conv2d(x, conv.weight, padding=1))), other.weight, padding=1)
    by_hand = F.relu(x + F.instance_norm(changed))

    torch.testing.assert_close(first(x), by_hand)


def test_resnet18_takes_the_mean_over_pixels() -> None:
    network, images = small("resnet18"), normal(2, *SHAPE)
    last = network.features[-1]

    by_hand = last[1](last[0](network.features[:-1](images))).mean(dim=(2, 3))

    torch.testing.assert_close(network.embed(images), by_hand)


def test_width_multiplies_channels_and_keeps_at_least_one() -> None:
    half, least = (build("alexnet", {"width": w}, SHAPE, 10, torch.Generator()) for w in (0.5, 1e-9))

    for network, wanted in ((half, [64, 96, 128, 96, 96]), (least, [1] * 5)):
        assert [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)] == wanted


def test_logits_are_linear_in_the_embedding() -> None:
    network, images = built(), torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))

    assert network.embed(images).shape == (4, 32 * 2 * 2)
    torch.testing.assert_close(network(images), network.get_submodule("classifier")(network.embed(images)))


@pytest.mark.parametrize(("shape", "depth"), [((1, 8, 8), 3), ((3, 9, 20), 3), ((3, 2, 2), 1), ((2, 28, 28), 4)])
def test_the_depth_is_limited_by_the_image(shape: tuple[int, int, int], depth: int) -> None:
    options = {"width": 4, "depth": depth}

    network = build("convnet", options, shape, 5, torch.Generator().manual_seed(0))

    assert network(torch.zeros(2, *shape)).shape == (2, 5)
    with pytest.raises(ConfigError, match=f"network.depth is {depth + 1}.*allow a depth of at most {depth}$"):
        build("convnet", options | {"depth": depth + 1}, shape, 5, torch.Generator())


@pytest.mark.parametrize(
    "options",
    [
        *({"width": width} for width in (0, -1, 8.5, "8", None, float("nan"), True)),
        *({"depth": depth} for depth in (0, -1, 2.0, "2", None, float("nan"), True)),
        {"widht": 8},
    ],
)
def test_invalid_options_are_refused_in_one_line(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^params\.yaml: network[. ][^\n]+$"):
        built(**options)


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "resnet18"])
@pytest.mark.parametrize("width", [0, -1.0, "1", None, float("nan"), float("inf"), True])
def test_an_invalid_width_is_refused(name: str, width: Any) -> None:
    with pytest.raises(ConfigError, match=r"^params\.yaml: network '\w+': width is .*; give a number above 0$"):
        build(name, {"width": width}, SHAPE, 10, torch.Generator())


@pytest.mark.parametrize("name", NETWORKS)
def test_missing_and_unknown_options_are_refused(name: str) -> None:
    for option in SMALL[name]:
        fewer = {key: value for key, value in SMALL[name].items() if key != option}
        with pytest.raises(ConfigError, match=rf"^params\.yaml: network '{name}' needs the option '{option}'"):
            build(name, fewer, SHAPE, 10, torch.Generator())
    with pytest.raises(ConfigError, match=rf"^params\.yaml: network '{name}' has no option 'dropout'"):
        build(name, SMALL[name] | {"dropout": 0.5}, SHAPE, 10, torch.Generator())


@pytest.mark.parametrize(("name", "side"), [("alexnet", 8), ("vgg11", 2), ("resnet18", 9)])
def test_an_image_that_is_too_small_is_refused(name: str, side: int) -> None:
    assert small(name, shape=(1, side, side))(normal(2, 1, side, side)).isfinite().all()
    with pytest.raises(ConfigError, match=rf"network '{name}' needs images of at least {side}×{side} pixels"):
        small(name, shape=(1, 64, side - 1))


def test_an_option_that_is_not_given_has_no_default() -> None:
    with pytest.raises(ConfigError, match=r"network 'convnet' needs the option 'depth'"):
        build("convnet", {"width": 8}, SHAPE, 10, torch.Generator())


def test_an_unknown_network_is_refused_with_the_known_names() -> None:
    with pytest.raises(ConfigError, match=f"network.name is 'convent'; choose one of {', '.join(NETWORKS)}"):
        build("convent", {}, SHAPE, 10, torch.Generator())


# --- violations of the contract


class Broken(Network):
    """A linear network with one configurable violation."""

    def __init__(self, shape: tuple[int, int, int], classes: int, *, how: str = "") -> None:
        super().__init__(
            [nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 4), nn.ReLU())], nn.Linear(4, classes)
        )
        self.how = how
        if how == "unused":
            self.more = nn.Linear(2, 2)

    def layers(self, x: Tensor) -> list[Tensor]:
        layers = super().layers(x)
        return {"none": [], "maps": [layers[0][..., None]], "other": [layers[0] + 1]}.get(self.how, layers)

    def embed(self, x: Tensor) -> Tensor:
        changed: dict[str, Callable[[Tensor], Tensor]] = {
            "batch": lambda features: features - features.mean(dim=0),
            "dropout": lambda features: F.dropout(features, training=self.training),
            "eval": lambda features: features if self.training else 2 * features,
            "constant": lambda features: features.detach(),
        }
        return changed.get(self.how, lambda features: features)(super().embed(x))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, : 2 if self.how == "classes" else None]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("classes", r"logits have shape \(2, 2\); \(N, classes\) is \(2, 3\)"),
        ("batch", "the last of the layers differs from the result of embed"),
        ("none", "layers returns nothing"),
        ("maps", r"layers returns \(2, 4, 1\); return \(N, features\)"),
        ("other", "the last of the layers differs from the result of embed"),
        ("dropout", "the network draws from torch's global generator"),
        ("eval", "training and evaluation differ"),
        ("constant", "the pixels|the logits do not depend"),
        ("unused", "the logits do not depend on one of the weights"),
    ],
)
def test_a_violation_by_a_network_is_named(how: str, says: str) -> None:
    with pytest.raises(AssertionError, match=says), torch.random.fork_rng():
        check_network(Broken, {"how": how}, torch.Generator().manual_seed(0), sides=(8,))


def test_a_correct_network_passes() -> None:
    check_network(Broken, {}, torch.Generator().manual_seed(0), sides=(8,))


def test_dependence_between_images_is_a_violation() -> None:
    class Centred(Network):
        def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
            super().__init__([nn.Flatten()], nn.Linear(math.prod(shape), classes))

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x - x.mean(dim=0))

    with pytest.raises(AssertionError, match="an image's logits depend on the other images"):
        check_network(Centred, {}, torch.Generator().manual_seed(0), sides=(8,))
