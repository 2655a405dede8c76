"""The rule by which attempts share alpha."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.attempts import COMMON, WEEKLY, added_seeds, always_first, false_passes, planned
from fair_distill.gate.spending import fraction_of, legacy_fraction


@pytest.mark.parametrize("planned", [1, 2, 5, 14, 104])
def test_planned_attempts_take_equal_fractions_and_later_ones_half_of_what_is_left(planned: int) -> None:
    left, fractions = 1.0, []
    for _ in range(planned + 20):
        fractions.append(fraction_of(left, planned))
        left -= fractions[-1]

    assert fractions[:planned] == pytest.approx([0.9 / planned] * planned)
    assert fractions[planned] == pytest.approx(min(0.9 / planned, 0.05))
    assert sum(fractions) < 1
    assert fractions == sorted(fractions, reverse=True) or planned > 18


@given(st.floats(0, 1), st.integers(1, 10**6))
def test_no_attempt_takes_more_than_is_left(left: float, planned: int) -> None:
    fraction = fraction_of(left, planned)

    assert 0 <= fraction <= max(left / 2, left - 0.1, 0) + 1e-12
    assert fraction <= 0.9 / planned
    assert fraction_of(-left, planned) == 0


@given(st.integers(1, 200), st.floats(0, 0.1), st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_on_every_split_the_fractions_by_share_add_up_to_less_than_one(
    planned: int, growth: float, moves: list[float]
) -> None:
    """Splits that grow and lose examples: example i belongs to split k if start <= i < end."""
    start, end, past = 0.0, 100.0, []
    for move in moves:
        spent = sum(f * max(0.0, min(e, end) - max(s, start)) / (end - start) for f, s, e in past)
        past.append((fraction_of(1 - spent, planned), start, end))
        assert spent < 1 + 1e-9 or past[-1][0] == 0
        assert spent + past[-1][0] < max(spent, 1) + 1e-9
        start, end = start + growth * move * 50, end + growth * 100


def test_the_rule_of_earlier_releases_adds_up_to_one() -> None:
    fractions = [legacy_fraction(k) for k in range(1, 20_000)]

    assert np.sum(fractions) == pytest.approx(1, rel=1e-4)
    assert fractions[0] == pytest.approx(0.608, abs=1e-3)


# ---- simulated sequences of sets at the limit ------------------------------------------------------------------------

ALPHA, REPLICATES = 0.05, 20_000
# Three standard errors of a share near alpha.
ERROR = 3 * (ALPHA * (1 - ALPHA) / REPLICATES) ** 0.5


@pytest.mark.parametrize("common", COMMON)
@pytest.mark.parametrize(
    ("sizes", "attempts"),
    [(WEEKLY, 104), ([1.0] * 20, 1), ([1.0] * 20, 20)],
    ids=["104 weeks", "20 attempts, one planned", "20 planned attempts"],
)
def test_planned_sequences_pass_falsely_at_most_as_often_as_alpha(
    sizes: list[float], attempts: int, common: float
) -> None:
    levels = ALPHA * planned(attempts)(sizes)

    assert levels.sum() < ALPHA
    assert false_passes(sizes, levels, common, np.random.default_rng(1), REPLICATES) < ALPHA + ERROR


def test_attempts_that_are_not_recognised_as_new_ones_pass_falsely_more_often() -> None:
    """The simulation can fail: this was the rule for retrainings and for more seeds."""
    rng = np.random.default_rng(1)

    assert false_passes([1.0] * 20, ALPHA * always_first([1.0] * 20), 0.9, rng, REPLICATES) > 0.08
    assert added_seeds(ALPHA * always_first([1.0] * 26), rng, REPLICATES) > 0.1
    assert added_seeds(ALPHA * planned(1)([1.0] * 26), rng, REPLICATES) < ALPHA + ERROR


@pytest.mark.parametrize("attempts", [1, 5, 14, 104])
def test_weekly_attempts_on_a_growing_split_stay_affordable(attempts: int) -> None:
    fractions = planned(attempts)(WEEKLY)

    assert fractions[20:].min() > 0.0085  # before: 0.0014 at the 21st attempt, 0.0001 at the 104th
    assert fractions.sum() <= 1 + np.log(WEEKLY[-1])
