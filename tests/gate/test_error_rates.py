"""Gaps in false positives and false negatives: against fairlearn, of one named class, in words and in a verdict."""

import numpy as np
import pytest
from small_predictions import comparisons_of, gather, measure, predictions_of, recalls_of
from test_metrics import named, random_rows

from fair_distill.config import Gate, Limit
from fair_distill.gate.judge import judge
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.network_predictions import network_predictions


def limit(metric: str, **keys: object) -> Limit:
    return Limit.model_validate({"metric": metric, "at_most": 0.1, "why": "a test", **keys})


@pytest.mark.parametrize("classes", [2, 4])
def test_the_gaps_of_a_named_class_are_fairlearns_differences(classes: int) -> None:
    from fairlearn.metrics import false_negative_rate_difference, false_positive_rate_difference

    rng = np.random.default_rng(classes)
    for _ in range(10):
        labels, groups, predicted = random_rows(rng, classes, 3, int(rng.integers(0, 80)))
        table = named(labels, groups, predicted, classes, 3)
        favourable = int(rng.integers(classes))

        for name, difference in (
            ("false_positive_gap", false_positive_rate_difference),
            ("false_negative_gap", false_negative_rate_difference),
        ):
            metric = PREDICTION_METRICS[name]
            selected = comparisons_of(limit(name, classes=[str(favourable)]), table.classes, table.groups)
            wanted = difference(labels == favourable, predicted == favourable, sensitive_features=groups)
            assert metric.value(table, selected) == pytest.approx(wanted)


def test_without_a_class_the_largest_gap_of_any_class_counts() -> None:
    rng = np.random.default_rng(3)
    for _ in range(10):
        table = named(*random_rows(rng, 4, 3, 60), 4, 3)

        for name in ("false_positive_gap", "false_negative_gap"):
            selected = [comparisons_of(limit(name, classes=[c]), table.classes, table.groups) for c in table.classes]
            each = [PREDICTION_METRICS[name].value(table, comparisons) for comparisons in selected]
            assert measure(name, table).value == pytest.approx(max(each))
        assert measure("false_negative_gap", table).value == pytest.approx(measure("eo_diag_max", table).value)


def test_false_positives_and_false_negatives_of_two_classes_change_places() -> None:
    own = network_predictions(predictions_of({(0, s): recalls_of([(35, 25), (30, 17)], 40) for s in range(3)}), 0)

    one = gather(limit("false_positive_gap", classes=["class0"]), own, None)
    other = gather(limit("false_negative_gap", classes=["class1"]), own, None)

    assert [one.value, other.value] == pytest.approx([8 / 40] * 2)
    np.testing.assert_allclose(one.upper(0.05), other.upper(0.05))


def test_a_verdict_states_the_error_rates_of_both_groups() -> None:
    counts = recalls_of([(35, 25), (35, 10)], 40)
    for name, cell, event in (
        ("false_negative_gap", "class1", "class 'class1' is missed"),
        ("false_positive_gap", "class0", "class 'class1' is taken for 'class0'"),
    ):
        clause = {"metric": name, "classes": [cell], "at_most": 0.1, "why": "a test"}
        policy = Gate.model_validate({"mode": "point", "limits": [clause]})

        (finding,) = judge(predictions_of({(0, 0): counts}).to_parquet(), policy, context=b"", engine=1).findings

        assert finding.outcome == "fail"
        assert finding.value == pytest.approx(15 / 40)
        (culprit,) = finding.culprits
        assert culprit.rates == pytest.approx((15 / 40, 30 / 40))
        assert culprit.sentence == (
            f"{event} in 37.5 % of 40 examples of group 'group0' and in 75.0 % of 40 examples of group 'group1'"
        )
