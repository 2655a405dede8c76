"""The contract of networks."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F

from fair_distill.distillation.networks import Network, build_from_factory
from fair_distill.testing.assertions import close, global_generator_unused, holds, shape_of


def check_network(
    factory: Callable[..., Network],
    options: Mapping[str, Any],
    generator: torch.Generator,
    *,
    sides: Sequence[int] = (16, 32, 64, 128),
    channels: Sequence[int] = (1, 3),
) -> None:
    """Check what matchers and evaluation need of `factory(shape, classes, **options)`, on square images of some sides.

    Weights are drawn only from the generator. `embed`, `forward` and `layers` agree. The output for an image does not
    depend on the other images. Training and evaluation use the same function. The pixels have a gradient through every
    layer and through the gradient of the weights. Use small options: the width does not matter to any check.
    """
    classes = 3
    for count, side in product(channels, sides):
        shape, case = (count, side, side), f"for images of {count}×{side}×{side}"
        with global_generator_unused("building the network"):
            network, second = (build_from_factory(factory, dict(options), shape, classes, generator) for _ in range(2))
            twins = [
                build_from_factory(factory, dict(options), shape, classes, copied)
                for copied in (generator.clone_state(), generator.clone_state())
            ]
        weights = [list(each.parameters()) for each in (network, second, *twins)]
        holds(
            all(torch.equal(a, b) for a, b in zip(weights[2], weights[3], strict=True)),
            f"{case}: one seed gives two networks",
        )
        holds(
            any(not torch.equal(a, b) for a, b in zip(*weights[:2], strict=True)),
            f"{case}: two draws give the same network",
        )
        holds(all(bool(w.isfinite().all()) for w in weights[0]), f"{case}: weights are not finite")

        images = torch.randn(2, *shape, generator=generator).requires_grad_()
        with global_generator_unused("the network"):
            logits, embedding, layers = network(images), network.embed(images), network.layers(images)
        holds(
            logits.shape == (2, classes),
            f"{case}: logits have shape {shape_of(logits)}; (N, classes) is (2, {classes})",
        )
        holds(
            embedding.dim() == 2 and len(embedding) == 2,
            f"{case}: embed returns shape {shape_of(embedding)}; return (N, features)",
        )
        flat = bool(layers) and all(layer.dim() == 2 and len(layer) == 2 for layer in layers)
        holds(
            flat,
            f"{case}: layers returns {', '.join(map(shape_of, layers)) or 'nothing'}; return (N, features) for each",
        )
        holds(torch.equal(layers[-1], embedding), f"{case}: the last of the layers differs from the result of embed")
        close(network(images[1:]), logits[1:], f"{case}: an image's logits depend on the other images", tolerance=1e-4)
        close(network.eval()(images), logits, f"{case}: training and evaluation differ", tolerance=1e-6)
        network.train()

        for i, layer in enumerate(layers):
            (gradient,) = torch.autograd.grad(layer.square().sum(), images, retain_graph=True)
            nonzero = bool(gradient.isfinite().all() and (gradient != 0).any())
            holds(nonzero, f"{case}: layer {i} has no gradient in the pixels")
        loss = F.cross_entropy(logits, torch.arange(2))
        gradients = torch.autograd.grad(loss, weights[0], create_graph=True, allow_unused=True)
        used = all(gradient is not None for gradient in gradients)
        holds(used, f"{case}: the logits do not depend on one of the weights")
        (second_order,) = torch.autograd.grad(torch.stack([g.square().sum() for g in gradients]).sum(), images)
        nonzero = bool(second_order.isfinite().all() and (second_order != 0).any())
        holds(
            nonzero, f"{case}: the weights' gradient has no gradient in the pixels, so gradient matchers cannot use it"
        )
