"""What a published version cost: CPU seconds, GPU seconds and bytes of each stage that made it.

The costs are provenance, but they are stored separately, under costs/<version>/. The file of the provenance is an
output of the stage that makes the set, and the cost of the evaluation is known later. No digest of a version, a verdict
or a provenance depends on costs, no decision is based on them, and older clients ignore them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from math import isfinite

from fair_distill.errors import IntegrityError
from fair_distill.files import is_sha256, parse_json, sha256, to_json
from fair_distill.registry.entry import is_name, is_time
from fair_distill.registry.store import RegistryStore

_FORMAT = 1


@dataclass(frozen=True)
class StageTotal:
    """The cost of the runs of one stage.

    Attributes
    ----------
    stage, set : the stage and the set of its matrix; the set is empty for stages without one
    runs : number of runs
    cpu_seconds : of all processes of the stage
    gpu_seconds : for which the stage occupied a GPU
    output_bytes : size of the outputs in bytes
    """

    stage: str
    set: str
    runs: int
    cpu_seconds: float
    gpu_seconds: float
    output_bytes: int


@dataclass(frozen=True)
class VersionCost:
    """The cost of a version.

    Attributes
    ----------
    dataset, version : the dataset, and the SHA-256 of the manifest
    time : the start of the last run that is counted, as in 2026-03-03T12:00:00Z
    stages : in the order of a run
    """

    dataset: str
    version: str
    time: str
    stages: tuple[StageTotal, ...]

    @property
    def cpu_seconds(self) -> float:
        return sum(stage.cpu_seconds for stage in self.stages)

    @property
    def gpu_seconds(self) -> float:
        return sum(stage.gpu_seconds for stage in self.stages)

    @property
    def output_bytes(self) -> int:
        return sum(stage.output_bytes for stage in self.stages)

    def to_json(self) -> bytes:
        """Return the bytes of the file in the registry."""
        return to_json({"format": _FORMAT, **asdict(self), "stages": [asdict(stage) for stage in self.stages]})

    @classmethod
    def from_json(cls, content: bytes, *, name: str) -> "VersionCost":
        """Read the cost of a version. Raises IntegrityError unless writing it again gives the same bytes."""
        value = parse_json(content, name=name, error=IntegrityError)
        value.pop("format", None)
        try:
            rows = tuple(StageTotal(**row) for row in value.pop("stages"))
            cost = cls(**value, stages=rows)
            valid = is_name(cost.dataset) and is_sha256(cost.version) and is_time(cost.time) and all(map(_valid, rows))
            if not valid or cost.to_json() != content:
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise IntegrityError(
                f"{name} is not the cost of a version in format {_FORMAT}; remove it by hand"
            ) from None
        return cost


def write_version_cost(store: RegistryStore, cost: VersionCost) -> None:
    """Store the cost of a published version. The same cost is stored once."""
    content, time = cost.to_json(), cost.time.replace(":", "").replace("-", "")
    store.create(f"costs/{cost.version}/{time}-{sha256(content)[:16]}.json", content)


def version_cost(store: RegistryStore, version: str) -> VersionCost | None:
    """Return the newest cost of a version that is recorded; None if none is."""
    keys = store.list(f"costs/{version}/")
    if not keys:
        return None
    cost = VersionCost.from_json(store.read(keys[-1]), name=keys[-1])
    if cost.version != version:
        raise IntegrityError(f"{keys[-1]} is the cost of another version; remove it by hand")
    return cost


def total_cost(costs: Sequence[VersionCost]) -> tuple[float, float, int]:
    """Return the CPU seconds, GPU seconds and bytes of several versions together."""
    return (
        sum(cost.cpu_seconds for cost in costs),
        sum(cost.gpu_seconds for cost in costs),
        sum(cost.output_bytes for cost in costs),
    )


def _valid(row: StageTotal) -> bool:
    numbers = (row.cpu_seconds, row.gpu_seconds)
    counts = (row.runs, row.output_bytes)
    return (
        all(isinstance(getattr(row, field.name), str) for field in fields(row)[:2])
        and all(type(number) is float and isfinite(number) and number >= 0 for number in numbers)
        and all(type(count) is int and count >= 0 for count in counts)
    )
