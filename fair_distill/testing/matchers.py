"""What a matcher owes the loop, and the table of which matcher goes with which alignment."""

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
from fair_distill.distillation.matchers.base import Matcher, Pair, Step, learned_by
from fair_distill.distillation.networks import Network, build
from fair_distill.distillation.sampling import Batch, GroupSampler, Normalisation, reader
from fair_distill.distillation.synthetic import Synthetic, as_it_is, decode
from fair_distill.errors import ConfigError
from fair_distill.testing.assertions import close, global_generator_at_rest, holds, shape_of

Factory = Callable[[Tensor, Tensor], Alignment]

# Three groups, so that a mean, a median and a centre differ; one cell is absent.
_COUNTS = ((6, 2, 1), (3, 4, 0))
_SHAPE = (3, 8, 8)
_PER_CLASS = 3
_EVERY_KIND: dict[str, Factory] = {
    "pooled": pooled,
    "per_group": per_group,
    "barycentric to the mean": partial(barycentric, barycenter=Named(name="mean")),
    "barycentric to the minimax centre": partial(barycentric, barycenter=Named(name="minimax")),
}


def check_matcher(matcher: Matcher, generator: torch.Generator, *, at_home: bool = True) -> None:
    """Check what the loop relies on of `matcher.pairs(step)`, on two classes of 3×8×8 and a ConvNet of two blocks.

    Targets are constants that fit the synthetic statistic, and the pixels of every class have a finite slope that is
    not 0, with every kind of alignment (or a ConfigError says why not). Alignments differ, but where experts hold them.
    A step depends on nothing but itself, sees images as `step.synthetic` shows them, and changes nothing it is given.

    Parameters
    ----------
    at_home : a class that is matched to its own images is at no distance: false of a method that compares something
        else, such as where a training leads
    """
    bench = _Bench.of(generator, _COUNTS)
    follows_experts = getattr(matcher, "experts", None) is not None
    slopes = {}
    for name, factory in _EVERY_KIND.items():
        try:
            slopes[name] = _check_step(matcher, bench, factory, f"with {name}")
        except ConfigError as refusal:
            said = " ".join(map(str, refusal.args))  # not str(refusal), which shows any message in one line
            holds(bool(said) and "\n" not in said, f"with {name}: a refusal says why in one line; got {said!r}")
    holds(bool(slopes), "every alignment is refused")
    if {"pooled", "barycentric to the mean"} <= slopes.keys() and not follows_experts:
        differ = not torch.equal(slopes["pooled"], slopes["barycentric to the mean"])
        holds(differ, "pooled and barycentric give one slope: the alignment has no part in what is matched")
    _check_look(matcher, bench, _EVERY_KIND[next(iter(slopes))])
    if at_home:
        _check_home(matcher, generator)


def contract_table(
    matchers: Mapping[str, Matcher], alignments: Mapping[str, Factory], generator: torch.Generator
) -> str:
    """Return which matcher works with which alignment, as a Markdown table with the reasons of refusals beneath.

    Nothing is looked up: every pair makes a step, under the checks of `check_matcher`.
    """
    bench = _Bench.of(generator, _COUNTS)
    reasons: list[str] = []

    def status(matcher: Matcher, factory: Factory, at: str) -> str:
        try:
            _check_step(matcher, bench, factory, at)
        except ConfigError as refusal:
            if str(refusal) not in reasons:
                reasons.append(str(refusal))
            return f"refused ({reasons.index(str(refusal)) + 1})"
        return "works"

    lines = [f"| | {' | '.join(matchers)} |", "|---" * (1 + len(matchers)) + "|"]
    for name, factory in alignments.items():
        row = [status(matcher, factory, f"{at} with {name}") for at, matcher in matchers.items()]
        lines.append(f"| {name} | {' | '.join(row)} |")
    return "\n".join([*lines, "", *(f"{i}. {reason}" for i, reason in enumerate(reasons, start=1))])


@dataclass(frozen=True, eq=False)
class _Bench:
    """What a step is made of: data, synthetic images of them, a network, draws."""

    dataset: GroupedDataset
    network: Network
    images: Tensor
    draws: torch.Generator

    @classmethod
    def of(cls, generator: torch.Generator, counts: tuple[tuple[int, ...], ...]) -> "_Bench":
        counted = np.asarray(counts)
        labels, groups = (np.repeat(index.ravel(), counted.ravel()) for index in np.indices(counted.shape))
        pixels = torch.rand(len(labels), *_SHAPE, generator=generator)
        pixels = (pixels + torch.from_numpy(groups).float()[:, None, None, None]) / counted.shape[1]
        names = [f"group{a}" for a in range(counted.shape[1])]
        dataset = GroupedDataset.from_arrays(pixels.numpy(), labels, groups, groups=names)
        network = build("convnet", {"width": 8, "depth": 2}, _SHAPE, len(counted), generator)
        images = torch.rand(len(counted) * _PER_CLASS, *_SHAPE, generator=generator)
        return cls(dataset, network, images, generator)

    def aligned(self, factory: Factory) -> Alignment:
        counts = torch.from_numpy(self.dataset.counts).float()
        present = (counts > 0).float()
        return factory(counts, present / present.sum(dim=1, keepdim=True))

    def batch(self, alignment: Alignment) -> Batch:
        """The whole data set."""
        plain, cpu = Normalisation((0.0,) * 3, (1.0,) * 3), torch.device("cpu")
        read = reader(self.dataset.images, plain, cpu)
        sampler = GroupSampler(self.dataset, per_class=100, allocation=alignment.allocation, read=read, device=cpu)
        return sampler.draw(self.draws.clone_state())


@dataclass(frozen=True)
class _Straight:
    """Experts that lose a tenth of the weights they were drawn with in every epoch."""

    network: Network
    experts: Experts

    def between(self, expert: int, first: int, last: int) -> tuple[Tensor, Tensor]:
        holds(
            0 <= expert < self.experts.count, f"there are {self.experts.count} experts; number {expert} was asked for"
        )
        inside = 0 <= first < last <= self.experts.epochs
        holds(inside, f"epochs {first} to {last} were asked for, of experts of {self.experts.epochs} epochs")
        start = torch.nn.utils.parameters_to_vector(self.network.parameters()).detach()
        return start * 0.9**first, start * 0.9**last


@dataclass(frozen=True, eq=False)
class _Made:
    """What came of a step: the distance from the targets, the loss with what the method adds, slopes."""

    distance: Tensor
    loss: Tensor
    slope: Tensor
    learned: list[Tensor | None]


def _check_step(matcher: Matcher, bench: _Bench, factory: Factory, at: str) -> Tensor:
    """Check one step, twice over; return the slope of the pixels."""
    alignment = bench.aligned(factory)
    real = bench.batch(alignment)
    watched = [real.images, real.labels, real.averaging, bench.images, *bench.network.parameters()]
    before = [x.detach().clone() for x in watched]
    with global_generator_at_rest(f"{at}: the matcher"):
        made = _step(matcher, bench, alignment, real, at)
    again = _step(matcher, bench, alignment, real, at)

    slope = made.slope.flatten(1).unflatten(0, (-1, _PER_CLASS))
    holds(bool(made.loss.isfinite()), f"{at}: the loss is {made.loss.item()}")
    holds(bool(slope.isfinite().all()), f"{at}: the pixels' slope is not finite")
    moved = (slope != 0).flatten(1).any(dim=1)
    holds(bool(moved.all()), f"{at}: the pixels of class {int(moved.int().argmin())} have no slope")
    for name, of in zip(learned_by(matcher), made.learned, strict=True):
        holds(of is not None and bool(of.isfinite()), f"{at}: {name}, which is learned, has no finite slope")
    same = torch.equal(made.loss, again.loss) and torch.equal(made.slope, again.slope)
    holds(same, f"{at}: the same step gave two losses or slopes; draw from step.generator and keep no state")
    unchanged = all(torch.equal(x.detach(), y) for x, y in zip(watched, before, strict=True))
    holds(unchanged, f"{at}: the real batch, the synthetic images or the network were changed in place")
    if getattr(matcher, "experts", None) is not None:  # the alignment is in them
        _check_lesson(bench, alignment, real, at)
    return made.slope


def _check_lesson(bench: _Bench, alignment: Alignment, real: Batch, at: str) -> None:
    taught = copy.deepcopy(bench.network).requires_grad_()
    shares = torch.full((real.classes,), 1 / real.classes)
    gradients = aligned_gradient(taught, real.images, real, alignment, shares)
    moving = all(bool(g.isfinite().all() and (g != 0).any()) for g in gradients)
    holds(moving, f"{at}: the gradient that experts would be trained by is not finite, or 0")


def _step(
    matcher: Matcher,
    bench: _Bench,
    alignment: Alignment,
    real: Batch,
    at: str,
    *,
    formation: int = 1,
    valid: Callable[[Tensor], Tensor] = as_it_is,
) -> _Made:
    images = bench.images.clone().requires_grad_()
    learned = {name: torch.tensor(of.start).requires_grad_() for name, of in learned_by(matcher).items()}
    experts = getattr(matcher, "experts", None)
    step = Step(
        bench.network.requires_grad_(False),
        lambda: real,
        Synthetic(images, len(images) // real.classes, formation, Draw(None, None, None), valid),
        alignment,
        bench.draws.clone_state(),
        Embedding(),
        learned,
        None if experts is None else _Straight(bench.network, experts),
    )
    compared, losses = torch.zeros(()), []
    for pair in matcher.pairs(step):
        _check_pair(pair, at)
        apart = [distance(target, pair.synthetic, kind="squared", reduce="sum") for target in pair.targets]
        loss = torch.stack(apart + ([] if pair.extra is None else [pair.extra])).sum()
        holds(loss.requires_grad, f"{at}: a pair records no gradient of the synthetic images")
        loss.backward()  # before the next is asked for, as the loop does
        losses.append(loss.detach())
        compared = compared + sum(each.detach() for each in apart)
    holds(bool(losses), f"{at}: there are no pairs")
    holds(images.grad is not None, f"{at}: no gradient reaches the pixels")
    assert images.grad is not None
    return _Made(compared, torch.stack(losses).sum(), images.grad, [of.grad for of in learned.values()])


def _check_pair(pair: Pair, at: str) -> None:
    holds(bool(pair.targets) or pair.extra is not None, f"{at}: a pair has neither a target nor a loss of its own")
    wanted = [shape_of(layer) for layer in pair.synthetic]
    for target in pair.targets:
        got = [shape_of(layer) for layer in target.statistic]
        holds(got == wanted, f"{at}: a target's layers are {got}, and the synthetic ones {wanted}")
        holds(
            all(target.weight.shape == layer.shape[:1] for layer in pair.synthetic),
            f"{at}: a target's weight is {shape_of(target.weight)}; one for every row of {wanted} is needed",
        )
        constant = not any(x.requires_grad for x in (*target.statistic, target.weight))
        holds(constant, f"{at}: targets are constants; this one records a gradient")
    if pair.extra is not None:
        holds(pair.extra.shape == (), f"{at}: a loss of the method's own is a scalar; got {shape_of(pair.extra)}")


def _check_look(matcher: Matcher, bench: _Bench, factory: Factory) -> None:
    """Check that mosaics are compared as their tiles, and rows as the valid ones that they stand for."""
    alignment = bench.aligned(factory)
    real = bench.batch(alignment)

    def quarters(images: Tensor) -> Tensor:
        return images + ((4 * images).round() / 4 - images).detach()

    plain = replace(bench, images=decode(quarters(bench.images), 2))
    wanted = _step(matcher, plain, alignment, real, "of tiles").loss
    got = _step(matcher, bench, alignment, real, "of a mosaic", formation=2, valid=quarters).loss
    same = "what is compared is not what is shown; look at images through step.synthetic.view"
    close(got, wanted, same, tolerance=1e-3 * float(wanted.abs()))


def _check_home(matcher: Matcher, generator: torch.Generator) -> None:
    bench = _Bench.of(generator, ((_PER_CLASS,), (_PER_CLASS,)))
    alignment = bench.aligned(pooled)
    real = bench.batch(alignment)
    home = replace(bench, images=real.images.clone())
    near, far = (float(_step(matcher, b, alignment, real, "at home").distance) for b in (home, bench))
    holds(near <= 1e-3 * far, f"a class's own images are {near:.2g} from its target, and noise {far:.2g}")
