"""What the loop asks of a method. C classes, G groups; a statistic is a tuple of tensors, one per matched layer."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from fair_distill.distillation.alignment import Alignment, Statistic, Target
from fair_distill.distillation.embedding import Embedding
from fair_distill.distillation.experts import Trajectories
from fair_distill.distillation.networks import Network
from fair_distill.distillation.sampling import Batch
from fair_distill.distillation.synthetic import Synthetic


@dataclass(frozen=True, eq=False)
class Step:
    """What a matcher may look at in one step of the loop.

    Attributes
    ----------
    network : whose turn it is
    draw : draws this step's real batch, augmented
    synthetic : the synthetic set, to be seen with the same augmentation
    generator : the matcher's own, for draws that are not batches
    embedding : how real images are embedded where no gradient is wanted
    learned : what the matcher learns beside the pixels, as it is now; see `Learned`
    trajectories : where experts went, or None where none were trained
    """

    network: Network
    draw: Callable[[], Batch]
    synthetic: Synthetic
    alignment: Alignment
    generator: torch.Generator
    embedding: Embedding
    learned: Mapping[str, Tensor] = field(default_factory=dict)
    trajectories: Trajectories | None = None

    @cached_property
    def real(self) -> Batch:
        """The real batch. Drawn when first asked for: a matcher that needs none pays for none."""
        return self.draw()


@dataclass(frozen=True, eq=False)
class Pair:
    """What is compared, for some classes: where to go, and where the synthetic set is.

    Attributes
    ----------
    extra : a loss of the method's own that is added, (), or None
    """

    targets: list[Target]
    synthetic: Statistic
    extra: Tensor | None = None


@dataclass(frozen=True)
class Learned:
    """A number that a method learns beside the pixels: where it starts, and how fast it moves."""

    start: float
    learning_rate: float


def learned_by(matcher: "Matcher") -> Mapping[str, Learned]:
    """Return what a matcher learns beside the pixels, by name. Most learn nothing, and need not say so."""
    learned: Mapping[str, Learned] = getattr(matcher, "learned", {})
    return learned


class Matcher(Protocol):
    def pairs(self, step: Step) -> Iterator[Pair]:
        """Yield the comparisons of one step, for all classes together or a few at a time.

        The loop goes backward through each pair before it asks for the next, so one graph is alive at a time.
        """
        ...
