"""Accuracy over the majority class: against scikit-learn's constant classifier, with ties, and below 0."""

import numpy as np
import pytest
from small_predictions import drawn, gather, predictions_from, predictions_of
from test_metrics import named, random_rows

from fair_distill.config import Gate, Limit
from fair_distill.gate.judge import judge
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.network_predictions import network_predictions

NAME = "accuracy_over_majority"
METRIC = PREDICTION_METRICS[NAME]


def limit(at_least: float = 0.1, **keys: object) -> Limit:
    return Limit.model_validate({"metric": NAME, "at_least": at_least, "why": "a test", **keys})


def test_the_value_is_accuracy_minus_that_of_a_constant_classifier() -> None:
    from sklearn.dummy import DummyClassifier
    from sklearn.metrics import accuracy_score

    rng = np.random.default_rng(0)
    for _ in range(20):
        labels, groups, predicted = random_rows(rng, 4, 2, int(rng.integers(0, 80)))
        constant = DummyClassifier(strategy="most_frequent").fit(labels, labels).predict(labels)

        wanted = accuracy_score(labels, predicted) - accuracy_score(labels, constant)
        assert METRIC.value(named(labels, groups, predicted, 4, 2)) == pytest.approx(wanted)


def test_every_class_is_a_candidate_for_the_majority_of_the_population() -> None:
    own = network_predictions(drawn([[0.9, 0.7], [0.6, 0.8]], 50, np.random.default_rng(0)), 0)

    evidence = gather(limit(), own, None)

    assert len(evidence.values) == 2  # the classes are equally frequent, so either may be the majority
    assert evidence.values == pytest.approx([evidence.value] * 2)
    assert evidence.lower(0.05).min() < evidence.value


def test_the_bound_is_the_paired_bound_and_not_that_of_accuracy_alone() -> None:
    """If the networks predict the majority class only, the difference is 0 for every example, without uncertainty."""
    labels = np.repeat([0, 1], (90, 10))
    constant = network_predictions(predictions_from(np.zeros((3, 100), dtype=int), labels, np.arange(100) % 2), 0)

    evidence = gather(limit(), constant, None)

    assert evidence.values == pytest.approx([0.0, 0.8])
    accuracy = gather(Limit.model_validate({"metric": "accuracy", "at_least": 0.1, "why": "a test"}), constant, None)
    assert 0 > evidence.lower(0.05)[0] > accuracy.lower(0.05)[0] - accuracy.value


def test_a_selected_group_is_compared_with_its_own_majority() -> None:
    counts = [[[30, 0], [5, 5]], [[2, 8], [0, 30]]]
    own = network_predictions(predictions_of({(0, s): counts for s in range(2)}), 0)

    assert gather(limit(groups=["group0"]), own, None).value == pytest.approx(35 / 40 - 30 / 40)
    assert gather(limit(groups=["group1"]), own, None).value == pytest.approx(32 / 40 - 30 / 40)


def test_networks_that_are_worse_than_a_constant_have_a_value_and_a_bound_below_0() -> None:
    counts = [[[30, 60], [5, 5]], [[30, 60], [0, 10]]]
    keys = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 2, "minimum_per_cell": 2}
    policy = Gate.model_validate({**keys, "limits": [limit(0.0).model_dump()]})
    predictions = predictions_of({(0, s): counts for s in range(3)}).to_parquet()

    verdict = judge(predictions, policy, context=b"", engine=1)

    (finding,) = verdict.findings
    assert (finding.outcome, finding.value) == ("fail", pytest.approx(75 / 200 - 180 / 200))
    assert finding.bound is not None
    assert finding.bound < finding.value < 0
    assert finding.culprits[0].sentence == (
        "the class is predicted right in 37.5 % of 200 examples of all groups, and class 'class0' is 90.0 % of them"
    )
    assert verdict.warnings == ()  # a limit of 0 can be violated


def test_a_limit_below_0_decides_how_much_worse_than_a_constant_networks_may_be() -> None:
    counts = [[[85, 5], [5, 5]], [[83, 7], [5, 5]]]
    predictions = predictions_of({(0, s): counts for s in range(3)}).to_parquet()
    keys = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 2, "minimum_per_cell": 2}

    outcomes = {}
    for at_least in (0.0, -0.2):
        policy = Gate.model_validate({**keys, "limits": [limit(at_least).model_dump()]})
        (finding,) = judge(predictions, policy, context=b"", engine=1).findings
        assert finding.value == pytest.approx(178 / 200 - 180 / 200)
        outcomes[at_least] = finding.outcome

    assert outcomes == {0.0: "inconclusive", -0.2: "pass"}
