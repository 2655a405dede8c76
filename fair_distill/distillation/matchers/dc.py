"""DC and IDC: gradient matching. The statistic is the gradient of the classification loss by the network's weights.

DC: Zhao, Mopuri & Bilen, "Dataset Condensation with Gradient Matching" (ICLR 2021). IDC: Kim et al., "Dataset
Condensation via Efficient Synthetic-Data Parameterization" (ICML 2022).

The gradient of a class's loss is a mean over its examples. So a target that is a weighted mean of cells needs one
backward pass with weighted examples, instead of one pass per group. Only a non-linear barycenter needs one per group.
K losses, B images of a loss.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fair_distill.data.grouped_dataset import Array
from fair_distill.distillation.alignment import Statistic, Target
from fair_distill.distillation.matchers.base import Matcher, Pair, Step


@dataclass(frozen=True)
class GradientMatcher(Matcher):
    """The common part of DC and IDC: the gradients of a class's loss, on real and on synthetic images.

    A CPU processes one class after another. A GPU processes all classes at once, because one class does not occupy it;
    the results are equal up to rounding.
    """

    @abstractmethod
    def statistic(self, gradients: Sequence[Tensor]) -> Statistic:
        """Return the gradients of K losses, each (K, *shape of a weight), as layers of (K, rows, columns)."""

    def pairs(self, step: Step) -> Iterator[Pair]:
        if step.real.images.is_cuda:
            yield self.all_classes(step)
        else:
            yield from self.each_class(step)

    def each_class(self, step: Step) -> Iterator[Pair]:
        """Compare one class after another."""
        network, real, mixtures = step.network, step.real, step.alignment.mixtures
        parameters = [parameter.requires_grad_() for parameter in network.parameters()]
        groups = real.sizes.shape[1]

        def gradient(images: Tensor, label: int, weights: Tensor | None) -> Statistic:
            if weights is not None:  # Images without weight need no forward pass.
                images, weights = images[weights > 0], weights[weights > 0]
            labels = torch.full((len(images),), label, device=images.device)
            losses = F.cross_entropy(network(images), labels, reduction="none")
            loss = losses.mean() if weights is None else (losses * weights).sum()
            gradients = torch.autograd.grad(loss, parameters, create_graph=weights is None)
            return self.statistic([g[None] for g in gradients])

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
                cells = [gradient(images, label, weights) for weights in averaging]
                stacked = tuple(torch.stack(layers, dim=1) for layers in zip(*cells, strict=True))
                targets = step.alignment.targets(stacked, slice(label, label + 1))
            yield Pair(targets, gradient(step.synthetic.view(range(label, label + 1)), label, None))

    def all_classes(self, step: Step) -> Pair:
        """Compare all classes at once: one weighted loss per class for a single mixture, else one loss per cell."""
        real, mixtures = step.real, step.alignment.mixtures
        classes, groups = real.sizes.shape
        labels = torch.arange(classes, device=real.images.device)
        if mixtures is not None and len(mixtures) == 1:
            image_weights = real.weights(mixtures[0].cells)
            images, weights = _padded(real.images, image_weights, real.sizes.sum(axis=1))
            targets = [Target(self._gradients(step, images.detach(), labels, weights), mixtures[0].weight)]
        else:
            image_weights = real.averaging.sum(dim=0)
            images, weights = _padded(real.images, image_weights, real.sizes.ravel())
            cells = self._gradients(step, images.detach(), labels.repeat_interleave(groups), weights)
            targets = step.alignment.targets(tuple(torch.unflatten(layer, 0, (classes, groups)) for layer in cells))
        synthetic = torch.unflatten(step.synthetic.view(range(classes)), 0, (classes, -1))
        equal = torch.full(synthetic.shape[:2], 1 / synthetic.shape[1], device=synthetic.device)
        return Pair(targets, self._gradients(step, synthetic, labels, equal))

    def _gradients(self, step: Step, images_KB: Tensor, labels_K: Tensor, weights_KB: Tensor) -> Statistic:
        def loss(parameters: dict[str, Tensor], images: Tensor, label: Tensor, weights: Tensor) -> Tensor:
            logits = torch.func.functional_call(step.network, parameters, images)
            return (F.cross_entropy(logits, label.expand(len(images)), reduction="none") * weights).sum()

        parameters = {name: parameter.detach() for name, parameter in step.network.named_parameters()}
        gradients = torch.vmap(torch.func.grad(loss), (None, 0, 0, 0))(parameters, images_KB, labels_K, weights_KB)
        return self.statistic(list(gradients.values()))


def _padded(images: Tensor, weights: Tensor, sizes: Array) -> tuple[Tensor, Tensor]:
    """Return images (K, longest, ...) and their weights, from K runs of rows, padded with images of weight 0."""
    ends = np.cumsum(sizes)
    positions = (ends - sizes)[:, None] + np.arange(sizes.max())
    inside = torch.from_numpy(positions < ends[:, None]).to(images.device)
    rows = torch.from_numpy(positions.clip(max=len(images) - 1)).to(images.device)
    return images[rows], weights[rows] * inside


@dataclass(frozen=True)
class DC(GradientMatcher):
    """Matches the gradients of convolutions and linear layers, one row per output unit.

    Vectors (biases, norms) are ignored. The distance of the paper is `cosine`.
    """

    def statistic(self, gradients: Sequence[Tensor]) -> Statistic:
        return tuple(gradient.flatten(2) for gradient in gradients if gradient.ndim > 2)


@dataclass(frozen=True)
class IDC(GradientMatcher):
    """Matches the gradients of all weights, one vector per tensor. The distance of the paper is `l1` or `squared`.

    The other parts of IDC are separate settings: multi-formation (`formation: 2`), networks trained on real images
    (`networks.advance_on: real`), and augmentation. The COBRA reference code uses only the first of them; `matcher: dc`
    with `formation: 2` reproduces that simplification.
    """

    def statistic(self, gradients: Sequence[Tensor]) -> Statistic:
        return tuple(gradient.flatten(1)[:, None] for gradient in gradients)
