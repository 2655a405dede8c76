"""Training a network on a set by its recipe, and asking it about other images."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from fair_distill.card import TrainingRecipe
from fair_distill.distillation.augment import augment, draw, draw_each
from fair_distill.distillation.networks import NETWORKS, Network, build
from fair_distill.distillation.sampling import Normalisation
from fair_distill.distillation.synthetic import training_examples
from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.plugins import passed_source_digest
from fair_distill.seeds import plain_torch_generator

Pixels = Callable[[Tensor], Tensor]
Networks = Mapping[str, Callable[..., Network]]


def train(
    recipe: TrainingRecipe,
    rows: Pixels,
    labels: Tensor,
    *,
    shape: tuple[int, int, int],
    classes: int,
    generator: torch.Generator,
    networks: Networks = NETWORKS,
    custom: bool = False,
) -> Network:
    """Train a new network by the recipe: SGD, every image augmented on its own, rate × 0.1 after half of the steps.

    A recipe counts steps, not epochs, so that sets of different size are given the same number of updates.

    Parameters
    ----------
    rows : given indices (B,), returns those images, normalised
    labels : (N,)
    generator : draws weights, order and augmentation
    networks, custom : which networks the recipe can name; see `build`. A recipe from a set has no `custom` permission
    """
    network = _built(recipe, shape, classes, generator, networks, custom).to(labels.device)
    descend = descent(recipe, list(network.train().parameters()))
    for order in _batches(recipe, len(labels), generator):
        picked = order.to(labels.device)
        images = augment(rows(picked), draw(recipe.augment, len(picked), generator))
        descend(F.cross_entropy(network(images), labels[picked]))
    return network.eval()


def train_together(
    recipe: TrainingRecipe,
    rows: Pixels,
    labels: Tensor,
    *,
    shape: tuple[int, int, int],
    classes: int,
    generators: Sequence[torch.Generator],
    networks: Networks = NETWORKS,
    custom: bool = False,
) -> list[Network]:
    """Train a network for each generator, all at once: what `train` returns for each, but for rounding.

    Their weights are stacked, and a step of all is one pass: on a GPU, which a single small network leaves idle, many
    times faster; on a CPU slower than one after the other.
    """
    trained = [_built(recipe, shape, classes, one, networks, custom).to(labels.device) for one in generators]
    structure = copy.deepcopy(trained[0]).to("meta")
    weights, _ = torch.func.stack_module_state(list(trained))
    descend = descent(recipe, list(weights.values()))

    def logits(of: dict[str, Tensor], images: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(structure, of, images)
        return found

    for orders in zip(*(_batches(recipe, len(labels), generator) for generator in generators), strict=True):
        picked = torch.stack(orders).to(labels.device)
        drawn = draw_each(recipe.augment, picked.shape[1], generators)
        images = augment(rows(picked.flatten()), drawn).unflatten(0, picked.shape)
        each = F.cross_entropy(torch.vmap(logits)(weights, images).flatten(0, 1), labels[picked].flatten())
        descend(each * len(trained))  # the sum over networks of each one's mean: none moves another
    for i, network in enumerate(trained):
        network.load_state_dict({name: stacked[i] for name, stacked in weights.items()})
    return [network.eval() for network in trained]


def _built(
    recipe: TrainingRecipe,
    shape: tuple[int, int, int],
    classes: int,
    generator: torch.Generator,
    networks: Networks,
    custom: bool,
) -> Network:
    name, options = recipe.network["name"], recipe.network.get("options", {})
    return build(name, options, shape, classes, generator, networks=networks, custom=custom)


def descent(recipe: TrainingRecipe, weights: list[Tensor]) -> Callable[[Tensor], None]:
    """Return what takes a step down a loss: torch.optim.SGD with its momentum and weight decay, to the bit.

    Not torch.optim, whose first optimiser imports torch's compiler: half of the time in which a process starts.
    """
    velocities = [torch.zeros_like(weight) for weight in weights]
    rates = chain(repeat(recipe.learning_rate, recipe.steps // 2), repeat(recipe.learning_rate * 0.1))

    def descend(loss: Tensor) -> None:
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            torch._foreach_mul_(velocities, recipe.momentum)
            torch._foreach_add_(velocities, torch._foreach_add(gradients, weights, alpha=recipe.weight_decay))
            torch._foreach_add_(weights, velocities, alpha=-next(rates))

    return descend


def _batches(recipe: TrainingRecipe, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices of every step: all examples have their turn before one has its second."""
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(recipe.steps):
        if len(order) == 0:
            order = torch.randperm(count, generator=generator)
        picked, order = order[: recipe.batch_size], order[recipe.batch_size :]
        yield picked


@torch.no_grad()
def predict(network: Network, rows: Pixels, count: int, *, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the predicted class (N,) and its probability (N,) for `count` images."""
    classes, probabilities = [], []
    # On a CPU as many as stay in its cache; on a GPU as fill it.
    for part in torch.arange(count, device=device).split(8192 if device.type == "cuda" else 256):
        probability, predicted = network(rows(part)).softmax(dim=1).max(dim=1)
        classes.append(predicted.cpu())
        probabilities.append(probability.cpu())
    return torch.cat(classes), torch.cat(probabilities)


class Normalised(torch.nn.Module):
    """A trained network that takes pixels in [0, 1] and normalises them itself."""

    def __init__(self, network: Network, recipe: TrainingRecipe) -> None:
        super().__init__()
        self.network = network
        self.normalise = Normalisation(recipe.mean, recipe.std)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, classes) for pixels (N, channels, height, width) in [0, 1]."""
        logits: Tensor = self.network(self.normalise.apply(pixels))
        return logits


def train_on(
    distilled: DistilledSet, *, seed: int, device: str = "cpu", networks: Networks = MappingProxyType({})
) -> Normalised:
    """Train a network on a distilled set by the recipe that travels with it, as the gate did.

    Parameters
    ----------
    networks : custom networks by the name that the recipe uses, `{"package.module:callable": callable}`. A set cannot
        cause an import: if its recipe names a custom network, pass your own copy of it here

    Raises
    ------
    ConfigError
        If the recipe names a network that is neither built in nor passed.
    IntegrityError
        If the source of the passed network is not the source whose digest the manifest records.
    """
    recipe = distilled.card.recipe
    known = _known_to(distilled, networks)
    images, labels = training_examples(
        torch.tensor(distilled.images, device=device), torch.tensor(distilled.labels, device=device), recipe.formation
    )
    images = Normalisation(recipe.mean, recipe.std).apply(images)
    network = train(
        recipe,
        lambda indices: images[indices],
        labels,
        shape=distilled.card.shape,
        classes=len(distilled.card.classes),
        generator=plain_torch_generator(seed),
        networks=known,
    )
    return Normalised(network, recipe).eval()


def _known_to(distilled: DistilledSet, passed: Networks) -> Networks:
    """Return the networks that a set's recipe can name: ours, and the passed one once its source is checked."""
    name = distilled.card.recipe.network["name"]
    if name in NETWORKS or ":" not in name:
        return NETWORKS
    if name not in passed:
        raise ConfigError(
            f"the recipe of this set trains the custom network {name!r}, and code is never imported because a set "
            f"names it. Import it yourself and pass it: train(set, networks={{{name!r}: {name.rpartition(':')[2]}}})"
        )
    # A set that was not loaded from a registry has no manifest: its maker trains on it.
    if distilled.source_digests is not None:
        recorded, passed_digest = (
            distilled.source_digests.get(name, "no digest"),
            passed_source_digest(name, passed[name]),
        )
        if recorded != passed_digest:
            raise IntegrityError(
                f"the source of the network passed as {name!r} has SHA-256 {passed_digest}; the manifest of this set "
                f"records {recorded}. Pass the version of the network that the set was gated with"
            )
    return {**NETWORKS, name: passed[name]}
