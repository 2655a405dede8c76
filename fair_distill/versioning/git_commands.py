"""The git commands that change a repository or describe a checkout.

To read files of a commit from a stranger, use `git_objects`: it runs no filters and no hooks.
"""

import configparser
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fair_distill.errors import ConfigError, FairDistillError
from fair_distill.text import without_secrets

CACHE = "FAIR_DISTILL_DVC_CACHE"


def clone_workspace(repository: str, folder: Path, *, revision: str | None = None) -> Path:
    """Clone the repository of a workspace into `folder`, configure DVC for a run there, and return the workspace.

    The workspace is the root of the repository, or a folder in it.

    All clones on one machine share a DVC cache, so that no run repeats a stage that another run has finished: the
    folder in FAIR_DISTILL_DVC_CACHE, or else the cache of the repository if it is a local folder. Relative paths of
    DVC remotes keep their meaning. A clone of a local folder pushes to the folder's own remote.

    Parameters
    ----------
    repository : the path of a workspace in a repository, or a URL that git can clone. After a URL, `//` and a path name
        a folder in the repository, as in https://example.com/team/data.git//faces
    revision : a commit, tag or branch; without it, the default branch

    Raises
    ------
    ConfigError
        If git cannot clone it, or it has no such folder. The message quotes git, without passwords in URLs.
    """
    shown = without_secrets(repository)
    local = Path(repository).absolute()
    if local.is_dir():
        # git clones whole repositories. A bare repository has no top level.
        top = Path(git_output(local, "rev-parse", "--show-toplevel") or local)
        address, subfolder = str(top), str(local.resolve().relative_to(top.resolve()))
        local = top
    else:
        address, subfolder = _divided(repository)
    run_git(Path(), "clone", "--quiet", address, str(folder), fault=f"cannot clone {shown}")
    if revision:
        run_git(folder, "checkout", "--quiet", revision, fault=f"{shown} has no {revision}")
    workspace = folder / subfolder
    if not workspace.is_dir() or not workspace.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"{shown}: the commit has no folder {subfolder!r}; commit the folder, or correct its name")
    if local.is_dir():
        upstream = git_output(local, "remote", "get-url", "origin")
        if upstream:
            run_git(folder, "remote", "set-url", "origin", upstream, fault="cannot set the remote of the clone")
        elif git_output(local, "rev-parse", "--is-bare-repository") != "true":
            run_git(folder, "remote", "remove", "origin", fault="cannot remove the remote of the clone")
    root = dvc_root(workspace)
    origin = local / root.resolve().relative_to(folder.resolve()) if local.is_dir() else None
    cache = os.environ.get(CACHE) or (origin / ".dvc" / "cache" if origin is not None else None)
    _configure_dvc(root, cache, origin)
    if local.is_dir():
        # The next run has another clone, and continues with the checkpoints and the downloaded data of this one.
        for name in (".checkpoints", ".cache/prepare"):
            shared = local / subfolder / name
            shared.mkdir(parents=True, exist_ok=True)
            (workspace / name).parent.mkdir(exist_ok=True)
            (workspace / name).symlink_to(shared)
    return workspace


def _divided(repository: str) -> tuple[str, str]:
    """Return the address that git clones, and the folder that `//` names in it."""
    scheme, separator, rest = repository.rpartition("://")
    address, _, subfolder = rest.partition("//")
    return f"{scheme}{separator}{address}", subfolder


def dvc_root(workspace: Path) -> Path:
    """Return the nearest folder with a `.dvc` folder, from the workspace upwards; the workspace if there is none.

    In a repository with several workspaces, `.dvc` is in the root of the repository or in each workspace.
    """
    resolved = workspace.resolve()
    return next((folder for folder in (resolved, *resolved.parents) if (folder / ".dvc").is_dir()), workspace)


def ensure_repository(folder: Path) -> bool:
    """Run `git init` in a folder unless it is in a repository, which DVC requires; return whether it was run."""
    if git_output(folder, "rev-parse", "--git-dir") is not None:
        return False
    run_git(folder, "init", "--quiet", fault=f"cannot create a git repository in {folder}", kind=FairDistillError)
    return True


def revision(workspace: Path) -> str | None:
    """Return the git commit of a workspace, followed by "+" if tracked files were changed; None outside git."""
    commit = git_output(workspace, "rev-parse", "HEAD")
    changed = commit and git_output(workspace, "status", "--porcelain", "--untracked-files=no")
    return commit and commit + ("+" if changed else "")


def git_output(workspace: Path, *arguments: str) -> str | None:
    """Return what a git command prints; None if it fails, or if git is not installed."""
    result = _git(workspace, *arguments)
    return result.stdout.strip() if result is not None and result.returncode == 0 else None


def run_git(workspace: Path, *arguments: str, fault: str, kind: type[FairDistillError] = ConfigError) -> None:
    """Run a git command.

    Parameters
    ----------
    fault : the beginning of the error message
    kind : the exception to raise if git fails; without git it is ConfigError
    """
    result = _git(workspace, *arguments)
    if result is None:
        raise ConfigError(f"{fault}: git is not installed; install git")
    if result.returncode != 0:
        raise kind(f"{fault}: {without_secrets(' '.join(result.stderr.split()))[:300]}")


@dataclass(frozen=True)
class PushResult:
    """The answer of a git server to a push.

    Attributes
    ----------
    outcome : `behind` if the branch has commits that the clone does not have; `refused` if the server does not allow
        the push, for example because the branch is protected; `failed` if there was no such answer
    said : the server's answer in one line, without passwords
    """

    outcome: Literal["pushed", "behind", "refused", "failed"]
    said: str


def push(workspace: Path, branch: str, *, to: str | None = None) -> PushResult:
    """Push HEAD to a branch of `origin`: to the one of the same name, or to another one."""
    result = _git(workspace, "push", "--porcelain", "origin", f"HEAD:refs/heads/{to or branch}")
    if result is None:
        return PushResult("failed", "git is not installed")
    # Lines of the server begin with "remote:"; the result of each branch is a line of stdout: flag, names, summary.
    remote = [line.removeprefix("remote:").strip() for line in result.stderr.splitlines() if line.startswith("remote:")]
    status = [line.split("\t")[2] for line in result.stdout.splitlines() if line.count("\t") >= 2]
    said = without_secrets("; ".join(filter(None, [*status, *remote])) or " ".join(result.stderr.split()))[:500]
    if result.returncode == 0:
        return PushResult("pushed", said)
    if any(line.startswith("[rejected]") for line in status):
        return PushResult("behind", said)
    return PushResult("refused" if any("rejected" in line for line in status) else "failed", said)


def _git(workspace: Path, *arguments: str) -> "subprocess.CompletedProcess[str] | None":
    command = ["git", "-C", str(workspace), *arguments]
    # A run without a terminal would wait for ever if git asked for a password.
    # `push` reads git's words, so they must not be translated.
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    except FileNotFoundError:
        return None


def _configure_dvc(clone: Path, cache: Path | str | None, origin: Path | None) -> None:
    """Write the clone's .dvc/config.local. It is written as text, because `dvc config` takes two seconds to start."""
    lines = [f"[cache]\n    dir = {Path(cache).absolute()}"] if cache else []
    if origin is not None:
        for name, url in _remotes(clone / ".dvc" / "config").items():
            if "://" not in url and not Path(url).is_absolute():
                lines.append(f"['remote \"{name}\"']\n    url = {(origin / '.dvc' / url).resolve()}")
    local = clone / ".dvc" / "config.local"
    if local.parent.is_dir() and lines:
        local.write_text("\n".join(lines) + "\n")


def _remotes(config: Path) -> dict[str, str]:
    """Return the URLs of the DVC remotes in a configuration file, by name."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(config)
    matches = ((re.fullmatch(r"'?remote \"(.+)\"'?", section), section) for section in parser.sections())
    return {match[1]: parser[section].get("url", "") for match, section in matches if match}
