"""predictions.parquet: what every trained network said of every gate example. Enough to judge again without a GPU.

One row per example, seed and network, bound by digests to the set that was trained on and the split.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fair_distill.artifacts import parse_json, to_json
from fair_distill.errors import MeasurementError
from fair_distill.gate.metrics import Confusion, confusion

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


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions and what they are predictions of.

    Attributes
    ----------
    set : version (manifest SHA-256) of the set the networks were trained on
    split : SHA-256 of the gate split's file
    columns : one array per column; label, group, predicted, network are indices into the names below. Examples of
        one `cluster` (a person, a writer) are one piece of evidence; without the column, each pair is a cluster
    """

    set: str
    split: str
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    networks: tuple[str, ...]
    columns: dict[str, NDArray[Any]]

    def __post_init__(self) -> None:
        if "cluster" not in self.columns:
            object.__setattr__(self, "columns", {**self.columns, "cluster": self.columns["pair"]})

    def __len__(self) -> int:
        return len(self.columns["label"])

    def runs(self) -> list[tuple[int, int]]:
        """The (network, seed) runs that are here, in order."""
        return sorted(set(zip(self.columns["network"].tolist(), self.columns["seed"].tolist(), strict=True)))

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
            group_names=self.groups,
            probability=self.columns["probability"][of_run],
        )

    def to_parquet(self) -> bytes:
        about = {
            "set": self.set,
            "split": self.split,
            "classes": self.classes,
            "groups": self.groups,
            "networks": self.networks,
        }
        schema = _SCHEMA.with_metadata({_KEY: to_json(about)})
        arrays = [pa.array(self.columns[name], kind) for name, kind in _COLUMNS.items()]
        sink = io.BytesIO()
        pq.write_table(pa.table(arrays, schema=schema), sink, compression="zstd")
        return sink.getvalue()

    @classmethod
    def from_parquet(cls, content: bytes, *, name: str = "predictions") -> "Predictions":
        """Read what `to_parquet` wrote. Raises MeasurementError, with `name` in the message, for anything else."""
        try:
            # Not read_table and to_numpy: both import pandas where it is installed, and the gate is to start at once.
            table = pq.ParquetFile(pa.BufferReader(content)).read()
            known = table.schema.equals(_SCHEMA) or table.schema.equals(_BEFORE_CLUSTERS)
            if not known or any(column.null_count for column in table.columns):
                wanted = ", ".join(f"{column} {kind}" for column, kind in _COLUMNS.items())
                raise ValueError(f"wanted the columns {wanted} without nulls")
            about = parse_json((table.schema.metadata or {})[_KEY], name=name, error=MeasurementError)
            columns = {key: np.from_dlpack(table.column(key).combine_chunks()) for key in table.column_names}
            spoken, named = np.unique(columns["network"]).tolist(), len(about["networks"])
            # A row of a network that has no name would be judged by nobody, and so would a network without rows.
            if spoken and spoken != list(range(named)):
                raise ValueError(f"{named} networks are named, those with rows have the numbers {spoken}")
            return cls(
                set=about["set"],
                split=about["split"],
                classes=tuple(about["classes"]),
                groups=tuple(about["groups"]),
                networks=tuple(about["networks"]),
                columns=columns,
            )
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise MeasurementError(f"{name} is not a file of predictions: {error}") from None
