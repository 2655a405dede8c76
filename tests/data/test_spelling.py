"""One group that is written in several ways is found, with its counts, and one line of params.yaml merges it."""

import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from small_workspace import run, small_params, write_params

from fair_distill.data.sources import read_source
from fair_distill.data.spelling import fold, quoted_name, variants
from fair_distill.data.split_file import read_split
from fair_distill.errors import DataError
from fair_distill.workspace import Workspace

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=8)
# Changes that keep the name that a reader sees.
RESPELL = {
    "composed": lambda name: unicodedata.normalize("NFC", name),
    "decomposed": lambda name: unicodedata.normalize("NFD", name),
    "compatible": lambda name: unicodedata.normalize("NFKC", name),
    "case folded": str.casefold,
    "space after": lambda name: f"{name} ",
    "space before": lambda name: f" {name}",
    "no-break spaces": lambda name: name.replace(" ", "\u00a0"),
    "zero-width space": lambda name: f"{name}\u200b",
}


@given(NAMES, st.sampled_from(list(RESPELL)))
def test_another_spelling_has_the_same_form(name: str, how: str):
    assert fold(RESPELL[how](name)) == fold(name)
    assert fold(fold(name)) == fold(name)


@given(st.lists(st.sampled_from(["Male", "male", "Male ", "female", "F", "Ｆ", "1", "1.0", "01"]), unique=True))
def test_variants_are_the_names_with_equal_forms(names: list[str]):
    expected = {tuple(sorted(other for other in names if fold(other) == fold(name))) for name in names}

    assert sorted(map(tuple, map(sorted, variants(names)))) == sorted(it for it in expected if len(it) > 1)


@given(NAMES)
def test_a_quoted_name_is_read_by_yaml_as_it_is(name: str):
    assert yaml.safe_load(f"[{quoted_name(name)}]") == [name]
    assert len(quoted_name(name).splitlines()) == 1


PAIRS = {
    "case": ("Male", "male"),
    "space": ("Male", "Male "),
    "composition": ("Z\u00fcrich", "Zu\u0308rich"),
    "no-break space": ("New York", "New\u00a0York"),
    "full width": ("F", "\uff26"),
    "pandas": ("1", "1.0"),
}


def written(root: Path, values: tuple[str, ...], **data: Any) -> None:
    """A workspace whose rows belong to the groups in turn; the first group has 60 more."""
    n = 60 * len(values) + 60
    columns = {
        "a": [str(i) for i in range(n)],
        "y": ["pn"[i % 2] for i in range(n)],
        "g": [values[i // 2 % len(values)] if i >= 60 else values[0] for i in range(n)],
    }
    pa.csv.write_csv(pa.table(columns), root / "p.csv")
    source = {"name": "table", "path": "p.csv", "columns": {"label": "y", "groups": "g", "numeric": ["a"]}}
    params = small_params() | {"data": {"source": source, "splits": {"train": 0.5, "tune": 0.25, "gate": 0.25}} | data}
    params["validate"] = {
        "minimum_per_cell": 1,
        "maximum_imbalance": 1000,
        "severity": {"leak": "off", "range_elsewhere": "off"},
    }
    write_params(root, params)


@pytest.mark.parametrize("pair", PAIRS)
def test_a_respelled_group_is_an_error_that_the_named_merge_fixes(pair: str, tmp_path: Path) -> None:
    first, second = PAIRS[pair]
    written(tmp_path, (first, second, "other"))

    assert run(tmp_path, "prepare").code == 0
    ended = run(tmp_path, "validate")

    (line,) = [line for line in ended.out.splitlines() if "group_spelling" in line]
    assert line.startswith(f"error (group_spelling): the groups {quoted_name(first)} (120 examples) and ")
    assert f"{quoted_name(second)} (60 examples) differ only in their spelling" in line
    assert "the data violate the contract (1 error, 0 warnings)" in ended.out
    merge = re.search(r"data\.groups\.merge to (\{.*\}), or", line)
    assert merge is not None
    written(tmp_path, (first, second, "other"), groups={"merge": yaml.safe_load(merge[1])})
    assert run(tmp_path, "prepare").code == 0
    assert run(tmp_path, "validate").out.endswith("expectations hold\n")
    train = read_split(Workspace(tmp_path).split("train"))
    assert train.groups == tuple(sorted([first, "other"]))
    assert train.counts.sum(axis=0).tolist() == [90, 30]  # of 180 and 60


def test_merged_numbers_get_the_name_of_their_attribute(tmp_path: Path) -> None:
    written(tmp_path, ("1", "1.0", "2"), groups={"merge": {"1": ["1.0"]}})

    assert run(tmp_path, "prepare").code == 0
    assert read_split(Workspace(tmp_path).split("train")).groups == ("g=1", "g=2")


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"merge": {"m": ["M"]}}, 'data.groups.merge: "M" does not occur; the values are "f", "m"'),
        ({"merge": {}}, "data.groups.merge"),
        ({"merge": {"f": ["m"], "g": ["m"]}}, "the value 'm' is merged twice"),
        ({"merge": {"f": ["m"]}}, "the data must have 2 to 1000 groups; they have 1: 'f'"),
    ],
)
def test_a_merge_that_fits_no_value_is_refused(groups: dict[str, Any], message: str, tmp_path: Path) -> None:
    written(tmp_path, ("f", "m"), groups=groups)

    ended = run(tmp_path, "prepare")

    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert message in ended.err


def read(root: Path, columns: dict[str, Any], **values: list[str]) -> Any:
    n = len(next(iter(values.values())))
    table = {
        "a": [str(i) for i in range(n)],
        "y": ["pn"[i % 2] for i in range(n)],
        "g": ["fm"[i // 2 % 2] for i in range(n)],
    }
    pa.csv.write_csv(pa.table(table | values), root / "p.csv")
    options = {"path": "p.csv", "columns": {"label": "y", "groups": "g", "numeric": ["a"]} | columns}
    return read_source("table", options, root=root)


def test_another_spelling_of_unknown_is_refused_and_can_be_declared(tmp_path: Path) -> None:
    groups = ["f", "m", "unknown", "Unknown"] * 5

    with pytest.raises(DataError, match=r"column 'g' has \"Unknown\" in 5 rows.*to \[\"unknown\", \"Unknown\"\]"):
        read(tmp_path, {"unknown": "unknown"}, g=groups)
    source = read(tmp_path, {"unknown": ["unknown", "Unknown"]}, g=groups)

    assert source.groups == ("f", "m", "unknown")
    assert source.attributes[2] == (None,)
    assert np.bincount(source.group_indices).tolist() == [5, 5, 10]


def test_two_spellings_of_a_split_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 's' has .* in 19 rows and \"Test\" in 1 rows, which differ only"):
        read(tmp_path, {"split": "s"}, s=["test"] * 19 + ["Test"])


def test_a_name_that_nobody_can_see_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"value \"\\u00a0\" in 2 rows, which has no visible character"):
        read(tmp_path, {}, g=["f", "\u00a0"] * 2)


def test_two_groups_never_have_one_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two combinations of attributes have the name 'a×b×c'"):
        read(tmp_path, {"groups": ["g", "h"]}, g=["a×b", "a"] * 4, h=["c", "b×c"] * 4)


@pytest.mark.parametrize("invisible", ["\0", "\x07", "\u200b", "\u00ad"])
def test_a_character_that_is_never_visible_makes_no_new_name(invisible: str) -> None:
    assert fold(f"n{invisible}") == fold("n")
