"""docs/own-data.md: both examples run up to `validate` with the YAML of the page."""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from small_workspace import REPOSITORY, run, small_params, write_params

from fair_distill.config import Data, parse_config
from fair_distill.data.columns import Columns
from fair_distill.data.pixels import Pixels
from fair_distill.data.split_file import read_split
from fair_distill.workspace import SPLITS, Workspace

PAGE = (REPOSITORY / "docs/own-data.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def images(root: Path) -> None:
    """Write 240 images of several sizes, grey and in colour, of 120 people, with a table."""
    rng, rows = np.random.default_rng(0), []
    (root / "faces").mkdir()
    for i in range(240):
        name = f"{i}.{'png' if i % 2 else 'jpg'}"
        height, width = rng.integers(20, 60, 2)
        pixels = rng.integers(0, 256, (height, width, 3) if i % 3 else (height, width)).astype(np.uint8)
        Image.fromarray(pixels).save(root / "faces" / name)
        person = i // 2
        about = (("young", "old")[person % 2], ("f", "m")[person // 2 % 2], ("dark", "light")[person // 4 % 2])
        rows.append([name, *about, f"person {person}"])
    _write(root / "faces.csv", ["file_name", "age", "sex", "skin", "person"], rows)


def rows(root: Path) -> None:
    rng = np.random.default_rng(0)
    people = [
        [
            18 + i % 60,
            round(rng.uniform(1, 60), 3),
            ("farm", "", "sea")[i % 3],
            "fm"[i % 2],
            ("low", "high")[i // 2 % 2],
        ]
        for i in range(400)
    ]
    parts = [[*person, "test" if i % 4 else "learn"] for i, person in enumerate(rng.permutation(np.array(people)))]
    _write(root / "people.csv", ["age", "hours", "work", "sex", "income", "part"], parts)


def _write(path: Path, header: list[str], table: list[Any]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *table])


@pytest.mark.parametrize(("block", "make", "groups"), [(0, images, 4), (1, rows, 2)])
def test_an_example_runs_up_to_validate(block: int, make: Any, groups: int, tmp_path: Path) -> None:
    make(tmp_path)
    data = yaml.safe_load(BLOCKS[block])["data"]
    rules = {"minimum_per_cell": 1, "maximum_imbalance": 20}
    write_params(tmp_path, small_params() | {"data": data, "validate": rules})

    for command in (["data", "describe"], ["prepare"], ["validate"]):
        ended = run(tmp_path, *command)
        assert (ended.code, ended.err) == (0, ""), command

    assert "expectations hold" in ended.out
    splits = [read_split(Workspace(tmp_path).split(name)) for name in SPLITS]
    assert all(len(split.groups) == groups and split.counts.min() > 0 for split in splits)
    assert len(BLOCKS[block].splitlines()) <= 11


def test_the_example_with_spellings_is_valid() -> None:
    data = yaml.safe_load(BLOCKS[0])["data"] | yaml.safe_load(BLOCKS[2])

    groups = parse_config(small_params() | {"data": data}).data.groups

    assert groups is not None
    assert groups.becomes("sex") == {"male": "Male", "Male ": "Male"}


def test_the_example_with_rare_values_is_valid() -> None:
    data = yaml.safe_load(BLOCKS[1])["data"] | yaml.safe_load(BLOCKS[3])

    groups = parse_config(small_params() | {"data": data}).data.groups

    assert groups is not None
    assert groups.becomes("race") == {"Amer-Indian-Eskimo": "Other", "Other": "Other"}
    assert groups.dropped("sex") == ("unspecified",)
    assert groups.becomes("sex") == {}


def test_the_example_with_colours_is_valid() -> None:
    data = yaml.safe_load(BLOCKS[0])["data"] | yaml.safe_load(BLOCKS[4])
    params = small_params() | {"data": data}

    assert parse_config(params).data.owners == ("grey",) * 5 + ("colour",) * 5


def test_every_key_of_the_columns_is_described() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", PAGE, re.MULTILINE)
    pixels = PAGE.partition("## Pixels")[2].partition("\n## ")[0]

    assert set(Columns.model_fields) <= set(re.findall(r"\w+", " ".join(rows)))
    assert all(key in pixels for key in Pixels.model_fields)
    assert {"refuse", "drop_class"} <= set(re.findall(r"`(\w+)`", PAGE))
    assert "missing_cells" in Data.model_fields
