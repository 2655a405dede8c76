"""The example workspace for mtt has the graph of the product with the stage `experts`, and it runs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_workspace import MTT, REPOSITORY, small_params, write_params

from fair_distill.config import load_config
from fair_distill.distillation.matchers import build_matcher

EXAMPLE = REPOSITORY / "examples" / "mtt"
BIN = Path(sys.executable).parent


def graph(root: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((root / "dvc.yaml").read_text())
    return loaded


def test_its_graph_is_that_of_the_product_with_experts_before_distill() -> None:
    ours, products = graph(EXAMPLE), graph(REPOSITORY)

    experts = ours["stages"].pop("experts")
    assert experts["outs"] == [ours["stages"]["distill"]["deps"].pop()]
    assert ours == products


def test_its_params_are_valid_and_their_matcher_can_be_built() -> None:
    matcher = load_config(EXAMPLE / "params.yaml").distill.matcher

    assert matcher.name == "mtt"
    build_matcher(matcher.name, matcher.options)


@pytest.mark.pipeline
def test_its_graph_trains_experts_once_for_all_sets(tmp_path: Path) -> None:
    for name in ("dvc.yaml", "context.json", ".dvcignore", ".gitignore"):
        shutil.copy(EXAMPLE / name, tmp_path / name)
    shutil.copytree(EXAMPLE / ".dvc", tmp_path / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    params = small_params()
    params["distill"] |= {"matcher": MTT, "steps": 2}
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)

    def repro(*flags: str) -> str:
        write_params(tmp_path, params)
        done = subprocess.run(
            [sys.executable, "-m", "dvc", "repro", *flags, "distill@barycentric"],
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    first = repro()
    params["distill"]["matcher"] = MTT | {"student_steps": 3}
    second = repro("--dry")

    assert "Running stage 'experts@barycentric'" in first
    assert "Running stage 'experts@barycentric'" not in second
    assert "Running stage 'distill@barycentric'" in second
