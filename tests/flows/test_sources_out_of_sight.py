"""DVC does not look into a bucket: a run does, each time."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from small_workspace import small_params, write_params

from fair_distill import versioning
from tasks.workspace import out_of_sight

FOLDER = {"name": "image_folder", "path": "faces", "metadata": "faces.csv", "columns": {"image": "a", "label": "b"}}


@pytest.mark.parametrize(
    ("source", "there"),
    [
        ({"name": "digits", "size": 8}, False),
        (FOLDER, False),
        (FOLDER | {"path": "s3://bucket/faces"}, True),
        (FOLDER | {"metadata": {"learn": "learn.csv", "test": "s3://bucket/test.csv?endpoint=http://here:9"}}, True),
    ],
)
def test_only_prepare_and_only_of_a_bucket_is_run_whatever_dvc_sees(
    source: dict[str, Any], there: bool, tmp_path: Path
) -> None:
    params = small_params()
    write_params(tmp_path, params | {"data": params["data"] | {"source": source}})

    assert out_of_sight(tmp_path, "prepare") is there
    assert not out_of_sight(tmp_path, "validate")


def test_a_stage_that_is_forced_runs_though_nothing_changed(tmp_path: Path) -> None:
    stage = {"cmd": "date +%s%N > out", "outs": ["out"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"only": stage}}))
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n")
    versioning.ensure_repository(tmp_path)

    with versioning.Dvc(tmp_path) as dvc:
        ran = [dvc.repro("only", say=lambda line: None, force=force) for force in (False, False, True)]

    assert ran == [("only",), (), ("only",)]
