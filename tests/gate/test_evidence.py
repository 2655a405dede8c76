"""Evidence of a clause: its values equal the metrics, its bounds contain them, and its selectors select."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_predictions import GAPS, comparisons_of, drawn, gather, lack_of_examples, measure, predictions_from

from fair_distill.config import Limit
from fair_distill.errors import ConfigError
from fair_distill.gate.bounds import level, minus, on_the_same
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.network_predictions import NetworkPredictions, network_predictions

ALPHA = 0.05
RATES = [[0.9, 0.7, 0.8], [0.6, 0.95, 0.9], [0.85, 0.8, 0.5]]


def some(*, paired: bool, seed: int = 0, of: int = 60, rates: Any = RATES) -> NetworkPredictions:
    return network_predictions(drawn(rates, of, np.random.default_rng(seed), paired=paired), 0)


def clause(metric: str, **more: Any) -> Limit:
    side = "at_most" if metric in GAPS else "at_least"
    return Limit.model_validate({"metric": metric, side: 0.5, "why": "a test", **more})


def value_of(limit: Limit, own: NetworkPredictions) -> float:
    comparisons = comparisons_of(limit, own.classes, own.groups)
    return PREDICTION_METRICS[limit.metric].value(own.table(), comparisons)


def test_an_unpaired_difference_is_bounded_as_two_samples() -> None:
    own = some(paired=False, rates=[[0.9, 0.7], [0.9, 0.7]], of=80)
    first, second = (
        level((own.predicted == own.labels)[:, (own.labels == 0) & (own.group_indices == g)][None].astype(float))
        for g in (0, 1)
    )

    found = gather(clause("eo_diag_max"), own, None)
    assert found.upper(ALPHA)[0] == pytest.approx(minus(first, second).upper(ALPHA)[0])


def by_group(own: NetworkPredictions, values: Any, label: int | None) -> tuple[Any, Any]:
    """Values (S, N) of each of two groups, of one class or of all."""
    first, second = (
        values[:, (own.group_indices == group) & ((own.labels == label) if label is not None else True)]
        for group in (0, 1)
    )
    return first, second


@pytest.mark.parametrize("paired", [False, True])
def test_a_rise_where_the_other_set_favours_the_other_group_is_bounded_as_the_sum_of_both_differences(
    paired: bool,
) -> None:
    # d = 0.6 and d' = -0.5: |d| - |d'| is d + d', twice the difference of the mean of both sets' answers.
    own, other = (
        network_predictions(drawn([rates, [0.8, 0.8]], 80, np.random.default_rng(seed), paired=paired, alike=1.0), 0)
        for seed, rates in enumerate(([0.9, 0.3], [0.4, 0.9]))
    )
    both = ((own.predicted == own.labels).astype(float) + (other.predicted == other.labels)) / 2
    first, second = by_group(own, both, 0)
    wanted = on_the_same((first - second)[None]) if paired else minus(level(first[None]), level(second[None]))

    found = gather(clause("eo_diag_max", over="full"), own, other)
    assert found.lower(ALPHA)[0] == pytest.approx(2 * wanted.lower(ALPHA)[0])
    assert found.upper(ALPHA)[0] == pytest.approx(2 * wanted.upper(ALPHA / 3)[0])


@pytest.mark.parametrize("paired", [False, True])
def test_a_difference_of_calibration_errors_is_bounded_as_one_of_values_from_minus_1_to_1(paired: bool) -> None:
    own = some(paired=paired, rates=[[0.9, 0.7], [0.6, 0.8]], of=80)
    assert own.probability is not None
    first, second = by_group(own, own.probability - (own.predicted == own.labels), None)
    if paired:
        halves = on_the_same((first - second)[None] / 2)
        low, high = 2 * halves.lower(ALPHA)[0], 2 * halves.upper(ALPHA)[0]
    else:
        apart = minus(level(first[None], lowest=-1), level(second[None], lowest=-1))
        low, high = apart.lower(ALPHA)[0], apart.upper(ALPHA)[0]

    found = gather(clause("calibration_gap"), own, None)
    assert found.upper(ALPHA)[0] == pytest.approx(max(high, -low))


def test_a_paired_difference_is_bounded_by_its_pairs() -> None:
    own = some(paired=True, rates=[[0.9, 0.7], [0.8, 0.8]], of=80)
    right = (own.predicted == own.labels)[:, own.labels == 0].astype(float)
    groups = own.group_indices[own.labels == 0]
    differences = right[:, groups == 0] - right[:, groups == 1]

    found = gather(clause("eo_diag_max"), own, None)
    wanted = on_the_same(differences[None])
    assert found.half_widths(ALPHA)[0][0] == pytest.approx(wanted.examples_above(ALPHA)[0])
    assert found.half_widths(ALPHA)[1][0] >= wanted.seeds_above(ALPHA)[0]
    loose = gather(clause("eo_diag_max"), some(paired=False, rates=[[0.9, 0.7], [0.8, 0.8]], of=80), None)
    assert found.half_widths(ALPHA)[0].max() < loose.half_widths(ALPHA)[0].max()


def test_one_place_a_rate_and_pair_of_groups() -> None:
    own = some(paired=False)

    assert len(gather(clause("eo_diag_max"), own, None).values) == 3 * 3
    assert len(gather(clause("eo_full_max"), own, None).values) == 9 * 3
    assert len(gather(clause("eo_ovr_max"), own, None).values) == 6 * 3
    assert len(gather(clause("dpd_max"), own, None).values) == 3 * 3
    assert len(gather(clause("worst_cell_accuracy"), own, None).values) == 9
    assert len(gather(clause("worst_group_accuracy"), own, None).values) == 3


def test_the_bound_of_a_mean_is_never_wider_than_the_mean_of_bounds_at_alpha_over_classes() -> None:
    for seed in range(5):
        for paired in (False, True):
            own = some(paired=paired, seed=seed)
            each = gather(clause("eo_diag_max"), own, None).upper(ALPHA / 3).reshape(3, 3).max(axis=1)

            assert gather(clause("eo_diag_mean"), own, None).upper(ALPHA)[0] < each.mean()


def test_copies_of_a_cluster_in_several_classes_make_the_mean_no_surer() -> None:
    apart = drawn([[0.95, 0.6]] * 4, 50, np.random.default_rng(1))
    columns = {name: column.reshape(3, 4, 2, 50) for name, column in apart.columns.items()}  # seed, class, group
    right = (columns["predicted"] == columns["label"])[:, :1]  # all classes are as class 0
    columns["predicted"] = np.where(right, columns["label"], (columns["label"] + 1) % 4)
    apart = replace(apart, columns={name: column.ravel() for name, column in columns.items()})
    of_class_0 = np.broadcast_to(columns["example"][:, :1], columns["example"].shape).ravel()
    together = replace(apart, columns=apart.columns | {"cluster": of_class_0, "pair": apart.columns["example"]})

    narrow, wide = (
        gather(clause("eo_diag_mean"), network_predictions(one, 0), None).half_widths(ALPHA)[0]
        for one in (apart, together)
    )
    assert wide[0] > 1.5 * narrow[0]


# ---- selectors ------------------------------------------------------------------------------------------------------


def test_a_clause_looks_at_the_classes_and_groups_it_names_alone() -> None:
    own = some(paired=False)
    recalls = own.table().recalls

    of_one = gather(clause("eo_diag_max", classes=["class2"], groups=["group0", "group2"]), own, None)
    assert of_one.value == pytest.approx(abs(recalls[0, 2] - recalls[2, 2]))
    worst = gather(clause("worst_cell_accuracy", classes=["class0", "class1"]), own, None)
    assert worst.value == pytest.approx(recalls[:, :2].min())
    accuracy = gather(clause("accuracy", groups=["group1"]), own, None)
    assert accuracy.value == pytest.approx(recalls[1].mean())


def test_against_the_rest_each_group_is_held_against_all_others_together() -> None:
    for paired in (False, True):
        own = some(paired=paired)
        recalls = own.table().recalls

        found = gather(clause("eo_diag_max", against="rest"), own, None)
        rest = (recalls.sum(axis=0) - recalls) / 2
        assert found.value == pytest.approx(np.abs(recalls - rest).max())
        assert len(found.values) == 9
        assert value_of(clause("eo_diag_max", against="rest"), own) == pytest.approx(found.value)


@pytest.mark.parametrize(("key", "names"), [("classes", ["class9"]), ("groups", ["group0", "group9"])])
def test_a_selector_that_matches_nothing_is_a_configuration_error(key: str, names: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"gate.limits: eo_diag_max of .*: unknown .* '.*9'; choose from"):
        comparisons_of(clause("eo_diag_max", **{key: names}), ["class0", "class1"], ["group0", "group1"])


# ---- too little -----------------------------------------------------------------------------------------------------


def test_what_lacks_evidence_most_is_named() -> None:
    labels = np.repeat([0, 0, 1, 1], [30, 9, 20, 30])
    groups = np.repeat([0, 1, 0, 1], [30, 9, 20, 30])
    own = network_predictions(predictions_from(np.tile(labels, (3, 1)), labels, groups), 0)
    limit = clause("eo_diag_max")

    assert lack_of_examples(limit, own, 9) is None
    assert (
        lack_of_examples(limit, own, 25) == "class 'class0' has 9 independent examples of group 'group1', 25 are needed"
    )
    accuracy = clause("accuracy")
    assert lack_of_examples(accuracy, own, 89) is None


def test_evidence_is_clusters_not_rows() -> None:
    labels, groups = np.zeros(40, int), np.repeat([0, 1], 20)
    own = network_predictions(
        predictions_from(np.tile(labels, (3, 1)), labels, groups, clusters=np.arange(40) // 10), 0
    )
    limit = clause("eo_diag_max")

    told = lack_of_examples(limit, own, 3)
    assert told == "class 'class0' has 2 independent examples of group 'group0', 3 are needed"


# ---- over another set -----------------------------------------------------------------------------------------------


def rise(own: NetworkPredictions, other: NetworkPredictions, **more: Any) -> Any:
    return gather(clause("eo_diag_max", over="full", **more), own, other)


@pytest.mark.parametrize("paired", [False, True])
def test_a_set_does_not_rise_over_itself(paired: bool) -> None:
    own = some(paired=paired)

    found = rise(own, own)
    assert found.value == pytest.approx(0, abs=1e-12)
    assert gather(clause("accuracy", over="full", at_least=0.0), own, own).value == 0


@pytest.mark.parametrize("paired", [False, True])
def test_the_largest_rise_of_a_gap_bounds_the_rise_of_the_largest_gap(paired: bool) -> None:
    for seed in range(10):
        own, other = some(paired=paired, seed=seed), some(paired=paired, seed=100 + seed, rates=RATES[::-1])

        gaps = [measure("eo_diag_max", one.table()).value or 0.0 for one in (own, other)]
        assert rise(own, other).value >= gaps[0] - gaps[1] - 1e-12
        assert rise(own, other).upper(ALPHA).max() >= rise(own, other).value


def test_a_gap_that_turns_round_is_no_rise() -> None:
    own = some(paired=True, rates=[[0.9, 0.85], [0.9, 0.9]], of=400)
    other = some(paired=True, rates=[[0.5, 0.9], [0.5, 0.9]], of=400, seed=1)

    found = rise(own, other)
    assert found.values[0] == pytest.approx(0.05 - 0.4, abs=0.06)
    assert found.upper(ALPHA)[0] < 0  # though d - d' itself is about 0.45


@pytest.mark.parametrize("paired", [False, True])
def test_a_rise_is_bounded_by_the_gap_itself_however_the_other_sets_networks_scatter(paired: bool) -> None:
    rng = np.random.default_rng(0)
    steady = network_predictions(drawn([[0.95, 0.95]] * 2, 200, rng, seeds=5, paired=paired), 0)
    # each of the other set's networks knows one group, and of the other next to nothing
    wild = replace(steady, predicted=np.where((steady.group_indices + np.arange(5)[:, None]) % 2, steady.predicted, 0))
    gap = gather(Limit(metric="eo_diag_max", at_most=0.3, why="x"), steady, None)
    rise = gather(Limit(metric="eo_diag_max", over="full", at_most=0.3, why="x"), steady, wild)

    assert rise.upper(0.05).max() <= gap.upper(0.05 / 3).max() + 1e-12
    assert (rise.upper(0.05) >= rise.values).all()
    examples, seeds = rise.half_widths(0.05)
    assert rise.centre is not None
    assert np.allclose(rise.centre(0.05) + np.hypot(examples, seeds), rise.upper(0.05), atol=0.02)


def test_a_rise_at_its_limit_is_shown_to_keep_it_no_more_often_than_alpha() -> None:
    # d is 0.2 and d' is 0.1, and the limit is their difference
    limit = Limit(metric="eo_diag_max", over="full", at_most=0.1, why="x", classes=("class0",))
    passed = 0
    for i in range(200):
        rng = np.random.default_rng(i)
        own, other = (
            network_predictions(drawn([[0.9, low], [0.9, 0.9]], 300, rng, seeds=3, alike=1.0), 0) for low in (0.7, 0.8)
        )
        passed += int(gather(limit, own, other).upper(0.05).max() <= 0.1)

    assert passed <= 10 + 3 * np.sqrt(10)  # of 200, with Monte-Carlo error


def test_uplift_is_paired_by_example() -> None:
    own, other = some(paired=True, of=200), some(paired=True, of=200)
    found = gather(clause("accuracy", over="balanced", at_least=0.0), own, other)

    # answered alike, so far surer than either accuracy
    alone = gather(clause("accuracy"), own, None)
    assert found.value - found.lower(ALPHA)[0] < (alone.value - alone.lower(ALPHA)[0]) / 2


@pytest.mark.parametrize("clustered", [False, True])
def test_cells_of_any_sizes_are_bounded_as_each_alone(clustered: bool) -> None:
    """Cells of equal size are taken in one pass; which go together is nobody's affair."""
    sizes = [7, 4, 7, 5, 4, 7]  # of class and group, in order
    label, group = (np.repeat(axis.ravel(), sizes) for axis in np.indices((2, 3)))
    rng, n = np.random.default_rng(0), sum(sizes)
    cluster = np.arange(n) - np.arange(n) % 2 if clustered else np.arange(n)
    own = replace(
        some(paired=False),
        classes=("0", "1"),
        groups=("a", "b", "c"),
        examples=np.arange(n),
        labels=label,
        group_indices=group,
        pairs=np.arange(n),
        clusters=np.unique(cluster, return_inverse=True)[1],
        predicted=rng.integers(0, 2, (3, n)),
        probability=np.ones((3, n)),
    )

    found = gather(Limit(metric="worst_cell_accuracy", at_least=0.1, why="x"), own, None)

    for place, value, low in zip(found.comparisons, found.values, found.lower(ALPHA), strict=True):
        at = (label == place.rate.true_classes[0]) & (group == place.first[0])
        alone = level((own.predicted == label)[None, :, at].astype(float), own.clusters[at])
        assert (value, low) == (alone.value[0], alone.lower(ALPHA)[0])
