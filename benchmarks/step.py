"""A step of distribution matching, compared with plain loops over the classes.

    python -m benchmarks.step [--device cuda] [--rounds 5]

The setting is that of the reference code: ConvNet of width 128, ten classes, ten groups, 600 real images per class.

1. The same mathematics: a plain loop that embeds the real images of one class at a time, and our step.
2. The overhead of the released code of COBRA over the plain loop: it embeds every real batch twice.
3. The same statistics: the step of the released code with its warm-up from scratch (10 epochs, ipc 10), and our step
   with a tenth of the real images, stratified, and a pool of networks. The error of the target is measured too:
   E||estimate − target||² / ||target||² over batches, where the target uses all images.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measure import arguments, report, seconds, wait
from fair_distill.config import Candidate, Distill, checked
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.distillation.alignment import build_alignment
from fair_distill.distillation.augment import augment, draw
from fair_distill.distillation.loop import Streams, optimise
from fair_distill.distillation.networks import Network, build
from fair_distill.distillation.presets import PRESETS
from fair_distill.distillation.sampling import GroupSampler, Normalisation, reader
from fair_distill.seeds import plain_torch_generator

PLAIN = Normalisation((0.5,) * 3, (0.25,) * 3)
SIZE, IPC, BATCH, RATE = 32, 10, 600, 0.1
STRATEGIES = ["crop", "cutout", "scale", "rotate"]
OURS = {"aligned": {"alignment": "barycentric", "barycenter": "mean"}, "vanilla": {"alignment": "pooled"}}


def skewed(per_class: int) -> GroupedDataset:
    """Noise in the papers' proportions: nine tenths of a class in one group, the rest over nine others."""
    rare = per_class // 90
    counts = np.full((10, 10), rare) + (per_class - 10 * rare) * np.eye(10, dtype=int)
    labels, groups = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape))
    images = np.random.default_rng(0).integers(0, 200, (len(labels), 3, SIZE, SIZE)).astype(np.uint8)
    images[:, 0] += (groups * 5).astype(np.uint8)[:, None, None]  # so that groups differ
    return GroupedDataset.from_arrays(images, labels, groups)


def fresh(generator: torch.Generator, device: torch.device) -> Network:
    return build("convnet", {"width": 128, "depth": 3}, (3, SIZE, SIZE), 10, generator).to(device)


def plain_loop(
    dataset: GroupedDataset, device: torch.device, *, grouped: bool, embeddings: int, warmup_epochs: int
) -> Callable[[], None]:
    """One step as a plain loop over classes does it: natural batches, float32, a class at a time.

    Parameters
    ----------
    grouped : whether the target is the mean of the groups' means, or the mean
    embeddings : how often each real batch is embedded
    warmup_epochs : of training a new network on the synthetic set, batches of 256, before it is matched under
    """
    generator = plain_torch_generator(1)
    everything = PLAIN.apply(torch.from_numpy(dataset.images).to(device).float() / 255)
    groups = torch.from_numpy(dataset.group_indices).to(device)
    images = torch.randn(10 * IPC, 3, SIZE, SIZE, generator=generator).to(device).requires_grad_()
    labels = torch.arange(10, device=device).repeat_interleave(IPC)
    optimiser = torch.optim.SGD([images], lr=RATE, momentum=0.5)
    ends = dataset.offsets[::10]

    def run() -> None:
        network = fresh(generator, device)
        trainer = torch.optim.SGD(network.parameters(), lr=0.01)
        for _ in range(warmup_epochs):
            for picked in torch.randperm(len(labels), generator=generator).to(device).split(256):
                embedded = augment(images.detach()[picked], draw(STRATEGIES, len(picked), generator))
                trainer.zero_grad()
                F.cross_entropy(network(embedded), labels[picked]).backward()
                trainer.step()
        network.requires_grad_(False)
        optimiser.zero_grad()
        loss = torch.zeros((), device=device)
        for label in range(10):
            rows = int(ends[label]) + torch.randperm(int(ends[label + 1] - ends[label]), generator=generator)[:BATCH]
            rows = rows.to(device)
            drawn = draw(STRATEGIES, 1, generator)
            zeros = torch.zeros(BATCH, dtype=torch.int64, device=device)
            real = augment(everything[rows], drawn, zeros)
            augmented = augment(images[label * IPC : (label + 1) * IPC], drawn, zeros[:IPC])
            with torch.no_grad():
                for _ in range(embeddings):
                    embedded = network.embed(real)
                members = groups[rows]
                target = (
                    torch.stack([embedded[members == group].mean(dim=0) for group in members.unique()]).mean(dim=0)
                    if grouped
                    else embedded.mean(dim=0)
                )
            loss = loss + (target - network.embed(augmented).mean(dim=0)).square().sum()
        loss.backward()
        optimiser.step()
        loss.item()

    return run


class Enough(Exception):
    """Raised out of the loop when there were rounds enough."""


def against(
    plain: Callable[[], None],
    dataset: GroupedDataset,
    device: torch.device,
    *,
    alignment: str,
    rounds: int,
    warm: int,
    **changes: object,
) -> dict[str, float]:
    """Let steps of our loop and of the plain one take turns; return the plain one's time over ours."""
    settings = PRESETS["dm"] | {"steps": 10**6, "augment": STRATEGIES, "start": "noise"} | changes
    settings["optimiser"] = {"name": "sgd", "learning_rate": RATE, "momentum": 0.5}
    times: list[tuple[float, float]] = []
    began = 0.0

    def between(step: int, steps: int, loss: float) -> None:
        nonlocal began
        wait(device)
        ours = time.perf_counter() - began
        theirs = seconds(plain, device)
        if step > warm:
            times.append((ours, theirs))
        if len(times) == rounds:
            raise Enough
        began = time.perf_counter()

    with suppress(Enough):
        optimise(
            dataset,
            checked(Distill, settings, name="benchmark"),
            checked(Candidate, OURS[alignment], name="benchmark"),
            normalise=PLAIN,
            streams=Streams.from_seed(0),
            device=device,
            progress=between,
        )
    each = [theirs / ours for ours, theirs in times]
    return {
        "median": median(each),
        "low": min(each),
        "high": max(each),
        "ours_seconds": median(ours for ours, _ in times),
        "plain_seconds": median(theirs for _, theirs in times),
    }


def error_of_target(
    dataset: GroupedDataset, device: torch.device, *, natural: int, stratified: int
) -> dict[str, float]:
    """Return the relative squared error of the estimated barycenter, from natural and from stratified batches.

    As in the released code, a group that a natural batch does not hold drops out of its mean.
    """
    generator = plain_torch_generator(2)
    read = reader(dataset.images, PLAIN, device)
    network = fresh(generator, device).requires_grad_(False)
    embedded = torch.cat([network.embed(read(rows)) for rows in torch.arange(len(dataset)).split(1000)]).double()
    cells = [embedded[dataset.offsets[i] : dataset.offsets[i + 1]] for i in range(100)]
    target = torch.stack([cell.mean(dim=0) for cell in cells]).unflatten(0, (10, 10)).mean(dim=1)
    groups, ends = torch.from_numpy(dataset.group_indices).to(device), dataset.offsets[::10]
    candidate = checked(Candidate, OURS["aligned"], name="benchmark")
    alignment = build_alignment(candidate, dataset.counts, dataset.groups, device=device)
    sampler = GroupSampler(
        dataset,
        per_class=stratified,
        allocation=alignment.allocation,
        read=lambda rows: embedded[rows.to(device)],
        device=device,
    )

    def from_natural() -> Tensor:
        means = []
        for label in range(10):
            rows = int(ends[label]) + torch.randperm(int(ends[label + 1] - ends[label]), generator=generator)[:natural]
            members = groups[rows.to(device)]
            batch = embedded[rows.to(device)]
            means.append(torch.stack([batch[members == group].mean(dim=0) for group in members.unique()]).mean(dim=0))
        return torch.stack(means)

    def from_stratified() -> Tensor:
        batch = sampler.draw(generator)
        return (batch.averaging.double() @ batch.images).unflatten(0, (10, 10)).mean(dim=1)

    def error(estimate: Callable[[], Tensor]) -> float:
        each = [(estimate() - target).square().sum(dim=1) / target.square().sum(dim=1) for _ in range(50)]
        return torch.stack(each).mean().item()

    return {
        f"natural, {natural} a class": error(from_natural),
        f"stratified, {stratified} a class": error(from_stratified),
    }


def main() -> None:
    options = arguments(__doc__, rounds=5)
    device = torch.device(options.device)
    torch.backends.cudnn.benchmark = True
    per_class = 5400
    dataset = skewed(per_class)
    embeddings = ["exact", "fast"] if device.type == "cuda" else ["exact"]
    measured = {"rounds": options.rounds, "warm": 20 if device.type == "cuda" else 1}
    result: dict[str, object] = {"images a class": per_class, **measured}

    for alignment in ("aligned", "vanilla"):
        title = f"plain loop over ours, equal mathematics, {alignment}"
        plain = plain_loop(dataset, device, grouped=alignment == "aligned", embeddings=1, warmup_epochs=0)
        result[title] = {
            kind: against(plain, dataset, device, alignment=alignment, embedding=kind, **measured)
            for kind in embeddings
        }
    twice = plain_loop(dataset, device, grouped=True, embeddings=2, warmup_epochs=0)
    result["plain loop that embeds twice over ours"] = {
        kind: against(twice, dataset, device, alignment="aligned", embedding=kind, **measured) for kind in embeddings
    }
    released = plain_loop(dataset, device, grouped=True, embeddings=2, warmup_epochs=10)
    pool = PRESETS["dm"]["networks"] | {"pool": 10, "visits": 10, "advance": 1}
    result["released code's step over ours, equal statistics"] = {
        kind: against(
            released, dataset, device, alignment="aligned", embedding=kind, real_per_class=60, networks=pool, **measured
        )
        for kind in embeddings
    }
    result["squared error of the target, relative"] = error_of_target(dataset, device, natural=600, stratified=60)
    report("step", result, device=device, out=options.out)


if __name__ == "__main__":
    main()
