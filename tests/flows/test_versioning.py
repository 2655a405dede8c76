"""DVC and git in flows: errors of stages, retries, shared caches, and passwords in addresses."""

import asyncio
import json
import shutil
import subprocess
import sys
from errno import ENOSPC
from pathlib import Path

import pytest
import yaml
from prefect.states import Failed
from prefect.task_engine import TaskRunTimeoutError
from small_repository import commit, git

from fair_distill.errors import ConfigError, FairDistillError, Refused
from fair_distill.storage.store import Unanswered
from fair_distill.versioning import dvc_commands, git_commands, lock_commit
from fair_distill.versioning.tracked_data import fetch_data
from tasks.task_options import store_unreachable, was_killed


def stage(folder: Path, command: str) -> Path:
    """Return a workspace whose only stage is one shell command."""
    folder.mkdir(exist_ok=True)
    (folder / "dvc.yaml").write_text(f"stages:\n  only:\n    cmd: {json.dumps(command)}\n    outs: [made]\n")
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main"], cwd=folder, check=True)
    (folder / ".dvc").mkdir(exist_ok=True)
    (folder / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    return folder


def test_the_error_of_a_failed_stage_is_the_stages_own_message(tmp_path: Path) -> None:
    folder = stage(tmp_path, "echo 'fair-distill: too few' >&2; exit 2")

    with pytest.raises(FairDistillError, match="stage 'only' failed: too few") as refused:
        dvc_commands.Dvc(folder).repro("only", say=lambda line: None)

    assert not isinstance(refused.value, dvc_commands.Stopped)


def test_dvcs_hints_on_git_are_not_in_the_log(tmp_path: Path) -> None:
    folder, lines = stage(tmp_path, "echo work; touch made"), list[str]()
    dvc = dvc_commands.Dvc(folder)

    dvc.repro("only", say=lines.append)
    dvc.repro("only", say=lines.append)

    assert "work" in lines
    assert "Stage 'only' didn't change, skipping" in lines
    assert not [line for line in lines if "git" in line or "autostage" in line or "dvc push" in line]


def test_a_killed_stage_can_be_retried(tmp_path: Path) -> None:
    dvc = dvc_commands.Dvc(stage(tmp_path, "kill -9 $$"))
    with pytest.raises(dvc_commands.Stopped):
        dvc.repro("only", say=lambda line: None)


def test_a_workspace_is_not_locked_after_dvc_was_killed(tmp_path: Path) -> None:
    folder = stage(tmp_path, "touch made; test ! -e die || kill -9 0")
    dvc = dvc_commands.Dvc(folder)
    (folder / "die").touch()
    with pytest.raises(dvc_commands.Stopped):
        dvc.repro("only", say=lambda line: None)
    (folder / "die").unlink()

    assert dvc.repro("only", say=lambda line: None) == ("only",)


def test_would_run_lists_outdated_stages_without_running_them(tmp_path: Path) -> None:
    folder = stage(tmp_path, "touch made")
    (folder / "asked").touch()
    (folder / "dvc.yaml").write_text((folder / "dvc.yaml").read_text() + "    deps: [asked]\n")
    dvc = dvc_commands.Dvc(folder)
    assert dvc.would_run("only") == ("only",)
    assert not (folder / "made").exists()
    dvc.repro("only", say=lambda line: None)
    assert dvc.would_run("only") == ()
    (folder / "made").unlink()
    assert dvc.would_run("only") == ()  # because the output is in the cache
    assert dvc.would_run(None) == ()
    assert dvc.check_out()
    assert (folder / "made").exists()
    shutil.rmtree(folder / ".dvc" / "cache")
    (folder / "made").unlink()
    assert not dvc.check_out()
    assert dvc.would_run(None) == ("only",)
    with pytest.raises(dvc_commands.Stopped, match="nobody"):
        dvc.would_run("nobody")


def test_an_interrupted_run_stops_its_stage_and_waits_for_it(tmp_path: Path) -> None:
    folder = stage(tmp_path, "sh wait.sh")
    script = ("trap 'echo kept > kept; exit 143' TERM", "echo ready", "while :; do sleep 0.05; done")
    (folder / "wait.sh").write_text("\n".join(script))

    def say(line: str) -> None:
        if line == "ready":
            raise KeyboardInterrupt

    dvc = dvc_commands.Dvc(folder)
    with pytest.raises(KeyboardInterrupt):
        dvc.repro("only", say=say)

    assert (folder / "kept").read_text() == "kept\n"


@pytest.mark.parametrize(
    ("condition", "error", "again"),
    [
        (was_killed, dvc_commands.Stopped("killed"), True),
        (was_killed, FairDistillError("validation refused the data"), False),
        (was_killed, RuntimeError("an internal error"), False),
        (store_unreachable, Unanswered("no answer"), True),
        (store_unreachable, ConnectionResetError(), True),
        (store_unreachable, TaskRunTimeoutError("after 24 hours"), False),
        (store_unreachable, FileNotFoundError("set.parquet"), False),
        (store_unreachable, OSError(ENOSPC, "no space left on device"), False),
        (store_unreachable, Refused("eo_diag_max is over the limit"), False),
        (store_unreachable, ConfigError("no such channel"), False),
    ],
)
def test_only_transient_errors_are_retried(condition, error, again) -> None:
    assert asyncio.run(condition(None, None, Failed(data=error))) is again


def test_a_clone_shares_the_cache_and_the_remote_folders(tmp_path: Path) -> None:
    home = stage(tmp_path / "home", "true")
    (home / ".dvc" / "config").write_text("[core]\n    remote = r\n['remote \"r\"']\n    url = ../store\n")
    commit(home, "first")

    clone = git_commands.clone_workspace(str(home), tmp_path / "clone")

    local = (clone / ".dvc" / "config.local").read_text()
    assert f"dir = {home / '.dvc' / 'cache'}" in local
    assert f"url = {home / 'store'}" in local
    assert (clone / ".checkpoints").resolve() == home / ".checkpoints"
    assert git(clone, "remote") == ""


def test_a_lock_whose_push_failed_is_pushed_by_a_retry(tmp_path: Path) -> None:
    upstream, place = tmp_path / "upstream.git", stage(tmp_path / "place", "touch made")
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(upstream)], check=True)
    commit(place, "first")
    git(place, "remote", "add", "origin", str(upstream))
    git(place, "push", "--quiet", "--set-upstream", "origin", "main")
    (place / "dvc.lock").write_text("schema: '2.0'\n")
    upstream.rename(tmp_path / "away")
    with pytest.raises(dvc_commands.Stopped, match=r"cannot push dvc\.lock to origin/main: "):
        lock_commit.commit_lock(dvc_commands.Dvc(place), message="lock")
    (tmp_path / "away").rename(upstream)

    again = lock_commit.commit_lock(dvc_commands.Dvc(place), message="lock")

    assert again is not None
    assert git(upstream, "log", "--format=%s", "main").splitlines() == ["lock", "first"]
    assert lock_commit.commit_lock(dvc_commands.Dvc(place), message="lock") is None


def test_a_remote_that_is_not_the_default_is_not_pushed_to(tmp_path: Path) -> None:
    place = stage(tmp_path, "touch made")
    with (place / ".dvc" / "config").open("a") as config:
        config.write("['remote \"published\"']\n    url = ../published\n")

    dvc = dvc_commands.Dvc(place)
    dvc.push(say=lambda line: None)
    assert dvc.repro("only", say=lambda line: None, pull=True) == ("only",)


def test_a_lock_that_conflicts_with_a_pushed_one_is_not_pushed(tmp_path: Path) -> None:
    home = stage(tmp_path / "home", "true")
    commit(home, "first")
    upstream = tmp_path / "up.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(home), str(upstream))
    first_clone, second_clone = (
        git_commands.clone_workspace(str(upstream), tmp_path / name) for name in ("one", "other")
    )
    for clone in (first_clone, second_clone):
        git(clone, "remote", "set-url", "origin", str(upstream))
    (first_clone / "dvc.lock").write_text("of: one\n")
    (second_clone / "dvc.lock").write_text("of: other\n")

    first = lock_commit.commit_lock(dvc_commands.Dvc(first_clone), message="lock")
    second = lock_commit.commit_lock(dvc_commands.Dvc(second_clone), message="lock")

    assert first is not None
    assert first.unpushed is None
    assert second is not None
    assert second.unpushed == "origin/main has a different dvc.lock now"
    assert git(upstream, "show", "main:dvc.lock") == "of: one"


def test_a_password_in_an_address_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        git_commands.clone_workspace("http://somebody:hunter2@127.0.0.1:1/x.git", tmp_path / "clone")

    assert "hunter2" not in str(refused.value)
    assert "://...@127.0.0.1:1/x.git" in str(refused.value)


def lock_pushed_to_server_with_hook(root: Path, hook: str, script: str) -> tuple[Path, lock_commit.LockCommit | None]:
    """Commit a lock in a clone of a repository whose server runs a hook on every push."""
    home, upstream = stage(root / "home", "true"), root / "up.git"
    commit(home, "first")
    git(root, "clone", "--quiet", "--bare", str(home), str(upstream))
    file = upstream / "hooks" / hook
    file.write_text(script)
    file.chmod(0o755)
    clone = git_commands.clone_workspace(str(upstream), root / "clone")
    git(clone, "remote", "set-url", "origin", str(upstream))
    (clone / "dvc.lock").write_text("of: one\n")
    return upstream, lock_commit.commit_lock(dvc_commands.Dvc(clone), message="lock")


def test_a_protected_branch_gets_the_lock_on_a_branch_for_review(tmp_path: Path) -> None:
    upstream, result = lock_pushed_to_server_with_hook(
        tmp_path, "update", '#!/bin/sh\nif [ "$1" = refs/heads/main ]; then echo "main is protected"; exit 1; fi\n'
    )

    assert result is not None
    branch = f"fair-distill/{result.commit[:12]}"
    assert git(upstream, "show", f"{branch}:dvc.lock") == "of: one"
    assert git(upstream, "log", "--format=%s", "main") == "first"
    assert result.unpushed is not None
    assert result.unpushed.startswith("origin does not allow pushes to main ([remote rejected] (hook declined)")
    assert "main is protected" in result.unpushed
    assert f"Merge its branch {branch}" in result.unpushed


def test_a_server_that_refuses_every_branch_is_quoted(tmp_path: Path) -> None:
    _, result = lock_pushed_to_server_with_hook(
        tmp_path, "pre-receive", "#!/bin/sh\necho read only until Monday\nexit 1\n"
    )

    assert result is not None
    assert result.unpushed is not None
    assert result.unpushed.count("read only until Monday") == 2


@pytest.fixture
def large_repository(tmp_path: Path) -> Path:
    """A repository with a workspace in `ml/faces`, whose data are outside it and tracked by DVC."""
    top = tmp_path / "mono"
    workspace = top / "ml" / "faces"
    workspace.mkdir(parents=True)
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(top))
    (top / ".dvc").mkdir()
    (top / ".dvc" / "config").write_text(
        "[core]\n    remote = r\n    analytics = false\n['remote \"r\"']\n    url = ../../store\n"
    )
    (top / ".gitignore").write_text("/.dvc/cache\n/.dvc/tmp\n/.dvc/config.local\n")
    (top / "data").mkdir()
    (top / "data" / "faces").write_text("pictures")
    (top / "data" / "other").write_text("a file that no stage reads")
    stages = {
        "prepare": {"cmd": "cat ../../data/faces > prepared", "deps": ["../../data/faces"], "outs": ["prepared"]},
        "distill": {"cmd": "cp prepared set", "deps": ["prepared"], "outs": ["set"]},
    }
    (workspace / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (workspace / "params.yaml").write_text("seed: 0\n")
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "add", "--quiet", "data/faces", "data/other"], cwd=top, check=True)
    subprocess.run([*dvc, "push", "--quiet"], cwd=top, check=True)
    commit(top, "first")
    return top


@pytest.mark.parametrize("source", ["folder", "url"])
def test_a_run_in_a_larger_repository_fetches_the_data_that_its_stages_read(
    large_repository: Path, source: str, tmp_path: Path
) -> None:
    place = str(large_repository / "ml" / "faces") if source == "folder" else f"file://{large_repository}//ml/faces"

    workspace = git_commands.clone_workspace(place, tmp_path / "clone")
    if source == "url":  # a clone of a URL has no shared cache, so the data come from the remote
        config = tmp_path / "clone" / ".dvc" / "config"
        config.write_text(config.read_text().replace("../../store", str(tmp_path / "store")))
    dvc = dvc_commands.Dvc(workspace)
    fetched = fetch_data(dvc, "prepare", say=lambda line: None)
    ran = dvc.repro("distill", say=lambda line: None)

    assert workspace == tmp_path / "clone" / "ml" / "faces"
    assert fetched == ("../../data/faces.dvc",)
    assert ran == ("prepare", "distill")
    assert (workspace / "set").read_text() == "pictures"
    assert not (tmp_path / "clone" / "data" / "other").exists()
    assert fetch_data(dvc, "prepare", say=lambda line: None) == ()


def test_data_that_nobody_pushed_are_named(large_repository: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "store")
    workspace = git_commands.clone_workspace(f"file://{large_repository}//ml/faces", tmp_path / "clone")

    with pytest.raises(
        FairDistillError, match=r"reads \.\./\.\./data/faces, .*run `dvc push \.\./\.\./data/faces\.dvc`"
    ):
        fetch_data(dvc_commands.Dvc(workspace), "prepare", say=lambda line: None)


def test_a_folder_that_the_repository_does_not_have_is_named(large_repository: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the commit has no folder 'ml/face'"):
        git_commands.clone_workspace(f"file://{large_repository}//ml/face", tmp_path / "clone")
