"""A repository with a DVC remote, pull requests to it, and the steps of the CI templates that judge them.

The repository, the remote and dvc.lock are real: DVC made them. The steps are read from the YAML files.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from small_repository import BIN, commit, fewest_stages, git
from small_workspace import REPOSITORY, run, write_params

from fair_distill.workspace import Workspace

SET, REFERENCE = "barycentric", "random"
# The workspace is a folder of the repository, as in a repository with code of its own.
PLACE = "data"
GITHUB = ".github/workflows/dataset-gate.yml"
GITLAB = "docs/ci/gitlab-gate.yml"
TEMPLATES = (GITHUB, GITLAB, "fair_distill/template/github.yml", "fair_distill/template/gitlab.yml")


@dataclass(frozen=True)
class Change:
    """A branch that is being written: a clone of the repository, and the DVC remote, to which its author may push."""

    clone: Path
    remote: Path
    marker: Path

    @property
    def root(self) -> Path:
        return self.clone / PLACE

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root)

    def push_content(self, content: bytes, *, suffix: str = "") -> str:
        """Write a content into the remote; return its MD5 as dvc.lock names it."""
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        path = self.remote / "files" / "md5" / md5[:2] / (md5[2:] + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return md5 + suffix

    def content(self, path: str) -> bytes:
        """Return what dvc.lock names for a path of the workspace, from the remote."""
        md5 = self.output(path)["md5"]
        return (self.remote / "files" / "md5" / md5[:2] / md5[2:]).read_bytes()

    def lock(self) -> dict[str, Any]:
        lock: dict[str, Any] = yaml.safe_load((self.root / "dvc.lock").read_text())
        return lock

    def output(self, path: str) -> dict[str, Any]:
        stages = self.lock()["stages"].values()
        (output,) = (output for stage in stages for output in stage["outs"] if output["path"] == path)
        return dict(output)

    def relock(self, path: str, md5: str, size: int) -> None:
        """Let dvc.lock name another content for a path, everywhere."""
        lock = self.lock()
        for stage in lock["stages"].values():
            for entry in (*stage.get("outs", ()), *stage.get("deps", ())):
                if entry["path"] == path:
                    entry |= {"md5": md5, "size": size}
        (self.root / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))

    def replace(self, path: str, content: bytes) -> None:
        """Push another content for a path, and let dvc.lock name it."""
        self.relock(path, self.push_content(content), len(content))

    def params(self) -> dict[str, Any]:
        params: dict[str, Any] = yaml.safe_load((self.root / "params.yaml").read_text())
        return params

    def write_params(self, params: dict[str, Any]) -> None:
        write_params(self.root, params)

    def program(self, name: str) -> Path:
        """Plant a program that writes the marker file if anything runs it."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho {name} >> {self.marker}\n")
        path.chmod(0o755)
        return path


@dataclass(frozen=True)
class Job:
    """How the job ended: its exit code, what its steps printed, and the summary for the pull request."""

    code: int
    out: str
    err: str
    summary: str


def dvc(root: Path, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=root,
        check=True,
        capture_output=True,
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
    )


def base_repository(folder: Path, params: dict[str, Any]) -> tuple[Path, Path]:
    """Return a repository whose main branch has a finished workspace, and its DVC remote."""
    origin, remote = folder / "origin", folder / "remote"
    root = origin / PLACE
    (root / ".dvc").mkdir(parents=True)
    for name in ("dvc.yaml", "context.json", ".dvcignore", ".gitignore", ".dvc/.gitignore"):
        shutil.copy(REPOSITORY / name, root / name)
    (root / ".dvc" / "config").write_text(
        f"[core]\n    no_scm = true\n    remote = shared\n['remote \"shared\"']\n    url = {remote}\n"
    )
    for name in (".github/workflows/dataset-gate.yml", "gate-requirements.txt"):
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, origin / name)
    write_params(root, params)
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main"], cwd=origin, check=True)
    for arguments in (["prepare"], ["validate"], ["distill", SET], ["references", REFERENCE], ["project"]):
        well(root, *arguments)
    for name in (REFERENCE, SET):
        well(root, "evaluate", name)
        well(root, "judge", name)
    record(root)
    commit(origin, "base")
    return origin, remote


def well(root: Path, *arguments: str) -> None:
    """Run one of our commands in this process, which is much faster than one process for each."""
    ended = run(root, *arguments)
    assert ended.code == 0, f"{' '.join(arguments)}: {ended.err}"


def record(root: Path) -> None:
    """Let DVC write dvc.lock for the files as they are, and push them."""
    dvc(root, "commit", "--force", "--quiet")
    dvc(root, "push", "--quiet")


def judge(
    template: str, origin: Path, head: str, scratch: Path, *, base: str = "main", home: Path | None = None
) -> Job:
    """Run the steps of a template that do not install anything, as the runner would: in a clone of the base branch."""
    checkout, temporary = scratch / "checkout", scratch / "runner"
    temporary.mkdir(parents=True)
    git(scratch, "clone", "--quiet", "--depth=1", "--branch", base, origin.as_uri(), str(checkout))
    environment = {
        "PATH": f"{BIN}:/usr/bin:/bin",
        "HOME": str(home or scratch),
        "RUNNER_TEMP": str(temporary),
        "GITHUB_SERVER_URL": "https://example.org",
        "GITHUB_STEP_SUMMARY": str(temporary / "summary.md"),
        "OMP_NUM_THREADS": "1",
    }
    out = err = ""
    code = 0
    for script, variables, always in _steps(template, head, scratch):
        if code and not always:
            continue
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=checkout,
            env=environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        code, out, err = code or done.returncode, out + done.stdout, err + done.stderr
    summaries = [path for path in (temporary / "summary.md", checkout / "gate.md") if path.exists()]
    return Job(code, out, err, summaries[0].read_text() if summaries else "")


def _steps(template: str, head: str, scratch: Path) -> list[tuple[str, dict[str, str], bool]]:
    content = yaml.safe_load((REPOSITORY / template).read_text())
    known = {
        "github.event.pull_request.head.sha": head,
        "github.token": "token",
        "vars.FAIR_DISTILL_POLICY_FLOOR": "",
        "secrets.DVC_READ_KEY_ID": "key",
        "secrets.DVC_READ_SECRET": "secret",
    }
    workspace = f"fair-distill --workspace {PLACE} gate pull-request"
    if "jobs" in content:
        return [
            (
                step["run"].replace("fair-distill gate pull-request", workspace),
                {name: _filled(value, known) for name, value in step.get("env", {}).items()},
                step.get("if") == "always()",
            )
            for step in content["jobs"]["dataset-gate"]["steps"]
            if "run" in step and "pip install" not in step["run"]
        ]
    payload = scratch / "payload.json"
    payload.write_text(json.dumps({"object_attributes": {"iid": 7, "title": "$(touch marker)"}}))
    job = content["dataset-gate"]
    lines = [line for line in job["script"] if " -m pip " not in line]
    script = "\n".join(lines).replace("fair-distill gate pull-request", workspace)
    variables = {"TRIGGER_PAYLOAD": str(payload), "GATE_STATUS_TOKEN": "token"}
    variables |= content["variables"] | job["variables"]
    return [(script, variables, False)]


def _filled(value: str, known: dict[str, str]) -> str:
    return re.sub(r"\$\{\{ (.+?) \}\}", lambda match: known[match[1]], str(value))


Attack = Callable[[Change], None]


def propose(origin: Path, start: str, folder: Path, attack: Attack, *, remote: Path) -> tuple[str, Path]:
    """Let `attack` change a clone of the branch `start`; return the commit that it pushes and its marker file."""
    clone, marker = folder / "clone", folder / "marker"
    git(folder, "clone", "--quiet", "--branch", start, str(origin), str(clone))
    attack(Change(clone, remote, marker))
    git(clone, "add", "--all")
    if (clone / PLACE / ".dvc" / "config.local").exists():
        git(clone, "add", "--force", f"{PLACE}/.dvc/config.local")
    git(clone, "commit", "--quiet", "--allow-empty", "--message", "change")
    git(clone, "push", "--quiet", "--force", "origin", "HEAD:refs/pull/7/head", "HEAD:refs/merge-requests/7/head")
    return git(clone, "rev-parse", "HEAD"), marker


def small() -> dict[str, Any]:
    """Params with one candidate and one reference, and a policy that its set passes."""
    params = fewest_stages()
    params["gate"]["limits"] = [
        {"metric": "accuracy", "at_least": 0.01, "why": "a tiny set has to pass here"},
        {"metric": "accuracy", "over": REFERENCE, "at_least": -0.9, "why": "a tiny set has to pass here"},
    ]
    return params
