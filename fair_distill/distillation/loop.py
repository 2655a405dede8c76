"""The optimisation loop of every matcher and every alignment.

sampler → matcher.pairs (statistics → alignment.targets) → distance → optimiser step → the network is trained further
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Protocol

import torch
from torch import Tensor

from fair_distill.config import Candidate, Distill
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.alignment import Alignment
from fair_distill.distillation.augment import draw
from fair_distill.distillation.distance import distance
from fair_distill.distillation.divergence import Diverged, check_divergence
from fair_distill.distillation.embedding import build_embedding
from fair_distill.distillation.experts import Trajectories
from fair_distill.distillation.matchers.base import Pair, Step
from fair_distill.distillation.method import build_method
from fair_distill.distillation.network_pool import NetworkPool
from fair_distill.distillation.networks import Network, build, draw_weights
from fair_distill.distillation.optimiser_state import OptimiserState, StateDict, add_prefix, strip_prefix
from fair_distill.distillation.row_projection import RowProjection, build_projection
from fair_distill.distillation.sampling import GroupSampler, Normalisation, check_finite, reader
from fair_distill.distillation.synthetic import Synthetic, decode, initial_images
from fair_distill.seeds import plain_torch_generator, torch_generator

Progress = Callable[[int, int, float], None]


class Checkpoints(Protocol):
    """Stores the state of the loop, so that an interrupted run can continue."""

    def latest(self) -> StateDict | None:
        """Return the newest saved state, or None."""
        ...

    def save_if_due(self, step: int, state: Callable[[], StateDict]) -> None:
        """Save the state after a step, if a checkpoint is due."""
        ...


@dataclass(frozen=True, eq=False)
class Streams:
    """One generator per purpose, so that an additional draw for one purpose does not change the others."""

    start: torch.Generator
    batches: torch.Generator
    augment: torch.Generator
    networks: torch.Generator
    matcher: torch.Generator

    @classmethod
    def from_seed(cls, seed: int) -> "Streams":
        """Return the generators of a seed. The stage and `fair_distill.distill` both use this."""
        return cls(**{field.name: torch_generator(seed, f"distill.{field.name}") for field in fields(cls)})

    def state(self) -> StateDict:
        """Return the states of the generators, by name."""
        return {field.name: getattr(self, field.name).get_state() for field in fields(self)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for field in fields(self):
            getattr(self, field.name).set_state(state[field.name])


@dataclass(frozen=True, eq=False)
class Distilled:
    """The result of the loop. C classes.

    Attributes
    ----------
    images : float32 (C · ipc, channels, height, width), pixels divided by 255; for the rows of a table, valid rows
        encoded by the dataset's schema
    labels : int64 (C · ipc,)
    losses : the loss of every step
    learned : the final values of the scalars that the matcher learned in addition to the pixels, by name
    """

    images: Array
    labels: Array
    losses: tuple[float, ...]
    learned: Mapping[str, float]


def optimise(
    dataset: GroupedDataset,
    settings: Distill,
    candidate: Candidate,
    *,
    normalise: Normalisation,
    streams: Streams,
    device: torch.device,
    trajectories: Trajectories | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress = lambda step, steps, loss: None,
) -> Distilled:
    """Distil a group-labelled dataset into `settings.ipc` images per class.

    Parameters
    ----------
    candidate : the alignment, its barycenter and its group weights
    normalise : the normalisation of real and synthetic images
    streams : the generators of all random draws
    trajectories : the weights of experts, for a matcher that follows them; see `experts`
    checkpoints : where the state is saved and restored from; None for no checkpoints
    progress : called after every step with the step, the number of steps and the loss

    Raises
    ------
    ConfigError
        If a name or option in the settings is invalid, or the matcher does not support the alignment.
    DataError
        If a class has no examples, or fewer than its initial images need, or if a NaN or infinite pixel made the loss
        NaN.
    Diverged
        If the loss or the images are no longer meaningful; the message names the learning rate to lower.
    """
    classes = len(dataset.classes)
    project = build_projection(dataset, normalise, settings)
    in_pixels = settings.optimiser.unit == "pixel"
    method = build_method(dataset, settings, candidate, device=device)
    matcher, alignment = method.matcher, method.alignment
    read = reader(dataset.images, normalise, device)
    sampler = GroupSampler(
        dataset, per_class=settings.real_per_class, allocation=alignment.allocation, read=read, device=device
    )
    initial = initial_images(
        settings.start, dataset, settings.ipc, normalise, streams.start, formation=settings.formation
    )
    optimised = OptimiserState.initial(
        normalise.undo(initial) if in_pixels else initial, matcher.learned, settings.optimiser, device
    )
    images = optimised.images
    labels = torch.arange(classes, device=device).repeat_interleave(settings.ipc)
    example_labels = labels.repeat_interleave(settings.formation**2)
    pool = _network_pool(dataset, settings, alignment, read, streams, device)
    embedding = build_embedding(settings.embedding)
    losses: list[float] = []

    def state() -> StateDict:
        return {
            "losses": torch.tensor(losses, dtype=torch.float64),
            **optimised.state(),
            **add_prefix("streams", streams.state()),
            **add_prefix("pool", pool.state()),
        }

    if saved := (checkpoints.latest() if checkpoints else None):
        losses = saved["losses"].tolist()
        optimised.restore(saved)
        pool.restore(strip_prefix("pool", saved))
        streams.restore(strip_prefix("streams", saved))  # Last, because creating the pool's networks draws from them.

    for step in range(len(losses), settings.steps):
        with torch.no_grad():
            examples = decode(project(images), settings.formation)
        network = pool.visit(step, examples, example_labels)
        network.requires_grad_(False)
        augmentation = draw(settings.augment, classes, streams.augment)
        inputs = Step(
            network,
            lambda augmentation=augmentation: sampler.draw(streams.batches).augmented(augmentation),  # type: ignore[misc]
            Synthetic(images, settings.ipc, settings.formation, augmentation, project, settings.augment),
            alignment,
            streams.matcher,
            embedding,
            optimised.learned,
            trajectories,
        )
        optimised.optimiser.zero_grad(set_to_none=True)
        step_loss = _backward(matcher.pairs(inputs), settings)
        optimised.update(step, settings.steps)
        # One transfer for both numbers: each transfer makes the CPU wait for the GPU.
        free = normalise.apply(images.detach()) if in_pixels else images.detach()
        constrained = matcher.constrain(free)
        if constrained is not free:
            images.data.copy_(normalise.undo(constrained) if in_pixels else constrained)
        numbers = torch.stack([step_loss, free.abs().amax().double()])
        loss, largest_pixel = numbers.tolist()
        losses.append(loss)
        _check_step(loss, largest_pixel, network, dataset, step=step + 1, settings=settings)
        with torch.no_grad():
            pool.advance(step, decode(project(images), settings.formation), example_labels)
        progress(step + 1, settings.steps, loss)
        if checkpoints:
            checkpoints.save_if_due(step + 1, state)
    pixels = (images.detach() if in_pixels else normalise.undo(images.detach())).cpu().contiguous().numpy()
    if isinstance(project, RowProjection):
        pixels = project.nearest(pixels)
    learned = {name: scalar.item() for name, scalar in optimised.learned.items()}
    return Distilled(pixels, labels.cpu().numpy(), tuple(losses), learned)


def _check_step(
    loss: float, largest_pixel: float, network: Network, dataset: GroupedDataset, *, step: int, settings: Distill
) -> None:
    """Raise Diverged for a step without meaning, or DataError if NaN in the data is the reason."""
    try:
        check_divergence(loss, largest_pixel, network, step=step, settings=settings)
    except Diverged:
        check_finite(dataset)  # No learning rate corrects NaN in the data.
        raise


def _backward(pairs: Iterable[Pair], settings: Distill) -> Tensor:
    """Run the backward pass of one pair after another, so that one graph is in memory; return the total loss."""
    losses = []
    for pair in pairs:
        terms = [
            distance(target, pair.synthetic, kind=settings.distance, reduce=settings.reduce) for target in pair.targets
        ]
        loss = torch.stack(terms + ([] if pair.extra is None else [pair.extra])).sum()
        torch.autograd.backward(loss)
        losses.append(loss.detach())
    return torch.stack(losses).double().sum()


def _network_pool(
    dataset: GroupedDataset,
    settings: Distill,
    alignment: Alignment,
    read: Callable[[Tensor], Tensor],
    streams: Streams,
    device: torch.device,
) -> NetworkPool:
    classes = len(dataset.classes)
    sampler = GroupSampler(
        dataset,
        per_class=max(1, settings.networks.batch_size // classes),
        allocation=alignment.allocation,
        read=read,
        device=device,
    )

    def weight_generator() -> torch.Generator:
        """Return the stream itself on a CPU. A GPU needs its own generator, seeded from the stream."""
        if device.type == "cpu":
            return streams.networks
        seed = int(torch.randint(2**62, (), generator=streams.networks))
        return plain_torch_generator(seed, device)

    def make() -> Network:
        network = settings.network
        return build(network.name, network.options, dataset.shape, classes, weight_generator(), custom=True)

    def redraw(network: Network) -> None:
        draw_weights(network, weight_generator())

    def real_batch(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return a batch with the cell weights of the targets, so that training is aligned like matching."""
        real = sampler.draw(generator)
        return real.images, real.labels, real.weights(alignment.emphasis) / classes

    return NetworkPool(make, redraw, settings.networks, settings.augment, streams.networks, real_batch)
