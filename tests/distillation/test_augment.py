"""Augmentation: one draw is one transformation of real and synthetic images, and gradients pass through it."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fair_distill.distillation.augment import STRATEGIES, Draw, _pixel_maps, augment, draw, draw_each
from fair_distill.errors import ConfigError

IDENTITY = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 3, height: int = 8, width: int = 8) -> Tensor:
    return torch.rand(count, 3, height, width, generator=generator(9))


def affine(count: int, **entries: float) -> Draw:
    """Return a draw with one affine map, given the entries of its matrix."""
    theta = IDENTITY.repeat(count, 1, 1)
    for name, value in entries.items():
        theta[:, int(name[1]), int(name[2])] = value
    return Draw(theta, None, None)


def test_no_strategy_is_the_identity() -> None:
    before = images()

    assert augment(before, draw([], 3, generator())) is before


def test_two_flips_are_the_identity() -> None:
    flip = affine(3, t00=-1.0)

    torch.testing.assert_close(augment(images(), flip), images().flip(3))
    torch.testing.assert_close(augment(augment(images(), flip), flip), images())


def test_half_of_the_flips_mirror() -> None:
    theta = draw(["flip"], 2000, generator()).theta
    assert theta is not None

    assert theta[:, 0, 0].mean().abs() < 0.1
    assert set(theta[:, 0, 0].tolist()) == {-1.0, 1.0}
    theta[:, 0, 0] = 1
    assert torch.equal(theta, IDENTITY.expand_as(theta))


@pytest.mark.parametrize(("down", "right"), [(0, 1), (2, 0), (-1, 3), (-2, -2)])
def test_a_crop_shifts_and_leaves_zeros_behind(down: int, right: int) -> None:
    shifted = augment(images(), affine(3, t02=-2 * right / 8, t12=-2 * down / 8))

    wanted = F.pad(images(), (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0)))
    top, left = max(-down, 0), max(-right, 0)
    torch.testing.assert_close(shifted, wanted[:, :, top : top + 8, left : left + 8])


def test_a_crop_shifts_by_an_eighth_of_the_side_at_most() -> None:
    theta = draw(["crop"], 2000, generator()).theta
    assert theta is not None

    assert torch.equal(theta[:, :, :2], IDENTITY[:, :2].expand(2000, 2, 2))
    sides = theta[:, :, 2].abs() / 2  # Coordinates are in [-1, 1].
    assert 0.12 < sides.max() <= 0.125


def test_a_rotation_turns_by_fifteen_degrees_at_most_and_does_not_stretch() -> None:
    theta = draw(["rotate"], 2000, generator()).theta
    assert theta is not None
    turn = theta[:, :, :2]

    torch.testing.assert_close(turn @ turn.transpose(1, 2), torch.eye(2).expand(2000, 2, 2))
    degrees = torch.rad2deg(torch.atan2(turn[:, 1, 0], turn[:, 0, 0]))
    assert degrees.min() < -14.5
    assert degrees.max() > 14.5
    assert degrees.abs().max() <= 15.001


def test_a_scale_stays_within_its_range_on_each_axis() -> None:
    theta = draw(["scale"], 2000, generator()).theta
    assert theta is not None
    factors = theta[:, [0, 1], [0, 1]]

    assert 1 / 1.2 <= factors.min() < 0.84
    assert 1.19 < factors.max() <= 1.2
    assert not torch.allclose(factors[:, 0], factors[:, 1])
    theta[:, [0, 1], [0, 1]] = 1
    assert torch.equal(theta, IDENTITY.expand_as(theta))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 7), (16, 12)])
def test_a_cutout_blanks_a_quarter_at_most_and_touches_nothing_else(height: int, width: int) -> None:
    before = images(200, height, width) + 1

    after = augment(before, draw(["cutout"], 200, generator()))

    blank = after == 0
    assert torch.equal(after[~blank], before[~blank])
    assert torch.equal(blank[:, 0], blank[:, 1])
    shares = blank.float().mean(dim=(1, 2, 3))
    most = math.ceil(height / 2) * math.ceil(width / 2) / (height * width)
    assert 0 < shares.min() < 0.1  # The square is in a corner.
    assert shares.max() == pytest.approx(most)


def test_a_cutout_without_a_centre_blanks_nothing() -> None:
    centres = torch.tensor([[0.5, 0.5], [torch.nan, torch.nan], [0.0, 0.0]])

    after = augment(torch.ones(3, 1, 8, 8), Draw(None, None, centres))

    assert (after == 0).sum(dim=(1, 2, 3)).tolist() == [16, 0, 4]
    assert (after[0, 0, 2:6, 2:6] == 0).all()
    assert (after[2, 0, :2, :2] == 0).all()


def test_colour_leaves_grey_images_grey() -> None:
    grey = images(50)[:, :1].expand(-1, 3, -1, -1)

    after = augment(grey, draw(["colour"], 50, generator()))

    torch.testing.assert_close(after[:, 0], after[:, 1])
    torch.testing.assert_close(after[:, 0], after[:, 2])
    assert not torch.allclose(after, grey)


def test_colour_is_brightness_then_saturation_then_contrast_in_closed_form() -> None:
    before = images(1)

    def coloured(*parameters: float) -> Tensor:
        return augment(before, Draw(None, torch.tensor([parameters]), None))

    grey = before.mean(dim=1, keepdim=True)
    torch.testing.assert_close(coloured(0, 1, 1), before)
    torch.testing.assert_close(coloured(0.3, 1, 1), before + 0.3)
    torch.testing.assert_close(coloured(0, 0, 1), grey.expand_as(before))
    torch.testing.assert_close(coloured(0, 2, 1), 2 * before - grey)
    torch.testing.assert_close(coloured(0, 1, 0.5), 0.5 * (before + before.mean()))


def test_colour_stays_within_the_ranges_of_its_paper() -> None:
    colour = draw(["colour"], 2000, generator()).colour
    assert colour is not None

    low, high = torch.tensor([-0.5, 0.0, 0.5]), torch.tensor([0.5, 2.0, 1.5])
    assert ((low <= colour) & (colour <= high)).all()
    assert (colour.amin(dim=0) - low < 0.02).all()
    assert (high - colour.amax(dim=0) < 0.02).all()


def test_one_draw_is_one_transformation_for_all_images() -> None:
    drawn = draw(STRATEGIES, 4, generator())
    which = torch.tensor([3, 0, 0, 2, 1])
    before = images(5)

    together = augment(before, drawn, which)

    for i, row in enumerate(which):
        alone = augment(before[i].expand(4, -1, -1, -1), drawn)[row]
        torch.testing.assert_close(together[i], alone)


@pytest.mark.parametrize("strategies", [[name] for name in STRATEGIES] + [list(STRATEGIES)])
def test_the_gradient_is_that_of_an_affine_map(strategies: list[str]) -> None:
    drawn = draw(strategies, 12, generator())
    before, direction, weight = images(12).requires_grad_(), images(12).flip(0), images(12).flip(1)

    (gradient,) = torch.autograd.grad((augment(before, drawn) * weight).sum(), before)

    # A(x + d) - A(x) does not depend on x, so the adjoint must give exactly the same inner product.
    moved = augment(before.detach() + direction, drawn) - augment(before.detach(), drawn)
    torch.testing.assert_close((gradient * direction).sum(), (moved * weight).sum())
    assert gradient.abs().sum() > 0


def test_the_generator_determines_a_draw() -> None:
    once, again, other = (draw(STRATEGIES, 20, generator(seed)) for seed in (1, 1, 2))

    assert torch.equal(augment(images(20), once), augment(images(20), again))
    assert not torch.equal(augment(images(20), once), augment(images(20), other))


def test_every_strategy_draws_the_same_number_of_random_numbers() -> None:
    states = []
    for strategies in ([name] for name in STRATEGIES):
        stream = generator()
        draw(strategies, 5, stream)
        states.append(stream.get_state())

    assert all(torch.equal(state, states[0]) for state in states)


def test_all_strategies_are_equally_likely() -> None:
    drawn = draw(["crop", "cutout", "colour"], 3000, generator())
    assert drawn.theta is not None
    assert drawn.cutout is not None
    assert drawn.colour is not None

    moved = (drawn.theta != IDENTITY).flatten(1).any(dim=1)
    blanked = ~drawn.cutout.isnan().any(dim=1)
    painted = (drawn.colour != torch.tensor([0.0, 1.0, 1.0])).any(dim=1)

    assert torch.equal(moved.int() + blanked.int() + painted.int(), torch.ones(3000, dtype=torch.int32))
    assert all(abs(int(chosen.sum()) - 1000) < 130 for chosen in (moved, blanked, painted))  # Five standard deviations.


@pytest.mark.parametrize(
    ("strategies", "says"),
    [(["crop", "spin"], "names 'spin'; choose from colour, crop"), (["crop", "crop"], "names 'crop' twice")],
)
def test_strategies_that_cannot_be_drawn_are_refused(strategies: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=f"params.yaml: augment {says}"):
        draw(strategies, 3, generator())


def test_a_map_written_out_as_a_matrix_resamples_as_grid_sample_does() -> None:
    """A GPU uses this if the gradient must be deterministic."""
    before = images(6, 8, 10)
    theta = draw([name for name in STRATEGIES if name not in ("colour", "cutout")], 3, generator()).theta
    assert theta is not None

    runs = before.reshape(3, -1, 80) @ _pixel_maps(theta, 8, 10).mT  # Two consecutive images share a draw.

    wanted = augment(before, Draw(theta, None, None), torch.arange(3).repeat_interleave(2))
    torch.testing.assert_close(runs.reshape(before.shape), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("strategies", [[], list(STRATEGIES)])
def test_drawing_from_several_generators_at_once_is_drawing_from_each(strategies: list[str]) -> None:
    together = draw_each(strategies, 4, [generator(1), generator(2)])
    each = [draw(strategies, 4, generator(seed)) for seed in (1, 2)]

    for name in ("theta", "colour", "cutout"):
        parts = [getattr(drawn, name) for drawn in each]
        if any(part is None for part in parts):
            continue  # No generator drew this strategy, so there is nothing to compare.
        torch.testing.assert_close(getattr(together, name), torch.cat(parts), equal_nan=True)
