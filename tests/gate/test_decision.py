"""The decision on one clause at its limit: a value equal to the limit satisfies it and violates nothing."""

from dataclasses import replace

import numpy as np
import pytest
from small_predictions import drawn, gather, predictions_of, recalls_of

from fair_distill.config import Gate, Limit
from fair_distill.gate.decision import decide
from fair_distill.gate.findings import undecided
from fair_distill.gate.judge import judge
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.network_predictions import network_predictions
from fair_distill.gate.verdict import Finding

TINY = 1e-6
CLAUSES = {
    side: Limit.model_validate({"metric": metric, side: 0.25, "why": "a test"})
    for side, metric in (("at_most", "eo_diag_max"), ("at_least", "accuracy"))
}


def no_floor(metric: object) -> None:
    return None


def with_bounds(limit: Limit, *bounds: tuple[float, float]) -> Finding:
    """Decide a clause of as many networks as there are bounds: the lower and the upper one, at any level."""
    own = network_predictions(drawn([[0.9, 0.6], [0.8, 0.8]], 40, np.random.default_rng(0)), 0)
    measured = gather(limit, own, None)
    evidence = [
        replace(
            measured,
            values=np.full_like(measured.values, (low + high) / 2),
            lower=lambda alpha, low=low: np.full_like(measured.values, low),
            upper=lambda alpha, high=high: np.full_like(measured.values, high),
        )
        for low, high in bounds
    ]
    return decide(
        limit, PREDICTION_METRICS[limit.metric], evidence, [own] * len(bounds), [no_floor] * len(bounds), alpha=0.05
    )


@pytest.mark.parametrize("side", CLAUSES)
def test_a_finding_has_the_limit_of_its_clause_with_or_without_numbers(side: str) -> None:
    limit = CLAUSES[side]

    assert with_bounds(limit, (0.2, 0.4)).limit == 0.25
    assert undecided(limit, "network", "no reason").limit == 0.25


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.1, 0.25, "pass"),
        (0.1, 0.25 + TINY, "inconclusive"),
        (0.25, 0.4, "inconclusive"),
        (0.25 + TINY, 0.4, "fail"),
    ],
)
def test_a_ceiling_is_violated_by_a_lower_bound_above_it_and_satisfied_by_an_upper_bound_at_it(
    low: float, high: float, outcome: str
) -> None:
    assert with_bounds(CLAUSES["at_most"], (low, high)).outcome == outcome


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.25, 0.4, "pass"),
        (0.25 - TINY, 0.4, "inconclusive"),
        (0.1, 0.25, "inconclusive"),
        (0.1, 0.25 - TINY, "fail"),
    ],
)
def test_a_floor_is_violated_by_an_upper_bound_below_it_and_satisfied_by_a_lower_bound_at_it(
    low: float, high: float, outcome: str
) -> None:
    assert with_bounds(CLAUSES["at_least"], (low, high)).outcome == outcome


def test_a_culprit_of_calibration_shows_each_groups_mean_confidence_less_its_accuracy() -> None:
    counts = recalls_of([(9, 8), (6, 7)], 10)
    gate = Gate.model_validate(
        {"mode": "point", "limits": [{"metric": "calibration_gap", "at_most": 0.0, "why": "a test"}]}
    )
    predictions = predictions_of({(0, 0): counts})

    (finding,) = judge(predictions.to_parquet(), gate, context=b"{}", engine=1).findings
    (culprit,) = finding.culprits
    # Group 0 is right in 17 of 20 examples and group 1 in 13 of 20; both are 50 % sure.
    assert culprit.rates == pytest.approx((0.5 - 0.85, 0.5 - 0.65))
    assert culprit.examples == (20, 20)
    assert culprit.value == pytest.approx(0.2)
