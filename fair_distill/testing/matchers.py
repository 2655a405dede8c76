"""The contract of matchers with the loop, and the table of the alignments that each matcher supports."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from fair_distill.config import Named
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.distillation.alignment import Alignment, barycentric, per_group, pooled
from fair_distill.distillation.augment import Draw
from fair_distill.distillation.distance import distance
from fair_distill.distillation.embedding import Embedding
from fair_distill.distillation.experts import Experts, aligned_gradient
from fair_distill.distillation.matchers.base import Matcher, Pair, Step
from fair_distill.distillation.method import alternative
from fair_distill.distillation.networks import Network, build
from fair_distill.distillation.sampling import Batch, GroupSampler, Normalisation, reader
from fair_distill.distillation.synthetic import Synthetic, decode, identity
from fair_distill.testing.assertions import close, global_generator_unused, holds, shape_of

AlignmentFactory = Callable[[Tensor, Tensor], Alignment]

# Three groups, so that a mean, a median and a centre differ. One cell is absent.
_COUNTS = ((6, 2, 1), (3, 4, 0))
_SHAPE = (3, 8, 8)
_PER_CLASS = 3
_BURES = {"name": "bures", "dimension": 4, "shrinkage": 0.1, "covariance": "full"}
# One alignment for each provision.
_ALIGNMENTS: dict[str, AlignmentFactory] = {
    "pooled": pooled,
    "per_group": per_group,
    "barycentric with the mean": partial(barycentric, barycenter=Named(name="mean")),
    "barycentric with minimax": partial(barycentric, barycenter=Named(name="minimax")),
    "barycentric with bures": partial(barycentric, barycenter=Named.model_validate(_BURES)),
}


def check_matcher(matcher: Matcher, generator: torch.Generator, *, zero_for_own_images: bool = True) -> None:
    """Check what the loop needs of `matcher.pairs(step)`, on two classes of 3×8×8 images and a ConvNet of two blocks.

    For every alignment that the matcher declares in `supports`: targets are constants that fit the synthetic statistic,
    and the pixels of every class have a finite gradient that is not 0. Different alignments give different gradients,
    except for matchers of experts, whose experts contain the alignment. A step has no state, sees images as
    `step.synthetic` shows them, and does not change its inputs.

    Parameters
    ----------
    zero_for_own_images : whether the distance is 0 if a class is matched to its own real images. Set it to false for a
        method that compares something else, such as the result of training
    """
    bench = _Bench.build(generator, _COUNTS)
    gradients = {}
    for name, factory in _ALIGNMENTS.items():
        if bench.align(factory).provides in matcher.supports:
            gradients[name] = _check_step(matcher, bench, factory, f"with {name}")
    holds(bool(gradients), "the matcher supports no alignment; declare them in `supports`")
    if {"pooled", "barycentric with the mean"} <= gradients.keys() and matcher.follows is None:
        differ = not torch.equal(gradients["pooled"], gradients["barycentric with the mean"])
        holds(differ, "pooled and barycentric give the same gradient; compare with the targets of step.alignment")
    _check_view(matcher, bench, _ALIGNMENTS[next(iter(gradients))])
    if zero_for_own_images:
        _check_own_images(matcher, generator)


def contract_table(
    matchers: Mapping[str, Matcher], alignments: Mapping[str, AlignmentFactory], generator: torch.Generator
) -> str:
    """Return a Markdown table of the alignments that each matcher supports, with the alternatives below.

    Every supported pair makes a step, with the checks of `check_matcher`.
    """
    bench = _Bench.build(generator, _COUNTS)
    notes: list[str] = []

    def status(matcher: Matcher, factory: AlignmentFactory, case: str) -> str:
        provides = bench.align(factory).provides
        if provides in matcher.supports:
            _check_step(matcher, bench, factory, case)
            return "works"
        note = alternative(matcher, provides)
        if note not in notes:
            notes.append(note)
        return f"not supported ({notes.index(note) + 1})"

    lines = [f"| | {' | '.join(matchers)} |", "|---" * (1 + len(matchers)) + "|"]
    for name, factory in alignments.items():
        row = [status(matcher, factory, f"{title} with {name}") for title, matcher in matchers.items()]
        lines.append(f"| {name} | {' | '.join(row)} |")
    return "\n".join([*lines, "", *(f"{i}. {note}." for i, note in enumerate(notes, start=1))])


@dataclass(frozen=True, eq=False)
class _Bench:
    """The inputs of a step: real data, synthetic images, a network and a generator."""

    dataset: GroupedDataset
    network: Network
    images: Tensor
    generator: torch.Generator

    @classmethod
    def build(cls, generator: torch.Generator, counts: tuple[tuple[int, ...], ...]) -> "_Bench":
        counts_CG = np.asarray(counts)
        labels, groups = (np.repeat(index.ravel(), counts_CG.ravel()) for index in np.indices(counts_CG.shape))
        pixels = torch.rand(len(labels), *_SHAPE, generator=generator)
        pixels = (pixels + torch.from_numpy(groups).float()[:, None, None, None]) / counts_CG.shape[1]
        names = [f"group{a}" for a in range(counts_CG.shape[1])]
        dataset = GroupedDataset.from_arrays(pixels.numpy(), labels, groups, groups=names)
        network = build("convnet", {"width": 8, "depth": 2}, _SHAPE, len(counts_CG), generator)
        images = torch.rand(len(counts_CG) * _PER_CLASS, *_SHAPE, generator=generator)
        return cls(dataset, network, images, generator)

    def align(self, factory: AlignmentFactory) -> Alignment:
        counts = torch.from_numpy(self.dataset.counts).float()
        present = (counts > 0).float()
        return factory(counts, present / present.sum(dim=1, keepdim=True))

    def batch(self, alignment: Alignment) -> Batch:
        """Return a batch of the whole dataset."""
        unnormalised, cpu = Normalisation((0.0,) * 3, (1.0,) * 3), torch.device("cpu")
        read = reader(self.dataset.images, unnormalised, cpu)
        sampler = GroupSampler(self.dataset, per_class=100, allocation=alignment.allocation, read=read, device=cpu)
        return sampler.draw(self.generator.clone_state())


@dataclass(frozen=True)
class _StraightTrajectories:
    """Experts whose weights shrink by a tenth in every epoch."""

    network: Network
    experts: Experts

    def between(self, expert: int, first: int, last: int) -> tuple[Tensor, Tensor]:
        holds(
            0 <= expert < self.experts.count,
            f"the matcher reads expert {expert}; there are {self.experts.count} experts",
        )
        holds(
            0 <= first < last <= self.experts.epochs,
            f"the matcher reads epochs {first} to {last} of experts of {self.experts.epochs} epochs",
        )
        start = torch.nn.utils.parameters_to_vector(self.network.parameters()).detach()
        return start * 0.9**first, start * 0.9**last


@dataclass(frozen=True, eq=False)
class _StepResult:
    """The distance from the targets, the whole loss, and the gradients of pixels and learned scalars."""

    distance: Tensor
    loss: Tensor
    gradient: Tensor
    learned: list[Tensor | None]


def _check_step(matcher: Matcher, bench: _Bench, factory: AlignmentFactory, case: str) -> Tensor:
    """Check one step, which runs twice; return the gradient of the pixels."""
    alignment = bench.align(factory)
    real = bench.batch(alignment)
    inputs = [real.images, real.labels, real.shares, bench.images, *bench.network.parameters()]
    before = [x.detach().clone() for x in inputs]
    with global_generator_unused(f"{case}: the matcher"):
        result = _step(matcher, bench, alignment, real, case)
    repeated = _step(matcher, bench, alignment, real, case)

    gradient = torch.unflatten(result.gradient.flatten(1), 0, (-1, _PER_CLASS))
    holds(bool(result.loss.isfinite()), f"{case}: the loss is {result.loss.item()}")
    holds(bool(gradient.isfinite().all()), f"{case}: the gradient of the pixels is not finite")
    nonzero = (gradient != 0).flatten(1).any(dim=1)
    holds(bool(nonzero.all()), f"{case}: the pixels of class {int(nonzero.int().argmin())} have no gradient")
    for name, scalar in zip(matcher.learned, result.learned, strict=True):
        holds(scalar is not None and bool(scalar.isfinite()), f"{case}: the learned {name} has no finite gradient")
    same = torch.equal(result.loss, repeated.loss) and torch.equal(result.gradient, repeated.gradient)
    holds(same, f"{case}: the same step gave two losses or gradients; draw from step.generator and keep no state")
    unchanged = all(torch.equal(x.detach(), y) for x, y in zip(inputs, before, strict=True))
    holds(unchanged, f"{case}: the real batch, the synthetic images or the network were changed in place")
    if matcher.follows is not None:  # The experts contain the alignment.
        _check_expert_gradient(bench, alignment, real, case)
    return result.gradient


def _check_expert_gradient(bench: _Bench, alignment: Alignment, real: Batch, case: str) -> None:
    expert = copy.deepcopy(bench.network).requires_grad_()
    shares = torch.full((real.classes,), 1 / real.classes)
    gradients = aligned_gradient(expert, real.images, real, alignment, shares)
    usable = all(bool(g.isfinite().all() and (g != 0).any()) for g in gradients)
    holds(usable, f"{case}: the gradient for training experts is 0 or not finite")


def _step(
    matcher: Matcher,
    bench: _Bench,
    alignment: Alignment,
    real: Batch,
    case: str,
    *,
    formation: int = 1,
    project: Callable[[Tensor], Tensor] = identity,
) -> _StepResult:
    images = bench.images.clone().requires_grad_()
    learned = {name: torch.tensor(scalar.start).requires_grad_() for name, scalar in matcher.learned.items()}
    step = Step(
        bench.network.requires_grad_(False),
        lambda: real,
        Synthetic(images, len(images) // real.classes, formation, Draw(None, None, None), project),
        alignment,
        bench.generator.clone_state(),
        Embedding(),
        learned,
        None if matcher.follows is None else _StraightTrajectories(bench.network, matcher.follows),
    )
    total_distance, losses = torch.zeros(()), []
    for pair in matcher.pairs(step):
        _check_pair(pair, case)
        distances = [distance(target, pair.synthetic, kind="squared", reduce="sum") for target in pair.targets]
        loss = torch.stack(distances + ([] if pair.extra is None else [pair.extra])).sum()
        holds(loss.requires_grad, f"{case}: a pair records no gradient of the synthetic images")
        torch.autograd.backward(loss)  # Before the next pair is requested, as in the loop.
        losses.append(loss.detach())
        total_distance = total_distance + sum(each.detach() for each in distances)
    holds(bool(losses), f"{case}: the matcher yields no pairs")
    holds(images.grad is not None, f"{case}: no gradient reaches the pixels")
    assert images.grad is not None
    gradients = [scalar.grad for scalar in learned.values()]
    return _StepResult(total_distance, torch.stack(losses).sum(), images.grad, gradients)


def _check_pair(pair: Pair, case: str) -> None:
    holds(bool(pair.targets) or pair.extra is not None, f"{case}: a pair has neither a target nor an extra loss")
    expected = [shape_of(layer) for layer in pair.synthetic]
    for target in pair.targets:
        shapes = [shape_of(layer) for layer in target.statistic]
        holds(shapes == expected, f"{case}: a target has layers {shapes}, but the synthetic statistic has {expected}")
        holds(
            all(target.weight.shape == layer.shape[:1] for layer in pair.synthetic),
            f"{case}: a target's weight has shape {shape_of(target.weight)}; give one for every row of {expected}",
        )
        constant = not any(x.requires_grad for x in (*target.statistic, target.weight))
        holds(constant, f"{case}: a target records a gradient; targets must be constants")
    if pair.extra is not None:
        holds(pair.extra.shape == (), f"{case}: the extra loss has shape {shape_of(pair.extra)}; make it a scalar")


def _check_view(matcher: Matcher, bench: _Bench, factory: AlignmentFactory) -> None:
    """Check that the matcher compares the tiles of a mosaic, and projected rows instead of the optimised tensor."""
    alignment = bench.align(factory)
    real = bench.batch(alignment)

    def quarters(images: Tensor) -> Tensor:
        return images + ((4 * images).round() / 4 - images).detach()

    plain = replace(bench, images=decode(quarters(bench.images), 2))
    expected = _step(matcher, plain, alignment, real, "for tiles").loss
    actual = _step(matcher, bench, alignment, real, "for a mosaic", formation=2, project=quarters).loss
    message = "the matcher does not compare the images of step.synthetic.view; read images only through it"
    close(actual, expected, message, tolerance=1e-3 * float(expected.abs()))


def _check_own_images(matcher: Matcher, generator: torch.Generator) -> None:
    bench = _Bench.build(generator, ((_PER_CLASS,), (_PER_CLASS,)))
    alignment = bench.align(pooled)
    real = bench.batch(alignment)
    real_bench = replace(bench, images=real.images.clone())
    own_distance, noise_distance = (
        float(_step(matcher, b, alignment, real, "for its own images").distance) for b in (real_bench, bench)
    )
    holds(
        own_distance <= 1e-3 * noise_distance,
        f"a class's own images have distance {own_distance:.2g} from its target; noise has {noise_distance:.2g}",
    )
