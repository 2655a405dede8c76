"""Training on a set, by its own recipe, and predicting the gate split: over several seeds."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from fair_distill.card import TrainingRecipe
from fair_distill.data.grouped import Array, GroupedDataset
from fair_distill.distill.sampling import Normalisation
from fair_distill.errors import DataError, MeasurementError
from fair_distill.evaluation.train import Pixels, predict, train, unpacked
from fair_distill.gate.predictions import Predictions


def pixels_of(images: Array, recipe: TrainingRecipe, device: torch.device) -> Pixels:
    """Return a function from indices to normalised images. uint8 is divided by 255; float32 is taken as it is."""
    normalise = Normalisation(recipe.mean, recipe.std)
    scale = 255 if images.dtype == np.uint8 else 1

    def rows(indices: Tensor) -> Tensor:
        picked = torch.from_numpy(images[indices.cpu().numpy()]).to(device)
        return normalise.apply(picked.float() / scale)

    return rows


def evaluate(
    images: Array,
    labels: Array,
    recipe: TrainingRecipe,
    gate: GroupedDataset,
    *,
    version: str,
    split: str,
    seeds: int,
    generator: Callable[[int], torch.Generator],
    device: torch.device,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Predictions:
    """Train `seeds` networks on a set and return what each says of every example of the gate split.

    Parameters
    ----------
    images : what the network is trained on, as stored
    version, split : digests that bind the predictions to the set and the gate split
    generator : given a seed's number, the generator of that run; the same for every set, so runs are comparable
    """
    if gate.shape != images.shape[1:]:
        raise DataError(f"the set's images are {images.shape[1:]}, the gate split's are {gate.shape}")
    if len(labels) == 0 or not 0 <= labels.min() <= labels.max() < len(gate.classes):
        raise DataError(f"the set needs labels from 0 to {len(gate.classes) - 1}, the classes of the gate split")
    if recipe.formation > 1:
        seen, of = unpacked(torch.tensor(images), torch.tensor(labels), recipe.formation)
        images, labels = seen.numpy(), of.numpy()
    runs = []
    for seed in range(seeds):
        network = train(
            recipe,
            pixels_of(images, recipe, device),
            torch.from_numpy(labels).to(device),
            shape=gate.shape,
            classes=len(gate.classes),
            generator=generator(seed),
        )
        predicted, probability = predict(network, pixels_of(gate.images, recipe, device), len(gate), device=device)
        # A network that diverged calls everything class 0, which would read as a gap of 0.
        if not torch.isfinite(probability).all():
            raise MeasurementError(
                f"network {seed + 1} of {seeds} left the finite numbers in training; "
                f"lower params.yaml: recipe.learning_rate (it is {recipe.learning_rate:g})"
            )
        runs.append((predicted, probability))
        progress(seed + 1, seeds)
    n = len(gate)
    return Predictions(
        set=version,
        split=split,
        classes=gate.classes,
        groups=gate.group_names,
        networks=(recipe.network["name"],),
        columns={
            "example": np.tile(np.arange(n), seeds),
            "pair": np.tile(gate.pairs, seeds),
            "cluster": np.tile(gate.pairs, seeds),
            "label": np.tile(gate.labels, seeds),
            "group": np.tile(gate.groups, seeds),
            "seed": np.repeat(np.arange(seeds), n),
            "network": np.zeros(n * seeds, dtype=int),
            "predicted": torch.cat([classes for classes, _ in runs]).numpy(),
            "probability": torch.cat([probability for _, probability in runs]).numpy(),
        },
    )
