"""Examples whose group is not known: what is done with them before anything is distilled.

A method is a function and a line in METHODS. N examples, C classes, G groups that are known, D features.
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
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.distillation.networks import Network, build
from fair_distill.distillation.sampling import normalisation, reader
from fair_distill.errors import DataError
from fair_distill.plugins import bind_options, resolve

Rows = Callable[[Tensor], Tensor]

_ROWS = 1024


@dataclass(frozen=True)
class InferredCell:
    """One class and group after inference, and how far to trust it.

    Attributes
    ----------
    known, inferred : examples whose group was known, and examples that were given this one
    guessed, right : of the known examples of the class, each inferred once while its group was hidden, how many were
        given this group, and how many of them rightly. So right / guessed is how pure the cell is, right / known how
        much of it is found, if what is known is a fair sample of its class
    """

    label: int
    group: int
    known: int
    inferred: int
    guessed: int
    right: int


@dataclass(frozen=True, eq=False)
class Resolved:
    """A dataset in which every group is known, or taken to be; and how it came to be so.

    Attributes
    ----------
    unknown : share of the examples whose group was not known
    cells : what was inferred; empty where nothing was
    """

    dataset: GroupedDataset
    unknown: float = 0.0
    cells: tuple[InferredCell, ...] = ()

    @property
    def accuracy(self) -> float | None:
        """Share of the known examples that are inferred rightly while their group is hidden."""
        known = sum(cell.known for cell in self.cells)
        return sum(cell.right for cell in self.cells) / known if known else None


@dataclass(frozen=True, eq=False)
class Learner:
    """What a method may learn with: the architecture, where it runs, and what it draws from."""

    network: Named
    generator: torch.Generator
    device: torch.device


def refuse(dataset: GroupedDataset, learner: Learner) -> Resolved:
    """Distil nothing until every group is known."""
    known = dataset.known[dataset.group_indices]
    raise DataError(
        f"{(~known).sum()} of {len(dataset)} examples in train have no known group; say in params.yaml: "
        "distill.unknown whether to infer them (propagation) or to leave them out (drop), or label them"
    )


def drop(dataset: GroupedDataset, learner: Learner) -> Resolved:
    """Distil from the examples whose group is known."""
    return Resolved(dataset.of_known_groups(), _share_unknown(dataset))


def propagation(
    dataset: GroupedDataset,
    learner: Learner,
    *,
    steps: int,
    learning_rate: float,
    batch_size: int,
    neighbours: int,
    spread: Annotated[float, Field(gt=0, lt=1)],
    folds: Annotated[int, Field(ge=2)],
) -> Resolved:
    """Infer groups by propagation over each class's graph of neighbours, in an embedding that knows of groups.

    A network is trained for a short time to tell the known groups, every cell counting alike, so that a class's own
    group cannot stand for its class. What it says of an example is where propagation starts; known examples start at
    their group. Within each class, whose examples are joined with their nearest neighbours in the features of that
    network, F ← αSF + (1−α)Y, S = D^−½ W D^−½ (Zhou et al., "Learning with local and global consistency", NeurIPS
    2003), and an example is of the group with most. We part from them in the soft start: a thin cell has one known
    example or none, and the network brings to it what other classes know of its group. No prior and no class-mass
    normalisation: the shares of thin cells are not known from so few, and wrong ones did harm wherever we measured.

    An example of which some attributes are known is given one of the groups that have them.

    Parameters
    ----------
    steps, learning_rate, batch_size : of the network; SGD with momentum 0.9
    neighbours : of every example in its class
    spread : α, how far what neighbours say counts against where an example started
    folds : parts of the known examples that are hidden one after the other, to see how often inference is right; each
        costs as much as the inference itself

    Raises
    ------
    DataError
        If no group is known, or what is known of an example's attributes fits no known group.
    """
    groups = np.flatnonzero(dataset.known)
    truth = _positions(groups, len(dataset.groups))[dataset.group_indices]
    known = truth >= 0
    if not known.any():
        raise DataError("no example in train has a known group, so none can be inferred; label some of every group")
    # A known example that is hidden may be of any group; while it is seen, nobody asks.
    possible = _possible(dataset, groups)[dataset.group_indices] | known[:, None]

    read = reader(dataset.images, normalisation(dataset), learner.device)

    def inferred(seen: Array) -> Array:
        network = _taught(read, dataset, truth, seen, learner, len(groups), steps, learning_rate, batch_size)
        features, says = _shown(network, read, len(dataset))
        taught = np.isin(np.arange(len(groups)), truth[seen])
        start = np.where((possible & taught).any(axis=1, keepdims=True), possible & taught, possible) * says
        start[seen] = np.eye(len(groups))[truth[seen]]
        spread_out = _spread(start, features, dataset, neighbours, spread)
        # What is known of an example stands above what its neighbours are.
        return np.where(seen, truth, np.where(possible, spread_out, -1).argmax(axis=1))

    guessed = np.full(len(dataset), -1)
    for hidden in _folds(dataset, known, folds, learner.generator):
        guessed[hidden] = inferred(known & ~hidden)[hidden]
    result = inferred(known)

    made = GroupedDataset.from_arrays(
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

    def count(rows: Array, groups_n: Array) -> Array:
        cells = dataset.labels[rows] * len(groups) + groups_n[rows]
        return np.bincount(cells, minlength=len(dataset.classes) * len(groups)).reshape(len(dataset.classes), -1)

    facts = [
        count(known, truth),
        count(~known, result),
        count(known, guessed),
        count(known & (guessed == truth), truth),
    ]
    cells = (
        InferredCell(label, group, *(int(fact[label, group]) for fact in facts))
        for label, group in np.ndindex(len(dataset.classes), len(groups))
    )
    return Resolved(made, _share_unknown(dataset), tuple(cells))


# The one place a method is added: write a function of a dataset and a learner, and add its line.
METHODS: dict[str, Callable[..., Resolved]] = {
    "refuse": refuse,
    "drop": drop,
    "propagation": propagation,
}


def with_known_groups(
    dataset: GroupedDataset, method: Named, network: Named, *, generator: torch.Generator, device: torch.device
) -> Resolved:
    """Return the dataset with every group known, as `method` says; as it is, at no cost, where all are known.

    Raises
    ------
    ConfigError, DataError
        If the method or an option is unknown, or the method refuses.
    """
    resolved = bind_options(
        resolve(method.name, METHODS, where="distill.unknown", custom=True),
        method.options,
        where=f"distill.unknown {method.name!r}",
        arguments=2,
    )
    if dataset.known[dataset.group_indices].all():
        return Resolved(dataset if dataset.known.all() else dataset.of_known_groups())
    return resolved(dataset, Learner(network, generator, device))


def _share_unknown(dataset: GroupedDataset) -> float:
    return float((~dataset.known[dataset.group_indices]).mean())


def _positions(chosen: Array, count: int) -> Array:
    """Return for each of `count` indices its position among the chosen, or -1."""
    positions = np.full(count, -1)
    positions[chosen] = np.arange(len(chosen))
    return positions


def _possible(dataset: GroupedDataset, groups: Array) -> Array:
    """Return which of the known groups each group may be, (all groups, G): those that agree with what is known."""
    possible = np.array(
        [
            [all(v is None or v == own for v, own in zip(values, dataset.attributes[a], strict=True)) for a in groups]
            for values in dataset.attributes
        ]
    )
    for a in np.unique(dataset.group_indices):
        if not possible[a].any():
            raise DataError(
                f"examples of group {dataset.groups[a]!r} fit none of the groups that are known in full; "
                "label some that have this value, or leave these out"
            )
    return possible


def _folds(dataset: GroupedDataset, known: Array, folds: int, generator: torch.Generator) -> Iterator[Array]:
    """Yield a mask of the known examples to hide, `folds` times; each is hidden once, cells are dealt out evenly."""
    rows = np.flatnonzero(known)
    shuffled = rows[torch.randperm(len(rows), generator=generator).numpy()]
    cells = dataset.labels[shuffled] * len(dataset.groups) + dataset.group_indices[shuffled]
    dealt = shuffled[np.argsort(cells, kind="stable")]
    for fold in range(folds):
        hidden = np.zeros(len(dataset), dtype=bool)
        hidden[dealt[fold::folds]] = True
        if hidden.any():
            yield hidden


def _taught(
    read: Rows,
    dataset: GroupedDataset,
    truth: Array,
    seen: Array,
    learner: Learner,
    groups: int,
    steps: int,
    learning_rate: float,
    batch_size: int,
) -> Network:
    """Train a new network to tell the groups of what is seen; every cell is drawn as often as any other."""
    named = learner.network
    network = build(named.name, named.options, dataset.shape, groups, learner.generator, custom=True)
    network = network.to(learner.device)
    optimiser = torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=0.9)
    rows = np.flatnonzero(seen)
    cells = dataset.labels[rows] * groups + truth[rows]
    weights = torch.from_numpy(1 / np.bincount(cells)[cells])
    for _ in range(steps):
        drawn = torch.multinomial(weights, batch_size, replacement=True, generator=learner.generator).numpy()
        wanted = torch.from_numpy(truth[rows[drawn]]).to(learner.device)
        loss = F.cross_entropy(network(read(torch.from_numpy(rows[drawn]))), wanted)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return network


@torch.no_grad()
def _shown(network: Network, read: Rows, count: int) -> tuple[Array, Array]:
    """Return the features of all examples, (N, D), and the probabilities of groups, (N, G)."""
    features, says = [], []
    for rows in torch.arange(count).split(_ROWS):
        embedded = network.embed(read(rows))
        features.append(embedded.cpu())
        says.append(network.classifier(embedded).softmax(dim=1).cpu())
    return torch.cat(features).numpy(), torch.cat(says).double().numpy()


def _spread(start_NG: Array, features_ND: Array, dataset: GroupedDataset, neighbours: int, spread: float) -> Array:
    """Return (1 − α)(I − αS)⁻¹ Y of every class, (N, G), by iteration to seven digits."""
    import scipy.sparse as sp
    from sklearn.neighbors import kneighbors_graph

    result = start_NG.copy()
    for label in range(len(dataset.classes)):
        rows = np.flatnonzero(dataset.labels == label)
        if len(rows) < 2:
            continue
        joined = kneighbors_graph(features_ND[rows], min(neighbours, len(rows) - 1))
        joined = joined.maximum(joined.T)
        scale = sp.diags(1 / np.sqrt(np.asarray(joined.sum(axis=1)).ravel()))
        walk = scale @ joined @ scale
        start = now = start_NG[rows]
        while True:
            onward = spread * (walk @ now) + (1 - spread) * start
            rests = np.abs(onward - now).max() < 1e-7
            now = onward
            if rests:
                break
        result[rows] = now
    return result
