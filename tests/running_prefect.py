"""Run a Prefect server and workers as processes that tests can stop, kill and restart."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).parents[1]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def until(happens: Callable[[], Any], *, what: str, seconds: float = 300) -> Any:
    """Wait until a function returns a true value, and return the value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := happens():
            return found
        time.sleep(0.5)
    raise AssertionError(f"{what} did not happen in {seconds:.0f} s")


@dataclass
class Prefect:
    """Commands of Prefect that use one server and one home folder, and the processes that they started."""

    home: Path
    environment: dict[str, str]
    port: int = field(default_factory=free_port)
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            **self.environment,
        }

    def start(self, *command: str, log: str, **more: str) -> "subprocess.Popen[bytes]":
        """Start a command as the leader of a process group, with its output in HOME/LOG."""
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / log).open("ab") as sink:
            process = subprocess.Popen(
                command, cwd=REPOSITORY, env={**self.env, **more}, stdout=sink, stderr=sink, start_new_session=True
            )
        self.processes.append(process)
        return process

    def serve(self) -> "subprocess.Popen[bytes]":
        """Start the server, and wait until it answers."""
        process = self.start("prefect", "server", "start", "--port", str(self.port), log="server.log")
        until(self.answers, what="the server's answer")
        return process

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError:
            return True  # the server runs and requires a password
        except OSError:
            return False

    def do(self, *command: str, **more: str) -> str:
        """Run a command, wait for its end, and return its output."""
        done = subprocess.run(
            command, cwd=REPOSITORY, env={**self.env, **more}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def ask(self, path: str, body: Any = None, *, method: str = "POST") -> Any:
        """Send a request to the server's API. Prefect's client is not used, because importing it takes seconds."""
        asked = urllib.request.Request(
            f"{self.env['PREFECT_API_URL']}/{path}",
            data=None if method == "GET" else json.dumps(body if body is not None else {}).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        if who := self.environment.get("PREFECT_API_AUTH_STRING"):
            asked.add_header("Authorization", f"Basic {base64.b64encode(who.encode()).decode()}")
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def logged(self) -> Mapping[str, str]:
        return {path.name: path.read_text(errors="replace") for path in self.home.glob("*.log")}

    def close(self) -> None:
        """Kill all processes that were started, with the processes that they started in other groups."""
        alive = [psutil.Process(process.pid) for process in self.processes if process.poll() is None]
        started = [child for process in alive for child in process.children(recursive=True)]
        for process in reversed(self.processes):
            stop(process, signal.SIGKILL)
        for child in started:
            with suppress(psutil.NoSuchProcess):
                child.kill()


def stop(process: "subprocess.Popen[bytes]", how: signal.Signals) -> None:
    """Send a signal to a process group, and wait for its leader."""
    try:
        os.killpg(process.pid, how)
    except ProcessLookupError:
        return
    process.wait()
