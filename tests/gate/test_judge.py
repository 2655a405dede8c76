"""The verdict: the worst network decides, a value at the limit passes, and all inputs are recorded."""

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_predictions import drawn, predictions_from, predictions_of, recalls_of

from fair_distill.config import Gate
from fair_distill.errors import ConfigError, IntegrityError, MeasurementError
from fair_distill.files import sha256, to_json
from fair_distill.gate.judge import Verdict, judge, policy_digest
from fair_distill.gate.metrics import METRICS

# recalls: group 0 has .9 and .8, group 1 has .6 and .7; so EODM is .3, EODA .2, accuracy .75
ONE = recalls_of([(9, 8), (6, 7)], 10)


def policy(**limits: float) -> Gate:
    """A clause for each metric: a floor for accuracies, a ceiling for gaps."""
    clauses = [
        {"metric": name, ("at_least" if "accuracy" in name else "at_most"): bound, "why": "a test"}
        for name, bound in limits.items()
    ]
    return Gate.model_validate({"mode": "point", "limits": clauses})


def reserved(number: int) -> bytes:
    """A context that reserves an attempt for the set and split that `predictions_of` names."""
    return to_json({"attempt": {"set": "a" * 64, "split": "b" * 64, "number": number}})


def judged(counts: Any, gate: Gate, *, context: bytes = b"{}", engine: int = 1, **about: str) -> Verdict:
    runs = counts if isinstance(counts, dict) else {(0, 0): counts}
    networks = tuple(f"network{i}" for i in sorted({network for network, _ in runs}))
    return judge(predictions_of(runs, networks=networks, **about).to_parquet(), gate, context=context, engine=engine)


def test_a_set_within_every_limit_passes() -> None:
    verdict = judged(ONE, policy(eo_diag_max=0.31, accuracy=0.74))

    assert verdict.outcome == "pass"
    assert verdict.reasons == ()
    assert [finding.sentence for finding in verdict.findings] == [
        "eo_diag_max: 0.300 (network0) is within the limit 0.310 (mode: point, no confidence)",
        "accuracy: 0.750 (network0) is at or above the limit 0.740 (mode: point, no confidence)",
    ]


def test_one_breach_fails_and_is_said_in_a_sentence() -> None:
    verdict = judged(ONE, policy(eo_diag_max=0.29, accuracy=0.74, eo_diag_mean=0.1))

    assert verdict.outcome == "fail"
    assert [finding.satisfied for finding in verdict.findings] == [False, True, False]
    assert verdict.reasons == (
        "eo_diag_max: 0.300 (network0) is over the limit 0.290 (mode: point, no confidence); class 'class0' is "
        "recognised in 90.0 % of 10 examples of group 'group0' and in 60.0 % of 10 examples of group 'group1'; the "
        "training data or the training has to change",
        verdict.findings[2].sentence,
    )
    assert verdict.reasons[1].startswith("eo_diag_mean: 0.200 (network0) is over the limit 0.100")


def test_a_floor_that_is_not_reached_fails() -> None:
    verdict = judged(ONE, policy(accuracy=0.76))

    (reason,) = verdict.reasons
    assert reason.startswith("accuracy: 0.750 (network0) is below the limit 0.760")
    assert "right in 75.0 % of 40 examples of all groups" in reason


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_bound_that_is_no_number_keeps_no_limit() -> None:
    """At such a risk the quantile is infinite, and infinity times 0 is NaN, which is larger than nothing."""
    runs = {(0, seed): ONE for seed in range(3)}
    terms = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 2, "minimum_per_cell": 2}
    gate = policy(eo_diag_max=1.0).model_copy(update=terms | {"alpha": 1e-320})
    assert judged(runs, gate.model_copy(update=terms)).outcome == "pass"

    verdict = judged(runs, gate)

    (finding,) = verdict.findings
    assert finding.bound is not None
    assert np.isnan(finding.bound)
    assert verdict.outcome == "inconclusive"


def test_the_limit_itself_is_kept() -> None:
    verdict = judged(ONE, policy(eo_diag_max=0.3, eo_diag_mean=0.2, accuracy=0.75, worst_cell_accuracy=0.6))

    assert verdict.outcome == "pass"


@settings(max_examples=30)
@given(st.integers(1, 40), st.data())
def test_a_gap_of_exactly_the_limit_is_kept_whatever_floats_make_of_it(of: int, data: st.DataObject) -> None:
    high, low = (data.draw(st.integers(0, of)) for _ in range(2))
    counts = recalls_of([(max(high, low), of), (min(high, low), of)], of)
    gap = abs(high - low) / of  # 0.9 - 0.6 is 0.30000000000000004

    assert judged(counts, policy(eo_diag_max=gap)).outcome == "pass"
    if gap > 0:
        assert judged(counts, policy(eo_diag_max=gap - 1e-6)).outcome == "fail"


def test_a_floor_reached_on_average_over_seeds_is_kept() -> None:
    runs = {(0, seed): recalls_of([(8, right), (8, right)], 10) for seed, right in enumerate((5, 6, 10))}

    assert judged(runs, policy(worst_cell_accuracy=0.7)).outcome == "pass"


def test_an_empty_cell_is_insufficient_and_named() -> None:
    counts = ONE.copy()
    counts[1, 0] = 0

    verdict = judged(counts, policy(eo_diag_max=1.0))

    assert verdict.outcome == "insufficient"
    assert verdict.reasons == (
        "eo_diag_max: not measured, class 'class0' has no examples of group 'group1' to measure on",
    )
    assert (verdict.findings[0].value, verdict.findings[0].satisfied) == (None, None)


def test_a_breach_outweighs_what_could_not_be_measured() -> None:
    counts = ONE.copy()
    counts[1, 0] = 0

    verdict = judged(counts, policy(eo_diag_max=1.0, accuracy=1.0))

    assert verdict.outcome == "fail"
    assert len(verdict.reasons) == 2


GOOD, BAD = recalls_of([(9, 9), (9, 9)], 10), recalls_of([(9, 5), (5, 9)], 10)


@pytest.mark.parametrize("worst", [0, 1, 2])
def test_the_worst_network_decides(worst: int) -> None:
    runs = {(network, seed): BAD if network == worst else GOOD for network in range(3) for seed in range(2)}

    verdict = judged(runs, policy(eo_diag_max=0.1, accuracy=0.8))

    assert verdict.outcome == "fail"
    assert [finding.network for finding in verdict.findings] == [f"network{worst}"] * 2
    assert [finding.value for finding in verdict.findings] == pytest.approx([0.4, 0.7])


def test_seeds_of_one_network_are_averaged() -> None:
    opposite = BAD[::-1].copy()

    assert judged({(0, 0): BAD, (0, 1): opposite}, policy(eo_diag_max=0.0)).outcome == "pass"
    assert judged({(0, 0): BAD, (1, 0): opposite}, policy(eo_diag_max=0.0)).outcome == "fail"


def test_networks_may_have_seeds_of_their_own() -> None:
    verdict = judged({(0, 0): BAD, (0, 1): GOOD, (1, 0): GOOD}, policy(eo_diag_max=0.1))

    assert (verdict.findings[0].network, verdict.findings[0].value) == ("network0", pytest.approx(0.2))


@pytest.mark.parametrize("odd", [0, 1, 2])
def test_networks_that_answered_different_examples_get_no_verdict(odd: int) -> None:
    fewer = recalls_of([(9, 9), (9, 9)], 9)

    with pytest.raises(MeasurementError):
        judged({(network, 0): fewer if network == odd else GOOD for network in range(3)}, policy(accuracy=0.1))


def test_judging_twice_gives_the_same_bytes() -> None:
    once, again = (judged(ONE, policy(eo_diag_max=0.3, accuracy=0.7)) for _ in range(2))

    assert once.to_json() == again.to_json()


def test_a_verdict_names_what_it_was_made_from() -> None:
    gate = policy(eo_diag_max=0.3)
    content = predictions_of({(0, 0): ONE}, set="c" * 64, split="d" * 64).to_parquet()

    verdict = judge(content, gate, context=b"{}\n", engine=3)

    assert verdict.predictions == sha256(content)
    assert (verdict.set, verdict.split, verdict.engine) == ("c" * 64, "d" * 64, 3)
    assert verdict.context == sha256(b"{}\n")
    assert verdict.policy == policy_digest(gate)


@pytest.mark.parametrize(
    ("changes", "moves"),
    [
        ({"gate": policy(eo_diag_max=0.31)}, "policy"),
        ({"gate": policy(eo_diag_max=0.3, accuracy=0.1)}, "policy"),
        ({"context": reserved(2)}, "context"),
        ({"engine": 2}, "engine"),
        ({"set": "c" * 64}, "set"),
        ({"split": "d" * 64}, "split"),
        ({"counts": BAD}, "predictions"),
    ],
)
def test_whatever_changes_moves_its_digest(changes: dict[str, Any], moves: str) -> None:
    same: dict[str, Any] = {"counts": ONE, "gate": policy(eo_diag_max=0.3)}

    before, after = judged(**same), judged(**(same | changes))

    assert getattr(before, moves) != getattr(after, moves)
    assert before.to_json() != after.to_json()


def test_why_a_limit_is_what_it_is_belongs_to_the_policy() -> None:
    limit = {"metric": "accuracy", "at_least": 0.5}
    one, other = (
        Gate.model_validate({"mode": "point", "limits": [limit | {"why": why}]}) for why in ("because", "because of x")
    )

    assert policy_digest(one) != policy_digest(other)
    assert policy_digest(one) == policy_digest(
        Gate.model_validate({"mode": "point", "limits": [limit | {"why": "because"}]})
    )


def test_an_unknown_metric_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ConfigError, match=f"gate.limits names metric 'eod'; choose one of {', '.join(METRICS)}"):
        judge(b"no predictions", policy(eod=0.1), context=b"{}", engine=1)


def test_no_predictions_are_no_evidence() -> None:
    with pytest.raises(MeasurementError):
        judged(ONE * 0, policy(eo_diag_max=1.0))


def test_a_verdict_reads_back_as_it_was_written() -> None:
    verdict = judged(ONE, policy(eo_diag_max=0.2, accuracy=0.7))

    assert Verdict.from_json(verdict.to_json()) == verdict


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"findings": 3}', b'{"findings": [{"metric": "accuracy"}]}'])
def test_what_is_no_verdict_is_refused(content: bytes) -> None:
    with pytest.raises(IntegrityError, match=r"^the verdict[^\n]+$"):
        Verdict.from_json(content, name="the verdict")


# ---- with confidence ------------------------------------------------------------------------------------------------


def strict(*clauses: dict[str, Any], **more: Any) -> Gate:
    bounds = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 3, "minimum_per_cell": 30}
    return Gate.model_validate(bounds | {"limits": [{"why": "a test", **clause} for clause in clauses]} | more)


EODM = {"metric": "eo_diag_max", "at_most": 0.2}


def of_rates(rates: Any, of: int = 200, seed: int = 0, **more: Any) -> bytes:
    return drawn(rates, of, np.random.default_rng(seed), **more).to_parquet()


def decided(predictions: bytes, *clauses: dict[str, Any], context: bytes = b"", **more: Any) -> Verdict:
    return judge(predictions, strict(*clauses), context=context, engine=1, **more)


def test_a_bound_within_the_limit_passes_and_says_with_what_confidence() -> None:
    verdict = decided(of_rates([[0.9, 0.9], [0.8, 0.8]], 400), EODM)

    (finding,) = verdict.findings
    assert verdict.outcome == "pass"
    assert finding.value is not None
    assert finding.bound is not None
    assert finding.value < finding.bound <= 0.2
    assert finding.sentence.endswith(f"is within the limit 0.200: at most {finding.bound:.3f} with 95.5 % confidence")
    assert finding.culprits == ()
    assert finding.noise is not None
    assert finding.per_seed is not None
    assert verdict.alpha == pytest.approx(0.9 * 0.05)


def test_a_number_within_the_limit_whose_bound_is_not_is_inconclusive_and_names_what_limits_the_bound() -> None:
    verdict = decided(of_rates([[0.9, 0.85], [0.8, 0.8]], 60, seed=2, alike=1.0), EODM)

    (finding,) = verdict.findings
    assert verdict.outcome == "inconclusive"
    assert finding.value is not None
    assert finding.value < 0.2
    assert "is not shown to stay within the limit 0.200" in finding.sentence
    assert "the number of examples limits the bound" in finding.sentence
    assert verdict.exit_code == 3


def test_a_breach_that_is_sure_fails() -> None:
    verdict = decided(of_rates([[0.9, 0.3], [0.8, 0.8]], 400), EODM)

    (finding,) = verdict.findings
    assert verdict.outcome == "fail"
    assert verdict.exit_code == 1
    assert "class 'class0' is recognised in" in finding.sentence
    (culprit,) = finding.culprits
    assert (culprit.classes, culprit.groups, culprit.examples) == (("class0",), (("group0",), ("group1",)), (400, 400))


def test_a_breach_that_may_be_chance_is_no_failure() -> None:
    verdict = decided(of_rates([[0.9, 0.6], [0.8, 0.8]], 40), EODM)

    assert verdict.findings[0].value is not None
    assert verdict.findings[0].value > 0.2
    assert verdict.outcome == "inconclusive"
    assert "the value itself is beyond the limit: the training data" in verdict.reasons[0]


def test_with_one_seed_nothing_is_sure() -> None:
    verdict = decided(of_rates([[0.9, 0.3], [0.8, 0.8]], 400, seeds=1), EODM)

    assert verdict.outcome == "insufficient"
    assert "trained with 1 of the 3 seeds that are needed; raise params.yaml: evaluate.seeds" in verdict.reasons[0]


def test_every_network_has_to_pass() -> None:
    rng = np.random.default_rng(0)
    good, bad = (drawn([[0.9, rate], [0.9, 0.9]], 300, rng) for rate in (0.9, 0.3))
    columns = {name: np.concatenate([good.columns[name], bad.columns[name]]) for name in good.columns}
    columns["network"] = np.repeat([0, 1], len(good))

    verdict = decided(replace(good, networks=("wide", "deep"), columns=columns).to_parquet(), EODM)
    assert verdict.outcome == "fail"
    assert verdict.findings[0].network == "deep"
    assert {row.network for row in verdict.groups} == {"wide", "deep"}


def test_a_split_asked_for_the_second_time_is_harder_to_pass() -> None:
    predictions = of_rates([[0.9, 0.9], [0.8, 0.8]], 150)
    bounds = [decided(predictions, EODM, context=reserved(attempt)).findings[0].bound or 0 for attempt in range(1, 11)]

    assert bounds == sorted(bounds)
    assert bounds[9] > 1.2 * bounds[0]


def test_paired_images_decide_what_as_many_unpaired_ones_do_not() -> None:
    rates = [[0.9, 0.9], [0.8, 0.8]]

    assert decided(of_rates(rates, 70, paired=True), EODM).outcome == "pass"
    assert decided(of_rates(rates, 70), EODM).outcome == "inconclusive"


def test_no_bound_says_what_cannot_be() -> None:
    clauses = [EODM, {"metric": "worst_cell_accuracy", "at_least": 0.5}, {"metric": "dpd_max", "at_most": 0.1}]
    verdict = decided(of_rates([[0.9, 0.0], [0.05, 1.0]], 30), *clauses)

    for finding in verdict.findings:
        for bound in (finding.bound, *(culprit.bound for culprit in finding.culprits)):
            assert bound is not None
            assert 0 <= bound <= 1


def test_groups_are_told_with_their_numbers_and_intervals() -> None:
    verdict = decided(of_rates([[0.9, 0.5], [0.8, 0.8]], 100), EODM)

    for row in verdict.groups:
        assert (row.examples, row.clusters) == (200, 200)
        assert row.accuracy is not None
        assert row.low is not None
        assert row.high is not None
        assert 0 <= row.low < row.accuracy < row.high <= 1


# ---- over other sets ------------------------------------------------------------------------------------------------

FULL = of_rates([[0.9, 0.5], [0.9, 0.9]], 300, seed=3)
RISE = {"metric": "eo_diag_max", "over": "full", "at_most": 0.1}


def test_a_set_that_amplifies_fails_and_one_that_does_not_passes() -> None:
    fairer, worse = of_rates([[0.9, 0.8], [0.9, 0.9]], 300), of_rates([[0.9, 0.05], [0.9, 0.9]], 300)

    assert decided(fairer, RISE, references={"full": FULL}).outcome == "pass"
    verdict = decided(worse, RISE, references={"full": FULL})
    assert verdict.outcome == "fail"
    assert verdict.references == {"full": sha256(FULL)}
    assert verdict.compared["full"]["convnet"]["eo_diag_max"] == pytest.approx(0.4, abs=0.08)


def test_a_clause_over_a_set_that_is_not_given_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="eo_diag_max over full: the predictions of 'full' were not given"):
        decided(FULL, RISE)


def test_a_reference_of_another_split_is_an_integrity_error() -> None:
    other = of_rates([[0.9, 0.5], [0.9, 0.9]], 300, split="e" * 64)

    with pytest.raises(IntegrityError, match="'full' was evaluated on the split eeeeeeeeeeee"):
        decided(FULL, RISE, references={"full": other})


def test_a_reference_without_the_network_or_the_examples_is_a_measurement_error() -> None:
    other = of_rates([[0.9, 0.5], [0.9, 0.9]], 300, networks=("deep",))
    fewer = of_rates([[0.9, 0.5], [0.9, 0.9]], 299)

    with pytest.raises(MeasurementError, match="not evaluated with the network convnet"):
        decided(FULL, RISE, references={"full": other})
    with pytest.raises(MeasurementError, match="same examples"):
        decided(FULL, RISE, references={"full": fewer})


def regression(rule: str) -> dict[str, Any]:
    return {"metric": "eo_diag_max", "over": "promoted", "at_most": 0.1, "first_release": rule}


def promoted(predictions: bytes, version: str = "c" * 64) -> bytes:
    return to_json({"promoted": {"version": version, "predictions": sha256(predictions)}})


def test_a_first_release_is_accepted_or_refused_as_the_policy_says_and_never_in_silence() -> None:
    accepted, refused = (decided(FULL, regression(rule)) for rule in ("accept", "refuse"))

    assert (accepted.outcome, refused.outcome) == ("pass", "fail")
    assert accepted.findings[0].sentence == (
        "eo_diag_max over promoted: nothing is promoted yet, which this clause does accept"
    )
    assert refused.reasons == ("eo_diag_max over promoted: nothing is promoted yet, which this clause does not accept",)


def test_a_set_worse_than_what_is_promoted_fails() -> None:
    before = of_rates([[0.9, 0.9], [0.9, 0.9]], 300, set="c" * 64)
    worse = of_rates([[0.9, 0.4], [0.9, 0.9]], 300)
    given = {"references": {"promoted": before}, "context": promoted(before)}

    assert decided(worse, regression("accept"), **given).outcome == "fail"
    assert decided(of_rates([[0.9, 0.9], [0.9, 0.9]], 300), regression("accept"), **given).outcome == "pass"


def test_predictions_that_are_not_the_promoted_ones_are_an_integrity_error() -> None:
    before = of_rates([[0.9, 0.9], [0.9, 0.9]], 300, set="c" * 64)

    for context in (b"{}", promoted(FULL), promoted(before, "d" * 64)):
        with pytest.raises(IntegrityError):
            decided(FULL, regression("accept"), references={"promoted": before}, context=context)
    with pytest.raises(ConfigError, match="'promoted' were not given"):
        decided(FULL, regression("accept"), context=promoted(before))


# ---- floors and waivers ---------------------------------------------------------------------------------------------


def test_a_policy_below_the_organisations_floor_judges_nothing() -> None:
    with pytest.raises(ConfigError, match=r"the policy floor requires the clause 'eo_diag_max' with at_most 0\.1"):
        decided(FULL, EODM, floor=strict({"metric": "eo_diag_max", "at_most": 0.1}))

    floor = strict({"metric": "eo_diag_max", "at_most": 0.5})
    assert decided(FULL, EODM, floor=floor).policy_floor == policy_digest(floor)
    assert decided(FULL, EODM).policy_floor is None


def waiver(**changes: Any) -> bytes:
    fields = {"set": "a" * 64, "clause": "eo_diag_max", "who": "Ada", "approved_by": "Grace", "why": "a trial"}
    return to_json({"waivers": [{**fields, "expires": "2026-06-30", **changes}]})


@pytest.mark.parametrize("rate", [0.3, 0.8])
def test_what_is_waived_lets_pass_and_never_says_pass(rate: float) -> None:
    predictions = of_rates([[0.9, rate], [0.9, 0.9]], 80)
    assert decided(predictions, EODM).outcome in ("fail", "inconclusive")

    verdict = decided(predictions, EODM, context=waiver(), now=date(2026, 6, 30))
    assert (verdict.outcome, verdict.exit_code, verdict.lets_pass) == ("waived", 0, True)
    assert verdict.findings[0].outcome in ("fail", "inconclusive")
    assert not verdict.findings[0].satisfied
    assert verdict.findings[0].waiver == "waived until 2026-06-30 by Ada, approved by Grace: a trial"


def test_a_waiver_waives_its_clause_alone() -> None:
    predictions = of_rates([[0.9, 0.3], [0.9, 0.9]])
    useless = {"metric": "accuracy", "at_least": 0.99}

    assert decided(predictions, EODM, useless, context=waiver(), now=date(2026, 1, 1)).outcome == "fail"


@pytest.mark.parametrize(
    ("changes", "day"), [({}, date(2026, 7, 1)), ({}, None), ({"set": "b" * 64}, date(2026, 1, 1))]
)
def test_an_expired_or_foreign_waiver_counts_for_nothing(changes: dict[str, str], day: date | None) -> None:
    predictions = of_rates([[0.9, 0.3], [0.9, 0.9]])

    verdict = decided(predictions, EODM, context=waiver(**changes), now=day)
    assert verdict.outcome == "fail"
    assert ("a waiver" in verdict.reasons[0]) == (changes == {})


def test_a_waiver_of_what_passes_changes_nothing_but_the_context() -> None:
    predictions = of_rates([[0.9, 0.9], [0.9, 0.9]], 400)

    assert decided(predictions, EODM, context=waiver(), now=date(2026, 1, 1)).outcome == "pass"


def test_the_day_is_in_no_verdict() -> None:
    days = (None, date(2026, 1, 1), date(2031, 1, 1))

    assert len({decided(FULL, EODM, now=day).digest for day in days}) == 1


# ---- the peers' traps -----------------------------------------------------------------------------------------------


def lacking_a_cell(right: int = 2) -> bytes:
    """Two groups and classes; group 1 has no example of class 1, and 2 of class 0."""
    labels = np.repeat([0, 1, 0], [100, 100, 2])
    groups = np.repeat([0, 0, 1], [100, 100, 2])
    answers = np.where(np.arange(202) < 200 + right, labels, 1)
    return predictions_from(np.tile(answers, (3, 1)), labels, groups).to_parquet()


def test_an_empty_cell_is_neither_a_gap_of_1_nor_of_0() -> None:
    for gate in (strict(EODM, minimum_per_cell=2), policy(eo_diag_max=0.2)):
        verdict = judge(lacking_a_cell(), gate, context=b"", engine=1)

        assert verdict.outcome == "insufficient"
        assert verdict.numbers["convnet"]["eo_diag_max"]["value"] is None
        assert "class 'class1' has no examples of group 'group1'" in verdict.reasons[0]


@pytest.mark.parametrize("right", [0, 2])
def test_none_or_both_of_two_right_is_not_sure(right: int) -> None:
    clause = {**EODM, "classes": ["class0"]}

    found = judge(lacking_a_cell(right), strict(clause, minimum_per_cell=2), context=b"", engine=1).findings[0]
    assert found.outcome == "inconclusive"
    assert judge(lacking_a_cell(right), strict(clause), context=b"", engine=1).outcome == "insufficient"


def test_a_group_of_one_is_insufficient() -> None:
    labels, groups = np.zeros(101, int), np.repeat([0, 1], [100, 1])
    predictions = predictions_from(np.zeros((3, 101), int), labels, groups, classes=1).to_parquet()

    verdict = judge(predictions, strict(EODM), context=b"", engine=1)
    assert verdict.outcome == "insufficient"
    assert "has 1 independent examples of group 'group1', 30 are needed" in verdict.reasons[0]


def test_a_constant_classifier_is_fair_and_does_not_pass() -> None:
    labels = np.tile(np.repeat(np.arange(4), 100), 2)
    groups = np.repeat([0, 1], 400)
    useless = predictions_from(np.zeros((3, 800), int), labels, groups, classes=4).to_parquet()

    verdict = decided(useless, EODM, {"metric": "accuracy", "at_least": 0.5})
    assert verdict.findings[0].outcome == "pass"
    assert verdict.outcome == "fail"


def test_the_same_rows_over_and_over_make_nothing_sure() -> None:
    thin = drawn([[0.9, 0.9], [0.9, 0.9]], 40, np.random.default_rng(1), alike=1.0)
    n = len(thin) // 3
    columns = {
        name: np.concatenate([column.reshape(3, n)] * 10, axis=1).ravel() for name, column in thin.columns.items()
    }
    columns["example"] = np.tile(np.arange(10 * n), 3)
    copied = replace(thin, columns=columns).to_parquet()

    blind = {**columns, "pair": columns["example"], "cluster": columns["example"]}

    bounds = [
        decided(one, EODM).findings[0].bound or 0.0
        for one in (thin.to_parquet(), copied, replace(thin, columns=blind).to_parquet())
    ]
    assert bounds[1] == pytest.approx(bounds[0])  # clusters say what is a copy
    assert bounds[2] < 0.9 * bounds[0]


def test_a_policy_that_limits_only_a_rise_says_so_where_there_is_nothing_to_rise_over() -> None:
    # a change threshold that is ignored without a baseline is a rubber stamp
    with pytest.raises(ConfigError):
        decided(FULL, RISE)
    assert decided(FULL, regression("refuse")).outcome == "fail"


def test_a_network_that_answers_nothing_is_a_measurement_error() -> None:
    table = drawn([[0.9, 0.9], [0.9, 0.9]], 40, np.random.default_rng(1))

    with pytest.raises(MeasurementError):
        judge(replace(table, networks=("convnet", "mlp")).to_parquet(), strict(EODM), context=b"", engine=1)
