"""DM: distribution matching (Zhao & Bilen, WACV 2023). The statistic is the mean embedding under a random network.

Follows the paper, except that real batches are stratified by class and group, all classes are embedded in one forward
pass, and each real image is embedded once, whatever the alignment.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fair_distill.distillation.alignment import Alignment, CloudBarycentric
from fair_distill.distillation.matchers.base import Pair, Step
from fair_distill.distillation.sampling import Batch


@dataclass(frozen=True)
class DM:
    """Mean features before the classifier: one layer."""

    def pairs(self, step: Step) -> Iterator[Pair]:
        seen = step.embedding.embed(step.network, step.real.images)
        made = step.network.embed(step.synthetic.view(range(step.real.classes)))
        yield compare([seen], [made], step.real, step.alignment)


def compare(seen: Sequence[Tensor], made: Sequence[Tensor], real: Batch, alignment: Alignment) -> Pair:
    """Return the comparison of embeddings, layer by layer: means of cells, or whole clouds.

    Parameters
    ----------
    seen : per layer, embeddings of the real images, (B, D)
    made : per layer, embeddings of the synthetic images, (C · N, D), sorted by class
    """
    clouds = [layer.unflatten(0, (real.classes, -1)) for layer in made]
    if isinstance(alignment, CloudBarycentric):
        losses = [
            alignment.loss(label, [layer[rows] for rows in real.cells(label)], cloud[label])
            for layer, cloud in zip(seen, clouds, strict=True)
            for label in range(real.classes)
        ]
        return Pair([], (), torch.stack(losses).sum())
    cells = tuple((real.averaging @ layer).unflatten(0, (real.classes, -1)) for layer in seen)
    return Pair(alignment.targets(cells), tuple(cloud.mean(dim=1) for cloud in clouds))
