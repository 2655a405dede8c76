"""The examples that a model predicts: their classes, groups, pairs and clusters, by name.

They come from the file of a gate split, from a file of labels that is stored separately, or from the columns of the
predictions themselves. Without the file of a split, a digest of these columns names the split.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fair_distill.errors import IntegrityError, MeasurementError
from fair_distill.files import sha256
from fair_distill.gate.binding import GateIndex
from fair_distill.gate.confusion import Ints
from fair_distill.gate.model_rows import Rows
from fair_distill.gate.name_columns import NameColumn


@dataclass(frozen=True, eq=False)
class JudgedExamples:
    """The examples of a split. N examples.

    Attributes
    ----------
    names : the name of each example; the index has the same order
    index : classes, groups, pairs and clusters, with the digest that names the split
    noun : the file that the classes and groups come from, for messages
    units : `cluster` or `pair`, and its name for each example; None if the examples have no such column
    """

    names: tuple[str, ...]
    index: GateIndex
    noun: str
    units: tuple[str, tuple[str, ...]] | None = None

    def with_names(self, classes: Sequence[str], groups: Sequence[str], *, source: str) -> "JudgedExamples":
        """Return the same examples with the classes and groups of a set, in the order of its card.

        A class or group of the set without an example stays empty, so clauses that need it are not passed.

        Raises
        ------
        IntegrityError
            If an example has a class or a group that the set does not have.
        """
        for noun, mine, theirs in (("class", self.index.classes, classes), ("group", self.index.groups, groups)):
            extra = [name for name in mine if name not in theirs]
            if extra:
                raise IntegrityError(
                    f"{self.noun} has the {noun} {extra[0]!r}; {source} has {', '.join(theirs)}. Use the names of the "
                    "set, or pass the set that the model was trained on"
                )
        absent = [name for name in groups if name not in self.index.groups]
        if absent and len(self.index.attribute_names) > 1:
            raise IntegrityError(
                f"{self.noun} has no example of the group {absent[0]!r}, which {source} has. Add examples of each group"
            )
        attributes = dict(zip(self.index.groups, self.index.attributes, strict=True))
        class_position, group_position = ({name: i for i, name in enumerate(names)} for names in (classes, groups))
        index = replace(
            self.index,
            classes=tuple(classes),
            groups=tuple(groups),
            attributes=tuple(attributes.get(name, (name,)) for name in groups),
            labels=np.array([class_position[name] for name in self.index.classes])[self.index.labels],
            group_indices=np.array([group_position[name] for name in self.index.groups])[self.index.group_indices],
        )
        return replace(self, index=index)


def examples_of(rows: Rows, *, classes: Sequence[str] = ()) -> JudgedExamples:
    """Return the examples that the columns of a file describe, sorted by name.

    Parameters
    ----------
    rows : with the columns of labels and groups. If an example has several rows, as in predictions of several seeds,
        they must agree
    classes : all classes, if some of them have no example; by default the classes of the labels

    Raises
    ------
    MeasurementError
        If two rows of an example differ, if a label is not one of `classes`, or if a pair has two clusters.
    """
    assert rows.label is not None
    assert rows.group is not None
    n = len(rows.example.names)
    order = sorted(range(n), key=rows.example.names.__getitem__)
    position = np.empty(n, dtype=np.int64)
    position[order] = np.arange(n)
    example = position[rows.example.codes]
    first = np.full(n, len(example), dtype=np.int64)
    np.minimum.at(first, example, np.arange(len(example)))
    for column, values in rows.described().items():
        differs = np.flatnonzero(values.codes != values.codes[first][example])
        if differs.size:
            row = int(differs[0])
            raise MeasurementError(
                f"{rows.file}: example {rows.example[row]!r} has the {column} {values[row]!r} in row {row + 1} and "
                f"{values[int(first[example[row]])]!r} in row {first[example[row]] + 1}; rows of one example must agree"
            )
    names = tuple(rows.example.names[i] for i in order)
    declared = tuple(classes) or rows.label.names
    unknown = [name for name in rows.label.names if name not in declared]
    if unknown:
        raise MeasurementError(
            f"{rows.file}: the label {unknown[0]!r} is not among the classes {', '.join(declared)}; add it to --classes"
        )
    pairs = np.arange(n) if rows.pair is None else partition(rows.pair.codes[first])
    clusters = pairs if rows.cluster is None else partition(rows.cluster.codes[first])
    _check_pairs(rows, pairs, clusters, first)
    group = rows.group.take(first)
    index = GateIndex(
        digest=_digest(names, rows.label.take(first), group, rows, pairs, clusters),
        classes=declared,
        groups=group.names,
        attributes=rows.attributes,
        attribute_names=rows.attribute_names,
        labels=rows.label.codes_in(declared)[first],
        group_indices=group.codes,
        pairs=pairs,
        clusters=clusters,
    )
    kind, related = ("cluster", rows.cluster) if rows.cluster is not None else ("pair", rows.pair)
    units = None if related is None else (kind, tuple(related.names[code] for code in related.codes[first].tolist()))
    return JudgedExamples(names, index, rows.file, units)


def partition(codes: NDArray[np.integer]) -> Ints:
    """Return for each example the first example with the same code, so that equal partitions are equal arrays."""
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], dtype=np.int64)


def _check_pairs(rows: Rows, pairs: Ints, clusters: Ints, first: Ints) -> None:
    divided = np.flatnonzero(clusters != clusters[pairs])
    if divided.size and rows.pair is not None and rows.cluster is not None:
        row = int(first[divided[0]])
        raise MeasurementError(
            f"{rows.file}: pair {rows.pair[row]!r} has examples of two clusters, one of them in row {row + 1}; a pair "
            "must be within one cluster"
        )


def _digest(names: Sequence[str], label: NameColumn, group: NameColumn, rows: Rows, pairs: Ints, clusters: Ints) -> str:
    """Return the digest of the examples in the order of their names. Names of pairs and clusters do not change it."""
    content = {
        "format": 1,
        "attributes": rows.attribute_names,
        "examples": names,
        "labels": [label.names[code] for code in label.codes.tolist()],
        "groups": [rows.attributes[code] for code in group.codes.tolist()],
        "pairs": pairs.tolist(),
        "clusters": clusters.tolist(),
    }
    return sha256(json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode())
