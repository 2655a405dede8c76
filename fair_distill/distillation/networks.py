"""The networks that embed and classify images: blocks, then one linear layer. NETWORKS lists them.

Weights are drawn from a generator argument, on its device. No network uses batch statistics or dropout. So the output
for one image does not depend on the other images of a batch, the gradient of a weighted sum of losses is the weighted
sum of their gradients, and training and evaluation use the same function.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fair_distill.errors import ConfigError
from fair_distill.plugins import bind_options, resolve

Shape = tuple[int, int, int]


class Network(nn.Module):
    """A network as matchers and the evaluation use it: blocks of features and a linear classifier."""

    def __init__(self, blocks: Sequence[nn.Module], classifier: nn.Linear) -> None:
        super().__init__()
        self.features = nn.Sequential(*blocks)
        self.classifier = classifier

    def layers(self, x: Tensor) -> list[Tensor]:
        """Return the flattened features after every block, each (N, features); the last entry equals `embed(x)`."""
        maps = []
        for block in self.features:
            x = block(x)
            maps.append(x.flatten(1))
        return maps

    def embed(self, x: Tensor) -> Tensor:
        """Return the features before the classifier, (N, features)."""
        features: Tensor = self.features(x)
        return features.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (N, classes)."""
        logits: Tensor = self.classifier(self.embed(x))
        return logits


class ConvNet(Network):
    """`depth` × [3×3 convolution, instance norm, ReLU, 2×2 average pool], then one linear layer.

    This is the standard network of the field (Gidaris & Komodakis, CVPR 2018; Zhao et al., ICLR 2021).
    """

    def __init__(self, shape: Shape, classes: int, *, width: int, depth: int) -> None:
        channels, height, width_px = shape
        if min(height, width_px) < 2**depth:
            raise ConfigError(
                f"params.yaml: network.depth is {depth}; images of {height}×{width_px} pixels allow a depth of at most "
                f"{int(math.log2(min(height, width_px)))}"
            )
        widths = [channels] + [width] * depth
        super().__init__(
            [
                nn.Sequential(nn.Conv2d(before, after, 3, padding=1), _instance_norm(after), nn.ReLU(), MeanOfFour())
                for before, after in pairwise(widths)
            ],
            nn.Linear(width * (height >> depth) * (width_px >> depth), classes),
        )


class MeanOfFour(nn.Module):
    """AvgPool2d(2), which on a CPU is 2.2 times faster as a sum of rows and then of columns: those are vectorised."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return F.avg_pool2d(x, 2)
        height, width = (side // 2 * 2 for side in x.shape[2:])
        # `unflatten` and `unbind` instead of strided slices: their gradient is written once, without zeros.
        upper, lower = x[:, :, :height, :width].unflatten(2, (-1, 2)).unbind(3)
        left, right = (upper + lower).unflatten(3, (-1, 2)).unbind(4)
        mean: Tensor = (left + right) * 0.25
        return mean


class MLP(Network):
    """`depth` × [linear layer of `width`, ReLU] on the flattened image, then one linear layer.

    Zhao et al. use width 128 and depth 2.
    """

    def __init__(self, shape: Shape, classes: int, *, width: int, depth: int) -> None:
        widths = [math.prod(shape)] + [width] * depth
        super().__init__(
            [nn.Sequential(nn.Flatten(), nn.Linear(before, after), nn.ReLU()) for before, after in pairwise(widths)],
            nn.Linear(width, classes),
        )


class Linear(Network):
    """No hidden layers: the features before the linear layer are the flattened image itself. For encoded examples."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__([nn.Flatten()], nn.Linear(math.prod(shape), classes))


class AlexNet(Network):
    """Five convolutions, two of 5×5 and three of 3×3, with three max pools and no norm, then one linear layer.

    This is AlexNet (Krizhevsky et al., NeurIPS 2012) as the field uses it on small images (Zhao et al., ICLR 2021): one
    stream, stride 1, no hidden linear layers. Deviation: the reference pads a grey image by two more pixels, from 28 to
    32; this network does not.

    Parameters
    ----------
    width : a multiple of the standard channels 128, 192, 256, 192, 192
    """

    def __init__(self, shape: Shape, classes: int, *, width: float) -> None:
        channels, height, width_px = shape
        _check_side("alexnet", shape, 8)
        widths = [channels, *(_scaled(c, width) for c in (128, 192, 256, 192, 192))]
        sides, pooled = (5, 5, 3, 3, 3), (True, True, False, False, True)
        super().__init__(
            [
                nn.Sequential(
                    nn.Conv2d(before, after, side, padding=side // 2), nn.ReLU(), *([nn.MaxPool2d(2)] if pool else [])
                )
                for (before, after), side, pool in zip(pairwise(widths), sides, pooled, strict=True)
            ],
            nn.Linear(widths[-1] * (height >> 3) * (width_px >> 3), classes),
        )


class VGG11(Network):
    """Five stages of one or two [3×3 convolution, instance norm, ReLU], each ending in a max pool; one linear layer.

    This is VGG-11 (Simonyan & Zisserman, ICLR 2015) as the field uses it on small images: no hidden linear layers.
    Deviation: below 32 pixels, a pool before the last one is omitted if it would leave a single pixel, because the
    instance norm of a single pixel is always 0.

    Parameters
    ----------
    width : a multiple of the standard channels 64, 128, 256, 256, 512, 512, 512, 512
    """

    def __init__(self, shape: Shape, classes: int, *, width: float) -> None:
        channels, height, width_px = shape
        _check_side("vgg11", shape, 2)
        stages, before = [], channels
        standard_channels = ((64,), (128,), (256, 256), (512, 512), (512, 512))
        for i, channels_of_stage in enumerate(standard_channels):
            layers: list[nn.Module] = []
            for after in (_scaled(c, width) for c in channels_of_stage):
                layers += [nn.Conv2d(before, after, 3, padding=1), _instance_norm(after), nn.ReLU()]
                before = after
            if min(height, width_px) >= 4 or i == len(standard_channels) - 1:
                layers.append(nn.MaxPool2d(2))
                height, width_px = height // 2, width_px // 2
            stages.append(nn.Sequential(*layers))
        super().__init__(stages, nn.Linear(before * height * width_px, classes))


class ResNet18(Network):
    """A 3×3 convolution, four stages of two residual blocks, a mean over pixels and a linear layer.

    All stages but the first halve the image. This is ResNet-18 (He et al., CVPR 2016) as the field uses it on small
    images: no pool after the first convolution, and instance norm instead of batch norm.

    Parameters
    ----------
    width : a multiple of the standard channels 64, 128, 256, 512
    """

    def __init__(self, shape: Shape, classes: int, *, width: float) -> None:
        _check_side("resnet18", shape, 9)  # Three halvings of 8 pixels leave one, whose instance norm is always 0.
        widths = [_scaled(c, width) for c in (64, 64, 128, 256, 512)]
        stem = nn.Sequential(
            nn.Conv2d(shape[0], widths[0], 3, padding=1, bias=False), _instance_norm(widths[0]), nn.ReLU()
        )
        stages = [
            nn.Sequential(Residual(before, after, stride=1 if i == 0 else 2), Residual(after, after, stride=1))
            for i, (before, after) in enumerate(pairwise(widths))
        ]
        stages[-1].append(MeanOverPixels())
        super().__init__([stem, *stages], nn.Linear(widths[-1], classes))


class MeanOverPixels(nn.Module):
    """AdaptiveAvgPool2d(1) with a gradient that is deterministic on a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3), keepdim=True)


class Residual(nn.Module):
    """Two [3×3 convolution, instance norm] with a ReLU between them, added to the input.

    If the sizes differ, a 1×1 convolution maps the input.
    """

    def __init__(self, before: int, after: int, *, stride: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            _instance_norm(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            _instance_norm(after),
        )
        self.keep: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.keep = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), _instance_norm(after))

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.change(x) + self.keep(x)
        return changed.relu()


# To add a network, write the module and add its line here.
NETWORKS: dict[str, Callable[..., Network]] = {
    "convnet": ConvNet,
    "mlp": MLP,
    "linear": Linear,
    "alexnet": AlexNet,
    "vgg11": VGG11,
    "resnet18": ResNet18,
}


def draw_weights(network: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights in place, from torch's default distributions (Kaiming uniform, a = √5) and the given generator.

    Raises
    ------
    ConfigError
        If a module of another type has weights or buffers: they would remain uninitialised.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            bound = 1 / math.sqrt(fan_in)
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        elif isinstance(module, nn.GroupNorm | nn.LayerNorm):
            if module.weight is not None:
                nn.init.ones_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
            raise ConfigError(
                f"params.yaml: the network contains a {type(module).__name__}; use only Conv2d, Linear, GroupNorm and "
                "LayerNorm for layers with weights"
            )


def build(
    name: str,
    options: dict[str, Any],
    shape: Shape,
    classes: int,
    generator: torch.Generator,
    *,
    networks: Mapping[str, Callable[..., Network]] = NETWORKS,
    custom: bool = False,
) -> Network:
    """Return a new network with weights drawn from `generator`.

    Parameters
    ----------
    networks : the networks that the name can select
    custom : permission to import `package.module:callable`; only for a name from params.yaml, see `plugins.resolve`

    Raises
    ------
    ConfigError
        If the name or an option is invalid.
    """
    factory = resolve(name, networks, where="network.name", custom=custom)
    bound = bind_options(factory, options, where=f"network {name!r}", arguments=2)
    return build_from_factory(bound, {}, shape, classes, generator)


def build_from_factory(
    factory: Callable[..., Network], options: dict[str, Any], shape: Shape, classes: int, generator: torch.Generator
) -> Network:
    """Return `factory(shape, classes, **options)` on the generator's device, with weights drawn from the generator."""
    with torch.device("meta"):  # Without memory for weights, torch does not draw them from its global generator.
        network = factory(shape, classes, **options)
    _to_empty(network, generator.device)
    draw_weights(network, generator)
    return network


def _to_empty(network: nn.Module, device: torch.device) -> None:
    """Allocate every weight on a device. `network.to_empty` would do the same but imports SymPy."""
    for module in network.modules():
        for name, weight in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(torch.empty(weight.shape, dtype=weight.dtype, device=device)))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype, device=device))


def _instance_norm(channels: int) -> nn.GroupNorm:
    # One channel per group. Unlike InstanceNorm2d, this is affine and accepts 1×1 pixels.
    return nn.GroupNorm(channels, channels)


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))


def _check_side(name: str, shape: Shape, side: int) -> None:
    if min(shape[1:]) < side:
        raise ConfigError(
            f"params.yaml: network {name!r} needs images of at least {side}×{side} pixels; the images have "
            f"{shape[1]}×{shape[2]}. Choose another network"
        )
