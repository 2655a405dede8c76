"""The gate passes as many sets as the plan says, and the plan advises on cells that are small or many."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from simulated_sets import Case
from simulation import decisions, mean_decisions
from small_predictions import GAPS, drawn
from small_workspace import grouped

from fair_distill.config import Gate
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.errors import ConfigError
from fair_distill.gate.fair_sets import Assumptions, Cells
from fair_distill.gate.judge import judge
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.plan import PowerPlan, cells_of, plan
from fair_distill.gate.spending import fraction_of


def policy(*clauses: dict[str, Any], **more: Any) -> Gate:
    bounds = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 3, "minimum_per_cell": 20}
    return Gate.model_validate(bounds | {"limits": [{"why": "a test", **clause} for clause in clauses]} | more)


def cells(of: int, classes: int = 2, groups: int = 2, *, paired: bool = False) -> Cells:
    names = tuple(f"class{i}" for i in range(classes)), tuple(f"group{i}" for i in range(groups))
    return Cells(np.full((classes, groups), of), paired, *names)


def planned(
    of: Cells, gate: Gate, *, accuracy: float = 0.9, seed_sd: float = 0.0, seeds: int = 3, **more: Any
) -> PowerPlan:
    assumed = [Assumptions(accuracy=accuracy, seeds=seeds, seed_sd=seed_sd, **more)]
    return plan(of, gate, assumed, rng=np.random.default_rng(0), draws=400)


EODM = {"metric": "eo_diag_max", "at_most": 0.2}
# With 0.9 of it for a first attempt, the risk is 0.0304.
ALPHA = 0.05 * 6 / np.pi**2 / 0.9


@pytest.mark.parametrize(
    "metric",
    [
        "eo_diag_max",
        "eo_diag_mean",
        "worst_cell_accuracy",
        "balanced_accuracy",
        "accuracy_over_majority",
    ],
)
def test_a_fair_set_passes_about_as_often_as_planned(metric: str) -> None:
    side = "at_most" if metric in GAPS else "at_least"
    (row,) = planned(cells(80), policy({"metric": metric, side: 0.5})).rows
    gate = policy({"metric": metric, side: row.likely[0]})

    passed = 0
    for seed in range(40):
        fair = drawn([[0.9, 0.9], [0.9, 0.9]], 80, np.random.default_rng(seed), alike=1.0)
        # alpha of the plan is that of the first attempt, and so is the judge's
        passed += judge(fair.to_parquet(), gate, context=b"", engine=1).outcome == "pass"
    assert 24 <= passed <= 39  # 0.8 of 40, three standard errors either way


@pytest.mark.parametrize("alike", [0.999, 0.6])
def test_simulated_networks_that_scatter_pass_at_least_as_often_as_planned(alike: float) -> None:
    gate = policy({"metric": "eo_diag_max", "at_most": 0.2}, {"metric": "eo_diag_mean", "at_most": 0.2})
    largest, mean = planned(cells(200), gate, seed_sd=0.02, seeds=5).rows
    case = Case((0.9, 0.9), (200, 200), 2, seed_sd=0.02, alike=alike)  # a difference scatters by 0.02
    rng = np.random.default_rng(0)

    assert gate.alpha is not None
    alpha = gate.alpha * fraction_of(1.0, gate.planned_attempts)
    shares = [
        decisions(case, rng, 300, limit=largest.likely[0], alpha=alpha).shares["pass"],
        mean_decisions(case, rng, 300, limit=mean.likely[0], alpha=alpha).shares["pass"],
    ]
    error = 3 * np.sqrt(0.8 * 0.2 / 300)
    assert min(shares) >= 0.8 - error
    # The plan assumes that networks predict the same examples right. Networks that agree less pass more often.
    assert max(shares) <= (0.93 if alike > 0.9 else 0.99)


def test_more_examples_pairs_and_seeds_show_stricter_limits() -> None:
    gate = policy(EODM)

    def shows(of: int, *, paired: bool = False, seeds: int = 3) -> float:
        return planned(cells(of, paired=paired), gate, seed_sd=0.02, seeds=seeds).rows[0].likely[0]

    assert shows(1000) < shows(200) < shows(50)
    assert shows(50, paired=True) < shows(50)
    assert shows(200, seeds=10) < shows(200)


def test_pairs_and_more_equal_classes_establish_a_larger_ratio_and_mean() -> None:
    def shows(metric: str, counts: Any, *, paired: bool = False) -> float:
        of = Cells(np.array(counts), paired, ("class0", "class1"), ("group0", "group1"))
        return planned(of, policy({"metric": metric, "at_least": 0.5})).rows[0].likely[0]

    even, uneven = [[100, 100], [100, 100]], [[180, 180], [20, 20]]
    assert shows("selection_rate_ratio", even, paired=True) > shows("selection_rate_ratio", even) + 0.02
    assert shows("balanced_accuracy", even) > shows("balanced_accuracy", uneven) + 0.02
    assert shows("accuracy_over_majority", even) > shows("accuracy_over_majority", uneven) + 0.3


def test_clusters_with_examples_of_several_classes_make_a_planned_mean_less_certain() -> None:
    gate = policy({"metric": "balanced_accuracy", "at_least": 0.5})

    alone, spanning = (
        planned(of, gate).rows[0] for of in (cells(100), replace(cells(100), clusters_span_classes=True))
    )

    assert 1 - spanning.strictest > 1 - alone.strictest
    assert 0.9 - spanning.strictest == pytest.approx(np.sqrt(2) * (0.9 - alone.strictest), rel=0.1)


def test_a_clause_of_one_class_is_planned_on_the_cells_of_this_class() -> None:
    gate = policy({**EODM, "classes": ["class1"]})
    of = Cells(np.array([[30, 30], [200, 200]]), False, ("class0", "class1"), ("group0", "group1"))

    one, both = planned(of, gate).rows[0], planned(of, policy(EODM)).rows[0]

    assert one.clause == "eo_diag_max of classes class1"
    assert one.likely[0] < both.likely[0] / 1.5
    assert one.strictest == pytest.approx(planned(cells(200), policy(EODM)).rows[0].strictest)


def test_the_best_that_could_be_shown_is_stricter_than_what_is_likely() -> None:
    clauses = [EODM, {"metric": "eo_diag_mean", "at_most": 0.1}, {"metric": "accuracy", "at_least": 0.8}]

    for row in planned(cells(100), policy(*clauses), seed_sd=0.02).rows:
        sign = -1 if row.clause == "accuracy" else 1
        assert sign * row.strictest < sign * row.likely[0] < sign * row.likely[1]


def test_as_many_examples_as_are_needed_give_the_chance_that_was_asked_for() -> None:
    gate = policy({"metric": "eo_diag_max", "at_most": 0.1})
    (row,) = planned(cells(50), gate).rows
    assert row.chance < 0.5
    assert row.needed[0] is not None
    assert row.needed[1] is not None
    assert 100 <= row.needed[0] <= row.needed[1] <= 1000

    assert planned(cells(row.needed[0]), gate).rows[0].chance == pytest.approx(0.8, abs=0.06)


def test_where_seeds_scatter_too_much_no_number_of_examples_is_promised() -> None:
    (row,) = planned(cells(50), policy({"metric": "eo_diag_max", "at_most": 0.05}), seed_sd=0.05).rows

    assert row.needed == (None, None)


def test_the_number_of_examples_is_advised_that_gives_the_lower_chance_even_where_none_gives_the_higher() -> None:
    found = planned(cells(100), policy({"metric": "eo_diag_max", "at_most": 0.05}, alpha=ALPHA), seed_sd=0.012)

    ((likely, likelier),) = (row.needed for row in found.rows)
    assert likely is not None
    assert likelier is None
    assert f"for 80 % use {likely:,} examples a cell, or a limit of" in found.advice[0]


PLANNED_SCORES = [
    name for name, metric in PREDICTION_METRICS.items() if metric.direction == "at_least" and not metric.is_gap
]


def test_every_kind_of_clause_is_planned() -> None:
    clauses: list[dict[str, Any]] = [
        {"metric": metric, ("at_most" if metric in GAPS else "at_least"): 0.3}
        for metric in ("eo_diag_max", "eo_diag_mean", "eo_full_max", "eo_ovr_max", "dpd_max")
    ]
    clauses += [{"metric": m, "at_least": 0.5} for m in PLANNED_SCORES]
    clauses += [{"metric": "false_positive_gap", "at_most": 0.3, "classes": ["class1"]}]
    clauses += [{"metric": "selection_rate_ratio", "at_least": 0.8, "classes": ["class1"]}]
    clauses += [{"metric": "selection_rate_ratio", "at_least": 0.8, "against": "rest"}]
    clauses += [{"metric": "eo_diag_max", "over": "full", "at_most": 0.3}]
    clauses += [{"metric": "accuracy", "over": "balanced", "at_least": -0.1}]

    for paired in (False, True):
        rows = planned(cells(100, 3, 3, paired=paired), policy(*clauses), seed_sd=0.01).rows
        assert len(rows) == len(clauses)
        assert all(0 <= row.chance <= 1 for row in rows)


def test_many_or_thin_cells_are_advised_to_compare_coarser_groups() -> None:
    thin = planned(cells(10, 5, 6), policy(EODM))

    assert (
        "class 'class0' has 10 independent examples of group 'group0', but gate.minimum_per_cell is 20"
        in thin.advice[0]
    )
    assert thin.advice[0].endswith("data.splits.gate, or set gate.minimum_per_cell to at most 10")
    assert planned(cells(1, 5, 6), policy(EODM)).advice[0].endswith("data.splits.gate")  # the key allows at least 2
    assert "`against: rest`" in thin.advice[-1]
    assert "15 pairs" in thin.advice[-1]
    assert "are then not tested" in thin.advice[-1]
    assert planned(cells(3000), policy(EODM)).advice == ()


def test_a_floor_above_the_assumed_accuracy_is_no_fault_of_the_split() -> None:
    assert planned(cells(3000), policy({"metric": "accuracy", "at_least": 0.95}), accuracy=0.8).advice == ()


def test_a_policy_without_confidence_has_no_plan() -> None:
    point = Gate.model_validate({"mode": "point", "limits": [{**EODM, "why": "x"}]})

    with pytest.raises(ConfigError, match="mode is 'point'"):
        planned(cells(50), point)


def test_the_cells_of_a_split_are_its_independent_examples() -> None:
    loose = grouped([[3, 5], [4, 2]])
    found = cells_of(loose)
    assert found.counts.tolist() == [[3, 5], [4, 2]]
    assert not found.paired

    even = grouped([[4, 4], [3, 3]])
    pairs = np.concatenate([np.tile(np.arange(n), 2) + at for n, at in ((4, 0), (3, 10))])
    paired = GroupedDataset(**{**vars(even), "pairs": pairs})
    assert cells_of(paired).paired
    assert cells_of(paired).counts.tolist() == [[4, 4], [3, 3]]

    assert not cells_of(paired).clusters_span_classes
    one_person = GroupedDataset(**{**vars(loose), "clustered": np.zeros(len(loose.labels), dtype=np.int64)})
    assert cells_of(one_person).clusters_span_classes


def test_a_cell_counts_its_clusters_by_their_effective_number() -> None:
    split = grouped([[8, 6]])
    # Six clusters of one example and one of two; one cluster of six.
    clusters = np.array([0, 0, 1, 2, 3, 4, 5, 6, *[7] * 6])

    assert cells_of(GroupedDataset(**{**vars(split), "clustered": clusters})).counts.tolist() == [[6, 1]]


def test_the_same_generator_gives_the_same_plan() -> None:
    assert planned(cells(50), policy(EODM)) == planned(cells(50), policy(EODM))


Numbers = tuple[str, float, float, float, float, tuple[int | None, int | None]]
UNEVEN: list[Numbers] = [
    ("eo_diag_max", 0.1143, 0.1986, 0.2117, 0.8150, (85, 99)),
    ("eo_diag_mean", 0.0784, 0.1499, 0.1661, 0.9900, (52, 58)),
    ("eo_ovr_max", 0.1143, 0.2215, 0.2358, 0.5875, (98, 108)),
    ("dpd_max against the rest", 0.0856, 0.1750, 0.1890, 0.9400, (71, 83)),
    ("worst_cell_accuracy", 0.7972, 0.7375, 0.7240, 0.9800, (55, 60)),
    ("accuracy", 0.8739, 0.8601, 0.8536, 1.0000, (17, 22)),
    ("eo_diag_max over full", 0.1420, 0.2347, 0.2490, 0.9900, (54, 60)),
    ("accuracy over full", -0.0250, -0.0386, -0.0458, 1.0000, (18, 22)),
]
PAIRED: list[Numbers] = [
    ("eo_diag_max", 0.0775, 0.1494, 0.1612, 0.9925, (57, 62)),
    ("eo_diag_mean", 0.0548, 0.1152, 0.1222, 1.0000, (35, 39)),
    ("eo_ovr_max", 0.0775, 0.1618, 0.1719, 0.9875, (63, 71)),
    ("dpd_max against the rest", 0.0737, 0.1519, 0.1637, 1.0000, (52, 61)),
    ("worst_cell_accuracy", 0.8210, 0.7537, 0.7425, 0.9950, (55, 60)),
    ("accuracy", 0.8497, 0.8296, 0.8194, 0.9775, (50, 61)),
    ("eo_diag_max over full", 0.1001, 0.1762, 0.1876, 1.0000, (38, 43)),
    ("accuracy over full", -0.0257, -0.0418, -0.0485, 1.0000, (18, 22)),
]


@pytest.mark.parametrize(("paired", "numbers"), [(False, UNEVEN), (True, PAIRED)])
def test_the_plan_of_a_fixed_split_has_these_numbers(paired: bool, numbers: list[Numbers]) -> None:
    # Stored numbers: the tests above say what they mean, this one that no operation changes unseen.
    clauses: list[dict[str, Any]] = [{"metric": m, "at_most": 0.2} for m in ("eo_diag_max", "eo_diag_mean")]
    clauses += [{"metric": "eo_ovr_max", "at_most": 0.2}, {"metric": "dpd_max", "at_most": 0.2, "against": "rest"}]
    clauses += [{"metric": "worst_cell_accuracy", "at_least": 0.7}, {"metric": "accuracy", "at_least": 0.8}]
    clauses += [{"metric": "eo_diag_max", "over": "full", "at_most": 0.3}]
    clauses += [{"metric": "accuracy", "over": "full", "at_least": -0.1}]
    uneven = np.array([[60, 90, 120], [150, 80, 70]])
    counts = np.full((2, 3), 90) if paired else uneven
    split = Cells(counts, paired, ("class0", "class1"), ("group0", "group1", "group2"))

    found = planned(split, policy(*clauses, alpha=ALPHA), seed_sd=0.01)

    for row, (clause, ever, likely, more_likely, chance, needed) in zip(found.rows, numbers, strict=True):
        assert (row.clause, row.needed) == (clause, needed)
        assert (row.strictest, *row.likely, row.chance) == pytest.approx((ever, likely, more_likely, chance), abs=1e-4)
    if not paired:
        assert found.advice[0] == (
            "eo_ovr_max: at accuracy 0.9 a fair set passes the limit 0.2 with a chance of 59 %; for 80 % use 98 "
            "examples a cell, or a limit of 0.22"
        )
        assert "3 groups make 3 pairs per rate" in found.advice[1]
        assert "for eo_diag_max a limit of 0.18 is then likely to pass, now 0.21." in found.advice[1]
        assert len(found.advice) == 2


def test_a_cell_with_as_many_examples_as_are_asked_for_is_not_thin() -> None:
    gate = policy({"metric": "eo_diag_max", "at_most": 0.9})

    assert planned(cells(20), gate).advice == ()
    assert "class 'class0' has 19 independent examples" in planned(cells(19), gate).advice[0]
