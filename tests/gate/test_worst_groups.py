"""The worst case of unknown groups is that of trying every assignment."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from small_predictions import predictions_from

from fair_distill.gate.network_predictions import NetworkPredictions, network_predictions
from fair_distill.gate.worst_groups import worst_case


def networks_of(answers: object, labels: object, groups: object) -> list[NetworkPredictions]:
    """Return predictions in which the last group is unknown."""
    network = network_predictions(predictions_from(answers, labels, groups, classes=2), 0)
    return [replace(network, attributes=(*((name,) for name in network.groups[:-1]), (None,)))]


@pytest.mark.parametrize("seed", range(4))
def test_the_worst_case_is_the_maximum_over_all_assignments(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(24) % 2, np.arange(7) % 2])
    groups = np.concatenate([np.arange(24) // 2 % 2, np.full(7, 2)])
    answers = rng.integers(0, 2, (3, 31))
    recognised = (answers == labels).mean(axis=0)

    def gap(assigned: object) -> float:
        of = np.concatenate([groups[:24], assigned])
        recalls = [[recognised[(labels == c) & (of == g)].mean() for g in (0, 1)] for c in (0, 1)]
        return float(np.ptp(recalls, axis=1).max())

    case = worst_case(networks_of(answers, labels, groups))

    assert case is not None
    assert (case.unknown, case.examples) == (7, 31)
    assert case.worst == pytest.approx(max(gap(assigned) for assigned in product((0, 1), repeat=7)))
    assert case.measured <= case.worst
    assert f"up to {case.worst:.3f}" in case.sentence()


def test_a_third_group_can_have_the_examples_that_fit_no_extreme() -> None:
    labels, groups = np.zeros(9, int), np.array([0, 0, 1, 1, 2, 2, 3, 3, 3])
    answers = np.array([[0, 1, 0, 1, 0, 1, 0, 1, 1], [0, 1, 1, 0, 0, 1, 0, 1, 0]])
    recognised = (answers == labels).mean(axis=0)

    def gap(assigned: object) -> float:
        of = np.concatenate([groups[:6], assigned])
        return float(np.ptp([recognised[of == g].mean() for g in range(3)]))

    case = worst_case(networks_of(answers, labels, groups))

    assert case is not None
    assert case.worst == pytest.approx(max(gap(assigned) for assigned in product(range(3), repeat=3)))


def test_without_unknown_groups_there_is_no_worst_case() -> None:
    labels, groups = np.arange(8) % 2, np.arange(8) // 4
    network = network_predictions(predictions_from([labels], labels, groups), 0)

    assert worst_case([network]) is None
    assert worst_case(networks_of([labels], labels, groups)) is None  # one known group
