"""The only file that runs git and dvc."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fair_distill.errors import ConfigError, FairDistillError


@contextmanager
def _own_commands_first() -> Iterator[None]:
    """Let the stages' `fair-distill` be this environment's, whether or not it is activated."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before


def repro(workspace: Path, targets: Sequence[str] = (), *, alone: bool = False) -> tuple[str, ...]:
    """Bring DVC stages up to date and return the names of those that had to run or were restored.

    Parameters
    ----------
    targets : stage names; none means all. A matrix stage's name means all of its rows.
    alone : bring up to date the targets only, not what they depend on

    Raises
    ------
    FairDistillError
        If a stage fails (its own message is on stderr), or another process holds the workspace.
    """
    try:
        from dvc.exceptions import DvcException
        from dvc.lock import LockError
        from dvc.repo import Repo
    except ModuleNotFoundError:
        raise ConfigError("dvc is not installed; pip install 'fair-distill[pipeline]'") from None
    try:
        with _own_commands_first(), Repo(str(workspace.absolute())) as repo:
            stages = repo.reproduce(targets=list(targets) or None, single_item=alone)
    except LockError:
        raise FairDistillError(
            f"another process is running stages in {workspace}; wait for it, or work in a clone of your own"
        ) from None
    except DvcException as error:
        raise FairDistillError(str(error).replace("\n", " ")) from None
    return tuple(stage.addressing for stage in stages)


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
