"""All built-in alignments satisfy the contract, and the contract detects violations."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from small_methods import every_alignment
from torch import Tensor

from fair_distill.config import Named
from fair_distill.distillation.alignment import (
    Alignment,
    Barycentric,
    CloudBarycentric,
    Mixture,
    PerGroup,
    Pooled,
    Statistic,
    Target,
    barycentric,
)
from fair_distill.distillation.barycenter import mean
from fair_distill.testing import check_alignment


@pytest.mark.parametrize("name", every_alignment())
def test_every_alignment_satisfies_the_contract(name: str) -> None:
    check_alignment(every_alignment()[name], torch.Generator().manual_seed(0))


def test_options_are_passed_to_the_factory() -> None:
    check_alignment(barycentric, torch.Generator().manual_seed(1), barycenter=Named(name="huber", delta=0.5))


@dataclass(frozen=True, eq=False)
class Changed(Pooled):
    """The pooled alignment with a change of its targets."""

    change: Callable[[list[Target], Statistic], list[Target]] = lambda targets, cells: targets
    mixed: bool = True

    @property
    def mixtures(self) -> Any:
        return super().mixtures if self.mixed else None

    def targets(self, cells: Statistic, classes: slice = slice(None)) -> list[Target]:
        return self.change(super().targets(cells, classes), cells)


def changed(change: Callable[[Statistic, Statistic], Any]) -> Callable[[Tensor, Tensor], Alignment]:
    """Return a pooled alignment with changed statistics in its targets."""
    return lambda counts, weights: Changed(
        weights,
        change=lambda targets, cells: [replace(targets[0], statistic=tuple(change(targets[0].statistic, cells)))],
    )


class Weightless(Pooled):
    def targets(self, cells: Statistic, classes: slice = slice(None)) -> list[Target]:
        return [replace(target, weight=0 * target.weight) for target in super().targets(cells, classes)]


class AnywhereInTheTable(Pooled):
    """Uses the first rows of its weights for any classes."""

    def targets(self, cells: Statistic, classes: slice = slice(None)) -> list[Target]:
        return super().targets(cells, slice(len(cells[0])))


class OtherMixtures(PerGroup):
    @property
    def mixtures(self) -> tuple[Mixture, ...]:
        return tuple(replace(mixture, weight=2 * mixture.weight) for mixture in super().mixtures)

    def targets(self, cells: Statistic, classes: slice = slice(None)) -> list[Target]:
        return PerGroup(self.emphasis).targets(cells, classes)


def noisy(wanted: Statistic, cells: Statistic) -> list[Tensor]:
    return [layer + torch.rand(1) for layer in wanted]


def in_place(wanted: Statistic, cells: Statistic) -> Statistic:
    with torch.no_grad():
        for layer in cells:
            layer.mul_(1.5)
    return wanted


def unweighted(cells: Tensor, weights: Tensor) -> Tensor:
    return cells.detach().mean(dim=1)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            lambda counts, weights: Pooled(weights, allocation="fair"),
            "allocation is 'fair'; choose one of equal, proportional",
        ),  # type: ignore[arg-type]
        (lambda counts, weights: Pooled(weights[0]), r"emphasis has shape \(4,\); \(C, G\) is \(3, 4\)"),
        (lambda counts, weights: Pooled(2 * weights), "rows of emphasis do not sum to 1"),
        (lambda counts, weights: Pooled(-weights), "negative or not finite"),
        (
            lambda counts, weights: Pooled(torch.full_like(weights, 0.25)),
            "emphasis gives an absent cell",
        ),
        (lambda counts, weights: Pooled(weights.requires_grad_()), "emphasis records a gradient"),
        (lambda counts, weights: Pooled(weights.div_(1.25) * 1.25), "changed in place"),
        (
            lambda counts, weights: Pooled(torch.tensor([0.7, 0.1, 0.0, 0.2]).expand(3, -1)),
            "the order of the groups matters",
        ),
        (lambda counts, weights: Changed(weights, change=lambda targets, cells: []), "returns no targets"),
        (
            changed(lambda wanted, cells: wanted[:1]),
            "one per layer",
        ),
        (
            changed(lambda wanted, cells: [layer[:, :1] for layer in wanted]),
            r"have shapes \['\(3, 1\)', .*; return \['\(3, 5\)'",
        ),
        (changed(lambda wanted, cells: [layer.sum(dim=1) for layer in cells]), "records a gradient"),
        (changed(lambda wanted, cells: [layer / 0 for layer in wanted]), "is not finite"),
        (changed(noisy), "global generator|two targets"),
        (changed(in_place), "the cells were changed in place"),
        (
            changed(
                lambda wanted, cells: [layer + cell.detach().mean() for layer, cell in zip(wanted, cells, strict=True)]
            ),
            "other classes",
        ),
        (changed(lambda wanted, cells: [layer + 1 for layer in wanted]), "the target of equal groups differs"),
        (lambda counts, weights: Weightless(weights), "no target with a weight above 0"),
        (lambda counts, weights: AnywhereInTheTable(weights), "or on the position of its row"),
        (lambda counts, weights: OtherMixtures(weights), "a mixture's weight differs from its target's"),
        (lambda counts, weights: Barycentric(unweighted, weights, linear=False), "the values of an absent cell matter"),
        (
            lambda counts, weights: Barycentric(
                lambda c, w: mean(c, w.square() / w.square().sum(1, True)), weights, linear=True
            ),
            "a mixture of the cells is not the target",
        ),
        (
            lambda counts, weights: CloudBarycentric(lambda clouds, w, s: s.square().sum() * 0, weights),
            "no finite gradient",
        ),
        (
            lambda counts, weights: CloudBarycentric(lambda clouds, w, s: s.square(), weights),
            "return a scalar",
        ),
    ],
)
def test_a_violation_is_named(broken: Callable[[Tensor, Tensor], Alignment], message: str) -> None:
    with pytest.raises(AssertionError, match=message), torch.random.fork_rng():
        check_alignment(broken, torch.Generator().manual_seed(0))
