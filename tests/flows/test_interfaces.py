"""`dvc repro`, the Prefect flow and `fair-distill run` give the same results."""

import shutil

import pytest
import yaml
from small_repository import command, commit, fewest_stages, repository
from small_workspace import write_params

from fair_distill.files import sha256
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.store import open_registry
from fair_distill.workspace import Workspace

pytestmark = pytest.mark.pipeline


def files(workspace: Workspace) -> dict[str, tuple[int, str]]:
    """Return modification time and digest of every file that a run can write."""
    paths = [workspace.root / "dvc.lock"]
    for folder in ("artifacts", "registry"):
        paths += [path for path in (workspace.root / folder).rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, sha256(path)) for path in paths}


def dvc_repro(workspace: Workspace) -> None:
    command(workspace, "dvc", "repro")


def fair_distill_run(workspace: Workspace) -> None:
    command(workspace, "fair-distill", "run")


def prefect_flow(workspace: Workspace) -> None:
    from flows.refresh import refresh

    refresh(str(workspace.root), in_place=True)


@pytest.fixture(scope="module")
def finished_runs(tmp_path_factory: pytest.TempPathFactory, server: None) -> dict[str, tuple[Workspace, dict, dict]]:
    """The workspace of each interface, with its files after the first and after the second run."""
    result = {}
    for interface in (dvc_repro, fair_distill_run, prefect_flow):
        workspace = repository(tmp_path_factory.mktemp("interface") / interface.__name__, fewest_stages())
        interface(workspace)
        first = files(workspace)
        interface(workspace)
        result[interface.__name__] = workspace, first, files(workspace)
    return result


def test_all_interfaces_give_the_same_version(finished_runs):
    digests = {
        name: sha256(place.set("barycentric") / "manifest.json") for name, (place, _, _) in finished_runs.items()
    }

    assert len(set(digests.values())) == 1, digests


def test_all_interfaces_give_the_same_lock(finished_runs):
    assert len({sha256(place.root / "dvc.lock") for place, _, _ in finished_runs.values()}) == 1


def test_all_interfaces_give_the_same_verdict_and_the_flow_promotes_on_it(finished_runs):
    verdicts = {sha256(place.verdict("barycentric")) for place, _, _ in finished_runs.values()}

    assert len(verdicts) == 1
    store = open_registry(str(finished_runs["prefect_flow"][0].root / "registry"))
    promoted = [entry.verdict for entry in read_ledger(store, "digits") if entry.event == "promote"]
    assert set(promoted) == verdicts


@pytest.mark.parametrize("interface", ["dvc_repro", "fair_distill_run", "prefect_flow"])
def test_a_second_run_writes_nothing(finished_runs, interface):
    _, first, second = finished_runs[interface]

    assert first
    assert second == first


def test_the_flow_ends_with_a_promoted_set_that_loads(finished_runs):
    import fair_distill

    workspace = finished_runs["prefect_flow"][0]
    loaded = fair_distill.load("digits@production", registry=str(workspace.root / "registry"))

    assert len(loaded) == loaded.card.examples


def test_dvc_pushes_pulls_and_shows_what_the_stages_made(finished_runs):
    workspace = finished_runs["dvc_repro"][0]
    path = workspace.set("barycentric") / "set.parquet"
    before = sha256(path)

    assert "files pushed" in command(workspace, "dvc", "push")
    shutil.rmtree(workspace.artifacts)
    shutil.rmtree(workspace.root / ".dvc" / "cache")
    command(workspace, "dvc", "pull")

    assert sha256(path) == before
    assert "eo_diag_max" in command(workspace, "dvc", "metrics", "show")
    page = command(workspace, "dvc", "plots", "show")
    assert "index.html" in page
    assert "failed" not in page


def test_metrics_diff_shows_what_a_change_of_params_did(finished_runs):
    workspace = finished_runs["dvc_repro"][0]
    commit(workspace.root, "ran")
    params = yaml.safe_load(workspace.params.read_text())
    params["evaluate"]["seeds"] += 1
    write_params(workspace.root, params)

    command(workspace, "fair-distill", "run")

    assert "accuracy" in command(workspace, "dvc", "metrics", "diff")
