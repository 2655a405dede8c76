"""The stages `experts` and `distill` in a workspace."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_workspace import MTT, run, small_params, tree, write_params

from fair_distill.config import load_config
from fair_distill.distillation.checkpoint import Interrupted
from fair_distill.stages.experts import train_candidate_experts
from fair_distill.workspace import Workspace


@pytest.fixture
def follows(workspace: Path) -> Workspace:
    """Return a prepared and validated workspace whose matcher follows experts."""
    params = small_params()
    params["distill"] |= {"matcher": MTT, "steps": 2}
    params["distill"]["optimiser"]["learning_rate"] = 0.1
    write_params(workspace, params)
    return Workspace(workspace)


def change(workspace: Workspace, **experts: Any) -> None:
    params = yaml.safe_load(workspace.params.read_text())
    params["distill"]["matcher"]["experts"] |= experts
    write_params(workspace.root, params)


def test_the_card_records_the_learned_step_size_and_the_derivation(follows: Workspace) -> None:
    for name, ours in (("pooled", False), ("barycentric", True)):
        ended = run(follows.root, "experts", name)
        assert (ended.code, ended.out) == (0, f"{name}: 2 experts\n"), ended.err
        assert [path.name for path in sorted(follows.experts(name).iterdir())] == [
            "0000.safetensors",
            "0001.safetensors",
        ]
        assert run(follows.root, "distill", name).code == 0

        manifest = json.loads((follows.set(name) / "manifest.json").read_bytes())
        assert 0 < manifest["card"]["diagnostics"]["step_size"] != 0.01
        provenance = json.loads((follows.set(name) / "provenance.json").read_bytes())
        assert ("no cross-group MTT" in provenance.get("derived", "")) == ours


def test_experts_that_are_missing_or_of_another_configuration_are_refused(follows: Workspace) -> None:
    missing = run(follows.root, "distill", "pooled")
    assert run(follows.root, "experts", "pooled").code == 0
    change(follows, learning_rate=0.02)
    foreign = run(follows.root, "distill", "pooled")

    assert missing.code == 2
    assert "safetensors is missing; run `fair-distill stage experts`, which writes it" in missing.err
    assert foreign.code == 5
    assert "of another configuration or other data; run `fair-distill stage experts`" in foreign.err


def test_each_candidate_has_its_own_experts(follows: Workspace) -> None:
    assert run(follows.root, "experts", "pooled").code == 0
    follows.experts("pooled").rename(follows.experts("barycentric"))

    assert run(follows.root, "distill", "barycentric").code == 5


def test_a_matcher_without_experts_has_none_to_train(workspace: Path) -> None:
    ended = run(workspace, "experts", "pooled")

    assert ended.code == 2
    assert "distill.matcher is 'dm', which uses no experts" in ended.err


def test_interrupted_experts_end_with_the_same_bytes(follows: Workspace) -> None:
    config = load_config(follows.params)
    assert train_candidate_experts(follows, config, "pooled") == 2
    whole = tree(follows.experts("pooled"))
    told: list[int] = []

    with pytest.raises(Interrupted, match="stopped after 3 of 4 epochs; run the same command again"):
        train_candidate_experts(
            follows,
            config,
            "pooled",
            progress=lambda reached: told.append(reached.step),
            stopping=lambda: told[-1] == 3,
        )
    told.clear()
    train_candidate_experts(follows, config, "pooled", progress=lambda reached: told.append(reached.step))

    assert told == [3, 4]
    assert tree(follows.experts("pooled")) == whole
    assert not list(follows.checkpoints.rglob("*.safetensors"))
