"""The DVC commands that run stages and transfer data. Each command runs in a new process."""

import configparser
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
from fair_distill.versioning.git_commands import dvc_root

# With "lines", stages report progress as JSON lines for a program that reads their output.
PROGRESS = "FAIR_DISTILL_PROGRESS"
# The output of `prepare` that it also reads, relative to the workspace.
ASSIGNMENTS = "artifacts/assignments.arrow"
_DVC = (sys.executable, "-m", "dvc")
# DVC's exit code says only that a stage failed. The exit code of the stage itself is in this line.
_STAGE_EXIT = re.compile(r".*exited with (-?\d+)")
_STARTED = re.compile(r"Running stage '(.+)':")
# Hints for people at a terminal, which DVC prints after every stage. A flow run commits and pushes dvc.lock.
_HINT = re.compile(
    r"To track the changes with git, run:|\s+git add .*|To enable auto staging, run:|\s+dvc config core\.autostage true"
    r"|Use `dvc push` to send your updates to remote storage\."
)
_CACHED = re.compile(r"Stage '(.+)' is cached - skipping run, checking out outputs")


class Stopped(FairDistillError):
    """A command was killed, or another process holds DVC's lock. The caller may retry it."""


def repro(workspace: Path) -> None:
    """Bring all stages up to date with `dvc repro`, on the terminal of this process.

    Raises
    ------
    FairDistillError
        If a stage fails, or another process has locked the workspace. The reason is printed on stderr.
    """
    with _start(workspace, [*_DVC, "repro"]) as process:
        if process.wait() != 0:
            raise FairDistillError("`dvc repro` failed; see the output above for the error")


@dataclass(frozen=True)
class Dvc:
    """DVC in one workspace, for Prefect tasks: each command passes its output to the caller line by line."""

    workspace: Path

    def repro(
        self, stage: str, *, say: Callable[[str], None], pull: bool = False, force: bool = False
    ) -> tuple[str, ...]:
        """Bring one stage and its dependencies up to date, and return the names of the stages that ran.

        If this call is interrupted by any exception, the stage receives SIGTERM and the call waits for it: a
        distillation saves a checkpoint before it ends.

        Parameters
        ----------
        stage : a stage of dvc.yaml, with all rows of its matrix
        say : receives each line that DVC and the stage print, except DVC's hints on git
        pull : first download outputs that another machine has pushed to the DVC remote
        force : run the stage even if DVC sees no change

        Raises
        ------
        Stopped
            If the stage or DVC was killed, or another process has locked the workspace.
        FairDistillError
            If the stage failed; the message is the stage's own.
        """
        ran: list[str] = []
        stage_message, dvc_message = "", ""
        exit_code: int | None = None

        def read(line: str) -> None:
            nonlocal stage_message, dvc_message, exit_code
            if not _HINT.fullmatch(line):
                say(line)
            if started := _STARTED.fullmatch(line):
                ran.append(started[1])
            if line.startswith("fair-distill: "):
                stage_message = line.removeprefix("fair-distill: ")
            if line.startswith("ERROR: "):
                dvc_message = dvc_message or line.removeprefix("ERROR: ")
            if ended := _STAGE_EXIT.match(line):
                exit_code = int(ended[1])

        self._fetch_assignments(say)
        flags = [*(["--pull"] if pull and self.has_remote else []), *(["--force"] if force else [])]
        code = self._run("repro", *flags, stage, read=read)
        if code != 0:
            # A shell returns 128 plus the signal number for a command that was killed.
            killed = code < 0 or (exit_code is not None and (exit_code < 0 or exit_code > 128))
            locked = "lock" in dvc_message and exit_code is None
            kind = Stopped if killed or locked else FairDistillError
            raise kind(f"stage {stage!r} failed: {stage_message or dvc_message or 'see the log above for the error'}")
        return tuple(ran)

    def would_run(self, stage: str | None) -> tuple[str, ...]:
        """Return the names of the stages that `repro` would run now, for one stage or for all, without running them.

        A stage whose result is in dvc.lock and in a cache would not run. DVC does not look for results that only the
        run cache has.

        Raises
        ------
        Stopped
            If the command fails.
        """
        lines: list[str] = []
        command = ("repro", "--dry", *([] if stage is None else [stage]))
        if self._run(*command, read=lines.append) != 0:
            raise Stopped(f"`dvc {' '.join(command)}` failed: {lines[-1] if lines else 'it printed nothing'}")
        # DVC first reports a cached stage as cached, and then as running too.
        cached = {match[1] for line in lines if (match := _CACHED.fullmatch(line))}
        started = [match[1] for line in lines if (match := _STARTED.fullmatch(line))]
        return tuple(name for name in started if name not in cached)

    def fetch(self, trackers: Sequence[str], *, say: Callable[[str], None]) -> None:
        """Check out data from the DVC cache, or else pull them from the default DVC remote.

        It does not report data that neither has.

        Parameters
        ----------
        trackers : `.dvc` files, or paths of outputs in dvc.lock
        """
        code = self._run("checkout", *trackers, read=lambda line: None)
        if code != 0 and self.has_remote:
            self._run("pull", *trackers, read=say)

    def check_out(self) -> bool:
        """Check out the results in dvc.lock from the DVC cache, and return whether the cache has all of them."""
        return self._run("checkout", "dvc.yaml", read=lambda line: None) == 0

    def _fetch_assignments(self, say: Callable[[str], None]) -> None:
        """Fetch the assignments if dvc.lock names them and the workspace, such as a new clone, lacks them.

        DVC does so for dependencies only. Without this file, `prepare` would refuse to deal the examples.
        """
        lock = self.workspace / "dvc.lock"
        if not (self.workspace / ASSIGNMENTS).exists() and lock.exists() and ASSIGNMENTS in lock.read_text():
            self.fetch([ASSIGNMENTS], say=say)

    def push(self, *, say: Callable[[str], None]) -> None:
        """Push outputs and the run cache to the default DVC remote, if the workspace has one.

        Raises
        ------
        Stopped
            If the command fails.
        """
        if not self.has_remote:
            return
        lines = ["it printed nothing"]

        def read(line: str) -> None:
            lines.append(line)
            say(line)

        if self._run("push", "--run-cache", read=read) != 0:
            raise Stopped(f"`dvc push` failed: {lines[-1]}")

    @property
    def has_remote(self) -> bool:
        """Whether the workspace has a default remote. A remote such as `published` does not count."""
        return self._settings().has_option("core", "remote")

    @property
    def cache(self) -> Path:
        """The folder of the DVC cache, which clones on one machine share."""
        folder = dvc_root(self.workspace) / ".dvc"
        return folder / self._settings().get("cache", "dir", fallback="cache")

    def _settings(self) -> configparser.ConfigParser:
        settings = configparser.ConfigParser(interpolation=None)
        root = dvc_root(self.workspace)
        settings.read([root / ".dvc" / name for name in ("config", "config.local")])
        return settings

    def _run(self, *command: str, read: Callable[[str], None]) -> int:
        """Run a command and return its exit code, which is negative if it was killed."""
        process = _start(
            self.workspace,
            [*_DVC, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            for line in _lines(process):
                read(line)
        except BaseException:
            _stop(process)
            raise
        return process.wait()


def dvc_settings(workspace: Path) -> dict[str, str]:
    """Return DVC's effective settings in a workspace, by dotted key (`remote.local.url`).

    Raises
    ------
    FairDistillError
        If the workspace is not a DVC repository.
    """
    arguments = [*_DVC, "config", "--list"]
    with _start(workspace, arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        lines = list(_lines(process))
        if process.wait() != 0:
            raise FairDistillError(f"`dvc config` failed: {lines[0].removeprefix('ERROR: ') if lines else ''}")
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _start(workspace: Path, arguments: Sequence[str], **pipes: Any) -> "subprocess.Popen[str]":
    """Start a command, with the `fair-distill` of this environment first on the PATH.

    A command with pipes gets a process group, so that `_stop` reaches the stage too, and its stages report progress
    as JSON lines. A command on a terminal stays in the group of this process, so that Ctrl-C reaches it.
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
        raise ConfigError(f"cannot run dvc in {workspace}: {error.strerror}") from None


def _stop(process: "subprocess.Popen[str]") -> None:
    """Send SIGTERM to the process group, and wait until the stage has saved its state and ended."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    if process.stdout is not None:
        process.stdout.read()  # It ends when no process of the group is left to write.
    process.wait()


def _lines(process: "subprocess.Popen[str]") -> Iterator[str]:
    assert process.stdout is not None
    yield from filter(None, map(str.rstrip, process.stdout))
