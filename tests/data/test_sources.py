"""The bundled source, and sources that are not there."""

import numpy as np
import pytest

from fair_distill.data.sources import SOURCES, digits, read_source
from fair_distill.errors import ConfigError


def test_digits_are_all_of_them_at_the_size_asked_for() -> None:
    made = digits(size=16)

    assert made.images.shape == (1797, 16, 16)
    assert made.images.dtype == np.uint8
    assert np.bincount(made.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert made.classes == tuple("0123456789")


def test_digits_at_their_own_size_are_what_scikit_learn_bundles() -> None:
    from sklearn.datasets import load_digits

    assert np.array_equal(digits(size=8).images, np.round(load_digits().images * 255 / 16))


def test_reading_twice_gives_the_same() -> None:
    assert np.array_equal(digits(size=16).images, digits(size=16).images)


@pytest.mark.parametrize("size", [7, 257, 16.0, "16", None, True])
def test_a_size_that_digits_do_not_have_is_refused(size: object) -> None:
    with pytest.raises(ConfigError, match=r"params\.yaml: data\.source\.size is .*from 8 to 256"):
        read_source("digits", {"size": size})


def test_an_unknown_source_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=f"data.source.name is 'digit'; choose one of {', '.join(SOURCES)}"):
        read_source("digit", {})


@pytest.mark.parametrize("options", [{}, {"size": 16, "sise": 16}])
def test_options_that_a_source_does_not_have_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"params\.yaml: data\.source: .*(size|sise)"):
        read_source("digits", options)
