"""`dvc repro`, the Prefect flow and `fair-distill run` are three doors to the same stages."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.testing.utilities import prefect_test_harness
from small_workspace import REPOSITORY, small_params, write_params

from fair_distill.artifacts import Workspace, sha256
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.store import open_store

BIN = Path(sys.executable).parent

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="session")
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=180):
        yield


def clone(folder: Path, params: dict[str, Any]) -> Workspace:
    """A workspace in a git repository of its own, with the product's dvc.yaml and small params."""
    folder.mkdir(parents=True)
    for name in ("dvc.yaml", "context.json", ".dvcignore", ".gitignore"):
        shutil.copy(REPOSITORY / name, folder / name)
    (folder / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(REPOSITORY / ".dvc" / name, folder / ".dvc" / name)
    write_params(folder, params)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return Workspace(folder)


def fewest_stages() -> dict[str, Any]:
    """One candidate and one reference: the fewest stages that still are all of them."""
    params = small_params()
    return params | {
        "candidates": {"barycentric": params["candidates"]["barycentric"]},
        "references": {"random": params["references"]["random"]},
        "sets": ["random", "barycentric"],
        "gate": params["gate"]
        | {"limits": [{"metric": "accuracy", "at_least": 0.0, "why": "a tiny set has to pass here"}]},
    }


def files(workspace: Workspace) -> dict[str, tuple[int, str]]:
    """Every file that a run could write, with the time it was written."""
    paths = [workspace.root / "dvc.lock"]
    for folder in ("artifacts", "registry"):
        paths += [path for path in (workspace.root / folder).rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, sha256(path)) for path in paths}


def command(workspace: Workspace, *arguments: str) -> str:
    done = subprocess.run(
        arguments,
        cwd=workspace.root,
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dvc_repro(workspace: Workspace) -> None:
    command(workspace, "dvc", "repro")


def fair_distill_run(workspace: Workspace) -> None:
    command(workspace, "fair-distill", "run")


def prefect_flow(workspace: Workspace) -> None:
    from flows.refresh import refresh

    refresh(workspace=workspace.root, registry=str(workspace.root / "registry"), channel="production")


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory, server: None) -> dict[str, tuple[Workspace, dict, dict]]:
    """Each door's workspace, with its files after the first and after the second run."""
    result = {}
    for door in (dvc_repro, fair_distill_run, prefect_flow):
        workspace = clone(tmp_path_factory.mktemp("door") / door.__name__, fewest_stages())
        door(workspace)
        first = files(workspace)
        door(workspace)
        result[door.__name__] = workspace, first, files(workspace)
    return result


def test_three_doors_give_the_same_version(walked):
    digests = {door: sha256(place.set("barycentric") / "manifest.json") for door, (place, _, _) in walked.items()}

    assert len(set(digests.values())) == 1, digests


def test_three_doors_give_the_same_lock(walked):
    assert len({sha256(place.root / "dvc.lock") for place, _, _ in walked.values()}) == 1


def test_three_doors_give_the_same_verdict_and_the_flow_promotes_on_it(walked):
    verdicts = {sha256(place.verdict("barycentric")) for place, _, _ in walked.values()}

    assert len(verdicts) == 1
    store = open_store(str(walked["prefect_flow"][0].root / "registry"))
    promoted = [entry.verdict for entry in read_ledger(store, "digits") if entry.event == "promote"]
    assert set(promoted) == verdicts


@pytest.mark.parametrize("door", ["dvc_repro", "fair_distill_run", "prefect_flow"])
def test_a_second_run_writes_nothing(walked, door):
    _, first, second = walked[door]

    assert first
    assert second == first


def test_the_flow_ends_with_a_promoted_set_that_loads(walked):
    import fair_distill

    workspace = walked["prefect_flow"][0]
    loaded = fair_distill.load("digits@production", registry=str(workspace.root / "registry"))

    assert len(loaded) == loaded.card.examples


def test_dvc_pushes_pulls_and_shows_what_the_stages_made(walked):
    workspace = walked["dvc_repro"][0]
    made = workspace.set("barycentric") / "set.parquet"
    before = sha256(made)

    assert "files pushed" in command(workspace, "dvc", "push")
    shutil.rmtree(workspace.artifacts)
    shutil.rmtree(workspace.root / ".dvc" / "cache")
    command(workspace, "dvc", "pull")

    assert sha256(made) == before
    assert "eo_diag_max" in command(workspace, "dvc", "metrics", "show")
    page = command(workspace, "dvc", "plots", "show")
    assert "index.html" in page
    assert "failed" not in page


def test_metrics_diff_shows_what_a_change_of_params_did(walked):
    workspace = walked["dvc_repro"][0]
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
    command(workspace, *git, "add", "-A")
    command(workspace, *git, "commit", "--quiet", "-m", "first")
    params = yaml.safe_load(workspace.params.read_text())
    params["evaluate"]["seeds"] += 1
    write_params(workspace.root, params)

    command(workspace, "fair-distill", "run")

    assert "accuracy" in command(workspace, "dvc", "metrics", "diff")
