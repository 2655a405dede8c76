"""predictions.parquet: what every trained network said of every gate example. Enough to judge again without a GPU.

One row per example, seed and network, bound by digests to the set that was trained on and the split.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fair_distill.errors import MeasurementError
from fair_distill.files import is_sha256, parse_json, to_json
from fair_distill.formats import arrow
from fair_distill.gate.confusion import Confusion, confusion

_KEY = b"fair_distill"
_COLUMNS = {
    "example": pa.int32(),
    "pair": pa.int64(),
    "cluster": pa.int64(),
    "label": pa.int16(),
    "group": pa.int16(),
    "seed": pa.int16(),
    "network": pa.int16(),
    "predicted": pa.int16(),
    "probability": pa.float32(),
}
_SCHEMA = pa.schema(list(_COLUMNS.items()))
_BEFORE_CLUSTERS = _SCHEMA.remove(_SCHEMA.get_field_index("cluster"))


def _check_about(about: Mapping[str, Any]) -> None:
    """Raise ValueError unless every value that predictions have about themselves has its type."""
    for key in ("set", "split"):
        if not is_sha256(about[key]):
            raise ValueError(f"{key} is {about[key]!r}; a SHA-256 has 64 lower-case hex digits")
    for key in ("classes", "groups", "networks", "attribute_names"):
        names = about.get(key, []) if key == "attribute_names" else about[key]
        if not (isinstance(names, list) and all(map(_is_name, names)) and len(set(names)) == len(names)):
            raise ValueError(f"{key} is {names!r}; a list of different names is needed")
    attributes = about.get("attributes", [])
    if not (
        isinstance(attributes, list)
        and all(isinstance(values, list) for values in attributes)
        and all(value is None or _is_name(value) for values in attributes for value in values)
    ):
        raise ValueError(f"attributes is {attributes!r}; a list of names, or null, is needed for each group")
    for key, kind in (("own", str), ("options", dict)):
        named = about.get(key, {})
        if not (isinstance(named, dict) and all(isinstance(value, kind) for value in named.values())):
            raise ValueError(f"{key} is {named!r}; an object is needed, with a {kind.__name__} for each name")
    options = about.get("options", {})
    if not set(options) <= set(about["networks"]) or any("name" in of for of in options.values()):
        raise ValueError(f"options has {', '.join(options)}; the networks are {', '.join(about['networks'])}")


def _one_line(error: Exception) -> str:
    """Return an error's text without the line breaks of Arrow and Thrift."""
    return " ".join(str(error).split())


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


@dataclass(frozen=True)
class Header:
    """What predictions say about themselves, without their rows.

    Attributes
    ----------
    seeds : of the network that has fewest
    """

    set: str
    split: str
    networks: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]]
    seeds: int


def read_header(content: bytes, *, name: str) -> Header:
    """Read the header of predictions, and of their rows only which networks and seeds there are.

    Raises MeasurementError, with `name` in the message, for anything that is not a file of predictions or has no rows.
    """
    try:
        runs = ("network", "seed")
        table = arrow.read_parquet_bounded(content, _COLUMNS, max_bytes=arrow.decoded_limit(content), only=runs)
        about = parse_json((table.schema.metadata or {})[_KEY], name=name, error=MeasurementError)
        _check_about(about)
        network, seed = (arrow.view(table.column(key).combine_chunks()) for key in runs)
        if not len(network):
            raise ValueError("it has no rows")
        counts = np.unique([run for run, _ in _runs(network, seed)], return_counts=True)[1]
        options = {key: dict(value) for key, value in about.get("options", {}).items()}
        return Header(about["set"], about["split"], tuple(about["networks"]), options, int(counts.min()))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise MeasurementError(
            f"{name} is not a file of predictions: {_one_line(error)}; evaluate the set again"
        ) from None


def _runs(network: NDArray[Any], seed: NDArray[Any]) -> list[tuple[int, int]]:
    """Return the distinct pairs of network and seed, in order."""
    keys = np.unique(network.astype(np.int64) * 2**16 + (seed.astype(np.int64) + 2**15))
    return [(int(key) >> 16, (int(key) & 0xFFFF) - 2**15) for key in keys]


Attributes = tuple[tuple[str | None, ...], ...]


def named_attributes(
    groups: tuple[str, ...], attributes: Attributes, names: tuple[str, ...]
) -> tuple[Attributes, tuple[str, ...]]:
    """Return the attributes of groups and the attributes' names, with the defaults where there are none."""
    attributes = attributes or tuple((name,) for name in groups)
    many = len(attributes[0]) if attributes else 1
    return attributes, names or (("group",) if many == 1 else tuple(f"attribute{i}" for i in range(1, many + 1)))


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions and what they are predictions of.

    Attributes
    ----------
    set : version (manifest SHA-256) of the set the networks were trained on
    split : SHA-256 of the gate split's file
    columns : one array per column; label, group, predicted, network are indices into the names below. Examples of
        one `cluster` (a person, a writer) are one piece of evidence; without the column, each pair is a cluster
    attributes : for each group the values that make it up, None where one is not known; without them, its name
    attribute_names : what these are values of
    own : SHA-256 of the source of every network of one's own (`package.module:callable`), by its name
    options : of every network, by its name: two of one name and other widths are other networks
    """

    set: str
    split: str
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    networks: tuple[str, ...]
    columns: dict[str, NDArray[Any]]
    attributes: Attributes = ()
    attribute_names: tuple[str, ...] = ()
    own: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        attributes, names = named_attributes(self.groups, self.attributes, self.attribute_names)
        object.__setattr__(self, "attributes", attributes)
        object.__setattr__(self, "attribute_names", names)
        if "cluster" not in self.columns:
            object.__setattr__(self, "columns", {**self.columns, "cluster": self.columns["pair"]})

    def __len__(self) -> int:
        return len(self.columns["label"])

    @property
    def marginals(self) -> tuple[str, ...]:
        """Where groups have several attributes, those of which there are several values to compare."""
        if len(self.attribute_names) < 2:
            return ()
        columns = zip(self.attribute_names, zip(*self.attributes, strict=True), strict=True)
        return tuple(name for name, values in columns if len(set(values)) > 1)

    def runs(self) -> list[tuple[int, int]]:
        """The (network, seed) runs that are here, in order."""
        return _runs(self.columns["network"], self.columns["seed"])

    def confusion(self, network: int, seed: int) -> Confusion:
        """The counts of one run."""
        of_run = (self.columns["network"] == network) & (self.columns["seed"] == seed)
        label, group, predicted = (
            self.columns[name][of_run].astype(np.int64) for name in ("label", "group", "predicted")
        )
        return confusion(
            label,
            group,
            predicted,
            classes=self.classes,
            groups=self.groups,
            probability=self.columns["probability"][of_run],
        )

    def to_parquet(self) -> bytes:
        about = {
            "set": self.set,
            "split": self.split,
            "classes": self.classes,
            "groups": self.groups,
            "networks": self.networks,
            "attributes": self.attributes,
            "attribute_names": self.attribute_names,
            "own": dict(self.own),
            "options": {name: dict(of) for name, of in self.options.items()},
        }
        schema = _SCHEMA.with_metadata({_KEY: to_json(about)})
        arrays = [arrow.array(self.columns[name], kind) for name, kind in _COLUMNS.items()]
        sink = io.BytesIO()
        pq.write_table(pa.table(arrays, schema=schema), sink, compression="zstd")
        return sink.getvalue()

    @classmethod
    def from_parquet(cls, content: bytes, *, name: str = "predictions") -> "Predictions":
        """Read what `to_parquet` wrote. Raises MeasurementError, with `name` in the message, for anything else."""
        try:
            table = arrow.read_parquet_bounded(content, _COLUMNS, max_bytes=arrow.decoded_limit(content))
            known = table.schema.equals(_SCHEMA) or table.schema.equals(_BEFORE_CLUSTERS)
            if not known or any(column.null_count for column in table.columns):
                wanted = ", ".join(f"{column} {kind}" for column, kind in _COLUMNS.items())
                raise ValueError(f"wanted the columns {wanted} without nulls")
            about = parse_json((table.schema.metadata or {})[_KEY], name=name, error=MeasurementError)
            _check_about(about)
            columns = {key: arrow.view(table.column(key).combine_chunks()) for key in table.column_names}
            spoken, named = np.unique(columns["network"]).tolist(), len(about["networks"])
            # A row of a network that has no name would be judged by nobody, and so would a network without rows.
            if spoken and spoken != list(range(named)):
                raise ValueError(f"{named} networks are named, those with rows have the numbers {spoken}")
            read = cls(
                set=about["set"],
                split=about["split"],
                classes=tuple(about["classes"]),
                groups=tuple(about["groups"]),
                networks=tuple(about["networks"]),
                columns=columns,
                attributes=tuple(tuple(values) for values in about.get("attributes", ())),
                attribute_names=tuple(about.get("attribute_names", ())),
                own=dict(about.get("own", {})),
                options=dict(about.get("options", {})),
            )
            many = len(read.attribute_names)
            if len(read.attributes) != len(read.groups) or any(len(values) != many for values in read.attributes):
                raise ValueError(f"{len(read.groups)} groups of {many} attributes each have other values")
            return read
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise MeasurementError(f"{name} is not a file of predictions: {_one_line(error)}") from None
