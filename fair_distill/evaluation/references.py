"""Real examples that distilled sets are compared with: subsets of the same size, chosen in several ways.

The benefit of a distilled set is its gain over the group-balanced random subset, which costs nothing to make.
"""

from dataclasses import replace

import numpy as np
import torch

from fair_distill.card import TrainingRecipe
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.sampling import Normalisation, as_pixels, reader
from fair_distill.distillation.synthetic import check_class_sizes, encode, natural_rows, stratified_rows
from fair_distill.errors import ConfigError
from fair_distill.evaluation.coresets import CORESETS, Embed, within_cells
from fair_distill.evaluation.train import train
from fair_distill.seeds import torch_generator

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
    """Return `ipc` stored images per class, with pixels in [0, 1], and their classes.

    Parameters
    ----------
    select : "random" keeps the groups' natural shares. "group_balanced" divides each class evenly among its groups. A
        name in CORESETS does the same and chooses within each cell by embeddings
    formation : if above 1, each stored image is a mosaic of formation² real images of reduced size
    embed : required for coresets; see `embedding`

    Raises
    ------
    ConfigError
        If rows of a table are combined with a formation above 1.
    DataError
        If a class has too few examples.
    """
    # Balancing needs the group of each example, so examples of unknown group are left out.
    if select != "random" and not dataset.known.all():
        dataset = dataset.of_known_groups()
    if dataset.schema is not None and formation != 1:
        raise ConfigError(
            f"params.yaml: references: formation is {formation}, but rows of a table have no tiles; remove formation"
        )
    check_class_sizes(dataset, ipc, formation)
    count = ipc * formation**2
    if select in CORESETS:
        assert embed is not None, "coresets need an embedding"

        def begin(size: int) -> int:
            return int(torch.randint(size, (), generator=generator))

        rows = within_cells(CORESETS[select], dataset, count, embed, begin)
    else:
        rows = {"random": natural_rows, "group_balanced": stratified_rows}[select](dataset, count, generator)
    pixels = as_pixels(torch.from_numpy(dataset.images[rows]))
    return encode(pixels, formation).numpy(), np.repeat(np.arange(len(dataset.classes)), ipc)


def coreset_embedding(
    select: str, dataset: GroupedDataset, recipe: TrainingRecipe, *, seed: int, device: torch.device
) -> Embed | None:
    """Return the embedding that a selection chooses by; None if it does not need one. See `embedding`."""
    if select not in CORESETS:
        return None
    return embedding(dataset, replace(recipe, formation=1), torch_generator(seed, "references.embedding"), device)


def embedding(
    dataset: GroupedDataset, recipe: TrainingRecipe, generator: torch.Generator, device: torch.device
) -> Embed:
    """Return the embedding for coresets: the features of the recipe's network, trained on all the data.

    Zhao et al. (ICLR 2021) choose the coresets that they compare with in the same way. The network also learns the
    skew of the data.
    """
    labels = torch.from_numpy(np.asarray(dataset.labels)).long().to(device)
    normalise = Normalisation(recipe.mean, recipe.std)
    rows = reader(dataset.images, normalise, device)
    network = train(
        recipe, rows, labels, shape=dataset.shape, classes=len(dataset.classes), generator=generator, custom=True
    )

    @torch.no_grad()
    def embed(images: Array) -> Array:
        batch_of = reader(images, normalise, device)
        batches = [network.embed(batch_of(indices)).cpu() for indices in torch.arange(len(images)).split(_BATCH)]
        points: Array = torch.cat(batches).numpy()
        return points

    return embed


def resampled(dataset: GroupedDataset, rng: np.random.Generator) -> GroupedDataset:
    """Resample a dataset to the same size so that all cells of a class are equally large.

    Large cells lose examples at random, and the examples of small cells are repeated. The pooled mean of the result is
    in expectation the mean of the groups' means. The vanilla method on it therefore equals COBRA with a squared
    distance and the mean as barycenter, apart from the variance that the repetition adds.
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
