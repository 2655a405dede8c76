"""The cost of a step with each alignment, compared with a pooled step on the same real images, with ten groups.

    python -m benchmarks.alignment [--device cuda] [--rounds 5]

It also compares the two ways to compute a gradient target: one weighted backward pass, or one pass per group.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.measure import arguments, ratios, report
from fair_distill.config import Candidate, checked
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.distillation.alignment import Alignment, Barycentric, build_alignment
from fair_distill.distillation.augment import draw
from fair_distill.distillation.barycenter import mean
from fair_distill.distillation.distance import distance
from fair_distill.distillation.embedding import Embedding
from fair_distill.distillation.matchers import build_matcher
from fair_distill.distillation.matchers.base import Step
from fair_distill.distillation.networks import Network, build
from fair_distill.distillation.sampling import Batch, GroupSampler, Normalisation, reader
from fair_distill.distillation.synthetic import Synthetic
from fair_distill.seeds import plain_torch_generator

CLASSES, GROUPS, IPC = 10, 10, 10
WIDTH, SIZE, REAL_PER_CLASS = 32, 32, 100


def data(rng: np.random.Generator) -> GroupedDataset:
    """Noise: the cost of a step does not depend on what is in the pictures."""
    counts = np.full((CLASSES, GROUPS), 20) + 100 * np.eye(CLASSES, dtype=int)
    labels, groups = (index.ravel() for index in np.indices(counts.shape))
    labels, groups = np.repeat(labels, counts.ravel()), np.repeat(groups, counts.ravel())
    images = rng.integers(0, 256, (len(labels), 3, SIZE, SIZE)).astype(np.uint8)
    return GroupedDataset.from_arrays(images, labels, groups)


def network(generator: torch.Generator, device: torch.device) -> Network:
    return build("convnet", {"width": WIDTH, "depth": 3}, (3, SIZE, SIZE), CLASSES, generator).to(device)


def step(
    matcher: str, alignment: Alignment, batch: Batch, images: torch.Tensor, generator: torch.Generator
) -> Callable[[], None]:
    """One step of the loop after the batch was drawn, on a network that is made once."""
    method, embedder = build_matcher(matcher, {}), network(generator, images.device)
    kind = "cosine" if matcher == "dc" else "squared"

    def run() -> None:
        drawn = draw(["crop", "cutout", "scale"], CLASSES, generator)
        images.grad = None
        synthetic = Synthetic(images, IPC, 1, drawn)
        for pair in method.pairs(
            Step(embedder, lambda: batch.augmented(drawn), synthetic, alignment, generator, Embedding())
        ):
            parts = [distance(target, pair.synthetic, kind=kind, reduce="sum") for target in pair.targets]
            torch.stack(parts).sum().backward()

    return run


def targets(
    alignment: Barycentric, batch: Batch, generator: torch.Generator, device: torch.device
) -> dict[str, Callable[[], None]]:
    """The targets of all classes, alone, from the same images."""
    embedder = network(generator, device)
    weights = list(embedder.parameters())

    def classes(weighted: bool) -> None:
        """A forward pass a class; then one weighted backward pass, or one a group."""
        for label in range(CLASSES):
            rows = batch.rows(label)
            averaging = batch.averaging[label * GROUPS : (label + 1) * GROUPS, rows]
            each = F.cross_entropy(embedder(batch.images[rows]), batch.labels[rows], reduction="none")
            counted = [alignment.emphasis[label] @ averaging] if weighted else list(averaging)
            gradients = [torch.autograd.grad((each * w).sum(), weights, retain_graph=not weighted) for w in counted]
            [torch.stack(layers).mean(dim=0) for layers in zip(*gradients, strict=True)]

    def own_images() -> None:
        """A forward and backward pass a group, of its own images: what barycenters other than the mean need."""
        method = build_matcher("dc", {})
        # A single synthetic pixel a class costs next to nothing beside the real images.
        small = Synthetic(torch.zeros(CLASSES, 3, SIZE, SIZE, device=device), 1, 1, draw([], CLASSES, generator))
        by_group = Barycentric(mean, alignment.emphasis, linear=False)
        for _ in method.pairs(Step(embedder, lambda: batch, small, by_group, generator, Embedding())):
            pass

    return {
        "one weighted backward": lambda: classes(True),
        "a backward per group": lambda: classes(False),
        "a pass per group, own images": own_images,
    }


def main() -> None:
    options = arguments(__doc__, rounds=5)
    device = torch.device(options.device)
    generator = plain_torch_generator(0)
    dataset = data(np.random.default_rng(0))
    images = torch.randn(CLASSES * IPC, 3, SIZE, SIZE, generator=generator).to(device).requires_grad_()
    read = reader(dataset.images, Normalisation((0.5,) * 3, (0.25,) * 3), device)

    def aligned(name: str) -> tuple[Alignment, Batch]:
        settings = {"alignment": name, "barycenter": "mean" if name == "barycentric" else None}
        candidate = checked(Candidate, settings, name="benchmark")
        alignment = build_alignment(candidate, dataset.counts, dataset.groups, device=device)
        # The same allocation for all: equal real images.
        sampler = GroupSampler(dataset, per_class=REAL_PER_CLASS, allocation="equal", read=read, device=device)
        return alignment, sampler.draw(generator)

    def compared(variants: dict[str, Callable[[], None]], over: str) -> dict[str, dict[str, float]]:
        return ratios(variants, over, rounds=options.rounds, device=device)

    result: dict[str, object] = {"rounds": options.rounds}
    for matcher in ("dm", "dc"):
        names = ("pooled", "barycentric", "per_group")
        variants = {name: step(matcher, *aligned(name), images, generator) for name in names}
        result[f"{matcher}: step over pooled"] = compared(variants, "pooled")
    alignment, batch = aligned("barycentric")
    assert isinstance(alignment, Barycentric)
    result["gradient target over one weighted backward"] = compared(
        targets(alignment, batch, generator, device), "one weighted backward"
    )
    report("alignment", result, device=device, out=options.out)


if __name__ == "__main__":
    main()
