"""The one optimisation loop. Every backbone and every alignment goes through it.

sampler → matcher.cells → alignment.targets → distance → optimiser step
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fair_distill.config import Candidate, Distill
from fair_distill.data.grouped import Array, GroupedDataset
from fair_distill.distill.alignment import Statistic, Target, build_alignment
from fair_distill.distill.augment import augment, draw
from fair_distill.distill.matchers import build_matcher
from fair_distill.distill.networks import build
from fair_distill.distill.sampling import GroupSampler, Normalisation
from fair_distill.distill.synthetic import start
from fair_distill.errors import ConfigError, FairDistillError

Progress = Callable[[int, int, float], None]


class Diverged(FairDistillError):
    """The loss left the finite numbers."""

    exit_code = 4


@dataclass(frozen=True, eq=False)
class Streams:
    """One generator per purpose, so that a draw added in one place leaves the others where they were."""

    start: torch.Generator
    batches: torch.Generator
    augment: torch.Generator
    networks: torch.Generator


@dataclass(frozen=True, eq=False)
class Distilled:
    """What the loop returns: pixels in units of the real ones over 255, classes, and the loss at every step."""

    images: Array
    labels: Array
    losses: tuple[float, ...]


def distance(target: Target, synthetic: Statistic, *, kind: str, reduce: str) -> Tensor:
    """Return the weighted distance of the synthetic statistic from a target, summed over classes and layers.

    Parameters
    ----------
    kind : "squared" for squared L2, "l1" for the sum of absolute differences
    reduce : over feature dimensions. "sum" is the papers'; "mean" divides by D, and so the learning rate by D.
    """
    total = synthetic[0].new_zeros(())
    for wanted, got in zip(target.statistic, synthetic, strict=True):
        difference = wanted - got
        each = difference.square() if kind == "squared" else difference.abs()
        per_class = each.sum(dim=-1) if reduce == "sum" else each.mean(dim=-1)
        total = total + (target.weight * per_class).sum()
    return total


def distill(
    dataset: GroupedDataset,
    settings: Distill,
    candidate: Candidate,
    *,
    normalise: Normalisation,
    streams: Streams,
    device: torch.device,
    progress: Progress = lambda step, steps, loss: None,
) -> Distilled:
    """Distil a group-labelled dataset into `settings.ipc` images per class.

    Raises
    ------
    ConfigError
        For a name params.yaml may not use.
    DataError
        If a class has no examples, or fewer than `ipc`.
    Diverged
        If the loss is no longer finite; the message says what to lower.
    """
    classes = len(dataset.classes)
    matcher = build_matcher(settings.matcher.name, settings.matcher.options)
    if candidate.barycenter and candidate.barycenter.options:
        raise ConfigError(
            f"params.yaml: barycenter {candidate.barycenter.name!r} takes no options; "
            f"got {', '.join(candidate.barycenter.options)}"
        )
    alignment = build_alignment(
        candidate.alignment,
        dataset.counts,
        dataset.group_names,
        barycenter=candidate.barycenter.name if candidate.barycenter else None,
        weights=candidate.group_weights,
        device=device,
    )
    sampler = GroupSampler(
        dataset,
        per_class=settings.real_per_class,
        allocation=alignment.allocation,
        normalise=normalise,
        device=device,
    )
    images = start(settings.start, dataset, settings.ipc, normalise, streams.start).to(device).requires_grad_()
    labels = torch.arange(classes, device=device).repeat_interleave(settings.ipc)
    optimiser = torch.optim.SGD([images], lr=settings.learning_rate, momentum=settings.momentum)
    losses = []
    for step in range(settings.steps):
        network = build(settings.network.name, settings.network.options, dataset.shape, classes, streams.networks).to(
            device
        )
        network.requires_grad_(False)
        real = sampler.draw(streams.batches)
        drawn = draw(settings.augment, classes, streams.augment)
        cells = matcher.cells(network, real.augmented(drawn), classes)
        synthetic = matcher.synthetic(network, augment(images, drawn, labels), classes)
        loss = torch.stack(
            [
                distance(target, synthetic, kind=settings.distance, reduce=settings.reduce)
                for target in alignment.targets(cells)
            ]
        ).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        if not torch.isfinite(loss):
            raise Diverged(
                f"the loss is {losses[-1]} at step {step + 1} of {settings.steps}; "
                f"lower params.yaml: distill.learning_rate (it is {settings.learning_rate:g})"
            )
        progress(step + 1, settings.steps, losses[-1])
    pixels = normalise.undo(images.detach()).cpu().contiguous().numpy()
    return Distilled(pixels, labels.cpu().numpy(), tuple(losses))
