"""Balanced accuracy: against scikit-learn, weights of examples, and the worst group."""

import numpy as np
import pytest
from small_predictions import drawn, gather, measure, predictions_from, predictions_of
from test_metrics import named, random_rows

from fair_distill.config import Gate, Limit
from fair_distill.gate.bounds import level
from fair_distill.gate.judge import judge
from fair_distill.gate.network_predictions import network_predictions


def limit(metric: str, **keys: object) -> Limit:
    return Limit.model_validate({"metric": metric, "at_least": 0.8, "why": "a test", **keys})


def test_the_value_is_scikit_learns_balanced_accuracy() -> None:
    from sklearn.metrics import balanced_accuracy_score

    rng = np.random.default_rng(0)
    for _ in range(20):
        labels, groups, predicted = random_rows(rng, 4, 3, int(rng.integers(0, 100)))
        of = named(labels, groups, predicted, 4, 3)

        each = [balanced_accuracy_score(labels[groups == g], predicted[groups == g]) for g in range(3)]
        assert measure("balanced_accuracy", of).value == pytest.approx(balanced_accuracy_score(labels, predicted))
        assert measure("worst_group_balanced_accuracy", of).value == pytest.approx(min(each))


def test_with_equal_classes_it_is_accuracy_with_the_same_bounds() -> None:
    own = network_predictions(drawn([[0.9, 0.7], [0.6, 0.8], [0.9, 0.9]], 40, np.random.default_rng(1)), 0)

    for metric, plain in (
        ("balanced_accuracy", "accuracy"),
        ("worst_group_balanced_accuracy", "worst_group_accuracy"),
    ):
        balanced, accuracy = gather(limit(metric), own, None), gather(limit(plain), own, None)
        assert balanced.values == pytest.approx(accuracy.values)
        assert balanced.lower(0.05) == pytest.approx(accuracy.lower(0.05))
        assert balanced.upper(0.05) == pytest.approx(accuracy.upper(0.05))


def test_an_example_of_weight_3_is_a_cluster_of_3_equal_examples() -> None:
    rng = np.random.default_rng(2)
    outcomes = (rng.random((2, 4, 50)) < 0.8).astype(float)
    weights = rng.integers(1, 5, 50)
    copies = np.repeat(np.arange(50), weights)

    weighted = level(outcomes, weights=weights.astype(float))
    repeated = level(outcomes[..., copies], copies)

    assert weighted.value == pytest.approx(repeated.value)
    for alpha in (0.05, 0.001):
        assert weighted.upper(alpha) == pytest.approx(repeated.upper(alpha))
        assert weighted.lower(alpha) == pytest.approx(repeated.lower(alpha))
    # With clusters of examples of different weights.
    clusters = np.arange(50) // 3
    both = level(outcomes, clusters, weights=weights.astype(float))
    assert both.lower(0.05) == pytest.approx(level(outcomes[..., copies], clusters[copies]).lower(0.05))
    assert level(outcomes, weights=weights / 7).lower(0.05) == pytest.approx(weighted.lower(0.05))


def test_a_rare_class_decides_how_certain_the_mean_is() -> None:
    def bound(rare: int) -> float:
        labels = np.repeat([0, 1], (1000, rare))
        answers = np.tile(labels, (3, 1))
        answers[:, ::10] = 1 - answers[:, ::10]
        own = network_predictions(predictions_from(answers, labels, np.arange(len(labels)) % 2), 0)
        evidence = gather(limit("balanced_accuracy"), own, None)
        return float(evidence.value - evidence.lower(0.05)[0])

    assert bound(20) > 2 * bound(200) > 2 * bound(1000)


def test_a_verdict_names_the_class_with_the_smallest_recall() -> None:
    counts = [[[45, 5], [20, 30]], [[50, 0], [6, 4]]]
    clauses = [limit(name).model_dump() for name in ("balanced_accuracy", "worst_group_balanced_accuracy")]
    policy = Gate.model_validate({"mode": "point", "limits": clauses})

    both, worst = judge(predictions_of({(0, 0): counts}).to_parquet(), policy, context=b"", engine=1).findings

    assert both.value == pytest.approx((95 / 100 + 34 / 60) / 2)
    assert worst.value == pytest.approx((50 / 50 + 4 / 10) / 2)
    assert both.culprits[0].sentence == (
        "the mean recall of 2 classes is 75.8 % in all groups; class 'class1' is recognised in 56.7 % of 60 examples "
        "of all groups"
    )
    assert [culprit.groups for culprit in worst.culprits] == [(("group1",),), (("group0",),)]
    assert worst.culprits[0].examples == (60,)


def test_selected_classes_are_averaged() -> None:
    counts = [[[45, 5, 0], [20, 30, 0], [0, 0, 10]]] * 2
    own = network_predictions(predictions_of({(0, s): counts for s in range(2)}), 0)

    evidence = gather(limit("balanced_accuracy", classes=["class0", "class1"]), own, None)

    assert evidence.value == pytest.approx((0.9 + 0.6) / 2)
