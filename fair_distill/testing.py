"""The checks that ours must pass, for what one adds: a barycenter, a barycenter of clouds, a network.

Call them from a test. Each raises AssertionError with one line that says what does not hold. Inputs are drawn from the
generator that is given, so a seed names a failure:

    def test_my_barycenter_keeps_the_contract():
        check_barycenter(my_barycenter, torch.Generator().manual_seed(0))

C classes, G groups, D dimensions, N images.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fair_distill.distillation.barycenter import Barycenter
from fair_distill.distillation.clouds import CloudBarycenter
from fair_distill.distillation.networks import Network, made


def check_barycenter(barycenter: Barycenter, generator: torch.Generator) -> None:
    """Check what alignment needs of `(cells_CGD, weights_CG) -> (C, D)`: a constant that follows cells and weights.

    It is a barycenter of a weighted set: the order of groups does not matter, one that stands twice at half its weight
    is as one, one with weight 0 is not there, one alone or all at one place are their own. Bind options first.
    """
    for dtype in (torch.float32, torch.float64):
        cells = torch.randn(3, 4, 5, generator=generator, dtype=dtype)
        weights = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.1, 0.1]], dtype=dtype)
        before = cells.clone(), weights.clone()
        with _global_generator_at_rest("the barycenter"):
            centre = barycenter(cells.requires_grad_(), weights)
        again = barycenter(cells, weights)

        _holds(isinstance(centre, Tensor) and centre.shape == (3, 5), f"(C, D) is (3, 5) here; got {_shape(centre)}")
        _holds(centre.dtype == dtype, f"the type of the cells is {dtype}; the barycenter has {centre.dtype}")
        _holds(not centre.requires_grad, "targets are constants; this one records a gradient: use torch.no_grad")
        _holds(bool(centre.isfinite().all()), "the barycenter of finite cells is not finite")
        _holds(torch.equal(centre, again), "the same cells and weights gave two barycenters")
        cells = cells.detach()
        _holds(torch.equal(cells, before[0]) and torch.equal(weights, before[1]), "the inputs were changed in place")

        def same(got: Tensor, wanted: Tensor, fact: str) -> None:
            _close(got, wanted, fact, tolerance=1e-4 if wanted.dtype == torch.float32 else 1e-6)

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
        with _global_generator_at_rest("the barycenter"):
            loss, slope = _loss_and_slope(barycenter, [cloud.requires_grad_() for cloud in clouds], weights, synthetic)

        _holds(
            loss.shape == () and loss.dtype == dtype, f"a scalar of {dtype} was wanted; got {_shape(loss)} {loss.dtype}"
        )
        _holds(bool(slope.isfinite().all() and loss.isfinite()), f"loss {loss.item()} or gradient is not finite")
        leaked = torch.autograd.grad(
            barycenter(clouds, weights, synthetic.clone().requires_grad_()), clouds, allow_unused=True
        )
        _holds(all(g is None for g in leaked), "a gradient flows to the real clouds; targets are constants")
        clouds = [cloud.detach() for cloud in clouds]
        unchanged = all(torch.equal(x, y) for x, y in zip((*clouds, weights, synthetic), before, strict=True))
        _holds(unchanged, "the inputs were changed in place")
        _holds(torch.equal(loss, barycenter(clouds, weights, synthetic)), "the same clouds gave two losses")
        lower = barycenter(clouds, weights, synthetic - 0.01 * slope)
        _holds(bool(lower < loss), f"a small step against the gradient raises the loss from {loss:g} to {lower:g}")

        def same(got: Tensor, fact: str, wanted: Tensor = loss) -> None:
            tolerance = 1e-4 if wanted.dtype == torch.float32 else 1e-6
            _close(got, wanted, fact, tolerance=tolerance * (1 + float(wanted)))

        order = [2, 0, 1]
        same(barycenter([clouds[a] for a in order], weights[order], synthetic), "the order of the groups matters")
        same(barycenter([cloud.flip(0) for cloud in clouds], weights, synthetic), "the order of the samples matters")
        same(barycenter(clouds, weights, synthetic.flip(0)), "the order of the synthetic images matters")
        for absent in (torch.empty(0, 4, dtype=dtype), torch.full((2, 4), 1e6, dtype=dtype)):
            same(barycenter([*clouds, absent], F.pad(weights, (0, 1)), synthetic), "a group with weight 0 matters")


def check_network(
    factory: Callable[..., Network],
    options: Mapping[str, Any],
    generator: torch.Generator,
    *,
    sides: Sequence[int] = (16, 32, 64, 128),
    channels: Sequence[int] = (1, 3),
) -> None:
    """Check what matchers and evaluation need of `factory(shape, classes, **options)` on square images of these sides.

    Weights come from the generator alone; `embed`, `forward` and `layers` agree; images do not see each other; training
    and evaluation are one function; pixels have a gradient through every layer, and one through the weights' gradient.
    Take small options: width matters to none of this.
    """
    classes = 3
    for count, side in product(channels, sides):
        shape, at = (count, side, side), f"at {count}×{side}×{side}"
        with _global_generator_at_rest("building the network"):
            network, other = (made(factory, dict(options), shape, classes, generator) for _ in range(2))
            twins = [
                made(factory, dict(options), shape, classes, stream)
                for stream in (generator.clone_state(), generator.clone_state())
            ]
        weights = [list(each.parameters()) for each in (network, other, *twins)]
        _holds(
            all(torch.equal(a, b) for a, b in zip(weights[2], weights[3], strict=True)),
            f"{at}: a seed gives two networks",
        )
        _holds(
            any(not torch.equal(a, b) for a, b in zip(*weights[:2], strict=True)), f"{at}: two draws give one network"
        )
        _holds(all(bool(w.isfinite().all()) for w in weights[0]), f"{at}: weights are not finite")

        images = torch.randn(2, *shape, generator=generator).requires_grad_()
        with _global_generator_at_rest("the network"):
            logits, embedding, layers = network(images), network.embed(images), network.layers(images)
        _holds(logits.shape == (2, classes), f"{at}: logits are (N, classes) = (2, {classes}); got {_shape(logits)}")
        _holds(embedding.dim() == 2 and len(embedding) == 2, f"{at}: embed is (N, features); got {_shape(embedding)}")
        flat = bool(layers) and all(layer.dim() == 2 and len(layer) == 2 for layer in layers)
        _holds(flat, f"{at}: layers are (N, features) each; got {', '.join(map(_shape, layers)) or 'none'}")
        _holds(torch.equal(layers[-1], embedding), f"{at}: the last of the layers is not what embed returns")
        _close(network(images[1:]), logits[1:], f"{at}: an image's logits depend on the other images", tolerance=1e-4)
        _close(network.eval()(images), logits, f"{at}: training and evaluation differ", tolerance=1e-6)
        network.train()

        for i, layer in enumerate(layers):
            (slope,) = torch.autograd.grad(layer.square().sum(), images, retain_graph=True)
            _holds(
                bool(slope.isfinite().all() and (slope != 0).any()), f"{at}: layer {i} has no gradient in the pixels"
            )
        loss = F.cross_entropy(logits, torch.arange(2))
        gradients = torch.autograd.grad(loss, weights[0], create_graph=True, allow_unused=True)
        used = all(gradient is not None for gradient in gradients)
        _holds(used, f"{at}: a weight has no part in the logits")
        (slope,) = torch.autograd.grad(torch.stack([g.square().sum() for g in gradients]).sum(), images)
        through = bool(slope.isfinite().all() and (slope != 0).any())
        _holds(through, f"{at}: the weights' gradient has no gradient in the pixels, so it cannot be matched")


@contextmanager
def _global_generator_at_rest(what: str) -> Iterator[None]:
    before = torch.get_rng_state()
    yield
    at_rest = torch.equal(torch.get_rng_state(), before)
    _holds(at_rest, f"{what} draws from torch's global generator; take one as an argument")


def _loss_and_slope(
    barycenter: CloudBarycenter, clouds: Sequence[Tensor], weights: Tensor, synthetic: Tensor
) -> tuple[Tensor, Tensor]:
    at = synthetic.clone().requires_grad_()
    loss = barycenter(clouds, weights, at)
    _holds(loss.requires_grad, "the loss records no gradient of the synthetic cloud")
    return loss.detach(), torch.autograd.grad(loss, at)[0]


def _holds(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)


def _close(got: Tensor, wanted: Tensor, fact: str, *, tolerance: float) -> None:
    _holds(got.shape == wanted.shape, f"{fact}: {_shape(got)} for {_shape(wanted)}")
    difference = float((got - wanted).detach().abs().max())
    _holds(difference <= tolerance, f"{fact}: off by {difference:.2g}")


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape)) if isinstance(tensor, Tensor) else type(tensor).__name__
