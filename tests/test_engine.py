"""The same params give the same numbers, or the engine of the package is raised.

Stored are a few digits of tiny runs, so that the last bits of another processor are no change. After a change that is
meant: raise `ENGINE` and `engine` in every params.yaml, then `python tests/test_engine.py` writes them again.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_workspace import REPOSITORY, grouped, run, small_params, write_params

import fair_distill
from fair_distill.config import ENGINE, load_config

STORED = Path(__file__).with_name("engine.json")
DATA = grouped([[40, 6], [5, 30], [20, 20]], size=16)
SMALL: dict[str, Any] = {
    "network": {"name": "convnet", "width": 8, "depth": 2},
    "ipc": 2,
    "real_per_class": 8,
    "steps": 3,
    "seed": 0,
}
RUNS: dict[str, dict[str, Any]] = {
    "default": {},
    "dm": {"networks": {"pool": 2, "visits": 2, "advance": 1, "advance_on": "real"}},
    "dc": {"barycenter": "minimax"},
    "idc": {"alignment": "per_group"},
    "cobra-code": {"optimiser": {"name": "adam", "learning_rate": 0.01}},
}


def numbers(preset: str) -> list[float]:
    """Return the losses and a summary of the images."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        result = fair_distill.distill(DATA, preset=preset, **(SMALL | RUNS[preset]))
    finally:
        torch.set_num_threads(threads)
    return [float(f"{value:.6g}") for value in (*result.losses, result.images.mean(), result.images.std())]


@pytest.mark.parametrize("preset", RUNS)
def test_results_change_only_if_engine_changes(preset: str) -> None:
    stored = json.loads(STORED.read_text())

    assert numbers(preset) == pytest.approx(stored["numbers"][preset], rel=1e-3), "raise ENGINE"
    assert stored["engine"] == ENGINE, "python tests/test_engine.py"


@pytest.mark.parametrize("folder", [".", "examples/adult", "examples/mtt", "fair_distill/template"])
def test_every_params_file_names_the_engine_of_the_package(folder: str) -> None:
    assert load_config(REPOSITORY / folder / "params.yaml").engine == ENGINE


STAGES = ["prepare", "validate", "distill barycentric", "references full", "evaluate pooled", "judge pooled", "project"]


@pytest.mark.parametrize(
    ("engine", "fix"),
    [
        (ENGINE - 1, f"set engine: {ENGINE} in params.yaml and run `dvc repro`"),
        (ENGINE + 1, f"install the release of fair-distill that has engine {ENGINE + 1}"),
    ],
)
def test_no_stage_computes_with_another_engine_than_params_name(tmp_path: Path, engine: int, fix: str) -> None:
    write_params(tmp_path, small_params() | {"engine": engine})
    (tmp_path / "context.json").write_text("{}")

    for stage in STAGES:
        ended = run(tmp_path, "stage", *stage.split())
        assert ended.code == 2, stage
        assert f"engine is {engine}, and the installed fair-distill has engine {ENGINE}; {fix}" in ended.err, stage
    assert not (tmp_path / "artifacts").exists()

    ended = run(tmp_path, "doctor")
    assert ended.code == 2
    assert f"engine is {engine}, and the installed fair-distill has engine {ENGINE}" in ended.out
    assert fix in ended.out


if __name__ == "__main__":
    STORED.write_text(
        json.dumps({"engine": ENGINE, "numbers": {name: numbers(name) for name in RUNS}}, indent=1) + "\n"
    )
