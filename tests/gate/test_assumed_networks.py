"""A short version of `simulation_networks`: what each assumption about networks promises, and what breaks it."""

import pytest
from simulation_networks import (
    ALPHA,
    EachNetwork,
    Row,
    collapse,
    extremes,
    fair_on_average,
    false_passes,
    normal,
    one_in_ten_violates,
    within,
)


def row(mode: str, passes: float, replicates: int) -> Row:
    return Row(mode, "", 0, replicates, passes, promised=True)


def test_normal_networks_at_the_limit_pass_no_more_often_than_alpha():
    passes = false_passes(normal(0.17), (5, 20, 40), examples=200, replicates=1000)

    for networks in (5, 20, 40):
        assert passes["normal", networks] > 0
        assert not row("normal", passes["normal", networks], 1000).is_broken


def test_networks_that_collapse_break_the_normal_assumption_and_not_the_bounded_one():
    passes = false_passes(collapse, (5, 10), examples=1000, replicates=300)

    assert min(passes["normal", 5], passes["normal", 10]) > 4 * ALPHA
    assert not row("bounded", max(passes["bounded", 5], passes["bounded", 10]), 300).is_broken


def test_networks_are_added_until_a_bounded_set_passes_also_in_the_worst_case_of_one_bet():
    passes = false_passes(extremes, range(30, 46, 5), examples=400, replicates=500)

    assert passes["bounded", 0] > 0
    assert not row("bounded", passes["bounded", 0], 500).is_broken


def test_networks_that_are_added_until_a_set_passes_break_the_normal_bound():
    passes = false_passes(normal(0.17), range(5, 61, 5), examples=200, replicates=300)

    assert passes["normal", 0] > 1.5 * ALPHA


@pytest.mark.parametrize("networks", [20, 30, 50])
@pytest.mark.parametrize("gaps", [fair_on_average, one_in_ten_violates])
def test_a_set_of_which_a_tenth_of_networks_violates_the_limit_rarely_passes(networks: int, gaps: object):
    passes = EachNetwork(networks, gaps, examples=100).passes(replicates=200)

    assert not row("each_network", passes, 200).is_broken


def test_a_set_whose_networks_all_satisfy_the_limit_passes():
    assert EachNetwork(50, within(0.0), examples=400).passes(replicates=100) > 0.9
