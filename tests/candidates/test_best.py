"""The best candidate is chosen on the tune split, and the gate judges it as any other set."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_workspace import run, small_params, write_params

from fair_distill.config import parse_config
from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import ConfigError
from fair_distill.files import sha256
from fair_distill.registry.manifest import Manifest
from fair_distill.stages.costs import read_costs
from fair_distill.workspace import Workspace


def params_with_best(*sets: str) -> dict[str, Any]:
    params = small_params()
    params["best"] = {"sets": list(sets)}
    params["sets"] = ["full", "balanced", "best"]  # the candidates never meet the gate split
    params["release"]["candidate"] = "best"
    params["gate"]["limits"] = [
        {"metric": "accuracy", "at_least": 0.0, "why": "a test"},
        {"metric": "accuracy", "over": "balanced", "at_least": -1.0, "why": "a test"},
    ]
    return params


@pytest.fixture
def tuned(workspace: Path) -> Path:
    """Return a workspace with two candidates and a reference that were evaluated on the tune split."""
    write_params(workspace, params_with_best("pooled", "barycentric", "balanced"))
    for name in ("pooled", "barycentric", "balanced"):
        assert (ended := run(workspace, "stage", "tune", name)).code == 0, ended.err
    return workspace


def test_the_best_is_a_set_like_any_other(tuned: Path, tmp_path: Path) -> None:
    place = Workspace(tuned)
    ended = run(tuned, "stage", "choose")
    assert ended.code == 0, ended.err
    manifest = Manifest.from_json((place.set("best") / "manifest.json").read_bytes(), name="best")
    choice = manifest.card.choice
    assert choice is not None
    assert choice.should_pass
    assert choice.candidates.keys() == {"pooled", "barycentric"}
    accuracy = {name: each["accuracy"] for name, each in choice.candidates.items()}
    assert choice.chosen == max(accuracy, key=lambda name: accuracy[name])
    files = {name: (place.set(name) / "set.parquet").read_bytes() for name in ("best", choice.chosen)}
    best, chosen = (DistilledSet.from_parquet(content, name=name) for name, content in files.items())
    assert np.array_equal(best.images, chosen.images)
    assert f"best: {choice.chosen} (should pass)" in ended.out

    for command in (["stage", "evaluate", "best"], ["stage", "judge", "best"]):
        assert (ended := run(tuned, *command)).code == 0, ended.err
    registry = str(tmp_path / "registry")
    assert run(tuned, "publish", "--registry", registry).code == 0
    assert (ended := run(tuned, "promote", "--to", "production", "--registry", registry)).code == 0, ended.err


def test_the_gate_notices_another_choice_than_the_params_allow(tuned: Path) -> None:
    for command in (["choose"], ["evaluate", "best"], ["judge", "best"]):
        assert (ended := run(tuned, "stage", *command)).code == 0, ended.err
    assert run(tuned, "enforce", "best").code == 0
    params = params_with_best("pooled", "barycentric", "balanced")
    others = {name: {"alignment": "per_group"} for name in ("pooled", "barycentric")}
    for change in ({"best": {"sets": ["pooled", "balanced"]}}, {"candidates": others}):
        write_params(tuned, params | change)
        ended = run(tuned, "enforce", "best")
        assert ended.code == 4, ended.err


def test_the_stages_record_their_costs(tuned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAIR_DISTILL_COSTS")
    for command in (["tune", "pooled"], ["choose"]):
        assert (ended := run(tuned, "stage", *command)).code == 0, ended.err
    versions = {cost.stage: cost.version for cost in read_costs(Workspace(tuned), "digits")}
    expected = {"tune": "pooled", "choose": "best"}
    manifests = {stage: Workspace(tuned).set(name) / "manifest.json" for stage, name in expected.items()}
    assert versions == {stage: sha256(path) for stage, path in manifests.items()}


def test_if_none_should_pass_the_nearest_is_chosen_and_the_card_says_so(tuned: Path) -> None:
    params = params_with_best("pooled", "barycentric", "balanced")
    params["gate"]["limits"][0]["at_least"] = 0.999
    write_params(tuned, params)
    ended = run(tuned, "stage", "choose")
    assert ended.code == 0, ended.err
    manifest = Manifest.from_json((tuned / "artifacts/sets/best/manifest.json").read_bytes(), name="best")
    assert manifest.card.choice is not None
    assert not manifest.card.choice.should_pass
    margins = {name: each["margin"] for name, each in manifest.card.choice.candidates.items()}
    assert manifest.card.choice.chosen == max(margins, key=lambda name: margins[name])
    assert "none should pass" in ended.out


def test_predictions_of_an_earlier_set_are_refused(tuned: Path) -> None:
    place = Workspace(tuned)
    place.tuned("pooled").write_bytes(place.tuned("barycentric").read_bytes())
    ended = run(tuned, "stage", "choose")
    assert ended.code == 5
    assert "fair-distill stage tune pooled" in ended.err
    assert not place.set("best").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"best": {"sets": ["pooled", "other"]}}, "best.sets contains 'other'"),
        ({"best": {"sets": ["balanced", "random"]}}, "best.sets contains no candidate"),
        ({"best": {"sets": ["pooled", "barycentric"]}}, "best.sets lacks 'balanced'"),
        ({"best": {"sets": ["pooled"]}}, "best.sets"),
        ({"candidates": {"best": {"alignment": "pooled"}}}, "is that of the set that is chosen"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_config(params_with_best("pooled", "barycentric", "balanced") | change)
    assert message in str(refusal.value)


def test_without_the_section_there_is_nothing_to_choose(workspace: Path) -> None:
    ended = run(workspace, "stage", "choose")
    assert ended.code == 2
    assert "add `best:" in ended.err
