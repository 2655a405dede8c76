"""The same params give the same numbers, or `engine` in params.yaml is raised.

Stored are a few digits of tiny runs, so that the last bits of another processor are no change. After a change that is
meant: raise `engine`, then `python tests/test_engine.py` writes them anew.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_workspace import REPOSITORY, grouped

import fair_distill
from fair_distill.config import load_config

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

    assert numbers(preset) == pytest.approx(stored["numbers"][preset], rel=1e-3), "raise engine in params.yaml"
    assert stored["engine"] == load_config(REPOSITORY / "params.yaml").engine, "python tests/test_engine.py"


if __name__ == "__main__":
    engine = load_config(REPOSITORY / "params.yaml").engine
    STORED.write_text(
        json.dumps({"engine": engine, "numbers": {name: numbers(name) for name in RUNS}}, indent=1) + "\n"
    )
