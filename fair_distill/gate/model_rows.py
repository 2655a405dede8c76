"""The rows of a Parquet file with the predictions of a model of any framework, or with the labels of its examples.

One row of predictions is the prediction of one trained network for one example. docs/judging-models.md describes the
columns. Nothing is guessed: a column that is not part of the schema is refused, because a misspelt `cluster` would
make dependent examples look independent.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fair_distill.errors import ConfigError, MeasurementError
from fair_distill.formats import arrow
from fair_distill.gate.confusion import Floats, Ints
from fair_distill.gate.name_columns import NameColumn, read_integers, read_names, read_probabilities
from fair_distill.gate.predictions import Attributes

DEFAULT_NETWORK = "model"
MOST_CLASSES = MOST_GROUPS = MOST_NETWORKS = 1_000
# Counts are kept for each group, class and predicted class.
_MOST_COUNTS = 2**24
_OF_EXAMPLES = ("label", "cluster", "pair")
_OF_PREDICTIONS = ("predicted", "probability", "seed", "network")
_RESERVED = ("example", *_OF_EXAMPLES, *_OF_PREDICTIONS)
# pandas stores an index without a name in such a column.
_PANDAS_INDEX = re.compile(r"__index_level_[0-9]+__")


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a file. R rows. A column is None if the file does not have it.

    Attributes
    ----------
    file : the name of the file in messages
    group : the group of each row; its names are combinations of the values of the attributes, as in `f×dark`
    attributes : for each name in `group`, the values of the attributes
    predicted : the predicted class; None only in a file of labels
    probability : the probability of the predicted class, (R,)
    seed : int array (R,); indices into `seeds`
    seeds : the distinct seeds, sorted
    network : the name of the trained network
    """

    file: str
    example: NameColumn
    label: NameColumn | None
    group: NameColumn | None
    attributes: Attributes
    attribute_names: tuple[str, ...]
    cluster: NameColumn | None
    pair: NameColumn | None
    predicted: NameColumn | None
    probability: Floats | None
    seed: Ints
    seeds: tuple[str, ...]
    network: NameColumn

    def described(self) -> dict[str, NameColumn]:
        """Return the columns that describe the example, so that they do not depend on the network."""
        columns = {"label": self.label, "group": self.group, "cluster": self.cluster, "pair": self.pair}
        return {name: column for name, column in columns.items() if column is not None}


def read_predictions(content: bytes, *, file: str, attributes: Sequence[str] = ()) -> Rows:
    """Read predictions. Columns that describe the examples are optional here.

    Parameters
    ----------
    attributes : the columns whose combinations are the groups; by default the column `group`

    Raises
    ------
    MeasurementError
        If the file is not Parquet, or has a wrong column or value; with the column and the row.
    """
    return _read(content, (*_OF_EXAMPLES, *_OF_PREDICTIONS), ("predicted",), attributes, file=file)


def read_labels(content: bytes, *, file: str, attributes: Sequence[str] = ()) -> Rows:
    """Read the labels and groups of examples, without predictions. Each example has one row."""
    groups = tuple(attributes) or ("group",)
    rows = _read(content, _OF_EXAMPLES, ("label", *groups), attributes, file=file)
    counts = np.bincount(rows.example.codes)
    if (counts > 1).any():
        name = rows.example.names[int(counts.argmax())]
        twice = np.flatnonzero(rows.example.codes == counts.argmax()) + 1
        raise MeasurementError(
            f"{file}: example {name!r} is in rows {twice[0]} and {twice[1]}; each example needs one row"
        )
    return rows


def check_attributes(attributes: Sequence[str]) -> None:
    """Raise ConfigError for names of attributes that are doubled, or that are columns with another meaning."""
    for name in attributes:
        if name in _RESERVED or list(attributes).count(name) > 1:
            fault = "is a column with another meaning" if name in _RESERVED else "is listed twice"
            raise ConfigError(f"--groups: {name!r} {fault}; list the columns of the sensitive attributes, each once")


def _read(
    content: bytes, allowed: Sequence[str], required: Sequence[str], attributes: Sequence[str], *, file: str
) -> Rows:
    check_attributes(attributes)
    groups = tuple(attributes) or ("group",)
    table = _table(content, file=file)
    columns = [name for name in table.column_names if not _PANDAS_INDEX.fullmatch(name)]
    for name in columns:
        if name not in ("example", *allowed, *groups):
            raise MeasurementError(
                f"{file} has the column {name[:80]!r}; the columns are example, {', '.join((*allowed, *groups))}. "
                "Remove or rename it, or name the columns of the groups with --groups"
            )
    for name in ("example", *required):
        if name not in columns:
            hint = "; pandas writes no column for a default index, so use reset_index()" if name == "example" else ""
            raise MeasurementError(f"{file} has no column {name!r}; it has {', '.join(columns)}{hint}. Add it")
    names = {name: read_names(table, name, file=file) for name in columns if name not in ("probability", "seed")}
    _check_count(names, file=file)
    group, values = _groups(names, groups, file=file)
    seed = read_integers(table, "seed", file=file) if "seed" in columns else _constant("0", len(table))
    network = names.get("network", _constant(DEFAULT_NETWORK, len(table)))
    if len(seed.names) * len(network.names) > MOST_NETWORKS:
        raise MeasurementError(
            f"{file} has {len(network.names):,} networks and {len(seed.names):,} seeds; at most {MOST_NETWORKS:,} "
            "combinations are allowed"
        )
    return Rows(
        file=file,
        example=names["example"],
        label=names.get("label"),
        group=group,
        attributes=values,
        attribute_names=groups,
        cluster=names.get("cluster"),
        pair=names.get("pair"),
        predicted=names.get("predicted"),
        probability=read_probabilities(table, "probability", file=file) if "probability" in columns else None,
        seed=seed.codes,
        seeds=seed.names,
        network=network,
    )


def _table(content: bytes, *, file: str) -> pa.Table:
    try:
        return arrow.read_foreign_parquet(content, max_bytes=arrow.decoded_limit(content))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise MeasurementError(
            f"{file} is not a readable Parquet file: {' '.join(str(error).split())}. Write it with the defaults of "
            "pandas, polars or pyarrow"
        ) from None


def _check_count(names: dict[str, NameColumn], *, file: str) -> None:
    for column, limit in (("label", MOST_CLASSES), ("predicted", MOST_CLASSES)):
        count = len(names[column].names) if column in names else 0
        if count > limit:
            raise MeasurementError(
                f"{file}: column {column!r} has {count:,} different names; at most {limit:,} classes are allowed. "
                "Write the predicted class, not a score or an id"
            )


def _groups(names: dict[str, NameColumn], columns: Sequence[str], *, file: str) -> tuple[NameColumn | None, Attributes]:
    """Return the group of each row, and the values of the attributes for each group."""
    present = [name for name in columns if name in names]
    if not present:
        return None, ()
    if len(present) < len(columns):
        absent = next(name for name in columns if name not in names)
        raise MeasurementError(f"{file} has the column {present[0]!r} and no column {absent!r}. Add it")
    combined = np.zeros(len(names[columns[0]].codes), dtype=np.int64)
    combinations: list[tuple[str, ...]] = [()]
    for column in columns:
        values = names[column]
        # The codes are made dense after each column, so that their product cannot overflow.
        used, combined = np.unique(combined * len(values.names) + values.codes, return_inverse=True)
        combinations = [
            (*combinations[code // len(values.names)], values.names[code % len(values.names)]) for code in used.tolist()
        ]
        if len(combinations) > MOST_GROUPS:
            raise MeasurementError(
                f"{file}: {', '.join(columns)} define more than {MOST_GROUPS:,} groups. Use coarser attributes"
            )
    group_names = tuple(map("×".join, combinations))
    if len(set(group_names)) < len(group_names):
        raise MeasurementError(f"{file}: two groups have the name {_doubled(group_names)!r}. Rename an attribute value")
    return NameColumn(combined.astype(np.int64), group_names), tuple(combinations)


def _doubled(names: Sequence[str]) -> str:
    return next(name for name in names if list(names).count(name) > 1)


def _constant(name: str, rows: int) -> NameColumn:
    return NameColumn(np.zeros(rows, dtype=np.int64), (name,))


def check_size(classes: Sequence[str], groups: Sequence[str], *, file: str) -> None:
    """Raise MeasurementError for a single class or group, or if their counts would need too much memory."""
    for noun, names, option in (("class", classes, "--classes"), ("group", groups, "--groups")):
        if len(names) < 2:
            raise MeasurementError(
                f"{file} has the single {noun} {names[0]!r}, so there is nothing to compare; add examples of "
                f"others, or correct {option}"
            )
    if len(groups) * len(classes) ** 2 > _MOST_COUNTS:
        raise MeasurementError(
            f"{file} has {len(classes):,} classes and {len(groups):,} groups; groups × classes² may be at most "
            f"{_MOST_COUNTS:,}. Use coarser groups or classes"
        )
