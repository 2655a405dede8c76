"""DVC cannot see changes in a bucket, so a run always reads it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from small_repository import commit, git
from small_workspace import small_params, write_params

from fair_distill.versioning import dvc_commands, git_commands
from tasks import workspace
from tasks.workspace import reads_bucket

FOLDER = {"name": "image_folder", "path": "faces", "metadata": "faces.csv", "columns": {"image": "a", "label": "b"}}


@pytest.mark.parametrize(
    ("source", "in_bucket"),
    [
        ({"name": "digits", "size": 8}, False),
        (FOLDER, False),
        (FOLDER | {"path": "s3://bucket/faces"}, True),
        (FOLDER | {"metadata": {"learn": "learn.csv", "test": "s3://bucket/test.csv?endpoint=http://here:9"}}, True),
    ],
)
def test_only_prepare_reads_a_bucket(source: dict[str, Any], in_bucket: bool, tmp_path: Path) -> None:
    params = small_params()
    write_params(tmp_path, params | {"data": params["data"] | {"source": source}})

    assert reads_bucket(tmp_path, "prepare") is in_bucket
    assert not reads_bucket(tmp_path, "validate")


def test_a_forced_stage_runs_although_nothing_changed(tmp_path: Path) -> None:
    stage = {"cmd": "date +%s%N > out", "outs": ["out"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"only": stage}}))
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n")
    git_commands.ensure_repository(tmp_path)

    dvc = dvc_commands.Dvc(tmp_path)
    ran = [dvc.repro("only", say=lambda line: None, force=force) for force in (False, False, True)]

    assert ran == [("only",), (), ("only",)]


def test_a_run_in_another_deployment_continues_from_the_data_of_the_flow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "get_run_logger", lambda: SimpleNamespace(info=lambda *arguments: None))
    place, bucket = tmp_path / "place", tmp_path / "bucket"
    bucket.write_text("old")
    (place / ".dvc").mkdir(parents=True)
    (place / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (place / "asked").write_text("an input")
    prepare = {"cmd": f"cat {bucket} > data", "deps": ["asked"], "outs": ["data"]}
    distill = {"cmd": "cp data set", "deps": ["data"], "outs": ["set"]}
    (place / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"prepare": prepare, "distill": distill}}))
    git(place, "init", "--quiet", "--initial-branch=main")
    dvc = dvc_commands.Dvc(place)
    dvc.repro("distill", say=lambda line: None)
    commit(place, "results of the old data")
    bucket.write_text("new")

    def made_elsewhere(lock: str | None) -> str:
        with workspace.open_clone(str(place), lock=lock) as child:
            child.dvc.repro("distill", say=lambda line: None, pull=True)
            return (child.workspace.root / "set").read_text()

    with workspace.open_clone(str(place)) as asking:
        asking.dvc.repro("prepare", say=lambda line: None, force=True)
        assert made_elsewhere(asking.lock) == "new"
        assert made_elsewhere(None) == "old"  # shows that the lock made the difference above
