"""What a network owes."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F

from fair_distill.distillation.networks import Network, made
from fair_distill.testing.assertions import close, global_generator_at_rest, holds, shape_of


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
        with global_generator_at_rest("building the network"):
            network, other = (made(factory, dict(options), shape, classes, generator) for _ in range(2))
            twins = [
                made(factory, dict(options), shape, classes, stream)
                for stream in (generator.clone_state(), generator.clone_state())
            ]
        weights = [list(each.parameters()) for each in (network, other, *twins)]
        holds(
            all(torch.equal(a, b) for a, b in zip(weights[2], weights[3], strict=True)),
            f"{at}: a seed gives two networks",
        )
        holds(
            any(not torch.equal(a, b) for a, b in zip(*weights[:2], strict=True)), f"{at}: two draws give one network"
        )
        holds(all(bool(w.isfinite().all()) for w in weights[0]), f"{at}: weights are not finite")

        images = torch.randn(2, *shape, generator=generator).requires_grad_()
        with global_generator_at_rest("the network"):
            logits, embedding, layers = network(images), network.embed(images), network.layers(images)
        holds(logits.shape == (2, classes), f"{at}: logits are (N, classes) = (2, {classes}); got {shape_of(logits)}")
        holds(embedding.dim() == 2 and len(embedding) == 2, f"{at}: embed is (N, features); got {shape_of(embedding)}")
        flat = bool(layers) and all(layer.dim() == 2 and len(layer) == 2 for layer in layers)
        holds(flat, f"{at}: layers are (N, features) each; got {', '.join(map(shape_of, layers)) or 'none'}")
        holds(torch.equal(layers[-1], embedding), f"{at}: the last of the layers is not what embed returns")
        close(network(images[1:]), logits[1:], f"{at}: an image's logits depend on the other images", tolerance=1e-4)
        close(network.eval()(images), logits, f"{at}: training and evaluation differ", tolerance=1e-6)
        network.train()

        for i, layer in enumerate(layers):
            (slope,) = torch.autograd.grad(layer.square().sum(), images, retain_graph=True)
            holds(bool(slope.isfinite().all() and (slope != 0).any()), f"{at}: layer {i} has no gradient in the pixels")
        loss = F.cross_entropy(logits, torch.arange(2))
        gradients = torch.autograd.grad(loss, weights[0], create_graph=True, allow_unused=True)
        used = all(gradient is not None for gradient in gradients)
        holds(used, f"{at}: a weight has no part in the logits")
        (slope,) = torch.autograd.grad(torch.stack([g.square().sum() for g in gradients]).sum(), images)
        through = bool(slope.isfinite().all() and (slope != 0).any())
        holds(through, f"{at}: the weights' gradient has no gradient in the pixels, so it cannot be matched")
