"""A verdict gets one recommendation, which fits the kind of the set and contradicts nothing."""

from dataclasses import replace

import numpy as np
import pytest
from forbidden_advice import faults
from metric_contract import clause
from small_predictions import drawn

from fair_distill.config import Gate
from fair_distill.gate.advice import CHANCE, Advice, Evaluation
from fair_distill.gate.explain import explain
from fair_distill.gate.judge import Verdict, judge
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.recommendation import needs_simulation, recommend
from fair_distill.gate.set_kind import KINDS, SetKind

LARGER = Evaluation(seeds=10, examples=2.0, chance=0.84, hardest="eo_diag_max")
PROPOSED = Advice(alpha=0.0076, seeds=5, proposed=LARGER, best=LARGER)
NOTHING = Advice(alpha=0.0076, seeds=5, proposed=None, best=replace(LARGER, chance=0.31))


def verdict_with(*, gap: float, accuracy: float, minimum: int = 10, mode: str = "bounds") -> Verdict:
    """Judge predictions with a gap of 0.21 and a smallest recall of 0.63 by two limits."""
    limits = [
        {"metric": "eo_diag_max", "at_most": gap, "why": "a test"},
        {"metric": "worst_cell_accuracy", "at_least": accuracy, "why": "a test"},
    ]
    bounds = {"alpha": 0.05, "minimum_seeds": 2, "minimum_per_cell": minimum} if mode == "bounds" else {}
    policy = Gate.model_validate({"mode": mode, **bounds, "limits": limits})
    table = drawn([[0.9, 0.6], [0.8, 0.8]], 100, np.random.default_rng(0))
    return judge(table.to_parquet(), policy, context=b"", engine=1)


VERDICTS = {
    "pass": verdict_with(gap=0.9, accuracy=0.1),
    "fail": verdict_with(gap=0.05, accuracy=0.1),
    "both fail": verdict_with(gap=0.05, accuracy=0.9),
    "fail and inconclusive": verdict_with(gap=0.05, accuracy=0.57),
    "inconclusive": verdict_with(gap=0.3, accuracy=0.57),
    "insufficient": verdict_with(gap=0.05, accuracy=0.1, minimum=1000),
    "point": verdict_with(gap=0.05, accuracy=0.9, mode="point"),
}


@pytest.mark.parametrize("advice", [None, PROPOSED, NOTHING])
@pytest.mark.parametrize("outcome", VERDICTS)
def test_there_is_one_recommendation_and_it_fits_every_kind(outcome: str, advice: Advice | None) -> None:
    verdict = VERDICTS[outcome]
    assert outcome not in ("pass", "fail", "inconclusive", "insufficient") or verdict.outcome == outcome
    given = advice if needs_simulation(verdict) else None
    for kind in KINDS:
        lines = recommend(verdict, kind, given)
        recommended = [line for line in lines if line.startswith("recommendation: ")]
        expected = 0 if verdict.lets_pass or (outcome == "inconclusive" and given is None) else 1
        assert len(recommended) == expected
        assert not faults("\n".join([*explain(verdict), *lines]), kind)


@pytest.mark.parametrize("metric", PREDICTION_METRICS)
def test_a_shown_violation_of_any_metric_is_never_answered_with_more_evidence(metric: str) -> None:
    own = clause(PREDICTION_METRICS[metric])
    strict = {"at_most": 0.0} if own.at_most is not None else {"at_least": 1.0}
    limits = [{"metric": metric, "why": "a test", **strict}]
    bounds = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 2, "minimum_per_cell": 10}
    policy = Gate.model_validate({**bounds, "limits": limits})
    table = drawn([[0.9, 0.3], [0.4, 0.8]], 300, np.random.default_rng(0))
    verdict = judge(table.to_parquet(), policy, context=b"", engine=1)

    for kind in KINDS:
        text = "\n".join(recommend(verdict, kind, None if verdict.outcome == "fail" else NOTHING))
        assert text.startswith("recommendation: ")
        assert "evaluate with" not in text
        assert not faults(text, kind)


def test_a_violation_of_a_gap_decides_what_to_change() -> None:
    (line,) = recommend(VERDICTS["both fail"], "pooled")

    assert "violates eo_diag_max, worst_cell_accuracy" in line
    assert "another evaluation would not help" in line
    assert "`alignment: barycentric`" in line
    assert "distil longer" not in line


def test_a_proposal_names_sizes_chance_and_what_the_attempt_costs() -> None:
    verdict = VERDICTS["inconclusive"]
    first, cost = recommend(verdict, "pooled", PROPOSED)

    assert "evaluate with 10 seeds (evaluate.seeds, now 5) and 2 times the examples in the gate split" in first
    assert "in 84 % of simulated evaluations all clauses pass" in first
    assert f"alpha 0.0076 instead of {verdict.alpha:.2g}" in cost


def test_if_no_evaluation_is_likely_to_pass_the_set_has_to_change() -> None:
    (line,) = recommend(VERDICTS["inconclusive"], "full", NOTHING)

    assert f"with a chance of {100 * CHANCE:.0f} %" in line
    assert "the best chance is 31 %" in line
    assert "Change the set: this set is all of the training data" in line


def test_clauses_that_are_not_simulated_are_named_with_the_seeds_that_they_need() -> None:
    omitted = {"eo_diag_max in 90 % of networks": 29, "accuracy over full": None}
    first, _ = recommend(VERDICTS["inconclusive"], "pooled", replace(PROPOSED, omitted=omitted))
    (only,) = recommend(VERDICTS["inconclusive"], "pooled", replace(NOTHING, best=None, omitted=omitted))

    for line in (first, only):
        assert "not simulated: eo_diag_max in 90 % of networks (at least 29 seeds), accuracy over full" in line
    assert "all other clauses pass then" in first
    assert "% of simulated" not in only


@pytest.mark.parametrize("kind", KINDS)
def test_bare_numbers_need_no_evaluation(kind: SetKind) -> None:
    assert not needs_simulation(VERDICTS["point"])
    (line,) = recommend(VERDICTS["point"], kind)
    assert "evaluation" not in line
