"""What an alignment owes the loop, the matchers and the networks' lessons."""

from collections.abc import Callable
from typing import Any, get_args

import torch
from torch import Tensor

from fair_distill.distillation.alignment import Alignment, CloudBarycentric, Statistic, Target
from fair_distill.distillation.distance import distance
from fair_distill.distillation.sampling import Allocation
from fair_distill.errors import ConfigError
from fair_distill.testing.assertions import close, global_generator_at_rest, holds, shape_of

# One cell is absent and one is thin, as in data that one would want to align.
_COUNTS = torch.tensor([[40.0, 5.0, 3.0, 9.0], [4.0, 30.0, 0.0, 6.0], [7.0, 8.0, 9.0, 1.0]])


def check_alignment(factory: Callable[..., Alignment], generator: torch.Generator, **options: Any) -> None:
    """Check what is relied on of `factory(counts_CG, weights_CG, **options)`.

    Its targets are constants, with the shapes of the statistics; they follow relabelled groups, do not mix classes, do
    not look at absent cells, and stand where groups that agree stand. `mixtures`, if it has any, are those targets:
    gradient matchers make one backward pass of them. `emphasis` shares out each class among its cells. Of an alignment
    of clouds only what is not the barycenter's is checked; for that see `check_cloud_barycenter`.
    """
    present = _COUNTS > 0
    for shares in (torch.ones(4), 0.1 + torch.rand(4, generator=generator)):
        weights = present * shares
        weights = weights / weights.sum(dim=1, keepdim=True)
        given = _COUNTS.clone(), weights.clone()
        with global_generator_at_rest("the alignment"):
            alignment = factory(*given, **options)
            _check_shares(alignment, present)
            if isinstance(alignment, CloudBarycentric):
                _check_clouds(alignment, generator)
            else:
                _check_targets(alignment, present, generator)
        unchanged = torch.equal(given[0], _COUNTS) and torch.equal(given[1], weights)
        holds(unchanged, "the counts or weights were changed in place")

        order = [2, 0, 3, 1]
        relabelled = factory(_COUNTS[:, order], weights[:, order], **options)
        close(
            relabelled.emphasis,
            alignment.emphasis[:, order],
            "the order of the groups matters to emphasis",
            tolerance=1e-6,
        )
        if not isinstance(alignment, CloudBarycentric):
            cells, at = _statistic(generator, 3, 4), _statistic(generator, 3)
            moved = relabelled.targets(tuple(layer[:, order] for layer in cells))
            _same(_loss(moved, at), _loss(alignment.targets(cells), at), "the order of the groups matters to targets")


def _check_shares(alignment: Alignment, present: Tensor) -> None:
    words = get_args(Allocation)
    holds(alignment.allocation in words, f"allocation is one of {', '.join(words)}; got {alignment.allocation!r}")
    emphasis = alignment.emphasis
    holds(emphasis.shape == present.shape, f"emphasis is (C, G), {shape_of(present)} here; got {shape_of(emphasis)}")
    holds(not emphasis.requires_grad, "emphasis records a gradient; it is a constant")
    holds(
        bool(emphasis.isfinite().all() and (emphasis >= 0).all()), "emphasis has a cell that is negative or not finite"
    )
    close(emphasis.sum(dim=1), torch.ones(len(present)), "the rows of emphasis do not sum to 1", tolerance=1e-5)
    holds(bool((emphasis[~present] == 0).all()), "emphasis counts an absent cell")


def _check_targets(alignment: Alignment, present: Tensor, generator: torch.Generator) -> None:
    cells = _statistic(generator, *present.shape)
    before = [layer.clone() for layer in cells]
    targets = alignment.targets(tuple(layer.requires_grad_() for layer in cells))
    _check_form(targets, cells)
    cells = tuple(layer.detach() for layer in cells)
    holds(all(map(torch.equal, cells, before)), "the cells were changed in place")
    at = _statistic(generator, len(present))
    loss = _loss(targets, at)
    holds(torch.equal(_loss(alignment.targets(cells), at), loss), "the same cells gave two targets")

    alone = torch.zeros(())
    for c in range(len(present)):
        one = slice(c, c + 1)
        own = alignment.targets(tuple(layer[one] for layer in cells), one)
        holds(len(own) == len(targets), f"there are {len(targets)} targets of all classes and {len(own)} of one")
        alone = alone + _loss(own, tuple(layer[one] for layer in at))
    _same(alone, loss, "a class's targets depend on the other classes, or on where its row stands")

    elsewhere = tuple(torch.where(_spread(present, layer), layer, 1e4) for layer in cells)
    _same(_loss(alignment.targets(elsewhere), at), loss, "what stands in an absent cell matters")
    agreed = tuple(layer[:, :1].expand_as(layer) for layer in cells)
    distances = _loss(alignment.targets(agreed), tuple(layer[:, 0] for layer in cells))
    holds(float(distances) < 1e-2, f"groups that are all at one point have another target, {float(distances):.2g} away")
    if alignment.mixtures is not None:
        _check_mixtures(alignment, cells, targets, present)


def _check_form(targets: list[Target], cells: Statistic) -> None:
    holds(bool(targets), "there are no targets")
    classes = len(cells[0])
    for target in targets:
        shapes = [shape_of(layer) for layer in target.statistic]
        wanted = [str((classes, *layer.shape[2:])) for layer in cells]
        holds(
            shapes == wanted, f"a target has a layer (C, ...) for every one of the cells, {wanted} here; got {shapes}"
        )
        weight = target.weight
        holds(weight.shape == (classes,), f"a target's weight is (C,), ({classes},) here; got {shape_of(weight)}")
        everything = (*target.statistic, weight)
        holds(not any(x.requires_grad for x in everything), "targets are constants; this one records a gradient")
        counted = [layer[weight > 0] for layer in target.statistic]
        finite = all(bool(x.isfinite().all()) for x in (*counted, weight))
        holds(finite and bool((weight >= 0).all()), "a target is not finite, or its weight is negative")
    total = torch.stack([target.weight for target in targets]).sum(dim=0)
    holds(bool((total > 0).all()), "a class has no target with a weight above 0")


def _check_mixtures(alignment: Alignment, cells: Statistic, targets: list[Target], present: Tensor) -> None:
    mixtures = alignment.mixtures or ()
    holds(len(mixtures) == len(targets), f"there are {len(targets)} targets and {len(mixtures)} mixtures")
    for mixture, target in zip(mixtures, targets, strict=True):
        holds(
            mixture.cells.shape == present.shape,
            f"a mixture's cells are (C, G), {shape_of(present)} here; got {shape_of(mixture.cells)}",
        )
        holds(bool((mixture.cells[~present] == 0).all()), "a mixture counts an absent cell")
        close(mixture.weight, target.weight, "a mixture's weight is not its target's", tolerance=1e-5)
        counts = mixture.weight > 0
        rows = mixture.cells.sum(dim=1)[counts]
        close(rows, torch.ones_like(rows), "the rows of a mixture do not sum to 1", tolerance=1e-5)
        for layer, wanted in zip(cells, target.statistic, strict=True):
            mixed = torch.einsum("cg,cg...->c...", mixture.cells, layer)
            close(mixed[counts], wanted[counts], "a mixture of the cells is not the target", tolerance=1e-4)


def _check_clouds(alignment: CloudBarycentric, generator: torch.Generator) -> None:
    try:
        alignment.targets(_statistic(generator, *_COUNTS.shape))
    except ConfigError:
        pass
    else:
        raise AssertionError("an alignment of clouds has no targets of means; raise ConfigError and say what to use")
    for label, sizes in enumerate(((4, 3, 2, 5), (2, 6, 0, 3), (3, 3, 3, 1))):
        clouds = [torch.randn(n, 5, generator=generator) for n in sizes]
        synthetic = torch.randn(4, 5, generator=generator).requires_grad_()
        loss = alignment.loss(label, clouds, synthetic)
        holds(loss.shape == (), f"the loss is a scalar; got {shape_of(loss)}")
        (slope,) = torch.autograd.grad(loss, synthetic)
        holds(
            bool(slope.isfinite().all() and (slope != 0).any()), "the loss has no finite slope in the synthetic cloud"
        )


def _statistic(generator: torch.Generator, *leading: int) -> Statistic:
    """Two layers, of vectors and of matrices."""
    return tuple(torch.randn(*leading, *trailing, generator=generator) for trailing in ((5,), (3, 2)))


def _loss(targets: list[Target], at: Statistic) -> Tensor:
    """Distances of two kinds, so that targets with one weighted mean are still told apart."""
    return torch.stack([distance(t, at, kind=kind, reduce="sum") for t in targets for kind in ("squared", "l1")]).sum()


def _same(got: Tensor, wanted: Tensor, fact: str) -> None:
    close(got, wanted, fact, tolerance=1e-4 * (1 + float(wanted.abs())))


def _spread(present: Tensor, layer: Tensor) -> Tensor:
    return present.view(*present.shape, *(1 for _ in layer.shape[2:]))
