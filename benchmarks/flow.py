"""The overhead of the flow `refresh` compared with `dvc repro`, when all stages are up to date.

The server is running already, and every stage of the small workspace has run once. The two commands take turns. On a
busy machine, only the CPU seconds are meaningful.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.measure import arguments, machine

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests")]

from running_prefect import REPOSITORY, Prefect  # noqa: E402 (where it is, the line above says)
from small_repository import fewest_stages, repository  # noqa: E402

from fair_distill.config.loading import stages_of  # noqa: E402


@contextmanager
def serving(home: Path) -> Iterator[Prefect]:
    prefect = Prefect(home, {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"})
    try:
        prefect.serve()
        yield prefect
    finally:
        prefect.close()


def main() -> None:
    options = arguments(__doc__, rounds=3)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "prefect") as prefect:
        root = repository(Path(folder) / "workspace", fewest_stages()).root
        stages = len(stages_of(root / "dvc.yaml"))
        doors = {
            "dvc repro": [sys.executable, "-m", "dvc", "repro"],
            "refresh": [sys.executable, "-m", "flows.refresh", str(root)],
        }

        def measure(door: str) -> dict[str, float]:
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            subprocess.run(doors[door], cwd=root, env=prefect.env, check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            return {"wall_seconds": time.perf_counter() - began, "cpu_seconds": cpu}

        measure("refresh")
        rounds = [{door: measure(door) for door in doors} for _ in range(options.rounds)]
    results: dict[str, Any] = {
        door: {kind: median(round_[door][kind] for round_ in rounds) for kind in ("wall_seconds", "cpu_seconds")}
        for door in doors
    }
    over = {kind: results["refresh"][kind] - results["dvc repro"][kind] for kind in ("wall_seconds", "cpu_seconds")}
    results |= {"machine": machine(torch.device("cpu"))}
    results |= {"overhead": over, "allowed_wall_seconds": 5 + stages, "rounds": options.rounds}
    results |= {"load": os.getloadavg()[0]}
    (options.out / "flow_cpu.json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
