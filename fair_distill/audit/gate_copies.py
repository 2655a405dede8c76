"""Copies of gate examples in a set whose origin is unknown: a gate cannot judge a set by examples that it contains.

A set that is distilled or selected here comes from the training split alone. A set that somebody else made can contain
gate examples, for example if it was selected from the whole of a public data set. Equal examples also occur by chance,
above all in tables, so the training split is the yardstick: its examples are independent of the gate split.
"""

from dataclasses import dataclass

import numpy as np

from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.sampling import evenly_spaced

# The largest probability of a refusal by chance.
_LEVEL = 0.001
# The largest number of training examples that are compared.
_SAMPLE = 10_000


@dataclass(frozen=True)
class GateCopies:
    """The number of examples of a set that equal a gate example, and the probability of as many by chance."""

    examples: int
    copies: int
    probability: float

    @property
    def is_leak(self) -> bool:
        """Whether there are more copies than chance explains."""
        return self.copies > 0 and self.probability < _LEVEL


def count_gate_copies(images: Array, gate: GroupedDataset, train: GroupedDataset) -> GateCopies:
    """Count the examples of a set that equal a gate example to half a grey level; rows of a table, exactly.

    Changed copies, for example with noise, are not recognised.

    Parameters
    ----------
    images : float32 (N, channels, height, width), as published
    """
    from scipy.stats import binom

    if gate.images.dtype == np.uint8:
        images = np.rint(images * 255).clip(0, 255).astype(np.uint8)
    sample = train.images[evenly_spaced(range(len(train)), _SAMPLE)]
    copies, by_chance = _common(images, gate.images), _common(sample, gate.images)
    share = (by_chance + 1) / (len(sample) + 1)
    return GateCopies(len(images), copies, float(binom.sf(copies - 1, len(images), share)))


def _common(images: Array, others: Array) -> int:
    """Return how many of the images are among the others."""
    contents = [np.ascontiguousarray(image).tobytes() for image in images]
    wanted = set(contents)
    known = {content for other in others if (content := np.ascontiguousarray(other).tobytes()) in wanted}
    return sum(content in known for content in contents)
