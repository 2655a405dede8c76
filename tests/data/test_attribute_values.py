"""Values of an attribute are merged or dropped before the split, and figures by attribute are about the others."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_workspace import run, small_params, write_params

from fair_distill.config import Data, load_config, parse_config
from fair_distill.data.columns import SourceData
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.data.prepare import make_splits
from fair_distill.data.sources import read_source
from fair_distill.data.split_file import read_split
from fair_distill.errors import ConfigError
from fair_distill.gate.network_predictions import coarser
from fair_distill.workspace import Workspace

RACES = ["white"] * 30 + ["black"] * 20 + ["indian"] * 3 + ["other"] * 2
COLUMNS = {"label": "rich", "groups": ["sex", "race"], "numeric": ["age"], "cluster": "person"}


def people() -> pd.DataFrame:
    """Return both sexes and both classes of each entry of RACES, with a person for each row."""
    n = 4 * len(RACES)
    i = np.arange(n)
    return pd.DataFrame(
        {
            "age": i,
            "person": [f"p{k}" for k in i],
            "race": np.repeat(RACES, 4),
            "sex": np.where(i % 4 < 2, "f", "m"),
            "rich": np.where(i % 2 == 0, "no", "yes"),
        }
    )


def read(root: Path) -> SourceData:
    people().to_csv(root / "people.csv", index=False)
    return read_source("table", {"path": "people.csv", "columns": COLUMNS}, root=root)


def split(root: Path, **data: Any) -> dict[str, GroupedDataset]:
    section = {"source": "table", "splits": {"train": 0.5, "tune": 0.2, "gate": 0.3}} | data
    return make_splits(read(root), Data.model_validate(section), dealing=0, colouring=np.random.default_rng(1))


def together(splits: dict[str, GroupedDataset]) -> dict[str, int]:
    """Return the examples of each group in all splits."""
    groups = splits["train"].groups
    return dict(
        zip(groups, np.sum([part.counts.sum(axis=0) for part in splits.values()], axis=0).tolist(), strict=True)
    )


def test_merged_values_of_one_attribute_are_its_values_from_then_on(tmp_path: Path) -> None:
    splits = split(tmp_path, groups={"merge": {"race": {"other": ["indian", "other"]}}})
    train = splits["train"]

    assert together(splits) == {
        "f×black": 40,
        "f×other": 10,
        "f×white": 60,
        "m×black": 40,
        "m×other": 10,
        "m×white": 60,
    }
    assert train.attribute_names == ("sex", "race")
    assert coarser(train.attributes, train.attribute_names, ["race"], location="")[1] == ("black", "other", "white")
    assert train.missing_cells == {}


def test_a_merge_within_an_attribute_leaves_the_same_value_of_another(tmp_path: Path) -> None:
    splits = split(tmp_path, groups={"merge": {"sex": {"x": ["f", "m"]}, "race": {"m": ["indian", "other"]}}})

    assert together(splits) == {"x×black": 80, "x×m": 20, "x×white": 120}


@pytest.mark.parametrize("drop", [["indian", "other"], {"race": ["indian", "other"]}])
def test_dropped_values_are_in_no_split_and_the_others_are_unchanged(tmp_path: Path, drop: Any) -> None:
    splits = split(tmp_path, groups={"drop": drop})

    assert together(splits) == {"f×black": 40, "f×white": 60, "m×black": 40, "m×white": 60}
    rest = people()[lambda frame: ~frame["race"].isin(["indian", "other"])]
    ages = [part.images[:, 0, 0, 0] for part in splits.values()]
    assert sorted(np.concatenate(ages).tolist()) == rest["age"].tolist()
    for part in splits.values():
        of_row = people().set_index("age").loc[part.images[:, 0, 0, 0].astype(int)]
        assert [part.classes[label] for label in part.labels] == of_row["rich"].tolist()
        assert [part.groups[g] for g in part.group_indices] == (of_row["sex"] + "×" + of_row["race"]).tolist()
        assert part.missing_cells == {"drop": {"race": {"indian": 12, "other": 8}}}


def test_dropping_examples_does_not_move_the_others_of_a_large_source(tmp_path: Path) -> None:
    whole, rest = split(tmp_path), split(tmp_path, groups={"drop": {"race": ["other"]}})
    dropped = set(people()[lambda frame: frame["race"] == "other"]["age"])

    for name in ("train", "tune", "gate"):
        before, after = (set(part[name].images[:, 0, 0, 0].tolist()) for part in (whole, rest))
        assert after == before - dropped


def test_prepare_prints_the_number_of_dropped_examples(tmp_path: Path) -> None:
    people().to_csv(tmp_path / "people.csv", index=False)
    params = small_params()
    params["data"] = {
        "source": {"name": "table", "path": "people.csv", "columns": COLUMNS},
        "splits": {"train": 0.5, "tune": 0.2, "gate": 0.3},
        "groups": {"drop": {"race": ["other"]}, "merge": {"sex": {"female": ["f"]}}},
    }
    write_params(tmp_path, params)
    ended = run(tmp_path, "prepare")

    assert ended.code == 0, ended.err
    assert "dropped: 8 examples whose race is 'other'" in ended.out
    assert "female×white" in read_split(Workspace(tmp_path).split("gate")).groups


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"drop": {"colour": ["red"]}}, "data.groups.drop: 'colour' is not an attribute; the attributes are sex, race"),
        ({"drop": {"sex": ["white"]}}, '"white" does not occur in \'sex\'; the values are "f", "m"'),
        ({"merge": {"race": {"all": ["green"]}}}, "data.groups.merge: \"green\" does not occur in 'race'"),
        ({"drop": ["f", "m"]}, "removes all 220 examples"),
    ],
)
def test_a_declaration_that_fits_no_value_is_refused(tmp_path: Path, groups: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        split(tmp_path, groups=groups)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({}, "it has neither merge nor drop"),
        ({"drop": []}, "data.groups.drop"),
        ({"drop": "f"}, r"data.groups.drop: it is 'f'; write \[VALUE\] or"),
        ({"merge": {"race": {}}}, "data.groups.merge"),
        ({"merge": {"race": {"a": ["x"]}}, "drop": ["x"]}, "'x' is merged twice, or merged and dropped"),
    ],
)
def test_a_wrong_declaration_is_one_line(groups: Any, message: str) -> None:
    params = small_params()
    params["data"]["groups"] = groups

    with pytest.raises(ConfigError, match=message) as caught:
        parse_config(params)
    assert len(str(caught.value).splitlines()) == 1


def test_a_clause_by_an_attribute_that_merged_groups_mix_is_refused(tmp_path: Path) -> None:
    """The merged group would count as a fifth race, which nobody has."""
    mixed = {"merge": {"f×rare": ["f×indian", "f×other"]}}
    train = split(tmp_path, missing_cells=mixed)["train"]

    assert train.attribute_names == ("sex", "race (merged)")
    assert coarser(train.attributes, train.attribute_names, ["sex"], location="")[1] == ("f", "m")
    with pytest.raises(ConfigError, match=r"by race: data.missing_cells.merge .* no figures by 'race'. Instead, merge"):
        coarser(train.attributes, train.attribute_names, ["race"], location="by race")


def test_writing_params_with_merges_prints_no_warning_and_keeps_the_digest(tmp_path: Path) -> None:
    params = small_params()
    params["data"]["missing_cells"] = {"merge": {"f": ["f×a", "f×b"]}}
    params["data"]["groups"] = {"merge": {"m": ["male", "M"]}}
    write_params(tmp_path, params)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = load_config(tmp_path / "params.yaml").data.model_dump(mode="json")

    assert plain["missing_cells"] == {"merge": {"f": ["f×a", "f×b"]}}
    assert plain["groups"] == {"merge": {"m": ["male", "M"]}}
