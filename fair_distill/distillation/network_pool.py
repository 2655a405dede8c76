"""The networks a synthetic set is matched under: how they come, how they age, when they are renewed.

One scheme holds those of the papers. Networks take turns; each, after it was matched under, is trained a little
further, and after `visits` turns a new one takes its place.

    DM      pool 1, visits 1: a random network at every step (COBRA's code: warmup_epochs 10, 50 or 100 from scratch)
    CAFE    pool 1, advance 1 epoch on the synthetic set, settled: until its accuracy on real images no longer moves
    DC      pool 1, visits 10, advance 50 epochs on the synthetic set
    IDC     pool 1, visits 100, advance 5 batches of real images
    ours    pool 10, visits 10, advance 1: the ages that a warm-up from scratch reaches, at a tenth of its cost
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from fair_distill.config import Networks
from fair_distill.distillation.augment import augment, draw
from fair_distill.distillation.networks import Network

Lesson = Callable[[torch.Generator], tuple[Tensor, Tensor, Tensor]]


@dataclass(eq=False)
class NetworkPool:
    """Networks in turn. Mutable: it is the loop's state, and `state` and `restore` are what a checkpoint keeps.

    Parameters
    ----------
    make : returns a network with new weights
    redraw : gives a network new weights, in place: on a GPU a new one would cost more than a step
    strategies, generator : what a network's training images are augmented by, and what that and their order draw from
    lesson : returns images, labels and weights (summing to 1) of one real batch
    """

    make: Callable[[], Network]
    redraw: Callable[[Network], None]
    settings: Networks
    strategies: list[str]
    generator: torch.Generator
    lesson: Lesson
    networks: list[Network] = field(default_factory=list)
    ages: list[int] = field(default_factory=list)
    accuracies: list[list[float]] = field(default_factory=list)

    def visit(self, step: int, images: Tensor, labels: Tensor) -> Network:
        """Return the network whose turn it is at `step`; `images` is the synthetic set as it is now."""
        turn = step % self.settings.pool
        if turn == len(self.networks):
            # Staggered, so that the first round already holds networks of all ages.
            self.networks.append(self.make())
            self._epochs(self.networks[turn], images, labels, self.settings.warmup_epochs)
            self.ages.append(turn * self.settings.visits // self.settings.pool)
            self.accuracies.append([])
        elif self.ages[turn] >= self.settings.visits:
            self.redraw(self.networks[turn])
            self._epochs(self.networks[turn], images, labels, self.settings.warmup_epochs)
            self.ages[turn], self.accuracies[turn] = 0, []
        return self.networks[turn]

    def advance(self, step: int, images: Tensor, labels: Tensor) -> None:
        """Train the network of `step` further, unless its turns are over."""
        turn = step % self.settings.pool
        self.ages[turn] += 1
        if self.ages[turn] >= self.settings.visits:
            return
        if self.settings.advance_on == "synthetic":
            self._epochs(self.networks[turn], images, labels, self.settings.advance)
        else:
            for _ in range(self.settings.advance):
                real, of, counted = self.lesson(self.generator)
                self._update(self.networks[turn], real, of, counted)
        if self._settled(turn):
            self.ages[turn] = self.settings.visits

    @torch.no_grad()
    def _settled(self, turn: int) -> bool:
        """Ask a network about one real batch, and say whether it has stopped learning: CAFE's criterion."""
        if self.settings.settled is None:
            return False
        real, of, counted = self.lesson(self.generator)
        accuracy = ((self.networks[turn](real).argmax(dim=1) == of) * counted).sum().item()
        window = self.settings.settled.window
        self.accuracies[turn] = [*self.accuracies[turn], accuracy][-window:]
        span = max(self.accuracies[turn]) - min(self.accuracies[turn])
        return len(self.accuracies[turn]) == window and span <= self.settings.settled.span

    def _epochs(self, network: Network, images: Tensor, labels: Tensor, epochs: int) -> None:
        for _ in range(epochs):
            order = torch.randperm(len(labels), generator=self.generator).to(labels.device)
            for picked in order.split(self.settings.batch_size):
                even = torch.full((len(picked),), 1 / len(picked), device=labels.device)
                self._update(network, images[picked], labels[picked], even)

    @torch.enable_grad()
    def _update(self, network: Network, images: Tensor, labels: Tensor, counted: Tensor) -> None:
        """One step of SGD without momentum, every image augmented on its own."""
        weights = [parameter.requires_grad_() for parameter in network.parameters()]
        seen = augment(images, draw(self.strategies, len(images), self.generator))
        loss = (F.cross_entropy(network(seen), labels, reduction="none") * counted).sum()
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.sub_(gradient, alpha=self.settings.learning_rate)

    def state(self) -> dict[str, Tensor]:
        """Return the weights and ages of all networks, by name."""
        named = {
            f"{turn}/{name}": value.clone()
            for turn, network in enumerate(self.networks)
            for name, value in network.state_dict().items()
        }
        told = {f"accuracies/{turn}": torch.tensor(of, dtype=torch.float64) for turn, of in enumerate(self.accuracies)}
        return {**named, **told, "ages": torch.tensor(self.ages, dtype=torch.int64)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up what `state` gave."""
        self.ages = state["ages"].tolist()
        self.accuracies = [state[f"accuracies/{turn}"].tolist() for turn in range(len(self.ages))]
        self.networks = []
        for turn in range(len(self.ages)):
            network = self.make()
            prefix = f"{turn}/"
            network.load_state_dict(
                {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            )
            self.networks.append(network)
