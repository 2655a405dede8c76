"""The data contract on a million examples: seconds and memory of `fair-distill stage validate`, including start-up.

    python -m benchmarks.contract [--rows 1000000] [--folder DIR]

The benchmark writes prepared splits (80 % train, 10 % tune, 10 % gate) of grey 28 × 28 images into a temporary folder.
The images are blots in the middle of a black square, so that their borders are equal, as in handwriting. A hundred
images of the gate split are copies of training images, and a hundred more are copies with noise of two grey levels. The
benchmark checks that the contract reports them. The command runs in a new process. `anonymous` is the memory that it
allocates; `resident` also counts pages of mapped files, which the kernel can drop.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import yaml

from benchmarks.measure import RESULTS, machine
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.data.split_file import write_split
from fair_distill.workspace import Workspace

CLASSES, GROUPS, SIDE, COPIES = 10, 4, 28, 100
PARAMS = Path(__file__).parents[1] / "params.yaml"
LIMITS = {"seconds": 60, "anonymous_mb": 2000}


def blots(rows: int, rng: np.random.Generator) -> Array:
    """Grey images of blots: 5 × 5 random levels, a third of them black, enlarged and set in the middle."""
    images = np.zeros((rows, 1, SIDE, SIDE), np.uint8)
    for start in range(0, rows, 10_000):
        block = images[start : start + 10_000]
        coarse = rng.integers(0, 256, (len(block), 5, 5), dtype=np.uint8) * (rng.random((len(block), 5, 5)) > 1 / 3)
        block[:, 0, 4:24, 4:24] = np.kron(coarse.astype(np.uint8), np.ones((4, 4), np.uint8))
    return images


def write_splits(workspace: Workspace, rows: int) -> None:
    rng = np.random.default_rng(0)
    sizes = {"train": rows * 8 // 10, "tune": rows // 10, "gate": rows // 10}
    copied = None
    first = 0
    for split, size in sizes.items():
        images = blots(size, rng)
        if copied is None:
            copied = images[: 2 * COPIES].copy()
        elif split == "gate":
            images[: 2 * COPIES] = copied
            noise = rng.integers(-2, 3, (COPIES, *images.shape[1:]))
            images[:COPIES] = np.clip(images[:COPIES].astype(int) + noise, 0, 255)
        labels, groups = rng.integers(0, CLASSES, size), rng.integers(0, GROUPS, size)
        order = np.lexsort((groups, labels))
        names = tuple(map(str, range(CLASSES))), tuple("abcd")
        counts = np.bincount(labels * GROUPS + groups, minlength=CLASSES * GROUPS)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        pairs = first + np.arange(size)
        write_split(
            GroupedDataset(images[order], labels[order], groups[order], pairs[order], *names, offsets),
            workspace.split(split),
        )
        first += size


def memory_mb(process: int) -> dict[str, float]:
    """Resident and anonymous memory of a process. Raises OSError when it is over."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return {
        name: int(lines[key].split()[0]) / 1024
        for name, key in (("resident_mb", "VmRSS"), ("anonymous_mb", "RssAnon"))
        if key in lines
    }


def validated(workspace: Workspace) -> dict[str, float]:
    """Run the command; return its seconds and the most memory that was seen."""
    command = [sys.executable, "-m", "fair_distill", "--workspace", str(workspace.root), "validate"]
    began, spent = time.perf_counter(), _children_seconds()
    most: dict[str, float] = {}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        while running.poll() is None:
            try:
                for name, size in memory_mb(running.pid).items():
                    most[name] = max(size, most.get(name, 0.0))
            except OSError:
                break
            time.sleep(0.02)
        running.wait()
    if running.returncode:
        raise SystemExit(f"validate ended with {running.returncode}")
    return {"seconds": time.perf_counter() - began, "cpu_seconds": _children_seconds() - spent, **most}


def _children_seconds() -> float:
    """Seconds of processor time that processes started here have used: on a busy machine, what they cost."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        workspace = Workspace(Path(folder))
        params = yaml.safe_load(PARAMS.read_text())
        params["validate"]["near"] = {"distance": 2, "difference": 0.01}
        workspace.params.write_text(yaml.safe_dump(params))
        write_splits(workspace, arguments.rows)
        size = sum(workspace.split(split).stat().st_size for split in ("train", "tune", "gate"))
        load = os.getloadavg()[0]
        measured = validated(workspace)
        outcome = json.loads(workspace.validation.read_bytes())
    found = {failure["check"]: failure["count"] for failure in outcome["failures"]}
    assert found["copies_apart"] == COPIES, found
    assert found["near_apart"] > 0.9 * COPIES, found  # noise may move more blocks than are allowed
    result = {
        "machine": machine(torch.device("cpu")) | {"load": load},
        "rows": arguments.rows,
        "gigabytes": round(size / 1e9, 2),
        "expectations": outcome["expectations"],
        "not_compared": outcome["not_compared"],
        "planted": {"copies_apart": COPIES, "near_apart": COPIES},
        "found": found,
        "measured": {name: round(value, 1) for name, value in measured.items()},
        "limits": LIMITS,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "contract_cpu.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
