"""CPU seconds, page faults and memory of a step, when freed memory is returned to the system and when it is kept.

    python -m benchmarks.allocator [--rounds 3]

The setting is the preset `default` on ten classes and ten groups of 32×32 pixels, with one thread. Each measurement is
a process of its own, because the allocator's thresholds are those of a process; the variants take turns. `before` is
the engine without both changes: glibc with the thresholds that stages used to set, and AvgPool2d. A library call set no
thresholds; that is `library, before`.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch
from torch import nn

from benchmarks.measure import arguments, report
from benchmarks.step import PLAIN, skewed
from fair_distill.card import TrainingRecipe
from fair_distill.config import Candidate, Distill, checked
from fair_distill.distillation import networks
from fair_distill.distillation.loop import Streams, optimise
from fair_distill.distillation.presets import PRESETS
from fair_distill.evaluation.train import train
from fair_distill.freed_memory import keep_freed_memory, set_allocator

WIDTHS = {32: 5, 128: 2}
_WARM = 1


def _nothing() -> None:
    """Leave glibc as it is."""


def _keep_small_blocks() -> None:
    """Set the thresholds that stages used to set: glibc returns blocks above 32 MiB."""
    import ctypes

    mallopt = ctypes.CDLL(None).mallopt
    set_allocator(lambda name, value: mallopt(name, min(value, 32 * 2**20) if name == -3 else value), one_arena=False)


# For each variant, how the allocator is configured, and the pool of the ConvNet.
VARIANTS: Mapping[str, tuple[Callable[[], object], Callable[[], nn.Module]]] = {
    "library, before": (_nothing, lambda: nn.AvgPool2d(2)),
    "stage, before": (_keep_small_blocks, lambda: nn.AvgPool2d(2)),
    "memory kept": (keep_freed_memory, lambda: nn.AvgPool2d(2)),
    "memory kept, sums of rows and columns": (keep_freed_memory, networks.MeanOfFour),
}


def distillation(width: int) -> list[float]:
    """Return the CPU seconds of steps of the preset `default`."""
    times: list[float] = []
    settings = PRESETS["default"] | {
        "network": {"name": "convnet", "width": width, "depth": 3},
        "steps": WIDTHS[width] + _WARM,
    }
    optimise(
        skewed(540),
        checked(Distill, settings, name="benchmark"),
        checked(Candidate, {"alignment": "barycentric", "barycenter": "mean"}, name="benchmark"),
        normalise=PLAIN,
        streams=Streams.from_seed(0),
        device=torch.device("cpu"),
        progress=lambda step, steps, loss: times.append(time.process_time()),
    )
    return [after - before for before, after in zip(times[_WARM - 1 :], times[_WARM:], strict=False)]


def evaluation(width: int) -> list[float]:
    """Return the CPU seconds of steps of training a network on 400 images."""
    times: list[float] = []
    images, labels = torch.randn(400, 3, 32, 32), torch.arange(400) % 10

    def read(rows: torch.Tensor) -> torch.Tensor:
        times.append(time.process_time())
        return images[rows]

    recipe = TrainingRecipe(
        network={"name": "convnet", "options": {"width": width, "depth": 3}},
        steps=2 * (WIDTHS[width] + _WARM),
        batch_size=256,
        learning_rate=0.01,
        momentum=0.9,
        weight_decay=5e-4,
        augment=("crop", "cutout", "scale", "rotate"),
        formation=1,
        mean=PLAIN.mean,
        std=PLAIN.std,
    )
    train(recipe, read, labels, shape=(3, 32, 32), classes=10, generator=torch.Generator().manual_seed(0))
    # Pairs of steps: the second batch of every pass over the images has 144 instead of 256.
    return [(after - before) / 2 for before, after in zip(times[2::2], times[4::2], strict=False)]


TASKS: Mapping[str, Callable[[int], list[float]]] = {"distillation": distillation, "evaluation": evaluation}


def measure(task: str, width: int, variant: str) -> dict[str, float]:
    """Measure one variant in this process."""
    configure, pool = VARIANTS[variant]
    configure()
    networks.MeanOfFour = pool  # type: ignore[assignment, misc]
    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF)
    steps = TASKS[task](width)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu_seconds_per_step": median(steps),
        "page_faults": usage.ru_minflt - before.ru_minflt,
        "peak_memory_mb": usage.ru_maxrss / 1024,
    }


def in_new_process(task: str, width: int, variant: str) -> dict[str, float]:
    """Measure one variant in a new process."""
    command = [sys.executable, "-m", "benchmarks.allocator", "--measure", task, str(width), variant]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        task, width, variant = sys.argv[2:]
        print(json.dumps(measure(task, int(width), variant)))
        return
    options = arguments(__doc__, rounds=3)
    result: dict[str, Any] = {"rounds": options.rounds, "threads": 1}
    for task in TASKS:
        for width in WIDTHS:
            rounds = [
                {variant: in_new_process(task, width, variant) for variant in VARIANTS} for _ in range(options.rounds)
            ]
            result[f"{task}, width {width}"] = {
                variant: {
                    "cpu_seconds_per_step": round(median(each[variant]["cpu_seconds_per_step"] for each in rounds), 3),
                    "over_this_engine": round(median(_ratio(each, variant) for each in rounds), 2),
                    "page_faults": round(median(each[variant]["page_faults"] for each in rounds)),
                    "peak_memory_mb": round(max(each[variant]["peak_memory_mb"] for each in rounds)),
                }
                for variant in VARIANTS
            }
            # Saved after every width, because the widths take very different times.
            report("allocator", result, device=torch.device("cpu"), out=options.out)


def _ratio(measured: Mapping[str, Mapping[str, float]], variant: str) -> float:
    return measured[variant]["cpu_seconds_per_step"] / measured[list(VARIANTS)[-1]]["cpu_seconds_per_step"]


if __name__ == "__main__":
    main()
