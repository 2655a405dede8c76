"""Candidates that are selected or imported go through the same stages as distilled ones."""

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_workspace import run, small_params, write_params

from fair_distill.audit.gate_copies import count_gate_copies
from fair_distill.candidates import MAKERS
from fair_distill.candidates.imported import source_digest
from fair_distill.card import DatasetCard
from fair_distill.config import Coreset, Imported
from fair_distill.config.candidates import KINDS
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.data.split_file import read_split
from fair_distill.distilled_set import DistilledSet
from fair_distill.registry.manifest import Manifest
from fair_distill.workspace import Workspace

CLASSES = [str(digit) for digit in range(10)]


def with_candidate(root: Path, **candidate: Any) -> None:
    params = small_params()
    params["candidates"] = {"other": candidate}
    params["sets"] = ["balanced", "other"]
    params["release"]["candidate"] = "other"
    write_params(root, params)


def imported(path: Path | str, digest: str, **options: Any) -> dict[str, Any]:
    columns = {"image": "images", "label": "labels"}
    source = {"name": "npz", "path": str(path), "columns": columns, **options}
    return {"source": source, "sha256": digest, "producer": "A. Maker", "licence": "CC-BY-4.0"}


def foreign_set(workspace: Path, **arrays: Any) -> Path:
    """Write an .npz file as a third party would: floats beyond 0 and 1, two images of each class."""
    train = read_split(Workspace(workspace).split("train"))
    images = np.random.default_rng(0).normal(0.4, 0.5, (20, *train.shape)).astype(np.float32)
    path = workspace / "theirs.npz"
    np.savez(path, **{"images": images, "labels": np.repeat(np.arange(10), 2), **arrays})
    return path


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def card_of(workspace: Path) -> DatasetCard:
    path = workspace / "artifacts/sets/other/manifest.json"
    return Manifest.from_json(path.read_bytes(), name=str(path)).card


def test_every_kind_in_params_has_a_function() -> None:
    assert set(MAKERS) == set(KINDS.values())


@pytest.mark.parametrize("select", ["random", "group_balanced", "herding", "k_centre", "medoids"])
def test_a_coreset_is_made_evaluated_judged_and_published(workspace: Path, select: str, tmp_path: Path) -> None:
    with_candidate(workspace, select=select)
    for command in (["stage", "distill", "other"], ["stage", "evaluate", "other"], ["stage", "judge", "other"]):
        assert (ended := run(workspace, *command)).code == 0, ended.err
    card = card_of(workspace)
    assert card.kind == "subset"
    assert card.nearness is not None
    assert card.nearness.copies == card.nearness.images  # the audit sees real images
    made = DistilledSet.from_parquet((workspace / "artifacts/sets/other/set.parquet").read_bytes(), name="other")
    train = read_split(Workspace(workspace).split("train"))
    real = {image.tobytes() for image in train.images}
    assert all(image.tobytes() in real for image in (made.images * 255).round().astype(np.uint8))
    assert run(workspace, "publish", "--registry", str(tmp_path / "registry")).code == 0


def test_draws_of_a_random_coreset_differ_and_are_reproducible(workspace: Path) -> None:
    versions = []
    for draw in (0, 1, 0):
        with_candidate(workspace, select="random", draw=draw)
        assert run(workspace, "stage", "distill", "other").code == 0
        versions.append((workspace / "artifacts/sets/other/set.parquet").read_bytes())
    assert versions[0] == versions[2] != versions[1]


def test_an_imported_set_keeps_its_floats_and_names_its_producer(workspace: Path, tmp_path: Path) -> None:
    path = foreign_set(workspace)
    with_candidate(workspace, **imported("theirs.npz", digest_of(path)))
    for command in (["stage", "distill", "other"], ["stage", "evaluate", "other"], ["stage", "judge", "other"]):
        assert (ended := run(workspace, *command)).code == 0, ended.err
    made = DistilledSet.from_parquet((workspace / "artifacts/sets/other/set.parquet").read_bytes(), name="other")
    with np.load(path) as theirs:
        assert np.array_equal(made.images, theirs["images"])
        assert np.array_equal(made.labels, theirs["labels"])
    card = card_of(workspace)
    assert (card.kind, card.origin) == (
        "imported",
        {"producer": "A. Maker", "licence": "CC-BY-4.0", "sha256": digest_of(path)},
    )
    assert card.nearness is not None
    assert card.nearness.copies == 0
    assert run(workspace, "publish", "--registry", str(tmp_path / "registry")).code == 0


def test_imported_bytes_become_pixels_from_0_to_1(workspace: Path) -> None:
    train = read_split(Workspace(workspace).split("train"))
    images = np.random.default_rng(0).integers(0, 256, (20, *train.shape), dtype=np.uint8)
    path = foreign_set(workspace, images=images, labels=np.repeat(CLASSES, 2))
    with_candidate(workspace, **imported("theirs.npz", digest_of(path)))
    assert (ended := run(workspace, "stage", "distill", "other")).code == 0, ended.err
    made = DistilledSet.from_parquet((workspace / "artifacts/sets/other/set.parquet").read_bytes(), name="other")
    assert np.array_equal(made.images, images.astype(np.float32) / np.float32(255))


def test_another_file_than_the_reviewed_one_is_refused(workspace: Path) -> None:
    foreign_set(workspace)
    with_candidate(workspace, **imported("theirs.npz", "0" * 64))
    ended = run(workspace, "stage", "distill", "other")
    assert ended.code == 5
    assert digest_of(workspace / "theirs.npz") in ended.err
    assert not (workspace / "artifacts/sets/other").exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((20, 3, 9, 9), np.float32)}, "have the shape (3, 9, 9)"),
        ({"images": np.full((20, 3, 8, 8), np.nan, np.float32)}, "not finite"),
        ({"images": np.zeros((20, 8), np.float32)}, "expected images"),
        ({"labels": np.repeat(np.arange(10), 2) + 1}, "label '10' of example 18 is not one of"),
        ({"labels": np.eye(10)[np.repeat(np.arange(10), 2)]}, "one entry per image"),
        ({"labels": np.array(["zero"] * 20)}, "'zero'"),
        ({"images": np.array([{}] * 20, object)}, "never unpickled"),
    ],
)
def test_a_set_that_does_not_fit_is_refused_in_one_line(workspace: Path, arrays: dict[str, Any], message: str) -> None:
    path = foreign_set(workspace, **arrays)
    with_candidate(workspace, **imported("theirs.npz", digest_of(path)))
    ended = run(workspace, "stage", "distill", "other")
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not (workspace / "artifacts/sets/other").exists()


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        ({"select": "herding", "alignment": "pooled"}, "candidates.other: it has both alignment and select"),
        ({}, "candidates.other: it has none of the keys"),
        ({"select": "hearding"}, "candidates.other.select"),
        ({"source": "npz", "sha256": "0" * 64, "producer": "A"}, "candidates.other.licence is missing"),
        ({"select": "herding", "ipc": 3}, "candidates.other.ipc is not a known key"),
    ],
)
def test_a_faulty_candidate_is_refused_by_its_key(workspace: Path, candidate: dict[str, Any], message: str) -> None:
    with_candidate(workspace, **candidate)
    ended = run(workspace, "stage", "distill", "other")
    assert ended.code == 2
    assert message in ended.err


@pytest.mark.parametrize(("split", "code"), [("gate", 5), ("train", 0), ("tune", 0)])
def test_a_set_with_examples_of_the_gate_split_is_refused(workspace: Path, split: str, code: int) -> None:
    data = read_split(Workspace(workspace).split(split))
    rows = np.concatenate([np.flatnonzero(data.labels == label)[:2] for label in range(10)])
    path = foreign_set(workspace, images=(data.images[rows] / 255).astype(np.float32), labels=data.labels[rows])
    with_candidate(workspace, **imported("theirs.npz", digest_of(path)))
    assert run(workspace, "stage", "distill", "other").code == 0
    before = (workspace / "artifacts/predictions").exists() and set((workspace / "artifacts/predictions").iterdir())
    ended = run(workspace, "stage", "evaluate", "other")
    assert ended.code == code, ended.err
    if code:
        assert "20 of 20 examples of the set 'other'" in ended.err
        assert set((workspace / "artifacts/predictions").iterdir()) == before


def test_equal_rows_by_chance_are_no_leak() -> None:
    rows = np.repeat(np.arange(4, dtype=np.float32), 25).reshape(100, 1, 1, 1)
    data = GroupedDataset.from_arrays(rows, np.arange(100) % 2, np.arange(100) // 2 % 2)

    by_chance = count_gate_copies(rows[:20], data, data)

    assert (by_chance.copies, by_chance.examples) == (20, 20)
    assert not by_chance.is_leak


def test_a_table_of_paths_is_refused(workspace: Path) -> None:
    (workspace / "theirs.csv").write_text("picture,label\na.png,0\n")
    source = {"name": "table", "path": "theirs.csv", "columns": {"image": "picture", "label": "label"}}
    digest = digest_of(workspace / "theirs.csv")
    with_candidate(workspace, source=source, sha256=digest, producer="A. Maker", licence="CC-BY-4.0")
    ended = run(workspace, "stage", "distill", "other")
    assert ended.code == 2
    assert "image_folder" in ended.err


def test_sets_from_the_network_are_refused(workspace: Path) -> None:
    with_candidate(workspace, **imported("s3://bucket/theirs.npz", "0" * 64))
    ended = run(workspace, "stage", "distill", "other")
    assert ended.code == 2
    assert "dvc add" in ended.err


def test_the_digest_of_a_folder_is_what_sha256sum_computes(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for name in ("b.png", "a/c.png", "a-b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    listed = subprocess.run(["sha256sum", *files], cwd=folder, capture_output=True, check=True, env=os.environ).stdout
    assert source_digest([folder]) == hashlib.sha256(listed).hexdigest()
    (folder / "a-b.png").write_bytes(b"other")
    assert source_digest([folder]) != hashlib.sha256(listed).hexdigest()


def test_coresets_and_imported_sets_have_plain_params() -> None:
    coreset = Coreset(select="herding")
    assert coreset.model_dump() == {"select": "herding", "formation": None, "draw": 0}
    source = Imported.model_validate(imported("a.npz", "0" * 64))
    assert source.model_dump()["source"]["name"] == "npz"


MEANS = """
import numpy as np


def means(train, ipc, generator, *, shade: float):
    images = np.stack([(train.images[train.labels == c] / 255).mean(axis=0) for c in range(len(train.classes))])
    return np.repeat(images * shade, ipc, axis=0).astype(np.float32), np.repeat(np.arange(len(train.classes)), ipc)


def wrong(train, ipc, generator):
    return train.images[:2], train.labels[:2]


def other_class(train, ipc, generator):
    return means(train, ipc, generator, shade=1.0)[0], np.full(ipc * len(train.classes), len(train.classes))


def nothing(train, ipc, generator):
    return None
"""


@pytest.fixture
def makers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "makers_of_a_team.py").write_text(MEANS)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("makers")
def test_a_function_of_the_operator_makes_a_candidate(workspace: Path, tmp_path: Path) -> None:
    with_candidate(workspace, make={"name": "makers_of_a_team:means", "shade": 0.5})
    for command in (["stage", "distill", "other"], ["stage", "evaluate", "other"], ["stage", "judge", "other"]):
        assert (ended := run(workspace, *command)).code == 0, ended.err
    manifest = Manifest.from_json((workspace / "artifacts/sets/other/manifest.json").read_bytes(), name="other")
    assert manifest.card.kind == "custom"
    assert manifest.params["own"] == {"makers_of_a_team:means": digest_of(tmp_path / "makers_of_a_team.py")}
    assert run(workspace, "publish", "--registry", str(tmp_path / "registry")).code == 0


@pytest.mark.usefixtures("makers")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        ("herding", "package.module:callable"),
        ("makers_of_a_team:absent", "cannot be imported"),
        ("makers_of_a_team:means", "needs the option 'shade'"),
        ("makers_of_a_team:wrong", "returned uint8"),
        ("makers_of_a_team:other_class", "classes from 0 to 9"),
        ("makers_of_a_team:nothing", "must return two arrays"),
    ],
)
def test_a_function_that_does_not_fit_is_refused_in_one_line(workspace: Path, make: str, message: str) -> None:
    with_candidate(workspace, make=make)
    ended = run(workspace, "stage", "distill", "other")
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1
