"""Examples whose group is unknown: refuse them, drop them, or infer their group, before distillation starts.

To add a method, write a function and add its line to METHODS. N examples, C classes, G known groups, D features.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from fair_distill.config import Named
from fair_distill.data.folds import deal_folds, unit_of_each
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.majority_guess import MajorityComparison, compare_with_majority, majority_guess
from fair_distill.distillation.networks import Network, build
from fair_distill.distillation.sampling import normalisation, reader
from fair_distill.errors import DataError
from fair_distill.plugins import bind_options, resolve

ReadImages = Callable[[Tensor], Tensor]

_BATCH = 1024


@dataclass(frozen=True)
class InferredCell:
    """The inference of one class and group, and its measured quality.

    The quality is measured on examples whose group is known: each is predicted once while its group is hidden.
    `correct / predicted` is the precision of the cell and `correct / known` its recall, if the known examples are a
    fair sample of their class.

    Attributes
    ----------
    known : examples with this known group
    inferred : examples of unknown group that were assigned to this group
    predicted : known examples of the class that were predicted to be in this group
    correct : those of `predicted` whose group this is
    """

    label: int
    group: int
    known: int
    inferred: int
    predicted: int
    correct: int


@dataclass(frozen=True, eq=False)
class ResolvedGroups:
    """A dataset in which every group is known or inferred.

    Attributes
    ----------
    unknown_share : the share of examples whose group was unknown
    cells : the inference, by class and group; empty if nothing was inferred
    comparison : the accuracy of the inference and of the majority guess; None if they were not compared
    """

    dataset: GroupedDataset
    unknown_share: float = 0.0
    cells: tuple[InferredCell, ...] = ()
    comparison: MajorityComparison | None = None

    @property
    def accuracy(self) -> float | None:
        """The share of known examples that are predicted correctly while their group is hidden; None for no cells."""
        known = sum(cell.known for cell in self.cells)
        return sum(cell.correct for cell in self.cells) / known if known else None


@dataclass(frozen=True, eq=False)
class TrainingContext:
    """The network, the generator and the device with which a method can train a classifier of groups."""

    network: Named
    generator: torch.Generator
    device: torch.device


def refuse(dataset: GroupedDataset, context: TrainingContext) -> ResolvedGroups:
    """Raise DataError: nothing is distilled until every group is known."""
    known = dataset.known[dataset.group_indices]
    raise DataError(
        f"{(~known).sum()} of {len(dataset)} examples in train have no known group. Label them, or set params.yaml: "
        "distill.unknown to 'propagation' (infer the groups) or 'drop' (leave the examples out)"
    )


def drop(dataset: GroupedDataset, context: TrainingContext) -> ResolvedGroups:
    """Leave out the examples whose group is unknown."""
    return ResolvedGroups(dataset.of_known_groups(), _unknown_share(dataset))


def propagation(
    dataset: GroupedDataset,
    context: TrainingContext,
    *,
    steps: int,
    learning_rate: float,
    batch_size: int,
    neighbours: int,
    spread: Annotated[float, Field(gt=0, lt=1)],
    folds: Annotated[int, Field(ge=2)],
) -> ResolvedGroups:
    """Infer groups by label propagation on each class's graph of nearest neighbours.

    First, a network is briefly trained to predict the known groups. All cells have equal weight, so that the majority
    group of a class cannot be predicted from the class. Its predictions are the initial values of the propagation for
    examples of unknown group; known examples start at their group. Then, within each class, the examples are connected
    with their nearest neighbours in the features of the network, and labels spread along the graph: F ← αSF + (1−α)Y
    with S = D^−½ W D^−½ (Zhou et al., "Learning with local and global consistency", NeurIPS 2003). An example is
    assigned to the group with the largest value.

    Deviation: the initial values Y are soft. A thin cell has one known example or none, and the network transfers what
    other classes show about its group. The method uses neither a prior nor class-mass normalisation: the shares of
    thin cells cannot be estimated from so few examples, and wrong shares did harm in every measurement.

    An example with some known attributes is assigned to one of the groups with these attributes.

    The inference is measured on the known examples: each fold of them is hidden once, and the examples of one cluster
    are in the same fold, because the images of a person show the group of this person. Groups that are not inferred
    better than by the majority guess are refused.

    Parameters
    ----------
    steps, learning_rate, batch_size : of the network's training by SGD with momentum 0.9
    neighbours : nearest neighbours of each example within its class
    spread : α, the weight of the neighbours relative to the initial values
    folds : the number of folds of the known examples. Each fold is hidden once to measure the inference, at the cost of
        one inference

    Raises
    ------
    DataError
        If no group is known, if the known attributes of an example match no known group, or if the inference is not
        better than the majority guess.
    """
    groups = np.flatnonzero(dataset.known)
    truth = _positions(groups, len(dataset.groups))[dataset.group_indices]
    known = truth >= 0
    if not known.any():
        raise DataError(
            "no example in train has a known group, so groups cannot be inferred; label some examples of every group"
        )
    # While the group of a known example is hidden, every group is possible for it.
    possible = _possible_groups(dataset, groups)[dataset.group_indices] | known[:, None]

    read = reader(dataset.images, normalisation(dataset), context.device)

    def infer(labelled: Array) -> Array:
        network = _train_classifier(
            read, dataset, truth, labelled, context, len(groups), steps, learning_rate, batch_size
        )
        features, probabilities = _predict(network, read, len(dataset))
        trained = np.isin(np.arange(len(groups)), truth[labelled])
        allowed = np.where((possible & trained).any(axis=1, keepdims=True), possible & trained, possible)
        start = allowed * probabilities
        start[labelled] = np.eye(len(groups))[truth[labelled]]
        propagated = _propagate(start, features, dataset, neighbours, spread)
        # The known attributes of an example take precedence over its neighbours.
        return np.where(labelled, truth, np.where(possible, propagated, -1).argmax(axis=1))

    predicted, guessed = np.full(len(dataset), -1), np.full(len(dataset), -1)
    dimensions = {"classes": len(dataset.classes), "count": len(groups)}
    for hidden in _folds(dataset, known, folds, context.generator):
        predicted[hidden] = infer(known & ~hidden)[hidden]
        guessed[hidden] = majority_guess(dataset.labels, truth, known & ~hidden, **dimensions)[hidden]
    comparison = compare_with_majority(truth[known], predicted[known], guessed[known], unit_of_each(dataset)[known])
    # With a single known group there is nothing to infer, and no guess can be worse.
    if len(groups) > 1 and not comparison.is_better:
        raise DataError(
            f"distill.unknown: propagation is refused, because it is not better than the majority guess: "
            f"{comparison.sentence()}. Label more examples, or set params.yaml: distill.unknown to 'drop' (leave the "
            f"{(~known).sum():,} examples of unknown group out); `fair-distill gate explain` prints the worst case of "
            "unknown groups in the gate split"
        )
    result = infer(known)

    resolved = GroupedDataset.from_arrays(
        dataset.images,
        dataset.labels,
        result,
        classes=dataset.classes,
        groups=[dataset.groups[a] for a in groups],
        pairs=dataset.pairs,
        attributes=[dataset.attributes[a] for a in groups],
        schema=dataset.schema,
        attribute_names=dataset.attribute_names,
        clusters=dataset.clustered,
        ids=dataset.ids,
        weights=dataset.weights,
        missing_cells=dataset.missing_cells,
    )

    def count(rows: Array, groups_N: Array) -> Array:
        cells = dataset.labels[rows] * len(groups) + groups_N[rows]
        return np.bincount(cells, minlength=len(dataset.classes) * len(groups)).reshape(len(dataset.classes), -1)

    counts = [
        count(known, truth),
        count(~known, result),
        count(known, predicted),
        count(known & (predicted == truth), truth),
    ]
    cells = (
        InferredCell(label, group, *(int(array[label, group]) for array in counts))
        for label, group in np.ndindex(len(dataset.classes), len(groups))
    )
    return ResolvedGroups(resolved, _unknown_share(dataset), tuple(cells), comparison)


# To add a method, write a function of a dataset and a TrainingContext, and add its line here.
METHODS: dict[str, Callable[..., ResolvedGroups]] = {
    "refuse": refuse,
    "drop": drop,
    "propagation": propagation,
}


def resolve_unknown_groups(
    dataset: GroupedDataset, method: Named, network: Named, *, generator: torch.Generator, device: torch.device
) -> ResolvedGroups:
    """Return a dataset in which every group is known, by the given method.

    If all groups are known already, this returns the dataset unchanged, at no cost.

    Raises
    ------
    ConfigError
        If the method or an option is unknown.
    DataError
        If the method refuses the data.
    """
    bound = bind_options(
        resolve(method.name, METHODS, where="distill.unknown", custom=True),
        method.options,
        where=f"distill.unknown {method.name!r}",
        arguments=2,
    )
    if dataset.known[dataset.group_indices].all():
        return ResolvedGroups(dataset if dataset.known.all() else dataset.of_known_groups())
    return bound(dataset, TrainingContext(network, generator, device))


def _unknown_share(dataset: GroupedDataset) -> float:
    return float((~dataset.known[dataset.group_indices]).mean())


def _positions(chosen: Array, count: int) -> Array:
    """Return for each of `count` indices its position in `chosen`, or -1."""
    positions = np.full(count, -1)
    positions[chosen] = np.arange(len(chosen))
    return positions


def _possible_groups(dataset: GroupedDataset, groups: Array) -> Array:
    """Return which known groups agree with the known attributes of each group: bool (all groups, G)."""
    possible = np.array(
        [
            [
                all(v is None or v == known for v, known in zip(values, dataset.attributes[a], strict=True))
                for a in groups
            ]
            for values in dataset.attributes
        ]
    )
    for a in np.unique(dataset.group_indices):
        if not possible[a].any():
            raise DataError(
                f"the known attributes of group {dataset.groups[a]!r} match no group that is known in full; "
                "label some examples with these attributes, or set params.yaml: distill.unknown to 'drop'"
            )
    return possible


def _folds(dataset: GroupedDataset, known: Array, folds: int, generator: torch.Generator) -> Iterator[Array]:
    """Yield a mask of the known examples to hide, `folds` times. Each is hidden once; cells are spread over folds.

    Dependent examples, such as those of a cluster, are hidden together.

    Raises
    ------
    DataError
        If all known examples are in one cluster: then nothing is known while they are hidden.
    """
    rows = np.flatnonzero(known)
    shuffled = rows[torch.randperm(len(rows), generator=generator).numpy()]
    cells = dataset.labels[shuffled] * len(dataset.groups) + dataset.group_indices[shuffled]
    units = unit_of_each(dataset)[shuffled]
    if len(np.unique(units)) < 2:
        raise DataError(
            "all examples of known group in train are one cluster, so the inference of groups cannot be measured; "
            "label examples of other clusters, or set params.yaml: distill.unknown to 'drop'"
        )
    fold_of_row = np.full(len(dataset), -1)
    fold_of_row[shuffled] = deal_folds(cells, units, folds)
    for fold in range(folds):
        hidden = fold_of_row == fold
        if hidden.any():
            yield hidden


def _train_classifier(
    read: ReadImages,
    dataset: GroupedDataset,
    truth: Array,
    labelled: Array,
    context: TrainingContext,
    groups: int,
    steps: int,
    learning_rate: float,
    batch_size: int,
) -> Network:
    """Train a new network to predict the groups of the labelled examples. All cells are drawn equally often."""
    network = build(
        context.network.name, context.network.options, dataset.shape, groups, context.generator, custom=True
    )
    network = network.to(context.device)
    optimiser = torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=0.9)
    rows = np.flatnonzero(labelled)
    cells = dataset.labels[rows] * groups + truth[rows]
    weights = torch.from_numpy(1 / np.bincount(cells)[cells])
    for _ in range(steps):
        sample = torch.multinomial(weights, batch_size, replacement=True, generator=context.generator).numpy()
        targets = torch.from_numpy(truth[rows[sample]]).to(context.device)
        loss = F.cross_entropy(network(read(torch.from_numpy(rows[sample]))), targets)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
    return network


@torch.no_grad()
def _predict(network: Network, read: ReadImages, count: int) -> tuple[Array, Array]:
    """Return the features of all examples, (N, D), and their group probabilities, (N, G)."""
    features, probabilities = [], []
    for rows in torch.split(torch.arange(count), _BATCH):
        embedded = network.embed(read(rows))
        features.append(embedded.cpu())
        probabilities.append(network.classifier(embedded).softmax(dim=1).cpu())
    return torch.cat(features).numpy(), torch.cat(probabilities).double().numpy()


def _propagate(start_NG: Array, features_ND: Array, dataset: GroupedDataset, neighbours: int, spread: float) -> Array:
    """Return (1 − α)(I − αS)⁻¹ Y for every class, (N, G), by iteration to seven digits."""
    import scipy.sparse as sp
    from sklearn.neighbors import kneighbors_graph

    result = start_NG.copy()
    for label in range(len(dataset.classes)):
        rows = np.flatnonzero(dataset.labels == label)
        if len(rows) < 2:
            continue
        graph = kneighbors_graph(features_ND[rows], min(neighbours, len(rows) - 1))
        graph = graph.maximum(graph.T)
        scale = sp.diags(1 / np.sqrt(np.asarray(graph.sum(axis=1)).ravel()))
        transition = scale @ graph @ scale
        start = current = start_NG[rows]
        while True:
            updated = spread * (transition @ current) + (1 - spread) * start
            converged = np.abs(updated - current).max() < 1e-7
            current = updated
            if converged:
                break
        result[rows] = current
    return result
