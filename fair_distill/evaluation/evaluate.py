"""Training on a set, by its own recipe, and predicting the gate split: over several seeds."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fair_distill.card import TrainingRecipe
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.networks import Network
from fair_distill.distillation.sampling import Normalisation, reader
from fair_distill.distillation.synthetic import training_examples
from fair_distill.errors import DataError, MeasurementError
from fair_distill.evaluation.train import predict, train, train_together
from fair_distill.gate.predictions import Predictions


def evaluate(
    images: Array,
    labels: Array,
    recipe: TrainingRecipe,
    gate: GroupedDataset,
    *,
    version: str,
    split: str,
    seeds: int,
    networks: Mapping[str, dict[str, Any]],
    generator: Callable[[int], torch.Generator],
    device: torch.device,
    together: bool = False,
    workers: int = 1,
    own: Mapping[str, str] = MappingProxyType({}),
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Predictions:
    """Train networks on a set, by its recipe, and return what each says of every example of the gate split.

    Parameters
    ----------
    images : what the network is trained on, as stored
    version, split : digests that bind the predictions to the set and the gate split
    seeds, networks : so many networks of each of these architectures, which replace the recipe's network. They come
        from params.yaml, so a custom one may be imported; the name in the recipe is never used
    together : whether the networks of an architecture are trained as one (see `train_together`), for GPUs
    workers : else, networks trained at once. With one torch thread each, their number changes no byte, and two networks
        on two cores are done sooner than one after the other with two threads each
    own : digests of the source of networks of one's own, for the predictions to name
    generator : given a seed's number, the generator of that run; the same for every set, so runs are comparable
    """
    if gate.shape != images.shape[1:]:
        raise DataError(f"the set's images are {images.shape[1:]}, the gate split's are {gate.shape}")
    if len(labels) == 0 or not 0 <= labels.min() <= labels.max() < len(gate.classes):
        raise DataError(f"the set needs labels from 0 to {len(gate.classes) - 1}, the classes of the gate split")
    if recipe.formation > 1:
        tiles, of = training_examples(torch.tensor(images), torch.tensor(labels), recipe.formation)
        images, labels = tiles.numpy(), of.numpy()
    normalise = Normalisation(recipe.mean, recipe.std)
    seen, asked = reader(images, normalise, device), reader(gate.images, normalise, device)
    targets = torch.from_numpy(labels).to(device)

    fits: dict[str, Any] = {"shape": gate.shape, "classes": len(gate.classes)}

    def trained(run: tuple[str, Sequence[int]]) -> Sequence[tuple[Tensor, Tensor]]:
        name, of = run
        taught = replace(recipe, network={"name": name, "options": networks[name]})
        if len(of) == 1:
            made = [train(taught, seen, targets, generator=generator(of[0]), custom=True, **fits)]
        else:
            draws = [generator(seed) for seed in of]
            made = train_together(taught, seen, targets, generators=draws, custom=True, **fits)
        return [asked_of(network, name, seed) for network, seed in zip(made, of, strict=True)]

    def asked_of(network: Network, name: str, seed: int) -> tuple[Tensor, Tensor]:
        predicted, probability = predict(network, asked, len(gate), device=device)
        # A network that diverged calls everything class 0, which would read as a gap of 0.
        if not torch.isfinite(probability).all():
            raise MeasurementError(
                f"network {seed + 1} of {seeds} ({name}) left the finite numbers in training; "
                f"lower params.yaml: recipe.learning_rate (it is {recipe.learning_rate:g})"
            )
        return predicted, probability

    shares = [range(seeds)] if together else [range(seed, seed + 1) for seed in range(seeds)]
    runs: list[tuple[Tensor, Tensor]] = []
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for results in pool.map(trained, [(name, share) for name in networks for share in shares]):
            runs += results
            progress(len(runs), seeds * len(networks))
    n = len(gate)
    return Predictions(
        set=version,
        split=split,
        classes=gate.classes,
        groups=gate.groups,
        networks=tuple(networks),
        columns={
            **{
                name: np.tile(column, len(runs))
                for name, column in (
                    ("example", np.arange(n)),
                    ("pair", gate.pairs),
                    ("cluster", gate.clusters),
                    ("label", gate.labels),
                    ("group", gate.group_indices),
                )
            },
            "seed": np.tile(np.repeat(np.arange(seeds), n), len(networks)),
            "network": np.repeat(np.arange(len(networks)), seeds * n),
            "predicted": torch.cat([classes for classes, _ in runs]).numpy(),
            "probability": torch.cat([probability for _, probability in runs]).numpy(),
        },
        attributes=gate.attributes,
        attribute_names=gate.attribute_names,
        own=own,
        options=networks,
    )
