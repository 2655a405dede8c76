"""The predictions of one network that was trained with several seeds, aligned by example."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fair_distill.errors import ConfigError, MeasurementError
from fair_distill.gate.bounds import Treatment
from fair_distill.gate.clusters import Clusters, effective_number, whole
from fair_distill.gate.confusion import Confusion, Floats, Ints, confusion
from fair_distill.gate.predictions import Predictions
from fair_distill.text import mixed_attribute

# Columns that describe the example, so that they are equal for all seeds.
_EXAMPLE_COLUMNS = ("label", "group", "pair", "cluster")
_EXAMPLE_ATTRIBUTES = ("examples", "labels", "group_indices", "pairs")
# The name of an unknown attribute value in the name of a group.
_UNKNOWN = "?"


@dataclass(frozen=True, eq=False)
class Rows:
    """The examples of some classes and groups.

    Attributes
    ----------
    indices : in increasing order if there are several cells
    clusters : the cluster of each example; None if every example is a cluster
    independent : the effective number of clusters, rounded down
    """

    indices: Ints
    clusters: Ints | None
    independent: int


@dataclass(frozen=True, eq=False)
class NetworkPredictions:
    """The predictions of one network. S seeds, N examples, C classes, G groups.

    Attributes
    ----------
    examples, labels, group_indices, pairs, clusters : int arrays (N,)
    predicted, probability : arrays (S, N); probabilities are NaN if they are unknown
    seed_numbers : the number of each seed in the predictions, (S,)
    examples_by_pair : int array (pairs, G) of examples if every pair has one example of each group; else None
    attributes, attribute_names : the values that define each group, see `Predictions`
    treatment : how bounds treat the networks of the seeds
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
    seed_numbers: tuple[int, ...]
    treatment: Treatment = "normal"
    _rows: dict[tuple[tuple[int, ...], tuple[int, ...]], "Rows"] = field(default_factory=dict, init=False, repr=False)

    def rows(self, classes: tuple[int, ...], groups: tuple[int, ...]) -> "Rows":
        """Return the examples of some classes in some groups. Results are cached, because clauses share them."""
        key = classes, groups
        if key not in self._rows:
            ends, n_groups = self.counts.cumsum(), len(self.groups)
            cells = [c * n_groups + g for c in classes for g in groups]
            indices = np.concatenate([self.by_cell[ends[cell] - self.counts.flat[cell] : ends[cell]] for cell in cells])
            if len(cells) > 1:
                indices.sort()
            clusters = self.clusters[indices]
            grouped = Clusters.of(clusters, len(indices))
            is_clustered = len(grouped.sizes) < len(indices)
            self._rows[key] = Rows(indices, clusters if is_clustered else None, grouped.independent)
        return self._rows[key]

    @cached_property
    def counts(self) -> Ints:
        """The number of examples per class and group, (C, G)."""
        shape = (len(self.classes), len(self.groups))
        return np.bincount(self.labels * shape[1] + self.group_indices, minlength=shape[0] * shape[1]).reshape(shape)

    @cached_property
    def by_cell(self) -> Ints:
        """The indices of the examples, sorted by class and then by group, (N,)."""
        return np.lexsort((self.group_indices, self.labels))

    @cached_property
    def evidence(self) -> Ints:
        """The number of independent examples (effective clusters) per class and group, (C, G)."""
        return independent_examples(self.labels, self.group_indices, self.clusters, self.counts.shape)

    @cached_property
    def clusters_span_groups(self) -> bool:
        """Whether some cluster has examples of several groups."""
        return is_divided(self.clusters, self.group_indices)

    @cached_property
    def clusters_span_classes(self) -> bool:
        """Whether some cluster has examples of several classes."""
        return is_divided(self.clusters, self.labels)

    @property
    def seeds(self) -> int:
        """The number of seeds, S."""
        return len(self.predicted)

    @property
    def has_probability(self) -> bool:
        """Whether the predictions have probabilities. Those of a model may have none."""
        return not bool(np.isnan(self.probability.flat[0]))

    def tables(self) -> list[Confusion]:
        """Return the counts of each seed."""
        return self._tables

    @cached_property
    def _tables(self) -> list[Confusion]:
        return [
            confusion(
                self.labels,
                self.group_indices,
                self.predicted[seed],
                classes=self.classes,
                groups=self.groups,
                probability=self.probability[seed] if self.has_probability else None,
            )
            for seed in range(self.seeds)
        ]

    def table(self) -> Confusion:
        """Return the counts, averaged over seeds."""
        return self.regrouped(self.group_indices, binned=True)

    def regrouped(self, group_indices: Ints, *, binned: bool = False) -> Confusion:
        """Return the counts, averaged over seeds, with other groups (N,) of the examples.

        Parameters
        ----------
        binned : also sum probability minus correctness per bin of confidence
        """
        total = confusion(
            np.tile(self.labels, self.seeds),
            np.tile(group_indices, self.seeds),
            self.predicted.ravel(),
            classes=self.classes,
            groups=self.groups,
            probability=self.probability.ravel() if self.has_probability else None,
            binned=binned,
        )
        return Confusion(
            total.counts / self.seeds,
            total.groups,
            total.classes,
            None if total.confidence is None else total.confidence / self.seeds,
            None if total.excess is None else total.excess / self.seeds,
        )


def independent_examples(labels: Ints, group_indices: Ints, clusters: Ints, shape: tuple[int, int]) -> Ints:
    """Return the effective number of clusters of every class and group, rounded down, (C, G)."""
    n_cells = shape[0] * shape[1]
    parts, sizes = np.unique(clusters * n_cells + labels * shape[1] + group_indices, return_counts=True)
    cells = parts % n_cells
    counts = np.bincount(cells, minlength=n_cells)
    if sizes.max(initial=1) > 1:
        counts = np.array([whole(effective_number(sizes[cells == cell].astype(float))) for cell in range(n_cells)])
    return counts.reshape(shape)


def is_divided(clusters: Ints, values: Ints) -> bool:
    """Return whether some cluster has examples of different values."""
    count = int(clusters.max(initial=-1)) + 1
    lowest, highest = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
    np.minimum.at(lowest, clusters, values)
    np.maximum.at(highest, clusters, values)
    return bool((lowest < highest).any())


def network_predictions(predictions: Predictions, network: int, treatment: Treatment = "normal") -> NetworkPredictions:
    """Return the predictions of one network, by its index.

    Raises
    ------
    MeasurementError
        If its seeds do not predict the same examples, or if rows contradict each other.
    """
    name = predictions.networks[network]
    columns = {key: column[predictions.columns["network"] == network] for key, column in predictions.columns.items()}
    order = np.lexsort((columns["example"], columns["seed"]))
    seeds, counts = np.unique(columns["seed"], return_counts=True)
    if len(set(counts.tolist())) > 1:
        raise MeasurementError(
            f"the seeds of {name} predict {', '.join(str(count) for count in counts)} examples, which must be equal; "
            "evaluate again"
        )
    rows = {key: column[order].reshape(len(seeds), -1) for key, column in columns.items()}
    for key in ("example", *_EXAMPLE_COLUMNS):
        if (rows[key] != rows[key][0]).any():
            raise MeasurementError(f"the seeds of {name} differ in the column {key!r} of the examples; evaluate again")
    of_examples = {key: rows[key][0].astype(np.int64) for key in ("example", *_EXAMPLE_COLUMNS)}
    if (np.diff(of_examples["example"]) == 0).any():
        raise MeasurementError(f"{name} predicts an example twice with one seed; evaluate again")
    for key, size in (("label", len(predictions.classes)), ("group", len(predictions.groups))):
        _check_range(of_examples[key], size, key)
    _check_range(rows["predicted"], len(predictions.classes), "prediction")
    probability = np.full(rows["predicted"].shape, np.nan)
    if "probability" in rows:
        probability = rows["probability"].astype(float)
        if not ((probability >= 0) & (probability <= 1 + 1e-6)).all():
            raise MeasurementError(f"{name} has a probability that is not between 0 and 1; evaluate again")
    _check_pairs(of_examples["pair"], of_examples["cluster"])
    return NetworkPredictions(
        network=name,
        classes=predictions.classes,
        groups=predictions.groups,
        examples=of_examples["example"],
        labels=of_examples["label"],
        group_indices=of_examples["group"],
        pairs=of_examples["pair"],
        clusters=np.unique(of_examples["cluster"], return_inverse=True)[1],
        predicted=rows["predicted"].astype(np.int64),
        probability=probability,
        examples_by_pair=_examples_by_pair(
            of_examples["pair"], of_examples["group"], of_examples["label"], len(predictions.groups)
        ),
        attributes=predictions.attributes,
        attribute_names=predictions.attribute_names,
        seed_numbers=tuple(seeds.tolist()),
        treatment=treatment,
    )


def of_seed(predictions: NetworkPredictions, s: int) -> NetworkPredictions:
    """Return the predictions of the network with the s-th seed, as the one that is judged."""
    one = replace(
        predictions,
        predicted=predictions.predicted[s : s + 1],
        probability=predictions.probability[s : s + 1],
        seed_numbers=predictions.seed_numbers[s : s + 1],
        treatment="given",
    )
    one._rows.update(predictions._rows)  # the examples are the same
    return one


def grouped_by(predictions: NetworkPredictions, attributes: Sequence[str], *, location: str) -> NetworkPredictions:
    """Return the predictions with the coarser groups that some attributes define, see `coarser`.

    A pair needs one example of each group, so a split may be paired for one grouping and not for another.
    """
    coarse_indices, names = coarser(predictions.attributes, predictions.attribute_names, attributes, location=location)
    groups = coarse_indices[predictions.group_indices]
    return replace(
        predictions,
        groups=names,
        group_indices=groups,
        examples_by_pair=_examples_by_pair(predictions.pairs, groups, predictions.labels, len(names)),
        attributes=tuple((name,) for name in names),
        attribute_names=(", ".join(attributes),),
    )


def coarser(
    attributes: Sequence[tuple[str | None, ...]],
    attribute_names: Sequence[str],
    selected: Sequence[str],
    *,
    location: str,
) -> tuple[Ints, tuple[str, ...]]:
    """Return the coarser group of each group, as indices, and the names of the coarser groups.

    A coarser group is a combination of values of the selected attributes. An unknown value counts as one value.

    Raises
    ------
    ConfigError
        With `location`, if an attribute does not exist or if all groups have the same values.
    """
    for name in selected:
        if mixed_attribute(name) in attribute_names:
            raise ConfigError(
                f"{location}: data.missing_cells.merge made one group of several values of {name!r}, so there are no "
                f"figures by {name!r}. Instead, merge or drop values of {name!r} with params.yaml: data.groups"
            )
        if name not in attribute_names:
            raise ConfigError(f"{location}: unknown attribute {name!r}; choose from {', '.join(attribute_names)}")
    columns = [list(attribute_names).index(name) for name in selected]
    values_of_groups = [
        tuple(_UNKNOWN if values[i] is None else str(values[i]) for i in columns) for values in attributes
    ]
    distinct = list(dict.fromkeys(values_of_groups))
    if len(distinct) < 2:
        raise ConfigError(
            f"{location}: all groups have the same value of {', '.join(selected)}, so there is nothing to compare; "
            "remove the clause"
        )
    return np.array([distinct.index(values) for values in values_of_groups]), tuple(map("×".join, distinct))


def same_examples(
    predictions: NetworkPredictions, reference: NetworkPredictions, *, name: str, seeds: bool = True
) -> None:
    """Raise MeasurementError unless `reference` predicts the same examples and, if `seeds`, has as many seeds."""
    same_names = predictions.classes == reference.classes and predictions.groups == reference.groups
    if (
        not same_names
        or len(predictions.examples) != len(reference.examples)
        or not all(
            np.array_equal(getattr(predictions, attribute), getattr(reference, attribute))
            for attribute in _EXAMPLE_ATTRIBUTES
        )
    ):
        raise MeasurementError(f"{name!r} does not predict the same examples; evaluate it again")
    if seeds and predictions.seeds != reference.seeds:
        raise MeasurementError(
            f"{name!r} was evaluated with {reference.seeds} seeds and the set with {predictions.seeds}; "
            "evaluate both with the same number"
        )


def _check_range(indices: NDArray[np.integer], size: int, noun: str) -> None:
    if indices.size and not 0 <= indices.min() <= indices.max() < size:
        raise MeasurementError(f"a {noun} is outside 0 to {size - 1}; evaluate again")


def _check_pairs(pairs: Ints, clusters: Ints) -> None:
    order = np.argsort(pairs, kind="stable")
    divided = (np.diff(pairs[order]) == 0) & (np.diff(clusters[order]) != 0)
    if divided.any():
        pair = pairs[order][np.flatnonzero(divided)[0]]
        raise MeasurementError(f"pair {pair} has examples of two clusters; a pair must be within one. Prepare again")


def _examples_by_pair(pairs: Ints, group_indices: Ints, labels: Ints, n_groups: int) -> Ints | None:
    """Return the examples of each pair by group, (pairs, G), or None if some pair lacks a group."""
    if len(pairs) == 0 or len(pairs) % n_groups:
        return None
    table = np.lexsort((group_indices, pairs)).reshape(-1, n_groups)
    complete = (
        (pairs[table] == pairs[table[:, :1]]).all()
        and (group_indices[table] == np.arange(n_groups)).all()
        and (labels[table] == labels[table[:, :1]]).all()
    )
    return table if complete else None
