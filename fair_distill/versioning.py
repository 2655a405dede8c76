"""The only file that runs git and dvc."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from fair_distill.errors import ConfigError, FairDistillError


def repro(workspace: Path) -> None:
    """Bring all stages up to date (`dvc repro`), on this process's own terminal.

    Raises
    ------
    FairDistillError
        If a stage fails, or another process holds the workspace; why stands on stderr.
    """
    with _dvc(workspace, "repro") as dvc:
        _ended(dvc, "dvc repro")


def repro_stage(workspace: Path, stage: str, *, say: Callable[[str], None]) -> tuple[str, ...]:
    """Bring one stage up to date, all rows of a matrix, not what it depends on; return the names of what ran.

    Parameters
    ----------
    say : given every line that DVC and the stage print
    """
    ran, last = [], ""
    with _dvc(workspace, "repro", "--single-item", stage, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as dvc:
        output: IO[str] = dvc.stdout  # type: ignore[assignment]
        for line in map(str.rstrip, output):
            if line:
                say(line)
            if started := re.fullmatch(r"Running stage '(.+)':", line):
                ran.append(started[1])
            last = line if line.startswith("fair-distill: ") else last
        _ended(dvc, f"stage {stage}", why=last.removeprefix("fair-distill: "))
    return tuple(ran)


def _dvc(workspace: Path, *arguments: str, **pipes: Any) -> "subprocess.Popen[str]":
    """Start dvc in a workspace, with this environment's `fair-distill` first, whether or not it is activated."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=workspace,
            env={**os.environ, "PATH": path},
            text=True,
            **pipes,
        )
    except OSError as error:
        raise ConfigError(f"dvc cannot be run in {workspace}: {error.strerror}") from None


def _ended(process: "subprocess.Popen[str]", what: str, *, why: str = "") -> None:
    if process.wait() != 0:
        raise FairDistillError(f"{what} did not end well: {why or 'what stopped it stands above'}")


def dvc_settings(workspace: Path) -> dict[str, str]:
    """Return DVC's settings as they hold in a workspace, by dotted key (`remote.local.url`).

    Raises
    ------
    FairDistillError
        If the workspace is no DVC repository.
    """
    with _dvc(workspace, "config", "--list", stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as dvc:
        told, _ = dvc.communicate()
        _ended(dvc, "dvc config", why=told.strip().removeprefix("ERROR: ").splitlines()[0] if told.strip() else "")
    return dict(line.split("=", 1) for line in told.splitlines() if "=" in line)


def ensure_repository(folder: Path) -> bool:
    """Make a git repository of a folder unless it is in one, which DVC asks for; True if this call did."""
    try:
        inside = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "--git-dir"], capture_output=True, text=True, check=False
        )
        if inside.returncode == 0:
            return False
        made = subprocess.run(
            ["git", "-C", str(folder), "init", "--quiet"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise ConfigError("git is not installed, and DVC needs it; install git") from None
    if made.returncode != 0:
        raise FairDistillError(f"git init in {folder} did not end well: {made.stderr.strip()}")
    return True


def revision(workspace: Path) -> str | None:
    """Return the git commit of a workspace, with "+" after it if files differ from it; None outside git."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(workspace), *arguments], capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    return commit and commit + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
