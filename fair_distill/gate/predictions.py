"""predictions.parquet: the predictions of every trained network for every example of the gate split.

There is one row per example, seed and network. The metadata names the set and the split by digest, so the set can be
judged again without a GPU.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fair_distill.errors import MeasurementError
from fair_distill.files import is_sha256, parse_json, to_json
from fair_distill.formats import arrow
from fair_distill.gate.confusion import Confusion, confusion

_METADATA_KEY = b"fair_distill"
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
# Predictions of the same networks without the correction for the shares of the classes, if there is a correction.
UNCORRECTED = ("uncorrected_predicted", "uncorrected_probability")
_UNCORRECTED_COLUMNS = dict(zip(UNCORRECTED, (pa.int16(), pa.float32()), strict=True))
_SCHEMA = pa.schema(list(_COLUMNS.items()))
_UNCORRECTED_SCHEMA = pa.schema(list((_COLUMNS | _UNCORRECTED_COLUMNS).items()))
# Files of older releases have no column `cluster`.
_SCHEMA_WITHOUT_CLUSTERS = _SCHEMA.remove(_SCHEMA.get_field_index("cluster"))


@dataclass(frozen=True)
class Header:
    """The metadata of a predictions file, without its rows.

    Attributes
    ----------
    options : the options of every network, by its name
    seeds : number of seeds of the network that has fewest
    """

    set: str
    split: str
    networks: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]]
    seeds: int


def read_header(content: bytes, *, name: str) -> Header:
    """Read the metadata of predictions, and only the columns `network` and `seed` of their rows.

    Raises
    ------
    MeasurementError
        With `name` in the message, if the content is not a valid file of predictions or has no rows.
    """
    try:
        run_columns = ("network", "seed")
        max_bytes = arrow.decoded_limit(content)
        allowed = _COLUMNS | _UNCORRECTED_COLUMNS
        table = arrow.read_parquet_bounded(content, allowed, max_bytes=max_bytes, only=run_columns)
        metadata = parse_json((table.schema.metadata or {})[_METADATA_KEY], name=name, error=MeasurementError)
        _check_metadata(metadata)
        network, seed = (arrow.view(table.column(key).combine_chunks()) for key in run_columns)
        if not len(network):
            raise ValueError("it has no rows")
        counts = np.unique([run for run, _ in _runs(network, seed)], return_counts=True)[1]
        options = {key: dict(value) for key, value in metadata.get("options", {}).items()}
        return Header(metadata["set"], metadata["split"], tuple(metadata["networks"]), options, int(counts.min()))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise MeasurementError(
            f"{name} is not a file of predictions: {_one_line(error)}; evaluate the set again"
        ) from None


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    """Raise ValueError unless every value of the metadata has its type."""
    for key in ("set", "split"):
        if not is_sha256(metadata[key]):
            raise ValueError(f"{key} is {metadata[key]!r}; a SHA-256 has 64 lower-case hex digits")
    for key in ("classes", "groups", "networks", "attribute_names"):
        names = metadata.get(key, []) if key == "attribute_names" else metadata[key]
        if not (isinstance(names, list) and all(map(_is_name, names)) and len(set(names)) == len(names)):
            raise ValueError(f"{key} is {names!r}; a list of different names is needed")
    attributes = metadata.get("attributes", [])
    if not (
        isinstance(attributes, list)
        and all(isinstance(values, list) for values in attributes)
        and all(value is None or _is_name(value) for values in attributes for value in values)
    ):
        raise ValueError(f"attributes is {attributes!r}; a list of names, or null, is needed for each group")
    for key, kind in (("own", str), ("options", dict)):
        by_network = metadata.get(key, {})
        if not (isinstance(by_network, dict) and all(isinstance(value, kind) for value in by_network.values())):
            raise ValueError(f"{key} is {by_network!r}; an object is needed, with a {kind.__name__} for each name")
    options = metadata.get("options", {})
    if not set(options) <= set(metadata["networks"]) or any("name" in each for each in options.values()):
        raise ValueError(f"options has {', '.join(options)}; the networks are {', '.join(metadata['networks'])}")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _one_line(error: Exception) -> str:
    """Return the text of an error without the line breaks of Arrow and Thrift."""
    return " ".join(str(error).split())


def _runs(network: NDArray[Any], seed: NDArray[Any]) -> list[tuple[int, int]]:
    """Return the distinct pairs of network and seed, in order."""
    keys = np.unique(network.astype(np.int64) * 2**16 + (seed.astype(np.int64) + 2**15))
    return [(int(key) >> 16, (int(key) & 0xFFFF) - 2**15) for key in keys]


Attributes = tuple[tuple[str | None, ...], ...]


def named_attributes(
    groups: tuple[str, ...], attributes: Attributes, names: tuple[str, ...]
) -> tuple[Attributes, tuple[str, ...]]:
    """Return the attributes of groups and the names of the attributes, with defaults for those that are missing."""
    attributes = attributes or tuple((name,) for name in groups)
    count = len(attributes[0]) if attributes else 1
    return attributes, names or (("group",) if count == 1 else tuple(f"attribute{i}" for i in range(1, count + 1)))


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of every network and seed for every example of a split.

    Attributes
    ----------
    set : version (SHA-256 of the manifest) of the set that the networks were trained on
    split : SHA-256 of the file of the gate split
    columns : one array per column; label, group, predicted, network are indices into the names below. If predictions
        are corrected for the shares of the classes, UNCORRECTED has those without the correction. Examples of one
        `cluster` (a person, a writer) are one piece of evidence; without this column, each pair is a cluster
    attributes : the attribute values that define each group, None if one is unknown; by default the name of the group
    attribute_names : the names of the attributes
    custom_digests : SHA-256 of the source of each custom network (`package.module:callable`), by its name
    options : the options of every network, by its name
    """

    set: str
    split: str
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    networks: tuple[str, ...]
    columns: dict[str, NDArray[Any]]
    attributes: Attributes = ()
    attribute_names: tuple[str, ...] = ()
    custom_digests: Mapping[str, str] = field(default_factory=dict)
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
        """The attributes with several values; none if groups have a single attribute."""
        if len(self.attribute_names) < 2:
            return ()
        columns = zip(self.attribute_names, zip(*self.attributes, strict=True), strict=True)
        return tuple(name for name, values in columns if len(set(values)) > 1)

    def runs(self) -> list[tuple[int, int]]:
        """Return the distinct (network, seed) pairs, in order."""
        return _runs(self.columns["network"], self.columns["seed"])

    def confusion(self, network: int, seed: int) -> Confusion:
        """Return the counts of one run."""
        in_run = (self.columns["network"] == network) & (self.columns["seed"] == seed)
        label, group, predicted = (
            self.columns[name][in_run].astype(np.int64) for name in ("label", "group", "predicted")
        )
        return confusion(
            label,
            group,
            predicted,
            classes=self.classes,
            groups=self.groups,
            probability=self.columns["probability"][in_run] if "probability" in self.columns else None,
        )

    def uncorrected(self) -> "Predictions | None":
        """Return the predictions without the correction for the shares of the classes; None without a correction."""
        if UNCORRECTED[0] not in self.columns:
            return None
        columns = {name: values for name, values in self.columns.items() if name not in UNCORRECTED}
        predicted, probability = (self.columns[name] for name in UNCORRECTED)
        return replace(self, columns=columns | {"predicted": predicted, "probability": probability})

    def to_parquet(self) -> bytes:
        """Return the content of predictions.parquet."""
        metadata = {
            "set": self.set,
            "split": self.split,
            "classes": self.classes,
            "groups": self.groups,
            "networks": self.networks,
            "attributes": self.attributes,
            "attribute_names": self.attribute_names,
            "own": dict(self.custom_digests),
            "options": {name: dict(options) for name, options in self.options.items()},
        }
        is_corrected = UNCORRECTED[0] in self.columns
        schema = (_UNCORRECTED_SCHEMA if is_corrected else _SCHEMA).with_metadata({_METADATA_KEY: to_json(metadata)})
        arrays = [arrow.array(self.columns[field.name], field.type) for field in schema]
        sink = io.BytesIO()
        pq.write_table(pa.table(arrays, schema=schema), sink, compression="zstd")
        return sink.getvalue()

    @classmethod
    def from_parquet(cls, content: bytes, *, name: str = "predictions") -> "Predictions":
        """Read the content of predictions.parquet.

        Raises
        ------
        MeasurementError
            With `name` in the message, if the content is not a valid file of predictions.
        """
        try:
            allowed = _COLUMNS | _UNCORRECTED_COLUMNS
            table = arrow.read_parquet_bounded(content, allowed, max_bytes=arrow.decoded_limit(content))
            schemas = (_SCHEMA, _SCHEMA_WITHOUT_CLUSTERS, _UNCORRECTED_SCHEMA)
            has_schema = any(table.schema.equals(schema) for schema in schemas)
            if not has_schema or any(column.null_count for column in table.columns):
                required = ", ".join(f"{column} {kind}" for column, kind in _COLUMNS.items())
                raise ValueError(f"it must have the columns {required}, without nulls")
            metadata = parse_json((table.schema.metadata or {})[_METADATA_KEY], name=name, error=MeasurementError)
            _check_metadata(metadata)
            columns = {key: arrow.view(table.column(key).combine_chunks()) for key in table.column_names}
            present, named = np.unique(columns["network"]).tolist(), len(metadata["networks"])
            # Rows of a network without a name would not be judged, and neither would a network without rows.
            if present and present != list(range(named)):
                raise ValueError(f"it names {named} networks, but its rows have the network numbers {present}")
            predictions = cls(
                set=metadata["set"],
                split=metadata["split"],
                classes=tuple(metadata["classes"]),
                groups=tuple(metadata["groups"]),
                networks=tuple(metadata["networks"]),
                columns=columns,
                attributes=tuple(tuple(values) for values in metadata.get("attributes", ())),
                attribute_names=tuple(metadata.get("attribute_names", ())),
                custom_digests=dict(metadata.get("own", {})),
                options=dict(metadata.get("options", {})),
            )
            count = len(predictions.attribute_names)
            if len(predictions.attributes) != len(predictions.groups) or any(
                len(values) != count for values in predictions.attributes
            ):
                raise ValueError(f"each of its {len(predictions.groups)} groups must have {count} attributes")
            return predictions
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise MeasurementError(
                f"{name} is not a file of predictions: {_one_line(error)}; evaluate the set again"
            ) from None
