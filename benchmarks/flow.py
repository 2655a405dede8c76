"""What the flow `refresh` costs over `dvc repro`, where neither has anything to do: what is left is the overhead.

`PREFECT_API_URL=http://127.0.0.1:4200/api python benchmarks/flow.py`, with a server that is up. The workspace is a
small one that every stage ran in once; the two take turns. CPU seconds stand beside the wall clock: on a busy machine
only they mean something.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from measure import arguments

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests")]

from small_repository import fewest_stages, repository  # noqa: E402 (where it is, the line above says)

STAGES = 6


def main() -> None:
    asked = arguments(__doc__, rounds=3)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        root = repository(Path(folder) / "workspace", fewest_stages()).root
        doors = {
            "dvc repro": [sys.executable, "-m", "dvc", "repro"],
            "refresh": [sys.executable, "-m", "flows.refresh", str(root)],
        }

        def taken(door: str) -> dict[str, float]:
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            subprocess.run(doors[door], cwd=root, env=environment, check=True, capture_output=True)
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
    found |= {"overhead": over, "allowed_wall_seconds": 5 + STAGES, "rounds": asked.rounds, "load": os.getloadavg()[0]}
    (asked.out / "flow_cpu.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
