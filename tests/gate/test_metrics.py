"""Metrics against closed forms, against fairlearn and against a plain loop."""

import os
from typing import Any

import numpy as np
import pytest
from small_predictions import GAPS, measure

from fair_distill.errors import DataError
from fair_distill.gate.confusion import BINS, Confusion, Rate, confusion, mean_confusion
from fair_distill.gate.metrics import PREDICTION_METRICS

# Against fairlearn; `make test-gate` takes thousands, at 25 ms each.
CASES = int(os.environ.get("FAIR_DISTILL_CASES", "50"))
# G groups, C true classes, K predicted classes
FAIR = np.array([[[8, 2], [3, 7]], [[16, 4], [6, 14]]])  # the same rates in both groups
UNFAIR = np.array([[[10, 0], [5, 5]], [[6, 4], [1, 9]]])  # recalls 1, .5 and .6, .9


def table(counts: Any, sure: float = 0.5) -> Confusion:
    """Counts, each prediction with the probability `sure`."""
    counts = np.asarray(counts, dtype=float)
    groups, classes = counts.shape[:2]
    excess = np.zeros((groups, BINS))
    excess[:, int(sure * BINS)] = counts.sum(axis=(1, 2)) * sure - np.trace(counts, axis1=1, axis2=2)
    names = (tuple(f"group{i}" for i in range(groups)), tuple(f"class{i}" for i in range(classes)))
    return Confusion(counts, *names, counts.sum(axis=2) * sure, excess)


def values(of: Confusion, names: Any = PREDICTION_METRICS) -> dict[str, float | None]:
    return {name: measure(name, of).value for name in names}


def probabilities(labels: Any, groups: Any, predicted: Any) -> Any:
    """Some probability for each row, independent of its position."""
    return np.linspace(0, 1, 97)[(7 * labels + 5 * predicted + groups) % 97]


def random_rows(rng: np.random.Generator, classes: int, groups: int, n: int) -> tuple[Any, Any, Any]:
    """Labels, groups and predictions in which no cell is empty."""
    cells = np.concatenate([np.arange(classes * groups), rng.integers(0, classes * groups, n)])
    labels, of_groups = np.divmod(rng.permutation(cells), groups)
    lucky = rng.random(len(labels)) < rng.random()
    return labels, of_groups, np.where(lucky, labels, rng.integers(0, classes, len(labels)))


def named(labels: Any, groups: Any, predicted: Any, classes: int, of_groups: int) -> Confusion:
    names = [[str(i) for i in range(n)] for n in (classes, of_groups)]
    sure = probabilities(labels, groups, predicted)
    return confusion(labels, groups, predicted, classes=names[0], groups=names[1], probability=sure)


def test_equal_rates_have_no_gap_whatever_the_sizes() -> None:
    assert values(table(FAIR)) == pytest.approx(
        {
            "accuracy": 45 / 60,
            "worst_group_accuracy": 0.75,
            "worst_cell_accuracy": 0.7,
            "accuracy_over_majority": 45 / 60 - 30 / 60,
            "balanced_accuracy": 0.75,
            "worst_group_balanced_accuracy": 0.75,
            "selection_rate_ratio": 1.0,
            "calibration_error": 0.25,
            **dict.fromkeys(GAPS, 0.0),
            "calibration_gap": 0.0,
        },
        abs=1e-12,
    )


def test_gaps_are_largest_minus_smallest_recall_per_class() -> None:
    assert values(table(UNFAIR)) == pytest.approx(
        {
            "accuracy": 30 / 40,
            "worst_group_accuracy": 0.75,
            "worst_cell_accuracy": 0.5,
            "accuracy_over_majority": 30 / 40 - 20 / 40,
            "balanced_accuracy": 0.75,
            "worst_group_balanced_accuracy": 0.75,
            "selection_rate_ratio": 5 / 13,
            "calibration_error": 0.25,
            **dict.fromkeys(GAPS, 0.4),
            "dpd_max": 15 / 20 - 7 / 20,  # so often each group is called class 0
            "calibration_gap": 0.0,
        }
    )


def test_with_three_groups_the_middle_one_does_not_matter() -> None:
    low, high = UNFAIR[0], UNFAIR[1]
    middle = (low + high) // 2

    for name in ("eo_diag_max", "eo_diag_mean", "eo_full_max", "eo_ovr_max", "dpd_max", "worst_cell_accuracy"):
        assert measure(name, table([low, middle, high])) == measure(name, table([low, high]))


def test_which_wrong_class_was_predicted_does_not_matter_on_the_diagonal() -> None:
    one = table([[[5, 5, 0], [0, 9, 1], [0, 0, 10]], [[7, 0, 3], [1, 9, 0], [5, 5, 0]]])
    other = table([[[5, 0, 5], [1, 9, 0], [0, 0, 10]], [[7, 3, 0], [0, 9, 1], [0, 10, 0]]])

    sighted = ("eo_full_max", "eo_ovr_max", "dpd_max", "false_positive_gap", "selection_rate_ratio")
    blind = [name for name in PREDICTION_METRICS if name not in sighted]
    assert values(one, blind) == values(other, blind)
    assert values(one)["eo_diag_max"] == 1.0


def test_sending_groups_to_different_wrong_classes_is_a_gap_of_full_equalized_odds() -> None:
    counts = table([[[4, 6, 0], [0, 10, 0], [0, 0, 10]], [[4, 0, 6], [0, 10, 0], [0, 0, 10]]])

    assert measure("eo_diag_max", counts).value == 0
    assert measure("eo_full_max", counts).value == pytest.approx(0.6)
    assert measure("eo_ovr_max", counts).value == pytest.approx(6 / 20)


def test_a_group_that_is_never_right_has_accuracy_0_and_the_gap_is_the_others_recall() -> None:
    measured = values(table([[[10, 0], [0, 10]], [[0, 10], [10, 0]]]))

    assert measured == {
        "accuracy": 0.5,
        "worst_group_accuracy": 0.0,
        "worst_cell_accuracy": 0.0,
        "accuracy_over_majority": 0.0,
        "balanced_accuracy": 0.5,
        "worst_group_balanced_accuracy": 0.0,
        "selection_rate_ratio": 1.0,
        "calibration_error": 0.5,
        **dict.fromkeys(GAPS, 1.0),
        "dpd_max": 0.0,  # both groups are called either class equally often
        "calibration_gap": 0.0,  # one is 0.5 too unsure, the other 0.5 too sure
    }


def test_counts_are_of_group_then_true_then_predicted_class() -> None:
    counted = named(np.array([0, 0, 1, 2]), np.array([1, 1, 0, 1]), np.array([2, 2, 1, 0]), 3, 2)

    wanted = np.zeros((2, 3, 3))
    wanted[1, 0, 2], wanted[0, 1, 1], wanted[1, 2, 0] = 2, 1, 1
    assert np.array_equal(counted.counts, wanted)
    assert np.array_equal(counted.support, [[0, 1, 0], [2, 0, 1]])


def test_over_many_cases_gaps_of_two_classes_are_fairlearns_differences() -> None:
    # One frame, a case being a level of its control feature; equalized odds difference is the larger of two columns.
    from fairlearn.metrics import (  # type: ignore[import-untyped]
        MetricFrame,
        false_positive_rate,
        selection_rate,
        true_positive_rate,
    )

    rng = np.random.default_rng(0)
    drawn = [random_rows(rng, 2, int(rng.integers(2, 4)), int(rng.integers(0, 40))) for _ in range(CASES)]
    case = np.concatenate([np.full(len(labels), i) for i, (labels, _, _) in enumerate(drawn)])
    labels, groups, predicted = (np.concatenate([rows[i] for rows in drawn]) for i in range(3))
    rates = {"tpr": true_positive_rate, "fpr": false_positive_rate, "selection": selection_rate}

    frame = MetricFrame(
        metrics=rates, y_true=labels, y_pred=predicted, sensitive_features=groups, control_features=case
    )
    wanted = frame.difference(method="between_groups").to_numpy(dtype=float)

    for rows, (tpr, fpr, selection) in zip(drawn, wanted, strict=True):
        measured = values(named(*rows, 2, int(rows[1].max()) + 1))
        for name in ("eo_diag_max", "eo_full_max", "eo_ovr_max"):
            assert measured[name] == pytest.approx(max(tpr, fpr))
        assert measured["eo_diag_mean"] == pytest.approx((tpr + fpr) / 2)
        assert measured["dpd_max"] == pytest.approx(selection)


def test_for_two_classes_the_largest_gap_is_fairlearns_equalized_odds_difference() -> None:
    from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference

    rng = np.random.default_rng(0)
    for _ in range(20):
        groups = int(rng.integers(2, 5))
        labels, of_groups, predicted = random_rows(rng, 2, groups, int(rng.integers(0, 60)))

        odds = equalized_odds_difference(labels, predicted, sensitive_features=of_groups)
        parity = demographic_parity_difference(labels, predicted, sensitive_features=of_groups)

        measured = values(named(labels, of_groups, predicted, 2, groups))
        assert measured["eo_diag_max"] == pytest.approx(odds)
        assert measured["dpd_max"] == pytest.approx(parity)


def test_for_several_classes_one_against_rest_is_fairlearns_worst_over_classes() -> None:
    from fairlearn.metrics import equalized_odds_difference

    rng = np.random.default_rng(1)
    for _ in range(5):
        labels, of_groups, predicted = random_rows(rng, 4, 3, 80)

        wanted = max(
            equalized_odds_difference(labels == k, predicted == k, sensitive_features=of_groups) for k in range(4)
        )

        assert measure("eo_ovr_max", named(labels, of_groups, predicted, 4, 3)).value == pytest.approx(wanted)


def test_the_worst_group_is_fairlearns_smallest_accuracy() -> None:
    from fairlearn.metrics import MetricFrame

    def right(y_true: Any, y_pred: Any) -> float:
        return float(np.mean(np.asarray(y_true) == np.asarray(y_pred)))

    rng = np.random.default_rng(1)
    for _ in range(20):
        labels, of_groups, predicted = random_rows(rng, 4, 3, 50)

        frame = MetricFrame(metrics=right, y_true=labels, y_pred=predicted, sensitive_features=of_groups)

        measured = values(named(labels, of_groups, predicted, 4, 3))
        assert measured["accuracy"] == pytest.approx(frame.overall)
        assert measured["worst_group_accuracy"] == pytest.approx(frame.group_min())


def by_hand(labels: Any, groups: Any, predicted: Any) -> dict[str, float]:
    right, sure = predicted == labels, probabilities(labels, groups, predicted)
    kinds, classes = np.unique(groups), np.unique(labels)

    def gap(event: Any, where: Any) -> float:
        shares = [event[where & (groups == group)].mean() for group in kinds]
        return float(max(shares) - min(shares))

    def ratio(event: Any) -> float:
        shares = [event[groups == group].mean() for group in kinds]
        return float(min(shares) / max(shares)) if max(shares) else float("nan")

    def binned(where: Any) -> float:
        bins = np.minimum(np.floor(sure[where] * 10), 9)
        excess = (sure - right)[where]
        return float(sum(abs(excess[bins == b].sum()) for b in range(10)) / where.sum())

    diagonal = [gap(right, labels == c) for c in classes]
    false = [gap(predicted == k, labels != k) for k in classes]
    errors = [abs(sure[groups == group].mean() - right[groups == group].mean()) for group in kinds]
    return {
        "accuracy": right.mean(),
        "worst_group_accuracy": min(right[groups == group].mean() for group in kinds),
        "worst_cell_accuracy": min(right[(labels == c) & (groups == group)].mean() for c in classes for group in kinds),
        "eo_diag_max": max(diagonal),
        "eo_diag_mean": sum(diagonal) / len(diagonal),
        "eo_full_max": max(gap(predicted == k, labels == c) for c in classes for k in classes),
        "eo_ovr_max": max(diagonal + false),
        "false_positive_gap": max(false),
        "false_negative_gap": max(gap(~right, labels == c) for c in classes),
        "balanced_accuracy": np.mean([right[labels == c].mean() for c in classes]),
        "worst_group_balanced_accuracy": min(
            np.mean([right[(labels == c) & (groups == group)].mean() for c in classes]) for group in kinds
        ),
        "selection_rate_ratio": min(ratio(predicted == k) for k in classes),
        "calibration_error": max(binned(groups == group) for group in kinds),
        "accuracy_over_majority": right.mean() - max((labels == c).mean() for c in classes),
        "dpd_max": max(gap(predicted == k, labels >= 0) for k in classes),
        "calibration_gap": max(errors) - min(errors),
    }


def test_every_metric_is_what_a_plain_loop_over_rows_gives() -> None:
    rng = np.random.default_rng(2)
    for _ in range(150):
        classes, groups = (int(n) for n in rng.integers(2, 6, 2))
        rows = random_rows(rng, classes, groups, int(rng.integers(0, 200)))

        wanted = {name: None if np.isnan(value) else value for name, value in by_hand(*rows).items()}
        assert values(named(*rows, classes, groups)) == pytest.approx(wanted)


@pytest.mark.parametrize("name", PREDICTION_METRICS)
def test_the_order_of_rows_and_the_names_of_groups_and_classes_change_nothing(name: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        labels, groups, predicted = random_rows(rng, 4, 3, 100)
        straight = measure(name, named(labels, groups, predicted, 4, 3))

        order = rng.permutation(len(labels))
        shuffled = measure(name, named(labels[order], groups[order], predicted[order], 4, 3))
        assert shuffled.value == pytest.approx(straight.value, abs=1e-12)
        if name.startswith("calibration"):  # `probabilities` are made of the names
            continue
        of_groups, of_classes = rng.permutation(3), rng.permutation(4)
        relabelled = measure(name, named(of_classes[labels], of_groups[groups], of_classes[predicted], 4, 3))
        assert relabelled.value == pytest.approx(straight.value, abs=1e-12)


@pytest.mark.parametrize("name", PREDICTION_METRICS)
def test_repeating_every_example_changes_nothing(name: str) -> None:
    assert measure(name, table(UNFAIR * 7)).value == pytest.approx(measure(name, table(UNFAIR)).value)


@pytest.mark.parametrize("name", PREDICTION_METRICS)
def test_an_empty_cell_is_no_rate_and_says_which_cell_it_is(name: str) -> None:
    counts = UNFAIR.copy()
    counts[1, 0] = 0

    measured = measure(name, table(counts))

    if PREDICTION_METRICS[name].needs == "examples":  # it does not look into cells
        wanted = {"accuracy": (10 + 5 + 9) / 30, "accuracy_over_majority": (10 + 5 + 9) / 30 - 20 / 30}
        assert (measured.value, measured.reason) == (pytest.approx(wanted[name]), None)
    elif PREDICTION_METRICS[name].needs == "groups":  # nor does this one, but into groups
        assert measured.value is not None
        counts[1] = 0
        assert measure(name, table(counts)).reason == "group 'group1' has no examples to measure on"
    else:
        assert measured.value is None
        assert measured.reason == "class 'class0' has no examples of group 'group1' to measure on"


@pytest.mark.parametrize("name", PREDICTION_METRICS)
def test_nothing_at_all_is_no_measurement(name: str) -> None:
    measured = measure(name, table(np.zeros((2, 2, 2))))

    assert measured.value is None
    assert measured.reason


def test_the_rate_of_an_empty_cell_is_nan_and_no_number() -> None:
    counts = UNFAIR.copy()
    counts[1, 0] = 0

    assert np.isnan(table(counts).recalls).tolist() == [[False, False], [True, False]]


def test_averaging_runs_averages_their_rates() -> None:
    other = UNFAIR[::-1].copy()

    mean = mean_confusion([table(UNFAIR), table(other)])

    np.testing.assert_allclose(mean.recalls, (table(UNFAIR).recalls + table(other).recalls) / 2)
    assert measure("eo_diag_max", mean).value == pytest.approx(0)  # the gaps had opposite signs
    assert values(mean_confusion([table(UNFAIR)])) == values(table(UNFAIR))


@pytest.mark.parametrize(
    ("which", "bad", "says"),
    [
        (0, 2, "a label is outside 0 to 1"),
        (1, 3, "a group is outside 0 to 2"),
        (2, -1, "a prediction is outside"),
    ],
)
def test_indices_outside_the_names_are_refused(which: int, bad: int, says: str) -> None:
    rows = [np.array([0, 1, 1]), np.array([0, 1, 2]), np.array([0, 1, 1])]
    rows[which][1] = bad

    with pytest.raises(DataError, match=says):
        named(rows[0], rows[1], rows[2], 2, 3)


@pytest.mark.parametrize("name", PREDICTION_METRICS)
def test_every_metric_lies_in_its_range(name: str) -> None:
    rng = np.random.default_rng(4)
    metric = PREDICTION_METRICS[name]

    drawn = [metric.value(named(*random_rows(rng, 3, 2, 30), 3, 2)) for _ in range(100)]
    assert metric.lowest <= min(drawn) <= max(drawn) <= 1


def test_without_probabilities_calibration_is_not_measured() -> None:
    blind = Confusion(UNFAIR.astype(float), ("a", "b"), ("0", "1"))

    assert measure("calibration_gap", blind).reason == "the predictions come without probabilities"


def test_calibration_is_how_much_further_confidence_lies_from_accuracy() -> None:
    counts = [[[8, 2], [2, 8]], [[6, 4], [4, 6]]]  # accuracies .8 and .6

    assert measure("calibration_gap", table(counts, sure=0.9)).value == pytest.approx(0.3 - 0.1)
    assert measure("calibration_gap", table(counts, sure=0.7)).value == pytest.approx(0.0)


@pytest.mark.parametrize("name", [name for name in GAPS if name != "calibration_gap"])
def test_every_gap_is_the_gap_of_the_rates_it_names(name: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        of = named(*random_rows(rng, 4, 3, 100), 4, 3)

        rates = of.rates_of_groups(PREDICTION_METRICS[name].rates(range(4), 4))
        gaps = rates.max(axis=1) - rates.min(axis=1)
        assert measure(name, of).value == pytest.approx(gaps.mean() if name.endswith("mean") else gaps.max())


def test_a_rate_says_in_words_what_happens() -> None:
    classes = ("cat", "dog", "cow")

    said = [
        Rate(of, says).sentence(classes)
        for of, says in (((0,), 0), ((0,), 2), ((0, 1), 2), ((0, 1, 2), 1), ((0, 1, 2), None))
    ]
    assert said == [
        "class 'cat' is recognised",
        "class 'cat' is taken for 'cow'",
        "another class is taken for 'cow'",
        "class 'dog' is predicted",
        "the class is predicted right",
    ]
