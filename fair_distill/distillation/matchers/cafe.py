"""CAFE: features of every layer, and a term that discriminates between classes (Wang et al., CVPR 2022).

The layer-wise feature alignment and the discrimination loss follow the paper. Deviations: layer weights are options;
squared distances are between mean features instead of between batches; and in the discrimination loss, real images have
the weights of their cells in the alignment. So the alignment remains the only difference between modes (the COBRA
reference code drops the term in its fair mode). The paper replaces a network when its accuracy on real images has
stopped changing: `distill.networks.settled`. In the reference code this condition can never be true.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from fair_distill.distillation.matchers.base import Matcher, Pair, Step
from fair_distill.distillation.matchers.dm import embedding_difference
from fair_distill.distillation.sampling import Batch
from fair_distill.errors import ConfigError

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class CAFE(Matcher):
    """Matches layer-wise means, and adds a discrimination loss.

    Attributes
    ----------
    layer_weights : the weight of each block's squared distance, first block first; or one number for all blocks
    discrimination : the weight of the discrimination loss
    """

    layer_weights: list[Weight] | Weight
    discrimination: Weight

    supports = Matcher.supports | {"clouds"}

    def pairs(self, step: Step) -> Iterator[Pair]:
        real = step.real
        real_layers = step.embedding.layers(step.network, real.images)
        layers = step.network.layers(step.synthetic.view(range(real.classes)))
        weights = self.layer_weights if isinstance(self.layer_weights, list) else [self.layer_weights] * len(layers)
        if len(weights) != len(layers):
            raise ConfigError(
                f"params.yaml: distill.matcher.layer_weights has {len(weights)} entries; the network has "
                f"{len(layers)} blocks. Give one weight per block, or one number"
            )
        # Scaling both sides by the square root of w gives their squared distance the weight w.
        roots = [weight**0.5 for weight in weights]
        pair = embedding_difference(
            [root * layer for root, layer in zip(roots, real_layers, strict=True)],
            [root * layer for root, layer in zip(roots, layers, strict=True)],
            real,
            step.alignment,
        )
        centres = torch.unflatten(layers[-1], 0, (real.classes, -1)).mean(dim=1)
        image_weights = real.weights(step.alignment.emphasis)
        extra = self.discrimination * discrimination(real_layers[-1], centres, real, image_weights)
        yield replace(pair, extra=extra if pair.extra is None else pair.extra + extra)


def discrimination(features: Tensor, centres: Tensor, real: Batch, weights: Tensor) -> Tensor:
    """Return the cross-entropy of real features classified by their inner products with the synthetic class means.

    Parameters
    ----------
    features : (B, D), of the real images
    centres : (C, D), the synthetic class means, with gradient
    weights : (B,), the weights of the real images, summing to 1 over each class
    """
    losses = F.cross_entropy(features @ centres.T, real.labels, reduction="none")
    return (losses * weights).sum() / real.classes
