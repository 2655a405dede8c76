"""A short version of the simulation of metrics at their limits. `make test-gate` runs the long version."""

import numpy as np
import pytest
from boundary_simulation import ALPHA, Share, boundaries, shares_of

from fair_distill.gate.metrics import PREDICTION_METRICS

REPLICATES = 300


@pytest.fixture(scope="module")
def shares() -> list[Share]:
    return shares_of(boundaries(long=False), REPLICATES)


def test_sets_at_the_limit_pass_no_more_often_than_the_risk_allows(shares: list[Share]) -> None:
    assert [share for share in shares if share.passed > share.allowed] == []


def test_by_their_value_alone_they_pass_far_more_often(shares: list[Share]) -> None:
    assert [share for share in shares if share.passed_by_value <= share.allowed] == []


def test_the_simulated_decisions_are_those_of_the_metrics() -> None:
    for number, boundary in enumerate(boundaries(long=True)):
        sets = boundary.draw(np.random.default_rng(number), 2)
        by_bound, by_value = boundary.margins(sets, boundary.number)
        for r in range(2):
            metric = PREDICTION_METRICS[boundary.limit.metric]
            evidence = metric.gather(boundary.limit, sets.one(r), None)
            if boundary.limit.at_most is None:
                bound, value = evidence.lower(ALPHA).min() - boundary.number, evidence.value - boundary.number
            else:
                bound, value = boundary.number - evidence.upper(ALPHA).max(), boundary.number - evidence.value
            if (
                metric.is_gap and metric.direction == "at_least"
            ):  # the margin of a ratio is that of a weighted difference
                assert (bound >= 0, value >= 0) == (by_bound[r] >= 0, by_value[r] >= 0)
            else:
                # Rounding can decide whether a rate is rare.
                assert (bound, value) == pytest.approx((by_bound[r], by_value[r]), abs=2e-4)
