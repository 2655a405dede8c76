"""What the loop asks of a method. C classes, G groups; a statistic is a tuple of tensors, one per matched layer."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from fair_distill.distillation.alignment import Alignment, Statistic, Target
from fair_distill.distillation.networks import Network
from fair_distill.distillation.sampling import Batch
from fair_distill.distillation.synthetic import Synthetic


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


class Matcher(Protocol):
    def pairs(self, network: Network, real: Batch, synthetic: Synthetic, alignment: Alignment) -> Iterator[Pair]:
        """Yield the comparisons of one step, for all classes together or a few at a time.

        The loop goes backward through each pair before it asks for the next, so one graph is alive at a time.
        """
        ...
