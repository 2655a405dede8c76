"""Training to convergence: the number of steps follows from the loss on the tune split."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from test_evaluate import EASY, RECIPE, SEEN

from fair_distill.config import Plateau
from fair_distill.distillation.networks import Network
from fair_distill.distillation.sampling import reader
from fair_distill.errors import MeasurementError
from fair_distill.evaluation.convergence import Convergence, find_plateau, mean_loss
from fair_distill.evaluation.train import train

SMALL = replace(RECIPE, network={"name": "mlp", "options": {"width": 4, "depth": 1}})
ROWS = reader(EASY.images, SEEN, torch.device("cpu"))
LABELS = torch.tensor(EASY.labels, dtype=torch.int64)


def scripted(losses: list[float]) -> Callable[[Network], float]:
    remaining: Iterator[float] = iter(losses)
    return lambda network: next(remaining)


def plateau_of(loss_on_tune: Callable[[Network], float], **changes: float) -> Convergence:
    rule = Plateau(**({"every": 3, "improvement": 0.1, "patience": 2, "most": 60} | changes))  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    return find_plateau(SMALL, ROWS, LABELS, loss_on_tune, rule, shape=EASY.shape, classes=2, generator=generator)


def test_the_steps_are_twice_those_of_the_smallest_loss() -> None:
    # 0.46 is smaller than 0.5, but by less than a tenth.
    assert plateau_of(scripted([1.0, 0.5, 0.46, 0.47])) == Convergence(12, 0.5, converged=True)


def test_an_improvement_starts_the_patience_again() -> None:
    assert plateau_of(scripted([1.0, 0.95, 0.5, 0.49, 0.48])) == Convergence(18, 0.5, converged=True)


def test_a_loss_that_keeps_falling_ends_at_the_largest_number_of_steps() -> None:
    falling = [0.5**i for i in range(100)]

    assert plateau_of(scripted(falling)) == Convergence(60, 0.5**9, converged=False)


def test_a_diverged_training_has_no_plateau() -> None:
    with pytest.raises(MeasurementError, match=r"mlp on all images diverged.*lower params.yaml: recipe.learning_rate"):
        plateau_of(scripted([float("nan")] * 20))


def test_training_to_the_plateau_learns_what_a_few_steps_do_not() -> None:
    def loss(network: Network) -> float:
        return mean_loss(network, ROWS, LABELS)

    convergence = plateau_of(loss, most=400)
    losses = []
    for steps in (3, convergence.steps):
        recipe = replace(SMALL, steps=steps)
        generator = torch.Generator().manual_seed(1)
        losses.append(loss(train(recipe, ROWS, LABELS, shape=EASY.shape, classes=2, generator=generator)))

    assert losses[1] < losses[0] / 2
    assert plateau_of(loss, most=400) == convergence
