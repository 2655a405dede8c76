"""The label errors that would change a pass: closed forms, and a simulation in which true labels are known."""

import numpy as np
import pytest
from small_predictions import predictions_from, predictions_of, recalls_of

from fair_distill.config import Gate
from fair_distill.gate.judge import judge
from fair_distill.gate.label_noise import (
    critical_rate_sentences,
    critical_rates,
    without_label_errors,
)
from fair_distill.gate.network_predictions import network_predictions
from fair_distill.gate.predictions import Predictions


def policy(*limits: dict[str, object]) -> Gate:
    return Gate.model_validate({"mode": "point", "limits": [{"why": "a test", **limit} for limit in limits]})


def rates_of(predictions: Predictions, gate: Gate) -> dict[str, float | None]:
    verdict = judge(predictions.to_parquet(), gate, context=b"", engine=1)
    assert verdict.outcome == "pass"
    networks = [network_predictions(predictions, number) for number in range(len(predictions.networks))]
    return {each.group: each.rate for each in critical_rates(verdict, gate, networks, {})[0]}


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_correction_inverts_random_label_errors(classes: int) -> None:
    rng = np.random.default_rng(classes)
    true = rng.uniform(5, 100, (classes, classes))
    rate = 0.1
    errors = np.full((classes, classes), rate / (classes - 1))
    np.fill_diagonal(errors, 1 - rate)

    corrected = without_label_errors(errors @ true, rate)

    np.testing.assert_allclose(corrected, true)
    np.testing.assert_allclose(without_label_errors(true, 0.0), true)


def test_more_errors_than_the_predictions_allow_make_no_negative_counts() -> None:
    corrected = without_label_errors(np.array([[100.0, 1.0], [0.0, 99.0]]), 0.2)

    assert (corrected >= 0).all()
    np.testing.assert_allclose(corrected.sum(axis=0), [100, 100])


def test_errors_of_the_better_group_hide_a_gap() -> None:
    """Recalls 0.9 and 0.8: only a true recall above 0.92 in the first group would violate the limit."""
    predictions = predictions_of({(0, 0): recalls_of([(900, 900), (800, 800)], 1000)})
    gate = policy({"metric": "eo_diag_max", "at_most": 0.12})

    rates = rates_of(predictions, gate)

    # With equal classes the true recall is (r - e) / (1 - 2 e), which is 0.92 for e = 0.02 / 0.84.
    assert rates["group0"] == pytest.approx(0.02 / 0.84, abs=1e-4)
    assert rates["group1"] is None  # the true recall of the worse group can only be higher


def test_accuracy_is_never_too_high_because_of_random_errors() -> None:
    predictions = predictions_of({(0, 0): recalls_of([(900, 900), (850, 850)], 1000)})

    assert rates_of(predictions, policy({"metric": "accuracy", "at_least": 0.87})) == {"group0": None, "group1": None}


def test_clauses_that_do_not_depend_on_labels_alone_are_named() -> None:
    predictions = predictions_of({(0, 0): recalls_of([(900, 900), (850, 850)], 1000)})
    gate = policy({"metric": "eo_diag_max", "at_most": 0.5}, {"metric": "calibration_gap", "at_most": 1.0})
    verdict = judge(predictions.to_parquet(), gate, context=b"", engine=1)

    rates, skipped = critical_rates(verdict, gate, [network_predictions(predictions, 0)], {})

    assert skipped == ["calibration_gap"]
    assert critical_rate_sentences(rates, skipped)[-1] == "label errors: not considered for calibration_gap"


def test_the_bound_is_compared_with_the_limit_and_not_the_value() -> None:
    counts = {(0, seed): recalls_of([(900, 900), (880, 880)], 1000) for seed in range(5)}
    predictions = predictions_of(counts)
    limit = {"metric": "eo_diag_max", "at_most": 0.08}
    bounds = Gate.model_validate(
        {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 2, "minimum_per_cell": 2, "limits": [{**limit, "why": "x"}]}
    )

    by_value, by_bound = (rates_of(predictions, gate)["group0"] for gate in (policy(limit), bounds))

    assert by_value is not None
    assert by_bound is not None
    assert by_bound < by_value


def test_a_set_whose_gap_is_hidden_by_label_errors_has_a_critical_rate_below_their_rate() -> None:
    """A simulation: the true gap is over the limit, and 6 % of the labels of the better group are flipped."""
    rng = np.random.default_rng(0)
    n, flipped, limit = 40_000, 0.06, 0.12
    labels, groups = rng.integers(0, 2, n), rng.integers(0, 2, n)
    recall = np.where(groups == 0, 0.95, 0.80)
    answers = np.where(rng.random(n) < recall, labels, 1 - labels)
    given = np.where((groups == 0) & (rng.random(n) < flipped), 1 - labels, labels)
    gate = policy({"metric": "eo_diag_max", "at_most": limit})

    true = judge(predictions_from([answers], labels, groups).to_parquet(), gate, context=b"", engine=1)
    measured = predictions_from([answers], given, groups)
    rates = rates_of(measured, gate)

    assert true.outcome == "fail"
    assert rates["group0"] is not None
    assert 0 < rates["group0"] < flipped
    assert rates["group1"] is None
    # Errors at the critical rate alone move the true rates to the limit: 0.95 - e 0.90 against 0.80 + limit.
    table = network_predictions(measured, 0).table()
    corrected = without_label_errors(table.counts[0], rates["group0"])
    recalls = np.diagonal(corrected) / corrected.sum(axis=1)
    assert recalls.max() - table.recalls[1].min() == pytest.approx(limit, abs=0.01)
