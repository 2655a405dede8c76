"""Two sets in one picture: each as it is drawn by itself, apart, whatever their sizes."""

import io
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from small_registry import package

from fair_distill.distilled_set import DistilledSet
from fair_distill.report.grid import grid_png
from fair_distill.report.pair import pair_png

ONE, TWO = package(1).set, package(2).set
GAP = 24


def pixels(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def larger(made: DistilledSet) -> DistilledSet:
    return DistilledSet(made.images.repeat(3, axis=0), made.labels.repeat(3), replace(made.card, examples=12))


@pytest.mark.parametrize(("a", "b"), [(ONE, TWO), (ONE, larger(TWO)), (larger(ONE), TWO)])
def test_each_set_is_drawn_as_by_itself_on_its_own_side(a: DistilledSet, b: DistilledSet) -> None:
    left, right, both = pixels(grid_png(a)), pixels(grid_png(b)), pixels(pair_png(a, b, gap=GAP))

    assert both.shape == (max(len(left), len(right)), left.shape[1] + GAP + right.shape[1], 3)
    np.testing.assert_array_equal(both[: len(left), : left.shape[1]], left)
    np.testing.assert_array_equal(both[: len(right), left.shape[1] + GAP :], right)
    assert (both[:, left.shape[1] : left.shape[1] + GAP] == 255).all()
    assert (left != 255).any()


def test_the_two_sides_show_what_differs() -> None:
    left, right = np.hsplit(pixels(pair_png(ONE, TWO, gap=0)), 2)

    assert (left != right).any()
    same = np.hsplit(pixels(pair_png(ONE, ONE, gap=0)), 2)
    np.testing.assert_array_equal(same[0], same[1])
