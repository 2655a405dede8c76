"""The networks that embed and classify. A network is a module with `embed`; its line is in NETWORKS.

Weights are drawn from a generator that is an argument, on the CPU, so a seed gives the same network on
every device.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from fair_distill.errors import ConfigError


class Network(nn.Module):
    """What a matcher and an evaluation need of a network."""

    def embed(self, x: Tensor) -> Tensor:
        """Return the features before the classifier, (N, features)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (N, classes)."""
        raise NotImplementedError


class ConvNet(Network):
    """`depth` × [3×3 convolution, instance norm, ReLU, 2×2 average pool], then one linear layer.

    The standard network of the field (Gidaris & Komodakis, CVPR 2018; Zhao et al., ICLR 2021).
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, *, width: int, depth: int) -> None:
        super().__init__()
        channels, height, width_px = shape
        for name, value in (("width", width), ("depth", depth)):
            if type(value) is not int or value < 1:
                raise ConfigError(f"params.yaml: network.{name} is {value!r}; a whole number from 1 is needed")
        if min(height, width_px) < 2**depth:
            raise ConfigError(
                f"params.yaml: network.depth is {depth}, which halves the image {depth} times; "
                f"{height}×{width_px} pixels allow at most {int(math.log2(min(height, width_px)))}"
            )
        widths = [channels] + [width] * depth
        self.features = nn.Sequential(
            *(
                layer
                for before, after in pairwise(widths)
                for layer in (
                    nn.Conv2d(before, after, 3, padding=1),
                    nn.GroupNorm(after, after),  # one channel a group: instance norm
                    nn.ReLU(),
                    nn.AvgPool2d(2),
                )
            )
        )
        self.classifier = nn.Linear(width * (height >> depth) * (width_px >> depth), classes)

    def embed(self, x: Tensor) -> Tensor:
        return self.features(x).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.embed(x))


# The one place a network is added: write the module, add its line.
NETWORKS: dict[str, Callable[..., Network]] = {
    "convnet": ConvNet,
}


def draw_weights(network: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights afresh: torch's own defaults (Kaiming uniform, a = √5), from our generator."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            bound = 1 / math.sqrt(fan_in)
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        elif isinstance(module, nn.GroupNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def build(
    name: str, options: dict[str, Any], shape: tuple[int, int, int], classes: int, generator: torch.Generator
) -> Network:
    """Return a new network of NETWORKS with weights drawn from `generator`.

    Raises
    ------
    ConfigError
        If there is no such network, or an option it does not have.
    """
    if name not in NETWORKS:
        raise ConfigError(f"params.yaml: network.name is {name!r}; choose one of {', '.join(NETWORKS)}")
    try:
        with torch.device("meta"):  # no weights yet: torch would draw them from its global generator
            network = NETWORKS[name](shape, classes, **options)
    except TypeError as error:
        raise ConfigError(f"params.yaml: network {name!r}: {error}") from None
    network.to_empty(device="cpu")
    draw_weights(network, generator)
    return network
