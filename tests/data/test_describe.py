"""`data describe` shows what `prepare` would write; the README's example and real data go through it as they are."""

import csv
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from small_files import SPLITS, png, written
from small_workspace import REPOSITORY, run, small_params, tree, write_params

from fair_distill.data.split_file import read_split
from fair_distill.workspace import SPLITS as NAMES
from fair_distill.workspace import Workspace

MNIST = {
    "images": {"train": "train-images-idx3-ubyte.gz", "test": "t10k-images-idx3-ubyte.gz"},
    "labels": {"train": "train-labels-idx1-ubyte.gz", "test": "t10k-labels-idx1-ubyte.gz"},
}
OFFICIAL = {"train": 0.9, "tune": 0.1, "gate": "test"}
COLOURING = {"colours": {"red": [255, 0, 0], "cyan": [0, 255, 255]}, "own_share": 0.9}


def with_data(root: Path, data: dict[str, Any], **rules: Any) -> None:
    params = small_params()
    params["validate"] |= rules
    write_params(root, params | {"data": data})


def numbers(out: str) -> list[list[str]]:
    """The rows of the tables, without their frames."""
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines() if line.startswith("│")]
    assert rows
    return rows


def test_describe_shows_every_cell_and_writes_nothing(tmp_path: Path) -> None:
    with_data(tmp_path, {"source": written("npz", tmp_path), "splits": SPLITS}, minimum_per_cell=1)
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    before = tree(tmp_path)

    ended = run(tmp_path, "data", "describe")

    assert (ended.code, ended.err) == (0, "")
    assert tree(tmp_path) == before
    assert params["data"]["splits"] == SPLITS
    # 5 images in each of the 8 cells: shares of a half and two quarters are 3, 1 and 1 of them.
    assert "train: 24 examples, 2 classes × 4 groups" in ended.out
    assert numbers(ended.out)[0] == ["cat", "3", "3", "3", "3", "1.0"]


def test_describe_tells_the_counts_that_prepare_writes_and_the_outcome_that_validate_has(tmp_path: Path) -> None:
    with_data(tmp_path, {"source": written("folder", tmp_path), "splits": SPLITS}, minimum_per_cell=2)

    ended = run(tmp_path, "data", "describe")
    assert run(tmp_path, "prepare").code == 0
    validated = run(tmp_path, "validate")

    splits = [read_split(Workspace(tmp_path).split(name)) for name in NAMES]
    assert [[int(n) for n in row[1:-1]] for row in numbers(ended.out)] == [
        row for split in splits for row in split.counts.tolist()
    ]
    assert ended.out.endswith(validated.out)
    assert "class 'cat' has 1 example of group 'f×old' in gate (pair " in validated.out
    assert "the data violate the contract" in validated.out


def readme_data() -> dict[str, Any]:
    text = (REPOSITORY / "README.md").read_text()
    block = re.search(r"^## Your own data$.*?^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert block is not None
    data: dict[str, Any] = yaml.safe_load(block[1])
    return data


def test_the_readmes_folder_of_images_is_described_and_prepared_as_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for i in range(960):  # 3 ages × 4 groups × 80 images, two images a person
        name = f"{i:03}.{'png' if i % 2 else 'jpg'}"
        image = rng.integers(0, 256, (3, 40 + i % 7, 36)).astype(np.uint8)
        (tmp_path / "faces").mkdir(exist_ok=True)
        (tmp_path / "faces" / name).write_bytes(png(image, "PNG" if i % 2 else "JPEG"))
        person = i // 2
        rows.append(
            [name, ("young", "grown", "old")[person % 3], "fm"[person // 3 % 2], ("light", "dark")[person // 6 % 2]]
        )
        rows[-1].append(f"person {person}")
    with (tmp_path / "faces.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file_name", "age", "sex", "skin", "person"], *rows])
    write_params(tmp_path, small_params() | readme_data())

    described, prepared = run(tmp_path, "data", "describe"), run(tmp_path, "prepare")

    assert (described.code, described.err, prepared.code) == (0, "", 0)
    assert "train: 576 examples, 3 classes × 4 groups" in described.out
    assert "expectations hold" in described.out
    splits = [read_split(Workspace(tmp_path).split(name)) for name in NAMES]
    assert [split.counts.tolist() for split in splits] == [[[n] * 4] * 3 for n in (48, 8, 24)]
    assert all(split.shape == (3, 32, 32) for split in splits)
    assert splits[0].groups == ("f×dark", "f×light", "m×dark", "m×light")
    people = [set((split.pairs // 2).tolist()) for split in splits]
    assert sum(map(len, people)) == len(set.union(*people)) == 480


def located(folder: Path, files: dict[str, Any], root: Path) -> dict[str, Any]:
    """The files by their way from the workspace."""
    return {
        key: {split: os.path.relpath(folder / name, root) for split, name in value.items()}
        for key, value in files.items()
    }


@pytest.mark.parametrize(
    ("folder", "paint"), [("mnist", "foreground"), ("mnist", "background"), ("fashion_mnist", "behind")]
)
def test_real_images_in_colours(real_data: Path, folder: str, paint: str, tmp_path: Path) -> None:
    source = {"name": "idx", **located(real_data / folder, MNIST, tmp_path), "pixels": {"size": 32, "resize": "pad"}}
    with_data(tmp_path, {"source": source, "splits": OFFICIAL, "paint": paint, **COLOURING})

    assert run(tmp_path, "prepare").code == 0

    train, tune, gate = (read_split(Workspace(tmp_path).split(name)) for name in NAMES)
    assert (len(train) + len(tune) // 2, len(gate)) == (60_000, 20_000)  # tune has each image in both colours
    assert abs(len(train) - 54_000) < 5 * 73  # shares of large cells are random; the standard deviation is 73
    assert train.shape == (3, 32, 32)
    assert np.abs(train.counts.max(axis=1) / train.counts.sum(axis=1) - 0.9).max() < 0.001
    assert (gate.counts[:, 0] == gate.counts[:, 1]).all()
    assert gate.pairs.min() == 60_000  # the official test part, and nothing else
    corner = gate.images[:, :, 0, 0]
    red = corner[gate.group_indices == 0]
    assert (red == ([0, 0, 0] if paint == "foreground" else [255, 0, 0])).all()


def test_mnist_by_writer(real_data: Path, tmp_path: Path) -> None:
    files = MNIST | {"attributes": {"train": "train_groups.npz", "test": "t10k_groups.npz"}}
    source = {"name": "idx", **located(real_data / "mnist", files, tmp_path)}
    source["columns"] = {"groups": "student", "cluster": "writer"}
    with_data(tmp_path, {"source": source, "splits": OFFICIAL})

    ended = run(tmp_path, "data", "describe")

    assert (ended.code, ended.err) == (0, "")
    assert "gate: 10,000 examples, 10 classes × 2 groups" in ended.out
    assert "expectations hold" in ended.out
    counts = np.array([[int(n.replace(",", "")) for n in row[1:3]] for row in numbers(ended.out)]).reshape(3, 10, 2)
    assert counts.sum() == 70_000
    assert counts[2].min() > 400
    share = counts[0] / (counts[0] + counts[1])
    assert np.abs(share - 0.9).max() < 0.05  # whole writers, and still every cell by share
