"""Many thin cells are reported once, with the size or the share that would do."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_workspace import run, small_params, write_params

from fair_distill.config import Validate, checked
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.validation.contract import validate
from fair_distill.workspace import Workspace


def split(per_cell: int, classes: int = 5) -> GroupedDataset:
    """Different random images, equally many in every cell of two groups."""
    n = per_cell * classes * 2
    images = np.random.default_rng(per_cell).integers(0, 256, (n, 1, 8, 8)).astype(np.uint8)
    cells = np.arange(n) % (classes * 2)
    return GroupedDataset.from_arrays(images, cells // 2, cells % 2)


@pytest.mark.parametrize(
    ("counts", "remedy"),
    [
        ((9, 4, 2), "A share of 34 % in gate would do: change params.yaml: data.splits"),  # 5 of 15 are 33.3 %
        (
            (6, 5, 2),
            "The smallest cell has 13 examples in all splits together, and 15 are needed: add data, or merge or drop "
            "attribute values with params.yaml: data.groups.merge or data.groups.drop, or merge groups with "
            "data.missing_cells.merge, or lower params.yaml: validate.minimum_per_cell to 4",
        ),
    ],
)
def test_the_size_or_share_that_would_do_is_named(counts: tuple[int, int, int], remedy: str):
    splits = dict(zip(("train", "tune", "gate"), map(split, counts), strict=True))
    rules = checked(Validate, {"minimum_per_cell": 5, "maximum_imbalance": 100}, name="test")

    failures = [failure for failure in validate(splits, rules).failures if failure.split == "gate"]

    thin = [failure for failure in failures if failure.check == "support"]
    assert thin[0].sentence == (
        "10 of 10 cells have fewer than 5 examples in gate; the smallest is class '0', group '0', with 2. " + remedy
    )
    assert (thin[0].label, thin[0].count, len(thin)) == (None, 10, 11)
    assert [failure.count for failure in thin[1:]] == [2] * 10


def test_a_few_thin_cells_have_a_sentence_each():
    few = {"train": split(9, 1), "tune": split(9, 1), "gate": split(2, 1)}
    rules = checked(Validate, {"minimum_per_cell": 5, "maximum_imbalance": 100}, name="test")

    sentences = [failure.sentence for failure in validate(few, rules).failures if failure.check == "support"]
    assert [sentence.split(" (")[0] for sentence in sentences] == [
        f"class '0' has 2 examples of group '{group}' in gate" for group in "01"
    ]


def test_a_terminal_shows_the_first_sentences_of_a_check_and_json_all(tmp_path: Path):
    params = small_params()
    params["validate"] = {"minimum_per_cell": 100_000, "maximum_imbalance": 1000}
    write_params(tmp_path, params)
    assert run(tmp_path, "prepare").code == 0

    lines = run(tmp_path, "validate").out.splitlines()

    support = [line for line in lines if line.startswith("error (support)")]
    failures = json.loads(Workspace(tmp_path).validation.read_bytes())["failures"]
    assert sum(failure["check"] == "support" for failure in failures) == 3 * 21  # 10 classes, 2 groups, a summary
    assert len(support) == 3 * 5
    assert support[0].startswith("error (support): 20 of 20 cells have fewer than 100000 examples in train")
    assert support[4] == "error (support): 17 more in train; --json lists all"
    assert f"({sum(failure['severity'] == 'error' for failure in failures)} errors, " in lines[-1]
