"""The number of networks that must satisfy a limit: Wilks's numbers, the worst case by linear programming, SciPy."""

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import binom

from fair_distill.gate.tolerance import Tolerance, networks_needed, tolerance, violations_needed

ALPHA = 0.05
CASES = [(share, networks) for share in (0.5, 0.8, 0.9, 0.95) for networks in (3, 10, 29, 46, 60, 150)]


def largest_chance(rule: Tolerance, q: float) -> float:
    """The largest probability to pass over all distributions of q + e(X) with the mean of the worst case.

    A linear programme over distributions on a fine grid of [q, 1]; nothing of the derivation is used.
    """
    grid = np.linspace(q, 1, 2001)
    passing = binom.sf(rule.needed - 1, rule.networks, grid)
    mean = q + (1 - q) * rule.alpha
    solution = linprog(-passing, A_eq=[np.ones_like(grid), grid], b_eq=[1, mean], bounds=(0, 1))
    assert solution.success
    return float(-solution.fun)


@pytest.mark.parametrize(("allowed", "networks"), [(0, 29), (1, 46), (2, 61)])
def test_the_smallest_numbers_of_networks_for_nine_in_ten_are_those_of_wilks(allowed: int, networks: int):
    assert networks_needed(0.9, ALPHA, allowed=allowed) == networks
    # The textbook's condition: of `networks`, at least all but `allowed` satisfy it by chance.
    for number, enough in ((networks, True), (networks - 1, False)):
        assert (binom.cdf(allowed, number, 0.1) < ALPHA) == enough


@pytest.mark.parametrize(("share", "networks"), CASES)
def test_the_level_of_each_network_uses_alpha_up_in_the_worst_case_and_not_more(share: float, networks: int):
    rule = tolerance(networks, share, ALPHA)
    if rule is None:
        assert share**networks >= ALPHA
        return
    worst = largest_chance(rule, share)
    assert worst <= ALPHA + 1e-6
    assert worst == pytest.approx(ALPHA, rel=0.02)


@pytest.mark.parametrize(("share", "networks"), CASES)
def test_a_smaller_true_share_passes_less_often(share: float, networks: int):
    rule = tolerance(networks, share, ALPHA)
    if rule is not None:
        chances = [largest_chance(rule, q) for q in np.linspace(0.1, share, 9)]
        assert np.all(np.diff(chances) >= -1e-7)


def test_without_errors_of_examples_every_network_keeps_the_level_that_is_left():
    rule = tolerance(29, 0.9, ALPHA)

    assert rule is not None
    assert (rule.allowed, rule.needed) == (0, 29)
    assert 0.9**29 + (1 - 0.9**29) * rule.alpha == pytest.approx(ALPHA, abs=1e-12)
    assert tolerance(28, 0.9, ALPHA) is None


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95])
def test_more_networks_are_allowed_only_if_the_others_keep_a_fifth_of_alpha(share: float):
    allowed = []
    for networks in range(5, 200, 15):
        rule = tolerance(networks, share, ALPHA)
        if rule is not None:
            allowed.append(rule.allowed)
            assert rule.alpha > (ALPHA / 5 - 1e-12 if rule.allowed else 0)
            one_more = Tolerance(networks, rule.allowed + 1, ALPHA / 5)
            assert largest_chance(one_more, share) > ALPHA - 1e-6
    assert allowed == sorted(allowed)
    assert allowed[-1] > 1


@pytest.mark.parametrize(("networks", "share"), [(20, 0.9), (29, 0.9), (30, 0.5), (60, 0.95)])
def test_violations_that_suffice_are_more_than_chance_and_more_than_a_pass_allows(networks: int, share: float):
    fails, passes = violations_needed(networks, share, ALPHA), tolerance(networks, share, ALPHA)

    assert fails is not None
    assert largest_chance(fails, 1 - share) <= ALPHA + 1e-6
    assert binom.sf(fails.needed - 1, networks, 1 - share) < ALPHA
    assert passes is None or fails.needed > passes.allowed


def test_thousands_of_networks_need_no_time():
    rule = tolerance(20_000, 0.9, ALPHA)

    assert rule is not None
    assert 1600 < rule.allowed < 2000
    assert largest_chance(rule, 0.9) <= ALPHA + 1e-6
    assert networks_needed(1 - 1e-9, ALPHA) is None
