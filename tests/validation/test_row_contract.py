"""The contract of a table's rows: ranges, declared values, finite numbers; equal rows are only a warning."""

from dataclasses import replace

import numpy as np
from small_rows import dataset, table

from fair_distill.config import Validate
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.validation.contract import Validation, validate

TRAIN = dataset(80)
# The age of these rows predicts their class on purpose.
RULES = Validate(minimum_per_cell=5, maximum_imbalance=4.0, severity={"leak": "off"})


def gate(n: int = 40) -> GroupedDataset:
    columns = table(n, seed=1)
    labels, groups = (columns["kind"] == "yes").astype(int), (columns["sex"] == "m").astype(int)
    return GroupedDataset.from_rows(
        columns,
        labels,
        groups,
        schema=TRAIN.schema,
        classes=("no", "yes"),
        groups=("f", "m"),
        pairs=np.arange(n) + 80,
    )


def with_number(data: GroupedDataset, row: int, column: int, value: float) -> GroupedDataset:
    images = data.images.copy()
    images[row, column] = value
    return replace(data, images=images)


def outcome(train: GroupedDataset, other: GroupedDataset) -> Validation:
    return validate({"train": train, "gate": other}, RULES)


def test_sound_rows_are_accepted_and_an_equal_row_in_another_split_is_told() -> None:
    twin = gate()
    twin.images[9] = TRAIN.images[3]
    in_range = replace(twin, images=twin.images.clip(TRAIN.images.min(axis=0), TRAIN.images.max(axis=0)))
    found = outcome(TRAIN, in_range)

    assert found.success
    assert [(failure.severity, failure.column, failure.count) for failure in found.failures] == [
        ("warn", "pixels_also_in", 1)
    ]
    assert "gate has 1 example with exactly the same values as a row in 'train'" in found.failures[0].sentence


def test_every_fault_of_a_row_is_found() -> None:
    train = with_number(TRAIN, 0, 1, np.nan)
    other = with_number(with_number(gate(), 4, 0, 200), 5, 2, 0.5)
    found = outcome(train, other)
    said = {(failure.split, failure.column): failure for failure in found.failures}

    assert not found.success
    assert {key for key, failure in said.items() if failure.severity == "error"} == {
        ("train", "finite"),
        ("gate", "row.work"),
    }
    age, work = said["gate", "row.age"], said["gate", "row.work"]
    assert (age.severity, age.count) == ("warn", 1)  # rows of another split may be outside the range
    assert "gate has 1 example whose age is outside" in age.sentence
    assert "the range of the training data, 20 to 69: 200" in age.sentence
    assert "whose work is not exactly one of its 3 values" in work.sentence


def test_a_number_outside_the_range_of_the_schema_is_an_error_in_train() -> None:
    found = outcome(with_number(TRAIN, 0, 0, 200), gate())

    assert ("train", "row.age", "error") in {(f.split, f.column, f.severity) for f in found.failures}
