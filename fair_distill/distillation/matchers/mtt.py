"""MTT: matching training trajectories (Cazenavette et al., CVPR 2022). The statistic is a displacement of all weights.

A student starts where an expert was after t epochs, takes N steps on the synthetic set, and is to land where the
expert was M epochs later: ||θ̂ − θ*_{t+M}||² / ||θ*_t − θ*_{t+M}||², which is what `distance: squared` with
`reduce: sum` gives. The student's step size is learned beside the pixels.

Follows the paper, except that experts and t are drawn anew at every step, where the paper's release goes through its
experts in turn; augmentation is drawn for every image; and sets are evaluated by their recipe, like those of all other
methods, not with the learned step size, which is in the card. **How groups come in is our derivation, and in the
experts alone**; see `experts`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from torch.func import functional_call

from fair_distill.distillation.alignment import Target
from fair_distill.distillation.augment import augment, draw
from fair_distill.distillation.divergence import Diverged
from fair_distill.distillation.experts import Experts, refuse_trajectories
from fair_distill.distillation.matchers.base import Learned, Pair, Step
from fair_distill.distillation.networks import Network
from fair_distill.distillation.synthetic import decode
from fair_distill.errors import ConfigError

# For the provenance of a set whose experts were aligned across groups.
DERIVED = (
    "The literature has no cross-group MTT. Here experts are trained so that every gradient is the barycenter of the "
    "groups' gradients, which is this project's own derivation."
)


@dataclass(frozen=True)
class MTT:
    """The displacement of all weights, as one vector, in units of the expert's.

    Attributes
    ----------
    student_steps : N
    expert_epochs : M
    start_epochs : t is drawn below it
    step_size : the student's, at first
    step_size_learning_rate : of its optimiser, which otherwise is that of the pixels; 0 leaves it as it is
    batch_size : synthetic images a student step, as the network sees them
    experts : how the experts are trained
    """

    student_steps: int
    expert_epochs: int
    start_epochs: int
    step_size: float
    step_size_learning_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    batch_size: int
    experts: Experts

    def __post_init__(self) -> None:
        last = self.start_epochs - 1 + self.expert_epochs
        if last > self.experts.epochs:
            raise ConfigError(
                f"params.yaml: distill.matcher: start_epochs {self.start_epochs} and expert_epochs "
                f"{self.expert_epochs} ask for experts of {last} epochs; experts.epochs is {self.experts.epochs}"
            )

    @property
    def learned(self) -> dict[str, Learned]:
        return {"step_size": Learned(self.step_size, self.step_size_learning_rate)}

    def pairs(self, step: Step) -> Iterator[Pair]:
        refuse_trajectories(step.alignment)
        if step.trajectories is None:
            raise ConfigError("params.yaml: distill.matcher is 'mtt', which follows experts, and none were given")
        images, draws = step.synthetic.images, step.generator
        expert, begin = (
            int(torch.randint(count, (), generator=draws)) for count in (self.experts.count, self.start_epochs)
        )
        first, last = (
            weights.to(images) for weights in step.trajectories.between(expert, begin, begin + self.expert_epochs)
        )
        way = last - first
        length = way.norm()
        moved = self._student(step, first) - first
        yield Pair([Target(((way / length)[None],), images.new_ones(1))], ((moved / length)[None],))

    def _student(self, step: Step, weights: Tensor) -> Tensor:
        """Return the weights, (P,), after N steps on the synthetic set, with gradient in pixels and step size."""
        shown, step_size = step.synthetic, step.learned["step_size"]
        if step_size <= 0:
            raise Diverged(
                f"the student's step size fell to {step_size.item():g}; lower params.yaml: "
                f"distill.matcher.step_size_learning_rate (it is {self.step_size_learning_rate:g})"
            )
        images = decode(shown.valid(shown.images), shown.formation)
        labels = torch.arange(len(images), device=images.device) // shown.per_class
        weights = weights.detach().requires_grad_()
        order = torch.empty(0, dtype=torch.int64)
        for _ in range(self.student_steps):
            if len(order) == 0:
                order = torch.randperm(len(images), generator=step.generator)
            picked, order = order[: self.batch_size].to(images.device), order[self.batch_size :]
            seen = augment(images[picked], draw(shown.strategies, len(picked), step.generator))
            loss = F.cross_entropy(functional_call(step.network, named(step.network, weights), (seen,)), labels[picked])
            (gradient,) = torch.autograd.grad(loss, weights, create_graph=True)
            weights = weights - step_size * gradient
        return weights


def named(network: Network, weights: Tensor) -> dict[str, Tensor]:
    """Cut a vector of all weights, (P,), into the network's own, by name. Differentiable."""
    shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
    parts = weights.split([shape.numel() for shape in shapes.values()])
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
