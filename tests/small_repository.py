"""A workspace in a new git repository, with the dvc.yaml of this repository and small params."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from small_workspace import REPOSITORY, small_params, write_params

from fair_distill.workspace import Workspace

BIN = Path(sys.executable).parent
GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")


def repository(folder: Path, params: dict[str, Any]) -> Workspace:
    """Return a workspace in a git repository with one commit. Its DVC remote is a folder next to it."""
    folder.mkdir(parents=True)
    for name in ("dvc.yaml", "context.json", ".dvcignore", ".gitignore"):
        shutil.copy(REPOSITORY / name, folder / name)
    (folder / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(REPOSITORY / ".dvc" / name, folder / ".dvc" / name)
    write_params(folder, params)
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main"], cwd=folder, check=True)
    commit(folder, "first")
    return Workspace(folder)


def commit(folder: Path, message: str) -> None:
    subprocess.run([*GIT, "add", "-A"], cwd=folder, check=True)
    subprocess.run([*GIT, "commit", "--quiet", "-m", message], cwd=folder, check=True)


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run([*GIT, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def fewest_stages() -> dict[str, Any]:
    """Return params with one candidate and one reference, so that each stage runs as rarely as possible."""
    params = small_params()
    return params | {
        "candidates": {"barycentric": params["candidates"]["barycentric"]},
        "references": {"random": params["references"]["random"]},
        "sets": ["random", "barycentric"],
        "gate": params["gate"]
        | {"limits": [{"metric": "accuracy", "at_least": 0.0, "why": "a tiny set has to pass here"}]},
    }


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
