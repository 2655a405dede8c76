"""The networks under which the synthetic set is matched: how they are trained, and when they are replaced.

Networks take turns. After each step, the network of the step is trained a little further. After `visits` steps it is
replaced by a new network. This scheme covers the papers:

    DM      pool 1, visits 1: a random network at every step (COBRA's code: warmup_epochs 10, 50 or 100 from scratch)
    CAFE    pool 1, advance 1 epoch on the synthetic set, settled: until its accuracy on real images stops changing
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

RealBatch = Callable[[torch.Generator], tuple[Tensor, Tensor, Tensor]]


@dataclass(eq=False)
class NetworkPool:
    """Networks that take turns. Mutable: the pool is state of the loop, which checkpoints through `state`/`restore`.

    Parameters
    ----------
    make : returns a network with new weights
    redraw : replaces the weights of a network in place; on a GPU, a new network would cost more than a step
    settings : the section distill.networks
    strategies : the augmentations of the images that networks are trained on
    generator : draws the augmentations and the order of the images
    real_batch : returns images, labels and weights (summing to 1) of one real batch
    """

    make: Callable[[], Network]
    redraw: Callable[[Network], None]
    settings: Networks
    strategies: list[str]
    generator: torch.Generator
    real_batch: RealBatch
    networks: list[Network] = field(default_factory=list)
    ages: list[int] = field(default_factory=list)
    accuracies: list[list[float]] = field(default_factory=list)

    def visit(self, step: int, images: Tensor, labels: Tensor) -> Network:
        """Return the network of a step; `images` and `labels` are the current synthetic set."""
        turn = step % self.settings.pool
        if turn == len(self.networks):
            # The initial ages are staggered, so that the first round already contains networks of all ages.
            self.networks.append(self.make())
            self._train_epochs(self.networks[turn], images, labels, self.settings.warmup_epochs)
            self.ages.append(turn * self.settings.visits // self.settings.pool)
            self.accuracies.append([])
        elif self.ages[turn] >= self.settings.visits:
            self.redraw(self.networks[turn])
            self._train_epochs(self.networks[turn], images, labels, self.settings.warmup_epochs)
            self.ages[turn], self.accuracies[turn] = 0, []
        return self.networks[turn]

    def advance(self, step: int, images: Tensor, labels: Tensor) -> None:
        """Train the network of a step further, unless it is due for replacement."""
        turn = step % self.settings.pool
        self.ages[turn] += 1
        if self.ages[turn] >= self.settings.visits:
            return
        if self.settings.advance_on == "synthetic":
            self._train_epochs(self.networks[turn], images, labels, self.settings.advance)
        else:
            for _ in range(self.settings.advance):
                self._train_step(self.networks[turn], *self.real_batch(self.generator))
        if self._has_settled(turn):
            self.ages[turn] = self.settings.visits

    @torch.no_grad()
    def _has_settled(self, turn: int) -> bool:
        """Return whether the accuracy of a network on real batches has stopped changing: CAFE's criterion."""
        if self.settings.settled is None:
            return False
        images, labels, weights = self.real_batch(self.generator)
        accuracy = ((self.networks[turn](images).argmax(dim=1) == labels) * weights).sum().item()
        window = self.settings.settled.window
        self.accuracies[turn] = [*self.accuracies[turn], accuracy][-window:]
        span = max(self.accuracies[turn]) - min(self.accuracies[turn])
        return len(self.accuracies[turn]) == window and span <= self.settings.settled.span

    def _train_epochs(self, network: Network, images: Tensor, labels: Tensor, epochs: int) -> None:
        for _ in range(epochs):
            order = torch.randperm(len(labels), generator=self.generator).to(labels.device)
            for rows in torch.split(order, self.settings.batch_size):
                equal = torch.full((len(rows),), 1 / len(rows), device=labels.device)
                self._train_step(network, images[rows], labels[rows], equal)

    @torch.enable_grad()
    def _train_step(self, network: Network, images: Tensor, labels: Tensor, weights: Tensor) -> None:
        """Take one step of SGD without momentum. Each image has its own augmentation."""
        parameters = [parameter.requires_grad_() for parameter in network.parameters()]
        augmented = augment(images, draw(self.strategies, len(images), self.generator))
        loss = (F.cross_entropy(network(augmented), labels, reduction="none") * weights).sum()
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=self.settings.learning_rate)

    def state(self) -> dict[str, Tensor]:
        """Return the weights, ages and recent accuracies of all networks, by name."""
        weights = {
            f"{turn}/{name}": value.clone()
            for turn, network in enumerate(self.networks)
            for name, value in network.state_dict().items()
        }
        accuracies = {
            f"accuracies/{turn}": torch.tensor(values, dtype=torch.float64)
            for turn, values in enumerate(self.accuracies)
        }
        return {**weights, **accuracies, "ages": torch.tensor(self.ages, dtype=torch.int64)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
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
