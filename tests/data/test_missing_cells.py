"""A class that lacks a group is handled as params.yaml declares; the file and the card say so."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_workspace import run, small_params, write_params

from fair_distill.card import DatasetCard
from fair_distill.config import Data, parse_config
from fair_distill.data.columns import SourceData
from fair_distill.data.grouped_dataset import Attributes, GroupedDataset
from fair_distill.data.prepare import make_splits
from fair_distill.data.split_file import read_split
from fair_distill.errors import ConfigError, DataError
from fair_distill.stages.set_record import make_card
from fair_distill.workspace import SPLITS as NAMES
from fair_distill.workspace import Workspace

GROUPS = ("f×dark", "f×light", "m×dark", "m×light")
# Cats of all groups, dogs of all but f×dark, cows of all.
COUNTS = np.array([[8, 8, 8, 8], [0, 8, 8, 8], [8, 8, 8, 8]])


def source(counts: Any = COUNTS, **more: Any) -> SourceData:
    cells = np.repeat(np.arange(counts.size), counts.ravel())
    images = np.random.default_rng(0).integers(0, 256, (len(cells), 1, 8, 8)).astype(np.uint8)
    attributes: tuple[Attributes, ...] = tuple(tuple(name.split("×")) for name in GROUPS)
    facts = {"group_indices": cells % 4, "groups": GROUPS, "attributes": attributes}
    return SourceData(images, cells // 4, ("cat", "dog", "cow"), **(facts | more))


def make(labelled: SourceData, missing_cells: Any, **data: Any) -> dict[str, GroupedDataset]:
    splits = {"train": 0.5, "tune": 0.25, "gate": 0.25}
    config = Data.model_validate({"source": "table", "splits": splits, "missing_cells": missing_cells} | data)
    return make_splits(
        labelled, config, dealing=0, colouring=np.random.default_rng(1)
    )  # fmt: skip


@pytest.mark.parametrize("declared", [None, "refuse"])
def test_what_is_refused_is_left_for_the_contract_to_name(declared: str | None) -> None:
    splits = make(source(), declared)

    for split in splits.values():
        assert split.classes == ("cat", "dog", "cow")
        assert (split.counts == 0).tolist() == (COUNTS == 0).tolist()
        assert split.missing_cells == {}


def test_a_class_that_lacks_a_group_is_dropped_from_every_split_and_the_others_stay_as_they_were() -> None:
    whole, splits = make(source(), "refuse"), make(source(), "drop_class")

    for name, split in splits.items():
        assert split.classes == ("cat", "cow")
        assert split.groups == GROUPS
        assert split.counts.min() > 0
        assert split.missing_cells == {"drop_class": {"dog": {"train": 12, "tune": 6, "gate": 6}}}
        remaining = np.flatnonzero(whole[name].labels != 1)
        assert np.array_equal(split.pairs, whole[name].pairs[remaining])
        assert np.array_equal(split.images, whole[name].images[remaining])
        assert np.array_equal(split.labels, np.where(whole[name].labels[remaining] == 2, 1, 0))


def test_a_group_that_only_one_split_lacks_counts_too() -> None:
    counts = COUNTS.copy()
    counts[1, 0] = 1  # one dog of f×dark: in one split alone

    assert make(source(counts), "drop_class")["gate"].classes == ("cat", "cow")


def test_examples_of_unknown_group_make_no_class_lack_it() -> None:
    attributes: tuple[Attributes, ...] = (("f", None), ("f", "light"), ("m", "dark"), ("m", "light"))

    splits = make(source(attributes=attributes), "drop_class")

    assert splits["train"].classes == ("cat", "dog", "cow")
    assert splits["train"].missing_cells == {"drop_class": {}}


def test_dropping_all_but_one_class_is_refused() -> None:
    counts = COUNTS.copy()
    counts[0, 1] = 0

    with pytest.raises(DataError, match="only 1 of 3 classes have every group in every split; at least two are needed"):
        make(source(counts), "drop_class")


def test_merged_groups_are_one_in_every_split_before_anything_is_dealt() -> None:
    splits = make(source(), {"merge": {"f": ["f×dark", "f×light"]}})

    for split in splits.values():
        assert split.groups == ("f", "m×dark", "m×light")
        assert split.attributes == (("f", "f"), ("m", "dark"), ("m", "light"))
        assert split.counts.min() > 0
        assert split.missing_cells == {"merge": {"f": ["f×dark", "f×light"]}}
    together = np.sum([split.counts for split in splits.values()], axis=0)
    assert together.tolist() == [[16, 8, 8], [8, 8, 8], [16, 8, 8]]


@pytest.mark.parametrize(
    ("merge", "message"),
    [
        ({"f": ["f×dark", "f×grey"]}, "'f×grey' is not a known group. Use some of f×dark, f×light"),
        ({"m×dark": ["f×dark", "f×light"]}, "'m×dark' is already a group"),
        ({"all": list(GROUPS)}, "leaves one group, 'all'"),
    ],
)
def test_a_merge_that_cannot_be_is_refused(merge: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(source(), {"merge": merge})


def test_a_name_may_be_kept_for_the_group_that_takes_in_another() -> None:
    assert make(source(), {"merge": {"f×light": ["f×dark", "f×light"]}})["train"].groups == GROUPS[1:]


def test_colours_are_not_merged() -> None:
    colours = {"colours": {"red": [255, 0, 0], "cyan": [0, 255, 255]}, "own_share": 0.9, "paint": "stroke"}
    plain = source(group_indices=None, groups=(), attributes=())

    with pytest.raises(ConfigError, match="here the groups are colours"):
        make(plain, {"merge": {"all": ["red", "cyan"]}}, **colours)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("drop", "data.missing_cells: it is 'drop'; write refuse, drop_class, or"),
        ({"merge": {}}, "data.missing_cells"),
        ({"merge": {"f": ["f×dark"]}}, "data.missing_cells"),
        ({"merge": {"f": ["f×dark", "x"], "g": ["x", "y"]}}, "the group 'x' is merged twice"),
        ({"drop": ["dog"]}, "data.missing_cells"),
    ],
)
def test_a_declaration_that_is_none_is_refused_in_one_line(declared: Any, message: str) -> None:
    params = small_params()
    params["data"]["missing_cells"] = declared

    with pytest.raises(ConfigError, match=message) as caught:
        parse_config(params)
    assert len(str(caught.value).splitlines()) == 1


def test_owners_are_groups_one_for_each_class() -> None:
    """As CIFAR10-S: the first classes mostly without their colours, the last mostly with them."""
    plain = source(group_indices=None, groups=(), attributes=())
    recipe = {"colours": {"grey": "grey", "colour": "original"}, "own_share": 0.75, "paint": "stroke"}

    train = make(plain, None, **recipe, owners=["grey", "grey", "colour"])["train"]

    assert train.counts.tolist() == [[12, 4], [9, 3], [4, 12]]
    with pytest.raises(ConfigError, match="owners has 2 groups; it must have one for each of the 3 classes"):
        make(plain, None, **recipe, owners=["grey", "colour"])
    params = small_params()
    params["data"]["owners"] = ["red", "blue"]
    with pytest.raises(ConfigError, match=r"owners contains 'blue', which is not in data\.colours"):
        parse_config(params)


def test_what_was_dropped_is_told_and_stands_in_the_file_and_in_the_card(tmp_path: Path) -> None:
    labelled = source(COUNTS * 3)
    np.savez(
        tmp_path / "all.npz",
        x=labelled.images,
        kind=np.array(labelled.classes)[labelled.labels],
        group=np.array(GROUPS)[labelled.group_indices],
    )
    params = small_params()
    params["data"] = {
        "source": {"name": "npz", "path": "all.npz", "columns": {"image": "x", "label": "kind", "groups": "group"}},
        "splits": {"train": 0.5, "tune": 0.25, "gate": 0.25},
        "missing_cells": "drop_class",
    }
    write_params(tmp_path, params)

    prepared = run(tmp_path, "prepare")

    assert prepared.code == 0
    assert "dropped: class 'dog' with 72 examples" in prepared.out
    record = {"drop_class": {"dog": {"train": 36, "tune": 18, "gate": 18}}}
    splits = [read_split(Workspace(tmp_path).split(name)) for name in NAMES]
    assert all(split.missing_cells == record for split in splits)
    card = make_card(parse_config(params), splits[0], name="full", kind="full", examples=1)
    assert (card.missing_cells, card.classes) == (record, ("cat", "cow"))
    assert DatasetCard.from_dict(card.to_dict()) == card
