"""Balanced accuracy: against scikit-learn, rare classes, clusters of several classes, and the worst group."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from small_predictions import drawn, gather, measure, predictions_from, predictions_of
from test_metrics import named, random_rows

from fair_distill.config import Gate, Limit
from fair_distill.gate.bounds import level, stacked
from fair_distill.gate.judge import judge
from fair_distill.gate.mean_of_levels import mean_of_levels
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


def test_of_one_class_it_has_the_bounds_of_its_recall() -> None:
    own = network_predictions(drawn([[0.9, 0.7], [0.6, 0.8], [0.9, 0.9]], 40, np.random.default_rng(1)), 0)

    for metric, plain in (
        ("balanced_accuracy", "accuracy"),
        ("worst_group_balanced_accuracy", "worst_group_accuracy"),
    ):
        for treatment in ("normal", "given", "bounded"):
            judged = replace(own, treatment=treatment)
            balanced = gather(limit(metric, classes=["class1"]), judged, None)
            recall = gather(limit(plain, classes=["class1"]), judged, None)
            assert balanced.values == pytest.approx(recall.values)
            for alpha in (0.05, 0.001):
                assert balanced.lower(alpha) == pytest.approx(recall.lower(alpha))
                assert balanced.upper(alpha) == pytest.approx(recall.upper(alpha))


def test_with_equal_classes_the_bound_is_about_that_of_accuracy() -> None:
    own = network_predictions(drawn([[0.9, 0.9]] * 5, 200, np.random.default_rng(2)), 0)

    balanced, accuracy = (gather(limit(name), own, None) for name in ("balanced_accuracy", "accuracy"))

    assert balanced.value == pytest.approx(accuracy.value)
    distances = [float(each.value - each.lower(0.05)[0]) for each in (balanced, accuracy)]
    assert distances[0] == pytest.approx(distances[1], rel=0.05)


@pytest.mark.parametrize(
    ("sizes", "recall"), [((1000, 50), 0.966), ((400, 10), 0.86), ((*[1000] * 19, 50), 0.975)], ids=str
)
def test_a_rare_class_that_happens_to_be_all_right_does_not_pass_a_limit_at_its_recall(
    sizes: tuple[int, ...], recall: float
) -> None:
    """All examples are right with a probability of 18 to 28 %, so such sets must not pass at 5 %."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    own = network_predictions(predictions_from(labels[None], labels, np.arange(len(labels)) % 2), 0, "given")
    true = 1 - (1 - recall) / len(sizes)
    assert recall ** sizes[-1] > 0.15

    evidence = gather(limit("balanced_accuracy"), own, None)

    assert evidence.lower(0.05)[0] < true
    # No bound of the rare class alone is closer: 0.05 ** (1 / n) is the exact one.
    assert evidence.lower(0.05)[0] < 1 - (1 - 0.05 ** (1 / sizes[-1])) / len(sizes) + 0.005


def test_the_standard_error_is_that_of_a_mean_of_independent_rates() -> None:
    rng = np.random.default_rng(3)
    right = [(rng.random((1, 1, n)) < p).astype(float) for n, p in ((4000, 0.9), (3000, 0.5), (5000, 0.7))]
    each = stacked([level(of_class, treatment="given") for of_class in right])

    mean = mean_of_levels(each[None], clusters_are_shared=False)
    shared = mean_of_levels(each[None], clusters_are_shared=True)

    variances = [float(of_class.var(ddof=1) / of_class.size) for of_class in right]
    error, sum_of_errors = np.sqrt(sum(variances)) / 3, np.sqrt(variances).sum() / 3
    for alpha in (0.05, 0.01):
        z = norm.isf(alpha)
        assert mean.value - mean.lower(alpha) == pytest.approx(z * error, rel=0.03)
        assert mean.upper(alpha) - mean.value == pytest.approx(z * error, rel=0.03)
        assert shared.value - shared.lower(alpha) == pytest.approx(z * sum_of_errors, rel=0.03)
    assert mean.freedom[0] > 5000
    assert mean[:1].lower(0.05) == pytest.approx(mean.lower(0.05))


def test_examples_of_several_classes_in_one_cluster_are_not_independent_between_classes() -> None:
    own = network_predictions(drawn([[0.9, 0.9], [0.9, 0.9]], 100, np.random.default_rng(4)), 0)
    count = len(own.labels) // 2
    order = np.argsort(own.labels, kind="stable")
    clusters = np.empty(len(own.labels), dtype=np.int64)
    clusters[order] = np.tile(np.arange(count), 2)  # one example of each class
    spanning = replace(own, clusters=clusters)

    alone, together = (gather(limit("balanced_accuracy"), each, None) for each in (own, spanning))

    assert together.value == alone.value
    examples = [each.half_widths(0.05)[0][0] for each in (alone, together)]
    assert examples[1] == pytest.approx(np.sqrt(2) * examples[0], rel=0.1)


def test_scatter_of_networks_that_cancels_between_classes_costs_nothing() -> None:
    labels = np.repeat([0, 1], 100)
    answers = np.tile(labels, (4, 1))
    for seed, errors in enumerate((5, 10, 20, 25)):
        answers[seed, :errors] = 1
        answers[seed, 100 : 130 - errors] = 0  # 30 errors in all
    own = network_predictions(predictions_from(answers, labels, np.arange(200) % 2), 0)

    evidence = gather(limit("balanced_accuracy"), own, None)

    assert evidence.half_widths(0.05)[1][0] == pytest.approx(0, abs=1e-12)


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
