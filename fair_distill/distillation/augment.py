"""Differentiable siamese augmentation: real and synthetic images of a class are changed by the same draw.

After Zhao & Bilen, "Dataset Condensation with Differentiable Siamese Augmentation" (ICML 2021): per call one
strategy is drawn, with one set of parameters for all images of the call. We draw per class and apply all classes
at once: everything geometric is one affine map, so any mixture of strategies costs one resampling.
Images are normalised already, as in the reference.
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
    """Parameters of one call, a row per draw (a class or an image).

    Attributes
    ----------
    theta : (D, 2, 3) affine maps from output to input coordinates in [-1, 1]; None where all are the identity
    colour : (D, 3) brightness added, saturation and contrast factors; None likewise
    cutout : (D, 2) centre of the square that is blanked, in [0, 1]; NaN for none; None likewise
    """

    theta: Tensor | None
    colour: Tensor | None
    cutout: Tensor | None


def draw(strategies: Sequence[str], count: int, generator: torch.Generator) -> Draw:
    """Draw `count` augmentations: for each, one of the strategies and its parameters.

    Ranges are the reference's: brightness U(−.5, .5), saturation U(0, 2), contrast U(.5, 1.5); shift by up to an eighth
    of the side; blanked square of half the side; flip with probability ½; scale U(1/1.2, 1.2) per axis; rotation ±15°.
    """
    for name in strategies:
        if name not in STRATEGIES:
            raise ConfigError(f"params.yaml: augment names {name!r}; choose from {', '.join(STRATEGIES)}")
        if strategies.count(name) > 1:
            raise ConfigError(f"params.yaml: augment names {name!r} twice; every strategy is as likely as another")
    if not strategies:
        return Draw(None, None, None)
    return _drawn(strategies, *_numbers(strategies, count, generator))


def draw_each(strategies: Sequence[str], count: int, generators: Sequence[torch.Generator]) -> Draw:
    """Draw `count` from each generator, as `draw` does, one after the other: a single Draw of them all."""
    if not strategies:
        return draw(strategies, count, generators[0])
    numbers = [_numbers(strategies, count, generator) for generator in generators]
    return _drawn(strategies, *(torch.cat(of) for of in zip(*numbers, strict=True)))


def _numbers(strategies: Sequence[str], count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Every number is drawn whether it is used or not, so one class's strategy never shifts another's stream."""
    return torch.randint(len(strategies), (count,), generator=generator), torch.rand(count, 6, generator=generator)


def _drawn(strategies: Sequence[str], chosen: Tensor, u: Tensor) -> Draw:
    count = len(chosen)

    def picked(name: str) -> Tensor:
        return chosen == strategies.index(name) if name in strategies else torch.zeros(count, dtype=torch.bool)

    identity = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).repeat(count, 1, 1)
    theta = identity.clone()
    crop, flip, scale, rotate = (picked(name) for name in ("crop", "flip", "scale", "rotate"))
    shift = (u[:, :2] * 2 - 1) * 0.25  # an eighth of the side; the side is 2 in these coordinates
    theta[crop, :, 2] = shift[crop]
    theta[flip & (u[:, 0] < 0.5), 0, 0] = -1.0
    factor = 1 / 1.2 + u[:, :2] * (1.2 - 1 / 1.2)
    theta[scale, 0, 0], theta[scale, 1, 1] = factor[scale, 0], factor[scale, 1]
    angle = (u[:, 0] * 2 - 1) * (15 * torch.pi / 180)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()], 1), torch.stack([angle.sin(), angle.cos()], 1)], dim=1)
    theta[rotate, :, :2] = turn[rotate]

    colour = torch.tensor([0.0, 1.0, 1.0]).repeat(count, 1)
    jitter = torch.stack([u[:, 0] - 0.5, u[:, 1] * 2, u[:, 2] + 0.5], dim=1)
    colour[picked("colour")] = jitter[picked("colour")]

    cutout = torch.full((count, 2), torch.nan)
    cutout[picked("cutout")] = u[picked("cutout"), :2]
    return Draw(
        theta=theta if bool((theta != identity).any()) else None,
        colour=colour if bool(picked("colour").any()) else None,
        cutout=cutout if bool(picked("cutout").any()) else None,
    )


def augment(images: Tensor, drawn: Draw, which: Tensor | None = None, *, runs_of: int = 1) -> Tensor:
    """Apply to image i the draw `which[i]` (row i where `which` is None). Differentiable in the images.

    Parameters
    ----------
    images : (N, channels, height, width)
    which : int64 (N,)
    runs_of : so many images after another are known to share a draw
    """

    def rows(parameters: Tensor) -> Tensor:
        parameters = parameters.to(images.device)
        return parameters if which is None else parameters[which]

    if drawn.colour is not None:
        brightness, saturation, contrast = (p[:, None, None, None] for p in rows(drawn.colour).unbind(1))
        images = images + brightness
        grey = images.mean(dim=1, keepdim=True)
        images = grey + saturation * (images - grey)
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = mean + contrast * (images - mean)
    if drawn.theta is not None:
        images = _resampled(images, rows(drawn.theta), runs_of)
    if drawn.cutout is not None:
        images = images * _outside_square(rows(drawn.cutout), images)
    return images


def _resampled(images: Tensor, theta_N23: Tensor, runs_of: int) -> Tensor:
    """Bilinear resampling through affine maps, 0 outside.

    On a GPU the gradient of grid_sample adds up in no fixed order. Where one is wanted there, each map is written out
    as a matrix from pixels to pixels instead, which up to 64×64 pixels costs little.
    """
    size = list(images.shape)
    if not (images.is_cuda and images.requires_grad and size[2] * size[3] <= 4096):
        grid = F.affine_grid(theta_N23, size, align_corners=False)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    matrices = _pixel_maps(theta_N23[::runs_of], size[2], size[3])
    runs = images.reshape(len(matrices), -1, size[2] * size[3])
    return (runs @ matrices.mT).reshape(images.shape)


def _pixel_maps(theta_R23: Tensor, height: int, width: int) -> Tensor:
    """Return what each pixel after has of each pixel before, (R, height·width, height·width)."""
    grid = F.affine_grid(theta_R23, [len(theta_R23), 1, height, width], align_corners=False).flatten(1, 2)

    def shares(place: Tensor, side: int) -> Tensor:
        pixels = torch.arange(side, device=place.device)
        return (1 - (((place + 1) * side - 1)[..., None] / 2 - pixels).abs()).clamp(min=0)

    x, y = grid.unbind(-1)
    return (shares(y, height)[..., :, None] * shares(x, width)[..., None, :]).flatten(2)


def _outside_square(centres_N2: Tensor, images: Tensor) -> Tensor:
    """1 outside a square of half the image's side around each centre, 0 inside; NaN centres blank nothing."""
    height, width = images.shape[2:]
    y = (torch.arange(height, device=images.device) + 0.5) / height
    x = (torch.arange(width, device=images.device) + 0.5) / width
    inside_y = (y[None] - centres_N2[:, :1]).abs() < 0.25
    inside_x = (x[None] - centres_N2[:, 1:]).abs() < 0.25
    return (~(inside_y[:, :, None] & inside_x[:, None, :]))[:, None].to(images.dtype)
