"""A new workspace: the demo's own files, the team's own name, nothing overwritten, and DVC runs in it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from small_workspace import REPOSITORY, run, small_params, tree, write_params

from fair_distill.cli.init import TARGETS, scaffold, slug
from fair_distill.config import load_config

TEMPLATE = REPOSITORY / "fair_distill" / "template"
# For each file of the repository, the one in the package that a new workspace begins with.
SAME = {
    "params.yaml": "params.yaml",
    "dvc.yaml": "dvc.yaml",
    "context.json": "context.json",
    ".dvcignore": "dvcignore",
    ".dvc/config": "dvc-config",
    ".dvc/.gitignore": "dvc-gitignore",
    "gate-requirements.txt": "gate-requirements.txt",
}


@pytest.mark.parametrize("name", SAME)
def test_the_template_is_the_demo(name: str) -> None:
    copy = TEMPLATE / SAME[name]
    assert copy.read_bytes() == (REPOSITORY / name).read_bytes(), f"cp {name} {copy.relative_to(REPOSITORY)}"


@pytest.mark.parametrize(
    ("ours", "copy"), [(".github/workflows/dataset-gate.yml", "github.yml"), ("docs/ci/gitlab-gate.yml", "gitlab.yml")]
)
def test_the_gates_differ_in_what_they_install_alone(ours: str, copy: str) -> None:
    texts = [path.read_text() for path in (REPOSITORY / ours, TEMPLATE / copy)]
    lines = [
        {line.strip().removeprefix("- ") for line in text.splitlines() if not line.strip().startswith("#")}
        for text in texts
    ]

    differing = lines[0] ^ lines[1]
    assert differing
    assert all(re.search("pip (install|wheel)|name: Install|^>-$", line) for line in differing)


def test_every_template_has_a_place_and_is_in_the_wheel() -> None:
    schedule = {"prefect.yaml", "prefect.toml", "flows", "tasks"}
    assert {path.name for path in TEMPLATE.iterdir()} == {*TARGETS, "own-data.yaml"} | schedule
    assert '"template/*"' in (REPOSITORY / "pyproject.toml").read_text()


def test_the_repositorys_own_ignored_folders_are_ignored_there() -> None:
    ours = (REPOSITORY / ".gitignore").read_text().splitlines()

    assert all(line in ours for line in (TEMPLATE / "gitignore").read_text().splitlines())


def test_a_new_workspace_is_the_demo_under_its_own_name(tmp_path: Path) -> None:
    folder = tmp_path / "with space" / "faces"

    ended = run(tmp_path, "init", str(folder))

    assert ended.code == 0, ended.err
    assert ended.out.startswith(f"{folder}: {len(TARGETS)} files, and a git repository")
    config, demo = load_config(folder / "params.yaml"), load_config(REPOSITORY / "params.yaml")
    assert config == demo.model_copy(update={"dataset": "faces"})
    assert (folder / ".git").is_dir()
    left = [name for name, content in tree(folder).items() if re.search(rb"\{(dataset|version|folder)\}", content)]
    assert [name for name in left if not name.startswith(".git/")] == []


def test_nothing_is_overwritten_and_nothing_half_laid(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("mine")

    ended = run(tmp_path, "init", str(tmp_path))

    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "already has params.yaml" in ended.err
    assert tree(tmp_path) == {"params.yaml": b"mine"}


def test_within_a_repository_no_other_is_made(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)

    assert "git repository" not in run(tmp_path, "init", str(tmp_path / "faces")).out
    assert not (tmp_path / "faces" / ".git").exists()


@pytest.mark.parametrize(
    ("folder", "name"), [("faces", "faces"), ("my facés", "my-faces"), ("2026_b-c", "2026_b-c"), ("顔", "mine")]
)
def test_a_folders_name_becomes_one_that_params_take(folder: str, name: str) -> None:
    assert slug(folder) == name
    assert yaml.safe_load(scaffold(name)["params.yaml"])["dataset"] == name


def test_a_name_that_params_do_not_take_is_refused(tmp_path: Path) -> None:
    ended = run(tmp_path, "init", str(tmp_path / "a"), "--dataset", "a/b")

    assert ended.code == 2
    assert "--dataset is 'a/b'" in ended.err
    assert not (tmp_path / "a").exists()


def with_own_data(root: Path, example: int) -> None:
    """Replace the digits in params.yaml by an example in its comment on own data, without the comment marks."""
    text = (root / "params.yaml").read_text()
    comment = (TEMPLATE / "own-data.yaml").read_text().split("  #\n")[example]
    keys = "".join(
        re.sub("# ", "", line)
        for line in comment.splitlines(keepends=True)
        if re.match("  # +[a-z]+:", line) or "  #  " in line
    )
    head, _, tail = text.partition("\ndata:\n")
    (root / "params.yaml").write_text(f"{head}\ndata:\n{keys}\nvalidate:{tail.partition('validate:')[2]}")


def test_the_comment_on_own_images_is_right(tmp_path: Path) -> None:
    assert run(tmp_path, "init", str(tmp_path / "w")).code == 0
    root = tmp_path / "w"
    with_own_data(root, 0)
    (root / "images").mkdir()
    rows = ["file_name,label,group,person"]
    for i in range(80):
        Image.fromarray(np.full((40, 40, 3), i, dtype=np.uint8)).save(root / "images" / f"{i}.png")
        rows.append(f"{i}.png,{'ab'[i % 2]},{'fm'[i // 2 % 2]},p{i}")
    (root / "images.csv").write_text("\n".join(rows))

    ended = run(root, "data", "describe")

    assert ended.code == 0, ended.err
    assert "2 classes × 2 groups" in " ".join(ended.out.split())


def test_the_comment_on_own_rows_is_right(tmp_path: Path) -> None:
    assert run(tmp_path, "init", str(tmp_path / "w")).code == 0
    root = tmp_path / "w"
    with_own_data(root, 1)
    rows = ["age,hours,work,sex,income,person"]
    rows += [f"{20 + i},{i % 50},{'xyz'[i % 3]},{'fm'[i // 2 % 2]},{['low', 'high'][i % 2]},p{i}" for i in range(80)]
    (root / "people.csv").write_text("\n".join(rows))

    ended = run(root, "data", "describe")

    assert ended.code == 0, ended.err
    assert "2 classes × 2 groups" in " ".join(ended.out.split())


@pytest.mark.pipeline
def test_dvc_runs_in_a_new_workspace(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert run(tmp_path, "init", str(folder)).code == 0
    write_params(folder, small_params())

    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "prepare"],
        cwd=folder,
        env={**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert (folder / "artifacts" / "prepared" / "gate.arrow").exists()
    assert (folder / "dvc.lock").exists()
