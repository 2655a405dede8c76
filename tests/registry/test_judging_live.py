"""What is live is judged again by what it was published with, as long as that is about the networks of now."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from small_workspace import run, small_params, write_params

from fair_distill.artifacts import Workspace
from fair_distill.config import load_config
from fair_distill.stages import Hand
from fair_distill.stages.live import Regated, live, regate


def params(**evaluate: Any) -> dict[str, Any]:
    changed = small_params()
    changed["gate"] = {"mode": "point", "limits": [{"metric": "accuracy", "at_least": 0.0, "why": "a test"}]}
    changed["evaluate"] |= evaluate
    return changed


@pytest.fixture
def promoted(workspace: Path) -> Workspace:
    write_params(workspace, params())
    for command in (("judge", "barycentric"), ("publish",), ("promote", "--to", "production")):
        ended = run(workspace, *command)
        assert ended.code == 0, ended.err
    return Workspace(workspace)


def judged(workspace: Workspace) -> Regated:
    config, registry = load_config(workspace.params), str(workspace.root / "registry")
    (found,) = live(config, registry=registry)
    return regate(workspace, config, found, registry=registry, hand=Hand("t", datetime(2026, 1, 2, tzinfo=UTC), "n"))


def test_published_predictions_serve_while_the_networks_are_the_same(promoted: Workspace) -> None:
    assert not judged(promoted).measured


@pytest.mark.parametrize(
    "evaluate",
    [
        {"seeds": 3},
        {"networks": [{"name": "convnet", "width": 8, "depth": 2}]},
        {"networks": [{"name": "convnet", "width": 4, "depth": 2}, {"name": "mlp", "width": 8, "depth": 1}]},
    ],
)
def test_other_networks_are_trained(promoted: Workspace, evaluate: dict[str, Any]) -> None:
    write_params(promoted.root, params(**evaluate))

    assert judged(promoted).measured
    assert not judged(promoted).measured  # what was measured lies beside the version now
