"""The rivals in the race of gates decide as their libraries do, and the gate itself refuses what it must refuse."""

from functools import partial

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame, equalized_odds_difference

from benchmarks import gates

THREE = gates.Case(classes=3, networks=2, examples=80, gap=0.1)


def test_the_simulated_bootstrap_has_the_quantiles_of_fairlearn() -> None:
    rng = np.random.default_rng(0)
    right = THREE.draw(rng)
    rows = gates.columns_of(right)
    frame = MetricFrame(
        metrics={str(c): partial(gates._recall, c) for c in range(3)},
        y_true=rows.labels,
        y_pred=rows.predicted,
        sensitive_features=rows.groups,
        n_boot=40,
        ci_quantiles=[1 - gates.ALPHA],
        random_state=0,
    )

    np.testing.assert_allclose(gates.fairlearn_quantiles(right, rng), np.asarray(frame.difference_ci()[0]), atol=0.05)


@pytest.mark.parametrize("classes", [2, 3])
def test_equalized_odds_from_counts_are_those_of_each_class_against_the_rest(classes: int) -> None:
    right = gates.Case(classes, 2, 50, 0.2).draw(np.random.default_rng(1))
    rows = gates.columns_of(right)
    measured = gates._equalized_odds(np.moveaxis(gates.counts_of(right), 1, 0)[None])[0]

    expected = [
        equalized_odds_difference(rows.labels == c, rows.predicted == c, sensitive_features=rows.groups)
        for c in range(classes)
    ]
    np.testing.assert_allclose(measured, expected)


@pytest.mark.parametrize("gap", [0.0, 0.12])
def test_the_case_has_the_recalls_that_it_states(gap: float) -> None:
    case = gates.Case(classes=2, networks=400, examples=400, gap=gap)

    np.testing.assert_allclose(case.draw(np.random.default_rng(2)).mean(axis=(2, 3)), case.recalls, atol=0.02)


@pytest.mark.parametrize("networks", [1, 5])
def test_a_class_that_one_group_never_gets_right_is_refused(networks: int) -> None:
    rng = np.random.default_rng(3)
    right = gates.Case(classes=3, networks=networks, examples=400, gap=0.0).draw(rng)
    fair, right[-1, 1] = right.copy(), False

    for name in ("ours", "fairlearn bootstrap", "vfairness interval", "bare numbers"):
        assert not gates.GATES[name](right, rng)
    assert gates.bare_numbers(fair, rng)
