"""What one network, trained with several seeds, answered to every example: aligned, so that rows can be paired."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fair_distill.errors import ConfigError, MeasurementError
from fair_distill.gate.confusion import Confusion, Floats, Ints, confusion
from fair_distill.gate.predictions import Predictions

_FACTS = ("label", "group", "pair", "cluster")
_ASKED = ("examples", "labels", "group_indices", "pairs")
# How a value that is not known is called where it is one of a group's.
_UNKNOWN = "?"


@dataclass(frozen=True, eq=False)
class Rows:
    """Some of the examples, in their order.

    Attributes
    ----------
    clusters : the cluster of each; None where each is its own
    distinct : how many clusters there are
    """

    at: Ints
    clusters: Ints | None
    distinct: int


@dataclass(frozen=True, eq=False)
class NetworkPredictions:
    """The answers of one network. S seeds, N examples, G groups.

    Attributes
    ----------
    examples, labels, group_indices, pairs, clusters : int arrays (N,)
    predicted, probability : arrays (S, N)
    examples_by_pair : int array (pairs, G) of examples, where every pair has one of each group; else None
    attributes, attribute_names : what groups are made of, see `Predictions`
    """

    network: str
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    examples: Ints
    labels: Ints
    group_indices: Ints
    pairs: Ints
    clusters: Ints
    predicted: Ints
    probability: Floats
    examples_by_pair: Ints | None
    attributes: tuple[tuple[str | None, ...], ...]
    attribute_names: tuple[str, ...]
    _found: dict[tuple[tuple[int, ...], tuple[int, ...]], "Rows"] = field(default_factory=dict, init=False, repr=False)

    def rows(self, classes: tuple[int, ...], groups: tuple[int, ...]) -> "Rows":
        """The examples of some classes in some groups; every clause asks for the same ones again, so they are kept."""
        key = classes, groups
        if key not in self._found:
            ends, many = self.counts.cumsum(), len(self.groups)
            cells = [c * many + g for c in classes for g in groups]
            at = np.concatenate([self.by_cell[ends[cell] - self.counts.flat[cell] : ends[cell]] for cell in cells])
            if len(cells) > 1:
                at.sort()
            clusters = self.clusters[at]
            distinct = len(np.unique(clusters)) if len(cells) > 1 else int(self.evidence[classes[0], groups[0]])
            self._found[key] = Rows(at, None if distinct == len(at) else clusters, distinct)
        return self._found[key]

    @cached_property
    def counts(self) -> Ints:
        """Examples per class and group, (C, G)."""
        shape = (len(self.classes), len(self.groups))
        return np.bincount(self.labels * shape[1] + self.group_indices, minlength=shape[0] * shape[1]).reshape(shape)

    @cached_property
    def by_cell(self) -> Ints:
        """The examples, sorted by class and within it by group."""
        return np.lexsort((self.group_indices, self.labels))

    @cached_property
    def evidence(self) -> Ints:
        """Independent examples per class and group, (C, G): the distinct clusters of each cell."""
        shape = (len(self.classes), len(self.groups))
        cells = self.labels * shape[1] + self.group_indices
        distinct = np.unique(self.clusters * (shape[0] * shape[1]) + cells)
        return np.bincount(distinct % (shape[0] * shape[1]), minlength=shape[0] * shape[1]).reshape(shape)

    @property
    def seeds(self) -> int:
        return len(self.predicted)

    def tables(self) -> list[Confusion]:
        """The counts of each seed."""
        return [
            confusion(
                self.labels,
                self.group_indices,
                self.predicted[seed],
                classes=self.classes,
                groups=self.groups,
                probability=self.probability[seed],
            )
            for seed in range(self.seeds)
        ]

    def table(self) -> Confusion:
        """The counts, averaged over seeds."""
        return self.regrouped(self.group_indices)

    def regrouped(self, group_indices: Ints) -> Confusion:
        """The counts, averaged over seeds, if the examples were of other groups."""
        whole = confusion(
            np.tile(self.labels, self.seeds),
            np.tile(group_indices, self.seeds),
            self.predicted.ravel(),
            classes=self.classes,
            groups=self.groups,
            probability=self.probability.ravel(),
        )
        assert whole.confidence is not None
        return Confusion(whole.counts / self.seeds, whole.groups, whole.classes, whole.confidence / self.seeds)


def network_predictions(predictions: Predictions, network: int) -> NetworkPredictions:
    """Return the answers of one network.

    Raises
    ------
    MeasurementError
        If its seeds were not asked about the same examples, or the rows contradict each other.
    """
    name = predictions.networks[network]
    columns = {key: column[predictions.columns["network"] == network] for key, column in predictions.columns.items()}
    order = np.lexsort((columns["example"], columns["seed"]))
    seeds, counts = np.unique(columns["seed"], return_counts=True)
    if len(set(counts.tolist())) > 1:
        raise MeasurementError(
            f"the seeds of {name} answered {', '.join(str(count) for count in counts)} examples; evaluate again"
        )
    rows = {key: column[order].reshape(len(seeds), -1) for key, column in columns.items()}
    for key in ("example", *_FACTS):
        if (rows[key] != rows[key][0]).any():
            raise MeasurementError(f"the seeds of {name} were asked about examples of different {key}; evaluate again")
    facts = {key: rows[key][0].astype(np.int64) for key in ("example", *_FACTS)}
    if (np.diff(facts["example"]) == 0).any():
        raise MeasurementError(f"{name} answered an example twice with one seed; evaluate again")
    for key, size in (("label", len(predictions.classes)), ("group", len(predictions.groups))):
        _within(facts[key], size, key)
    _within(rows["predicted"], len(predictions.classes), "prediction")
    probability = rows["probability"].astype(float)
    if not ((probability >= 0) & (probability <= 1 + 1e-6)).all():
        raise MeasurementError(f"a probability of {name} is no number from 0 to 1; evaluate again")
    _nested(facts["pair"], facts["cluster"])
    return NetworkPredictions(
        network=name,
        classes=predictions.classes,
        groups=predictions.groups,
        examples=facts["example"],
        labels=facts["label"],
        group_indices=facts["group"],
        pairs=facts["pair"],
        clusters=np.unique(facts["cluster"], return_inverse=True)[1],
        predicted=rows["predicted"].astype(np.int64),
        probability=probability,
        examples_by_pair=_by_pair(facts["pair"], facts["group"], facts["label"], len(predictions.groups)),
        attributes=predictions.attributes,
        attribute_names=predictions.attribute_names,
    )


def grouped_by(own: NetworkPredictions, by: Sequence[str], *, where: str) -> NetworkPredictions:
    """Return the answers with coarser groups, see `coarser`.

    Which examples are pairs may change with the groups: one of a pair in each of them is wanted.
    """
    kept, names = coarser(own.attributes, own.attribute_names, by, where=where)
    groups = kept[own.group_indices]
    return replace(
        own,
        groups=names,
        group_indices=groups,
        examples_by_pair=_by_pair(own.pairs, groups, own.labels, len(names)),
        attributes=tuple((name,) for name in names),
        attribute_names=(", ".join(by),),
    )


def coarser(
    attributes: Sequence[tuple[str | None, ...]], attribute_names: Sequence[str], by: Sequence[str], *, where: str
) -> tuple[Ints, tuple[str, ...]]:
    """Return for each group the coarser one it is part of, and those groups' names: some attributes' combinations.

    What is not known of an attribute is a value of its own. Raises ConfigError, with `where`, if there is no such
    attribute or nothing to compare.
    """
    for name in by:
        if name not in attribute_names:
            raise ConfigError(f"{where}: there is no attribute {name!r}; choose from {', '.join(attribute_names)}")
    places = [list(attribute_names).index(name) for name in by]
    made_of = [tuple(_UNKNOWN if values[i] is None else str(values[i]) for i in places) for values in attributes]
    kept = list(dict.fromkeys(made_of))
    if len(kept) < 2:
        raise ConfigError(f"{where}: all groups have one value of {', '.join(by)}; there is nothing to compare")
    return np.array([kept.index(values) for values in made_of]), tuple("×".join(values) for values in kept)


def same_examples(own: NetworkPredictions, other: NetworkPredictions, *, name: str, seeds: bool = True) -> None:
    """Raise MeasurementError unless `other` predicts the same examples and, if `seeds`, has as many seeds."""
    same = own.classes == other.classes and own.groups == other.groups and len(own.examples) == len(other.examples)
    if not same or not all(np.array_equal(getattr(own, fact), getattr(other, fact)) for fact in _ASKED):
        raise MeasurementError(f"{name!r} was not asked about the same examples; evaluate it again")
    if seeds and own.seeds != other.seeds:
        raise MeasurementError(
            f"{name!r} was evaluated with {other.seeds} seeds and the set with {own.seeds}; evaluate both alike"
        )


def _within(indices: NDArray[np.integer], size: int, what: str) -> None:
    if indices.size and not 0 <= indices.min() <= indices.max() < size:
        raise MeasurementError(f"a {what} lies outside 0 to {size - 1}; evaluate again")


def _nested(pairs: Ints, clusters: Ints) -> None:
    order = np.argsort(pairs, kind="stable")
    torn = (np.diff(pairs[order]) == 0) & (np.diff(clusters[order]) != 0)
    if torn.any():
        pair = pairs[order][np.flatnonzero(torn)[0]]
        raise MeasurementError(f"pair {pair} lies in two clusters; a pair is one piece of evidence")


def _by_pair(pairs: Ints, groups: Ints, labels: Ints, n_groups: int) -> Ints | None:
    """Return the examples of each pair by group, or None where the split is not paired throughout."""
    if len(pairs) == 0 or len(pairs) % n_groups:
        return None
    table = np.lexsort((groups, pairs)).reshape(-1, n_groups)
    whole = (
        (pairs[table] == pairs[table[:, :1]]).all()
        and (groups[table] == np.arange(n_groups)).all()
        and (labels[table] == labels[table[:, :1]]).all()
    )
    return table if whole else None
