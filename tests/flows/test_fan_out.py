"""An evaluation on a Dask cluster that loses a worker gives the lock of one machine and repeats one shard only."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from running_prefect import REPOSITORY, Prefect, free_port, stop, until
from small_repository import command, fewest_stages, git, repository

from fair_distill.workspace import Workspace

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif("FAIR_DISTILL_FLOWS" not in os.environ, reason="make test-flows sets this; some minutes"),
]

SHARDS = 8  # two sets, two architectures, two seeds


@dataclass(frozen=True)
class Cluster:
    """A Prefect server, a Dask scheduler and its workers, each in a separate process."""

    prefect: Prefect
    scheduler: str
    workers: "dict[str, subprocess.Popen[bytes]]"

    def busy(self) -> set[str]:
        """Return the names of workers that run a task."""
        from distributed import Client

        with Client(self.scheduler, timeout=20) as client:
            known = client.scheduler_info()["workers"]
            return {known[address]["name"] for address, tasks in client.processing().items() if tasks}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    scheduler = f"tcp://127.0.0.1:{free_port()}"
    prefect = Prefect(
        tmp_path / "home", {"FAIR_DISTILL_DASK": scheduler, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    )
    try:
        prefect.serve()
        port = scheduler.rpartition(":")[2]
        prefect.start("dask", "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard", log="scheduler.log")
        workers = {
            name: prefect.start(
                "dask", "worker", scheduler, "--name", name, "--nthreads", "1", "--no-nanny", "--no-dashboard",
                log=f"{name}.log",
            )
            for name in ("one", "other")
        }  # fmt: skip
        yield Cluster(prefect, scheduler, workers)
    finally:
        prefect.close()


def stored_shards(workspace: Workspace) -> list[Path]:
    return list((workspace.root / ".checkpoints").rglob("*.parquet"))


def shard_runs(prefect: Prefect) -> list[dict[str, Any]]:
    return [run for run in prefect.ask("task_runs/filter") if re.match(r"evaluate \w+: ", run["name"])]


def test_an_evaluation_that_loses_a_worker_gives_the_lock_of_one_machine(cluster: Cluster, tmp_path: Path) -> None:
    workspace = repository(tmp_path / "workspace", fewest_stages())
    upstream = tmp_path / "upstream.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(workspace.root), str(upstream))
    git(workspace.root, "remote", "add", "origin", str(upstream))
    # The results of earlier stages are in the cache. The evaluation on one machine uses a separate cache.
    command(workspace, "dvc", "repro", "distill", "references", "project")
    alone = Workspace(tmp_path / "alone")
    shutil.move(workspace.root, alone.root)
    git(tmp_path, "clone", "--quiet", str(upstream), str(workspace.root))
    shutil.copytree(alone.root / ".dvc" / "cache", workspace.root / ".dvc" / "cache")
    command(alone, "dvc", "repro")

    code = "import sys; from flows.refresh import refresh; refresh(sys.argv[1])"
    flow = cluster.prefect.start("python", "-c", code, str(workspace.root), log="flow.log")
    until(lambda: stored_shards(workspace) or flow.poll() is not None, what="the first shard", seconds=600)
    victim = until(lambda: next(iter(cluster.busy()), None), what="a busy worker")
    before = len(stored_shards(workspace))
    stop(cluster.workers[victim], signal.SIGKILL)

    assert flow.wait(timeout=900) == 0, cluster.prefect.logged()["flow.log"][-3000:]
    assert git(upstream, "show", "main:dvc.lock") == (alone.root / "dvc.lock").read_text().strip()
    assert not stored_shards(workspace)
    runs = shard_runs(cluster.prefect)
    assert len(runs) == SHARDS
    assert {run["state_name"] for run in runs} == {"Completed"}
    # No shard was evaluated twice: shards that the dead worker had stored were not trained again.
    log = "".join(cluster.prefect.logged()[f"{name}.log"] for name in cluster.workers)
    done = re.findall(r" - (\w+: \w+ \d)$", log, re.MULTILINE)
    assert len(done) == len(set(done)) == SHARDS
    git(workspace.root, "pull", "--quiet", "origin", "main")
    again = cluster.prefect.start("python", "-c", code, str(workspace.root), log="again.log")
    assert again.wait(timeout=300) == 0, cluster.prefect.logged()["again.log"][-3000:]
    assert len(shard_runs(cluster.prefect)) == SHARDS  # nothing is outdated, so no task was submitted
    assert not stored_shards(workspace)
    print(f"\n{victim} was killed after {before} shards; run counts: {[run['run_count'] for run in runs]}")
    print(*re.findall(r".*(?:Remov|lose).*", cluster.prefect.logged()["scheduler.log"]), sep="\n")
