"""CAFE: features of every layer, and a term that keeps classes apart (Wang et al., CVPR 2022).

Follows the paper in its layer-wise feature alignment and its discrimination loss. We part from it in two things.
Layer weights are options, and squared distances are over means of features, not over their batch. The real images
of the discrimination loss count as the alignment counts their cells, so that alignment is still the only thing that
changes between modes (the COBRA reference code drops the term in its fair mode). The paper renews a network when its
accuracy on real images has stopped moving: `distill.networks.settled` (in the reference code that can never happen).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from fair_distill.distillation.matchers.base import Pair, Step
from fair_distill.distillation.matchers.dm import compare
from fair_distill.distillation.sampling import Batch
from fair_distill.errors import ConfigError

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class CAFE:
    """Layer-wise means and discrimination.

    Attributes
    ----------
    layer_weights : what each block's squared distance counts, first block first; or one number for all
    discrimination : what the discrimination loss counts
    """

    layer_weights: list[Weight] | Weight
    discrimination: Weight

    def pairs(self, step: Step) -> Iterator[Pair]:
        real = step.real
        seen = step.embedding.layers(step.network, real.images)
        made = step.network.layers(step.synthetic.view(range(real.classes)))
        weights = self.layer_weights if isinstance(self.layer_weights, list) else [self.layer_weights] * len(made)
        if len(weights) != len(made):
            raise ConfigError(
                f"params.yaml: distill.matcher.layer_weights has {len(weights)} entries; "
                f"the network has {len(made)} blocks"
            )
        # A squared distance counts w when both sides are scaled by the root of w.
        roots = [weight**0.5 for weight in weights]
        pair = compare(
            [root * layer for root, layer in zip(roots, seen, strict=True)],
            [root * layer for root, layer in zip(roots, made, strict=True)],
            real,
            step.alignment,
        )
        centres = made[-1].unflatten(0, (real.classes, -1)).mean(dim=1)
        own = self.discrimination * discrimination(seen[-1], centres, real, real.weights(step.alignment.emphasis))
        yield replace(pair, extra=own if pair.extra is None else pair.extra + own)


def discrimination(seen: Tensor, centres: Tensor, real: Batch, weights: Tensor) -> Tensor:
    """Return the cross-entropy of real features classified by their inner products with the synthetic class means.

    Parameters
    ----------
    seen : (B, D)
    centres : (C, D), with gradient
    weights : (B,), summing to 1 over each class
    """
    each = F.cross_entropy(seen @ centres.T, real.labels, reduction="none")
    return (each * weights).sum() / real.classes
