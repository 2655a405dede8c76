"""What every distilled set is measured against: the full data, and real images of equal size, chosen in several ways.

A distilled set is worth what it adds to the group-balanced random subset, which costs nothing to make.
"""

import numpy as np
import torch

from fair_distill.card import TrainingRecipe
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.sampling import Normalisation, as_pixels, reader
from fair_distill.distillation.synthetic import encode, natural_rows, stratified_rows
from fair_distill.errors import ConfigError
from fair_distill.evaluation.coresets import CORESETS, Embed, within_cells
from fair_distill.evaluation.train import train

_BATCH = 1024


def subset(
    select: str,
    dataset: GroupedDataset,
    ipc: int,
    formation: int,
    generator: torch.Generator,
    *,
    embed: Embed | None = None,
) -> tuple[Array, Array]:
    """Return `ipc` stored images a class and their classes, pixels over 255.

    Parameters
    ----------
    select : "random" takes groups as they come, "group_balanced" deals each class out over its groups; a name in
        CORESETS does that too, and chooses within each cell
    formation : above 1, each stored image is a mosaic of formation² real ones, made smaller
    embed : for coresets, see `embedding`
    """
    if select != "random" and not dataset.known.all():  # what is balanced over groups is chosen among the known
        dataset = dataset.of_known_groups()
    if dataset.schema is not None and formation != 1:
        raise ConfigError(f"params.yaml: references: formation is {formation}; rows cannot be cut up, so leave it out")
    count = ipc * formation**2
    if select in CORESETS:
        assert embed is not None, "a coreset is chosen in an embedding"

        def begin(size: int) -> int:
            return int(torch.randint(size, (), generator=generator))

        rows = within_cells(CORESETS[select], dataset, count, embed, begin)
    else:
        rows = {"random": natural_rows, "group_balanced": stratified_rows}[select](dataset, count, generator)
    pixels = as_pixels(torch.from_numpy(dataset.images[rows]))
    return encode(pixels, formation).numpy(), np.repeat(np.arange(len(dataset.classes)), ipc)


def embedding(
    dataset: GroupedDataset, recipe: TrainingRecipe, generator: torch.Generator, device: torch.device
) -> Embed:
    """Return the embedding that coresets are chosen in: features of the recipe's network, trained on all the data.

    So do the coresets that Zhao et al. (ICLR 2021) compare with. It knows the data, and with them their skew.
    """
    labels = torch.from_numpy(np.asarray(dataset.labels)).long().to(device)
    normalise = Normalisation(recipe.mean, recipe.std)
    seen = reader(dataset.images, normalise, device)
    network = train(
        recipe, seen, labels, shape=dataset.shape, classes=len(dataset.classes), generator=generator, custom=True
    )

    @torch.no_grad()
    def embed(images: Array) -> Array:
        rows = reader(images, normalise, device)
        parts = [network.embed(rows(part)).cpu() for part in torch.arange(len(images)).split(_BATCH)]
        points: Array = torch.cat(parts).numpy()
        return points

    return embed


def resampled(dataset: GroupedDataset, rng: np.random.Generator) -> GroupedDataset:
    """Return as many examples with every cell of a class equally large: the usual remedy for groups of unequal size.

    Cells that are too large lose examples at random, cells that are too small have theirs repeated. A pooled mean over
    it is in expectation the mean of the groups' means, so the vanilla method on it is COBRA with a squared distance
    and the mean as barycenter, but for what the repeated draw adds in variance.
    """
    groups = len(dataset.groups)
    rows = []
    for label in range(len(dataset.classes)):
        counts = dataset.counts[label]
        present = np.flatnonzero(counts)
        shares = np.full(len(present), counts.sum() // len(present))
        shares[: counts.sum() % len(present)] += 1
        for group, share in zip(present, shares, strict=True):
            start, count = int(dataset.offsets[label * groups + group]), int(counts[group])
            whole, rest = divmod(int(share), count)
            rows += [np.tile(np.arange(count), whole) + start, rng.permutation(count)[:rest] + start]
    return dataset.take(np.concatenate(rows))
