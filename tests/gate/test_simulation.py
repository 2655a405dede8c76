"""A short version of the simulation by which the bounds were chosen. `make test-gate` runs the long version."""

from dataclasses import replace

import numpy as np
import pytest
from simulated_sets import Case
from simulation import ALPHA, Row, coverage, coverage_cases, decision_cases, decisions, mean_decisions
from simulation_metrics import AT_LIMIT, false_passes

from fair_distill.gate.metrics import PREDICTION_METRICS


@pytest.fixture(scope="module")
def covered() -> list[Row]:
    rng = np.random.default_rng(1)
    return [coverage(case, rng, 600) for case in coverage_cases((50, 400), 3)]


def test_every_bound_misses_the_truth_no_more_often_than_alpha(covered: list[Row]) -> None:
    assert [message for row in covered for message in row.broken()] == []


def test_bounds_that_treat_every_row_as_an_example_miss_it_more_often(covered: list[Row]) -> None:
    # Networks scatter by 3 points, and all of them predict the same examples.
    missed = [row.shares["row_by_row"] for row in covered if row.case.rates == (0.7, 0.6) and row.case.sizes[0] == 400]

    assert min(missed) > ALPHA


def test_a_set_whose_gap_is_the_limit_passes_no_more_often_than_alpha() -> None:
    rng = np.random.default_rng(2)
    rows = [decisions(case, rng, 300, limit=limit) for case, limit in decision_cases(long=False)]

    assert [message for row in rows for message in row.broken()] == []
    fair = [row.shares["pass"] for row in rows if row.case.is_fair and row.case.sizes[0] == 400]
    assert max(fair) > 0.5


def test_a_mean_whose_value_is_the_limit_passes_about_as_often_as_alpha() -> None:
    rng = np.random.default_rng(3)
    case = Case((0.95, 0.89), (400, 400), 10, seeds=10)
    row = mean_decisions(case, rng, 400, limit=0.06)

    assert row.broken() == []
    assert row.shares["pass"] > 0.01  # the row can fail
    fair = mean_decisions(replace(case, rates=(0.95, 0.95)), rng, 100, limit=0.04)
    assert fair.shares["pass"] > 0.9


@pytest.mark.parametrize("name", PREDICTION_METRICS)
def test_a_set_at_the_limit_of_any_metric_passes_no_more_often_than_alpha(name: str) -> None:
    case = Case(AT_LIMIT[name].recalls[0], (100, 100), 2, seeds=10, seed_sd=0.01)
    share = false_passes(name, AT_LIMIT[name], case, np.random.default_rng(4), 150, alpha=0.2)

    # At a risk of 20 %, few replicates tell a bound that is too narrow, or so wide that no set passes.
    assert 0 < share <= 0.2 + 3 * np.sqrt(0.2 * 0.8 / 150)


def test_a_broken_promise_is_reported() -> None:
    case = Case((0.9, 0.8), (100, 100))
    shares = {"above": 0.10, "below": 0.05}

    assert len(Row("coverage", "", case, 5000, shares, ("above", "below")).broken()) == 1
    assert Row("coverage", "", case, 5000, shares, ()).broken() == []
