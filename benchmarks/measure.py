"""What the benchmarks share: variants in turns, ratios between them, and the description of the machine.

Variants take turns in one process, so that a slower machine slows all of them. Only ratios are reported.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"
Run = Callable[[], object]


def arguments(description: str | None, *, rounds: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def seconds(run: Run, device: torch.device) -> float:
    """Wall-clock seconds of one call, with what it left the device to do."""
    wait(device)
    began = time.perf_counter()
    run()
    wait(device)
    return time.perf_counter() - began


def wait(device: torch.device) -> None:
    """Wait until the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ratios(
    variants: Mapping[str, Run], over: str, *, rounds: int, device: torch.device, warm: int = 1
) -> dict[str, dict[str, float]]:
    """Let the variants take turns; return each one's time over that of `over`, round by round, and its median time."""
    for run in variants.values():
        for _ in range(warm):
            run()
    taken = [{name: seconds(run, device) for name, run in variants.items()} for _ in range(rounds)]
    found = {}
    for name in variants:
        each = [times[name] / times[over] for times in taken]
        found[name] = {
            "median": median(each),
            "low": min(each),
            "high": max(each),
            "median_seconds": median(times[name] for times in taken),
        }
    return found


def machine(device: torch.device) -> dict[str, object]:
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "cpu": _cpu(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def report(name: str, result: dict[str, Any], *, device: torch.device, out: Path) -> None:
    """Write the result into the folder of results, and print its ratios."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}_{device.type}.json"
    path.write_text(json.dumps({"machine": machine(device), **result}, indent=1) + "\n")
    for title, rows in result.items():
        if isinstance(rows, dict):
            print(title)
            for variant, ratio in rows.items():
                if isinstance(ratio, dict) and "median" in ratio:
                    print(f"  {variant:28} {ratio['median']:8.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})")
                else:
                    print(f"  {variant:28} {ratio}")
        else:
            print(f"{title}: {rows}")
