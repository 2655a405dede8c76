"""Experts: networks trained on the real data, whose way through weight space a synthetic set is to repeat.

What MTT (Cazenavette et al., CVPR 2022) follows. An expert's weights are kept after every epoch, as one vector: the
first in full, then what each epoch changed, in half precision. Changes are taken from what is *stored*, so that
rounding does not add up.

**Across groups this is our derivation; no cross-group MTT is in the literature.** The gradient of the classification
loss is a mean over examples, so its barycenter over groups is the gradient with every example weighted: n_y / n_{a|y}
times what its cell counts, n_y / (G · n_{a|y}) for the uniform mean, which leaves the classes' shares as they are. A
trajectory is the sum of such steps. Where the barycenter is no mean, every step follows the barycenter of the groups'
gradients, class by class and tensor by tensor, as DC's targets do: C · G backward passes in place of one.

We part from the paper's release in this. Batches are stratified by class and group, so a rare group is in each, and an
epoch is as many batches as show the network as many images as there are. Augmentation is drawn for every image.
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
from fair_distill.distillation.alignment import Alignment, CloudBarycentric
from fair_distill.distillation.augment import augment, draw
from fair_distill.distillation.divergence import Diverged
from fair_distill.distillation.networks import Network, build
from fair_distill.distillation.sampling import Batch, GroupSampler, Normalisation, reader
from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import atomic_file, require_file


class Experts(Section):
    """How experts are trained: so many, for so many epochs each, with SGD.

    Attributes
    ----------
    batch_size : images a step, of all classes
    augment : drawn for every image and step
    """

    count: Positive
    epochs: Positive
    learning_rate: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)]
    batch_size: Positive
    augment: list[str]


class Trajectories(Protocol):
    """Where experts went. All that a matcher needs of them."""

    def between(self, expert: int, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Return an expert's weights, (P,), after `first` and after `last` epochs; after 0 they are as drawn."""
        ...


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One expert's weights after every epoch. P weights, E epochs.

    What is read differs from what was trained by 2.1e-4 of an epoch's change (ConvNets on digits; 20 epochs), after
    the last epoch as after the first. That is 4e-8 of MTT's loss.

    Attributes
    ----------
    start : float32 (P,)
    changes : float16 (E, P), from −1 to 1
    scales : float32 (E,), what a change is multiplied by: the largest of its epoch, so no learning rate is too small
    """

    start: Tensor
    changes: Tensor
    scales: Tensor

    @classmethod
    def of(cls, weights: Iterator[Tensor]) -> "Trajectory":
        """Take the weights as drawn and then after every epoch, each float32 (P,); hold no two of them at once."""
        start = next(weights)
        stored, changes, scales = start.clone(), [], []
        for now in weights:
            change = now - stored
            scale = change.abs().max().clamp(min=torch.finfo(torch.float32).tiny)  # 0 / 0 where nothing moved
            half = (change / scale).half()
            _move(stored, half, scale)
            changes.append(half)
            scales.append(scale)
        return cls(start, torch.stack(changes), torch.stack(scales))


def _move(weights: Tensor, change: Tensor, scale: Tensor) -> None:
    """Undo the storing of one epoch, in place: the same operations wherever it is done, so the same bytes."""
    weights.add_(change.float() * scale)


@dataclass(frozen=True)
class ExpertFolder:
    """Trajectories on disk, one file an expert; read an expert at a time, so memory does not grow with their number.

    Parameters
    ----------
    key : hexadecimal digest of all that makes the experts what they are. It stands in every file; others are refused
    """

    folder: Path
    key: str

    def path(self, expert: int) -> Path:
        return self.folder / f"{expert:04d}.safetensors"

    def keep(self, expert: int, trajectory: Trajectory) -> None:
        from safetensors.torch import save

        tensors = {"start": trajectory.start, "changes": trajectory.changes, "scales": trajectory.scales}
        content = save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata={"key": self.key})
        with atomic_file(self.path(expert)) as aside:
            aside.write_bytes(content)

    def between(self, expert: int, first: int, last: int) -> tuple[Tensor, Tensor]:
        """See `Trajectories`.

        Raises
        ------
        DataError
            If the expert is not there.
        IntegrityError
            If it is damaged, or of another configuration or other data.
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
                    _move(weights, changes[epoch], scales[epoch])
        except (SafetensorError, OSError, IndexError) as error:
            raise IntegrityError(
                f"{path} is no trajectory of {last} epochs ({error}); remove it and train it again"
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
    progress: Callable[[int, int], None] = lambda done, of: None,
    finished: Callable[[int], None] = lambda expert: None,
) -> None:
    """Train the experts that `folder` does not have yet.

    Parameters
    ----------
    generator : given an expert's number, what draws its weights, batches and augmentation: an expert does not depend
        on which others were trained before it, so a run that was killed ends with the same bytes
    progress : told of every epoch. What it raises stops the run; finished experts are kept
    finished : told of every expert that was trained now and is in the folder

    Raises
    ------
    ConfigError
        If the alignment has no trajectory; see `refuse_trajectories`.
    Diverged
        If an expert's weights leave the finite numbers.
    """
    refuse_trajectories(alignment)
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

    def weights_of(expert: int) -> Iterator[Tensor]:
        draws = generator(expert)
        taught = build(network.name, network.options, dataset.shape, classes, draws, custom=True).to(device)
        parameters = list(taught.parameters())
        optimiser = torch.optim.SGD(parameters, lr=experts.learning_rate, momentum=experts.momentum)
        yield parameters_to_vector(parameters).detach().cpu()
        for epoch in range(experts.epochs):
            for _ in range(batches):
                real = sampler.draw(draws)
                seen = augment(real.images, draw(experts.augment, len(real.images), draws))
                for parameter, gradient in zip(
                    parameters, aligned_gradient(taught, seen, real, alignment, shares), strict=True
                ):
                    parameter.grad = gradient
                optimiser.step()
            now = parameters_to_vector(parameters).detach().cpu()
            if not now.isfinite().all():
                raise Diverged(
                    f"expert {expert + 1} of {experts.count} left the finite numbers in epoch {epoch + 1}; lower "
                    f"params.yaml: distill.matcher.experts.learning_rate (it is {experts.learning_rate:g})"
                )
            yield now
            progress(expert * experts.epochs + epoch + 1, experts.count * experts.epochs)

    for expert in range(experts.count):
        if not folder.path(expert).exists():
            folder.keep(expert, Trajectory.of(weights_of(expert)))
            finished(expert)


def refuse_trajectories(alignment: Alignment) -> None:
    """Raise ConfigError where an alignment has no one trajectory to follow."""
    if isinstance(alignment, CloudBarycentric):
        alignment.targets(())  # says why not
    if alignment.mixtures is not None and len(alignment.mixtures) != 1:
        raise ConfigError(
            "params.yaml: distill.matcher mtt has no reading with `alignment: per_group`: its targets would be a "
            "trajectory for every group, which part ways after one step, and one set of images cannot be trained along "
            "all of them; use pooled or barycentric"
        )


def aligned_gradient(
    network: Network, seen: Tensor, real: Batch, alignment: Alignment, shares_C: Tensor
) -> Sequence[Tensor]:
    """Return the gradient of the classification loss, a tensor a weight, in which groups count as the alignment says.

    Parameters
    ----------
    seen : the batch's images, augmented, (B, channels, height, width)
    shares_C : the classes' shares of the data, summing to 1
    """
    weights = list(network.parameters())
    if alignment.mixtures is not None:
        (mixture,) = alignment.mixtures
        counted = real.weights(mixture.cells * (mixture.weight * shares_C)[:, None])
        each = F.cross_entropy(network(seen), real.labels, reduction="none")
        return torch.autograd.grad((each * counted).sum(), weights)

    def of_cell(rows: slice) -> Sequence[Tensor]:
        if rows.start == rows.stop:
            return [torch.zeros_like(weight) for weight in weights]
        return torch.autograd.grad(F.cross_entropy(network(seen[rows]), real.labels[rows]), weights)

    total = [torch.zeros_like(weight) for weight in weights]
    for label, share in enumerate(shares_C):
        cells = [of_cell(rows) for rows in real.cells(label)]
        stacked = tuple(torch.stack(layers).flatten(1)[None] for layers in zip(*cells, strict=True))
        (target,) = alignment.targets(stacked, slice(label, label + 1))
        for layer, so_far in zip(target.statistic, total, strict=True):
            so_far.add_(share * target.weight * layer.view_as(so_far))
    return total
