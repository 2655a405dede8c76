"""The digests of the examples of a split: their file, and how examples, people and names are recognised."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from small_attempts import CELLS, numbered, spent, take
from small_registry import MemoryStore

from fair_distill.data.example_digests import (
    cell_name_digests,
    name_unit_digests,
    normalised_name,
    plain_name_digests,
)
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.data.units import unit_name_digests
from fair_distill.errors import IntegrityError
from fair_distill.files import sha256
from fair_distill.registry.attempt_checks import check_record
from fair_distill.registry.split_examples import SplitExamples, evaluated, shares
from fair_distill.stages.attempts import examples_of_split

N = 80


def people(*numbers: range, dataset: str = "digits", first: int = 0) -> SplitExamples:
    """Return a split with one image of each of these people; `first` is the number of the first image."""
    names = [f"person {number}" for some in numbers for number in some]
    cells = np.arange(len(names)) % CELLS
    columns: dict[str, Any] = {
        "units": name_unit_digests("cluster", names),
        "cell_names": cells.astype(np.uint64),
        "dataset": dataset,
    }
    return numbered(range(first, first + len(names)), **columns)


def prepared(first: int, *, named: bool = False, cluster: str = "person", dataset: str = "faces") -> SplitExamples:
    """Return the examples of a prepared split: two images of each of 40 people, with contents from `first` on."""
    images = np.arange(first, first + N, dtype=np.uint32).view(np.uint8).reshape(N, 1, 2, 2)
    persons = np.arange(N) // 2
    names = pa.array([f"{cluster} {number}" for number in persons], pa.large_string())
    split = GroupedDataset.from_arrays(
        images,
        np.arange(N) // (N // 2),
        np.arange(N) // 2 % 2,
        classes=("no", "yes"),
        groups=("a", "b"),
        clusters=persons,
        units=unit_name_digests("cluster", names)[:, None],
        ids=pa.array([f"id{number}" for number in range(N)], pa.large_string()) if named else None,
    )
    return examples_of_split(split, digest=sha256(b"%d" % first), dataset=dataset)


def test_ten_attempts_at_other_images_of_the_same_people_share_one_budget() -> None:
    store = MemoryStore()
    fractions = [spent(store, people(range(100), first=1000 * k), version=k) for k in range(10)]

    assert fractions == pytest.approx([0.9] + [0.05 / 2**k for k in range(9)])
    check_record(store)


def test_a_split_inherits_in_proportion_to_the_people_that_it_shares() -> None:
    half = people(range(60, 100), range(200, 240), first=1000)

    assert shares(half, people(range(100))) == pytest.approx([1 / 2] * CELLS)


def test_people_of_another_data_set_are_other_people() -> None:
    assert not evaluated(people(range(100), dataset="loans", first=1000), people(range(100))).any()


def test_a_split_of_an_earlier_release_shares_no_people() -> None:
    earlier = replace(people(range(100)), units=None, cell_names=None, dataset="")

    assert not evaluated(people(range(100), first=1000), earlier).any()


def test_a_prepared_split_with_other_images_of_the_same_people_inherits_everything() -> None:
    assert shares(prepared(1000), prepared(0)) == pytest.approx([1] * 4)
    assert shares(prepared(1000, cluster="patient"), prepared(0)) == pytest.approx([0] * 4)


def test_predictions_and_prepared_splits_name_people_alike() -> None:
    """`gate model` without the file of the split reads the names of clusters from a column."""
    split = prepared(0)
    names = [f"person {number // 2}" for number in range(N)]
    given = replace(people(range(N), first=1000), units=name_unit_digests("cluster", names), dataset="faces")

    assert evaluated(given, split).all()
    assert evaluated(split, given).all()


def test_names_with_label_and_group_recognise_examples_in_another_data_set() -> None:
    split = prepared(0, named=True)
    other = prepared(1000, named=True, dataset="portraits", cluster="patient")
    assert other.names is not None
    assert split.names is not None

    assert not np.isin(other.names, split.names).any()
    assert shares(other, split) == pytest.approx([1] * 4)
    assert other.cell_names is not None
    swapped = replace(other, cell_names=other.cell_names[::-1])
    assert shares(swapped, split) == pytest.approx([0] * 4)  # row numbers of two tables are equal names too


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("ID7 ", "id7"),
        ("e\u0301", "é"),
        ("\uff21", "a"),
        ("STRASSE", "straße"),
        ("1.0", "1"),
        ("007", "7"),
        ("-0", "0"),
        ("1.5", "1.5"),
        ("1.0.0", "1.0.0"),
        ("9" * 30, "9" * 30),
    ],
)
def test_names_are_compared_without_differences_that_readers_overlook(name: str, form: str) -> None:
    assert normalised_name(name) == normalised_name(form)
    assert plain_name_digests([name]) == plain_name_digests([form])
    assert normalised_name(normalised_name(name)) == normalised_name(name)


@pytest.mark.parametrize(("one", "other"), [("1", "2"), ("1.5", "1"), ("a b", "ab"), ("e1", "e01")])
def test_other_names_stay_other_names(one: str, other: str) -> None:
    assert normalised_name(one) != normalised_name(other)


def test_a_cell_is_named_by_its_class_and_group_and_not_by_their_numbers() -> None:
    labels, groups = np.array([0, 1, 1]), np.array([1, 0, 1])
    one = cell_name_digests(labels, groups, classes=("no", "yes"), groups=("a", "b"))
    other = cell_name_digests(1 - labels, groups, classes=("yes", "no"), groups=("a", "b"))

    assert one.tolist() == other.tolist()
    assert len(set(one.tolist())) == 3


# ---- the file --------------------------------------------------------------------------------------------------------

# Two cells with 2 and 1 examples, in the format of earlier releases.
FIRST_HEADER = (
    b'{ "bits": 0, "cells": [ [ 0, 2 ], [ 3, 1 ] ], "clusters": true, "examples": 3, "format": 1, "names": true, '
)
FIRST_COLUMNS = (np.array([5, 9, 2], "<u8"), np.array([0, 1, 0], "<u4"), np.array([7, 8, 6], "<u8"))
FIRST_FORMAT = FIRST_HEADER + b'"split": "%s" }\n' % (b"a" * 64) + b"".join(map(np.ndarray.tobytes, FIRST_COLUMNS))


def test_files_of_earlier_releases_are_read_and_written_again_byte_for_byte() -> None:
    examples = SplitExamples.from_bytes(FIRST_FORMAT, name="a file")

    assert (examples.cells.tolist(), examples.contents.tolist()) == ([0, 0, 3], [5, 9, 2])
    assert examples.names is not None
    assert (examples.clusters.tolist(), examples.names.tolist()) == ([0, 1, 0], [7, 8, 6])
    assert (examples.plain_names, examples.cell_names, examples.units, examples.dataset) == (None, None, None, "")
    assert examples.content == FIRST_FORMAT
    assert numbered(range(9)).content.partition(b"\n")[0].count(b'"format": 1') == 1


@pytest.mark.parametrize("examples", [prepared(0), prepared(0, named=True), people(range(9))], ids=["a", "b", "c"])
def test_a_file_that_is_read_and_written_again_is_the_same(examples: SplitExamples) -> None:
    read = SplitExamples.from_bytes(examples.content, name="a file")

    assert read.digest == examples.digest
    for name in ("cells", "contents", "names", "plain_names", "cell_names", "units", "dataset"):
        np.testing.assert_array_equal(getattr(read, name), getattr(examples, name))


@pytest.mark.parametrize(
    "change",
    [
        {"format": 3},
        {"format": 0},
        {"format": 1},
        {"units": -1},
        {"units": 3},
        {"units": 0},
        {"plain_names": False},
        {"cell_names": []},
        {"cell_names": ["x" * 16] * 4},
        {"cell_names": None},
        {"dataset": 1},
        {"another": 1},
    ],
    ids=str,
)
def test_a_file_with_a_wrong_header_is_refused(change: dict[str, Any]) -> None:
    line, _, columns = prepared(0, named=True).content.partition(b"\n")
    content = json.dumps(json.loads(line) | change).encode() + b"\n" + columns

    with pytest.raises(IntegrityError, match="a file has"):
        SplitExamples.from_bytes(content, name="a file")


def test_attempts_in_files_of_both_formats_share_one_budget() -> None:
    store = MemoryStore()
    new = prepared(0, named=True)
    old = replace(new, plain_names=None, cell_names=None, units=None, dataset="", split="a" * 64)
    fractions = [spent(store, examples, version=i) for i, examples in enumerate((old, new, old))]

    assert fractions == pytest.approx([0.9, 0.05, 0.025])
    check_record(store)
    assert take(store, new, version=1).entry.attempt == 2


def test_an_erased_person_is_in_no_column_of_the_file_and_all_shares_stay() -> None:
    splits = [prepared(0, named=True), prepared(1000, named=True)]
    person = name_unit_digests("cluster", ["person 3"]).ravel()
    nothing = np.empty(0, np.uint64)
    rows = [split.holds(nothing, nothing, person) for split in splits]
    digests = set.union(*(split.digests_in(mask) for split, mask in zip(splits, rows, strict=True)))
    renamed = {value: number for number, value in enumerate(sorted(digests))}
    replaced = [split.replaced(renamed, mask) for split, mask in zip(splits, rows, strict=True)]

    assert [mask.sum() for mask in rows] == [2, 2]
    assert person[0] in digests
    assert shares(*replaced) == pytest.approx(shares(*splits))
    for examples, split in zip(replaced, splits, strict=True):
        assert not any(np.uint64(value).astype("<u8").tobytes() in examples.content for value in digests)
        assert len(examples.content) == len(split.content)
        assert SplitExamples.from_bytes(examples.content, name="a file").digest == examples.digest
