"""What an optimiser moves, and how its state is named when a run is kept: `optimiser/images/momentum_buffer`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fair_distill.config import Optimiser
from fair_distill.distillation.matchers.base import Learned

State = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Moved:
    """The images, the numbers that a matcher learns beside them, and the optimiser of both.

    Attributes
    ----------
    images : what is distilled, a leaf of its own graph
    learned : scalars by name, each with a learning rate of its own
    """

    images: Tensor
    learned: dict[str, Tensor]
    optimiser: torch.optim.Optimizer

    @classmethod
    def at(cls, images: Tensor, numbers: Mapping[str, Learned], settings: Optimiser, device: torch.device) -> "Moved":
        """Return them where they start, on a device."""
        images = images.to(device).requires_grad_()
        learned = {name: torch.tensor(of.start, device=device).requires_grad_() for name, of in numbers.items()}
        parts: list[dict[str, Any]] = [
            {"params": [images]},
            *({"params": [learned[name]], "lr": of.learning_rate} for name, of in numbers.items()),
        ]
        optimiser: torch.optim.Optimizer
        if settings.name == "sgd":
            optimiser = torch.optim.SGD(parts, lr=settings.learning_rate, momentum=settings.momentum)
        else:
            optimiser = torch.optim.Adam(parts, lr=settings.learning_rate, betas=(settings.momentum, 0.999))
        return cls(images, learned, optimiser)

    def state(self) -> State:
        moments = {
            f"{name}/{key}": torch.as_tensor(value)
            for name, of in self._all().items()
            for key, value in self.optimiser.state[of].items()
        }
        return {name: value.detach() for name, value in self._all().items()} | under("optimiser", moments)

    def restore(self, kept: Mapping[str, Tensor]) -> None:
        for name, value in self._all().items():
            value.data = kept[name].to(value.device)
            moments = below(f"optimiser/{name}", kept)
            # The count of steps stays on the CPU.
            self.optimiser.state[value].update(
                {key: moment.to("cpu" if key == "step" else value.device) for key, moment in moments.items()}
            )

    def _all(self) -> dict[str, Tensor]:
        return {"images": self.images, **self.learned}


def under(name: str, state: Mapping[str, Tensor]) -> State:
    """Return a part's state under the part's name."""
    return {f"{name}/{key}": value for key, value in state.items()}


def below(name: str, state: Mapping[str, Tensor]) -> State:
    """Return what stands under a part's name, as the part named it."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
