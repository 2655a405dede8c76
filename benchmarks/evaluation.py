"""Ten networks of an evaluation: trained together, one after the other, and in threads.

    python -m benchmarks.evaluation [--device cuda] [--rounds 3]

The set has 100 images. The recipe is that of the demo, with the usual network of papers. Only training is timed.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from benchmarks.measure import arguments, ratios, report
from fair_distill.card import TrainingRecipe
from fair_distill.distillation.sampling import Normalisation, reader
from fair_distill.evaluation.train import train, train_together
from fair_distill.seeds import plain_torch_generator

SEEDS, IMAGES = 10, 100


def recipe(width: int, steps: int) -> TrainingRecipe:
    return TrainingRecipe(
        network={"name": "convnet", "options": {"width": width, "depth": 3}},
        steps=steps,
        batch_size=256,
        learning_rate=0.01,
        momentum=0.9,
        weight_decay=0.0005,
        augment=("crop", "cutout", "scale", "rotate"),
        formation=1,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
    )


def main() -> None:
    options = arguments(__doc__, rounds=3)
    device = torch.device(options.device)
    pixels = np.random.default_rng(0).random((IMAGES, 3, 32, 32), dtype=np.float32)
    rows = reader(pixels, Normalisation((0.5,) * 3, (0.25,) * 3), device)
    labels = torch.arange(10, device=device).repeat_interleave(IMAGES // 10)
    steps = 30 if device.type == "cuda" else 10

    def generators() -> list[torch.Generator]:
        return [plain_torch_generator(seed) for seed in range(SEEDS)]

    def apart(width: int, workers: int) -> Callable[[], None]:
        def train_one(generator: torch.Generator) -> None:
            train(recipe(width, steps), rows, labels, shape=(3, 32, 32), classes=10, generator=generator)

        def run() -> None:
            threads = torch.get_num_threads()
            torch.set_num_threads(max(1, threads // workers))
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(train_one, generators()))
            torch.set_num_threads(threads)

        return run

    def together(width: int) -> Callable[[], None]:
        def run() -> None:
            train_together(recipe(width, steps), rows, labels, shape=(3, 32, 32), classes=10, generators=generators())

        return run

    result: dict[str, object] = {"rounds": options.rounds, "seeds": SEEDS, "steps": steps, "images": IMAGES}
    for width in (32, 128):
        variants = {"one after the other": apart(width, 1), "together": together(width)}
        if device.type == "cpu":
            variants["in threads, one each"] = apart(width, max(2, torch.get_num_threads()))
        title = f"time of {SEEDS} seeds over that of networks together, width {width}"
        result[title] = ratios(variants, "together", rounds=options.rounds, device=device)
    report("evaluation", result, device=device, out=options.out)


if __name__ == "__main__":
    main()
