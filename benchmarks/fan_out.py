"""How an evaluation scales with the workers of a Dask cluster: one and two workers on this machine, in turns.

    python -m benchmarks.fan_out

The benchmark starts a Prefect server and the clusters. It times the fan-out, from the first shard that is submitted to
the last that is stored. Every shard starts with a clone of the repository and DVC. The CPU seconds are those of the
workers and their child processes, and include both that start and the training.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch

from benchmarks.measure import arguments, machine

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests")]

from running_prefect import REPOSITORY, Prefect, free_port, until  # noqa: E402 (where it is, the line above says)
from small_repository import command, fewest_stages, repository  # noqa: E402

from fair_distill.workspace import Workspace  # noqa: E402

FLOW = """
import sys, time
from prefect import flow
from tasks.fan_out import evaluate_on_cluster
from tasks.placement import task_runner
from tasks.workspace import open_clone

@flow(name="fan-out", task_runner=task_runner())
def fan_out(repository):
    with open_clone(repository) as clone:
        clone.dvc.repro("references", say=print)
        clone.dvc.repro("distill", say=print)
        began = time.perf_counter()
        evaluate_on_cluster(clone)
        print("SECONDS", time.perf_counter() - began)

fan_out(sys.argv[1])
"""


def main() -> None:
    options = arguments(__doc__, rounds=2)
    with tempfile.TemporaryDirectory() as folder:
        workspace = _prepared(Path(folder) / "workspace")
        rounds = [
            {workers: _measure(workspace, workers, Path(folder) / f"{number}-{workers}") for workers in (1, 2)}
            for number in range(options.rounds)
        ]
    results: dict[str, Any] = {
        f"{n} workers": {kind: median(round_[n][kind] for round_ in rounds) for kind in ("wall_seconds", "cpu_seconds")}
        for n in (1, 2)
    }
    speedups = [round_[1]["wall_seconds"] / round_[2]["wall_seconds"] for round_ in rounds]
    results |= {"speedup": median(speedups), "speedups": speedups, "parts": PARTS, "rounds": options.rounds}
    results |= {"machine": machine(torch.device("cpu")), "load": os.getloadavg()[0]}
    (options.out / "fan_out_cpu.json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


PARTS = 8


def _prepared(root: Path) -> Workspace:
    """A workspace whose sets are made, and whose networks take some seconds each."""
    params = fewest_stages()
    params["recipe"] |= {"steps": 600, "batch_size": 64}
    params["evaluate"] |= {"seeds": PARTS // 4}
    workspace = repository(root, params)
    command(workspace, "dvc", "repro", "references", "distill")
    shutil.rmtree(workspace.artifacts)
    (root / "dvc.lock").unlink()
    return workspace


def _measure(workspace: Workspace, workers: int, home: Path) -> dict[str, float]:
    scheduler = f"tcp://127.0.0.1:{free_port()}"
    environment = {"FAIR_DISTILL_DASK": scheduler, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    prefect = Prefect(home, environment)
    try:
        prefect.serve()
        host, port = scheduler.removeprefix("tcp://").split(":")
        prefect.start("dask", "scheduler", "--host", host, "--port", port, "--no-dashboard", log="scheduler.log")
        started = [
            prefect.start(
                *("dask", "worker", scheduler, "--nthreads", "1", "--no-nanny", "--no-dashboard"), log="worker.log"
            )
            for _ in range(workers)
        ]
        until(lambda: prefect.logged()["worker.log"].count("Registered to") == workers, what="the workers")
        before = sum(map(_cpu_seconds, started))
        output = prefect.do("python", "-c", FLOW, str(workspace.root))
        wall = float(next(line for line in output.splitlines() if line.startswith("SECONDS")).split()[1])
        spent = sum(map(_cpu_seconds, started)) - before
    finally:
        prefect.close()
    shutil.rmtree(workspace.root / ".checkpoints")
    return {"wall_seconds": wall, "cpu_seconds": spent}


def _cpu_seconds(process: "subprocess.Popen[bytes]") -> float:
    used = psutil.Process(process.pid).cpu_times()
    return used.user + used.system + used.children_user + used.children_system


if __name__ == "__main__":
    main()
