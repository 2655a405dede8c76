"""Sweep points share references, and nothing is evaluated on the gate split."""

from pathlib import Path

from small_workspace import small_params, write_params

from fair_distill.config import load_config
from fair_distill.files import sha256
from fair_distill.gate.predictions import Predictions
from fair_distill.stages.sweep import (
    SweepReference,
    judge_point,
    point_references,
    read_outcome,
    sweep_points,
    sweep_report,
)
from fair_distill.stages.tune import evaluate_on_tune
from fair_distill.workspace import Workspace

LIMITS = [
    {"metric": "accuracy", "over": "full", "at_least": -1.0, "why": "a test"},
    {"metric": "accuracy", "over": "balanced", "at_least": -1.0, "why": "a test"},
    {"metric": "accuracy", "at_least": 0.0, "why": "a test"},
]


def test_points_share_the_references_that_they_do_not_change(tmp_path: Path) -> None:
    params = small_params()
    params["gate"]["limits"] = LIMITS
    write_params(tmp_path, params)
    config = load_config(tmp_path / "params.yaml")
    points = list(sweep_points([10, 1], ["dm", "dc"], ["pooled", "barycentric"], [0, 1]))

    references = {reference for point in points for reference in point_references(config, point)}

    assert len(points) == 16
    full = {SweepReference("full", seed, None) for seed in (0, 1)}
    assert references == full | {SweepReference("balanced", seed, ipc) for seed in (0, 1) for ipc in (1, 10)}


def test_points_with_different_matcher_options_have_different_names() -> None:
    matchers = ["dm", {"name": "dm", "projection": 16}, {"name": "dm", "projection": 64}]

    names = [point.name for point in sweep_points([1], matchers, ["pooled"], [0])]

    assert names[0] == "pooled · dm · ipc 1 · seed 0"
    assert len(set(names)) == 3


def test_a_point_is_judged_on_the_tune_split(workspace: Path, tmp_path: Path) -> None:
    params = small_params()
    params["gate"]["limits"] = LIMITS
    write_params(workspace, params)
    place, config = Workspace(workspace), load_config(workspace / "params.yaml")
    (point,) = sweep_points([2], ["dm"], ["barycentric"], [0])
    gate = place.split("gate")
    before = gate.read_bytes()
    gate.unlink()  # so that any use of it fails

    evaluations = {
        name: evaluate_on_tune(place, config, name, scratch=tmp_path / name, device="cpu")
        for name in ("full", "balanced", "barycentric")
    }
    tuned = judge_point(place, config, point, evaluations, shrink=1.0, scratch=tmp_path / "judge")

    assert {Predictions.from_parquet(evaluation.predictions).split for evaluation in evaluations.values()} == {
        sha256(place.split("tune"))
    }
    assert tuned.tuned.examples == 20
    assert tuned.tuned.verdict.outcome == "pass"
    worst = min(metrics["accuracy"] for metrics in tuned.metrics.values())
    page = sweep_report(config, [tuned], chosen=point.name, outcome="pass").decode()
    assert f"{100 * worst:.1f}\u202f%" in page
    assert "It has 20 examples" in page
    gate.write_bytes(before)
    assert read_outcome(place, "barycentric") == "fail"  # the earlier verdict on the gate split has not changed
