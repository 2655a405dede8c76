"""The closed form of the exact bounds of a rate against the quantiles of beta distributions."""

import numpy as np
import pytest
from scipy import stats

from fair_distill.gate.rare_events import event_rate_lower, event_rate_upper


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.0025, 0.0004])
@pytest.mark.parametrize("n", [50, 200, 5000])
def test_bounds_are_those_of_clopper_and_pearson_or_slightly_wider(n: int, alpha: float) -> None:
    events = np.array([0.0, 0.5, 1.0, 2.0, 5.0, 9.0, n / 5])
    q = np.array(stats.norm.isf(alpha))
    upper, lower = event_rate_upper(events, np.array(n), q), event_rate_lower(events, np.array(n), q)

    exact_upper = stats.beta.isf(alpha, events + 1, n - events)
    exact_lower = np.append(0.0, stats.beta.ppf(alpha, events[1:], n - events[1:] + 1))
    # In units of the distance from the rate, at most 1.5 % shorter.
    assert (upper - events / n >= 0.985 * (exact_upper - events / n)).all()
    assert (upper - events / n <= 1.06 * (exact_upper - events / n)).all()
    assert (events / n - lower >= 0.985 * (events / n - exact_lower)).all()
    assert (lower[events > 1] >= exact_lower[events > 1] - 0.5 / n).all()


def test_an_event_rate_is_between_its_bounds_and_a_far_tail_reaches_0_and_1() -> None:
    events, n = np.array([0.0, 1.0, 3.0]), np.array(3.0)

    assert (event_rate_lower(events, n, np.array(1.645)) <= events / n).all()
    assert (event_rate_upper(events, n, np.array(1.645)) >= events / n).all()
    assert event_rate_upper(events, n, np.array(40.0)).tolist() == [1, 1, 1]
    assert event_rate_lower(events, n, np.array(40.0)).tolist() == [0, 0, 0]
