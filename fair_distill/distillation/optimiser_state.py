"""The tensors that the loop optimises and the state of their optimiser, as named tensors for a checkpoint.

A checkpoint names nested states with slashes, for example `optimiser/images/momentum_buffer`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fair_distill.config import Optimiser
from fair_distill.distillation.matchers.base import Learned

StateDict = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class OptimiserState:
    """The images, the scalars that a matcher learns, and the optimiser of both.

    Attributes
    ----------
    images : the synthetic images, a leaf tensor
    learned : scalars by name; each has its own learning rate
    optimiser : the optimiser of all of them
    settings : the section distill.optimiser
    """

    images: Tensor
    learned: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    settings: Optimiser

    @classmethod
    def initial(
        cls, images: Tensor, learned: Mapping[str, Learned], settings: Optimiser, device: torch.device
    ) -> "OptimiserState":
        """Return the state before the first step, on a device."""
        images = images.to(device).requires_grad_()
        scalars = {name: torch.tensor(scalar.start, device=device).requires_grad_() for name, scalar in learned.items()}
        parameters: list[dict[str, Any]] = [
            {"params": [images]},
            *({"params": [scalars[name]], "lr": scalar.learning_rate} for name, scalar in learned.items()),
        ]
        optimiser: torch.optim.Optimizer
        if settings.name == "adam":
            optimiser = torch.optim.Adam(parameters, lr=settings.learning_rate, betas=(settings.momentum, 0.999))
        else:
            optimiser = torch.optim.SGD(parameters, lr=settings.learning_rate, momentum=settings.momentum)
        return cls(images, scalars, optimiser, settings)

    def update(self, step: int, steps: int) -> None:
        """Take a step down the gradients; `step` counts from 0 to `steps` - 1."""
        if self.settings.name == "normalised_sgd" and self.images.grad is not None:
            root_mean_square = self.images.grad.square().mean().sqrt()
            # Without the limit, a gradient of zeros would become NaN.
            self.images.grad /= root_mean_square.clamp(min=torch.finfo(self.images.dtype).tiny)
        if self.settings.decay == "cosine":
            factor = (1 + math.cos(math.pi * step / steps)) / 2
            self.optimiser.param_groups[0]["lr"] = self.settings.learning_rate * factor
        self.optimiser.step()

    def state(self) -> StateDict:
        """Return the tensors and the optimiser's moments, by name."""
        moments = {
            f"{name}/{key}": torch.as_tensor(moment)
            for name, value in self._all().items()
            for key, moment in self.optimiser.state[value].items()
        }
        return {name: value.detach() for name, value in self._all().items()} | add_prefix("optimiser", moments)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for name, value in self._all().items():
            value.data = state[name].to(value.device)
            moments = strip_prefix(f"optimiser/{name}", state)
            # The optimiser expects its step count on the CPU.
            self.optimiser.state[value].update(
                {key: moment.to("cpu" if key == "step" else value.device) for key, moment in moments.items()}
            )

    def _all(self) -> dict[str, Tensor]:
        return {"images": self.images, **self.learned}


def add_prefix(name: str, state: Mapping[str, Tensor]) -> StateDict:
    """Return the state with `name/` before every key."""
    return {f"{name}/{key}": value for key, value in state.items()}


def strip_prefix(name: str, state: Mapping[str, Tensor]) -> StateDict:
    """Return the entries whose key starts with `name/`, without this prefix."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
