"""The noise floor against values derived from binomial cells, and in cases where it is 0."""

from typing import Any

import numpy as np
import pytest
from small_predictions import drawn, predictions_from

from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.network_predictions import network_predictions
from fair_distill.gate.noise_floor import noise_floor


def floors(predictions: Any, *names: str, draws: int = 100) -> list[float]:
    floor = noise_floor(network_predictions(predictions, 0), np.random.default_rng(0), draws=draws)
    return [floor(PREDICTION_METRICS[name].value) or 0.0 for name in names]


@pytest.mark.parametrize(
    ("accuracy", "largest", "mean"), [(0.941, 0.104, 0.072), (0.90, 0.132, 0.092), (0.968, 0.077, 0.053)]
)
def test_ten_groups_of_98_images_a_cell_show_what_binomial_cells_show(
    accuracy: float, largest: float, mean: float
) -> None:
    # METHOD.md section 5: a perfectly fair classifier on C-MNIST's test split, one network
    right = np.arange(980) < round(980 * accuracy)
    labels, groups = np.repeat(np.arange(10), 980), np.tile(np.arange(10), 980)
    predictions = predictions_from(
        np.where(np.tile(right, 10), labels, (labels + 1) % 10)[None], labels, groups, classes=10
    )

    assert floors(predictions, "eo_diag_max", "eo_diag_mean") == pytest.approx([largest, mean], abs=0.005)


def test_pairs_that_are_answered_alike_have_no_noise() -> None:
    same = drawn([[0.8, 0.8], [0.7, 0.7]], 30, np.random.default_rng(0), paired=True, alike=1.0)

    loose = drawn([[0.8, 0.8], [0.7, 0.7]], 30, np.random.default_rng(0), alike=1.0)

    assert floors(same, "eo_diag_max", "eo_full_max", "calibration_gap") == [0.0, 0.0, 0.0]
    assert min(floors(loose, "eo_diag_max", "eo_full_max", "calibration_gap")) > 0.02


def test_pairs_that_differ_have_the_noise_of_fair_coins() -> None:
    # 16 pairs of 100 differ, all the same way: the floor is E|heads - tails| / 100 over 16 coins
    right = np.concatenate([np.ones(100), np.arange(100) >= 16]).astype(int)
    pairs, groups = np.tile(np.arange(100), 2), np.repeat([0, 1], 100)
    predictions = predictions_from((1 - right)[None], np.zeros(200, int), groups, pairs=pairs, classes=2)

    (found,) = floors_of_first_class(predictions)
    coins = np.random.default_rng(1).binomial(16, 0.5, 100_000)
    assert found == pytest.approx(np.abs(2 * coins - 16).mean() / 100, abs=0.005)


def floors_of_first_class(predictions: Any) -> list[float]:
    floor = noise_floor(network_predictions(predictions, 0), np.random.default_rng(0), draws=400)
    return [floor(lambda table: float(np.ptp(table.recalls[:, 0]))) or 0.0]


def test_clusters_that_stick_together_make_more_noise() -> None:
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(40), 5)
    right = np.repeat(rng.random(40) < 0.7, 5)
    arguments = ((~right).astype(int)[None], np.zeros(200, int), np.tile(np.repeat([0, 1], 5), 20))

    (apart,) = floors_of_first_class(predictions_from(*arguments, classes=2))
    (stuck,) = floors_of_first_class(predictions_from(*arguments, clusters=clusters, classes=2))
    assert stuck > 1.5 * apart


def test_the_same_generator_gives_the_same_floor() -> None:
    predictions = drawn([[0.9, 0.7], [0.6, 0.8]], 40, np.random.default_rng(3))

    assert floors(predictions, "eo_diag_max") == floors(predictions, "eo_diag_max")


def test_what_cannot_be_measured_has_no_floor() -> None:
    floor = noise_floor(
        network_predictions(predictions_from([[0, 0, 1]], [0, 0, 1], [0, 1, 0]), 0), np.random.default_rng(0)
    )

    assert floor(lambda table: None) is None
