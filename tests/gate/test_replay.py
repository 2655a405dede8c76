"""`replay` gives the verdicts of `judge` for old predictions, also if one version is damaged."""

import time

import numpy as np
import pytest
from small_predictions import drawn

from fair_distill.config import Gate
from fair_distill.errors import ConfigError
from fair_distill.gate.judge import judge
from fair_distill.gate.replay import replay


def policy(number: float, **more: object) -> Gate:
    return Gate.model_validate(
        {"mode": "point", "limits": [{"metric": "eo_diag_max", "at_most": number, "why": "a test", **more}]}
    )


VERSIONS = {
    f"v{i}": drawn([[0.9, 0.9 - gap], [0.9, 0.9]], 100, np.random.default_rng(i), set=str(i) * 64).to_parquet()
    for i, gap in enumerate((0.0, 0.2, 0.5))
}


def test_each_version_is_judged_as_judge_does() -> None:
    rows = list(replay(policy(0.3), VERSIONS, engine=1, before={"v0": "pass", "v1": "fail"}))

    for row, predictions in zip(rows, VERSIONS.values(), strict=True):
        verdict = judge(predictions, policy(0.3), context=b"", engine=1)
        assert (row.outcome, row.reasons) == (verdict.outcome, verdict.reasons)
    assert [row.outcome for row in rows] == ["pass", "pass", "fail"]
    assert [row.changed for row in rows] == [False, True, False]


def test_a_version_that_cannot_be_judged_is_told_and_the_rest_goes_on() -> None:
    versions = {"damaged": b"x", **VERSIONS}

    first, *rest = replay(policy(0.3), versions, engine=1)
    assert first.outcome == "error"
    assert "not a file of predictions" in first.reasons[0]
    assert len(rest) == 3


def test_a_version_of_another_split_than_the_references_is_told_as_such() -> None:
    full = drawn([[0.9, 0.9], [0.9, 0.9]], 100, np.random.default_rng(7), split="e" * 64).to_parquet()

    rows = list(replay(policy(0.1, over="full"), VERSIONS, engine=1, references={"full": full}))
    assert {row.outcome for row in rows} == {"error"}
    assert "was evaluated on the split" in rows[0].reasons[0]


def test_a_policy_that_can_judge_nothing_is_an_error_at_once() -> None:
    with pytest.raises(ConfigError, match="at_most"):
        next(
            replay(
                Gate.model_validate({"mode": "point", "limits": [{"metric": "dpd_max", "at_least": 0.5, "why": "x"}]}),
                {},
                engine=1,
            )
        )


def test_twenty_versions_take_less_than_a_fifth_of_a_minute() -> None:
    began = time.process_time()
    rows = list(replay(policy(0.3), {f"{i}": VERSIONS["v1"] for i in range(20)}, engine=1))

    assert len(rows) == 20
    assert time.process_time() - began < 12
