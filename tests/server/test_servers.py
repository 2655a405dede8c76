"""Runs survive failures of servers, workers and the database, with PostgreSQL, two workers and passwords.

`make test-server` runs these tests as root. They start Debian's PostgreSQL themselves.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import psutil
import pytest
import yaml
from running_prefect import REPOSITORY, Prefect, free_port, stop, until
from small_repository import command, commit, fewest_stages, git, repository

from fair_distill.files import sha256
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.store import open_registry
from fair_distill.workspace import Workspace

pytestmark = pytest.mark.skipif("FAIR_DISTILL_SERVER" not in os.environ, reason="make test-server sets this")

PLANTED = {
    "database": "pl4nted-in-postgres",
    "auth": "pl4nted-in-auth",
    "aws": "pl4nted-in-aws",
}


@dataclass
class Database:
    """PostgreSQL in a folder, run by Debian's user `postgres`."""

    folder: Path
    port: int

    def create(self) -> None:
        self.folder.mkdir()
        shutil.chown(self.folder, "postgres")
        (self.folder.parent / "password").write_text(PLANTED["database"])
        (self.folder.parent / "password").chmod(0o644)
        self._do("initdb", "--pgdata", str(self.folder / "data"), "--auth", "scram-sha-256", "--pwfile",
                 str(self.folder.parent / "password"))  # fmt: skip
        self.start()
        self._do("createdb", "--host", "127.0.0.1", "--port", str(self.port), "prefect")

    def start(self) -> None:
        options = f"-c port={self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        self._do("pg_ctl", "start", "--wait", "--pgdata", str(self.folder / "data"), "--options", options,
                 "--log", str(self.folder / "log"))  # fmt: skip

    def stop(self) -> None:
        self._do("pg_ctl", "stop", "--mode", "immediate", "--pgdata", str(self.folder / "data"))

    def dumped(self) -> str:
        return self._do("pg_dump", "--host", "127.0.0.1", "--port", str(self.port), "prefect")

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://postgres:{PLANTED['database']}@127.0.0.1:{self.port}/prefect"

    def _do(self, program: str, *arguments: str) -> str:
        programs = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
        assert programs, f"{program} is missing; apt-get install postgresql"
        done = subprocess.run(
            ["runuser", "--user", "postgres", "--", str(programs[-1]), *arguments],
            cwd="/", env={**os.environ, "PGPASSWORD": PLANTED["database"]}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False, close_fds=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    folder.chmod(0o755)
    database = Database(folder / "postgres", free_port())
    database.create()
    yield database
    database.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def prefect(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    auth = f"admin:{PLANTED['auth']}"
    running = Prefect(
        tmp_path_factory.mktemp("prefect"),
        {
            "PREFECT_API_DATABASE_CONNECTION_URL": database.url,
            "PREFECT_SERVER_API_AUTH_STRING": auth,
            "PREFECT_API_AUTH_STRING": auth,
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": PLANTED["aws"],
            "PREFECT_CLIENT_MAX_RETRIES": "10",
            "OMP_NUM_THREADS": "1",
        },
    )
    try:
        running.serve()
        running.do("prefect", "work-pool", "create", "here", "--type", "process")
        # With a heartbeat every 30 seconds, three missing heartbeats are 90 seconds instead of 10 minutes.
        automations = running.home / "automations.yaml"
        text = (REPOSITORY / "flows" / "automations.yaml").read_text()
        assert text.count("within: 600") == 1
        automations.write_text(text.replace("within: 600", "within: 90"))
        running.do("prefect", "automation", "create", "--from-file", str(automations))
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A distillation that takes long enough to be interrupted."""
    params = fewest_stages()
    params["distill"]["steps"] = 3000
    workspace = repository(tmp_path_factory.mktemp("repository") / "workspace", params)
    command(workspace, "dvc", "repro", "validate")
    shutil.rmtree(workspace.artifacts)  # later runs use the cache
    (workspace.root / "dvc.lock").unlink()
    remote = workspace.root.parent / "upstream.git"
    git(workspace.root.parent, "clone", "--quiet", "--bare", str(workspace.root), str(remote))
    git(workspace.root, "remote", "add", "origin", str(remote))
    return workspace


@pytest.fixture(scope="module")
def deployment(prefect: Prefect, workspace: Workspace) -> str:
    """The id of `refresh/soon`, which has no schedule yet."""
    prefect.do(
        "prefect", "--no-prompt", "deploy", "flows/refresh.py:refresh", "--name", "soon", "--pool", "here",
        "--tag", "fair-distill", "--params", json.dumps({"repository": str(workspace.root)}),
    )  # fmt: skip
    deployed = prefect.ask("deployments/name/refresh/soon", method="GET")["id"]
    return str(deployed)


@pytest.fixture(scope="module")
def undisturbed(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the manifest after `dvc repro` of the same commit."""
    folder = tmp_path_factory.mktemp("undisturbed") / "workspace"
    git(folder.parent, "clone", "--quiet", str(workspace.root), str(folder))
    shutil.copytree(workspace.root / ".dvc" / "cache", folder / ".dvc" / "cache")
    command(Workspace(folder), "dvc", "repro", "distill")
    return sha256(Workspace(folder).set("barycentric") / "manifest.json")


def worker(prefect: Prefect, name: str) -> "subprocess.Popen[bytes]":
    return prefect.start("prefect", "worker", "start", "--pool", "here", "--name", name, log=f"{name}.log")


def runs(prefect: Prefect) -> list[dict[str, Any]]:
    """Return all flow runs; an empty list while the server is down."""
    try:
        flow_runs: list[dict[str, Any]] = prefect.ask("flow_runs/filter")
    except OSError:
        return []
    return flow_runs


def in_state(prefect: Prefect, state: str) -> bool:
    started = [run for run in runs(prefect) if run["state_name"] not in ("Scheduled", "Late")]
    failed = [run for run in started if run["state_name"] in ("Failed", "Blocked")]
    assert not failed, f"{failed}\n{prefect.logged()}"
    return any(run["state_name"] == state for run in started)


def checkpoints(workspace: Workspace) -> list[Path]:
    return list((workspace.root / ".checkpoints").rglob("*.safetensors"))


def test_a_run_survives_failures_and_gives_the_same_digest(
    prefect: Prefect, database: Database, workspace: Workspace, undisturbed: str, deployment: str
) -> None:
    both = {name: worker(prefect, name) for name in ("one", "other")}

    # A schedule starts the run.
    soon = (datetime.now(UTC) + timedelta(seconds=15)).isoformat()
    daily = {"active": True, "schedule": {"interval": 86400, "anchor_date": soon}}
    prefect.ask(f"deployments/{deployment}/schedules", [daily])

    # During the distillation, the worker of the run and all its child processes are killed.
    until(lambda: checkpoints(workspace), what="a checkpoint", seconds=900)
    busy = next(name for name, it in both.items() if len(psutil.Process(it.pid).children(recursive=True)) > 0)
    for process in [*psutil.Process(both[busy].pid).children(recursive=True), psutil.Process(both[busy].pid)]:
        process.kill()
    assert checkpoints(workspace)

    # The automations notice the missing heartbeat, and the other worker restarts the run. Prefect delays the events of
    # a run that started soon after it was scheduled by up to 15 minutes.
    until(lambda: any(run["run_count"] > 1 for run in runs(prefect)), what="a successor", seconds=1500)

    # The server and the database are stopped and started again.
    stop(prefect.processes[0], signal.SIGKILL)
    database.stop()
    database.start()
    prefect.serve()

    until(lambda: in_state(prefect, "Completed"), what="the run's end", seconds=1200)
    entries = read_ledger(open_registry(str(workspace.root / "registry")), "digits")
    events = ("publish", "promote")
    assert [(entry.event, entry.version) for entry in entries] == [(event, undisturbed) for event in events]
    assert not checkpoints(workspace)
    assert (
        git(workspace.root.parent / "upstream.git", "log", "--format=%s", "main").splitlines()[0] == "Refresh dvc.lock"
    )


def test_no_secret_is_in_any_log_artifact_parameter_or_table(prefect: Prefect, database: Database) -> None:
    everything = prefect.logged() | {"the database": database.dumped()}

    assert "verdict-barycentric" in everything["the database"]
    for where, text in everything.items():
        for secret in PLANTED.values():
            assert secret not in text, f"{secret} is in {where}"


def test_a_password_in_a_parameter_is_refused(prefect: Prefect) -> None:
    url = json.dumps({"repository": "https://somebody:pl4nted@example.org/x.git"})
    done = subprocess.run(
        ["prefect", "deployment", "run", "refresh/soon", "--params", url],
        env=prefect.env, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode != 0
    assert "does not match" in done.stdout + done.stderr


def test_requests_without_the_password_are_refused(prefect: Prefect) -> None:
    stranger = replace(prefect, environment={**prefect.environment, "PREFECT_API_AUTH_STRING": "admin:guess"})

    with pytest.raises(HTTPError, match="401"):
        stranger.ask("flow_runs/filter")
    assert prefect.ask("flow_runs/filter")


def with_seed(workspace: Workspace, seed: int) -> None:
    """Commit another seed, so that the distillation is outdated."""
    params = yaml.safe_load(workspace.params.read_text())
    workspace.params.write_text(json.dumps(params | {"seed": seed}))
    commit(workspace.root, "another seed")


def start_run(prefect: Prefect, deployment: str) -> str:
    """Start a run of the deployment and return its id."""
    created = prefect.ask(f"deployments/{deployment}/create_flow_run", {"state": {"type": "SCHEDULED"}})
    return str(created["id"])


def state_of(prefect: Prefect, run: str) -> dict[str, Any]:
    state: dict[str, Any] = prefect.ask(f"flow_runs/{run}", method="GET")["state"]
    return state


def test_a_stopped_run_is_rescheduled_and_resumed(prefect: Prefect, workspace: Workspace, deployment: str) -> None:
    """The command is that of a container. A process worker that is stopped kills its runs, as the first test shows."""
    with_seed(workspace, 7)
    for earlier in [it for it in prefect.processes if "worker" in it.args]:
        stop(earlier, signal.SIGKILL)
    run = start_run(prefect, deployment)
    executing = prefect.start("prefect", "flow-run", "execute", run, log="executing.log",
                              PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR="reschedule")  # fmt: skip
    until(lambda: checkpoints(workspace), what="a checkpoint", seconds=600)

    executing.send_signal(signal.SIGTERM)
    executing.wait(timeout=300)

    assert state_of(prefect, run)["name"] == "AwaitingRetry"
    assert "heartbeat" not in (state_of(prefect, run)["message"] or "")
    assert checkpoints(workspace)
    worker(prefect, "coming")
    until(lambda: not checkpoints(workspace), what="the end of the distillation", seconds=900)


def test_a_cancelled_run_keeps_its_state(prefect: Prefect, workspace: Workspace, deployment: str) -> None:
    with_seed(workspace, 8)
    if not any("coming" in it.args for it in prefect.processes):
        worker(prefect, "coming")
    run = start_run(prefect, deployment)
    until(lambda: checkpoints(workspace), what="a checkpoint", seconds=600)

    prefect.ask(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})

    until(lambda: state_of(prefect, run)["name"] == "Cancelled", what="the run's end")
    assert checkpoints(workspace)
