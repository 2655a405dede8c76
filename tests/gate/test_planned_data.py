"""A policy that was planned for another data set is refused by name."""

from typing import Any

import pytest
from small_predictions import predictions_of, recalls_of

from fair_distill.config import Gate
from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import to_json
from fair_distill.gate.judge import judge
from fair_distill.gate.planned_data import check_planned_for, data_title
from fair_distill.gate.policy import plain_policy, policy_digest

LIMIT = {"metric": "accuracy", "at_least": 0.1, "why": "a test"}
CREDIT = {
    "name": "table",
    "path": {"learn": "credit.csv", "test": "new.csv"},
    "columns": {"label": "default", "groups": ["sex", "age"], "numeric": ["income"]},
}


def policy(planned_for: str | None = None) -> Gate:
    return Gate.model_validate({"mode": "point", "limits": [LIMIT], "planned_for": planned_for})


def manifest(source: Any) -> bytes:
    return to_json({"params": {"data": {"source": source}}})


def test_the_name_of_a_data_set_is_its_source_with_files_and_columns() -> None:
    assert data_title({"name": "digits", "size": 16}) == data_title({"name": "digits", "size": 8}) == "digits"
    assert data_title(CREDIT) == "table, credit.csv new.csv, label default, groups sex × age"


def test_limits_for_other_data_are_refused_by_name() -> None:
    check_planned_for(policy("digits"), manifest({"name": "digits"}))
    check_planned_for(policy(), manifest(CREDIT))
    with pytest.raises(
        ConfigError,
        match=r"gate.limits were planned for the data set 'digits', and these data are 'table, credit.csv new.csv, "
        r"label default, groups sex × age'. Run `fair-distill gate plan --write`",
    ):
        check_planned_for(policy("digits"), manifest(CREDIT))


def test_without_the_source_nothing_is_decided() -> None:
    with pytest.raises(ConfigError, match=r"planned_for is 'digits', which requires the set's manifest.json"):
        judge(
            predictions_of({(0, 0): recalls_of([(9, 9), (9, 9)], 10)}).to_parquet(),
            policy("digits"),
            context=b"",
            engine=1,
        )
    for content in (to_json({}), to_json({"params": {"data": {}}}), manifest("digits")):
        with pytest.raises(IntegrityError, match=r"has no params.data.source"):
            check_planned_for(policy("digits"), content)


def test_policies_without_the_key_keep_their_digest() -> None:
    assert "planned_for" not in plain_policy(policy())
    assert policy_digest(policy()) != policy_digest(policy("digits"))
