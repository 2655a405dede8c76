"""NetworkPredictions are aligned over seeds, find the pairs of the split, and refuse contradictions."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_predictions import drawn, predictions_from

from fair_distill.errors import MeasurementError
from fair_distill.gate.confusion import mean_confusion
from fair_distill.gate.network_predictions import network_predictions, same_examples
from fair_distill.gate.predictions import Predictions

GOOD = drawn([[0.9, 0.8], [0.7, 0.9]], 20, np.random.default_rng(0), paired=True)


def changed(name: str, row: int, value: Any) -> Predictions:
    column = GOOD.columns[name].copy()
    column[row] = value
    return replace(GOOD, columns={**GOOD.columns, name: column})


def test_rows_in_any_order_give_the_same_answers() -> None:
    order = np.random.default_rng(1).permutation(len(GOOD))
    shuffled = replace(GOOD, columns={name: column[order] for name, column in GOOD.columns.items()})

    one, other = network_predictions(GOOD, 0), network_predictions(shuffled, 0)
    for name in ("examples", "labels", "group_indices", "pairs", "clusters", "predicted", "examples_by_pair"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


def test_the_counts_are_those_of_the_runs() -> None:
    runs = [GOOD.confusion(*run) for run in GOOD.runs()]

    np.testing.assert_allclose(network_predictions(GOOD, 0).table().counts, mean_confusion(runs).counts)
    assert [table.counts.tolist() for table in network_predictions(GOOD, 0).tables()] == [
        run.counts.tolist() for run in runs
    ]


def test_a_paired_split_is_seen_to_be_one() -> None:
    found = network_predictions(GOOD, 0)

    assert found.examples_by_pair is not None
    assert found.examples_by_pair.shape == (40, 2)
    assert (found.group_indices[found.examples_by_pair] == [0, 1]).all()
    assert (found.evidence == 20).all()


@pytest.mark.parametrize(
    "pairs",
    [
        np.arange(8),  # none
        [0, 1, 2, 3, 0, 1, 2, 7],  # one pair has nobody in the second group
        [0, 0, 1, 1, 2, 2, 3, 3],  # pairs within a group
    ],
)
def test_a_split_is_paired_throughout_or_not_at_all(pairs: Any) -> None:
    found = network_predictions(predictions_from(np.zeros((2, 8), int), [0] * 8, [0] * 4 + [1] * 4, pairs=pairs), 0)

    assert found.examples_by_pair is None


def test_evidence_is_counted_in_clusters() -> None:
    found = network_predictions(
        predictions_from(np.zeros((2, 8), int), [0] * 8, [0] * 4 + [1] * 4, clusters=[0] * 4 + [1, 1, 2, 3]), 0
    )

    # of sizes 2, 1 and 1, the large one is worth less than its size: 2.7 effective clusters
    assert found.evidence.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("name", "row", "value", "says"),
    [
        ("seed", 0, 7, "predict .* examples, which must be equal"),
        ("seed", 0, 1, "predict .* examples, which must be equal"),
        ("example", 0, 500, "differ in the column 'example'"),
        ("label", 0, 1, "differ in the column 'label'"),
        ("group", 81, 1, "differ in the column 'group'"),
        ("pair", 0, 33, "differ in the column 'pair'"),
        ("predicted", 3, 2, "prediction is outside 0 to 1"),
        ("predicted", 3, -1, "prediction is outside 0 to 1"),
        ("probability", 3, np.nan, "probability"),
        ("probability", 3, 1.5, "probability"),
    ],
)
def test_rows_that_contradict_each_other_are_a_measurement_error(name: str, row: int, value: Any, says: str) -> None:
    with pytest.raises(MeasurementError, match=says):
        network_predictions(changed(name, row, value), 0)


def test_a_pair_in_two_clusters_is_refused() -> None:
    torn = predictions_from(np.zeros((1, 4), int), [0] * 4, [0, 0, 1, 1], pairs=[0, 1, 0, 1], clusters=[0, 1, 0, 0])

    with pytest.raises(MeasurementError, match="pair 1 has examples of two clusters"):
        network_predictions(torn, 0)


def test_an_example_answered_twice_is_refused() -> None:
    twice = predictions_from(np.zeros((2, 4), int), [0] * 4, [0, 0, 1, 1])
    columns = {**twice.columns, "example": np.tile([0, 0, 1, 2], 2)}

    with pytest.raises(MeasurementError, match="an example twice"):
        network_predictions(replace(twice, columns=columns), 0)


def test_only_a_set_that_was_asked_the_same_is_comparable() -> None:
    own = network_predictions(GOOD, 0)
    other = drawn([[0.9, 0.8], [0.7, 0.9]], 21, np.random.default_rng(0), paired=True)
    fewer = drawn([[0.9, 0.8], [0.7, 0.9]], 20, np.random.default_rng(0), paired=True, seeds=2)

    same_examples(
        own,
        network_predictions(drawn([[0.5, 0.5], [0.5, 0.5]], 20, np.random.default_rng(5), paired=True), 0),
        name="x",
    )
    with pytest.raises(MeasurementError, match="'x' does not predict the same examples"):
        same_examples(own, network_predictions(other, 0), name="x")
    with pytest.raises(MeasurementError, match="2 seeds and the set with 3"):
        same_examples(own, network_predictions(fewer, 0), name="x")
