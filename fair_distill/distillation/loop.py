"""The one optimisation loop. Every backbone and every alignment goes through it.

sampler → matcher.pairs (statistics → alignment.targets) → distance → optimiser step → the network ages
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Protocol

import torch
from torch import Tensor

from fair_distill.config import Candidate, Distill
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.alignment import Alignment, alignment_for
from fair_distill.distillation.augment import draw
from fair_distill.distillation.distance import distance
from fair_distill.distillation.divergence import stay_sane
from fair_distill.distillation.embedding import build_embedding
from fair_distill.distillation.experts import Trajectories
from fair_distill.distillation.matchers import build_matcher
from fair_distill.distillation.matchers.base import Pair, Step, learned_by
from fair_distill.distillation.network_pool import NetworkPool
from fair_distill.distillation.networks import Network, build, draw_weights
from fair_distill.distillation.optimiser_state import Moved, State, below, under
from fair_distill.distillation.sampling import GroupSampler, Normalisation, reader
from fair_distill.distillation.synthetic import Synthetic, decode, start
from fair_distill.distillation.valid_rows import keep_valid
from fair_distill.seeds import plain_torch_generator, torch_generator

Progress = Callable[[int, int, float], None]


class Checkpoints(Protocol):
    """Where the loop's state is kept, so that a run that was killed goes on where it was."""

    def latest(self) -> State | None:
        """Return the last state that was kept, or None."""
        ...

    def offer(self, step: int, state: Callable[[], State]) -> None:
        """Be told that a step is done; keep the state if it is time to."""
        ...


@dataclass(frozen=True, eq=False)
class Streams:
    """One generator per purpose, so that a draw added in one place leaves the others where they were."""

    start: torch.Generator
    batches: torch.Generator
    augment: torch.Generator
    networks: torch.Generator
    matcher: torch.Generator

    @classmethod
    def from_seed(cls, seed: int) -> "Streams":
        """Return streams that one seed stands for; the stage and the library start from the same."""
        return cls(**{field.name: torch_generator(seed, f"distill.{field.name}") for field in fields(cls)})

    def state(self) -> State:
        return {field.name: getattr(self, field.name).get_state() for field in fields(self)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        for field in fields(self):
            getattr(self, field.name).set_state(state[field.name])


@dataclass(frozen=True, eq=False)
class Distilled:
    """What the loop returns.

    Attributes
    ----------
    images, labels : pixels in units of the real ones over 255, and classes; of the rows of a table, `images` are valid
        rows, encoded by the dataset's schema
    losses : at every step
    learned : what the matcher learned beside the pixels, by name
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
    trajectories : where experts went, for a matcher that follows them; see `experts`

    Raises
    ------
    ConfigError
        For a name params.yaml may not use.
    DataError
        If a class has no examples, or fewer than it needs to start from.
    Diverged
        If the loss or the images mean nothing any more; the message says what to lower.
    """
    classes = len(dataset.classes)
    valid = keep_valid(dataset.schema, normalise, settings)
    matcher = build_matcher(settings.matcher.name, settings.matcher.options)
    alignment = alignment_for(dataset, settings, candidate, device=device)
    read = reader(dataset.images, normalise, device)
    sampler = GroupSampler(
        dataset, per_class=settings.real_per_class, allocation=alignment.allocation, read=read, device=device
    )
    moved = Moved.at(
        start(settings.start, dataset, settings.ipc, normalise, streams.start, formation=settings.formation),
        learned_by(matcher),
        settings.optimiser,
        device,
    )
    images = moved.images
    labels = torch.arange(classes, device=device).repeat_interleave(settings.ipc)
    seen_labels = labels.repeat_interleave(settings.formation**2)
    pool = _pool(dataset, settings, alignment, read, streams, device)
    embedding = build_embedding(settings.embedding)
    losses: list[float] = []

    def state() -> State:
        return {
            "losses": torch.tensor(losses, dtype=torch.float64),
            **moved.state(),
            **under("streams", streams.state()),
            **under("pool", pool.state()),
        }

    if kept := (checkpoints.latest() if checkpoints else None):
        losses = kept["losses"].tolist()
        moved.restore(kept)
        pool.restore(below("pool", kept))
        streams.restore(below("streams", kept))  # last: making the pool's networks drew from them

    for step in range(len(losses), settings.steps):
        with torch.no_grad():
            seen = decode(valid(images), settings.formation)
        network = pool.visit(step, seen, seen_labels)
        network.requires_grad_(False)
        drawn = draw(settings.augment, classes, streams.augment)
        now = Step(
            network,
            lambda drawn=drawn: sampler.draw(streams.batches).augmented(drawn),  # type: ignore[misc]
            Synthetic(images, settings.ipc, settings.formation, drawn, valid, settings.augment),
            alignment,
            streams.matcher,
            embedding,
            moved.learned,
            trajectories,
        )
        moved.optimiser.zero_grad(set_to_none=True)
        loss_now = _backward(matcher.pairs(now), settings)
        moved.optimiser.step()
        # Asked for together, and once: a GPU goes on meanwhile.
        told = torch.stack([loss_now, images.detach().abs().amax().double()])
        loss, farthest = told.tolist()
        losses.append(loss)
        stay_sane(loss, farthest, network, step=step + 1, settings=settings)
        with torch.no_grad():
            pool.advance(step, decode(valid(images), settings.formation), seen_labels)
        progress(step + 1, settings.steps, loss)
        if checkpoints:
            checkpoints.offer(step + 1, state)
    pixels = normalise.undo(images.detach()).cpu().contiguous().numpy()
    if dataset.schema is not None:
        pixels = dataset.schema.nearest(pixels)
    return Distilled(
        pixels, labels.cpu().numpy(), tuple(losses), {name: number.item() for name, number in moved.learned.items()}
    )


def _backward(pairs: Iterable[Pair], settings: Distill) -> Tensor:
    """Go backward through one comparison after another, so that one graph is alive at a time; return the loss."""
    parts = []
    for pair in pairs:
        compared = [
            distance(target, pair.synthetic, kind=settings.distance, reduce=settings.reduce) for target in pair.targets
        ]
        part = torch.stack(compared + ([] if pair.extra is None else [pair.extra])).sum()
        part.backward()
        parts.append(part.detach())
    return torch.stack(parts).double().sum()


def _pool(
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

    def weights() -> torch.Generator:
        """On the CPU the stream itself; a GPU draws its own numbers, seeded from the stream."""
        if device.type == "cpu":
            return streams.networks
        seed = int(torch.randint(2**62, (), generator=streams.networks))
        return plain_torch_generator(seed, device)

    def make() -> Network:
        named = settings.network
        return build(named.name, named.options, dataset.shape, classes, weights(), custom=True)

    def redraw(network: Network) -> None:
        draw_weights(network, weights())

    def lesson(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """A real batch in which cells count as they do in the targets, so training is aligned as matching is."""
        real = sampler.draw(generator)
        return real.images, real.labels, real.weights(alignment.emphasis) / classes

    return NetworkPool(make, redraw, settings.networks, settings.augment, streams.networks, lesson)
