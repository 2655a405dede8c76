"""How real images are embedded: most of a step's work where whole embeddings are matched, and no gradient goes through.

`exact` is the network as it is. `fast` is for GPUs: a copy of it in bfloat16, channels last and compiled; features are
then right to about three digits, which the mean over a cell's images shares out.
"""

import copy
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from fair_distill.distillation.networks import Network

# Images that a CPU is given at a time: the maps of thousands fit in no cache.
_AT_A_TIME = 256


class Embedding:
    """The network as it is."""

    @torch.no_grad()
    def embed(self, network: Network, images: Tensor) -> Tensor:
        """Return the features before the classifier, (N, features)."""
        return torch.cat([network.embed(part) for part in _parts(images)])

    @torch.no_grad()
    def layers(self, network: Network, images: Tensor) -> list[Tensor]:
        """Return the features after every block, (N, features of the block) each."""
        return [torch.cat(parts) for parts in zip(*(network.layers(part) for part in _parts(images)), strict=True)]


def _parts(images: Tensor) -> tuple[Tensor, ...]:
    return (images,) if images.is_cuda else images.split(_AT_A_TIME)


class Fast(Embedding):
    """A copy in bfloat16 and channels last, compiled on a GPU. Mutable: it takes each network's weights in turn."""

    def __init__(self) -> None:
        self._copy: Network | None = None
        self._run: dict[str, Callable[..., Any]] = {}

    def embed(self, network: Network, images: Tensor) -> Tensor:
        features: Tensor = self._called("embed", network, images)
        return features.float()

    def layers(self, network: Network, images: Tensor) -> list[Tensor]:
        return [layer.float() for layer in self._called("layers", network, images)]

    @torch.no_grad()
    def _called(self, what: str, network: Network, images: Tensor) -> Any:
        if self._copy is None:
            self._copy = copy.deepcopy(network).requires_grad_(False)
            self._copy.to(dtype=torch.bfloat16, memory_format=torch.channels_last)  # type: ignore[call-overload]
        torch._foreach_copy_(list(self._copy.parameters()), list(network.parameters()))
        if what not in self._run:
            method = getattr(self._copy, what)
            if images.is_cuda:
                # The compiler has a switch of its own, which only this call sets along with torch's.
                torch.use_deterministic_algorithms(torch.are_deterministic_algorithms_enabled())
                method = torch.compile(method, dynamic=False)
            self._run[what] = method
        return self._run[what](images.to(dtype=torch.bfloat16, memory_format=torch.channels_last))


def build_embedding(kind: Literal["exact", "fast"]) -> Embedding:
    return Fast() if kind == "fast" else Embedding()
