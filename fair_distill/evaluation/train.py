"""Train a network on a set by the set's recipe, and predict other images with it."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.sgd import sgd

from fair_distill import freed_memory
from fair_distill.card import TrainingRecipe
from fair_distill.distillation.augment import augment, draw, draw_each
from fair_distill.distillation.networks import NETWORKS, Network, build
from fair_distill.distillation.sampling import Normalisation
from fair_distill.distillation.synthetic import training_examples
from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.evaluation.priors import prior_shift
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
    """Train a new network by the recipe: SGD with momentum, and a tenth of the learning rate after half of the steps.

    A recipe counts steps instead of epochs, so that sets of different size get the same number of updates. Every image
    is augmented separately.

    Parameters
    ----------
    rows : returns the normalised images (B, channels, height, width) for indices (B,)
    labels : class of each image, (N,)
    shape : channels, height and width of an image
    classes : number of classes
    generator : draws weights, order and augmentation
    networks, custom : the networks that the recipe can name; see `build`. For a recipe from a set, `custom` is False

    Returns
    -------
    Network
        The trained network, in evaluation mode.
    """
    network = untrained(recipe, shape, classes, generator, networks, custom).to(labels.device)
    for _ in training_steps(network, recipe, rows, labels, generator):
        pass
    return network.eval()


def training_steps(
    network: Network, recipe: TrainingRecipe, rows: Pixels, labels: Tensor, generator: torch.Generator
) -> Iterator[int]:
    """Train a network by a recipe, and yield the number of steps after each step. Parameters are those of `train`."""
    descend = gradient_descent(recipe, list(network.train().parameters()))
    for step, batch in enumerate(_batches(recipe, len(labels), generator), start=1):
        indices = batch.to(labels.device)
        images = augment(rows(indices), draw(recipe.augment, len(indices), generator))
        descend(F.cross_entropy(network(images), labels[indices]))
        yield step


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
    draws: int = 1,
) -> list[Network]:
    """Train one network per generator at the same time; each equals the result of `train` up to rounding.

    The weights are stacked, so that one pass makes a step of all networks. On a GPU, where one small network leaves
    most of the device idle, this is many times faster. On a CPU it is slower than one network after the other.

    Parameters
    ----------
    draws : number of sets of equal size that `rows` and `labels` contain one after another. If there are several, the
        network of each generator is trained on its own draw

    The other parameters are those of `train`.
    """
    count = len(labels) // draws
    starts = torch.arange(len(generators), device=labels.device)[:, None] * (count if draws > 1 else 0)
    trained = [
        untrained(recipe, shape, classes, generator, networks, custom).to(labels.device) for generator in generators
    ]
    structure = copy.deepcopy(trained[0]).to("meta")
    weights, _ = torch.func.stack_module_state(list(trained))
    descend = gradient_descent(recipe, list(weights.values()))

    def logits(network_weights: dict[str, Tensor], images: Tensor) -> Tensor:
        outputs: Tensor = torch.func.functional_call(structure, network_weights, images)
        return outputs

    for batches in zip(*(_batches(recipe, count, generator) for generator in generators), strict=True):
        indices = torch.stack(batches).to(labels.device) + starts
        augmentations = draw_each(recipe.augment, indices.shape[1], generators)
        images = augment(rows(indices.flatten()), augmentations).unflatten(0, indices.shape)
        mean_loss = F.cross_entropy(torch.vmap(logits)(weights, images).flatten(0, 1), labels[indices].flatten())
        # The sum of the networks' mean losses. Its gradient for one network is that of this network's mean loss.
        descend(mean_loss * len(trained))
    for i, network in enumerate(trained):
        network.load_state_dict({name: stacked[i] for name, stacked in weights.items()})
    return [network.eval() for network in trained]


def untrained(
    recipe: TrainingRecipe,
    shape: tuple[int, int, int],
    classes: int,
    generator: torch.Generator,
    networks: Networks = NETWORKS,
    custom: bool = False,
) -> Network:
    """Return a new network of the recipe's architecture. The parameters are those of `train`."""
    name, options = recipe.network["name"], recipe.network.get("options", {})
    return build(name, options, shape, classes, generator, networks=networks, custom=custom)


def gradient_descent(recipe: TrainingRecipe, weights: list[Tensor]) -> Callable[[Tensor], None]:
    """Return a function that makes one SGD step down a loss, in place, with the recipe's momentum and weight decay.

    It calls the function behind torch.optim.SGD. The class itself imports torch's compiler when the first optimiser is
    made, which doubles the start-up time of a process.
    """
    momenta: list[Tensor | None] = [None] * len(weights)
    rates = chain(repeat(recipe.learning_rate, recipe.steps // 2), repeat(recipe.learning_rate * 0.1))

    def descend(loss: Tensor) -> None:
        gradients = list(torch.autograd.grad(loss, weights))
        with torch.no_grad():
            sgd(
                weights,
                gradients,
                momenta,
                weight_decay=recipe.weight_decay,
                momentum=recipe.momentum,
                lr=next(rates),
                dampening=0.0,
                nesterov=False,
                maximize=False,
                foreach=True,
            )

    return descend


def _batches(recipe: TrainingRecipe, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices of every step, so that every example is used before any is used again."""
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(recipe.steps):
        if len(order) == 0:
            order = torch.randperm(count, generator=generator)
        batch, order = order[: recipe.batch_size], order[recipe.batch_size :]
        yield batch


# The predicted class of each image, (N,), and its probability, (N,).
Answers = tuple[Tensor, Tensor]


@torch.no_grad()
def predict(
    network: Network, rows: Pixels, count: int, *, device: torch.device, shifts: Sequence[Tensor | None] = (None,)
) -> list[Answers]:
    """Return the predicted classes and their probabilities for `count` images, for each shift of the logits.

    Parameters
    ----------
    shifts : what is added to the logits, (C,) each; None for nothing
    """
    batches: list[list[Answers]] = [[] for _ in shifts]
    # A batch for the CPU fits into its cache; one for the GPU is large enough to use all of it.
    for indices in torch.arange(count, device=device).split(8192 if device.type == "cuda" else 256):
        logits = network(rows(indices))
        for outputs, shift in zip(batches, shifts, strict=True):
            probability, predicted = (logits if shift is None else logits + shift).softmax(dim=1).max(dim=1)
            outputs.append((predicted.cpu(), probability.cpu()))
    return [(torch.cat([each[0] for each in outputs]), torch.cat([each[1] for each in outputs])) for outputs in batches]


class Normalised(torch.nn.Module):
    """A trained network that normalises its input: it takes pixels in [0, 1].

    Attributes
    ----------
    shift : what is added to the logits of the network, (classes,), to correct for the shares of the classes in the
        training data; zeros if the recipe does not correct. Subtract it to get the logits without the correction
    """

    shift: Tensor

    def __init__(self, network: Network, recipe: TrainingRecipe, shift: Tensor) -> None:
        super().__init__()
        self.network = network
        self.normalise = Normalisation(recipe.mean, recipe.std)
        self.register_buffer("shift", shift)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, classes) for pixels (N, channels, height, width) in [0, 1]."""
        logits: Tensor = self.network(self.normalise.apply(pixels)) + self.shift
        return logits


def train_on(
    distilled: DistilledSet,
    *,
    seed: int,
    device: str = "cpu",
    keep_freed_memory: bool = True,
    networks: Networks = MappingProxyType({}),
) -> Normalised:
    """Train a network on a distilled set by the recipe in its card, as the gate did.

    If the recipe has the class shares of the training data, the logits of the network are corrected for them.

    Parameters
    ----------
    seed : seed of weights, order and augmentation
    keep_freed_memory : whether this process keeps freed memory from now on, as for `fair_distill.distill`
    networks : custom networks by the name that the recipe uses, `{"package.module:callable": callable}`. A set cannot
        cause an import, so if its recipe names a custom network, import the network yourself and pass it here

    Raises
    ------
    ConfigError
        If the recipe names a network that is neither built in nor passed.
    IntegrityError
        If the source of the passed network is not the source whose digest the manifest records.
    """
    if keep_freed_memory:
        freed_memory.keep_freed_memory()
    recipe = distilled.card.recipe
    available = _available_networks(distilled, networks)
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
        networks=available,
    )
    shift = prior_shift(recipe, labels)
    if shift is None:
        shift = torch.zeros(len(distilled.card.classes), device=device)
    return Normalised(network, recipe, shift).eval()


def _available_networks(distilled: DistilledSet, passed: Networks) -> Networks:
    """Return the networks that a set's recipe can name: the built-in ones, and the passed one after a check."""
    name = distilled.card.recipe.network["name"]
    if name in NETWORKS or ":" not in name:
        return NETWORKS
    if name not in passed:
        raise ConfigError(
            f"the recipe of this set uses the custom network {name!r}, and a set never causes an import. "
            f"Import the network yourself and pass it: train(set, networks={{{name!r}: {name.rpartition(':')[2]}}})"
        )
    # A set that was not loaded from a registry has no manifest, and therefore no digest to compare with.
    if distilled.custom_digests is not None:
        recorded, passed_digest = (
            distilled.custom_digests.get(name, "no digest"),
            passed_source_digest(name, passed[name]),
        )
        if recorded != passed_digest:
            raise IntegrityError(
                f"the source of the network passed as {name!r} has SHA-256 {passed_digest}; the manifest of this set "
                f"records {recorded}. Pass the version of the network that the set was gated with"
            )
    return {**NETWORKS, name: passed[name]}
