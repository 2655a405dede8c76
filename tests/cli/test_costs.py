"""What stages cost is recorded and published, and a budget refuses a stage before it starts."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_repository import command, fewest_stages, repository
from small_workspace import run, small_params, tree, write_params

from fair_distill.config import Budget, load_config, parse_config
from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import sha256
from fair_distill.registry.costs import StageTotal, VersionCost, version_cost
from fair_distill.registry.store import open_registry
from fair_distill.stages import estimate as estimate_module
from fair_distill.stages.budget import check_budget
from fair_distill.stages.costs import StageCost, read_costs, version_cost_of, write_cost
from fair_distill.stages.estimate import Estimate
from fair_distill.workspace import Workspace

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
COST = StageCost(
    dataset="digits",
    stage="distill",
    set="barycentric",
    version=sha256(b"version"),
    completed=True,
    device="cpu",
    cpu_seconds=5.5,
    gpu_seconds=0.0,
    seconds=3.0,
    output_bytes=100,
    time="2026-03-10T10:00:00Z",
)


@pytest.fixture
def recording(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("FAIR_DISTILL_COSTS")
    return Workspace(workspace)


def with_budget(workspace: Workspace, **budget: Any) -> None:
    params = yaml.safe_load(workspace.params.read_text())
    write_params(workspace.root, params | {"budget": budget})


def test_a_stage_records_what_it_cost_and_publish_stores_it_with_the_version(recording: Workspace):
    for words in (["prepare"], ["validate"], ["distill", "barycentric"], ["evaluate", "barycentric"], ["publish"]):
        ended = run(recording.root, *words)
        assert (ended.code, ended.err) == (0, "")

    costs = read_costs(recording, "digits")
    assert [(cost.stage, cost.set, cost.completed) for cost in costs] == [
        ("prepare", "", True),
        ("validate", "", True),
        ("distill", "barycentric", True),
        ("evaluate", "barycentric", True),
    ]
    version = sha256(recording.set("barycentric") / "manifest.json")
    assert [cost.version for cost in costs] == [None, None, version, version]
    assert all(0 < cost.cpu_seconds < 600 and cost.gpu_seconds == 0.0 for cost in costs)
    assert costs[1].output_bytes == recording.validation.stat().st_size
    stored = version_cost(open_registry(str(recording.root / "registry")), version)
    assert stored is not None
    assert [stage.stage for stage in stored.stages] == ["prepare", "validate", "distill", "evaluate"]
    assert stored.cpu_seconds == pytest.approx(sum(cost.cpu_seconds for cost in costs))

    run(recording.root, "judge", "barycentric")
    with_no_gate(recording)
    assert run(recording.root, "judge", "barycentric").code == 0
    assert run(recording.root, "promote", "--to", "production").code == 0
    (channel,) = json.loads(run(recording.root, "registry", "status", "digits", "--json").out)["channels"]
    assert channel["cost"]["stages"][2]["stage"] == "distill"
    (dataset,) = json.loads(run(recording.root, "registry", "list", "--costs", "--json").out)
    assert dataset["cost"]["cpu_seconds"] == stored.cpu_seconds
    assert " CPU h" in run(recording.root, "registry", "list", "--costs").out
    report = run(recording.root, "report", "barycentric")
    assert report.code == 0
    assert "made with.cost.distill barycentric" in recording.report("barycentric").read_text()


def with_no_gate(workspace: Workspace) -> None:
    params = yaml.safe_load(workspace.params.read_text())
    params["gate"]["limits"] = [{"metric": "accuracy", "at_least": 0.0, "why": "a test"}]
    write_params(workspace.root, params)


def test_no_digest_depends_on_costs(recording: Workspace, monkeypatch: pytest.MonkeyPatch):
    before = tree(recording.root / "artifacts")
    for words in (["distill", "barycentric"], ["evaluate", "barycentric"]):
        assert run(recording.root, *words).code == 0

    assert tree(recording.root / "artifacts") == before
    monkeypatch.setenv("FAIR_DISTILL_COSTS", "")
    shutil.rmtree(recording.costs)
    assert run(recording.root, "evaluate", "barycentric").code == 0
    assert not recording.costs.exists()


def test_a_budget_changes_no_other_section():
    params = small_params()
    with_it = params | {"budget": {"days": 7, "cpu_hours": 1}}

    without = parse_config(params).model_dump(by_alias=True)
    assert without.pop("budget") is None
    assert parse_config(with_it).model_dump(by_alias=True) == without | {
        "budget": {"days": 7, "cpu_hours": 1.0, "gpu_hours": None}
    }
    for wrong in ({}, {"days": 7}, {"days": 0, "cpu_hours": 1}, {"days": 7, "gpu_hours": 0}, {"cpu_hours": 1}):
        with pytest.raises(ConfigError, match="budget"):
            parse_config(params | {"budget": wrong})


def test_a_run_that_fails_or_cannot_be_recorded_changes_no_outcome(
    recording: Workspace, monkeypatch: pytest.MonkeyPatch
):
    from fair_distill.cli import costs as module

    ended = run(recording.root, "distill", "nothing")
    assert ended.code == 2
    assert read_costs(recording, "digits") == ()  # it took no second

    monkeypatch.setattr(module, "_SHORTEST_FAILURE", 0.0)
    assert run(recording.root, "distill", "nothing").err == ended.err
    (cost,) = read_costs(recording, "digits")
    assert (cost.completed, cost.version, cost.output_bytes) == (False, None, 0)

    shutil.rmtree(recording.costs)
    recording.costs.write_text("a file")
    ended = run(recording.root, "validate")
    assert ended.code == 0
    assert "the cost of `validate` was not recorded" in ended.err


@pytest.mark.parametrize(
    ("change", "device", "message"),
    [
        ({"cpu_hours": 1e-6}, "cpu", "`distill barycentric` needs about 0.000556 more"),
        ({"gpu_hours": 1e-6}, "cuda", "budget.gpu_hours is 1e-06 in 7 days; 0 were used"),
        ({"gpu_hours": 1e-6}, "cpu", None),
        ({"cpu_hours": 1.0}, "cpu", None),
    ],
)
def test_a_budget_refuses_a_stage_before_it_starts(
    recording: Workspace, monkeypatch: pytest.MonkeyPatch, change: dict[str, float], device: str, message: str | None
):
    def estimated(_: object, __: object, stage: str, name: str, **options: Any) -> Estimate:
        assert options["device"] == device
        return Estimate(stage, name, 2.0, 1.0, None)

    monkeypatch.setattr(estimate_module, "estimate_stage", estimated)
    with_budget(recording, days=7, **change)
    before = tree(recording.root)

    ended = run(recording.root, "distill", "barycentric", "--device", device)

    if message is None:
        assert ended.code == 0
    else:
        assert (ended.code, ended.err.count("\n")) == (2, 1)
        assert message in ended.err
        assert tree(recording.root) == before


def test_the_estimate_of_one_stage_is_that_of_the_run(recording: Workspace, monkeypatch: pytest.MonkeyPatch):
    def in_this_process(work: Any, *arguments: Any) -> Any:
        return work(*arguments)

    monkeypatch.setattr(estimate_module, "_in_new_process", in_this_process)
    with_budget(recording, days=7, cpu_hours=1e-9)
    for words in (["references", "random"], ["evaluate", "random"]):
        ended = run(recording.root, *words)
        assert ended.code == 2
        assert f"`{' '.join(words)}` needs about" in ended.err
    assert load_config(recording.params).budget == Budget(days=7, cpu_hours=1e-9)


def test_the_runs_of_the_last_days_count_also_those_that_failed():
    budget = Budget(days=7, cpu_hours=1.0)
    old = replace(COST, time="2026-03-03T11:59:59Z", cpu_seconds=3600.0)
    recent = replace(COST, time="2026-03-03T12:00:01Z", cpu_seconds=3000.0, completed=False, version=None)
    options: dict[str, Any] = {"run": "`distill a`", "threads": 2, "on_gpu": False, "now": NOW}

    check_budget(budget, [old, recent], seconds=300.0, **options)
    with pytest.raises(ConfigError, match=r"0\.833 were used, and `distill a` needs about 0\.169 more"):
        check_budget(budget, [old, recent], seconds=304.0, **options)


def test_a_version_counts_its_runs_and_the_newest_data_before_them():
    def at(hour: int, stage: str, **changes: Any) -> StageCost:
        values = {"set": "", "version": None} if stage in ("prepare", "validate") else {}
        return replace(COST, time=f"2026-03-10T{hour:02}:00:00Z", stage=stage, **{**values, **changes})

    costs = [
        at(1, "prepare", cpu_seconds=100.0),
        at(2, "prepare", cpu_seconds=1.0, output_bytes=7),
        at(3, "experts", version=None, cpu_seconds=2.0),
        at(3, "experts", version=None, set="pooled", cpu_seconds=50.0),
        at(4, "distill", completed=False, version=None, cpu_seconds=25.0),
        at(5, "distill", cpu_seconds=4.0),
        at(6, "distill", cpu_seconds=8.0, gpu_seconds=3.0, device="cuda"),
        at(7, "distill", version=sha256(b"other"), cpu_seconds=1000.0),
        at(8, "evaluate", cpu_seconds=16.0),
        at(9, "prepare", cpu_seconds=400.0),
    ]

    cost = version_cost_of(costs, COST.version or "")

    assert cost is not None
    assert [(stage.stage, stage.runs, stage.cpu_seconds) for stage in cost.stages] == [
        ("prepare", 1, 1.0),
        ("experts", 1, 2.0),
        ("distill", 2, 12.0),
        ("evaluate", 1, 16.0),
    ]
    assert (cost.cpu_seconds, cost.gpu_seconds, cost.output_bytes) == (31.0, 3.0, 7 + 100 + 100 + 100)
    assert cost.time == "2026-03-10T08:00:00Z"
    assert version_cost_of(costs, sha256(b"unknown")) is None
    assert VersionCost.from_json(cost.to_json(), name="it") == cost


@pytest.mark.parametrize("change", [{"cpu_seconds": -1.0}, {"runs": True}, {"stage": 1}, {"gpu_seconds": 1}])
def test_a_damaged_cost_is_named(change: dict[str, Any]):
    row = StageTotal("distill", "a", 1, 1.0, 0.0, 5)
    cost = VersionCost("digits", sha256(b""), "2026-03-10T08:00:00Z", (replace(row, **change),))

    with pytest.raises(IntegrityError, match="remove it by hand"):
        VersionCost.from_json(cost.to_json(), name="it")


def test_costs_of_a_dataset_are_shared_by_workspaces_and_separate_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    location = str(tmp_path / "costs")
    monkeypatch.setenv("FAIR_DISTILL_COSTS", location)
    for number, dataset in enumerate(("vision", "vision/faces", "vision")):
        write_cost(location, replace(COST, dataset=dataset), id=f"{number}")

    assert len(read_costs(Workspace(tmp_path / "a"), "vision")) == 2
    assert len(read_costs(Workspace(tmp_path / "b"), "vision/faces")) == 1
    next((tmp_path / "costs" / "vision" / "faces").iterdir()).write_bytes(b"{}")
    with pytest.raises(IntegrityError, match="not the cost of a stage"):
        read_costs(Workspace(tmp_path), "vision/faces")


def test_a_refresh_with_unchanged_data_computes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("FAIR_DISTILL_COSTS")
    params = fewest_stages()
    params["data"]["source"]["size"] = 8
    workspace = repository(tmp_path / "repository", params)
    command(workspace, "dvc", "repro", "--quiet")
    first = read_costs(workspace, "digits")
    lock = (workspace.root / "dvc.lock").read_bytes()

    output = command(workspace, "dvc", "repro")

    second = read_costs(workspace, "digits")[len(first) :]
    assert sum(cost.cpu_seconds for cost in second) == 0.0
    assert second == ()
    assert {cost.stage for cost in first} == {
        "prepare",
        "validate",
        "distill",
        "references",
        "project",
        "evaluate",
        "judge",
    }
    assert output.count("didn't change, skipping") == len(first)
    assert "Running stage" not in output
    assert (workspace.root / "dvc.lock").read_bytes() == lock
