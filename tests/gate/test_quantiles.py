"""Quantiles and tail probabilities against SciPy and closed forms."""

import math

import pytest
from scipy import stats

from fair_distill.gate.quantiles import normal_quantile, normal_tail, t_quantile, t_tail

ALPHAS = (0.6, 0.4, 0.1, 0.05, 0.0304, 0.005, 1e-4, 1e-7)
FREEDOM = (1, 2, 2.5, 3, 4, 9.3, 29, 71, 500, 3999, 1e5, 3e7, 1e10)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_normal_quantiles_are_scipys(alpha: float) -> None:
    assert normal_quantile(alpha) == pytest.approx(stats.norm.isf(alpha), rel=1e-12)
    assert normal_tail(normal_quantile(alpha)) == pytest.approx(alpha, rel=1e-12)


@pytest.mark.parametrize("df", FREEDOM)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_t_quantiles_are_scipys(alpha: float, df: float) -> None:
    assert t_quantile(alpha, df) == pytest.approx(stats.t.isf(alpha, df), rel=1e-7)


@pytest.mark.parametrize("df", FREEDOM)
@pytest.mark.parametrize("t", [-40.0, -2.0, -1e-3, 0.0, 1e-6, 0.7, 3.0, 25.0, 400.0])
def test_t_tails_are_scipys(t: float, df: float) -> None:
    assert t_tail(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-6, abs=1e-100)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_one_and_two_degrees_of_freedom_have_closed_forms(alpha: float) -> None:
    assert t_quantile(alpha, 1) == pytest.approx(1 / math.tan(math.pi * alpha), rel=1e-9, abs=1e-9)
    wanted = (1 - 2 * alpha) * math.sqrt(2 / (4 * alpha * (1 - alpha)))
    assert t_quantile(alpha, 2) == pytest.approx(wanted, rel=1e-9)


def test_a_quantile_grows_as_alpha_and_the_degrees_of_freedom_fall() -> None:
    by_alpha = [t_quantile(alpha, 2) for alpha in ALPHAS]
    by_freedom = [t_quantile(0.05, df) for df in FREEDOM]

    assert by_alpha == sorted(by_alpha)
    assert by_freedom == sorted(by_freedom, reverse=True)
