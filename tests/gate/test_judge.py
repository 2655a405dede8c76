"""A verdict: the limit itself is kept, the worst network decides, and what it was made from is in it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_predictions import predictions_of, recalls_of

from fair_distill.artifacts import sha256
from fair_distill.config import Gate
from fair_distill.errors import ConfigError, IntegrityError, MeasurementError
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
    return Gate.model_validate({"limits": clauses})


def judged(counts: Any, gate: Gate, *, context: bytes = b"{}", engine: int = 1, **about: str) -> Verdict:
    runs = counts if isinstance(counts, dict) else {(0, 0): counts}
    networks = tuple(f"network{i}" for i in sorted({network for network, _ in runs}))
    return judge(predictions_of(runs, networks=networks, **about).to_parquet(), gate, context=context, engine=engine)


def test_a_set_within_every_limit_passes() -> None:
    verdict = judged(ONE, policy(eo_diag_max=0.31, accuracy=0.74))

    assert verdict.outcome == "pass"
    assert verdict.reasons == ()
    assert [finding.sentence for finding in verdict.findings] == [
        "eo_diag_max: 0.300 (network0) is within the limit 0.310",
        "accuracy: 0.750 (network0) is at or above the limit 0.740",
    ]


def test_one_breach_fails_and_is_said_in_a_sentence() -> None:
    verdict = judged(ONE, policy(eo_diag_max=0.29, accuracy=0.74, eo_diag_mean=0.1))

    assert verdict.outcome == "fail"
    assert [finding.kept for finding in verdict.findings] == [False, True, False]
    assert verdict.reasons == (
        "eo_diag_max: 0.300 (network0) is over the limit 0.290",
        "eo_diag_mean: 0.200 (network0) is over the limit 0.100",
    )


def test_a_floor_that_is_not_reached_fails() -> None:
    verdict = judged(ONE, policy(accuracy=0.76))

    assert verdict.reasons == ("accuracy: 0.750 (network0) is below the limit 0.760",)


def test_the_limit_itself_is_kept() -> None:
    verdict = judged(ONE, policy(eo_diag_max=0.3, eo_diag_mean=0.2, accuracy=0.75, worst_cell_accuracy=0.6))

    assert verdict.outcome == "pass"


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
    assert (verdict.findings[0].value, verdict.findings[0].kept) == (None, None)


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
        ({"context": b'{"a": 1}'}, "context"),
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
    one, other = (Gate.model_validate({"limits": [limit | {"why": why}]}) for why in ("because", "because of x"))

    assert policy_digest(one) != policy_digest(other)
    assert policy_digest(one) == policy_digest(Gate.model_validate({"limits": [limit | {"why": "because"}]}))


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
