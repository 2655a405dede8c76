"""A short version of the simulation of metrics at their limits. `make test-gate` runs the long version."""

import numpy as np
import pytest
from metric_simulation import Share, boundaries, measured

REPLICATES = 60


@pytest.fixture(scope="module")
def shares() -> list[Share]:
    rng = np.random.default_rng(3)
    return [measured(boundary, rng, REPLICATES) for boundary in boundaries(long=False)]


def test_sets_at_the_limit_pass_no_more_often_than_the_risk_allows(shares: list[Share]) -> None:
    assert [share for share in shares if share.passed > share.allowed] == []


def test_by_their_value_alone_they_pass_far_more_often(shares: list[Share]) -> None:
    assert [share for share in shares if share.passed_by_value <= share.allowed] == []
