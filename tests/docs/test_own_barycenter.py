"""docs/own-barycenter.md: its blocks run unchanged."""

import hashlib
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_workspace import REPOSITORY, run, small_params, write_params

from fair_distill.distillation.alignment import build_barycenter
from fair_distill.errors import ConfigError
from fair_distill.plugins import workspace_modules
from fair_distill.registry.manifest import read_version
from fair_distill.workspace import Workspace

PAGE = (REPOSITORY / "docs" / "own-barycenter.md").read_text()
# The first line of a block names its file.
FILES: dict[str, str] = dict(re.findall(r"^```\w+\n# (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small workspace with four groups and the files of the page."""
    root = tmp_path_factory.mktemp("tutorial")
    for name in ("mine.py", "test_mine.py"):
        (root / name).write_text(FILES[name])
    params = small_params()
    params["data"]["colours"] |= {"green": [0, 255, 0], "grey": [128, 128, 128]}
    params["validate"] = {"minimum_per_cell": 1, "maximum_imbalance": 100}
    params["distill"]["steps"] = 2
    params["candidates"] |= yaml.safe_load(FILES["params.yaml"])["candidates"]
    write_params(root, params)
    return root


def test_the_page_shows_four_files() -> None:
    assert list(FILES) == ["mine.py", "test_mine.py", "params.yaml", "dvc.yaml"]
    assert len(FILES["mine.py"].splitlines()) <= 30


def test_the_tests_on_the_page_pass(root: Path) -> None:
    with workspace_modules(root):
        tests = importlib.import_module("test_mine")
        ran = [test() for name, test in vars(tests).items() if name.startswith("test_")]

    assert len(ran) == 2


def test_the_manifest_of_the_set_records_the_digest_of_its_source(root: Path) -> None:
    for command in (["prepare"], ["validate"], ["distill", "trimmed"]):
        ended = run(root, *command)
        assert ended.code == 0, ended.err

    manifest, _ = read_version(Workspace(root).set("trimmed"), made_by="")
    assert manifest.params["own"] == {"mine:trimmed": hashlib.sha256((root / "mine.py").read_bytes()).hexdigest()}


@pytest.mark.parametrize(("trim", "says"), [(0.7, "should be less than 0.5"), ("some", "should be a valid number")])
def test_an_option_that_violates_its_annotation_is_refused_in_one_line(root: Path, trim: Any, says: str) -> None:
    with (
        workspace_modules(root),
        pytest.raises(ConfigError, match=rf"^params.yaml: barycenter 'mine:trimmed': trim is .*{says}"),
    ):
        build_barycenter("mine:trimmed", {"trim": trim})


def test_the_dvc_file_differs_from_the_repositorys_in_one_line() -> None:
    shown = yaml.safe_load(FILES["dvc.yaml"])["stages"]
    ours = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]

    for stage, section in shown.items():
        assert section["deps"] == [*ours[stage]["deps"], "mine.py"]
