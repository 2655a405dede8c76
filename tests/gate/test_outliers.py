"""Outlying networks: those that collapsed are listed, and neither chance nor rounding lists a network."""

import numpy as np
import pytest
from scipy.stats import t as student
from test_each_network import policy, verdict, with_gaps

from fair_distill.config import Gate
from fair_distill.gate.explain import explain
from fair_distill.gate.outliers import SMALLEST_DIFFERENCE, level_for, outlying
from fair_distill.gate.render import junit, markdown
from fair_distill.gate.verdict import Verdict

MEAN = {"metric": "eo_diag_max", "at_most": 0.9, "why": "a test"}


def rosner(values: np.ndarray) -> list[int]:
    """The generalised ESD test as the NIST handbook states it (1.3.5.17.3), with SciPy's quantiles."""
    n, rest = len(values), dict(enumerate(values))
    removed, outliers = [], 0
    for i in range(1, max(n // 4, 1) + 1):
        mean, sd = np.mean(list(rest.values())), np.std(list(rest.values()), ddof=1)
        index = max(rest, key=lambda k: abs(rest[k] - mean))
        p = 1 - level_for(n) / (2 * (n - i + 1))
        t = student.ppf(p, n - i - 1)
        critical = (n - i) * t / np.sqrt((n - i - 1 + t**2) * (n - i + 1))
        removed.append(index)
        if abs(rest.pop(index) - mean) / sd > critical:
            outliers = i
    return sorted(removed[:outliers])


def test_the_test_is_rosners():
    rng = np.random.default_rng(0)
    listed = 0
    for networks in (3, 5, 8, 20, 54):
        for _ in range(40):
            values = rng.normal(0, 10, networks)  # so wide that no difference is below the smallest one
            values[: networks // 6] += 200
            assert outlying(values) == rosner(values)
            listed += len(rosner(values))
    assert listed > 100


@pytest.mark.parametrize(("networks", "collapsed"), [(5, 1), (10, 1), (10, 2), (30, 3)])
def test_networks_that_collapsed_are_listed_also_if_there_are_several(networks: int, collapsed: int):
    rng = np.random.default_rng(1)
    complete = 0
    for _ in range(100):
        values = 0.9 + rng.normal(0, 0.02, networks)
        values[:collapsed] -= 0.5
        complete += set(range(collapsed)) <= set(outlying(values))

    assert complete >= 95


@pytest.mark.parametrize("networks", [3, 5, 10, 30])
def test_normal_networks_are_rarely_listed_however_much_they_scatter(networks: int):
    values = np.random.default_rng(2).normal(0, 0.2, (1500, networks))
    listed = np.mean([bool(outlying(each)) for each in values])

    assert 0 < listed <= 0.02  # the test is approximate for few networks


@pytest.mark.parametrize("networks", [5, 10, 30])
def test_a_largest_gap_which_is_skewed_to_the_right_is_rarely_listed(networks: int):
    gaps = np.abs(np.random.default_rng(3).normal(0, 0.1, (1000, networks, 10))).max(axis=-1)

    assert np.mean([bool(outlying(each)) for each in gaps]) <= 0.03


def test_rounding_and_single_examples_are_not_listed():
    assert outlying(np.array([0.9] * 9 + [0.9 - 1e-12])) == []
    assert outlying(np.array([0.9] * 9 + [0.9 - SMALLEST_DIFFERENCE + 0.001])) == []
    assert outlying(np.array([0.9] * 9 + [0.9 - SMALLEST_DIFFERENCE - 0.001])) == [9]
    assert outlying(np.array([0.9] * 5)) == []
    assert outlying(np.array([0.9, 0.1])) == []
    assert outlying(np.array([0.9, 0.9, 0.9, np.nan])) == []


def test_an_outlying_network_is_in_the_verdict_and_in_all_that_is_made_from_it():
    done = verdict(with_gaps([0.0] * 7 + [0.5] + [0.02] * 2, cell=50), policy(MEAN))

    (network,) = done.outlying
    assert (network.clause, network.network, network.seed) == ("eo_diag_max", "network0", 7)
    assert (network.value, network.others) == (pytest.approx(0.5), pytest.approx(0.04 / 9))
    (warning,) = done.warnings
    assert warning.startswith("seed 7 of network0 is far from the other networks: eo_diag_max 0.500 (others 0.004)")
    assert "`networks: bounded` or more seeds" in warning
    assert Verdict.from_json(done.to_json()) == done
    assert "seed 7 of network0 is far" in markdown("set", done).replace("\\", "")
    assert "seed 7 of network0 is far" in junit("set", done)
    assert not any("seed 7" in line for line in explain(done))  # the command prints warnings itself


def test_without_bounds_an_outlying_network_is_listed_and_no_assumption_is_doubted():
    gate = Gate.model_validate({"mode": "point", "limits": [MEAN]})
    done = verdict(with_gaps([0.0] * 7 + [0.5] + [0.02] * 2, cell=50), gate)

    assert done.assumption == ""
    (warning,) = done.warnings
    assert "doubtful" not in warning
    assert len(done.outlying) == 1


def test_a_network_that_is_far_from_the_others_as_its_reference_is_not_listed_over_it():
    gaps = [0.0] * 7 + [0.5] + [0.02] * 2
    own, reference = with_gaps(gaps, cell=50), with_gaps(gaps, cell=50, set="c" * 64)
    done = verdict(own, policy({**MEAN, "over": "full"}), references={"full": reference.to_parquet()})

    assert done.outlying == ()
    assert len(verdict(own, policy(MEAN)).outlying) == 1


def test_a_verdict_names_what_its_bounds_assume_about_networks():
    each = {**MEAN, "each_network": 0.9}
    assumptions = [verdict(with_gaps([0.0] * 3, cell=50), policy(limit)).assumption for limit in (MEAN, each)]

    assert "normally distributed over networks" in assumptions[0]
    assert assumptions[1] == "clauses with each_network are valid if networks are trained independently"
    done = verdict(with_gaps([0.0] * 3, cell=50), policy(MEAN))
    assert assumptions[0] in markdown("set", done)
    assert assumptions[0] in junit("set", done)


def test_a_verdict_without_outlying_networks_has_no_such_key():
    done = verdict(with_gaps([0.0, 0.02, 0.04], cell=50), policy(MEAN))

    assert done.outlying == done.warnings == ()
    assert b'"outlying"' not in done.to_json()
