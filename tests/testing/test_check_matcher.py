"""Every matcher keeps the contract, and the contract can fail."""

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
from fair_distill.errors import ConfigError
from fair_distill.testing import check_matcher, contract_table


@pytest.mark.parametrize("name", every_matcher())
@pytest.mark.parametrize("seed", range(2))
def test_every_matcher_keeps_the_contract(name: str, seed: int) -> None:
    check_matcher(every_matcher()[name], torch.Generator().manual_seed(seed), at_home=name != "mtt")


def on_every_target(pair: Pair, **changed: Any) -> Pair:
    return replace(pair, targets=[replace(target, **changed) for target in pair.targets])


class NoPairs(DM):
    def pairs(self, step: Step) -> Iterator[Pair]:
        return iter(())


class Refuses(DM):
    def pairs(self, step: Step) -> Iterator[Pair]:
        raise ConfigError("params.yaml: this matcher goes with nothing")


class RefusesAtLength(DM):
    def pairs(self, step: Step) -> Iterator[Pair]:
        raise ConfigError("one line\nand another")


class Empty(DM):
    def pairs(self, step: Step) -> Iterator[Pair]:
        for pair in super().pairs(step):
            yield replace(pair, targets=[])


class LooksAtTheLeaf(DM):
    """Takes stored images for what a network is shown."""

    def pairs(self, step: Step) -> Iterator[Pair]:
        made = step.network.embed(step.synthetic.images).unflatten(0, (step.real.classes, -1)).mean(dim=1)
        for pair in super().pairs(step):
            yield replace(pair, synthetic=(made,))


class WithGradient(DM):
    def pairs(self, step: Step) -> Iterator[Pair]:
        for pair in super().pairs(step):
            yield on_every_target(pair, statistic=pair.synthetic)


class Broadcast(DM):
    """Compares all images with a class's target: shapes that torch stretches without a word."""

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
    """Takes the mean over the images of a class, whatever the alignment says."""

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
    ("broken", "says"),
    [
        (NoPairs(), "with pooled: there are no pairs"),
        (Refuses(), "every alignment is refused"),
        (RefusesAtLength(), "a refusal says why in one line"),
        (Empty(), "neither a target nor a loss"),
        (LooksAtTheLeaf(), "what is compared is not what is shown"),
        (WithGradient(), "targets are constants"),
        (Broadcast(), r"a target's layers are .*\(1, .*, and the synthetic ones .*\(2, "),
        (OneWeight(), r"a target's weight is \(1,\); one for every row"),
        (FirstClass(), "the pixels of class 1 have no slope"),
        (NotFinite(), "the loss is (inf|nan)"),
        (Constant(), "a pair records no gradient"),
        (OfTheWeightsAlone(), "no gradient reaches the pixels"),
        (GlobalDraws(), "global generator"),
        (KeepsState(), "the same step gave two losses"),
        (InPlace(), "changed in place|two losses"),
        (IgnoresGroups(), "the alignment has no part in what is matched"),
        (Elsewhere(), "a class's own images are .* from its target"),
        (ExtraOfMany(), r"a loss of the method's own is a scalar; got \(\d+,\)"),
        (LearnsNothing(), "temperature, which is learned, has no finite slope"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_matcher_that_breaks_the_contract_is_told_what_it_breaks(broken: Matcher, says: str) -> None:
    with pytest.raises(AssertionError, match=says), torch.random.fork_rng():
        check_matcher(broken, torch.Generator().manual_seed(0))


def test_the_contract_table_says_what_works_and_why_not() -> None:
    class Never(DM):
        def pairs(self, step: Step) -> Iterator[Pair]:
            raise ConfigError("params.yaml: never")

    def even(counts: Tensor, weights: Tensor) -> Alignment:
        return Pooled(weights)

    table = contract_table({"dm": DM(), "never": Never()}, {"even": even}, torch.Generator().manual_seed(0))

    assert table.splitlines() == [
        "| | dm | never |",
        "|---|---|---|",
        "| even | works | refused (1) |",
        "",
        "1. params.yaml: never",
    ]
