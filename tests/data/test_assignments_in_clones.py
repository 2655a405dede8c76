"""A flow run works in a new clone, which gets the assignments from the DVC cache or remote before it prepares data."""

import shutil
from pathlib import Path

import pytest
import yaml
from small_repository import commit, repository
from small_workspace import small_params

from fair_distill.versioning import git_commands
from fair_distill.versioning.dvc_commands import ASSIGNMENTS, Dvc

COLUMNS = {"label": "y", "groups": "g", "numeric": ["a"], "example_id": "person"}
ROWS = [f"{p},{p * 7},{'pn'[p % 2]},{'fm'[p % 3 % 2]}" for p in range(120)]


def write_rows(root: Path, rows: list[str]) -> None:
    (root / "p.csv").write_text("\n".join(["person,a,y,g", *rows]) + "\n")


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Return a repository with prepared data, whose cache and remote have the assignments."""
    params = small_params()
    params["recipe"]["augment"] = []
    params["data"] = {
        "source": {"name": "table", "path": "p.csv", "columns": COLUMNS},
        "splits": {"train": 0.6, "tune": 0.1, "gate": 0.3},
    }
    root = repository(tmp_path / "team/workspace", params).root
    graph = yaml.safe_load((root / "dvc.yaml").read_text())
    graph["stages"]["prepare"]["deps"] = ["p.csv"]
    (root / "dvc.yaml").write_text(yaml.safe_dump(graph))
    write_rows(root, ROWS)
    dvc = Dvc(root)
    dvc.repro("prepare", say=lambda line: None)
    dvc.push(say=lambda line: None)
    commit(root, "prepared")
    return root


@pytest.mark.parametrize("source", ["cache", "remote"])
def test_new_data_in_a_new_clone_move_nobody(prepared: Path, tmp_path: Path, source: str) -> None:
    if source == "remote":
        shutil.rmtree(prepared / ".dvc/cache")
    clone = git_commands.clone_workspace(str(prepared), tmp_path / "clone")
    assert not (clone / ASSIGNMENTS).exists()
    write_rows(clone, [*ROWS[20:], "900,5,p,f"])
    lines: list[str] = []

    assert Dvc(clone).repro("prepare", say=lines.append) == ("prepare",)

    assert "units: 101; 0 moved, 1 new, 20 gone" in lines
    before = (clone / ASSIGNMENTS).read_bytes()
    assert Dvc(clone).repro("prepare", say=lines.append) == ()
    assert Dvc(clone).repro("prepare", say=lines.append, force=True) == ("prepare",)
    assert "units: 101; 0 moved, 0 new, 0 gone" in lines
    assert (clone / ASSIGNMENTS).read_bytes() == before
