"""Bounds of means by betting: closed forms, brute force over all samples, and every number of networks at once."""

import itertools
import math

import numpy as np
import pytest

from fair_distill.gate.betting import (
    STAKES,
    WEIGHTS,
    largest_choice_upper,
    mean_lower,
    mean_upper,
    networks_needed,
)

ALPHA = 0.05


def wealth(values: np.ndarray, mean: float) -> float:
    """The mixture of bets as the definition states it, for values in [0, 1]."""
    return sum(
        weight * math.prod(1 + stake * (y / mean - 1) for y in values)
        for stake, weight in zip(STAKES, WEIGHTS, strict=True)
    )


def test_the_weights_are_a_distribution_and_no_stake_can_lose_more_than_there_is():
    assert sum(WEIGHTS) == pytest.approx(1)
    assert all(0 < stake <= 1 for stake in STAKES)


def test_the_bound_is_the_mean_at_which_the_wealth_is_one_over_alpha():
    rng = np.random.default_rng(0)
    for networks in (2, 7, 40):
        values = rng.beta(5, 2, networks)
        bound = float(mean_lower(values, ALPHA, lowest=0, highest=1))

        assert 0 < bound < values.mean()
        assert wealth(values, bound) == pytest.approx(1 / ALPHA, rel=1e-6)


@pytest.mark.parametrize("networks", [1, 2, 5, 8])
@pytest.mark.parametrize("mean", [0.2, 0.5, 0.9])
def test_of_all_samples_of_coins_those_whose_bound_is_above_the_mean_have_a_probability_of_at_most_alpha(
    networks: int, mean: float
):
    samples = np.array(list(itertools.product((0.0, 1.0), repeat=networks)))
    ones = samples.sum(axis=1)
    probability = mean**ones * (1 - mean) ** (networks - ones)
    bounds = mean_lower(samples, ALPHA, lowest=0, highest=1)

    assert probability.sum() == pytest.approx(1)
    assert probability[bounds > mean].sum() <= ALPHA


def test_the_first_bound_above_the_mean_has_a_probability_of_at_most_alpha_over_all_numbers_of_networks():
    rng = np.random.default_rng(1)
    replicates = 800
    values = rng.choice([0.1, 0.4, 0.75], p=[0.3, 0.25, 0.45], size=(replicates, 40))
    mean = 0.3 * 0.1 + 0.25 * 0.4 + 0.45 * 0.75
    ever = np.zeros(replicates, dtype=bool)
    for networks in range(1, 41):
        ever |= mean_lower(values[:, :networks], ALPHA, lowest=0, highest=1) > mean

    assert 0 < ever.mean() <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / replicates)


def test_the_order_of_networks_and_the_scale_of_values_change_nothing():
    values = np.random.default_rng(2).uniform(-0.3, 0.4, (4, 12))
    bound = mean_lower(values, ALPHA, lowest=-1, highest=1)

    np.testing.assert_allclose(mean_lower(values[:, ::-1], ALPHA, lowest=-1, highest=1), bound, atol=1e-12)
    np.testing.assert_allclose(mean_lower(2 * values, ALPHA, lowest=-2, highest=2), 2 * bound, atol=1e-11)
    np.testing.assert_allclose(mean_upper(-values, ALPHA, lowest=-1, highest=1), -bound, atol=1e-12)


def test_one_network_says_little_and_a_mean_at_the_end_of_the_range_is_bounded():
    assert float(mean_lower(np.array([1.0]), ALPHA, lowest=0, highest=1)) < 0.06
    assert float(mean_lower(np.array([0.0] * 9), ALPHA, lowest=0, highest=1)) == 0.0
    assert float(mean_upper(np.array([1.0] * 9), ALPHA, lowest=-1, highest=1)) == 1.0


@pytest.mark.parametrize(("limit", "least"), [(0.10, 29), (0.20, 14)])
def test_the_number_of_networks_without_scatter_is_slightly_above_that_of_one_full_bet(limit: float, least: int):
    # One bet with the full stake at level alpha: (1 / (1 - limit))^S >= 1 / alpha for differences of 0 in [-1, 1].
    assert math.ceil(math.log(1 / ALPHA) / math.log(1 / (1 - limit))) == least
    needed = networks_needed(0.0, -limit, ALPHA, lowest=-1, highest=1)

    assert needed is not None
    assert least < needed <= 1.1 * least + 1
    for networks, within in ((needed, True), (needed - 1, False)):
        upper = float(mean_upper(np.zeros(networks), ALPHA, lowest=-1, highest=1))
        assert (upper <= limit) == within


def test_no_number_of_networks_shows_a_limit_that_their_value_does_not_satisfy():
    assert networks_needed(0.7, 0.7, ALPHA, lowest=0, highest=1) is None
    assert networks_needed(0.7, 0.0, ALPHA, lowest=0, highest=1) == 1


def test_the_bound_over_all_choices_is_above_the_bound_of_every_choice_and_not_far_above():
    rng = np.random.default_rng(3)
    for classes, options in ((1, 4), (3, 2), (5, 3)):
        values = rng.normal(0, 0.1, (classes, options, 1)) + rng.normal(0, 0.08, (classes, options, 30))
        bound = float(largest_choice_upper(values, ALPHA, lowest=-1, highest=1))
        each = [
            float(mean_upper(values[range(classes), choice].mean(axis=0), ALPHA, lowest=-1, highest=1))
            for choice in itertools.product(range(options), repeat=classes)
        ]

        assert bound >= max(each) - 1e-10
        assert bound == pytest.approx(max(each), abs=1e-10 if classes == 1 else 0.02)
