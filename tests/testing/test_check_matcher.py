"""All built-in matchers satisfy the contract, and the contract detects violations."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytest
import torch
from small_methods import every_matcher
from torch import Tensor

from fair_distill.distillation.alignment import Alignment, Pooled, Target
from fair_distill.distillation.matchers.base import Learned, Matcher, Pair, Step
from fair_distill.distillation.matchers.dm import DM
from fair_distill.testing import check_matcher, contract_table


@pytest.mark.parametrize("name", every_matcher())
@pytest.mark.parametrize("seed", range(2))
def test_every_matcher_satisfies_the_contract(name: str, seed: int) -> None:
    check_matcher(every_matcher()[name], torch.Generator().manual_seed(seed), zero_for_own_images=name != "mtt")


def on_every_target(pair: Pair, **changed: Any) -> Pair:
    return replace(pair, targets=[replace(target, **changed) for target in pair.targets])


class NoPairs(DM):
    def pairs(self, step: Step) -> Iterator[Pair]:
        return iter(())


class SupportsNothing(DM):
    supports = frozenset()


class Empty(DM):
    def pairs(self, step: Step) -> Iterator[Pair]:
        for pair in super().pairs(step):
            yield replace(pair, targets=[])


class LooksAtTheLeaf(DM):
    """Uses the stored images instead of the view."""

    def pairs(self, step: Step) -> Iterator[Pair]:
        made = step.network.embed(step.synthetic.images).unflatten(0, (step.real.classes, -1)).mean(dim=1)
        for pair in super().pairs(step):
            yield replace(pair, synthetic=(made,))


class WithGradient(DM):
    def pairs(self, step: Step) -> Iterator[Pair]:
        for pair in super().pairs(step):
            yield on_every_target(pair, statistic=pair.synthetic)


class Broadcast(DM):
    """Compares all classes with one target, which torch broadcasts silently."""

    def pairs(self, step: Step) -> Iterator[Pair]:
        for pair in super().pairs(step):
            yield on_every_target(pair, statistic=tuple(layer[:1] for layer in pair.targets[0].statistic))


class OneWeight(DM):
    def pairs(self, step: Step) -> Iterator[Pair]:
        for pair in super().pairs(step):
            yield on_every_target(pair, weight=torch.ones(1))


class FirstClass(DM):
    def pairs(self, step: Step) -> Iterator[Pair]:
        for pair in super().pairs(step):
            one = on_every_target(pair, statistic=tuple(layer[:1] for layer in pair.targets[0].statistic))
            yield replace(on_every_target(one, weight=torch.ones(1)), synthetic=tuple(s[:1] for s in pair.synthetic))


class NotFinite(DM):
    def pairs(self, step: Step) -> Iterator[Pair]:
        for pair in super().pairs(step):
            yield replace(pair, synthetic=tuple(layer / 0 for layer in pair.synthetic))


class Constant(DM):
    def pairs(self, step: Step) -> Iterator[Pair]:
        for pair in super().pairs(step):
            yield replace(pair, synthetic=tuple(layer.detach() for layer in pair.synthetic))


class OfTheWeightsAlone(DM):
    def pairs(self, step: Step) -> Iterator[Pair]:
        yield Pair([], (), torch.ones((), requires_grad=True) * 2)


class GlobalDraws(DM):
    def pairs(self, step: Step) -> Iterator[Pair]:
        for pair in super().pairs(step):
            yield replace(pair, extra=pair.synthetic[0].sum() * torch.rand(()))


@dataclass(frozen=True)
class KeepsState(DM):
    turns = count(1)

    def pairs(self, step: Step) -> Iterator[Pair]:
        for pair in super().pairs(step):
            yield replace(pair, extra=pair.synthetic[0].sum() * next(self.turns))


class InPlace(DM):
    def pairs(self, step: Step) -> Iterator[Pair]:
        step.real.images.mul_(0.5)
        yield from super().pairs(step)


class IgnoresGroups(DM):
    """Uses the mean over the images of a class and ignores the alignment."""

    def pairs(self, step: Step) -> Iterator[Pair]:
        real = step.real
        seen = step.embedding.embed(step.network, real.images)
        means = torch.stack([seen[real.rows(label)].mean(dim=0) for label in range(real.classes)])
        made = step.network.embed(step.synthetic.view(range(real.classes))).unflatten(0, (real.classes, -1))
        yield Pair([Target((means,), torch.ones(real.classes))], (made.mean(dim=1),))


class Elsewhere(DM):
    def pairs(self, step: Step) -> Iterator[Pair]:
        for pair in super().pairs(step):
            yield replace(pair, synthetic=tuple(layer + 1 for layer in pair.synthetic))


class ExtraOfMany(DM):
    def pairs(self, step: Step) -> Iterator[Pair]:
        for pair in super().pairs(step):
            yield replace(pair, extra=pair.synthetic[0].sum(dim=0))


class LearnsNothing(DM):
    @property
    def learned(self) -> dict[str, Learned]:
        return {"temperature": Learned(1.0, 0.1)}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (NoPairs(), "with pooled: the matcher yields no pairs"),
        (SupportsNothing(), "supports no alignment; declare them in `supports`"),
        (Empty(), "neither a target nor an extra loss"),
        (LooksAtTheLeaf(), "does not compare the images of step.synthetic.view"),
        (WithGradient(), "targets must be constants"),
        (Broadcast(), r"a target has layers .*\(1, .*, but the synthetic statistic has .*\(2, "),
        (OneWeight(), r"a target's weight has shape \(1,\); give one for every row"),
        (FirstClass(), "the pixels of class 1 have no gradient"),
        (NotFinite(), "the loss is (inf|nan)"),
        (Constant(), "a pair records no gradient"),
        (OfTheWeightsAlone(), "no gradient reaches the pixels"),
        (GlobalDraws(), "global generator"),
        (KeepsState(), "the same step gave two losses"),
        (InPlace(), "changed in place|two losses"),
        (IgnoresGroups(), "compare with the targets of step.alignment"),
        (Elsewhere(), "a class's own images have distance .* from its target"),
        (ExtraOfMany(), r"the extra loss has shape \(\d+,\); make it a scalar"),
        (LearnsNothing(), "the learned temperature has no finite gradient"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_violation_is_named(broken: Matcher, message: str) -> None:
    with pytest.raises(AssertionError, match=message), torch.random.fork_rng():
        check_matcher(broken, torch.Generator().manual_seed(0))


def test_the_contract_table_lists_what_each_matcher_supports() -> None:
    class OnlyPerGroup(DM):
        supports = frozenset({"one_per_group"})

    def even(counts: Tensor, weights: Tensor) -> Alignment:
        return Pooled(weights)

    table = contract_table({"dm": DM(), "per_group": OnlyPerGroup()}, {"even": even}, torch.Generator().manual_seed(0))

    assert table.splitlines() == [
        "| | dm | per_group |",
        "|---|---|---|",
        "| even | works | not supported (1) |",
        "",
        "1. Use another matcher.",
    ]
