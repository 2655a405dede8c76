"""DC and IDC: gradient matching. The statistic is the gradient of the classification loss by the network's weights.

DC: Zhao, Mopuri & Bilen, "Dataset Condensation with Gradient Matching" (ICLR 2021). IDC: Kim et al., "Dataset
Condensation via Efficient Synthetic-Data Parameterization" (ICML 2022).

The gradient of a class's loss is a mean over its examples, so a target that is a mixture of its cells, and every
alignment but a non-linear barycenter is, comes from one backward pass with weighted examples instead of one per group.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fair_distill.distillation.alignment import CloudBarycentric, Statistic, Target
from fair_distill.distillation.matchers.base import Pair, Step


@dataclass(frozen=True)
class GradientMatcher:
    """What DC and IDC share: one class at a time, its gradients on real and on synthetic images."""

    def statistic(self, gradients: Sequence[Tensor]) -> Statistic:
        """Lay one gradient out as layers of (1, rows, columns)."""
        raise NotImplementedError

    def pairs(self, step: Step) -> Iterator[Pair]:
        network, real, alignment = step.network, step.real, step.alignment
        weights = [parameter.requires_grad_() for parameter in network.parameters()]
        groups = len(real.averaging) // real.classes
        mixtures = alignment.mixtures
        if isinstance(alignment, CloudBarycentric):
            alignment.targets(())  # says why not

        def gradient(images: Tensor, label: int, counted: Tensor | None) -> Statistic:
            if counted is not None:  # what counts nothing is not worth a pass
                images, counted = images[counted > 0], counted[counted > 0]
            labels = torch.full((len(images),), label, device=images.device)
            each = F.cross_entropy(network(images), labels, reduction="none")
            loss = each.mean() if counted is None else (each * counted).sum()
            return self.statistic(torch.autograd.grad(loss, weights, create_graph=counted is None))

        for label in range(real.classes):
            rows = real.rows(label)
            images = real.images[rows]
            averaging = real.averaging[label * groups : (label + 1) * groups, rows]
            if mixtures is not None:
                targets = [
                    Target(gradient(images, label, mixture.cells[label] @ averaging), mixture.weight[label : label + 1])
                    for mixture in mixtures
                    if mixture.weight[label] > 0
                ]
            else:
                cells = [gradient(images, label, counted) for counted in averaging]
                stacked = tuple(torch.stack(layers, dim=1) for layers in zip(*cells, strict=True))
                targets = alignment.targets(stacked, slice(label, label + 1))
            yield Pair(targets, gradient(step.synthetic.view(range(label, label + 1)), label, None))


@dataclass(frozen=True)
class DC(GradientMatcher):
    """Gradients of convolutions and linear layers, a row per output unit; vectors (biases, norms) are ignored.

    The paper's distance is `cosine`.
    """

    def statistic(self, gradients: Sequence[Tensor]) -> Statistic:
        return tuple(gradient.flatten(1)[None] for gradient in gradients if gradient.ndim > 1)


@dataclass(frozen=True)
class IDC(GradientMatcher):
    """Gradients of all weights, as one vector a tensor. The paper's distance is `l1` or `squared`.

    What else makes IDC is not the matcher's: multi-formation (`formation: 2`), networks trained on real images
    (`networks.advance_on: real`), and augmentation. The COBRA reference code leaves all three out but the first; with
    `matcher: dc` and `formation: 2` that simplification can be had.
    """

    def statistic(self, gradients: Sequence[Tensor]) -> Statistic:
        return tuple(gradient.reshape(1, 1, -1) for gradient in gradients)
