"""What fairness costs: a step of each alignment over a pooled step at equal real images, with ten groups; a DC target
from one weighted backward pass against one pass per group.

    python benchmarks/alignment.py [--device cuda] [--rounds 5]

The variants take turns in one process, so a machine that slows down slows all of them; only ratios are reported.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from fair_distill.config import Candidate, checked
from fair_distill.data.grouped import GroupedDataset
from fair_distill.distillation.alignment import Alignment, Barycentric, build_alignment
from fair_distill.distillation.augment import draw
from fair_distill.distillation.barycenter import mean
from fair_distill.distillation.distance import distance
from fair_distill.distillation.matchers import build_matcher
from fair_distill.distillation.matchers.base import Step
from fair_distill.distillation.networks import build
from fair_distill.distillation.sampling import Batch, GroupSampler, Normalisation
from fair_distill.distillation.synthetic import Synthetic

CLASSES, GROUPS, IPC = 10, 10, 10
WIDTH, SIZE, REAL_PER_CLASS = 32, 32, 100


def data(rng: np.random.Generator) -> GroupedDataset:
    """Noise: the cost of a step does not depend on what is in the pictures."""
    counts = np.full((CLASSES, GROUPS), 20) + 100 * np.eye(CLASSES, dtype=int)
    labels, groups = (index.ravel() for index in np.indices(counts.shape))
    labels, groups = np.repeat(labels, counts.ravel()), np.repeat(groups, counts.ravel())
    images = rng.integers(0, 256, (len(labels), 3, SIZE, SIZE)).astype(np.uint8)
    return GroupedDataset.from_arrays(images, labels, groups)


def step(
    matcher: str, alignment: Alignment, batch: Batch, images: torch.Tensor, generator: torch.Generator
) -> Callable[[], None]:
    """One step of the loop after the batch was drawn, on a network that is made once."""
    method = build_matcher(matcher, {})
    network = build("convnet", {"width": WIDTH, "depth": 3}, (3, SIZE, SIZE), CLASSES, generator).to(images.device)
    kind = "cosine" if matcher == "dc" else "squared"

    def run() -> None:
        drawn = draw(["crop", "cutout", "scale"], CLASSES, generator)
        images.grad = None
        now = Step(network, lambda: batch.augmented(drawn), Synthetic(images, IPC, 1, drawn), alignment, generator)
        for pair in method.pairs(now):
            parts = [distance(target, pair.synthetic, kind=kind, reduce="sum") for target in pair.targets]
            torch.stack(parts).sum().backward()
        if images.is_cuda:
            torch.cuda.synchronize()

    return run


def seconds(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def ratios(variants: dict[str, Callable[[], None]], over: str, rounds: int) -> dict[str, dict[str, float]]:
    """Let the variants take turns; return each one's time over that of `over`, round by round."""
    for run in variants.values():
        run()
    taken = [{name: seconds(run) for name, run in variants.items()} for _ in range(rounds)]
    found = {}
    for name in variants:
        each = [times[name] / times[over] for times in taken]
        found[name] = {"median": median(each), "low": min(each), "high": max(each)}
    return found


def machine(device: torch.device) -> dict[str, object]:
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    generator = torch.Generator().manual_seed(0)
    dataset = data(np.random.default_rng(0))
    plain = Normalisation((0.5,) * 3, (0.25,) * 3)
    images = torch.randn(CLASSES * IPC, 3, SIZE, SIZE, generator=generator).to(device).requires_grad_()

    def aligned(name: str) -> tuple[Alignment, Batch]:
        settings = {"alignment": name, "barycenter": "mean" if name == "barycentric" else None}
        candidate = checked(Candidate, settings, name="benchmark")
        alignment = build_alignment(candidate, dataset.counts, dataset.group_names, device=device)
        sampler = GroupSampler(
            dataset, per_class=REAL_PER_CLASS, allocation="equal", normalise=plain, device=device
        )  # the same for all: equal real images
        return alignment, sampler.draw(generator)

    result: dict[str, object] = {"machine": machine(device), "rounds": arguments.rounds}
    for matcher in ("dm", "dc"):
        variants = {
            name: step(matcher, *aligned(name), images, generator) for name in ("pooled", "barycentric", "per_group")
        }
        result[f"{matcher}: step over pooled"] = ratios(variants, "pooled", arguments.rounds)

    alignment, batch = aligned("barycentric")
    assert isinstance(alignment, Barycentric)
    network = build("convnet", {"width": WIDTH, "depth": 3}, (3, SIZE, SIZE), CLASSES, generator).to(device)
    method = build_matcher("dc", {})
    drawn = draw([], CLASSES, generator)
    # The targets alone: a single synthetic pixel a class costs next to nothing beside them.
    small = torch.zeros(CLASSES, 3, SIZE, SIZE, device=device)

    def targets(linear: bool) -> Callable[[], None]:
        of = Barycentric(mean, alignment.emphasis, linear=linear)

        def run() -> None:
            for _ in method.pairs(Step(network, lambda: batch, Synthetic(small, 1, 1, drawn), of, generator)):
                pass
            if images.is_cuda:
                torch.cuda.synchronize()

        return run

    result["dc target: per group over one weighted backward"] = ratios(
        {"weighted": targets(True), "per_group": targets(False)}, "weighted", arguments.rounds
    )
    arguments.out.mkdir(exist_ok=True)
    path = arguments.out / f"alignment_{device.type}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    for name, rows in result.items():
        if isinstance(rows, dict) and name != "machine":
            print(name)
            for variant, ratio in rows.items():
                print(f"  {variant:12} {ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})")


if __name__ == "__main__":
    main()
