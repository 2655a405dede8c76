"""Places of marks: an axis puts numbers where they belong, and its ticks are round."""

import itertools

import pytest

from fair_distill.report.plot import SHAPES, Axis, Path, axis, hue_of, middle, shape_of


def test_an_axis_puts_its_ends_at_0_and_100() -> None:
    scale = Axis(2.0, 6.0)

    assert [scale(x) for x in (2.0, 3.0, 6.0)] == [0, 25, 100]
    assert [scale.down(x) for x in (2.0, 3.0, 6.0)] == [100, 75, 0]  # what grows upwards on a page


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [([0.13, 0.87], 0.0, 1.0), ([0.0, 7.7], 0.0, 8.0), ([-0.3, 0.2], -0.3, 0.2), ([0.752, 1.0], 0.75, 1.0)],
)
def test_an_axis_ends_at_round_numbers_that_hold_everything(values: list[float], low: float, high: float) -> None:
    scale = axis(values)

    assert (scale.low, scale.high) == (pytest.approx(low), pytest.approx(high))
    assert all(-1e-9 <= scale(value) <= 100 + 1e-9 for value in values)


def test_an_axis_of_one_number_still_has_a_length() -> None:
    assert axis([0.0]).high > axis([0.0]).low
    assert axis([5.0, 5.0]).high > 5.0


@pytest.mark.parametrize("scale", [Axis(0.0, 1.0), Axis(0.75, 1.0), Axis(-0.2, 0.3), Axis(0.0, 4321.0)])
def test_ticks_are_few_evenly_spaced_and_on_the_axis(scale: Axis) -> None:
    ticks = [tick.position for tick in scale.ticks("{:g}".format)]

    assert 3 <= len(ticks) <= 8
    assert all(-1e-9 <= at <= 100 + 1e-9 for at in ticks)
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    assert max(steps) == pytest.approx(min(steps))


def test_ticks_say_the_number_they_stand_at() -> None:
    scale = Axis(0.0, 0.5)

    for tick in scale.ticks("{:.6f}".format):
        assert scale(float(tick.text)) == pytest.approx(tick.position)
    for tick in scale.up("{:.6f}".format):
        assert scale.down(float(tick.text)) == pytest.approx(tick.position)


def test_rows_share_the_height_evenly() -> None:
    assert [middle(row, 4) for row in range(4)] == [12.5, 37.5, 62.5, 87.5]


def test_groups_are_told_apart_by_shape_and_colour_together() -> None:
    many = [(shape_of(i), hue_of(i)) for i in range(28)]

    assert len(set(many)) == 28
    # And neighbours differ in both, for whoever sees no colour.
    assert all(a[0] != b[0] and a[1] != b[1] for a, b in itertools.pairwise(many))
    assert {shape for shape, _ in many} == set(SHAPES)


def test_a_path_goes_through_its_points() -> None:
    assert Path(((0, 100), (50, 12.345), (100, 0)), "curve").d == "M0.00 100.00L50.00 12.35L100.00 0.00"
