"""Bounds against closed forms, invariances, and cases in which other methods have width 0."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fair_distill.gate.bounds import Contrasts, bend, level, minus, on_the_same, score, stacked
from fair_distill.gate.quantiles import t_quantile

ALPHA = 0.05


def answers(right: int, of: int, seeds: int = 3) -> Any:
    """The same `right` of `of` examples right in every seed, (1, S, n)."""
    return np.tile(np.arange(of) < right, (1, seeds, 1)).astype(float)


def wilson(p: float, n: float, q: float, side: int) -> float:
    root = q * math.sqrt(p * (1 - p) / n + q * q / (4 * n * n))
    return (p + q * q / (2 * n) + side * root) / (1 + q * q / n)


def rate_bound(p: float, n: float, q: float, side: int) -> float:
    """Wilson's bound, or the exact one where events are rare or the bound is towards fewer of them."""
    if p > 0.5:
        return 1 - rate_bound(1 - p, n, q, -side)
    events, alpha = p * n, stats.norm.sf(q)
    if side > 0:
        return max(wilson(p, n, q, 1), stats.beta.isf(alpha, events + 1, n - events) if events < 9.5 else 0.0)
    exact = stats.beta.ppf(alpha, events, n - events + 1) if events and (p < 0.25 or q > 2.5) else p
    normal = p - q * math.sqrt(p * (1 - p) / n) if events < 4.5 else p
    return min(wilson(p, n, q, -1), exact, normal)


def variance(values: Any) -> float:
    return float(np.var(values, ddof=1) / len(values))


@pytest.mark.parametrize(("right", "of"), [(0, 50), (1, 50), (25, 50), (160, 200), (200, 200), (3999, 4000)])
def test_answers_that_all_seeds_share_are_bounded_as_binomial_data_of_as_many_examples(right: int, of: int) -> None:
    found = level(answers(right, of))
    q = t_quantile(ALPHA, of - 1)

    assert found.seeds_above(ALPHA)[0] == pytest.approx(0, abs=1e-12)
    # the two clusters that are added move the effective size by less than two
    assert found.first.effective[0] == pytest.approx(of, abs=2)
    n = found.first.effective[0]
    assert found.upper(ALPHA)[0] == pytest.approx(rate_bound(right / of, n, q, 1), abs=0.01 / math.sqrt(of))
    assert found.lower(ALPHA)[0] == pytest.approx(rate_bound(right / of, n, q, -1), abs=0.01 / math.sqrt(of))


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize(("up", "down", "of"), [(0, 0, 50), (1, 0, 2), (25, 10, 50), (7, 43, 50), (4000, 0, 4000)])
def test_clusters_of_equal_size_are_worth_as_many_values_less_what_two_added_ones_take(
    up: int, down: int, of: int, copies: int
) -> None:
    signs = np.repeat([1.0, -1.0, 0.0], [up, down, of - up - down])
    values, clusters = np.repeat(signs, copies)[None], np.repeat(np.arange(of), copies)

    # With m = E[v²] - E[v]² over of + 2 values: effective = m / (m / (of + 1)) of / (of + 2).
    wanted = of * (of + 1) / (of + 2)
    assert score(values, clusters, lowest=-1).effective[0] == pytest.approx(wanted)
    if not down:
        assert score(values, clusters).effective[0] == pytest.approx(wanted)


def test_two_samples_are_combined_by_newcombes_hybrid_score_method() -> None:
    first, second = level(answers(90, 100)), level(answers(64, 80))
    apart = minus(first, second)

    (e1,), (e2,) = first.first.variance, second.first.variance
    q = stats.t.isf(ALPHA, (e1 + e2) ** 2 / (e1**2 / 99 + e2**2 / 79))  # Welch
    (n1,), (n2,) = first.first.effective, second.first.effective
    up = math.hypot(rate_bound(0.9, n1, q, 1) - 0.9, 0.8 - rate_bound(0.8, n2, q, -1))
    down = math.hypot(0.9 - rate_bound(0.9, n1, q, -1), rate_bound(0.8, n2, q, 1) - 0.8)
    assert apart.upper(ALPHA)[0] == pytest.approx(0.1 + up, abs=0.001)
    assert apart.lower(ALPHA)[0] == pytest.approx(0.1 - down, abs=0.001)


@pytest.mark.parametrize("n", [20, 72, 500])
def test_pairs_that_never_differ_are_bounded_by_the_exact_bound_of_no_event_in_n(n: int) -> None:
    same = on_the_same(np.zeros((1, 3, n)))
    q = t_quantile(ALPHA, n - 1)

    assert same.value == 0
    assert same.upper(ALPHA)[0] == pytest.approx(1 - stats.norm.sf(q) ** (1 / n), rel=0.05)
    assert same.lower(ALPHA)[0] == pytest.approx(-same.upper(ALPHA)[0])


@pytest.mark.parametrize("right", [0, 100])
def test_where_nothing_varies_a_bound_is_still_no_point(right: int) -> None:
    # the percentile bootstrap, and a normal bound, give width 0 here
    apart = minus(level(answers(right, 100)), level(answers(right, 100)))

    assert apart.value == 0
    assert apart.upper(ALPHA)[0] > 0.02
    assert apart.lower(ALPHA)[0] < -0.02


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("networks", [2, 4])
def test_the_variances_are_those_of_a_two_way_analysis_of_variance(clustered: bool, networks: int) -> None:
    # 12 clusters of 1 or 5 examples that are alike; the classical mean squares of 12 cells for each network
    rng = np.random.default_rng(9)
    cells = rng.random((networks, 12))
    copies = 5 if clustered else 1
    found = level(np.repeat(cells, copies, axis=1)[None], np.repeat(np.arange(12), copies) if clustered else None)

    seeds, examples, mean = cells.mean(axis=1), cells.mean(axis=0), cells.mean()
    residual = ((cells - seeds[:, None] - examples + mean) ** 2).sum() / (11 * (networks - 1))
    assert found.interaction[0] == pytest.approx(residual / (12 * networks))
    of_seeds = seeds.var(ddof=1) / networks
    scatter = max(of_seeds - residual / (12 * networks), 0)
    assert found.variance_of_seeds[0] == pytest.approx(scatter)
    # Satterthwaite's degrees of freedom, and not fewer than both parts alone have
    (variance,), (spread,) = found.variances_of_examples
    whole = spread + of_seeds**2 * (networks + 1) / (networks - 1) ** 2
    least = min(variance**2 / spread, networks - 1)
    assert found.freedom[0] == pytest.approx(max((variance + scatter) ** 2 / whole, least))


def test_the_choice_of_given_networks_adds_no_uncertainty() -> None:
    values = (np.random.default_rng(10).random((1, 4, 300)) < [[[0.9], [0.8], [0.95], [0.7]]]).astype(float)
    given = level(values, treatment="given")

    assert given.seeds_above(ALPHA) == 0
    assert given.quantile(ALPHA)[0] == pytest.approx(stats.t.isf(ALPHA, 299), rel=1e-6)
    assert given.upper(ALPHA)[0] < level(values).upper(ALPHA)[0]
    of_one = level(values[:, :1], treatment="given")
    assert of_one.upper(ALPHA)[0] == pytest.approx(
        rate_bound(of_one.value[0], of_one.first.effective[0], given.quantile(ALPHA)[0], 1), abs=0.001
    )


@pytest.mark.parametrize("alpha", [0.05, 0.0025, 0.0004])
@pytest.mark.parametrize(("large", "small"), [(10_000, 100), (2000, 50), (100, 100)])
@pytest.mark.parametrize("errors", [0.1, 0.8, 3.0])
def test_a_gap_at_its_limit_passes_no_more_often_than_alpha_if_one_group_is_small_and_nearly_all_right(
    large: int, small: int, errors: float, alpha: float
) -> None:
    """Exact: the sum over all counts of errors of the small group and a grid of those of the large one."""
    of_large = np.unique(np.round(large * 0.1 + 3 * math.sqrt(large) * np.linspace(-0.4, 0.4, 33))).astype(int)
    weights = stats.binom.pmf(of_large, large, 0.1)
    of_small = np.arange(0, 25)
    chances = stats.binom.pmf(of_small, small, errors / small)
    limit = 0.1 - errors / small

    passed = 0.0
    high = level(np.stack([answers(large - count, large, 1)[0] for count in of_large]), treatment="given")
    for count, chance in zip(of_small, chances, strict=True):
        low = level(np.repeat(answers(small - int(count), small, 1), len(of_large), axis=0), treatment="given")
        gap = minus(low, high)
        passes = np.maximum(gap.upper(alpha), -gap.lower(alpha)) <= limit
        passed += chance * float((weights / weights.sum() * passes).sum())
    assert passed <= 1.15 * alpha


@pytest.mark.parametrize("expected", [2.9, 3.6, 6.2])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_values_that_hardly_vary_until_a_rare_error_are_bounded_like_errors(confidence: float, expected: float) -> None:
    """Exact: confidence minus correctness is -0.05 for each right prediction and 0.95 for each wrong one."""
    counts = np.arange(30)
    wrong = np.stack([1 - answers(100 - count, 100, 1)[0] for count in counts])
    chances = stats.binom.pmf(counts, 100, expected / 100)

    bound = level(confidence - (1 - wrong), lowest=-1, treatment="given").upper(ALPHA)
    assert float(chances[bound < confidence - 1 + expected / 100].sum()) <= 1.1 * ALPHA


def test_two_of_two_right_is_hardly_known() -> None:
    found = level(answers(2, 2))

    assert found.upper(ALPHA)[0] >= 1
    assert found.lower(ALPHA)[0] < 0.2


def test_one_example_and_one_seed_say_nothing() -> None:
    one = level(np.ones((1, 3, 1)))

    assert one.lower(ALPHA)[0] <= 0
    assert level(np.ones((1, 1, 50))).lower(ALPHA)[0] == -np.inf


def test_with_very_many_examples_what_is_left_is_students_t_over_seeds() -> None:
    rates = np.array([0.90, 0.93, 0.86])
    found = level((np.arange(100_000) < rates[:, None] * 100_000)[None].astype(float))

    half = stats.t.isf(ALPHA, 2) * rates.std(ddof=1) / math.sqrt(3)
    assert found.upper(ALPHA)[0] == pytest.approx(rates.mean() + half, abs=2e-4)
    # networks fall further below 0.9 than they rise above it
    assert found.lower(ALPHA)[0] < rates.mean() - 1.2 * half


@pytest.mark.parametrize("lean", [-0.01, 0.0, 0.01])
def test_the_part_of_seeds_is_students_t_with_johnsons_correction_on_the_side_they_lean_to(lean: float) -> None:
    rates = np.array([[0.90, 0.93, 0.86]])
    found = Contrasts(level(answers(400, 500)).first, None, rates, np.zeros(1), np.array([lean]))

    q = stats.t.isf(ALPHA, 2)
    half = found.quantile(ALPHA)[0] * rates.std(ddof=1) / math.sqrt(3)
    correction = abs(lean) * (1 + 2 * q * q) / 3
    assert found.seeds_above(ALPHA)[0] == pytest.approx(half + (correction if lean > 0 else 0))
    assert found.seeds_below(ALPHA)[0] == pytest.approx(half + (correction if lean < 0 else 0))


def test_of_one_seed_every_place_has_an_infinite_part() -> None:
    found = level(np.ones((4, 1, 50)))

    assert found.seeds_above(ALPHA).tolist() == [np.inf] * 4


def test_seeds_scatter_evenly_about_one_half_and_lean_to_one_half_elsewhere() -> None:
    def leaning(rate: float) -> Any:
        return bend(np.array([rate - 0.02, rate, rate + 0.02]), np.array(0.0))

    assert leaning(0.5) == pytest.approx(0, abs=1e-12)
    assert leaning(0.9) < leaning(0.7) < 0 < leaning(0.3)
    assert leaning(0.3) == pytest.approx(-leaning(0.7))
    assert bend(np.array([1.0, 1.0, 1.0]), np.array(0.0)) == 0
    # the noise of single predictions does not come from the networks
    assert bend(np.array([0.86, 0.90, 0.94]), np.array(0.0016 / 3)) == pytest.approx(0, abs=1e-12)


def test_seeds_that_move_both_groups_alike_do_not_widen_the_difference() -> None:
    shift = np.array([0, 8, -8])[:, None]
    first, second = ((np.arange(200) < right + shift)[None].astype(float) for right in (180, 160))

    assert level(first).seeds_above(ALPHA)[0] > 0.05
    assert minus(level(first), level(second)).seeds_above(ALPHA)[0] == pytest.approx(0, abs=1e-12)


def test_in_the_middle_the_examples_part_is_the_normal_bound_of_the_means_over_seeds() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((1, 4, 3000)) < 0.5
    found = level(values.astype(float))

    wanted = found.quantile(ALPHA)[0] * math.sqrt(variance(values[0].mean(axis=0)))
    assert found.examples_above(ALPHA)[0] == pytest.approx(wanted, rel=0.01)


def test_paired_differences_have_the_variance_of_paired_differences() -> None:
    rng = np.random.default_rng(1)
    values = rng.choice([-1.0, 0.0, 1.0], size=(1, 3, 2000), p=[0.1, 0.8, 0.1])
    found = on_the_same(values)

    wanted = found.quantile(ALPHA)[0] * math.sqrt(variance(values[0].mean(axis=0)))
    assert found.examples_above(ALPHA)[0] == pytest.approx(wanted, rel=0.12)  # exact bounds are wider


@pytest.mark.parametrize("copies", [2, 5])
def test_writing_every_example_down_again_teaches_nothing(copies: int) -> None:
    rng = np.random.default_rng(2)
    values = (rng.random((1, 3, 60)) < 0.9).astype(float)
    once, again = level(values), level(np.repeat(values, copies, axis=-1), np.repeat(np.arange(60), copies))

    assert again.upper(ALPHA)[0] == pytest.approx(once.upper(ALPHA)[0], rel=1e-9)
    assert again.lower(ALPHA)[0] == pytest.approx(once.lower(ALPHA)[0], rel=1e-9)
    blind = level(np.repeat(values, copies, axis=-1))
    assert blind.examples_above(ALPHA)[0] < once.examples_above(ALPHA)[0]


def test_training_the_same_network_again_teaches_nothing_about_examples() -> None:
    values = np.tile(np.random.default_rng(3).random((1, 1, 80)) < 0.8, (1, 3, 1)).astype(float)

    more = np.tile(values[:, :1], (1, 30, 1))
    assert level(more).examples_above(ALPHA)[0] == pytest.approx(level(values).examples_above(ALPHA)[0])


def test_the_order_of_examples_clusters_and_seeds_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    values, clusters = (rng.random((1, 4, 90)) < 0.85).astype(float), rng.integers(0, 30, 90)
    order, seeds, names = rng.permutation(90), rng.permutation(4), rng.permutation(30)

    straight = level(values, clusters)
    shuffled = level(values[:, seeds][..., order], names[clusters][order])
    assert shuffled.upper(ALPHA)[0] == pytest.approx(straight.upper(ALPHA)[0], rel=1e-12)


def test_exchanging_sides_turns_the_bounds_round() -> None:
    rng = np.random.default_rng(5)
    first, second = (level((rng.random((1, 3, n)) < p).astype(float)) for n, p in ((50, 0.9), (400, 0.6)))
    apart, back = minus(first, second), minus(second, first)
    assert apart.upper(ALPHA)[0] == pytest.approx(-back.lower(ALPHA)[0])

    values = rng.choice([-1.0, 0.0, 1.0], size=(1, 3, 70), p=[0.3, 0.6, 0.1])
    assert on_the_same(values).upper(ALPHA)[0] == pytest.approx(-on_the_same(-values).lower(ALPHA)[0])


def test_a_smaller_risk_gives_a_wider_bound_and_every_bound_holds_the_value() -> None:
    rng = np.random.default_rng(6)
    found = level((rng.random((1, 3, 40)) < 0.95).astype(float))
    uppers = [found.upper(alpha)[0] for alpha in (0.2, 0.05, 0.01, 1e-4)]

    assert uppers == sorted(uppers)
    assert found.value[0] < uppers[0]


def test_a_scaled_difference_is_bounded_in_its_own_unit() -> None:
    values = np.random.default_rng(7).choice([-1.0, 0.0, 1.0], size=(1, 3, 200))

    doubled = on_the_same(2 * values, scale=2.0)
    assert doubled.upper(ALPHA)[0] == pytest.approx(2 * on_the_same(values).upper(ALPHA)[0])


def test_stacking_keeps_every_contrast_as_it_was() -> None:
    parts = [minus(level(answers(n - 5, n)), level(answers(n - 9, n))) for n in (30, 60, 90)]

    together = stacked(parts)
    assert isinstance(together, Contrasts)
    np.testing.assert_allclose(together.upper(ALPHA), [part.upper(ALPHA)[0] for part in parts])
    np.testing.assert_allclose(together[1:].lower(ALPHA), together.lower(ALPHA)[1:])


def test_leading_axes_are_as_many_sets_of_their_own() -> None:
    values = (np.random.default_rng(8).random((5, 3, 40)) < 0.9).astype(float)

    np.testing.assert_allclose(level(values).upper(ALPHA), [level(one[None]).upper(ALPHA)[0] for one in values])
    assert score(values.mean(axis=1)).effective.shape == (5,)


@pytest.mark.parametrize(("clusters", "size", "noise"), [(50, 100, 0.05), (100, 50, 0.05), (200, 30, 0.02)])
def test_a_rare_kind_of_cluster_that_was_not_drawn_is_still_possible(clusters: int, size: int, noise: float) -> None:
    # All predictions for 2.2 of the clusters are wrong, on average. Often none of them is drawn, and the others are
    # so alike that their variance alone says that this many examples cannot be wrong about the rate.
    rng, share, draws = np.random.default_rng(2), 2.2 / clusters, 1000
    hard = np.repeat(rng.random((draws, 1, clusters)) < share, size, axis=-1)
    right = ((rng.random((draws, 1, clusters * size)) > noise) & ~hard).astype(float)

    rates = level(right, np.repeat(np.arange(clusters), size), treatment="given")

    assert (rates.lower(ALPHA) > (1 - noise) * (1 - share)).mean() <= ALPHA
