"""The number of steps after which a network that is trained on all real images has converged.

A recipe counts steps, and is chosen for small sets: on a large training split, its steps may be less than one epoch.
Networks that are compared with a small set have to be trained until the loss on the tune split stops falling.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from fair_distill.card import TrainingRecipe
from fair_distill.config import Plateau
from fair_distill.distillation.networks import Network
from fair_distill.errors import MeasurementError
from fair_distill.evaluation.train import Pixels, training_steps, untrained

_BATCH = 1024


@dataclass(frozen=True)
class Convergence:
    """When the training of a network converged.

    Attributes
    ----------
    steps : steps of the recipe, twice the steps before the smallest loss, because the second half of a recipe has a
        smaller learning rate
    loss : the smallest mean cross-entropy on the tune split
    converged : whether the loss stopped falling within the largest number of steps
    """

    steps: int
    loss: float
    converged: bool


def find_plateau(
    recipe: TrainingRecipe,
    rows: Pixels,
    labels: Tensor,
    loss_on_tune: Callable[[Network], float],
    plateau: Plateau,
    *,
    shape: tuple[int, int, int],
    classes: int,
    generator: torch.Generator,
) -> Convergence:
    """Train a network at the initial learning rate of the recipe until its loss on the tune split stops falling.

    Parameters
    ----------
    rows, labels, shape, classes, generator : as in `evaluation.train.train`
    loss_on_tune : returns the loss of a network in evaluation mode, see `mean_loss`

    Raises
    ------
    MeasurementError
        If the training diverged: no measured loss is finite.
    """
    network = untrained(recipe, shape, classes, generator, custom=True).to(labels.device)
    smallest, best_step, without_improvement = float("inf"), 0, 0
    longest = replace(recipe, steps=plateau.most)
    for step in training_steps(network, longest, rows, labels, generator):
        if 2 * step > plateau.most:
            break
        if step % plateau.every:
            continue
        loss = loss_on_tune(network.eval())
        network.train()
        if loss < smallest * (1 - plateau.improvement):
            smallest, best_step, without_improvement = loss, step, 0
        else:
            without_improvement += 1
        if without_improvement == plateau.patience:
            break
    if best_step == 0:
        raise MeasurementError(
            f"the training of {recipe.network['name']} on all images diverged before step {step}: its loss on the tune "
            f"split is not finite; lower params.yaml: recipe.learning_rate (it is {recipe.learning_rate:g})"
        )
    converged = without_improvement == plateau.patience
    return Convergence(2 * best_step if converged else plateau.most, smallest, converged)


@torch.no_grad()
def mean_loss(network: Network, rows: Pixels, labels: Tensor) -> float:
    """Return the mean cross-entropy of a network on some examples, in natural units of information."""
    total = 0.0
    for indices in torch.arange(len(labels), device=labels.device).split(_BATCH):
        total += float(F.cross_entropy(network(rows(indices)), labels[indices], reduction="sum"))
    return total / len(labels)
