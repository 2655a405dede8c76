"""The contract of alignments with the loop, the matchers and the training of networks."""

from collections.abc import Callable
from typing import Any, get_args

import torch
from torch import Tensor

from fair_distill.distillation.alignment import Alignment, CloudLoss, Statistic, Target
from fair_distill.distillation.distance import distance
from fair_distill.distillation.sampling import Allocation
from fair_distill.testing.assertions import close, global_generator_unused, holds, shape_of

# One cell is absent and one is thin, as in typical imbalanced data.
_COUNTS = torch.tensor([[40.0, 5.0, 3.0, 9.0], [4.0, 30.0, 0.0, 6.0], [7.0, 8.0, 9.0, 1.0]])


def check_alignment(factory: Callable[..., Alignment], generator: torch.Generator, **options: Any) -> None:
    """Check the alignment that `factory(counts_CG, weights_CG, **options)` returns.

    Its targets are constants with the shapes of the statistics. They follow the groups if these are relabelled, do not
    mix classes, ignore absent cells, and equal the cells if all groups are equal. If the alignment has `mixtures`, they
    describe its targets, because gradient matchers compute them in one backward pass. `emphasis` distributes each class
    over its cells. For an alignment of clouds, the loss has a finite gradient; check its barycenter with
    `check_cloud_barycenter`.
    """
    present = _COUNTS > 0
    for shares in (torch.ones(4), 0.1 + torch.rand(4, generator=generator)):
        weights = present * shares
        weights = weights / weights.sum(dim=1, keepdim=True)
        inputs = _COUNTS.clone(), weights.clone()
        with global_generator_unused("the alignment"):
            alignment = factory(*inputs, **options)
            _check_emphasis(alignment, present)
            _check_targets(alignment, present, generator)
            if alignment.cloud_loss is not None:
                _check_cloud_loss(alignment.cloud_loss, generator)
        unchanged = torch.equal(inputs[0], _COUNTS) and torch.equal(inputs[1], weights)
        holds(unchanged, "the counts or weights were changed in place")

        order = [2, 0, 3, 1]
        relabelled = factory(_COUNTS[:, order], weights[:, order], **options)
        close(
            relabelled.emphasis,
            alignment.emphasis[:, order],
            "the order of the groups matters to emphasis",
            tolerance=1e-6,
        )
        cells, synthetic = _statistic(generator, 3, 4), _statistic(generator, 3)
        targets = relabelled.targets(tuple(layer[:, order] for layer in cells))
        _check_equal(
            _loss(targets, synthetic),
            _loss(alignment.targets(cells), synthetic),
            "the order of the groups matters to targets",
        )


def _check_emphasis(alignment: Alignment, present: Tensor) -> None:
    names = get_args(Allocation)
    holds(alignment.allocation in names, f"allocation is {alignment.allocation!r}; choose one of {', '.join(names)}")
    emphasis = alignment.emphasis
    holds(emphasis.shape == present.shape, f"emphasis has shape {shape_of(emphasis)}; (C, G) is {shape_of(present)}")
    holds(not emphasis.requires_grad, "emphasis records a gradient; make it a constant")
    holds(
        bool(emphasis.isfinite().all() and (emphasis >= 0).all()), "emphasis has a cell that is negative or not finite"
    )
    close(emphasis.sum(dim=1), torch.ones(len(present)), "the rows of emphasis do not sum to 1", tolerance=1e-5)
    holds(bool((emphasis[~present] == 0).all()), "emphasis gives an absent cell a weight above 0")


def _check_targets(alignment: Alignment, present: Tensor, generator: torch.Generator) -> None:
    cells = _statistic(generator, *present.shape)
    before = [layer.clone() for layer in cells]
    targets = alignment.targets(tuple(layer.requires_grad_() for layer in cells))
    _check_form(targets, cells)
    cells = tuple(layer.detach() for layer in cells)
    holds(all(map(torch.equal, cells, before)), "the cells were changed in place")
    synthetic = _statistic(generator, len(present))
    loss = _loss(targets, synthetic)
    holds(torch.equal(_loss(alignment.targets(cells), synthetic), loss), "the same cells gave two targets")

    class_by_class = torch.zeros(())
    for c in range(len(present)):
        row = slice(c, c + 1)
        class_targets = alignment.targets(tuple(layer[row] for layer in cells), row)
        holds(
            len(class_targets) == len(targets),
            f"there are {len(targets)} targets for all classes but {len(class_targets)} for one class",
        )
        class_by_class = class_by_class + _loss(class_targets, tuple(layer[row] for layer in synthetic))
    _check_equal(class_by_class, loss, "a class's targets depend on the other classes or on the position of its row")

    changed = tuple(torch.where(_expand(present, layer), layer, 1e4) for layer in cells)
    _check_equal(_loss(alignment.targets(changed), synthetic), loss, "the values of an absent cell matter")
    equal = tuple(layer[:, :1].expand_as(layer) for layer in cells)
    distances = _loss(alignment.targets(equal), tuple(layer[:, 0] for layer in cells))
    holds(
        float(distances) < 1e-2,
        f"the target of equal groups differs from them, by a distance of {float(distances):.2g}",
    )
    if alignment.mixtures is not None:
        _check_mixtures(alignment, cells, targets, present)


def _check_form(targets: list[Target], cells: Statistic) -> None:
    holds(bool(targets), "the alignment returns no targets")
    classes = len(cells[0])
    for target in targets:
        shapes = [shape_of(layer) for layer in target.statistic]
        expected = [str((classes, *layer.shape[2:])) for layer in cells]
        holds(shapes == expected, f"the layers of a target have shapes {shapes}; return {expected}, one per layer")
        weight = target.weight
        holds(weight.shape == (classes,), f"a target's weight has shape {shape_of(weight)}; (C,) is ({classes},)")
        tensors = (*target.statistic, weight)
        holds(not any(x.requires_grad for x in tensors), "a target records a gradient; targets must be constants")
        used = [layer[weight > 0] for layer in target.statistic]
        finite = all(bool(x.isfinite().all()) for x in (*used, weight))
        holds(finite and bool((weight >= 0).all()), "a target is not finite, or its weight is negative")
    total = torch.stack([target.weight for target in targets]).sum(dim=0)
    holds(bool((total > 0).all()), "a class has no target with a weight above 0")


def _check_mixtures(alignment: Alignment, cells: Statistic, targets: list[Target], present: Tensor) -> None:
    mixtures = alignment.mixtures or ()
    holds(len(mixtures) == len(targets), f"there are {len(targets)} targets but {len(mixtures)} mixtures")
    for mixture, target in zip(mixtures, targets, strict=True):
        holds(
            mixture.cells.shape == present.shape,
            f"a mixture's cells have shape {shape_of(mixture.cells)}; (C, G) is {shape_of(present)}",
        )
        holds(bool((mixture.cells[~present] == 0).all()), "a mixture gives an absent cell a weight above 0")
        close(mixture.weight, target.weight, "a mixture's weight differs from its target's", tolerance=1e-5)
        used = mixture.weight > 0
        rows = mixture.cells.sum(dim=1)[used]
        close(rows, torch.ones_like(rows), "the rows of a mixture do not sum to 1", tolerance=1e-5)
        for layer, expected in zip(cells, target.statistic, strict=True):
            mixed = torch.einsum("cg,cg...->c...", mixture.cells, layer)
            close(mixed[used], expected[used], "a mixture of the cells is not the target", tolerance=1e-4)


def _check_cloud_loss(cloud_loss: CloudLoss, generator: torch.Generator) -> None:
    for label, sizes in enumerate(((4, 3, 2, 5), (2, 6, 0, 3), (3, 3, 3, 1))):
        clouds = [torch.randn(n, 5, generator=generator) for n in sizes]
        synthetic = torch.randn(4, 5, generator=generator).requires_grad_()
        loss = cloud_loss(label, clouds, synthetic)
        holds(loss.shape == (), f"the loss of clouds has shape {shape_of(loss)}; return a scalar")
        (gradient,) = torch.autograd.grad(loss, synthetic)
        holds(
            bool(gradient.isfinite().all() and (gradient != 0).any()),
            "the loss of clouds has no finite gradient in the synthetic cloud",
        )


def _statistic(generator: torch.Generator, *leading: int) -> Statistic:
    """Return two random layers, one of vectors and one of matrices."""
    return tuple(torch.randn(*leading, *trailing, generator=generator) for trailing in ((5,), (3, 2)))


def _loss(targets: list[Target], synthetic: Statistic) -> Tensor:
    """Return the sum of two kinds of distance, so that different targets with one weighted mean have different sums."""
    distances = [distance(t, synthetic, kind=kind, reduce="sum") for t in targets for kind in ("squared", "l1")]
    return torch.stack(distances).sum()


def _check_equal(actual: Tensor, expected: Tensor, message: str) -> None:
    close(actual, expected, message, tolerance=1e-4 * (1 + float(expected.abs())))


def _expand(present: Tensor, layer: Tensor) -> Tensor:
    return present.view(*present.shape, *(1 for _ in layer.shape[2:]))
