"""Embedding of real images, for which no gradient is needed. For matchers of embeddings this is most of the work.

`exact` uses the network unchanged. `fast` is for GPUs: a compiled copy of the network in bfloat16 and channels-last
layout. Its features are accurate to about three digits; averaging over the images of a cell reduces the error.
"""

import copy
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from fair_distill.distillation.networks import Network
from fair_distill.plugins import resolve

# The number of images per pass on a CPU. The feature maps of thousands of images would not fit in its cache.
_CPU_BATCH = 256


class Embedding:
    """Embeds images with the network itself."""

    @torch.no_grad()
    def embed(self, network: Network, images: Tensor) -> Tensor:
        """Return the features before the classifier, (N, features)."""
        return torch.cat([network.embed(part) for part in _parts(images)])

    @torch.no_grad()
    def layers(self, network: Network, images: Tensor) -> list[Tensor]:
        """Return the features after every block, each (N, features of the block)."""
        return [torch.cat(parts) for parts in zip(*(network.layers(part) for part in _parts(images)), strict=True)]


def _parts(images: Tensor) -> tuple[Tensor, ...]:
    if images.is_cuda:
        return (images,)
    parts: tuple[Tensor, ...] = torch.split(images, _CPU_BATCH)
    return parts


class FastEmbedding(Embedding):
    """Embeds images with a bfloat16 copy of the network, compiled on a GPU.

    Mutable: before each call the copy receives the weights of the given network.
    """

    def __init__(self) -> None:
        self._copy: Network | None = None
        self._methods: dict[str, Callable[..., Any]] = {}

    def embed(self, network: Network, images: Tensor) -> Tensor:
        features: Tensor = self._call("embed", network, images)
        return features.float()

    def layers(self, network: Network, images: Tensor) -> list[Tensor]:
        return [layer.float() for layer in self._call("layers", network, images)]

    @torch.no_grad()
    def _call(self, name: Literal["embed", "layers"], network: Network, images: Tensor) -> Any:
        if self._copy is None:
            self._copy = copy.deepcopy(network).requires_grad_(False)
            self._copy.to(dtype=torch.bfloat16, memory_format=torch.channels_last)  # type: ignore[call-overload]
        torch._foreach_copy_(list(self._copy.parameters()), list(network.parameters()))
        if name not in self._methods:
            method: Callable[..., Any] = self._copy.embed if name == "embed" else self._copy.layers
            if images.is_cuda:
                # The compiler has a separate determinism setting. Only this call sets both it and torch's.
                torch.use_deterministic_algorithms(torch.are_deterministic_algorithms_enabled())
                method = torch.compile(method, dynamic=False)
            self._methods[name] = method
        return self._methods[name](images.to(dtype=torch.bfloat16, memory_format=torch.channels_last))


EMBEDDINGS: dict[str, Callable[[], Embedding]] = {"exact": Embedding, "fast": FastEmbedding}


def build_embedding(kind: str) -> Embedding:
    """Return the embedding with a name in EMBEDDINGS."""
    return resolve(kind, EMBEDDINGS, where="distill.embedding")()
