"""DC and IDC: gradient matching. The statistic is the gradient of the classification loss by the network's weights.

DC: Zhao, Mopuri & Bilen, "Dataset Condensation with Gradient Matching" (ICLR 2021). IDC: Kim et al., "Dataset
Condensation via Efficient Synthetic-Data Parameterization" (ICML 2022).

The gradient of a class's loss is a mean over its examples, so a target that is a mixture of its cells, and every
alignment but a non-linear barycenter is, comes from one backward pass with weighted examples instead of one per group.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fair_distill.data.grouped_dataset import Array
from fair_distill.distillation.alignment import CloudBarycentric, Statistic, Target
from fair_distill.distillation.matchers.base import Pair, Step


@dataclass(frozen=True)
class GradientMatcher:
    """What DC and IDC share: the gradients of a class's loss, on real and on synthetic images.

    On a CPU one class comes after another. A GPU takes all at once, and gives the same but for rounding: a class alone
    is too little work for it.
    """

    def statistic(self, gradients: Sequence[Tensor]) -> Statistic:
        """Lay out the gradients of K losses, each (K, *shape of a weight), as layers of (K, rows, columns)."""
        raise NotImplementedError

    def pairs(self, step: Step) -> Iterator[Pair]:
        if isinstance(step.alignment, CloudBarycentric):
            step.alignment.targets(())  # says why not
        if step.real.images.is_cuda:
            yield self.all_classes(step)
        else:
            yield from self.each_class(step)

    def each_class(self, step: Step) -> Iterator[Pair]:
        """Compare one class after another."""
        network, real, mixtures = step.network, step.real, step.alignment.mixtures
        weights = [parameter.requires_grad_() for parameter in network.parameters()]
        groups = real.sizes.shape[1]

        def gradient(images: Tensor, label: int, counted: Tensor | None) -> Statistic:
            if counted is not None:  # what counts nothing is not worth a pass
                images, counted = images[counted > 0], counted[counted > 0]
            labels = torch.full((len(images),), label, device=images.device)
            each = F.cross_entropy(network(images), labels, reduction="none")
            loss = each.mean() if counted is None else (each * counted).sum()
            return self.statistic([g[None] for g in torch.autograd.grad(loss, weights, create_graph=counted is None)])

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
                targets = step.alignment.targets(stacked, slice(label, label + 1))
            yield Pair(targets, gradient(step.synthetic.view(range(label, label + 1)), label, None))

    def all_classes(self, step: Step) -> Pair:
        """Compare all classes at once: a single mixture from a class's images, other targets from every cell's own."""
        real, mixtures = step.real, step.alignment.mixtures
        classes, groups = real.sizes.shape
        labels = torch.arange(classes, device=real.images.device)
        if mixtures is not None and len(mixtures) == 1:
            counted = real.weights(mixtures[0].cells)
            images, weights = _stacked(real.images, counted, real.sizes.sum(axis=1))
            targets = [Target(self._gradients(step, images.detach(), labels, weights), mixtures[0].weight)]
        else:
            counted = real.averaging.sum(dim=0)
            images, weights = _stacked(real.images, counted, real.sizes.ravel())
            cells = self._gradients(step, images.detach(), labels.repeat_interleave(groups), weights)
            targets = step.alignment.targets(tuple(layer.unflatten(0, (classes, groups)) for layer in cells))
        made = step.synthetic.view(range(classes)).unflatten(0, (classes, -1))
        even = torch.full(made.shape[:2], 1 / made.shape[1], device=made.device)
        return Pair(targets, self._gradients(step, made, labels, even))

    def _gradients(self, step: Step, images_KB: Tensor, labels_K: Tensor, counted_KB: Tensor) -> Statistic:
        def loss(weights: dict[str, Tensor], images: Tensor, label: Tensor, counted: Tensor) -> Tensor:
            logits = torch.func.functional_call(step.network, weights, images)
            return (F.cross_entropy(logits, label.expand(len(images)), reduction="none") * counted).sum()

        weights = {name: weight.detach() for name, weight in step.network.named_parameters()}
        found = torch.vmap(torch.func.grad(loss), (None, 0, 0, 0))(weights, images_KB, labels_K, counted_KB)
        return self.statistic(list(found.values()))


def _stacked(images: Tensor, counted: Tensor, sizes: Array) -> tuple[Tensor, Tensor]:
    """Return images (K, longest, ...) and what each counts, from K runs of rows; what fills up a run counts 0."""
    ends = np.cumsum(sizes)
    places = (ends - sizes)[:, None] + np.arange(sizes.max())
    there = torch.from_numpy(places < ends[:, None]).to(images.device)
    rows = torch.from_numpy(places.clip(max=len(images) - 1)).to(images.device)
    return images[rows], counted[rows] * there


@dataclass(frozen=True)
class DC(GradientMatcher):
    """Gradients of convolutions and linear layers, a row per output unit; vectors (biases, norms) are ignored.

    The paper's distance is `cosine`.
    """

    def statistic(self, gradients: Sequence[Tensor]) -> Statistic:
        return tuple(gradient.flatten(2) for gradient in gradients if gradient.ndim > 2)


@dataclass(frozen=True)
class IDC(GradientMatcher):
    """Gradients of all weights, as one vector a tensor. The paper's distance is `l1` or `squared`.

    What else makes IDC is not the matcher's: multi-formation (`formation: 2`), networks trained on real images
    (`networks.advance_on: real`), and augmentation. The COBRA reference code leaves all three out but the first; with
    `matcher: dc` and `formation: 2` that simplification can be had.
    """

    def statistic(self, gradients: Sequence[Tensor]) -> Statistic:
        return tuple(gradient.flatten(1)[:, None] for gradient in gradients)
