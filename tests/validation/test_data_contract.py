"""The contract: valid splits exactly on every limit, and splits with every planted fault in it.

Each is validated once for the whole file; a fault is planted by pair number, so it survives any order of rows.
"""

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fair_distill.config import Validate
from fair_distill.data.colour_skew import colour
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.errors import DataError, MeasurementError
from fair_distill.files import to_json
from fair_distill.validation.contract import Validation, validate
from fair_distill.validation.expectations import Expectation, Suite, evaluate_suites

RULES = Validate(minimum_per_cell=5, maximum_imbalance=2.0)
CLASSES, GROUPS = ("cat", "dog", "fox"), ("red", "cyan")
PALETTE = np.array([[255, 0, 0], [0, 255, 255]])

NOT_NULL = "ExpectColumnValuesToNotBeNull"
IN_SET = "ExpectColumnValuesToBeInSet"
BETWEEN = "ExpectColumnValuesToBeBetween"
UNIQUE = "ExpectColumnValuesToBeUnique"
PAIRED = "ExpectCompoundColumnsToBeUnique"
ABSENT = "ExpectColumnValuesToBeNull"


def grey(pairs: Array) -> Array:
    """A different shape for each pair number."""
    return np.stack([np.random.default_rng(int(pair)).integers(0, 256, (16, 16), dtype=np.uint8) for pair in pairs])


def split(
    counts: list[list[int]], *, first_pair: int, order: int | None = None, shapes: Mapping[int, int] | None = None
) -> GroupedDataset:
    """Return examples of each class and group, pairs numbered from `first_pair`.

    `order` seeds the order the rows come in; `shapes` gives a pair the shape of another pair.
    """
    table = np.array(counts)
    labels, groups = (np.repeat(index.ravel(), table.ravel()) for index in np.indices(table.shape))
    pairs = first_pair + np.arange(len(labels))
    images = colour(grey(np.array([(shapes or {}).get(int(pair), pair) for pair in pairs])), PALETTE[groups])
    rows = np.arange(len(labels)) if order is None else np.random.default_rng(order).permutation(len(labels))
    return GroupedDataset.from_arrays(
        images[rows], labels[rows], groups[rows], classes=CLASSES, groups=GROUPS, pairs=pairs[rows]
    )


def paired(dataset: GroupedDataset) -> GroupedDataset:
    """Every example in every group, under one pair number."""
    groups = np.tile([0, 1], len(dataset))
    pairs = np.repeat(dataset.pairs, 2)
    return GroupedDataset.from_arrays(
        colour(grey(pairs), PALETTE[groups]),
        np.repeat(dataset.labels, 2),
        groups,
        classes=CLASSES,
        groups=GROUPS,
        pairs=pairs,
    )


def put(column: Array, dataset: GroupedDataset, changes: Mapping[int, object]) -> Array:
    changed = column.copy()
    for pair, value in changes.items():
        changed[dataset.pairs == pair] = value
    return changed


def sound() -> dict[str, GroupedDataset]:
    return {
        "train": split([[10, 5], [5, 5], [6, 10]], first_pair=0),
        "tune": split([[5, 30], [5, 5], [5, 5]], first_pair=1000),
        "gate": paired(split([[5, 0], [5, 0], [5, 0]], first_pair=2000)),
    }


def broken(order: int | None = None) -> dict[str, GroupedDataset]:
    train = split([[6, 6], [6, 2], [6, 0]], first_pair=0, order=order)

    tune = split([[9, 9], [9, 9], [9, 9]], first_pair=1000, order=order, shapes={1004: 1003, 1002: 1003})
    tune = replace(
        tune,
        labels=put(tune.labels, tune, {1000: -1, 1001: 7}),
        group_indices=put(tune.group_indices, tune, {1010: -1, 1011: 4, 1012: 4}),
        pairs=put(tune.pairs, tune, {1020: 1021}),
    )
    images = tune.images.astype(np.float32)
    images[tune.pairs == 1030, 1, 2, 3] = np.nan
    object.__setattr__(tune, "images", images)  # today's dataset takes uint8 alone

    # 2000 is red as 0 is; 2001 is red and 7 is cyan, so only their shapes are the same.
    gate = split([[6, 6], [6, 6], [6, 6]], first_pair=2000, order=order, shapes={2000: 0, 2001: 7})
    return {"train": train, "tune": tune, "gate": replace(gate, pairs=put(gate.pairs, gate, {2010: 3, 2011: 1005}))}


@pytest.fixture(scope="module")
def kept() -> Validation:
    return validate(sound(), RULES)


@pytest.fixture(scope="module")
def breached() -> Validation:
    return validate(broken(), RULES)


def test_sound_data_on_every_limit_pass(kept: Validation):
    assert kept.failures == ()
    assert kept.success


def test_not_to_know_a_group_is_shown_and_is_no_group_to_have_examples_of() -> None:
    splits = sound()
    train = splits["train"]
    few = GroupedDataset.from_arrays(
        train.images,
        train.labels,
        np.where((train.labels == 0) & (train.group_indices == 0) & (train.pairs % 2 == 1), 2, train.group_indices),
        classes=CLASSES,
        groups=(*GROUPS, "?"),
        pairs=train.pairs,
        attributes=[*train.attributes, (None,)],
    )

    outcome = validate(splits | {"train": few}, RULES)

    assert outcome.failures == ()
    assert outcome.cells["train"]["cat"] == {"red": 5, "cyan": 5, "?": 5}
    assert outcome.cells["train"]["dog"]["?"] == 0
    assert outcome.imbalance["train"]["cat"] == 1


def test_each_planted_fault_is_found_once_and_nothing_else_is(breached: Validation):
    found = [
        (f.severity, f.split, f.expectation, f.column, f.label, f.group, f.count, f.examples) for f in breached.failures
    ]

    assert found == [
        ("error", "train", BETWEEN, "count", "dog", "cyan", 2, (18, 19)),
        ("error", "train", BETWEEN, "count", "fox", "cyan", 0, ()),
        ("error", "train", BETWEEN, "imbalance", "dog", None, 2, ()),
        ("error", "tune", NOT_NULL, "class", None, None, 1, (1000,)),
        ("error", "tune", NOT_NULL, "group", None, None, 1, (1010,)),
        ("error", "tune", IN_SET, "class", None, None, 1, (1001,)),
        ("error", "tune", IN_SET, "group", None, None, 2, (1011, 1012)),
        ("error", "tune", IN_SET, "finite", None, None, 1, (1030,)),
        ("error", "tune", PAIRED, "pair, group", None, None, 2, (1021,)),
        ("error", "gate", ABSENT, "pair_also_in", None, None, 2, (3, 1005)),
        ("error", "gate", ABSENT, "pixels_also_in", None, None, 1, (2000,)),
        ("warn", "tune", UNIQUE, "pixels", None, None, 3, (1002, 1003, 1004)),
        ("warn", "gate", ABSENT, "near_also_in", None, None, 1, (2001,)),
    ]
    assert not breached.success


@pytest.mark.parametrize(
    "sentence",
    [
        "class 'dog' has 2 examples of group 'cyan' in train (pairs 18, 19); at least 5 are needed. "
        "Add data, lower params.yaml: validate.minimum_per_cell, or merge or drop the attribute value "
        "(data.groups.merge, data.groups.drop)",
        "class 'fox' has no examples of group 'cyan' in train; at least 5 are needed. "
        "Add data, drop the class (params.yaml: data.missing_cells: drop_class), or merge or drop the attribute "
        "value (data.groups.merge, data.groups.drop)",
        "class 'dog' has 6 examples of its largest group and 2 of its smallest in train, a ratio of 3; at most 2 is "
        "allowed. Add data, or raise params.yaml: validate.maximum_imbalance",
        "tune has 2 examples whose group is not declared: '#4' (pairs 1011, 1012). "
        "The declared groups are 'red', 'cyan': correct the data, or params.yaml: validate.groups",
        "gate has 1 example with exactly the same pixels as an image in 'train' (pair 2000). "
        "An image must be in one split only: remove one of the two",
        "gate has 2 examples of a pair that is also in 'train', 'tune' (pairs 3, 1005). "
        "A pair must be in one split only: number pairs over all splits, and split the data by pair",
    ],
)
def test_a_failure_says_what_came_what_is_needed_and_what_to_change(breached: Validation, sentence: str):
    assert sentence in [failure.sentence for failure in breached.failures]


def test_every_sentence_is_one_line_with_its_split(breached: Validation):
    for failure in breached.failures:
        assert "\n" not in failure.sentence
        assert failure.split in failure.sentence


def test_the_facts_are_counted_whether_or_not_they_pass(kept: Validation, breached: Validation):
    assert kept.cells["train"] == {
        "cat": {"red": 10, "cyan": 5},
        "dog": {"red": 5, "cyan": 5},
        "fox": {"red": 6, "cyan": 10},
    }
    assert kept.imbalance["train"] == {"cat": 2.0, "dog": 1.0, "fox": pytest.approx(10 / 6)}
    assert kept.imbalance["tune"]["cat"] == 6.0  # only train's imbalance is limited

    assert breached.cells["train"]["fox"] == {"red": 6, "cyan": 0}
    assert breached.imbalance["train"] == {"cat": 1.0, "dog": 3.0, "fox": None}
    assert breached.cells["tune"]["cat"] == {
        "red": 7,
        "cyan": 6,
    }  # two of 9 without a class of ours, three of 9 a group


def test_as_many_expectations_are_evaluated_however_they_end(kept: Validation, breached: Validation):
    # 8 on each split, 3 more on each that comes after another, 5 on the splits, one on the cells, one on the classes,
    # and one on the spellings of groups and of classes each
    assert kept.expectations == breached.expectations == 3 * 8 + 2 * 3 + 5 + 2 + 2


def test_the_same_data_give_the_same_bytes(breached: Validation):
    written = to_json(breached.to_dict())

    assert to_json(validate(broken(), RULES).to_dict()) == written
    assert json.loads(written)["success"] is False


def test_the_order_of_the_rows_changes_no_byte(breached: Validation):
    shuffled = broken(order=1)
    assert not np.array_equal(shuffled["train"].pairs, broken()["train"].pairs)

    assert to_json(validate(shuffled, RULES).to_dict()) == to_json(breached.to_dict())


def test_warnings_alone_do_not_stop_anything():
    splits = sound()
    # 2000 is red as 0 is, and 2001 is red as 14 is cyan
    splits["gate"] = split([[6, 6], [6, 6], [6, 6]], first_pair=2000, shapes={2001: 14, 2003: 2002})

    outcome = validate(splits, RULES)

    assert {(failure.severity, failure.column) for failure in outcome.failures} == {
        ("warn", "pixels"),
        ("warn", "near_also_in"),
    }
    assert outcome.success


def test_a_split_without_examples_has_only_empty_cells():
    splits = sound()
    empty = np.zeros(0, int)
    gate = splits["gate"]
    splits["gate"] = replace(
        gate,
        images=gate.images[:0],
        labels=empty,
        group_indices=empty,
        pairs=empty,
        offsets=np.zeros_like(gate.offsets),
    )

    outcome = validate(splits, RULES)

    summary, *cells = outcome.failures
    assert summary.sentence.startswith("6 of 6 cells have fewer than ")
    assert [(failure.split, failure.column, failure.count) for failure in cells] == [("gate", "count", 0)] * 6


def test_training_data_are_needed():
    with pytest.raises(DataError, match="a split named 'train' is needed; the splits are gate"):
        validate({"gate": sound()["gate"]}, RULES)


def test_an_expectation_that_cannot_be_evaluated_is_no_failure_of_the_data():
    suite = Suite(
        "facts", pd.DataFrame({"count": [1, 2]}), [(Expectation(BETWEEN, {"column": "size", "min_value": 0}), "error")]
    )

    with pytest.raises(MeasurementError, match=f"could not evaluate {BETWEEN} on facts: .*size"):
        evaluate_suites([suite])


def test_great_expectations_prints_nothing_sends_nothing_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    def refused(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(socket.socket, "connect", refused)
    # enough expectations for a progress bar to show, were it on
    suite = Suite(
        "facts",
        pd.DataFrame({"count": [1, 2]}),
        [(Expectation(BETWEEN, {"column": "count", "max_value": 1}), "error")] * 20,
    )

    ((*outcomes,),) = evaluate_suites([suite])

    assert [(outcome.success, outcome.rows) for outcome in outcomes] == [(False, (1,))] * 20
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_great_expectations_is_imported_only_when_it_is_run():
    code = "import sys, fair_distill.validation.contract; sys.exit('great_expectations' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
