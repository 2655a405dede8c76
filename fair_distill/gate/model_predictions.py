"""The predictions of a model of any framework, matched with the examples of a split and ready to be judged.

A model is either given or sampled. A given model is the one that will be used: its verdict is about this model, and
only the choice of examples is uncertain. Networks that were trained with several seeds are a sample of a training
procedure: the verdict is about the mean over all networks that it could train, so their scatter counts too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fair_distill.card import DatasetCard
from fair_distill.errors import IntegrityError, MeasurementError
from fair_distill.files import sha256
from fair_distill.gate.confusion import Ints
from fair_distill.gate.judged_examples import JudgedExamples, partition
from fair_distill.gate.model_rows import Rows, check_size, read_predictions
from fair_distill.gate.predictions import Predictions

Networks = Literal["given", "sampled"]


def networks_of(rows: Rows, *, given: bool) -> Networks:
    """Return whether the networks in a file are judged one by one, or as a sample of a training procedure.

    Parameters
    ----------
    given : judge each network by itself, even if there are several seeds

    Raises
    ------
    MeasurementError
        If some networks have more seeds than others, so that it is unclear what is judged.
    """
    runs = _runs(rows)
    counts = np.bincount(np.unique(runs) // len(rows.seeds))
    if given or counts.max() == 1:
        return "given"
    if counts.min() < counts.max():
        few, many = rows.network.names[int(counts.argmin())], rows.network.names[int(counts.argmax())]
        raise MeasurementError(
            f"{rows.file}: network {few!r} has {counts.min()} seeds and {many!r} has {counts.max()}; write the same "
            "number for each network, or pass --given to judge every network by itself"
        )
    return "sampled"


def match(rows: Rows, examples: JudgedExamples, networks: Networks, *, content: bytes) -> Predictions:
    """Return the predictions of every network for exactly the given examples.

    Parameters
    ----------
    networks : "given" makes each seed of each network a separate network, so that the worst one decides
    content : the file of the rows; its SHA-256 names the model

    Raises
    ------
    IntegrityError
        If a row is about an example that is not given, or contradicts its class, group, pair or cluster.
    MeasurementError
        If a network does not predict every example exactly once, or predicts an unknown class.
    """
    assert rows.predicted is not None
    index = examples.index
    check_size(index.classes, index.groups, file=examples.noun)
    example = rows.example.codes_in(examples.names)
    _check_known(rows, example, examples)
    _check_columns(rows, example, examples)
    predicted = rows.predicted.codes_in(index.classes)
    unknown = np.flatnonzero(predicted < 0)
    if unknown.size:
        row = int(unknown[0])
        raise MeasurementError(
            f"{rows.file}: the prediction in row {row + 1} is {rows.predicted[row]!r}, which is not a class of "
            f"{examples.noun} ({_listed(index.classes)}). Correct the row, or add the class to --classes"
        )
    runs = _runs(rows)
    distinct, run = np.unique(runs, return_inverse=True)
    _check_complete(rows, run, example, examples, [_run_name(rows, int(number)) for number in distinct])
    if networks == "given":
        names = [_network_name(rows, int(number), distinct) for number in distinct]
        if len(set(names)) < len(names):
            raise MeasurementError(f"{rows.file}: the networks and seeds give the same name twice. Rename a network")
        network, seed = run, np.zeros_like(run)
    else:
        names, network, seed = list(rows.network.names), rows.network.codes, rows.seed
    columns: dict[str, NDArray[Any]] = {
        "example": example,
        "pair": index.pairs[example],
        "cluster": index.clusters[example],
        "label": index.labels[example],
        "group": index.group_indices[example],
        "seed": seed,
        "network": network,
        "predicted": predicted,
    }
    if rows.probability is not None:
        columns["probability"] = rows.probability
    return Predictions(
        set=sha256(content),
        split=index.digest,
        classes=index.classes,
        groups=index.groups,
        networks=tuple(names),
        columns=columns,
        attributes=index.attributes,
        attribute_names=index.attribute_names,
    )


def _runs(rows: Rows) -> Ints:
    """Return the number of each row's pair of network and seed, (R,)."""
    return np.asarray(rows.network.codes * len(rows.seeds) + rows.seed)


def _run_name(rows: Rows, run: int) -> str:
    network, seed = divmod(run, len(rows.seeds))
    name = f"network {rows.network.names[network]!r}"
    return f"{name} with seed {rows.seeds[seed]}" if len(rows.seeds) > 1 else name


def _network_name(rows: Rows, run: int, distinct: Ints) -> str:
    """Return the name of a run as a separate network."""
    network, seed = divmod(run, len(rows.seeds))
    only = (distinct // len(rows.seeds) == network).sum() == 1
    return rows.network.names[network] + ("" if only else f" seed {rows.seeds[seed]}")


def _check_known(rows: Rows, example: Ints, examples: JudgedExamples) -> None:
    unknown = np.flatnonzero(example < 0)
    if unknown.size:
        row = int(unknown[0])
        raise IntegrityError(
            f"{rows.file}: {len(np.unique(rows.example.codes[unknown])):,} examples are not in {examples.noun}, the "
            f"first of them {rows.example[row]!r} in row {row + 1}; {examples.noun} has {len(examples.names):,} "
            f"examples, such as {examples.names[0]!r}. Predict exactly these"
        )


def _check_columns(rows: Rows, example: Ints, examples: JudgedExamples) -> None:
    """Raise IntegrityError where a column of the rows contradicts the examples. Pairs and clusters may be renamed."""
    index = examples.index
    for name, column in rows.described().items():
        if name in ("label", "group"):
            classes, expected = (
                (index.classes, index.labels) if name == "label" else (index.groups, index.group_indices)
            )
            wrong = np.flatnonzero(column.codes_in(classes) != expected[example])
        else:
            expected = index.pairs if name == "pair" else index.clusters
            wrong = np.flatnonzero(partition(column.codes) != partition(expected[example]))
        if wrong.size:
            row = int(wrong[0])
            raise IntegrityError(
                f"{rows.file}: the {name} of example {rows.example[row]!r} in row {row + 1} is {column[row]!r}, which "
                f"differs from {examples.noun}. Export the predictions again, or leave the column out"
            )


def _check_complete(rows: Rows, run: Ints, example: Ints, examples: JudgedExamples, run_names: Sequence[str]) -> None:
    """Raise MeasurementError unless every run has exactly one row for each example."""
    n = len(examples.names)
    order = np.lexsort((example, run))
    key = (run * n + example)[order]
    twice = np.flatnonzero(np.diff(key) == 0)
    if twice.size:
        first, second = sorted(int(order[i]) + 1 for i in (twice[0], twice[0] + 1))
        raise MeasurementError(
            f"{rows.file}: {run_names[run[first - 1]]} predicts example {rows.example[first - 1]!r} twice, in rows "
            f"{first} and {second}. Write one row, and a column `seed` if several networks were trained"
        )
    counts = np.bincount(run, minlength=len(run_names))
    short = np.flatnonzero(counts < n)
    if short.size:
        number = int(short[0])
        missing = np.setdiff1d(np.arange(n), example[run == number])
        raise MeasurementError(
            f"{rows.file}: {run_names[number]} has no prediction for {len(missing):,} of the {n:,} examples of "
            f"{examples.noun}, the first of them {examples.names[missing[0]]!r}. Predict every example"
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (" and more" if len(names) > 10 else "")


@dataclass(frozen=True, eq=False)
class ModelEvaluation:
    """What `judge` needs to read the predictions of a model instead of those of a set.

    Attributes
    ----------
    file : the name of the file of predictions in messages
    examples : the examples that every file of predictions must cover
    networks : whether the networks are the ones that are judged, or a sample; see the module
    attributes : the columns whose combinations are the groups; empty for the column `group`
    card : the card of the set that the model was trained on, if any
    """

    file: str
    examples: JudgedExamples
    networks: Networks
    attributes: tuple[str, ...] = ()
    card: DatasetCard | None = None

    def read(self, content: bytes, *, name: str) -> Predictions:
        """Return the predictions in a file, called `name` in messages. Raises what `match` raises."""
        rows = read_predictions(content, file=name, attributes=self.attributes)
        return match(rows, self.examples, self.networks, content=content)
