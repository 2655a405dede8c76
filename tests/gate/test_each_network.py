"""Clauses about single networks: how many must satisfy the limit, what fails, and what is too little evidence."""

import math
from typing import Any

import numpy as np
import pytest
from small_predictions import drawn, predictions_from

from fair_distill.config import Gate, Limit
from fair_distill.errors import ConfigError
from fair_distill.gate.judge import judge
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.network_predictions import network_predictions, of_seed
from fair_distill.gate.policy import policy_digest
from fair_distill.gate.predictions import Predictions
from fair_distill.gate.strictness import laxer, tighten
from fair_distill.gate.tolerance import Tolerance, tolerance
from fair_distill.gate.verdict import Finding, Verdict

LIMIT = {"metric": "eo_diag_max", "at_most": 0.2, "each_network": 0.9, "why": "a test"}
ALPHA = 0.05


def policy(*limits: dict[str, Any], **more: Any) -> Gate:
    common = {"mode": "bounds", "alpha": ALPHA, "minimum_seeds": 2, "minimum_per_cell": 2}
    return Gate.model_validate({**common, "limits": list(limits) or [LIMIT], **more})


def with_gaps(gaps: list[float], *, cell: int = 200, networks: int = 1, set: str = "a" * 64) -> Predictions:
    """Return predictions of two classes and groups. In class 0, network s is right for 90 % of group 0, less its gap
    for group 1; in class 1 it is always right."""
    label, group, number = (axis.ravel() for axis in np.indices((2, 2, cell)))
    wrong = np.array([[0.1 + gap * g for g in group] for gap in gaps]) * (label == 0)
    answers = np.where(number < np.round(wrong * cell), 1 - label, label)
    names = tuple(f"network{i}" for i in range(networks))
    return predictions_from(np.stack([answers] * networks), label, group, networks=names, set=set)


def verdict(predictions: Predictions, gate: Gate | None = None, **more: Any) -> Verdict:
    return judge(predictions.to_parquet(), gate or policy(), context=b"", engine=1, **more)


def finding(predictions: Predictions, gate: Gate | None = None, **more: Any) -> Finding:
    (only,) = verdict(predictions, gate, **more).findings
    return only


def rule_of(networks: int) -> Tolerance:
    """The rule at the risk of a first attempt."""
    alpha = verdict(with_gaps([0.0] * 2, cell=20)).alpha
    assert alpha is not None
    rule = tolerance(networks, 0.9, alpha)
    assert rule is not None
    return rule


def test_forty_networks_within_the_limit_pass_and_the_bound_is_the_worst_networks_own():
    assert rule_of(40).allowed == 0
    predictions = with_gaps([0.0] * 39 + [0.05])
    decided = finding(predictions)

    assert (decided.outcome, decided.clause) == ("pass", "eo_diag_max in 90 % of networks")
    assert decided.value == 0.0
    assert decided.per_seed == pytest.approx(0.05 / 40)
    worst = finding(with_gaps([0.05] * 40))
    assert decided.bound == worst.bound
    assert decided.bound is not None
    assert 0.05 < decided.bound < 0.2
    assert "40 of 40 networks are shown to satisfy it and 40 are needed" in decided.sentence


def test_one_network_over_the_limit_of_forty_is_one_too_many_and_of_eighty_it_is_not():
    few = finding(with_gaps([0.0] * 39 + [0.4]))
    many = finding(with_gaps([0.0] * 79 + [0.4]))

    assert few.outcome == "inconclusive"
    (culprit,) = few.culprits
    assert culprit.sentence.startswith("the network of seed 39: class 'class0' is recognised")
    assert culprit.rates == pytest.approx((0.9, 0.5))
    assert many.outcome == "pass"
    assert f"79 of 80 networks are shown to satisfy it and {rule_of(80).needed} are needed" in many.sentence


def test_a_mean_within_the_limit_does_not_hide_networks_that_are_not():
    # Half of the networks favour group 0 and half group 1, so the mean rates are equal.
    gaps = [0.1, -0.1] * 20
    mean = {key: value for key, value in LIMIT.items() if key != "each_network"} | {"at_most": 0.05}
    decided = verdict(with_gaps(gaps, cell=2000), policy({**LIMIT, "at_most": 0.05}, mean))

    assert [each.outcome for each in decided.findings] == ["fail", "pass"]
    assert "40 of 40 networks are shown to violate it" in decided.findings[0].sentence


def test_too_few_networks_are_too_little_evidence_and_the_sentence_says_how_many_suffice():
    alpha = verdict(with_gaps([0.0] * 2, cell=20)).alpha
    assert alpha is not None
    needed = math.ceil(math.log(alpha) / math.log(0.9))  # 0.9^S is below alpha
    for seeds in (5, needed - 1):
        decided = finding(with_gaps([0.0] * seeds, cell=50))
        assert (decided.outcome, decided.value) == ("insufficient", None)
        assert f"{seeds} seeds and {needed} seeds without a violation are needed" in decided.sentence
        assert "90 % of networks" in decided.sentence

    assert finding(with_gaps([0.0] * needed, cell=1000)).outcome == "pass"


def test_few_networks_can_fail_although_they_cannot_pass():
    decided = finding(with_gaps([0.5] * 5 + [0.0] * 3, cell=400))

    assert decided.outcome == "fail"
    assert len(decided.culprits) == 5
    assert decided.value == pytest.approx(0.5)


def test_the_worst_architecture_decides():
    good, bad = [0.0] * 40, [0.0] * 36 + [0.5] * 4
    single = with_gaps(good)
    both = with_gaps(good, networks=2)
    later = np.flatnonzero(both.columns["network"] == 1)
    both.columns["predicted"][later] = with_gaps(bad).columns["predicted"]

    assert finding(single).outcome == "pass"
    decided = finding(both)
    assert (decided.outcome, decided.network) == ("inconclusive", "network1")


def test_a_floor_on_the_accuracy_of_each_network_uses_lower_bounds():
    limit = {"metric": "accuracy", "at_least": 0.8, "each_network": 0.9, "why": "a test"}
    decided = finding(with_gaps([0.1] * 40), policy(limit))

    assert decided.outcome == "pass"
    assert decided.value == pytest.approx(1 - 0.3 / 4)
    assert decided.bound is not None
    assert 0.8 < decided.bound < decided.value
    assert finding(with_gaps([0.1] * 40), policy({**limit, "at_least": 0.95})).outcome == "fail"


def test_over_a_reference_each_network_is_compared_with_the_network_of_the_same_seed():
    limit = {**LIMIT, "over": "full", "at_most": 0.1}
    gaps = list(np.linspace(0, 0.5, 40))
    own, reference = with_gaps(gaps, cell=1000), with_gaps(gaps, cell=1000, set="c" * 64)
    decided = finding(own, policy(limit), references={"full": reference.to_parquet()})

    assert decided.outcome == "pass"
    assert decided.clause == "eo_diag_max over full in 90 % of networks"
    assert decided.value == 0.0
    reverse = with_gaps(gaps[::-1], cell=1000, set="c" * 64)
    assert finding(own, policy(limit), references={"full": reverse.to_parquet()}).outcome == "fail"


def test_without_confidence_the_share_of_measured_networks_decides():
    gate = Gate.model_validate({"mode": "point", "limits": [LIMIT]})
    for over, outcome in ((1, "pass"), (2, "fail")):
        decided = finding(with_gaps([0.0] * (10 - over) + [0.4] * over, cell=50), gate)
        assert decided.outcome == outcome
        assert decided.bound is None
        assert decided.value == pytest.approx(0.0 if over == 1 else 0.4)


@pytest.mark.parametrize("name", PREDICTION_METRICS)
def test_of_networks_that_are_equal_each_has_the_bound_of_one_given_network(name: str):
    metric = PREDICTION_METRICS[name]
    one = drawn([[0.9, 0.85], [0.8, 0.9]], 60, np.random.default_rng(0), seeds=1)
    answers = np.tile(one.columns["predicted"], (40, 1))
    table = predictions_from(answers, one.columns["label"], one.columns["group"])
    limit = {"metric": name, metric.direction: 0.5, "each_network": 0.9, "why": "a test"}
    decided = finding(table, policy(limit))
    evidence = metric.gather(policy(limit).limits[0], of_seed(network_predictions(table, 0), 0), None)
    own = evidence.upper(rule_of(40).alpha).max()
    if metric.direction == "at_least":
        own = evidence.lower(rule_of(40).alpha).min()

    assert decided.bound == pytest.approx(float(np.clip(own, metric.lowest, 1)))
    assert decided.value == pytest.approx(evidence.value)


def test_the_predictions_of_one_seed_are_those_of_that_seed():
    network = network_predictions(with_gaps([0.0, 0.3]), 0)
    one = of_seed(network, 1)

    assert (one.seeds, one.seed_numbers) == (1, (1,))
    assert (one.predicted == network.predicted[1:]).all()
    assert one.table().counts.tolist() == network.tables()[1].counts.tolist()
    assert (one.rows((0,), (1,)).indices == network.rows((0,), (1,)).indices).all()


def test_a_policy_without_the_key_keeps_its_digest():
    plain = {key: value for key, value in LIMIT.items() if key != "each_network"}

    assert policy_digest(policy(plain)) == "85a96fc24cb2f7a69eb83cb531ffcf6b85a09f4d43e2aa91a1f1c56231e9c326"
    assert policy_digest(policy()) != policy_digest(policy(plain))


def test_a_clause_about_more_networks_is_stricter_and_one_about_the_mean_is_another_clause():
    most, more = policy(), policy({**LIMIT, "each_network": 0.95})
    mean = policy({key: value for key, value in LIMIT.items() if key != "each_network"})

    tighten(more, most)
    assert laxer(most, more) is not None
    for gate, floor in ((most, more), (mean, most), (most, mean)):
        with pytest.raises(ConfigError, match="no clause that is as strict"):
            tighten(gate, floor)


@pytest.mark.parametrize("share", [0.4, 1.0, -1])
def test_the_share_is_at_least_half_and_below_one(share: float):
    with pytest.raises(ValueError, match="each_network"):
        Limit.model_validate({**LIMIT, "each_network": share})


def test_a_number_of_the_card_has_no_networks():
    limit = {"metric": "near_copies", "at_most": 0.1, "each_network": 0.9, "why": "a test"}
    with pytest.raises(ConfigError, match="remove over, by, classes, groups, against and each_network"):
        verdict(with_gaps([0.0] * 3), policy(limit))
