"""MTT: matching training trajectories (Cazenavette et al., CVPR 2022). The statistic is the change of all weights.

A student starts from the weights θ*_t of an expert after t epochs and takes N steps on the synthetic set. Its weights θ̂
should then equal the expert's weights M epochs later. The loss is ||θ̂ − θ*_{t+M}||² / ||θ*_t − θ*_{t+M}||², which
`distance: squared` with `reduce: sum` gives. The student's step size is learned together with the pixels.

Deviations from the paper: the expert and t are drawn again at every step, whereas the release iterates over its
experts; augmentation is drawn for every image; and sets are evaluated by their recipe, like the sets of all other
methods, instead of with the learned step size, which is recorded in the card. **Groups affect only the experts, by this
project's own derivation**; see `experts`. P weights.
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
from fair_distill.distillation.experts import Experts
from fair_distill.distillation.matchers.base import Learned, Matcher, Pair, Step
from fair_distill.distillation.networks import Network
from fair_distill.distillation.synthetic import decode
from fair_distill.errors import ConfigError

# For the provenance of a set whose experts were aligned across groups.
DERIVED = (
    "The literature has no cross-group MTT. Here experts are trained so that every gradient is the barycenter of the "
    "groups' gradients, which is this project's own derivation."
)


@dataclass(frozen=True)
class MTT(Matcher):
    """Matches the change of all weights, as one vector, divided by the length of the expert's change.

    Attributes
    ----------
    student_steps : N
    expert_epochs : M
    start_epochs : t is drawn from 0 to start_epochs − 1
    step_size : the student's initial step size
    step_size_learning_rate : the learning rate of the step size; 0 keeps the step size constant
    batch_size : synthetic images per student step, counted as the network receives them
    experts : how to train the experts
    """

    student_steps: int
    expert_epochs: int
    start_epochs: int
    step_size: float
    step_size_learning_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    batch_size: int
    experts: Experts

    # One trajectory per class of targets: the experts follow a single target.
    supports = frozenset({"one_mean", "one_target"})

    def __post_init__(self) -> None:
        last = self.start_epochs - 1 + self.expert_epochs
        if last > self.experts.epochs:
            raise ConfigError(
                f"params.yaml: distill.matcher: start_epochs {self.start_epochs} and expert_epochs "
                f"{self.expert_epochs} need experts of {last} epochs; experts.epochs is {self.experts.epochs}. Raise it"
            )

    @property
    def learned(self) -> dict[str, Learned]:
        return {"step_size": Learned(self.step_size, self.step_size_learning_rate)}

    @property
    def follows(self) -> Experts:
        return self.experts

    def pairs(self, step: Step) -> Iterator[Pair]:
        if step.trajectories is None:
            raise ConfigError(
                "params.yaml: distill.matcher is 'mtt', which needs experts; run `fair-distill stage experts` first"
            )
        images, generator = step.synthetic.images, step.generator
        expert, begin = (
            int(torch.randint(count, (), generator=generator)) for count in (self.experts.count, self.start_epochs)
        )
        first, last = (
            weights.to(images) for weights in step.trajectories.between(expert, begin, begin + self.expert_epochs)
        )
        expert_change = last - first
        length = expert_change.norm()
        student_change = self._student(step, first) - first
        target = Target(((expert_change / length)[None],), images.new_ones(1))
        yield Pair([target], ((student_change / length)[None],))

    def _student(self, step: Step, weights: Tensor) -> Tensor:
        """Return the weights, (P,), after N steps on the synthetic set, with gradient in pixels and step size."""
        synthetic, step_size = step.synthetic, step.learned["step_size"]
        if step_size <= 0:
            raise Diverged(
                f"the student's step size fell to {step_size.item():g}; lower params.yaml: "
                f"distill.matcher.step_size_learning_rate (it is {self.step_size_learning_rate:g})"
            )
        images = decode(synthetic.project(synthetic.images), synthetic.formation)
        labels = torch.arange(len(images), device=images.device) // synthetic.per_class
        weights = weights.detach().requires_grad_()
        order = torch.empty(0, dtype=torch.int64)
        for _ in range(self.student_steps):
            if len(order) == 0:
                order = torch.randperm(len(images), generator=step.generator)
            rows, order = order[: self.batch_size].to(images.device), order[self.batch_size :]
            augmented = augment(images[rows], draw(synthetic.strategies, len(rows), step.generator))
            logits = functional_call(step.network, split_weights(step.network, weights), (augmented,))
            (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels[rows]), weights, create_graph=True)
            weights = weights - step_size * gradient
        return weights


def split_weights(network: Network, weights: Tensor) -> dict[str, Tensor]:
    """Split a vector of all weights, (P,), into the network's parameters, by name. Differentiable."""
    shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
    parts = torch.split(weights, [shape.numel() for shape in shapes.values()])
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
