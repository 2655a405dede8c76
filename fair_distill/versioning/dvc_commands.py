"""The only file that runs git and dvc."""

import configparser
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fair_distill.errors import ConfigError, FairDistillError
from fair_distill.text import without_secrets

CACHE = "FAIR_DISTILL_DVC_CACHE"
# "lines" has stages tell their progress in JSON lines, for who reads what they print; else only a terminal shows it.
PROGRESS = "FAIR_DISTILL_PROGRESS"
# How often a push that lost the race is tried on top of what won it.
_PUSHES = 5
# DVC's own codes say little; what the stage ended with stands in its last line.
_ENDED = re.compile(r".*exited with (-?\d+)")
_STARTED = re.compile(r"Running stage '(.+)':")
_CACHED = re.compile(r"Stage '(.+)' is cached - skipping run, checking out outputs")
# What `serve` says after a command, before its exit code: no line of DVC's or of a stage's starts so.
_END = "\x1d"


class Stopped(FairDistillError):
    """A command went down without saying why: killed, out of memory, or its place was taken. Worth a retry."""


@dataclass(frozen=True)
class Kept:
    """What became of a lock: the commit that has it, and why it was not pushed, if it was not."""

    commit: str
    unpushed: str | None


def repro(workspace: Path) -> None:
    """Bring all stages up to date (`dvc repro`), on this process's own terminal.

    Raises
    ------
    FairDistillError
        If a stage fails, or another process holds the workspace; why stands on stderr.
    """
    with _start(workspace, [*_DVC, "repro"]) as dvc:
        if dvc.wait() != 0:
            raise FairDistillError("dvc repro did not end well: what stopped it stands above")


class Dvc:
    """DVC for one workspace: what Prefect's tasks run, one command after the other, with every line they print.

    Starting DVC takes two and a half CPU-seconds, nearly all of them imports. So it is started once (`serve`), with
    the first command, and each command runs in a fork of that process, which takes a fifth of a second. It is started
    anew if it went down; leaving the context ends it.
    """

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Dvc":
        return self

    def __exit__(self, *why: object) -> None:
        if self._process is not None:
            self._process.__exit__(None, None, None)

    def repro(
        self, stage: str, *, say: Callable[[str], None], pull: bool = False, force: bool = False
    ) -> tuple[str, ...]:
        """Bring one stage, all rows of a matrix and what they depend on, up to date; return the names of what ran.

        If this is interrupted, by whatever exception, the stage is asked to stop (SIGTERM), and waited for: a
        distillation keeps its state first.

        Parameters
        ----------
        say : given every line that DVC and the stage print
        pull : take from the DVC remote what another machine has made already
        force : run it even if nothing changed that DVC can see

        Raises
        ------
        Stopped
            If the stage, or DVC, went down without a word.
        FairDistillError
            If the stage refused or failed; with its own words.
        """
        ran, own_words, dvcs, ended = [], "", "", None

        def hear(line: str) -> None:
            nonlocal own_words, dvcs, ended
            say(line)
            if started := _STARTED.fullmatch(line):
                ran.append(started[1])
            if line.startswith("fair-distill: "):
                own_words = line.removeprefix("fair-distill: ")
            if line.startswith("ERROR: "):
                dvcs = dvcs or line.removeprefix("ERROR: ")
            if found := _ENDED.match(line):
                ended = int(found[1])

        flags = [*(["--pull"] if pull and self._has_remote else []), *(["--force"] if force else [])]
        code = self._run("repro", *flags, stage, hear=hear)
        if code != 0:
            # A shell says 128 and the signal for a command that was killed; DVC's lock is held by another run.
            killed = code < 0 or (ended is not None and (ended < 0 or ended > 128))
            locked = "lock" in dvcs and ended is None
            kind = Stopped if killed or locked else FairDistillError
            raise kind(f"stage {stage} did not end well: {own_words or dvcs or 'what stopped it stands above'}")
        return tuple(ran)

    def would_run(self, stage: str) -> tuple[str, ...]:
        """Return the names of what `repro` of a stage would run now; nothing is run.

        What dvc.lock knows and a cache has would not be run. DVC does not look here for what only a cache knows.

        Raises
        ------
        Stopped
            If DVC does not say.
        """
        lines: list[str] = []
        if self._run("repro", "--dry", stage, hear=lines.append) != 0:
            raise Stopped(f"dvc repro --dry {stage} did not end well: {lines[-1] if lines else 'it said nothing'}")
        # What a cache has DVC names as cached, and then as running too.
        cached = {found[1] for line in lines if (found := _CACHED.fullmatch(line))}
        started = [found[1] for line in lines if (found := _STARTED.fullmatch(line))]
        return tuple(name for name in started if name not in cached)

    def push(self, *, say: Callable[[str], None]) -> None:
        """Push what the stages made, and the record of what they were made from, to the DVC remote, if there is one.

        Raises
        ------
        Stopped
            If it does not end well.
        """
        if not self._has_remote:
            return
        lines = ["it said nothing"]

        def hear(line: str) -> None:
            lines.append(line)
            say(line)

        if self._run("push", "--run-cache", hear=hear) != 0:
            raise Stopped(f"dvc push did not end well: {lines[-1]}")

    @property
    def _has_remote(self) -> bool:
        """Whether DVC has a remote by default; those that it has to be told by name, as `published`, are no such."""
        settings = configparser.ConfigParser(interpolation=None)
        settings.read([self.workspace / ".dvc" / name for name in ("config", "config.local")])
        return settings.has_option("core", "remote")

    def _run(self, *command: str, hear: Callable[[str], None]) -> int:
        """Run a command; return its exit code, below 0 if it was killed."""
        process = self._ready()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(command) + "\n")
            process.stdin.flush()
            for line in _lines(process):
                if line.startswith(_END):
                    return int(line.removeprefix(_END))
                hear(line)
        except BaseException:
            _stop(process)
            raise
        return process.wait() or -signal.SIGKILL  # it went down, and what ran with it

    def _ready(self) -> "subprocess.Popen[str]":
        if self._process is None or self._process.poll() is not None:
            serving = [sys.executable, "-c", f"from {__name__} import serve; serve()"]
            self._process = _start(
                self.workspace, serving, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            for line in _lines(self._process):
                if line.startswith(_END):
                    break
        return self._process


def serve() -> None:
    """Be DVC in this folder: read a command a line, run each in a fork of this process, and say how it ended.

    In a fork, because a command changes the process that it runs in, and DVC is made for one a process.
    """
    import psutil
    from dvc.cli import main

    psutil.pid_exists = _lives
    main(["dag"])  # changes nothing, and imports nearly all that any command needs
    print(f"\n{_END}0", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                code = main(json.loads(line))
                sys.stdout.flush()
                os._exit(code)
            finally:
                os._exit(255)  # whatever was raised: this is not to become a second server
        # On a line of its own, whatever a command that was killed had begun to say.
        print(f"\n{_END}{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}", flush=True)


def _lives(pid: int) -> bool:
    """Whether a process can still be doing something, which DVC asks of whoever holds a lock on a file.

    Its own question is also answered yes for a process that was killed and that nobody has waited for: soon past where
    there is an init, and never in a container without one.
    """
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def cloned(repository: str, folder: Path, *, revision: str | None = None) -> Path:
    """Clone a workspace's repository into `folder`, to run in; return the folder.

    The clone shares its DVC cache with all other runs on this machine, so what one has made no other makes again: the
    folder that FAIR_DISTILL_DVC_CACHE names, else the cache of the repository, where that is a folder here. Remotes
    that are folders stay where they are. A clone of a folder here pushes to where the folder would.

    Parameters
    ----------
    repository : a path or URL that git can clone
    revision : a commit, tag or branch; else the branch that the repository shows

    Raises
    ------
    ConfigError
        If it cannot be cloned; with git's words, less any password in the URL.
    """
    _git(Path(), "clone", "--quiet", repository, str(folder), fault=f"cannot clone {without_secrets(repository)}")
    if revision:
        _git(folder, "checkout", "--quiet", revision, fault=f"{without_secrets(repository)} has no {revision}")
    here = Path(repository).absolute()
    if here.is_dir():
        upstream = _asked(here, "remote", "get-url", "origin")
        if upstream:
            _git(folder, "remote", "set-url", "origin", upstream, fault="cannot name the remote")
        elif _asked(here, "rev-parse", "--is-bare-repository") != "true":
            _git(folder, "remote", "remove", "origin", fault="cannot leave the remote out")
    cache = os.environ.get(CACHE) or (here / ".dvc" / "cache" if here.is_dir() else None)
    _share(folder, cache, here if here.is_dir() else None)
    if here.is_dir():
        # What one run leaves the next takes up, which has another clone: where it was, and what it read of a bucket.
        for name in (".checkpoints", ".cache/prepare"):
            kept = here / name
            kept.mkdir(parents=True, exist_ok=True)
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).symlink_to(kept)
    return folder


def keep_lock(dvc: Dvc, *, message: str) -> Kept | None:
    """Commit dvc.lock, push the data and then the commit, where there are remotes; None if there is nothing new.

    Data go first: a lock that anybody can see names nothing that is not there. A push that lost a race is repeated on
    top of what won; where both changed the same stages, ours is left unpushed, and what it made is cached all the same.

    Raises
    ------
    Stopped
        If data or commit cannot be pushed for another reason.
    """
    workspace = dvc.workspace
    _git(workspace, "add", "dvc.lock", fault="cannot add dvc.lock")
    who = () if _asked(workspace, "config", "user.email") else ("-c", "user.name=fair-distill", "-c", "user.email=")
    if _asked(workspace, "diff", "--cached", "--quiet") is None:
        dvc.push(say=lambda line: None)
        _git(workspace, *who, "commit", "--quiet", "-m", message, fault="cannot commit dvc.lock")
    elif not _asked(workspace, "log", "--format=%H", "@{upstream}..HEAD"):  # what was committed before a push failed
        return None
    commit, branch = _asked(workspace, "rev-parse", "HEAD") or "", _asked(workspace, "symbolic-ref", "--short", "HEAD")
    if not _asked(workspace, "remote"):
        return Kept(commit, "there is no git remote")
    if not branch:
        return Kept(commit, "the run is of a commit, not of a branch")
    for _ in range(_PUSHES):
        if _asked(workspace, "push", "--quiet", "origin", branch) is not None:
            return Kept(_asked(workspace, "rev-parse", "HEAD") or commit, None)
        _git(workspace, "fetch", "--quiet", "origin", branch, fault="cannot push, nor fetch", kind=Stopped)
        if _asked(workspace, *who, "rebase", "--quiet", "FETCH_HEAD") is None:
            _git(workspace, "rebase", "--abort", fault="cannot undo a rebase")
            return Kept(commit, f"origin/{branch} has another dvc.lock meanwhile")
    raise Stopped(f"dvc.lock could not be pushed: origin/{branch} was changed {_PUSHES} times meanwhile")


def dvc_settings(workspace: Path) -> dict[str, str]:
    """Return DVC's settings as they hold in a workspace, by dotted key (`remote.local.url`).

    Raises
    ------
    FairDistillError
        If the workspace is no DVC repository.
    """
    arguments = [*_DVC, "config", "--list"]
    with _start(workspace, arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as dvc:
        told = list(_lines(dvc))
        if dvc.wait() != 0:
            raise FairDistillError(f"dvc config did not end well: {told[0].removeprefix('ERROR: ') if told else ''}")
    return dict(line.split("=", 1) for line in told if "=" in line)


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
    commit = _asked(workspace, "rev-parse", "HEAD")
    return commit and commit + ("+" if _asked(workspace, "status", "--porcelain", "--untracked-files=no") else "")


_DVC = (sys.executable, "-m", "dvc")


def _start(workspace: Path, arguments: Sequence[str], **pipes: Any) -> "subprocess.Popen[str]":
    """Start a command, with this environment's `fair-distill` first, whether or not it is activated.

    With pipes it leads a group of its own, so that all of it can be asked to stop, stage and all, if this process is
    told to, and its stages tell their progress in lines; on a terminal, Ctrl-C must reach it.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    try:
        return subprocess.Popen(
            arguments,
            cwd=workspace,
            env={**os.environ, "PATH": path} | ({PROGRESS: "lines"} if pipes else {}),
            text=True,
            start_new_session=bool(pipes),
            **pipes,
        )
    except OSError as error:
        raise ConfigError(f"dvc cannot be run in {workspace}: {error.strerror}") from None


def _stop(process: "subprocess.Popen[str]") -> None:
    """Ask the whole group to stop, and wait for the last of it: the stage that is keeping its state."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    if process.stdout is not None:
        process.stdout.read()  # ends when nobody is left who could write
    process.wait()


def _lines(process: "subprocess.Popen[str]") -> Iterator[str]:
    assert process.stdout is not None
    yield from filter(None, map(str.rstrip, process.stdout))


def _share(clone: Path, cache: Path | str | None, origin: Path | None) -> None:
    """Write the clone's own DVC configuration: text, because dvc takes two seconds to start."""
    lines = [f"[cache]\n    dir = {Path(cache).absolute()}"] if cache else []
    if origin is not None:
        for name, url in _remotes(clone / ".dvc" / "config").items():
            if "://" not in url and not Path(url).is_absolute():
                lines.append(f"['remote \"{name}\"']\n    url = {(origin / '.dvc' / url).resolve()}")
    local = clone / ".dvc" / "config.local"
    if local.parent.is_dir() and lines:
        local.write_text("\n".join(lines) + "\n")


def _remotes(config: Path) -> dict[str, str]:
    """The DVC remotes that a configuration names."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(config)
    found = ((re.fullmatch(r"'?remote \"(.+)\"'?", section), section) for section in parser.sections())
    return {match[1]: parser[section].get("url", "") for match, section in found if match}


def _asked(workspace: Path, *arguments: str) -> str | None:
    """What git says; None if it says no, or there is no git."""
    done = _git_run(workspace, *arguments)
    return done.stdout.strip() if done is not None and done.returncode == 0 else None


def _git(workspace: Path, *arguments: str, fault: str, kind: type[FairDistillError] = ConfigError) -> None:
    done = _git_run(workspace, *arguments)
    if done is None:
        raise ConfigError(f"{fault}: git is not installed")
    if done.returncode != 0:
        raise kind(f"{fault}: {without_secrets(' '.join(done.stderr.split()))[:300]}")


def _git_run(workspace: Path, *arguments: str) -> "subprocess.CompletedProcess[str] | None":
    command = ["git", "-C", str(workspace), *arguments]
    silent = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}  # a run that asks for a password waits for ever
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, env=silent)
    except FileNotFoundError:
        return None
