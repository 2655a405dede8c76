"""Expert networks, trained on the real data, whose trajectories of weights the matcher MTT follows.

MTT (Cazenavette et al., CVPR 2022) needs the weights of an expert after every epoch. They are stored as one vector of
initial weights and the change of each epoch in half precision. Each change is relative to the *stored* weights, so
rounding errors do not accumulate.

**The alignment across groups is this project's derivation; the literature has no cross-group MTT.** The gradient of the
classification loss is a mean over examples. Its barycenter over groups is therefore the gradient with weighted
examples: the weight is n_y / n_{a|y} times the weight of the cell, and n_y / (G · n_{a|y}) for the uniform mean, which
preserves the shares of the classes. A trajectory is the sum of such steps. If the barycenter is not a mean, every step
follows the barycenter of the groups' gradients, for each class and tensor, as the targets of DC do. This costs C · G
backward passes instead of one. With `per_group`, the targets would be one trajectory per group. These trajectories
separate after one step, and one set of images cannot be trained along all of them, so MTT does not support it.

Deviations from the paper's release: batches are stratified by class and group, so each contains every group, and an
epoch has as many batches as show the network the number of images in the data. Each image has its own augmentation.
C classes, G groups, B images in a batch, P weights, E epochs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from fair_distill.config import Named, Positive, PositiveFloat, Section
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.distillation.alignment import Alignment
from fair_distill.distillation.augment import augment, draw
from fair_distill.distillation.divergence import Diverged
from fair_distill.distillation.networks import Network, build
from fair_distill.distillation.sampling import Batch, GroupSampler, Normalisation, reader
from fair_distill.errors import IntegrityError
from fair_distill.files import atomic_file, require_file


class Experts(Section):
    """How to train the experts, with SGD.

    Attributes
    ----------
    count : the number of experts
    epochs : the number of epochs for each expert
    batch_size : images per step, of all classes together
    augment : the augmentations, drawn for every image and step
    """

    count: Positive
    epochs: Positive
    learning_rate: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)]
    batch_size: Positive
    augment: list[str]


class Trajectories(Protocol):
    """The weights of all experts, as a matcher reads them."""

    def between(self, expert: int, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Return an expert's weights, (P,), after `first` and after `last` epochs; 0 epochs are the initial weights."""
        ...


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One expert's weights after every epoch.

    The weights that are read differ from the trained weights by 2.1e-4 of the change of an epoch (ConvNets on digits,
    20 epochs), after the last epoch as after the first. That is 4e-8 of MTT's loss.

    Attributes
    ----------
    start : float32 (P,), the initial weights
    changes : float16 (E, P), in [−1, 1], the change of each epoch divided by its scale
    scales : float32 (E,), the largest change of each epoch, so that no learning rate is too small for half precision
    """

    start: Tensor
    changes: Tensor
    scales: Tensor

    @classmethod
    def from_weights(cls, weights: Iterator[Tensor]) -> "Trajectory":
        """Encode the initial weights and the weights after every epoch, each float32 (P,), one at a time."""
        start = next(weights)
        stored, changes, scales = start.clone(), [], []
        for current in weights:
            change = current - stored
            scale = change.abs().max().clamp(min=torch.finfo(torch.float32).tiny)  # Avoids 0 / 0 for no change.
            half = (change / scale).half()
            _apply_change(stored, half, scale)
            changes.append(half)
            scales.append(scale)
        return cls(start, torch.stack(changes), torch.stack(scales))


def _apply_change(weights: Tensor, change: Tensor, scale: Tensor) -> None:
    """Add the stored change of one epoch, in place. Writing and reading use this, so both compute the same bytes."""
    weights.add_(change.float() * scale)


@dataclass(frozen=True)
class ExpertFolder:
    """Trajectories on disk, one file per expert. They are read one at a time, so memory use does not depend on `count`.

    Parameters
    ----------
    folder : where the files are
    key : the hexadecimal digest of everything that determines the experts. Files with another key are refused
    """

    folder: Path
    key: str

    def path(self, expert: int) -> Path:
        """Return the file of an expert."""
        return self.folder / f"{expert:04d}.safetensors"

    def save(self, expert: int, trajectory: Trajectory) -> None:
        """Write the file of an expert, atomically."""
        from safetensors.torch import save

        tensors = {"start": trajectory.start, "changes": trajectory.changes, "scales": trajectory.scales}
        content = save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata={"key": self.key})
        with atomic_file(self.path(expert)) as temporary:
            temporary.write_bytes(content)

    def between(self, expert: int, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Return an expert's weights after `first` and after `last` epochs; see `Trajectories`.

        Raises
        ------
        DataError
            If the expert does not exist.
        IntegrityError
            If its file is damaged, or belongs to another configuration or other data.
        """
        from safetensors import SafetensorError, safe_open

        path = require_file(self.path(expert), made_by="fair-distill stage experts")
        try:
            with safe_open(path, framework="pt") as file:
                if (file.metadata() or {}).get("key") != self.key:
                    raise IntegrityError(
                        f"{path} is an expert of another configuration or other data; run `fair-distill stage experts`"
                    )
                changes, scales = file.get_slice("changes"), file.get_tensor("scales")
                weights = file.get_tensor("start").clone()
                begin = weights
                for epoch in range(last):
                    if epoch == first:
                        begin = weights.clone()
                    _apply_change(weights, changes[epoch], scales[epoch])
        except (SafetensorError, OSError, IndexError) as error:
            raise IntegrityError(
                f"{path} is not a trajectory of {last} epochs ({error}); remove it and run `fair-distill stage experts`"
            ) from None
        return begin, weights


def train_experts(
    dataset: GroupedDataset,
    experts: Experts,
    network: Named,
    alignment: Alignment,
    *,
    folder: ExpertFolder,
    normalise: Normalisation,
    generator: Callable[[int], torch.Generator],
    device: torch.device,
    progress: Callable[[int, int], None] = lambda epoch, epochs: None,
    finished: Callable[[int], None] = lambda expert: None,
) -> None:
    """Train the experts that `folder` does not contain yet.

    Parameters
    ----------
    alignment : an alignment with one target per class; see `method.build_method`
    generator : for an expert's number, returns the generator of its weights, batches and augmentation. An expert does
        not depend on the others, so an interrupted run ends with the same bytes
    progress : called after every epoch. An exception from it stops the run; finished experts remain in the folder
    finished : called for every expert that was trained and saved in this run

    Raises
    ------
    Diverged
        If the weights of an expert are not finite.
    """
    classes = len(dataset.classes)
    sampler = GroupSampler(
        dataset,
        per_class=max(1, experts.batch_size // classes),
        allocation=alignment.allocation,
        read=reader(dataset.images, normalise, device),
        device=device,
    )
    shares = torch.from_numpy(dataset.counts.sum(axis=1) / len(dataset)).float().to(device)
    batches = max(1, round(len(dataset) / int(sampler.sizes.sum())))

    def weights_by_epoch(expert: int) -> Iterator[Tensor]:
        draws = generator(expert)
        trained = build(network.name, network.options, dataset.shape, classes, draws, custom=True).to(device)
        parameters = list(trained.parameters())
        optimiser = torch.optim.SGD(parameters, lr=experts.learning_rate, momentum=experts.momentum)
        yield parameters_to_vector(parameters).detach().cpu()
        for epoch in range(experts.epochs):
            for _ in range(batches):
                real = sampler.draw(draws)
                augmented = augment(real.images, draw(experts.augment, len(real.images), draws))
                for parameter, gradient in zip(
                    parameters, aligned_gradient(trained, augmented, real, alignment, shares), strict=True
                ):
                    parameter.grad = gradient
                optimiser.step()
            weights = parameters_to_vector(parameters).detach().cpu()
            if not weights.isfinite().all():
                raise Diverged(
                    f"the weights of expert {expert + 1} of {experts.count} are not finite after epoch {epoch + 1}; "
                    f"lower params.yaml: distill.matcher.experts.learning_rate (it is {experts.learning_rate:g})"
                )
            yield weights
            progress(expert * experts.epochs + epoch + 1, experts.count * experts.epochs)

    for expert in range(experts.count):
        if not folder.path(expert).exists():
            folder.save(expert, Trajectory.from_weights(weights_by_epoch(expert)))
            finished(expert)


def aligned_gradient(
    network: Network, augmented: Tensor, real: Batch, alignment: Alignment, shares_C: Tensor
) -> Sequence[Tensor]:
    """Return the gradient of the classification loss, one tensor per weight, with groups weighted by the alignment.

    Parameters
    ----------
    augmented : the augmented images of the batch, (B, channels, height, width)
    shares_C : the shares of the classes in the data, summing to 1
    """
    weights = list(network.parameters())
    if alignment.mixtures is not None:
        (mixture,) = alignment.mixtures
        example_weights = real.weights(mixture.cells * (mixture.weight * shares_C)[:, None])
        losses = F.cross_entropy(network(augmented), real.labels, reduction="none")
        return torch.autograd.grad((losses * example_weights).sum(), weights)

    def cell_gradient(rows: slice) -> Sequence[Tensor]:
        if rows.start == rows.stop:
            return [torch.zeros_like(weight) for weight in weights]
        return torch.autograd.grad(F.cross_entropy(network(augmented[rows]), real.labels[rows]), weights)

    total = [torch.zeros_like(weight) for weight in weights]
    for label, share in enumerate(shares_C):
        cells = [cell_gradient(rows) for rows in real.cells(label)]
        stacked = tuple(torch.stack(layers).flatten(1)[None] for layers in zip(*cells, strict=True))
        (target,) = alignment.targets(stacked, slice(label, label + 1))
        for layer, sum_of_layer in zip(target.statistic, total, strict=True):
            sum_of_layer.add_(share * target.weight * layer.view_as(sum_of_layer))
    return total
