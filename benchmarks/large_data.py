"""Data larger than memory: the cost of opening a prepared split of 10 GB, drawing from it and distilling from it.

    python -m benchmarks.large_data [--rows 3300000] [--folder DIR] [--steps 20]

The benchmark writes splits of noise (3 × 32 × 32, ten classes and ten groups, nine tenths of a class in one group) into
a temporary folder and removes them. For a while the folder has twice the size of the largest file. It measures:

1. memory: the largest anonymous memory (RssAnon) of a process that opens the largest file and distils from it. Pages of
   the mapped file do not count, because the kernel can drop them.
2. start-up: seconds to open files of several sizes without verification, in turns.
3. drawing: seconds for a stratified batch of 600 images from files of the same sizes, in turns.
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import torch

from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.data.split_file import read_split, write_split
from fair_distill.distillation.api import distill
from fair_distill.distillation.sampling import GroupSampler, normalisation, reader
from fair_distill.seeds import plain_torch_generator

SHAPE = (3, 32, 32)
CLASSES = GROUPS = 10
BATCH = 60  # real images a class
SETTINGS = {
    "network": {"name": "convnet", "width": 32, "depth": 3},
    "real_per_class": BATCH,
    "start": "group_stratified",
    "optimiser": {"name": "sgd", "learning_rate": 0.5},
}


def write_noise(rows: int, path: Path) -> None:
    """Write a split of noise of so many rows, never more than a block of it in memory."""
    per_class = rows // CLASSES
    rare = per_class // 90
    counts = np.full((CLASSES, GROUPS), rare) + (per_class - GROUPS * rare) * np.eye(CLASSES, dtype=int)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    raw = path.with_suffix(".raw")
    images = np.memmap(raw, np.uint8, "w+", shape=(int(offsets[-1]), *SHAPE))
    rng = np.random.default_rng(0)
    for start in range(0, len(images), 10_000):
        block = images[start : start + 10_000]
        block[:] = np.frombuffer(rng.bytes(block.size), np.uint8).reshape(block.shape)
    labels, groups = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape))
    names = tuple(str(i) for i in range(CLASSES))
    pairs = np.arange(len(images))
    write_split(GroupedDataset(np.asarray(images), labels, groups, pairs, names, names, offsets), path)
    del images
    raw.unlink()


def anonymous_mb() -> float:
    """Anonymous memory of this process: what it has taken for itself, mapped files apart."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise OSError("this needs Linux: /proc/self/status names RssAnon")


@contextlib.contextmanager
def watched(every_seconds: float = 0.005):
    """Give a list that ends up holding samples of the anonymous memory while the block ran."""
    samples: list[float] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(every_seconds):
            samples.append(anonymous_mb())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def distilled(path: Path, steps: int) -> dict[str, float]:
    """Open a split and distil from it. It runs in a new process, so that only this is counted."""
    torch.set_num_threads(1)
    before = anonymous_mb()
    marks = [time.perf_counter()]
    with watched() as samples:
        dataset = read_split(path, verify=False)
        opened = time.perf_counter() - marks[0]
        distill(
            dataset,
            preset="dm",
            ipc=10,
            steps=steps,
            **SETTINGS,
            progress=lambda step, of, loss: marks.append(time.perf_counter()),
        )
    return {
        "rows": len(dataset),
        "gigabytes": round(path.stat().st_size / 1e9, 2),
        "anonymous_mb_with_libraries_loaded": round(before, 1),
        "anonymous_mb_at_most": round(max(samples), 1),
        "samples": len(samples),
        "seconds_to_open": opened,
        "seconds_to_the_end_of_the_first_step": marks[1] - marks[0],
        "seconds_a_step": median(np.diff(marks[1:]).tolist()),
    }


def in_turns(paths: dict[int, Path], make: Callable[[Path], Callable[[], object]], rounds: int) -> dict[str, object]:
    """Time a call for every size, in turns; return medians and ratios to the smallest, round by round."""
    runs = {rows: make(path) for rows, path in paths.items()}
    for run in runs.values():
        run()
    taken: dict[int, list[float]] = {rows: [] for rows in runs}
    for _ in range(rounds):
        for rows, run in runs.items():
            began = time.perf_counter()
            run()
            taken[rows].append(time.perf_counter() - began)
    least = min(taken)
    ratios = {rows: [a / b for a, b in zip(times, taken[least], strict=True)] for rows, times in taken.items()}
    return {
        f"{rows:,} rows": {
            "median_seconds": median(times),
            "over_the_smallest": round(median(ratios[rows]), 3),
            "low": round(float(np.quantile(ratios[rows], 0.1)), 3),
            "high": round(float(np.quantile(ratios[rows], 0.9)), 3),
        }
        for rows, times in taken.items()
    }


def drawing(path: Path) -> Callable[[], object]:
    dataset = read_split(path, verify=False)
    device = torch.device("cpu")
    read = reader(dataset.images, normalisation(dataset), device)
    sampler = GroupSampler(dataset, per_class=BATCH, allocation="equal", read=read, device=device)
    generator = plain_torch_generator(0)
    return lambda: sampler.draw(generator)


def choosing(path: Path) -> Callable[[], object]:
    """The same without looking at the pixels: what choosing rows costs, apart from reading them."""
    dataset = read_split(path, verify=False)
    device = torch.device("cpu")
    sampler = GroupSampler(dataset, per_class=BATCH, allocation="equal", read=lambda rows: rows, device=device)
    generator = plain_torch_generator(0)
    return lambda: sampler.draw(generator)


def machine() -> dict[str, object]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3_300_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--distil", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.distil:
        print(json.dumps(distilled(arguments.distil, arguments.steps)))
        return
    torch.set_num_threads(1)
    sizes = [rows for rows in (10**4, 10**5, 10**6) if rows < arguments.rows] + [arguments.rows]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        paths = {rows: Path(folder) / f"{rows}.arrow" for rows in sizes}
        for rows, path in paths.items():
            write_noise(rows, path)
        again = [sys.executable, __file__, "--steps", str(arguments.steps), "--distil"]
        ended = subprocess.run([*again, str(paths[sizes[-1]])], capture_output=True, text=True, check=True)
        result = {
            "machine": machine(),
            "memory: opened and distilled from": json.loads(ended.stdout),
            "start-up: opened without verification": in_turns(
                paths, lambda path: lambda: read_split(path, verify=False), arguments.rounds
            ),
            "drawing: rows chosen": in_turns(paths, choosing, arguments.rounds),
            "drawing: rows chosen and read": in_turns(paths, drawing, arguments.rounds),
        }
    arguments.out.mkdir(exist_ok=True)
    (arguments.out / "large_data_cpu.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
