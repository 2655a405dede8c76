"""`networks: bounded`: no assumption about how networks vary, for every metric, and the number of networks it needs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_predictions import drawn
from test_each_network import LIMIT, finding, policy, verdict, with_gaps

from fair_distill.config import Gate
from fair_distill.errors import ConfigError
from fair_distill.gate.advice import advise
from fair_distill.gate.betting import EXAMPLES_SHARE, mean_lower, mean_upper
from fair_distill.gate.betting import networks_needed as needed_by_one_mean
from fair_distill.gate.bounds import level, minus, on_the_same
from fair_distill.gate.fair_sets import Assumptions, Cells
from fair_distill.gate.fewest_networks import fewest_networks
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.network_predictions import network_predictions
from fair_distill.gate.plan import plan
from fair_distill.gate.policy import policy_digest
from fair_distill.gate.recommendation import recommend
from fair_distill.gate.strictness import laxer, tighten

MEAN = {key: value for key, value in LIMIT.items() if key != "each_network"}
ALPHA = 0.05


def bounded(*limits: dict[str, Any], **more: Any) -> Gate:
    return policy(*(limits or [MEAN]), networks="bounded", **more)


def outcomes(networks: int, examples: int = 300) -> np.ndarray:
    rng = np.random.default_rng(0)
    rates = np.clip(rng.normal(0.8, 0.1, (2, networks, 1)), 0, 1)
    return (rng.random((2, networks, examples)) < rates).astype(float)


@pytest.mark.parametrize("networks", [1, 5, 40])
def test_a_bound_adds_the_bet_on_the_networks_to_the_bound_of_given_networks(networks: int):
    right = outcomes(networks)
    of_seeds, of_examples = (1 - EXAMPLES_SHARE) * ALPHA, EXAMPLES_SHARE * ALPHA
    for contrasts, (low, high) in (
        (level(right), (0, 1)),
        (minus(level(right[:1]), level(right[1:])), (-1, 1)),
        (on_the_same(right[:1] - right[1:]), (-1, 1)),
        (on_the_same(right[:1] - right[1:], scale=2), (-2, 2)),
        (minus(level(right[:1]), level(right[1:]), weight=np.array([0.8])), (-0.8, 1)),
    ):
        free, given = replace(contrasts, treatment="bounded"), replace(contrasts, treatment="given")
        upper = mean_upper(contrasts.seeds, of_seeds, lowest=low, highest=high)
        lower = mean_lower(contrasts.seeds, of_seeds, lowest=low, highest=high)
        above, below = (given.upper(of_examples) - given.value, given.value - given.lower(of_examples))

        np.testing.assert_allclose(free.upper(ALPHA), upper + above, rtol=1e-9)
        np.testing.assert_allclose(free.lower(ALPHA), lower - below, rtol=1e-9)
        np.testing.assert_allclose(free.examples_above(ALPHA) + free.seeds_above(ALPHA), free.upper(ALPHA) - free.value)


@pytest.mark.parametrize("name", PREDICTION_METRICS)
def test_every_metric_is_bounded_more_widely_than_with_normal_networks(name: str):
    metric = PREDICTION_METRICS[name]
    table = drawn([[0.9, 0.85], [0.8, 0.9]], 60, np.random.default_rng(0), seeds=12)
    limit = policy({"metric": name, metric.direction: 0.5, "why": "a test"}).limits[0]
    for side in ("upper", "lower"):
        normal, free = (
            getattr(metric.gather(limit, network_predictions(table, 0, treatment), None), side)(ALPHA)
            for treatment in ("normal", "bounded")
        )
        wider = free - normal if side == "upper" else normal - free
        assert (wider >= 0).all()
        # A lower bound that is 0 anyway cannot fall.
        assert ((wider > 0) | (normal == 0)).all()


def test_few_networks_are_too_little_evidence_and_the_sentence_says_how_many_could_suffice():
    decided = finding(with_gaps([0.0] * 5), bounded())
    alpha = verdict(with_gaps([0.0] * 2, cell=20)).alpha
    assert alpha is not None
    needed = needed_by_one_mean(0.0, -0.2, (1 - EXAMPLES_SHARE) * alpha, lowest=-1, highest=1)

    assert needed is not None
    assert (decided.outcome, decided.value) == ("insufficient", None)
    assert (
        f"with 5 seeds, and `networks: bounded` needs at least {needed} seeds for the limit 0.200 with "
        f"{100 * (1 - alpha):.1f} % confidence" in decided.sentence
    )
    assert finding(with_gaps([0.0] * (needed - 1), cell=1000), bounded()).outcome == "insufficient"
    assert finding(with_gaps([0.0] * (needed + 5), cell=1000), bounded()).outcome == "pass"
    undecided = finding(with_gaps([0.0] * (needed + 5), cell=10), bounded())
    assert undecided.outcome == "inconclusive"
    assert undecided.value == 0.0


def test_a_violation_is_shown_with_fewer_networks_than_a_pass_needs():
    decided = finding(with_gaps([0.9] * 16, cell=400), bounded())

    assert decided.outcome == "fail"


def test_networks_that_scatter_widely_have_a_larger_bound_than_networks_that_agree():
    wide = [float(gap) for gap in np.random.default_rng(4).normal(0.1, 0.25, 40).clip(-0.1, 0.8)]
    limit = {**MEAN, "at_most": 0.9}
    bounds = [finding(with_gaps(gaps, cell=1000), bounded(limit)).bound for gaps in (wide, [float(np.mean(wide))] * 40)]

    assert bounds[0] is not None
    assert bounds[1] is not None
    assert bounds[0] > bounds[1] + 0.01


def test_the_smallest_number_is_that_of_the_best_value_of_the_metric():
    names = (("a", "b", "c"), ("f", "m"))
    for limit, value, bound, low in (
        ({"metric": "eo_diag_max", "at_most": 0.1}, 0.0, -0.1, -1),
        ({"metric": "accuracy", "at_least": 0.9}, 1.0, 0.9, 0),
        ({"metric": "worst_cell_accuracy", "at_least": 0.5}, 1.0, 0.5, 0),
    ):
        clause = bounded({**limit, "why": "a test"}).limits[0]
        expected = needed_by_one_mean(value, bound, (1 - EXAMPLES_SHARE) * ALPHA, lowest=low, highest=1)
        assert fewest_networks(clause, PREDICTION_METRICS[clause.metric], *names, alpha=ALPHA) == expected
    over = bounded({"metric": "eo_diag_max", "at_most": 0.1, "over": "full", "why": "a test"}).limits[0]
    assert fewest_networks(over, PREDICTION_METRICS["eo_diag_max"], *names, alpha=ALPHA) is None


def test_the_plan_says_how_many_seeds_a_clause_needs_and_gives_no_chance_to_fewer():
    cells = Cells(np.full((2, 2), 2000), False, ("class0", "class1"), ("group0", "group1"))
    gate = bounded(MEAN, LIMIT)

    def planned(seeds: int) -> Any:
        assumed = [Assumptions(0.9, seeds=seeds, seed_sd=0.02)]
        return plan(cells, gate, assumed, rng=np.random.default_rng(0), draws=100)

    few, many = planned(10), planned(60)
    assert [row.chance for row in few.rows] == [0, 0]
    for limit in gate.limits:
        assert any(line.startswith(f"{limit.name}: 10 seeds cannot show the limit") for line in few.advice)
    assert not any("cannot show" in line for line in many.advice)
    assert [row.chance for row in many.rows] == [1, 1]
    assert all(row.needed[0] is not None for row in many.rows)
    assert all(row.strictest < row.likely[0] < 0.2 for row in many.rows)


def test_the_key_changes_no_digest_if_it_is_absent_and_belongs_to_bounds():
    assert policy_digest(policy(MEAN)) == "85a96fc24cb2f7a69eb83cb531ffcf6b85a09f4d43e2aa91a1f1c56231e9c326"
    assert policy_digest(bounded()) != policy_digest(policy(MEAN))
    with pytest.raises(ValueError, match="`mode: point` does not use networks; remove it"):
        Gate.model_validate({"mode": "point", "limits": [MEAN], "networks": "bounded"})


def test_bounded_is_stricter_than_normal():
    for lax in (policy(MEAN), policy(MEAN, networks="normal")):
        tighten(bounded(), lax)
        assert laxer(lax, bounded()) == "`networks: normal` instead of `networks: bounded`"
        with pytest.raises(ConfigError, match="the policy floor requires `networks: bounded`"):
            tighten(lax, bounded())
    assert laxer(policy(MEAN), policy(MEAN, networks="normal")) is None


def test_the_verdict_says_that_nothing_is_assumed_about_the_distribution():
    done = verdict(with_gaps([0.0] * 7 + [0.5] + [0.02] * 2, cell=50), bounded({**MEAN, "at_most": 0.9}))

    assert "for every distribution of rates over networks" in done.assumption
    assert "doubtful" not in done.warnings[0]


def test_the_mean_gap_of_one_class_is_bounded_as_its_largest_gap():
    table = drawn([[0.9, 0.7]], 200, np.random.default_rng(5), seeds=40, classes=2)
    upper = [
        float(PREDICTION_METRICS[name].gather(limit, network_predictions(table, 0, "bounded"), None).upper(ALPHA)[0])
        for name in ("eo_diag_mean", "eo_diag_max")
        for limit in [bounded({"metric": name, "at_most": 0.5, "classes": ["class0"], "why": "a test"}).limits[0]]
    ]

    assert upper[0] == pytest.approx(upper[1], abs=1e-6)


def test_the_mean_gap_is_bounded_above_the_bound_of_every_choice_of_signs():
    rates = [[0.9, 0.8], [0.7, 0.75], [0.85, 0.8]]
    own = network_predictions(drawn(rates, 100, np.random.default_rng(6), seeds=30), 0, "bounded")
    metric = PREDICTION_METRICS["eo_diag_mean"]
    limit = bounded({"metric": "eo_diag_mean", "at_most": 0.5, "why": "a test"}).limits[0]
    evidence = metric.gather(limit, own, None)
    gaps = np.array([table.rates_of_groups(metric.rates(range(3), 3)) for table in own.tables()])  # (S, C, G)
    signed = (gaps[..., 0] - gaps[..., 1]).T
    choices = np.array([[1, 1, 1], [1, -1, 1], [-1, 1, 1], [1, 1, -1]]) @ signed / 3

    bets = mean_upper(choices, (1 - EXAMPLES_SHARE) * ALPHA, lowest=-1, highest=1)
    networks = evidence.value + float(evidence.half_widths(ALPHA)[1][0])
    assert networks >= bets.max() - 1e-9
    assert networks == pytest.approx(bets.max(), abs=0.01)
    assert float(evidence.upper(ALPHA)[0]) == pytest.approx(
        networks + float(evidence.half_widths(ALPHA)[0][0]), abs=1e-9
    )


def test_clauses_without_a_distribution_of_networks_are_not_simulated_and_the_advice_names_their_seeds():
    table = with_gaps([0.0] * 40, cell=10)
    done = verdict(table, bounded())
    advice = advise(table.to_parquet(), bounded(), alpha=ALPHA)
    needed = needed_by_one_mean(0.0, -0.2, (1 - EXAMPLES_SHARE) * ALPHA, lowest=-1, highest=1)

    assert done.outcome == "inconclusive"
    assert advice is not None
    (line,) = recommend(done, "unknown", advice)
    assert line.endswith(f"not simulated: eo_diag_max (at least {needed} seeds)")
