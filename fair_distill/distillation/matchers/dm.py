"""DM: distribution matching (Zhao & Bilen, WACV 2023). The statistic is the mean embedding under a random network.

Deviations from the paper: real batches are stratified by class and group, one forward pass embeds all classes, and each
real image is embedded once for any alignment. C classes, B real images, N synthetic images of a class, D features.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fair_distill.distillation.alignment import Alignment
from fair_distill.distillation.matchers.base import Matcher, Pair, Step
from fair_distill.distillation.sampling import Batch


@dataclass(frozen=True)
class DM(Matcher):
    """Matches the mean features before the classifier: one layer."""

    supports = Matcher.supports | {"clouds"}

    def pairs(self, step: Step) -> Iterator[Pair]:
        real = step.embedding.embed(step.network, step.real.images)
        synthetic = step.network.embed(step.synthetic.view(range(step.real.classes)))
        yield embedding_difference([real], [synthetic], step.real, step.alignment)


def embedding_difference(
    real_layers: Sequence[Tensor], synthetic_layers: Sequence[Tensor], real: Batch, alignment: Alignment
) -> Pair:
    """Return the comparison of embeddings, layer by layer: of the means of cells, or of whole clouds.

    Parameters
    ----------
    real_layers : for each layer, the embeddings of the real images, (B, D)
    synthetic_layers : for each layer, the embeddings of the synthetic images, (C · N, D), sorted by class
    real : the batch of the real images
    """
    clouds = [torch.unflatten(layer, 0, (real.classes, -1)) for layer in synthetic_layers]
    if alignment.cloud_loss is not None:
        losses = [
            alignment.cloud_loss(label, [layer[rows] for rows in real.cells(label)], cloud[label])
            for layer, cloud in zip(real_layers, clouds, strict=True)
            for label in range(real.classes)
        ]
        return Pair([], (), torch.stack(losses).sum())
    cells = tuple(torch.unflatten(real.averaging @ layer, 0, (real.classes, -1)) for layer in real_layers)
    return Pair(alignment.targets(cells), tuple(cloud.mean(dim=1) for cloud in clouds))
