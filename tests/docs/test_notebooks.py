"""Run the notebooks in examples/notebooks, each in a folder like that of its reader."""

import os
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from small_workspace import REPOSITORY, run, small_params, write_params

NOTEBOOKS = sorted((REPOSITORY / "examples" / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def published(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace with a registry, in which digits@production is promoted."""
    root = Path(shutil.copytree(finished, tmp_path_factory.mktemp("readers") / "workspace"))
    params = small_params()
    limits = [
        {"metric": "eo_diag_max", "at_most": 1.0, "why": "a test"},
        {"metric": "accuracy", "at_least": 0.0, "why": "a test"},
    ]
    write_params(root, params | {"gate": {"mode": "point", "limits": limits}})
    for command in (("judge", "barycentric"), ("publish",), ("promote", "--to", "production")):
        ended = run(root, *command)
        assert ended.code == 0, ended.err
    return root


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_runs_from_start_to_end_and_shows_tables(
    path: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIR_DISTILL_REGISTRY", str(published / "registry"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # of `fair-distill`
    notebook = nbformat.read(path, as_version=4)
    assert not [cell for cell in notebook.cells if cell.get("outputs")], "clear the outputs before you commit"

    ended = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(published)}}).execute()

    shown = [output.get("data", {}) for cell in ended.cells for output in cell.get("outputs", ())]
    assert sum("<table" in data.get("text/html", "") for data in shown) >= 3
    texts = [output.get("text", "") for cell in ended.cells for output in cell.get("outputs", ())]
    assert not [text for text in texts if "Error" in text or "error:" in text]
