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
    asked = arguments(__doc__, rounds=3)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "prefect") as prefect:
        root = repository(Path(folder) / "workspace", fewest_stages()).root
        stages = len(stages_of(root / "dvc.yaml"))
        doors = {
            "dvc repro": [sys.executable, "-m", "dvc", "repro"],
            "refresh": [sys.executable, "-m", "flows.refresh", str(root)],
        }

        def taken(door: str) -> dict[str, float]:
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            subprocess.run(doors[door], cwd=root, env=prefect.env, check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            return {"wall_seconds": time.perf_counter() - began, "cpu_seconds": cpu}

        taken("refresh")
        rounds = [{door: taken(door) for door in doors} for _ in range(asked.rounds)]
    found: dict[str, Any] = {
        door: {kind: median(one[door][kind] for one in rounds) for kind in ("wall_seconds", "cpu_seconds")}
        for door in doors
    }
    over = {kind: found["refresh"][kind] - found["dvc repro"][kind] for kind in ("wall_seconds", "cpu_seconds")}
    found |= {"machine": machine(torch.device("cpu"))}
    found |= {"overhead": over, "allowed_wall_seconds": 5 + stages, "rounds": asked.rounds, "load": os.getloadavg()[0]}
    (asked.out / "flow_cpu.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
