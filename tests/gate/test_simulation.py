"""A short version of the simulation that the bounds were chosen by. `make test-gate` runs the long version."""

import numpy as np
import pytest
from simulation import ALPHA, Case, Row, broken, coverage, coverage_cases, decision_cases, decisions, mean_decisions


@pytest.fixture(scope="module")
def covered() -> list[Row]:
    rng = np.random.default_rng(1)
    return [coverage(case, rng, 1000) for case in coverage_cases((50, 400), (3,))]


def test_every_bound_holds_the_truth_as_often_as_it_says(covered: list[Row]) -> None:
    assert broken(covered) == []


def test_bounds_that_take_every_row_for_an_example_do_not(covered: list[Row]) -> None:
    # networks scatter by 3 points, and each is asked about the same examples
    scattered = [row.shares["naive"] for row in covered if row.case.rates == (0.7, 0.6) and row.case.common == 0]

    assert max(scattered) < 1 - ALPHA


def test_a_set_whose_gap_is_the_limit_passes_no_more_often_than_alpha() -> None:
    rng = np.random.default_rng(2)
    rows = [decisions(case, rng, 300, limit=limit) for case, limit in decision_cases(long=False)]

    assert broken(rows) == []
    fair = [row.shares["pass"] for row in rows if len(set(row.case.rates)) == 1 and row.case.sizes[0] == 400]
    assert max(fair) > 0.3  # fair sets do pass


def test_a_mean_whose_value_is_the_limit_passes_no_more_often_than_alpha() -> None:
    rng = np.random.default_rng(3)
    rows = [
        mean_decisions(Case((0.95, 0.95 - 0.6 / gapped), (100, 100), 10), rng, 200, limit=0.06, gapped=gapped)
        for gapped in (10, 5)
    ]

    assert broken(rows) == []
    fair = mean_decisions(Case((0.95, 0.95), (100, 100), 10), rng, 200, limit=0.1, gapped=0).shares
    assert fair["pass"] > 0.5
    assert fair["pass_at_alpha_over_classes"] < 0.1


def test_a_broken_promise_is_seen() -> None:
    case = Case((0.9, 0.8), (100, 100))
    shares = {"upper": 0.9, "lower": 0.95, "rate_lower": 0.95, "rate_upper": 0.95}

    assert len(broken([Row("coverage", case, 5000, shares)])) == 1
    assert len(broken([Row("decision", case, 5000, {"pass": 0.08, "fail": 0.0})])) == 1
