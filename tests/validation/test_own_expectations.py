"""A team's own expectations: by name, by class, and from a suite as Great Expectations writes it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from small_workspace import grouped

from fair_distill.config import Validate, checked
from fair_distill.errors import ConfigError, DataError, FairDistillError, MeasurementError
from fair_distill.plugins import workspace_modules
from fair_distill.validation.contract import Validation, validate

MODULE = '''
from great_expectations.expectations import ExpectColumnValuesToBeBetween


class ExpectDarkCorners(ExpectColumnValuesToBeBetween):
    """An ordinary class of Great Expectations, with an argument set."""

    column: str = "minimum"
    max_value: float = 30


def no_class():
    pass
'''


def outcome(root: Path, **rules: Any) -> Validation:
    given = {"minimum_per_cell": 1, "maximum_imbalance": 10.0, "severity": {"near": "off", "near_apart": "off"}} | rules
    splits = {"train": grouped([[3, 2], [2, 3]], seed=1), "gate": grouped([[2, 2], [2, 2]], seed=2)}
    object.__setattr__(splits["gate"], "pairs", splits["gate"].pairs + 100)
    with workspace_modules(root):
        return validate(splits, checked(Validate, given, name="test"), root=root)


def told(found: Validation) -> list[tuple[Any, ...]]:
    return [(it.check, it.severity, it.split, it.expectation, it.count, it.examples) for it in found.failures]


def test_one_of_great_expectations_is_added_by_name_for_the_table_it_is_for(tmp_path: Path) -> None:
    sizes = {"name": "ExpectTableRowCountToBeBetween", "table": "gate", "min_value": 9, "severity": "warn"}
    bright = {"name": "ExpectColumnValuesToBeBetween", "table": "examples", "column": "maximum", "max_value": 255}

    found = outcome(tmp_path, own=[sizes, bright])

    assert told(found) == [("own", "warn", "gate", "ExpectTableRowCountToBeBetween", 0, ())]
    assert "with the observed value 8" in found.failures[0].sentence
    assert "params.yaml: validate.own.0" in found.failures[0].sentence
    assert found.expectations == outcome(tmp_path).expectations + 1 + 2  # gate, and both splits


def test_rows_that_do_not_meet_it_are_counted_and_named(tmp_path: Path) -> None:
    own = {"name": "ExpectColumnValuesToBeInSet", "table": "examples", "column": "group", "value_set": ["group0"]}

    found = outcome(tmp_path, own=[own])

    assert told(found) == [
        ("own", "error", "train", "ExpectColumnValuesToBeInSet", 5, (3, 4, 7, 8, 9)),
        ("own", "error", "gate", "ExpectColumnValuesToBeInSet", 4, (102, 103, 106, 107)),
    ]
    assert "train has 5 examples violating ExpectColumnValuesToBeInSet on group (pairs 3, 4, 7, 8, 9)" in (
        found.failures[0].sentence
    )


def test_a_cell_that_does_not_meet_it_is_named(tmp_path: Path) -> None:
    own = {"name": "ExpectColumnValuesToBeBetween", "table": "cells", "column": "count", "max_value": 2}

    found = outcome(tmp_path, own=[own])

    assert told(found) == [("own", "error", "train", "ExpectColumnValuesToBeBetween", 2, ())]
    assert "(class 'class0', group 'group0'; class 'class1', group 'group1')" in found.failures[0].sentence


def test_a_class_of_ones_own_and_the_suite_that_uses_it(tmp_path: Path) -> None:
    (tmp_path / "house.py").write_text(MODULE)
    suite = {
        "name": "house",
        "expectations": [
            {"type": "expect_dark_corners", "kwargs": {"max_value": -1.0}, "meta": {}, "severity": "warning"},
            {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "class"}, "severity": "critical"},
        ],
        "meta": {"great_expectations_version": "1.24.1"},
    }
    content = json.dumps(suite).encode()
    (tmp_path / "house.json").write_bytes(content)
    own = [{"name": "house:ExpectDarkCorners", "table": "train"}]

    found = outcome(tmp_path, own=own, suite={"gate": "house.json"})

    assert [(it.severity, it.split, it.expectation, it.count) for it in found.failures] == [
        ("warn", "gate", "expect_dark_corners", 8)
    ]
    assert found.sources == {
        "house:ExpectDarkCorners": hashlib.sha256(MODULE.encode()).hexdigest(),
        "house.json": hashlib.sha256(content).hexdigest(),
    }


def test_a_suite_that_great_expectations_wrote_is_read_and_is_for_every_split(tmp_path: Path) -> None:
    import great_expectations as gx

    suite = gx.ExpectationSuite(
        name="house",
        expectations=[
            gx.expectations.ExpectColumnValuesToBeBetween(column="maximum", max_value=10, severity="warning"),
            gx.expectations.ExpectColumnToExist(column="pixels"),
        ],
    )
    (tmp_path / "house.json").write_text(json.dumps(suite.to_json_dict()))

    found = outcome(tmp_path, suite="house.json")

    assert [(it.severity, it.split, it.count) for it in found.failures] == [("warn", "train", 10), ("warn", "gate", 8)]


@pytest.mark.parametrize(
    ("rules", "error", "says"),
    [
        ({"own": [{"name": "ExpectNothing", "table": "train"}]}, ConfigError, "'ExpectNothing' is not an expectation"),
        (
            {"own": [{"name": "house:no_class", "table": "train"}]},
            ConfigError,
            "'house:no_class' is not an",
        ),
        ({"own": [{"name": "gone:Expect", "table": "train"}]}, ConfigError, "validate.own.0 is 'gone:Expect', which"),
        (
            {"own": [{"name": "ExpectColumnValuesToBeBetween", "table": "train", "column": "a", "max_value": "x"}]},
            ConfigError,
            "ExpectColumnValuesToBeBetween does not accept its arguments: .*max_value",
        ),
        (
            {"own": [{"name": "ExpectColumnValuesToBeNull", "table": "train", "column": "size"}]},
            MeasurementError,
            "could not evaluate ExpectColumnValuesToBeNull .*size",
        ),
        ({"suite": "gone.json"}, ConfigError, "validate.suite.examples is 'gone.json', which cannot be read"),
        ({"suite": "text.json"}, DataError, "text.json is not readable JSON"),
        ({"suite": "list.json"}, DataError, "list.json is not a suite of Great Expectations"),
        ({"suite": "unknown.json"}, ConfigError, "'expect_nothing' is not an expectation"),
    ],
)
def test_what_is_no_expectation_is_one_line(
    tmp_path: Path, rules: dict[str, Any], error: type[FairDistillError], says: str
) -> None:
    (tmp_path / "house.py").write_text(MODULE)
    (tmp_path / "text.json").write_text("expectations")
    (tmp_path / "list.json").write_text('{"expectations": [1]}')
    (tmp_path / "unknown.json").write_text('{"expectations": [{"type": "expect_nothing", "kwargs": {}}]}')

    with pytest.raises(error, match=says) as raised:
        outcome(tmp_path, **rules)

    assert "\n" not in str(raised.value)
