"""Hypothesis plants faults in clean splits; each is found by its check, and nothing else is found."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fair_distill.config import CHECKS, Validate, checked
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.validation.contract import validate

Splits = dict[str, GroupedDataset]
RULES = {
    "minimum_per_cell": 4,
    "maximum_imbalance": 2.0,
    "maximum_unknown": 0.0,
    "shape": [3, 8, 8],
    "classes": ["cat", "dog"],
    "groups": ["red", "cyan"],
    "values": {"low": 0.0, "high": 1.0},
    "near": {"distance": 1, "difference": 0.01},
}


def clean() -> Splits:
    """Six images in each of the four cells of every split, each with a unique id and cluster."""
    splits = {}
    for i, name in enumerate(("train", "tune", "gate")):
        rng = np.random.default_rng(i)
        labels, groups = np.repeat([0, 1], 12), np.tile([0, 1], 12)
        first = 100 * i
        dataset = GroupedDataset.from_arrays(
            rng.uniform(0, 1, (24, 3, 8, 8)).astype(np.float32),
            labels,
            groups,
            classes=("cat", "dog"),
            groups=("red", "cyan"),
            pairs=first + np.arange(24),
        )
        # The optional columns, whether or not this version of the dataset has fields for them.
        object.__setattr__(dataset, "ids", pa.array([f"id {pair}" for pair in dataset.pairs]))
        object.__setattr__(dataset, "clustered", dataset.pairs.copy())
        splits[name] = dataset
    return splits


def put(splits: Splits, split: str, column: str, row: int, value: object) -> None:
    """Change one entry of a column in place."""
    array = getattr(splits[split], column)
    if isinstance(array, pa.Array):
        names = array.to_pylist()
        names[row] = value
        object.__setattr__(splits[split], column, pa.array(names))
    else:
        array[row] = value


# A fault by the check that finds it: changes the splits, given the split and a row of it, and says which ids it is at.
FAULTS: dict[str, Callable[[Splits, str, int], None]] = {
    "class_given": lambda splits, split, row: put(splits, split, "labels", row, -1),
    "group_given": lambda splits, split, row: put(splits, split, "group_indices", row, -1),
    "class_declared": lambda splits, split, row: put(splits, split, "labels", row, 7),
    "group_declared": lambda splits, split, row: put(splits, split, "group_indices", row, 7),
    "finite": lambda splits, split, row: put(splits, split, "images", row, np.nan),
    "values": lambda splits, split, row: put(splits, split, "images", (row, 0, 0, 0), 1.5),
}
OF_TWO: dict[str, Callable[[Splits, str, int, int], None]] = {
    "id_once": lambda s, split, a, b: put(s, split, "ids", a, s[split].ids[b].as_py()),
    "copies": lambda s, split, a, b: put(s, split, "images", a, s[split].images[b]),
    "near": lambda s, split, a, b: put(s, split, "images", a, s[split].images[b] * np.float32(0.999)),
}
ACROSS: dict[str, Callable[[Splits, str, str, int], None]] = {
    "id_apart": lambda s, one, other, row: put(s, other, "ids", row, s[one].ids[row].as_py()),
    "pair_apart": lambda s, one, other, row: put(s, other, "pairs", row, s[one].pairs[row]),
    "cluster_apart": lambda s, one, other, row: put(s, other, "clustered", row, s[one].clustered[row]),
    "copies_apart": lambda s, one, other, row: put(s, other, "images", row, s[one].images[row]),
    "near_apart": lambda s, one, other, row: put(s, other, "images", row, s[one].images[row] * np.float32(0.999)),
}
ROWS, SPLITS = st.integers(0, 23), st.sampled_from(["train", "tune", "gate"])


def told(splits: Splits, **rules: object) -> dict[tuple[str, str], tuple[str, int, tuple[int | str, ...]]]:
    outcome = validate(splits, checked(Validate, RULES | rules, name="test"))
    found = {(it.check, it.split): (it.severity, it.count, it.examples) for it in outcome.failures}
    assert len(found) == len(outcome.failures)
    return found


def test_clean_splits_pass() -> None:
    assert told(clean()) == {}


@settings(max_examples=4, deadline=None)
@given(data=st.data(), split=SPLITS)
def test_every_fault_of_one_example_is_found_and_named(data: st.DataObject, split: str) -> None:
    rows = data.draw(st.lists(ROWS, min_size=len(FAULTS), max_size=len(FAULTS), unique=True))
    splits = clean()
    named = {check: splits[split].ids[row].as_py() for check, row in zip(FAULTS, rows, strict=True)}
    for (_, plant), row in zip(FAULTS.items(), rows, strict=True):
        plant(splits, split, row)

    found = told(splits, severity={"support": "off", "imbalance": "off"})

    # NaN is outside every range, but only `finite` reports it.
    assert found == {(check, split): ("error", 1, (name,)) for check, name in named.items()}


@settings(max_examples=4, deadline=None)
@given(data=st.data(), split=SPLITS)
def test_two_alike_in_one_split_are_found_and_named(data: st.DataObject, split: str) -> None:
    rows = data.draw(st.lists(ROWS, min_size=2 * len(OF_TWO), max_size=2 * len(OF_TWO), unique=True))
    splits = clean()
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    for (_, plant), (one, other) in zip(OF_TWO.items(), pairs, strict=True):
        plant(splits, split, one, other)
    ids = splits[split].ids.to_pylist()

    found = told(splits)

    assert found == {
        (check, split): (CHECKS[check], 2, tuple(sorted({ids[one], ids[other]})))
        for check, (one, other) in zip(OF_TWO, pairs, strict=True)
    }


@settings(max_examples=4, deadline=None)
@given(data=st.data(), between=st.sampled_from([("train", "tune"), ("train", "gate"), ("tune", "gate")]))
def test_one_that_two_splits_hold_is_found_and_named(data: st.DataObject, between: tuple[str, str]) -> None:
    rows = data.draw(st.lists(ROWS, min_size=len(ACROSS), max_size=len(ACROSS), unique=True))
    splits = clean()
    for (_, plant), row in zip(ACROSS.items(), rows, strict=True):
        plant(splits, *between, row)
    later = splits[between[1]]

    found = told(splits)

    assert found == {
        (check, between[1]): (
            CHECKS[check],
            1,
            (later.pairs[row] if check == "pair_apart" else later.ids[row].as_py(),),
        )
        for check, row in zip(ACROSS, rows, strict=True)
    }


def test_what_a_split_is_like_as_a_whole_is_held_against_the_training_data() -> None:
    splits = clean()
    tune, gate = splits["tune"], splits["gate"]
    splits["tune"] = replace(
        tune, images=np.zeros((24, 3, 4, 4), np.uint8) + np.arange(24, dtype=np.uint8)[:, None, None, None]
    )
    splits["gate"] = replace(gate, classes=("cat", "fox"))
    rules = {key: rule for key, rule in RULES.items() if key not in ("classes", "groups", "values")}

    outcome = validate(splits, checked(Validate, rules | {"severity": {"support": "off"}}, name="test"))

    assert [(it.check, it.split) for it in outcome.failures] == [("shape", "tune"), ("names", "gate")]
    assert "tune has the shape 3, 4, 4; expected 3, 8, 8" in outcome.failures[0].sentence
    assert "gate has the classes cat, fox; expected cat, dog" in outcome.failures[1].sentence


def test_a_declared_class_that_does_not_occur_is_an_empty_cell_in_every_split() -> None:
    outcome = validate(clean(), checked(Validate, RULES | {"classes": ["cat", "dog", "fox"]}, name="test"))

    assert [(it.check, it.split, it.label, it.group, it.count) for it in outcome.failures] == [
        ("support", split, "fox", group, 0) for split in ("train", "tune", "gate") for group in ("red", "cyan")
    ]


@pytest.mark.parametrize(("level", "success", "count"), [("error", False, 1), ("warn", True, 1), ("off", True, 0)])
def test_how_much_a_check_matters_is_said_by_its_name(level: str, success: bool, count: int) -> None:
    splits = clean()
    FAULTS["finite"](splits, "gate", 3)

    outcome = validate(splits, checked(Validate, RULES | {"severity": {"finite": level}}, name="test"))

    assert (outcome.success, len(outcome.failures)) == (success, count)
    assert outcome.off == (("finite",) if level == "off" else ())


@pytest.mark.parametrize(("maximum", "refused"), [(0.25, False), (0.24, True)])
def test_the_share_of_unknown_groups_is_limited_in_every_class(maximum: float, refused: bool) -> None:
    splits = clean()
    train = splits["train"]
    group_indices = train.group_indices.copy()
    group_indices[:3] = 2  # 3 of 12 cats
    few = replace(
        train,
        group_indices=group_indices,
        groups=("red", "cyan", "?"),
        attributes=(("red",), ("cyan",), (None,)),
        offsets=np.array([0, 0, 0, 0, 0, 0, 24]),
    )
    splits["train"] = few
    rules = {key: rule for key, rule in RULES.items() if key != "groups"} | {"maximum_unknown": maximum}

    outcome = validate(
        splits, checked(Validate, rules | {"severity": {"support": "off", "imbalance": "off"}}, name="test")
    )

    assert outcome.unknown["train"] == {"cat": 0.25, "dog": 0.0}
    assert [(it.check, it.label, it.count) for it in outcome.failures] == ([("unknown", "cat", 3)] if refused else [])
