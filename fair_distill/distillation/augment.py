"""Differentiable siamese augmentation: the real and synthetic images of a class get the same random transformation.

Follows Zhao & Bilen, "Dataset Condensation with Differentiable Siamese Augmentation" (ICML 2021): each call draws one
strategy and one set of parameters for all its images. We draw per class and transform all classes at once. All
geometric strategies are affine maps, so any mixture of them costs one resampling. As in the reference, the images are
already normalised.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fair_distill.errors import ConfigError

STRATEGIES = ("colour", "crop", "cutout", "flip", "scale", "rotate")


@dataclass(frozen=True, eq=False)
class Draw:
    """The parameters of one call, one row per draw (a class or an image). D draws.

    Attributes
    ----------
    theta : (D, 2, 3), affine maps from output to input coordinates in [-1, 1]; None if all are the identity
    colour : (D, 3), added brightness, saturation factor and contrast factor; None if no draw changes colours
    cutout : (D, 2), the centre of the blanked square in [0, 1], NaN for no square; None if no draw has a square
    """

    theta: Tensor | None
    colour: Tensor | None
    cutout: Tensor | None


def draw(strategies: Sequence[str], count: int, generator: torch.Generator) -> Draw:
    """Draw `count` augmentations: for each, one of the strategies and its parameters.

    The ranges are those of the reference: brightness U(−.5, .5), saturation U(0, 2), contrast U(.5, 1.5); shift by up
    to an eighth of the side; a blanked square of half the side; flip with probability ½; scale U(1/1.2, 1.2) per axis;
    rotation ±15°.

    Raises
    ------
    ConfigError
        If a strategy is unknown or named twice.
    """
    for name in strategies:
        if name not in STRATEGIES:
            raise ConfigError(f"params.yaml: augment names {name!r}; choose from {', '.join(STRATEGIES)}")
        if strategies.count(name) > 1:
            raise ConfigError(f"params.yaml: augment names {name!r} twice; remove one of them")
    if not strategies:
        return Draw(None, None, None)
    return _to_draw(strategies, *_random_numbers(strategies, count, generator))


def draw_each(strategies: Sequence[str], count: int, generators: Sequence[torch.Generator]) -> Draw:
    """Draw `count` augmentations from each generator in turn, as `draw` does; return them as a single Draw."""
    if not strategies:
        return draw(strategies, count, generators[0])
    numbers = [_random_numbers(strategies, count, generator) for generator in generators]
    return _to_draw(strategies, *(torch.cat(parts) for parts in zip(*numbers, strict=True)))


def _random_numbers(strategies: Sequence[str], count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw all numbers, used or not, so that the strategy of one class does not shift the stream of another."""
    return torch.randint(len(strategies), (count,), generator=generator), torch.rand(count, 6, generator=generator)


def _to_draw(strategies: Sequence[str], chosen: Tensor, u: Tensor) -> Draw:
    count = len(chosen)

    def uses(name: str) -> Tensor:
        return chosen == strategies.index(name) if name in strategies else torch.zeros(count, dtype=torch.bool)

    identity = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).repeat(count, 1, 1)
    theta = identity.clone()
    crop, flip, scale, rotate = (uses(name) for name in ("crop", "flip", "scale", "rotate"))
    shift = (u[:, :2] * 2 - 1) * 0.25  # An eighth of the side: the side has length 2 in these coordinates.
    theta[crop, :, 2] = shift[crop]
    theta[flip & (u[:, 0] < 0.5), 0, 0] = -1.0
    factor = 1 / 1.2 + u[:, :2] * (1.2 - 1 / 1.2)
    theta[scale, 0, 0], theta[scale, 1, 1] = factor[scale, 0], factor[scale, 1]
    angle = (u[:, 0] * 2 - 1) * (15 * torch.pi / 180)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()], 1), torch.stack([angle.sin(), angle.cos()], 1)], dim=1)
    theta[rotate, :, :2] = turn[rotate]

    colour = torch.tensor([0.0, 1.0, 1.0]).repeat(count, 1)
    jitter = torch.stack([u[:, 0] - 0.5, u[:, 1] * 2, u[:, 2] + 0.5], dim=1)
    colour[uses("colour")] = jitter[uses("colour")]

    cutout = torch.full((count, 2), torch.nan)
    cutout[uses("cutout")] = u[uses("cutout"), :2]
    return Draw(
        theta=theta if bool((theta != identity).any()) else None,
        colour=colour if bool(uses("colour").any()) else None,
        cutout=cutout if bool(uses("cutout").any()) else None,
    )


def augment(images: Tensor, augmentation: Draw, draw_of_image: Tensor | None = None, *, run_length: int = 1) -> Tensor:
    """Return augmented images. Differentiable in the images.

    Parameters
    ----------
    images : (N, channels, height, width)
    draw_of_image : int64 (N,), the row of `augmentation` for each image; None if image i uses row i
    run_length : the number of consecutive images that share a draw
    """

    def per_image(parameters: Tensor) -> Tensor:
        parameters = parameters.to(images.device)
        return parameters if draw_of_image is None else parameters[draw_of_image]

    if augmentation.colour is not None:
        brightness, saturation, contrast = (p[:, None, None, None] for p in per_image(augmentation.colour).unbind(1))
        images = images + brightness
        grey = images.mean(dim=1, keepdim=True)
        images = grey + saturation * (images - grey)
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = mean + contrast * (images - mean)
    if augmentation.theta is not None:
        images = _resample(images, per_image(augmentation.theta), run_length)
    if augmentation.cutout is not None:
        images = images * _outside_square(per_image(augmentation.cutout), images)
    return images


def _resample(images: Tensor, theta_N23: Tensor, run_length: int) -> Tensor:
    """Return images resampled bilinearly through affine maps, with 0 outside the image.

    On a GPU, the gradient of grid_sample sums in no fixed order. If a gradient is needed there, each map is instead
    written as a matrix from pixels to pixels. Up to 64×64 pixels this costs little.
    """
    size = list(images.shape)
    if not (images.is_cuda and images.requires_grad and size[2] * size[3] <= 4096):
        grid = F.affine_grid(theta_N23, size, align_corners=False)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    matrices = _pixel_maps(theta_N23[::run_length], size[2], size[3])
    runs = images.reshape(len(matrices), -1, size[2] * size[3])
    return (runs @ matrices.mT).reshape(images.shape)


def _pixel_maps(theta_R23: Tensor, height: int, width: int) -> Tensor:
    """Return the weight of each input pixel in each output pixel, (R, height·width, height·width)."""
    grid = F.affine_grid(theta_R23, [len(theta_R23), 1, height, width], align_corners=False).flatten(1, 2)

    def weights(position: Tensor, side: int) -> Tensor:
        pixels = torch.arange(side, device=position.device)
        return (1 - (((position + 1) * side - 1)[..., None] / 2 - pixels).abs()).clamp(min=0)

    x, y = grid.unbind(-1)
    return (weights(y, height)[..., :, None] * weights(x, width)[..., None, :]).flatten(2)


def _outside_square(centres_N2: Tensor, images: Tensor) -> Tensor:
    """Return a mask: 0 inside a square of half the image's side around each centre, else 1. NaN centres give all 1."""
    height, width = images.shape[2:]
    y = (torch.arange(height, device=images.device) + 0.5) / height
    x = (torch.arange(width, device=images.device) + 0.5) / width
    inside_y = (y[None] - centres_N2[:, :1]).abs() < 0.25
    inside_x = (x[None] - centres_N2[:, 1:]).abs() < 0.25
    return (~(inside_y[:, :, None] & inside_x[:, None, :]))[:, None].to(images.dtype)
