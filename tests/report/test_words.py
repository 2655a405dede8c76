"""What the report says first: true of the verdict, whatever that is."""

from dataclasses import replace

import numpy as np
import pytest
from small_predictions import drawn

from fair_distill.config import Gate
from fair_distill.gate.judge import Verdict, judge
from fair_distill.gate.verdict import EXIT_CODES
from fair_distill.report.wording import OUTCOME_WORDS, lead, metric, number, percent

LIMITS = [
    {"metric": "eo_diag_max", "at_most": 0.2, "why": "a test"},
    {"metric": "accuracy", "at_least": 0.5, "why": "a test"},
]
BOUNDS = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 3, "minimum_per_cell": 50}


def verdict_on(rates: list[list[float]], of: int = 400, **policy: object) -> Verdict:
    predictions = drawn(rates, of, np.random.default_rng(0)).to_parquet()
    gate = Gate.model_validate({**BOUNDS, "limits": LIMITS, **policy})
    return judge(predictions, gate, context=b"{}", engine=1)


FAIR = verdict_on([[0.95, 0.95], [0.9, 0.9]])


def test_every_outcome_has_words() -> None:
    assert set(OUTCOME_WORDS) == set(EXIT_CODES)


def test_a_pass_names_the_closest_call() -> None:
    assert FAIR.outcome == "pass"
    told, bound = lead(FAIR), FAIR.findings[0].bound

    assert "All 2 limits are satisfied" in told
    assert f"at most {percent(bound)}; the limit is {percent(0.2)}" in told


def test_a_refusal_counts_what_is_broken_and_names_the_first() -> None:
    broken = verdict_on([[0.95, 0.2], [0.9, 0.9]])

    assert broken.outcome == "fail"
    assert "1 of 2 limits is violated" in lead(broken)
    assert percent(broken.findings[0].value) in lead(broken)


def test_what_was_not_shown_is_not_called_broken() -> None:
    open_ = verdict_on([[0.95, 0.85], [0.9, 0.9]], 60)

    assert open_.outcome == "inconclusive"
    assert "1 of 2 limits is not demonstrated" in lead(open_)
    assert "violated" not in lead(open_)


def test_what_was_not_measured_says_why() -> None:
    few = verdict_on([[0.95, 0.85], [0.9, 0.9]], 20)

    assert few.outcome == "insufficient"
    assert "too little evidence" in lead(few)


def test_bare_numbers_claim_no_confidence() -> None:
    point = verdict_on([[0.95, 0.95], [0.9, 0.9]], mode="point", alpha=None, minimum_seeds=None, minimum_per_cell=None)

    assert "without a confidence level" in lead(point)
    assert "measured at" in lead(point)


def test_a_waiver_is_said() -> None:
    broken = verdict_on([[0.95, 0.2], [0.9, 0.9]])
    waived = replace(broken, outcome="waived", findings=(replace(broken.findings[0], waiver="by two"),))

    assert "Two people have signed a waiver" in lead(waived)


def test_a_clause_keeps_what_tells_it_from_others() -> None:
    assert metric("accuracy over full") == "Accuracy over full"
    assert metric("something new") == "something new"


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (0.0, "0.0\u202f%"), (0.1666, "16.7\u202f%"), (1, "100.0\u202f%")]
)
def test_fractions_are_shown_in_per_cent(value: float | None, shown: str) -> None:
    assert percent(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(None, "–"), (0.4, "0.400"), (1.7, "1.70"), (123.0, "123")])
def test_lengths_have_three_digits(value: float | None, shown: str) -> None:
    assert number(value) == shown
