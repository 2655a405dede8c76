"""What a barycenter owes: of statistics, and of clouds."""

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from fair_distill.distillation.barycenter import Barycenter
from fair_distill.distillation.clouds import CloudBarycenter
from fair_distill.testing.assertions import close, global_generator_at_rest, holds, shape_of


def check_barycenter(barycenter: Barycenter, generator: torch.Generator) -> None:
    """Check what alignment needs of `(cells_CGD, weights_CG) -> (C, D)`: a constant that follows cells and weights.

    It is a barycenter of a weighted set: the order of groups does not matter, one that stands twice at half its weight
    is as one, one with weight 0 is not there, one alone or all at one place are their own. Bind options first.
    """
    for dtype in (torch.float32, torch.float64):
        cells = torch.randn(3, 4, 5, generator=generator, dtype=dtype)
        weights = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.1, 0.1]], dtype=dtype)
        before = cells.clone(), weights.clone()
        with global_generator_at_rest("the barycenter"):
            centre = barycenter(cells.requires_grad_(), weights)
        again = barycenter(cells, weights)

        holds(isinstance(centre, Tensor) and centre.shape == (3, 5), f"(C, D) is (3, 5) here; got {shape_of(centre)}")
        holds(centre.dtype == dtype, f"the type of the cells is {dtype}; the barycenter has {centre.dtype}")
        holds(not centre.requires_grad, "targets are constants; this one records a gradient: use torch.no_grad")
        holds(bool(centre.isfinite().all()), "the barycenter of finite cells is not finite")
        holds(torch.equal(centre, again), "the same cells and weights gave two barycenters")
        cells = cells.detach()
        holds(torch.equal(cells, before[0]) and torch.equal(weights, before[1]), "the inputs were changed in place")

        def same(got: Tensor, wanted: Tensor, fact: str) -> None:
            close(got, wanted, fact, tolerance=1e-4 if wanted.dtype == torch.float32 else 1e-6)

        order = [2, 0, 3, 1]
        same(barycenter(cells[:, order], weights[:, order]), centre, "the order of the groups matters")
        one_by_one = torch.cat([barycenter(cells[c : c + 1], weights[c : c + 1]) for c in range(3)])
        same(one_by_one, centre, "a class's barycenter depends on the other classes")
        twice = torch.cat([weights[:, :1] / 2, weights[:, 1:], weights[:, :1] / 2], dim=1)
        same(
            barycenter(torch.cat([cells, cells[:, :1]], dim=1), twice),
            centre,
            "a group that stands twice at half its weight is not as one",
        )
        same(
            barycenter(torch.cat([cells, torch.full_like(cells[:, :1], 1e6)], dim=1), F.pad(weights, (0, 1))),
            centre,
            "what stands in an absent cell (weight 0) matters",
        )
        alone = torch.zeros_like(weights)
        alone[:, 2] = 1
        same(barycenter(cells, alone), cells[:, 2], "one group alone is not its own barycenter")
        agreed = cells[:, :1].expand(-1, 4, -1)
        same(barycenter(agreed, weights), cells[:, 0], "groups that are all at one point have another barycenter")


def check_cloud_barycenter(barycenter: CloudBarycenter, generator: torch.Generator) -> None:
    """Check what a matcher needs of `(clouds_nD, weights_G, synthetic_ND) -> scalar`: a loss of the synthetic cloud.

    The order of groups, samples and images does not matter; an absent group (weight 0, no samples) is not there; the
    gradient is finite, of the synthetic cloud alone, and a small step against it lowers the loss. All that also for one
    image and for one sample a group.
    """
    for dtype, images, sizes in product((torch.float32, torch.float64), (1, 3), ((6, 4, 5), (1, 1, 1))):
        clouds = [torch.randn(n, 4, generator=generator, dtype=dtype) + i for i, n in enumerate(sizes)]
        weights = torch.tensor([0.2, 0.3, 0.5], dtype=dtype)
        synthetic = torch.randn(images, 4, generator=generator, dtype=dtype)
        before = [x.clone() for x in (*clouds, weights, synthetic)]
        with global_generator_at_rest("the barycenter"):
            loss, slope = _loss_and_slope(barycenter, [cloud.requires_grad_() for cloud in clouds], weights, synthetic)

        holds(
            loss.shape == () and loss.dtype == dtype,
            f"a scalar of {dtype} was wanted; got {shape_of(loss)} {loss.dtype}",
        )
        holds(bool(slope.isfinite().all() and loss.isfinite()), f"loss {loss.item()} or gradient is not finite")
        leaked = torch.autograd.grad(
            barycenter(clouds, weights, synthetic.clone().requires_grad_()), clouds, allow_unused=True
        )
        holds(all(g is None for g in leaked), "a gradient flows to the real clouds; targets are constants")
        clouds = [cloud.detach() for cloud in clouds]
        unchanged = all(torch.equal(x, y) for x, y in zip((*clouds, weights, synthetic), before, strict=True))
        holds(unchanged, "the inputs were changed in place")
        holds(torch.equal(loss, barycenter(clouds, weights, synthetic)), "the same clouds gave two losses")
        lower = barycenter(clouds, weights, synthetic - 0.01 * slope)
        holds(bool(lower < loss), f"a small step against the gradient raises the loss from {loss:g} to {lower:g}")

        def same(got: Tensor, fact: str, wanted: Tensor = loss) -> None:
            tolerance = 1e-4 if wanted.dtype == torch.float32 else 1e-6
            close(got, wanted, fact, tolerance=tolerance * (1 + float(wanted)))

        order = [2, 0, 1]
        same(barycenter([clouds[a] for a in order], weights[order], synthetic), "the order of the groups matters")
        same(barycenter([cloud.flip(0) for cloud in clouds], weights, synthetic), "the order of the samples matters")
        same(barycenter(clouds, weights, synthetic.flip(0)), "the order of the synthetic images matters")
        for absent in (torch.empty(0, 4, dtype=dtype), torch.full((2, 4), 1e6, dtype=dtype)):
            same(barycenter([*clouds, absent], F.pad(weights, (0, 1)), synthetic), "a group with weight 0 matters")


def _loss_and_slope(
    barycenter: CloudBarycenter, clouds: Sequence[Tensor], weights: Tensor, synthetic: Tensor
) -> tuple[Tensor, Tensor]:
    at = synthetic.clone().requires_grad_()
    loss = barycenter(clouds, weights, at)
    holds(loss.requires_grad, "the loss records no gradient of the synthetic cloud")
    return loss.detach(), torch.autograd.grad(loss, at)[0]
