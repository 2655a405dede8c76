"""Class probabilities of every example from networks that were trained without its unit.

N examples, C classes.
"""

from collections.abc import Callable

import numpy as np
import torch

from fair_distill.card import TrainingRecipe
from fair_distill.data.folds import deal_folds, unit_of_each
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.networks import Network
from fair_distill.distillation.sampling import Normalisation, reader
from fair_distill.errors import DataError, MeasurementError
from fair_distill.evaluation.train import Pixels, train

_BATCH = 1024


def out_of_fold_probabilities(
    dataset: GroupedDataset,
    recipe: TrainingRecipe,
    *,
    folds: int,
    generator: torch.Generator,
    device: torch.device,
    progress: Callable[[int, int], None] = lambda step, steps: None,
) -> Array:
    """Return the probability of each class for each example, float64 (N, C), by networks that never saw its unit.

    The units are dealt into folds; for each fold, one network is trained by the recipe on the others.

    Parameters
    ----------
    recipe : how a network is trained. Its network comes from params.yaml, so a custom one may be imported
    generator : draws the folds and the networks
    progress : called with the number of trained networks and their total

    Raises
    ------
    DataError
        If a class has only one unit: networks that are trained without it do not know the class.
    MeasurementError
        If the training of a network diverged.
    """
    units = unit_of_each(dataset)
    for label, name in enumerate(dataset.classes):
        count = len(np.unique(units[dataset.labels == label]))
        if count == 1:
            raise DataError(
                f"all examples of class {name!r} are one unit (the same person, pair or content), so no network can "
                "learn the class without them; add examples of other units, or drop the class"
            )
    order = torch.randperm(len(dataset), generator=generator).numpy()
    cells = dataset.labels * len(dataset.groups) + dataset.group_indices
    fold_of_row = np.empty(len(dataset), dtype=np.int64)
    fold_of_row[order] = deal_folds(cells[order], units[order], folds)

    read = reader(dataset.images, Normalisation(recipe.mean, recipe.std), device)
    probabilities = np.empty((len(dataset), len(dataset.classes)))
    used = [fold for fold in range(folds) if (fold_of_row == fold).any()]
    for number, fold in enumerate(used, start=1):
        visible = torch.from_numpy(np.flatnonzero(fold_of_row != fold))
        hidden = torch.from_numpy(np.flatnonzero(fold_of_row == fold))
        rows = visible.to(device)
        network = train(
            recipe,
            lambda indices, rows=rows: read(rows[indices]),  # type: ignore[misc]
            torch.from_numpy(dataset.labels)[visible].to(device),
            shape=dataset.shape,
            classes=len(dataset.classes),
            generator=generator,
            custom=True,
        )
        predicted = _probabilities(network, read, hidden.to(device))
        if not np.isfinite(predicted).all():
            raise MeasurementError(
                f"network {number} of {len(used)} diverged in training: its outputs are not finite; lower params.yaml: "
                f"recipe.learning_rate (it is {recipe.learning_rate:g})"
            )
        probabilities[hidden.numpy()] = predicted
        progress(number, len(used))
    return probabilities


@torch.no_grad()
def _probabilities(network: Network, read: Pixels, rows: torch.Tensor) -> Array:
    batches = [network(read(batch)).double().softmax(dim=1).cpu() for batch in rows.split(_BATCH)]
    return np.asarray(torch.cat(batches).numpy())
