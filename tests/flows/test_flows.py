"""Behaviour of flows beyond their stages: clones, pushed locks, final states, retries and artifacts."""

import json
import logging
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from small_repository import command, commit, fewest_stages, git, repository
from small_workspace import write_params

from fair_distill.files import sha256
from fair_distill.registry.attempts import read_record
from fair_distill.registry.channels import current
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.store import open_registry
from fair_distill.versioning import dvc_commands, git_commands
from fair_distill.workspace import Workspace

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif("FAIR_DISTILL_FLOWS" not in os.environ, reason="make test-flows sets this; some minutes"),
    pytest.mark.usefixtures("server"),
]


def with_limit(workspace: Workspace, at_least: float) -> None:
    """Change the policy and commit it."""
    params = yaml.safe_load(workspace.params.read_text())
    params["gate"]["limits"][0]["at_least"] = at_least
    write_params(workspace.root, params)
    commit(workspace.root, "policy")


def run_of(state: Any) -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(state.state_details.flow_run_id)


def artifacts_of(state: Any) -> dict[str | None, Any]:
    with get_client(sync_client=True) as client:
        by_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
        return {artifact.key: artifact for artifact in client.read_artifacts(artifact_filter=by_run)}


def task_runs_of(state: Any) -> dict[str, int]:
    """Return the run count of each task of a flow run."""
    with get_client(sync_client=True) as client:
        by_run = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
        return {run.name: run.run_count for run in client.read_task_runs(flow_run_filter=by_run)}


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory, server: None) -> tuple[Workspace, Path, list[Any]]:
    """A repository with a remote, and the final states of two simultaneous runs of `refresh`."""
    from flows.refresh import refresh

    folder = tmp_path_factory.mktemp("refreshed")
    workspace = repository(folder / "workspace", fewest_stages())
    upstream = folder / "upstream.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(upstream)], check=True)
    git(workspace.root, "remote", "add", "origin", str(upstream))
    git(workspace.root, "push", "--quiet", "origin", "main")

    def once(_: int) -> Any:
        return refresh(str(workspace.root), return_state=True)

    with ThreadPoolExecutor(2) as pool:
        return workspace, upstream, list(pool.map(once, range(2)))


def test_two_simultaneous_runs_succeed_with_the_same_version(refreshed: Any) -> None:
    workspace, _, states = refreshed

    versions = {state.result() for state in states}
    store = open_registry(str(workspace.root / "registry"))
    entries = read_ledger(store, "digits")

    assert [state.name for state in states] == ["Completed", "Completed"]
    assert versions == {current(entries, "production")}
    assert [entry.event for entry in entries] == ["publish", "promote"]
    assert [entry.event for entry in read_record(store)] == ["reserve", "bind"]


def test_the_lock_is_pushed_once_and_the_workspace_does_not_change(refreshed: Any) -> None:
    workspace, upstream, _ = refreshed

    pushed = git(upstream, "log", "--format=%s", "main").splitlines()

    assert pushed == ["Refresh dvc.lock", "first"]
    assert git(workspace.root, "status", "--porcelain") == ""
    assert not workspace.artifacts.exists()


def test_results_of_a_run_are_in_the_cache_and_the_remote(refreshed: Any, tmp_path: Path) -> None:
    workspace, upstream, _ = refreshed
    git(workspace.root, "pull", "--quiet", "origin", "main")
    elsewhere = Path(git(tmp_path, "clone", "--quiet", str(upstream), str(tmp_path / "clone")) or tmp_path / "clone")
    git_commands._configure_dvc(elsewhere, None, workspace.root)

    command(Workspace(elsewhere), "dvc", "pull")

    assert "Data and pipelines are up to date" in command(Workspace(elsewhere), "dvc", "status")


def test_a_run_is_named_after_its_dataset_and_settings(refreshed: Any) -> None:
    _, _, (first, second) = refreshed

    names = {run_of(first).name, run_of(second).name}

    assert len(names) == 2
    assert all(name.startswith("digits · dm · ipc 2 · ") for name in names)


def test_the_page_has_progress_table_bars_images_and_verdict(refreshed: Any) -> None:
    workspace, _, states = refreshed
    pages = [artifacts_of(state) for state in states]
    page = pages[0] | pages[1]

    assert {
        "sets",
        "verdict-barycentric",
        "rates-barycentric",
        "groups-barycentric",
        "images-barycentric",
        "report-barycentric",
    } <= page.keys()
    report = Path(urlsplit(page["report-barycentric"].data.rpartition("(")[2].rstrip(")")).path)
    assert report.parent == workspace.root / "reports" / "digits"
    assert "<h1" in report.read_text()
    assert page["distill-barycentric"].type == "progress"
    assert page["distill-barycentric"].data == 100.0
    assert "5 of 5" in page["distill-barycentric"].description
    assert page["images-barycentric"].data.startswith("data:image/png;base64,")
    assert {row["set"] for row in json.loads(page["sets"].data)} == {"random", "barycentric"}


def test_a_refused_promotion_ends_as_blocked_and_is_not_retried(
    refreshed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from flows.refresh import refresh

    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addHandler(caplog.handler)

    workspace, _, _ = refreshed
    with_limit(workspace, 1.0)
    before = read_ledger(open_registry(str(workspace.root / "registry")), "digits")

    state = refresh(str(workspace.root), return_state=True)

    assert (state.type.value, state.name) == ("FAILED", "Blocked")
    assert "accuracy" in state.message
    assert "limit 1.000" in state.message
    assert task_runs_of(state)["promote to production"] == 1
    assert caplog.records
    assert not [record for record in caplog.records if record.exc_info], "a refusal is no unexpected exception"
    assert read_ledger(open_registry(str(workspace.root / "registry")), "digits") == before


def test_a_live_version_that_fails_a_new_policy_is_demoted(refreshed: Any) -> None:
    from flows.regate import regate

    workspace, _, _ = refreshed
    with_limit(workspace, 0.0)
    passed = regate(str(workspace.root), return_state=True)
    with_limit(workspace, 0.99)
    demoted = regate(str(workspace.root), return_state=True)
    again = regate(str(workspace.root), return_state=True)

    entries = read_ledger(open_registry(str(workspace.root / "registry")), "digits")
    assert passed.name == "Completed"
    assert (demoted.name, again.name) == ("Demoted", "NothingLive")
    assert "report-live-v1" in artifacts_of(demoted)
    assert entries[-1].event == "demote"
    assert "judged again: accuracy" in entries[-1].reason
    assert current(entries, "production") is None


def test_a_new_gate_split_is_evaluated_again(refreshed: Any) -> None:
    from flows.refresh import refresh
    from flows.regate import regate

    workspace, _, _ = refreshed
    with_limit(workspace, 0.0)
    version = refresh(str(workspace.root))
    params = yaml.safe_load(workspace.params.read_text())
    params["seed"] += 1  # a new seed gives new splits
    write_params(workspace.root, params)
    commit(workspace.root, "other evaluation data")
    regate(str(workspace.root))

    tables = open_registry(str(workspace.root / "registry")).list(f"versions/{version}/predictions/")
    assert len(tables) == 2


def test_a_sweep_judges_only_the_smallest_set_that_should_pass(refreshed: Any, tmp_path: Path) -> None:
    from flows.sweep import sweep

    params = fewest_stages() | {"references": {"full": {"select": "all"}}, "sets": ["full", "barycentric"]}
    params["gate"]["limits"].append({"metric": "accuracy", "over": "full", "at_least": -1.0, "why": "a test"})
    workspace = repository(tmp_path / "swept", params)

    state = sweep(str(workspace.root), ipc=[2, 1], return_state=True)

    assert state.name == "Completed"
    assert "distill.ipc: 1" in state.result()
    assert sum(name.startswith("judge ") for name in task_runs_of(state)) == 1
    assert sum(name.startswith("full ") for name in task_runs_of(state)) == 1
    assert len(json.loads(artifacts_of(state)["sweep"].data)) == 2
    assert {"report-sweep", "report-barycentric"} <= artifacts_of(state).keys()
    entries = read_record(open_registry(str(workspace.root / "registry")))
    assert [entry.event for entry in entries] == ["reserve"]


def test_a_sweep_without_a_passing_set_does_not_use_the_gate_split(tmp_path: Path) -> None:
    from flows.sweep import sweep

    workspace = repository(tmp_path / "swept", fewest_stages())
    with_limit(workspace, 1.0)

    state = sweep(str(workspace.root), ipc=[1], return_state=True)

    assert state.name == "NoneFits"
    assert "report-sweep" in artifacts_of(state)
    assert not any(name.startswith("judge ") for name in task_runs_of(state))


def test_a_stage_that_ran_in_another_deployment_is_not_run_again(tmp_path: Path) -> None:
    """A container and the flow that started it share the DVC remote only."""
    from flows.stage import run_stage

    workspace = repository(tmp_path / "asking", fewest_stages())
    git(tmp_path, "clone", "--quiet", str(workspace.root), str(tmp_path / "there"))
    config = (workspace.root / ".dvc" / "config").read_text().replace("../dvc-remote", str(tmp_path / "remote"))
    for place in (workspace.root, tmp_path / "there"):
        (place / ".dvc" / "config").write_text(config)
        commit(place, "one remote for both")

    run_stage("distill", str(tmp_path / "there"))
    lines: list[str] = []
    dvc = dvc_commands.Dvc(workspace.root)
    ran = dvc.repro("distill", say=lines.append, pull=True)

    assert ran == ()
    assert any("is cached - skipping run" in line for line in lines)
    assert sha256(workspace.set("barycentric") / "set.parquet")
