"""Calibration error in bins: errors that cancel elsewhere, all choices of signs, and the words of a verdict."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from small_predictions import gather, measure, predictions_from

from fair_distill.config import Gate, Limit
from fair_distill.gate import combinations
from fair_distill.gate.bounds import level
from fair_distill.gate.judge import judge
from fair_distill.gate.network_predictions import network_predictions
from fair_distill.gate.predictions import Predictions

ALPHAS = (0.2, 0.05, 0.001)


def limit(metric: str = "calibration_error", at_most: float = 0.1) -> Limit:
    return Limit.model_validate({"metric": metric, "at_most": at_most, "why": "a test"})


def confident(right: Any, probability: Any, groups: Any, *, clusters: Any = None) -> Predictions:
    """Return predictions that are right or not, (S, N), with these probabilities, (S, N) or (N,)."""
    labels = np.arange(np.shape(right)[1]) % 2
    answers = np.where(right, labels, 1 - labels)
    table = predictions_from(answers, labels, groups, clusters=clusters)
    columns = table.columns | {"probability": np.broadcast_to(probability, answers.shape).ravel()}
    return replace(table, columns=columns)


def test_errors_of_opposite_sign_do_not_cancel() -> None:
    """Half of each group is 15 points too sure and half 15 points too unsure, so its mean confidence is right."""
    sure = np.tile(np.repeat([0.95, 0.55], 20), 2)
    right = np.tile(np.concatenate([np.arange(20) < 16, np.arange(20) < 14]), 2)
    predictions = confident(np.tile(right, (2, 1)), sure, np.repeat([0, 1], 40))
    own = network_predictions(predictions, 0)

    assert measure("calibration_gap", own.table()).value == pytest.approx(0)
    assert measure("calibration_error", own.table()).value == pytest.approx(0.15)
    assert gather(limit(), own, None).values == pytest.approx([0.15, 0.15])
    assert gather(limit("calibration_gap"), own, None).value == pytest.approx(0)


def random_predictions(rng: np.random.Generator, *, clusters: bool, by_example: bool) -> tuple[Any, ...]:
    n, seeds = 90, 3
    probability = rng.choice([0.35, 0.55, 0.75, 0.95], n if by_example else (seeds, n))
    right = rng.random((seeds, n)) < probability - 0.1
    return right, probability, np.arange(n) // 45, np.arange(n) // 3 if clusters else None


@pytest.mark.parametrize("clusters", [False, True])
def test_the_bound_is_the_largest_over_all_signs_of_the_bound_of_one_mean(clusters: bool) -> None:
    rng = np.random.default_rng(int(clusters))
    right, probability, groups, of = random_predictions(rng, clusters=clusters, by_example=True)
    own = network_predictions(confident(right, probability, groups, clusters=of), 0)

    evidence = gather(limit(), own, None)

    for alpha in ALPHAS:
        wanted = []
        for group in (0, 1):
            rows = groups == group
            excess = (probability - right)[:, rows]
            uppers = []
            for signs in product((1, -1), repeat=4):
                sign = np.select([probability[rows] == p for p in (0.35, 0.55, 0.75, 0.95)], signs)
                mean = level((excess * sign)[None], None if of is None else of[rows], lowest=-1)
                uppers.append(float(mean.upper(alpha)[0]))
            wanted.append(max(uppers))
        assert evidence.upper(alpha) == pytest.approx(wanted)


@pytest.mark.parametrize("clusters", [False, True])
def test_sums_are_levels_also_if_networks_differ_in_confidence(clusters: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combinations, "_AT_ONCE", 500)  # several passes
    rng = np.random.default_rng(5)
    right, probability, _, of = random_predictions(rng, clusters=clusters, by_example=False)
    bins = np.digitize(probability, [0.4, 0.6, 0.8])
    values = np.where(bins == np.arange(4)[:, None, None], probability - right, 0.0)
    for signs in (np.array(list(product((1.0, -1.0), repeat=4))), np.eye(4), rng.choice([-1.0, 0.0, 1.0], (7, 4))):
        sums = combinations.Combinations.of(values, of).sums(signs)
        plain = level(np.tensordot(signs, values, 1), of, lowest=-1)

        assert sums.value == pytest.approx(plain.value)
        for alpha in ALPHAS:
            assert sums.upper(alpha) == pytest.approx(plain.upper(alpha))
            assert sums.lower(alpha) == pytest.approx(plain.lower(alpha))


def test_the_lower_bound_is_below_the_value_and_above_0_if_all_bins_are_too_sure() -> None:
    rng = np.random.default_rng(6)
    probability = rng.choice([0.65, 0.75, 0.85, 0.95], 2000)
    right = rng.random((3, 2000)) < probability - 0.2
    own = network_predictions(confident(right, probability, np.arange(2000) // 1000), 0)

    evidence = gather(limit(), own, None)

    assert (evidence.lower(0.05) > 0.09).all()
    assert (evidence.lower(0.05) < evidence.values).all()


def test_a_verdict_states_the_worst_group_and_its_worst_bin() -> None:
    sure = np.tile(np.repeat([0.95, 0.55], 20), 2)
    right = np.concatenate([np.arange(20) < 19, np.arange(20) < 11, np.arange(20) < 11, np.arange(20) < 13])
    policy = Gate.model_validate({"mode": "point", "limits": [limit().model_dump()]})

    predictions = confident(np.tile(right, (2, 1)), sure, np.repeat([0, 1], 40)).to_parquet()
    (finding,) = judge(predictions, policy, context=b"", engine=1).findings

    assert finding.value == pytest.approx((0.4 + 0.1) / 2)
    assert [culprit.groups for culprit in finding.culprits] == [(("group1",),)]
    assert finding.culprits[0].sentence == (
        "confidence and accuracy differ by 25.0 points over 40 examples of group 'group1'; confidence between 0.9 and "
        "1.0 is above accuracy and contributes 20.0 points"
    )
    assert finding.noise is None


def test_a_probability_on_an_edge_belongs_to_the_bin_above() -> None:
    predictions = confident(np.ones((1, 4), dtype=bool), [0.0, 0.5, 0.999, 1.0], [0, 0, 1, 1])

    excess = network_predictions(predictions, 0).table().excess

    assert excess is not None
    assert np.flatnonzero(excess[0]).tolist() == [0, 5]
    assert np.flatnonzero(excess[1]).tolist() == [9]
