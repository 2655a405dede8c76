"""The estimates of `fair-distill stage estimate`, compared with the real stages, over a grid of configurations.

    python -m benchmarks.estimate [--points 8] [--rounds 3]

Time is CPU seconds of the whole process of a stage, so that other processes do not count. With one thread it equals
the wall-clock time on a quiet machine. On a busy machine even CPU seconds vary by half, so estimates and stages take
turns, and the smallest value of each counts. Memory is the peak of the process. The results are ratios of estimate to
measurement.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch is loaded

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import yaml

DEMO = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())
NETWORK = {"name": "convnet", "depth": 3}
# What a run's time hangs on: the method, the network, how many real images a step, how large the set.
GRID: dict[str, tuple[Any, ...]] = {
    "matcher": ("dm", "dc"),
    "width": (8, 32),
    "real_per_class": (20, 60),
    "ipc": (2, 10),
}


def cpu_seconds() -> float:
    """What this process and those it has waited for have used of the processors."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def params_at(point: Mapping[str, Any]) -> dict[str, Any]:
    """The demo's params at a point of the grid, one thread, with one candidate."""
    params = deepcopy(DEMO)
    params["threads"] = 1
    network = {**NETWORK, "width": point["width"]}
    params["recipe"] |= {"network": network, "steps": 100}
    params["distill"] |= {
        "matcher": point["matcher"],
        "network": network,
        "real_per_class": point["real_per_class"],
        "ipc": point["ipc"],
        "steps": 60,
    }
    if point["matcher"] == "dc":
        params["distill"]["optimiser"]["learning_rate"] = 0.1
        # Networks that live ten steps and are trained between them, so that steps are not all alike.
        params["distill"]["networks"] |= {"visits": 10, "advance": 5}
    params["candidates"] = {"barycentric": DEMO["candidates"]["barycentric"]}
    params["references"] = {}
    params["gate"]["limits"] = [limit for limit in params["gate"]["limits"] if "over" not in limit]
    params["sets"] = ["barycentric"]
    params["evaluate"] = {"seeds": 2, "networks": [network]}
    return params


def measured(*argv: str, capture: bool = False) -> tuple[float, float, str]:
    """Run Python on something; return its CPU seconds, its peak memory in MB and, if `told`, what it printed.

    The system counts what this process holds as what the other held first, so this one must stay small: nothing here
    imports torch before all is measured.
    """
    read, write = os.pipe()
    child = os.posix_spawn(
        sys.executable, [sys.executable, *argv], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)]
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        printed = pipe.read()
    _, status, used = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{' '.join(argv)} did not end well")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, printed if capture else ""


def command(root: Path, *words: str) -> tuple[float, float, str]:
    return measured("-m", "fair_distill", "--workspace", str(root), *words)


def estimated(root: Path) -> None:
    """Print what `fair-distill stage estimate` says, in CPU seconds."""
    from fair_distill.cli.progress import peak_memory_mb
    from fair_distill.config import load_config
    from fair_distill.stages.estimate import Meters, estimate_run
    from fair_distill.workspace import Workspace

    rows = estimate_run(Workspace(root), load_config(root / "params.yaml"), meters=Meters(cpu_seconds, peak_memory_mb))
    print(json.dumps([asdict(row) for row in rows]))


def measure_point(point: Mapping[str, Any], rounds: int) -> list[dict[str, Any]]:
    """Estimate the two long stages at a point, run them, and return both."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "params.yaml").write_text(yaml.safe_dump(params_at(point), sort_keys=False))
        (root / "context.json").write_text("{}\n")
        command(root, "prepare")
        command(root, "validate")
        estimates: dict[str, list[tuple[float, float]]] = {}
        took: dict[str, list[tuple[float, float]]] = {}
        for _ in range(rounds):
            for row in json.loads(measured(__file__, "--at", folder, capture=True)[2]):
                estimates.setdefault(row["stage"], []).append((row["seconds"], row["memory_mb"]))
                took.setdefault(row["stage"], []).append(command(root, row["stage"], row["set"], "--quiet")[:2])
        rows = []
        for stage in estimates:
            (of_time, of_memory), (seconds, memory) = (
                map(min, zip(*each[stage], strict=True)) for each in (estimates, took)
            )
            rows.append(
                {
                    **point,
                    "stage": stage,
                    "seconds": round(seconds, 2),
                    "seconds_estimated": round(of_time, 2),
                    "memory_mb": round(memory),
                    "memory_mb_estimated": round(of_memory),
                    "time_ratio": round(of_time / seconds, 3),
                    "memory_ratio": round(of_memory / memory, 3),
                }
            )
            print(rows[-1], flush=True)
        return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=16, help="of the grid, spread over it (default: all 16)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--at", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.at:
        estimated(chosen.at)
        return
    grid = [dict(zip(GRID, values, strict=True)) for values in product(*GRID.values())]
    # A stride that shares no factor with the grid's size visits every value of every axis early.
    order = [grid[(5 * i) % len(grid)] for i in range(min(chosen.points, len(grid)))]
    rows = [row for point in order for row in measure_point(point, chosen.rounds)]
    summary = {
        f"{kind}, {stage}": {
            "median": median(ratios),
            "low": min(ratios),
            "high": max(ratios),
            "within_25_percent": sum(abs(ratio - 1) <= 0.25 for ratio in ratios),
            "of": len(ratios),
        }
        for kind in ("time_ratio", "memory_ratio")
        for stage in ("distill", "evaluate")
        if (ratios := [row[kind] for row in rows if row["stage"] == stage])
    }
    import torch

    from benchmarks.measure import report

    torch.set_num_threads(1)
    report(
        "estimate",
        {"estimated over measured": summary, "rounds": chosen.rounds, "points": rows},
        device=torch.device("cpu"),
        out=chosen.out,
    )


if __name__ == "__main__":
    main()
