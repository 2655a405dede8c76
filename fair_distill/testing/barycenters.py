"""The contract of barycenters, of statistics and of clouds."""

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from fair_distill.distillation.barycenter import Barycenter
from fair_distill.distillation.clouds import CloudBarycenter
from fair_distill.testing.assertions import close, global_generator_unused, holds, shape_of


def check_barycenter(barycenter: Barycenter, generator: torch.Generator) -> None:
    """Check a function `(cells_CGD, weights_CG) -> (C, D)`; bind its options first.

    The result must be the barycenter of a weighted set, and constant: without gradient. The order of the groups does
    not matter. Two copies of a group at half the weight equal one group. A group with weight 0 has no effect. The
    barycenter of a single group, or of groups that are all equal, is that group.
    """
    for dtype in (torch.float32, torch.float64):
        cells = torch.randn(3, 4, 5, generator=generator, dtype=dtype)
        weights = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.1, 0.1]], dtype=dtype)
        before = cells.clone(), weights.clone()
        with global_generator_unused("the barycenter"):
            centre = barycenter(cells.requires_grad_(), weights)
        repeated = barycenter(cells, weights)

        holds(
            isinstance(centre, Tensor) and centre.shape == (3, 5),
            f"the barycenter has shape {shape_of(centre)}; (C, D) is (3, 5) here",
        )
        holds(centre.dtype == dtype, f"the barycenter has type {centre.dtype}; the cells have type {dtype}")
        holds(not centre.requires_grad, "the barycenter records a gradient; decorate it with torch.no_grad()")
        holds(bool(centre.isfinite().all()), "the barycenter of finite cells is not finite")
        holds(torch.equal(centre, repeated), "the same cells and weights gave two barycenters")
        cells = cells.detach()
        holds(torch.equal(cells, before[0]) and torch.equal(weights, before[1]), "the inputs were changed in place")

        def same(actual: Tensor, expected: Tensor, message: str) -> None:
            close(actual, expected, message, tolerance=1e-4 if expected.dtype == torch.float32 else 1e-6)

        order = [2, 0, 3, 1]
        same(barycenter(cells[:, order], weights[:, order]), centre, "the order of the groups matters")
        class_by_class = torch.cat([barycenter(cells[c : c + 1], weights[c : c + 1]) for c in range(3)])
        same(class_by_class, centre, "a class's barycenter depends on the other classes")
        halves = torch.cat([weights[:, :1] / 2, weights[:, 1:], weights[:, :1] / 2], dim=1)
        same(
            barycenter(torch.cat([cells, cells[:, :1]], dim=1), halves),
            centre,
            "two copies of a group at half the weight are not equal to one group",
        )
        same(
            barycenter(torch.cat([cells, torch.full_like(cells[:, :1], 1e6)], dim=1), F.pad(weights, (0, 1))),
            centre,
            "the values of an absent cell (weight 0) matter",
        )
        single = torch.zeros_like(weights)
        single[:, 2] = 1
        same(barycenter(cells, single), cells[:, 2], "the barycenter of a single group is not that group")
        equal = cells[:, :1].expand(-1, 4, -1)
        same(barycenter(equal, weights), cells[:, 0], "the barycenter of equal groups is not that group")


def check_cloud_barycenter(barycenter: CloudBarycenter, generator: torch.Generator) -> None:
    """Check a function `(clouds_nD, weights_G, synthetic_ND) -> scalar`, the loss of the synthetic cloud.

    The order of groups, samples and images does not matter. A group with weight 0 has no effect, with or without
    samples. The gradient is finite and belongs to the synthetic cloud only. A small step against it lowers the loss.
    All this also holds for a single image and for one sample per group.
    """
    for dtype, images, sizes in product((torch.float32, torch.float64), (1, 3), ((6, 4, 5), (1, 1, 1))):
        clouds = [torch.randn(n, 4, generator=generator, dtype=dtype) + i for i, n in enumerate(sizes)]
        weights = torch.tensor([0.2, 0.3, 0.5], dtype=dtype)
        synthetic = torch.randn(images, 4, generator=generator, dtype=dtype)
        before = [x.clone() for x in (*clouds, weights, synthetic)]
        with global_generator_unused("the barycenter"):
            loss, gradient = _loss_and_gradient(
                barycenter, [cloud.requires_grad_() for cloud in clouds], weights, synthetic
            )

        holds(
            loss.shape == () and loss.dtype == dtype,
            f"the loss has shape {shape_of(loss)} and type {loss.dtype}; return a scalar of {dtype}",
        )
        holds(bool(gradient.isfinite().all() and loss.isfinite()), f"loss {loss.item()} or its gradient is not finite")
        leaked = torch.autograd.grad(
            barycenter(clouds, weights, synthetic.clone().requires_grad_()), clouds, allow_unused=True
        )
        holds(all(g is None for g in leaked), "a gradient flows to the real clouds; detach them")
        clouds = [cloud.detach() for cloud in clouds]
        unchanged = all(torch.equal(x, y) for x, y in zip((*clouds, weights, synthetic), before, strict=True))
        holds(unchanged, "the inputs were changed in place")
        holds(torch.equal(loss, barycenter(clouds, weights, synthetic)), "the same clouds gave two losses")
        after_step = barycenter(clouds, weights, synthetic - 0.01 * gradient)
        holds(
            bool(after_step < loss),
            f"a small step against the gradient raises the loss from {loss:g} to {after_step:g}",
        )

        def same(actual: Tensor, message: str, expected: Tensor = loss) -> None:
            tolerance = 1e-4 if expected.dtype == torch.float32 else 1e-6
            close(actual, expected, message, tolerance=tolerance * (1 + float(expected)))

        order = [2, 0, 1]
        same(barycenter([clouds[a] for a in order], weights[order], synthetic), "the order of the groups matters")
        same(barycenter([cloud.flip(0) for cloud in clouds], weights, synthetic), "the order of the samples matters")
        same(barycenter(clouds, weights, synthetic.flip(0)), "the order of the synthetic images matters")
        for absent in (torch.empty(0, 4, dtype=dtype), torch.full((2, 4), 1e6, dtype=dtype)):
            same(barycenter([*clouds, absent], F.pad(weights, (0, 1)), synthetic), "a group with weight 0 matters")


def _loss_and_gradient(
    barycenter: CloudBarycenter, clouds: Sequence[Tensor], weights: Tensor, synthetic: Tensor
) -> tuple[Tensor, Tensor]:
    images = synthetic.clone().requires_grad_()
    loss = barycenter(clouds, weights, images)
    holds(loss.requires_grad, "the loss records no gradient of the synthetic cloud")
    return loss.detach(), torch.autograd.grad(loss, images)[0]
