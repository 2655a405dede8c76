"""Metrics against closed forms, against fairlearn and against a plain loop."""

from typing import Any

import numpy as np
import pytest

from fair_distill.errors import DataError
from fair_distill.gate.metrics import METRICS, Confusion, confusion, mean_confusion, measure

# G groups, C true classes, K predicted classes
NAMES = ("accuracy", "worst_group_accuracy", "worst_cell_accuracy", "eo_diag_max", "eo_diag_mean")
FAIR = np.array([[[8, 2], [3, 7]], [[16, 4], [6, 14]]])  # the same rates in both groups
UNFAIR = np.array([[[10, 0], [5, 5]], [[6, 4], [1, 9]]])  # recalls 1, .5 and .6, .9


def table(counts: Any) -> Confusion:
    counts = np.asarray(counts, dtype=float)
    groups, classes = counts.shape[:2]
    return Confusion(counts, tuple(f"group{i}" for i in range(groups)), tuple(f"class{i}" for i in range(classes)))


def values(of: Confusion) -> dict[str, float | None]:
    return {name: measure(name, of).value for name in NAMES}


def random_rows(rng: np.random.Generator, classes: int, groups: int, n: int) -> tuple[Any, Any, Any]:
    """Labels, groups and predictions in which no cell is empty."""
    cells = np.concatenate([np.arange(classes * groups), rng.integers(0, classes * groups, n)])
    labels, of_groups = np.divmod(rng.permutation(cells), groups)
    lucky = rng.random(len(labels)) < rng.random()
    return labels, of_groups, np.where(lucky, labels, rng.integers(0, classes, len(labels)))


def named(labels: Any, groups: Any, predicted: Any, classes: int, of_groups: int) -> Confusion:
    names = [[str(i) for i in range(n)] for n in (classes, of_groups)]
    return confusion(labels, groups, predicted, classes=names[0], group_names=names[1])


def test_equal_rates_have_no_gap_whatever_the_sizes() -> None:
    assert values(table(FAIR)) == pytest.approx(
        {
            "accuracy": 45 / 60,
            "worst_group_accuracy": 0.75,
            "worst_cell_accuracy": 0.7,
            "eo_diag_max": 0.0,
            "eo_diag_mean": 0.0,
        },
        abs=1e-12,
    )


def test_gaps_are_largest_minus_smallest_recall_per_class() -> None:
    assert values(table(UNFAIR)) == pytest.approx(
        {
            "accuracy": 30 / 40,
            "worst_group_accuracy": 0.75,
            "worst_cell_accuracy": 0.5,
            "eo_diag_max": 0.4,
            "eo_diag_mean": 0.4,
        }
    )


def test_with_three_groups_the_middle_one_does_not_matter() -> None:
    low, high = UNFAIR[0], UNFAIR[1]
    middle = (low + high) // 2

    for name in ("eo_diag_max", "eo_diag_mean", "worst_cell_accuracy"):
        assert measure(name, table([low, middle, high])) == measure(name, table([low, high]))


def test_which_wrong_class_was_predicted_does_not_matter() -> None:
    one = table([[[5, 5, 0], [0, 9, 1], [0, 0, 10]], [[7, 0, 3], [1, 9, 0], [5, 5, 0]]])
    other = table([[[5, 0, 5], [1, 9, 0], [0, 0, 10]], [[7, 3, 0], [0, 9, 1], [0, 10, 0]]])

    assert values(one) == values(other)
    assert values(one)["eo_diag_max"] == 1.0


def test_a_group_that_is_never_right_has_accuracy_0_and_the_gap_is_the_others_recall() -> None:
    measured = values(table([[[10, 0], [0, 10]], [[0, 10], [10, 0]]]))

    assert measured == {
        "accuracy": 0.5,
        "worst_group_accuracy": 0.0,
        "worst_cell_accuracy": 0.0,
        "eo_diag_max": 1.0,
        "eo_diag_mean": 1.0,
    }


def test_counts_are_of_group_then_true_then_predicted_class() -> None:
    counted = named(np.array([0, 0, 1, 2]), np.array([1, 1, 0, 1]), np.array([2, 2, 1, 0]), 3, 2)

    wanted = np.zeros((2, 3, 3))
    wanted[1, 0, 2], wanted[0, 1, 1], wanted[1, 2, 0] = 2, 1, 1
    assert np.array_equal(counted.counts, wanted)
    assert np.array_equal(counted.support, [[0, 1, 0], [2, 0, 1]])


def test_for_two_classes_the_largest_gap_is_fairlearns_equalized_odds_difference() -> None:
    from fairlearn.metrics import equalized_odds_difference  # type: ignore[import-untyped]

    rng = np.random.default_rng(0)
    for _ in range(60):
        groups = int(rng.integers(2, 5))
        labels, of_groups, predicted = random_rows(rng, 2, groups, int(rng.integers(0, 60)))

        wanted = equalized_odds_difference(labels, predicted, sensitive_features=of_groups)

        assert measure("eo_diag_max", named(labels, of_groups, predicted, 2, groups)).value == pytest.approx(wanted)


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
    right = predicted == labels
    gaps, recalls = [], []
    for label in np.unique(labels):
        of_class = [right[(labels == label) & (groups == group)].mean() for group in np.unique(groups)]
        gaps.append(max(of_class) - min(of_class))
        recalls += of_class
    return {
        "accuracy": right.mean(),
        "worst_group_accuracy": min(right[groups == group].mean() for group in np.unique(groups)),
        "worst_cell_accuracy": min(recalls),
        "eo_diag_max": max(gaps),
        "eo_diag_mean": sum(gaps) / len(gaps),
    }


def test_every_metric_is_what_a_plain_loop_over_rows_gives() -> None:
    rng = np.random.default_rng(2)
    for _ in range(300):
        classes, groups = (int(n) for n in rng.integers(2, 6, 2))
        rows = random_rows(rng, classes, groups, int(rng.integers(0, 200)))

        assert values(named(*rows, classes, groups)) == pytest.approx(by_hand(*rows))


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_rows_and_the_names_of_groups_and_classes_change_nothing(name: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        labels, groups, predicted = random_rows(rng, 4, 3, 100)
        straight = measure(name, named(labels, groups, predicted, 4, 3))

        order = rng.permutation(len(labels))
        assert measure(name, named(labels[order], groups[order], predicted[order], 4, 3)) == straight
        of_groups, of_classes = rng.permutation(3), rng.permutation(4)
        relabelled = measure(name, named(of_classes[labels], of_groups[groups], of_classes[predicted], 4, 3))
        assert relabelled.value == pytest.approx(straight.value, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_repeating_every_example_changes_nothing(name: str) -> None:
    assert measure(name, table(UNFAIR * 7)).value == pytest.approx(measure(name, table(UNFAIR)).value)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_cell_is_no_rate_and_says_which_cell_it_is(name: str) -> None:
    counts = UNFAIR.copy()
    counts[1, 0] = 0

    measured = measure(name, table(counts))

    if name == "accuracy":  # it does not look into cells
        assert (measured.value, measured.reason) == ((10 + 5 + 9) / 30, None)
    else:
        assert measured.value is None
        assert measured.reason == "class 'class0' has no examples of group 'group1' to measure on"


@pytest.mark.parametrize("name", NAMES)
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
    assert measure("eo_diag_max", mean).value == pytest.approx(0)  # the gaps lay in opposite directions
    assert values(mean_confusion([table(UNFAIR)])) == values(table(UNFAIR))


@pytest.mark.parametrize(
    ("which", "bad", "says"),
    [
        (0, 2, "a label lies outside 0 to 1"),
        (1, 3, "a group lies outside 0 to 2"),
        (2, -1, "a prediction lies outside"),
    ],
)
def test_indices_outside_the_names_are_refused(which: int, bad: int, says: str) -> None:
    rows = [np.array([0, 1, 1]), np.array([0, 1, 2]), np.array([0, 1, 1])]
    rows[which][1] = bad

    with pytest.raises(DataError, match=says):
        named(rows[0], rows[1], rows[2], 2, 3)


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_lies_between_0_and_1(name: str) -> None:
    rng = np.random.default_rng(4)

    assert all(0 <= METRICS[name](named(*random_rows(rng, 3, 2, 30), 3, 2)) <= 1 for _ in range(100))
