"""Train networks on a set by its recipe, over several seeds, and predict the gate split with them."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from fair_distill.card import TrainingRecipe
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.networks import Network
from fair_distill.distillation.sampling import Normalisation, reader
from fair_distill.distillation.synthetic import training_examples
from fair_distill.errors import DataError, MeasurementError
from fair_distill.evaluation.priors import prior_shift
from fair_distill.evaluation.train import Answers, predict, train, train_together
from fair_distill.gate.predictions import UNCORRECTED, Predictions


def train_and_predict(
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
    draws: int = 1,
    custom_digests: Mapping[str, str] = MappingProxyType({}),
    progress: Callable[[int, int], None] = lambda step, steps: None,
) -> Predictions:
    """Train networks on a set and return the predictions of each for every example of the gate split.

    Parameters
    ----------
    images, labels : the set, with images as stored: (N, channels, height, width) and (N,)
    version, split : SHA-256 of the set's manifest and of the gate split, which bind the predictions to both
    seeds : number of networks of each architecture
    networks : options by architecture; they replace the network of the recipe. They come from params.yaml, so a
        custom one may be imported. The name in the recipe is never used
    generator : returns the generator for a seed's index. It is the same for every set, so that runs are comparable
    together : whether all networks of an architecture are trained as one, for GPUs; see `train_together`
    workers : number of networks trained at once if not `together`. Each uses one torch thread, so this number changes
        no byte. Two networks on two cores finish sooner than one after the other with two threads each
    draws : number of sets of equal size that `images` and `labels` contain one after another: 1, or one for each seed,
        which is then trained on its own draw
    custom_digests : SHA-256 of the source file of each custom network, which the predictions record
    progress : called with the number of trained networks and their total

    Raises
    ------
    DataError
        If the shape or the labels of the set do not match the gate split.
    MeasurementError
        If the training of a network diverged.
    """
    if gate.shape != images.shape[1:]:
        raise DataError(
            f"the images of the set have shape {images.shape[1:]}, those of the gate split {gate.shape}; make the set "
            "again from the current data"
        )
    if len(labels) == 0 or not 0 <= labels.min() <= labels.max() < len(gate.classes):
        raise DataError(
            f"the set needs labels from 0 to {len(gate.classes) - 1}, the classes of the gate split; make the set "
            "again from the current data"
        )
    assert draws in (1, seeds), "one draw for all seeds, or one for each"
    if recipe.formation > 1:
        tiles, tile_labels = training_examples(torch.tensor(images), torch.tensor(labels), recipe.formation)
        images, labels = tiles.numpy(), tile_labels.numpy()
    normalise = Normalisation(recipe.mean, recipe.std)
    read_set, read_gate = reader(images, normalise, device), reader(gate.images, normalise, device)
    targets = torch.from_numpy(labels).to(device)
    count = len(targets) // draws

    dimensions: dict[str, Any] = {"shape": gate.shape, "classes": len(gate.classes)}

    shift = prior_shift(recipe, targets)
    # Both predictions are kept if they differ.
    shifts = [None] if shift is None else [shift, None]

    def run(name: str, run_seeds: Sequence[int]) -> Sequence[list[Answers]]:
        named = replace(recipe, network={"name": name, "options": networks[name]})
        if len(run_seeds) == 1:
            seed = run_seeds[0]
            start = count * seed if draws > 1 else 0
            trained = [
                train(
                    named,
                    lambda indices: read_set(indices + start),
                    targets[start : start + count],
                    generator=generator(seed),
                    custom=True,
                    **dimensions,
                )
            ]
        else:
            generators = [generator(seed) for seed in run_seeds]
            trained = train_together(
                named, read_set, targets, generators=generators, custom=True, draws=draws, **dimensions
            )
        return [predict_gate(network, name, seed) for network, seed in zip(trained, run_seeds, strict=True)]

    def predict_gate(network: Network, name: str, seed: int) -> list[Answers]:
        outputs = predict(network, read_gate, len(gate), device=device, shifts=shifts)
        # A network that diverged predicts class 0 for every example, which would look like a gap of 0.
        if not torch.isfinite(outputs[0][1]).all():
            raise MeasurementError(
                f"network {seed + 1} of {seeds} ({name}) diverged in training: its outputs are not finite; "
                f"lower params.yaml: recipe.learning_rate (it is {recipe.learning_rate:g})"
            )
        return outputs

    seed_groups = [range(seeds)] if together else [range(seed, seed + 1) for seed in range(seeds)]
    jobs = [(name, group) for name in networks for group in seed_groups]
    results: list[list[Answers]] = []
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for finished in pool.map(lambda job: run(*job), jobs):
            results += finished
            progress(len(results), seeds * len(networks))
    return _predictions(
        gate, results, version=version, split=split, seeds=seeds, networks=networks, custom_digests=custom_digests
    )


def constant_predictions(
    label: int,
    probability: float,
    gate: GroupedDataset,
    *,
    version: str,
    split: str,
    seeds: int,
    networks: Mapping[str, dict[str, Any]],
    custom_digests: Mapping[str, str] = MappingProxyType({}),
) -> Predictions:
    """Return predictions of one class for every example, as if networks had made them.

    Parameters
    ----------
    label, probability : the class, and the probability that every prediction has
    version, split, seeds, networks, custom_digests : as in `train_and_predict`
    """
    answer = torch.full((len(gate),), label), torch.full((len(gate),), probability)
    return _predictions(
        gate,
        [[answer]] * (seeds * len(networks)),
        version=version,
        split=split,
        seeds=seeds,
        networks=networks,
        custom_digests=custom_digests,
    )


def _predictions(
    gate: GroupedDataset,
    results: Sequence[list[Answers]],
    *,
    version: str,
    split: str,
    seeds: int,
    networks: Mapping[str, dict[str, Any]],
    custom_digests: Mapping[str, str],
) -> Predictions:
    """Return the table of predictions: one row per network and example, ordered by architecture, seed and example.

    Parameters
    ----------
    results : of each network, the predictions, and those without the correction for class shares if there is one
    """
    n = len(gate)
    outputs = {
        name: torch.cat([result[number][part] for result in results]).numpy()
        for number, names in enumerate((("predicted", "probability"), UNCORRECTED)[: len(results[0])])
        for part, name in enumerate(names)
    }
    examples = {
        "example": np.arange(n),
        "pair": gate.pairs,
        "cluster": gate.clusters,
        "label": gate.labels,
        "group": gate.group_indices,
    }
    return Predictions(
        set=version,
        split=split,
        classes=gate.classes,
        groups=gate.groups,
        networks=tuple(networks),
        columns={
            **{name: np.tile(column, len(results)) for name, column in examples.items()},
            "seed": np.tile(np.repeat(np.arange(seeds), n), len(networks)),
            "network": np.repeat(np.arange(len(networks)), seeds * n),
            **outputs,
        },
        attributes=gate.attributes,
        attribute_names=gate.attribute_names,
        custom_digests=custom_digests,
        options=networks,
    )
