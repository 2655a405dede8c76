"""What is counted of one measurement, in both readings."""

import numpy as np

from benchmarks.reproduce.measure import figures
from fair_distill.gate.network_predictions import network_predictions
from fair_distill.gate.predictions import Predictions


def asked(predicted_SN: list[list[int]]) -> Predictions:
    """Two classes, two groups, two images a cell; the first and second of a class are a pair in both groups."""
    label, group, pair = [0] * 4 + [1] * 4, [0, 0, 1, 1] * 2, [0, 1, 0, 1, 2, 3, 2, 3]
    seeds, n = len(predicted_SN), 8
    columns = {
        "example": np.tile(np.arange(n), seeds),
        "pair": np.tile(pair, seeds),
        "label": np.tile(label, seeds),
        "group": np.tile(group, seeds),
        "seed": np.repeat(np.arange(seeds), n),
        "network": np.zeros(seeds * n, int),
        "predicted": np.array(predicted_SN).ravel(),
        "probability": np.ones(seeds * n, np.float32),
    }
    return Predictions("", "", ("a", "b"), ("x", "y"), ("net",), columns)


def measured(predicted_SN: list[list[int]]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = figures(network_predictions(asked(predicted_SN), 0), np.random.default_rng(0))
    return found


def test_networks_that_favour_different_groups_each_have_a_gap_and_together_none() -> None:
    # The first sees class a only in group x, the second only in group y.
    found = measured([[0, 0, 1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 1, 1, 1, 1]])

    assert found["per_network"] == {
        "accuracy": 0.75,
        "worst_group_accuracy": 0.5,
        "eo_diag_max": 1.0,
        "eo_diag_mean": 0.5,
    }
    assert found["mean_rates"]["eo_diag_max"] == found["mean_rates"]["eo_diag_mean"] == 0.0
    assert found["mean_rates"]["accuracy"] == 0.75


def test_the_floor_is_what_a_coin_for_each_pair_would_show() -> None:
    # In each pair of class a one copy is right; whose, a fair classifier leaves to chance: (gap 1, 0, 0, 1) / 4.
    found = measured([[0, 0, 1, 1, 1, 1, 1, 1]])

    assert 0.35 < found["floor_per_network"]["eo_diag_max"] < 0.65
    assert found["floor_mean_rates"].keys() == {"eo_diag_max", "eo_diag_mean"}


def test_a_perfect_network_has_neither_gap_nor_floor() -> None:
    found = measured([[0, 0, 0, 0, 1, 1, 1, 1]])

    assert found["per_network"]["accuracy"] == 1
    assert found["per_network"]["eo_diag_max"] == found["floor_per_network"]["eo_diag_max"] == 0
