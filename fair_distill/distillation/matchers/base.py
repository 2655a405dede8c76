"""The interface between the loop and a matcher.

C classes, G groups. A statistic is a tuple of tensors, one per matched layer.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from fair_distill.distillation.alignment import Alignment, Provision, Statistic, Target
from fair_distill.distillation.embedding import Embedding
from fair_distill.distillation.experts import Experts, Trajectories
from fair_distill.distillation.networks import Network
from fair_distill.distillation.sampling import Batch
from fair_distill.distillation.synthetic import Synthetic


@dataclass(frozen=True, eq=False)
class Step:
    """The inputs of a matcher at one step of the loop.

    Attributes
    ----------
    network : the network of this step
    draw : draws the augmented real batch of this step
    synthetic : the synthetic set, with the same augmentation
    alignment : the targets of each class
    generator : for draws of the matcher other than batches
    embedding : embeds real images without a gradient
    learned : the current values of the scalars that the matcher learns; see `Learned`
    trajectories : the weights of the experts, or None if none were trained
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
        """The real batch. It is drawn at first access, so a matcher that does not use it does not pay for it."""
        return self.draw()


@dataclass(frozen=True, eq=False)
class Pair:
    """The targets of some classes and the synthetic statistic to compare with them.

    Attributes
    ----------
    targets : constant tensors
    synthetic : the statistic of the synthetic set, with gradient
    extra : an additional scalar loss of the method, or None
    """

    targets: list[Target]
    synthetic: Statistic
    extra: Tensor | None = None


@dataclass(frozen=True)
class Learned:
    """A scalar that a matcher learns in addition to the pixels: its initial value and its learning rate."""

    start: float
    learning_rate: float


class Matcher(ABC):
    """A distillation method: which statistic of the real data the synthetic set must reproduce.

    Custom matchers inherit from this class.

    Attributes
    ----------
    supports : what an alignment may provide for this matcher; see `alignment.Provision`. By default, everything that is
        computed from the statistics of cells
    """

    supports: frozenset[Provision] = frozenset({"one_mean", "one_per_group", "one_target"})

    @property
    def learned(self) -> Mapping[str, Learned]:
        """The scalars that the matcher learns in addition to the pixels, by name."""
        return {}

    @property
    def follows(self) -> Experts | None:
        """How to train the experts whose trajectories the matcher follows, or None if it follows none."""
        return None

    def constrain(self, images: Tensor) -> Tensor:
        """Return the normalised synthetic images, changed to satisfy the limits of the method. The loop calls it after
        each step of the optimiser. The default changes nothing.
        """
        return images

    @abstractmethod
    def pairs(self, step: Step) -> Iterator[Pair]:
        """Yield the comparisons of one step, for all classes together or for some classes at a time.

        The loop runs the backward pass of each pair before it requests the next, so only one graph is in memory.
        """
