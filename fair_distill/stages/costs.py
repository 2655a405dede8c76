"""The record of what stages cost: one file for each run of a stage, whether it completed or failed.

The record is in the folder `.costs` of the workspace, or at the location in FAIR_DISTILL_COSTS, which several clones
and machines can share. It is no output of the DVC graph: equal inputs give equal outputs, but not equal times. A stage
that DVC skips writes nothing, because it computes nothing.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path

from fair_distill.config import BEST
from fair_distill.errors import IntegrityError
from fair_distill.files import is_sha256, parse_json, sha256, to_json
from fair_distill.registry.costs import StageTotal, VersionCost
from fair_distill.registry.entry import is_name, is_time
from fair_distill.registry.manifest import MANIFEST_FILE
from fair_distill.storage.schemes import open_store
from fair_distill.workspace import SPLITS, Workspace

COSTS_VARIABLE = "FAIR_DISTILL_COSTS"
# In the order of a run. The runs of the first group make the data of every version.
DATA_STAGES = ("prepare", "validate")
STAGES = (*DATA_STAGES, "experts", "distill", "references", "tune", "choose", "project", "evaluate", "judge")
# The stages that record the version of their set.
_SET_STAGES = ("distill", "references", "tune", "choose", "evaluate", "judge")
_FORMAT, _MAX_BYTES = 1, 4096


@dataclass(frozen=True)
class StageCost:
    """The cost of one run of a stage.

    Attributes
    ----------
    dataset : of params.yaml
    stage, set : the stage and the set of its matrix; the set is empty for stages without one
    version : SHA-256 of the set's manifest; None for stages without a set, and if the run failed
    completed : whether the run completed
    device : the torch device, such as cpu or cuda
    cpu_seconds : of all processes of the stage
    gpu_seconds : for which the stage occupied a GPU: its duration on a GPU, 0 on a CPU
    seconds : the duration
    output_bytes : size of the outputs in bytes
    time : the start, as in 2026-03-03T12:00:00Z
    """

    dataset: str
    stage: str
    set: str
    version: str | None
    completed: bool
    device: str
    cpu_seconds: float
    gpu_seconds: float
    seconds: float
    output_bytes: int
    time: str

    def to_json(self) -> bytes:
        """Return the bytes of the file of the record."""
        return to_json({"format": _FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, content: bytes, *, name: str) -> "StageCost":
        """Read a cost. Raises IntegrityError unless writing it again gives the same bytes."""
        value = parse_json(content, name=name, error=IntegrityError)
        value.pop("format", None)
        try:
            cost = cls(**value)
            numbers = (cost.cpu_seconds, cost.gpu_seconds, cost.seconds)
            valid = (
                is_name(cost.dataset)
                and cost.stage in STAGES
                and isinstance(cost.set, str)
                and (cost.version is None or is_sha256(cost.version))
                and type(cost.completed) is bool
                and all(type(number) is float and isfinite(number) and number >= 0 for number in numbers)
                and type(cost.output_bytes) is int
                and is_time(cost.time)
            )
            if not valid or cost.to_json() != content:
                raise ValueError
        except (TypeError, ValueError):
            raise IntegrityError(f"{name} is not the cost of a stage in format {_FORMAT}; remove it") from None
        return cost


def costs_location(workspace: Workspace) -> str | None:
    """Return where costs are recorded: FAIR_DISTILL_COSTS, else `.costs`. None if the variable is empty."""
    setting = os.environ.get(COSTS_VARIABLE)
    return str(workspace.costs) if setting is None else setting or None


def write_cost(location: str, cost: StageCost, *, id: str) -> None:
    """Record a cost. `id` distinguishes runs that started in the same second, and orders them."""
    time = cost.time.replace(":", "").replace("-", "")
    open_store(location, source=COSTS_VARIABLE).create(f"{cost.dataset}/{time}-{id}.json", cost.to_json())


def read_costs(workspace: Workspace, dataset: str) -> tuple[StageCost, ...]:
    """Return the recorded costs of a dataset, oldest first; none if costs are not recorded."""
    location = costs_location(workspace)
    if location is None or ("://" not in location and not Path(location).is_dir()):
        return ()
    store, folder = open_store(location, source=COSTS_VARIABLE), f"{dataset}/"
    # The folder of the dataset `vision` contains the folders of the datasets `vision/…`.
    keys = [key for key in store.list(folder) if "/" not in key.removeprefix(folder)]
    return tuple(
        StageCost.from_json(store.read(key, size_limit=_MAX_BYTES), name=store.address(key)) for key in sorted(keys)
    )


def outputs_of(workspace: Workspace, stage: str, name: str) -> tuple[int, str | None]:
    """Return the size in bytes of the outputs of a stage that completed, and the version of its set."""
    paths = {
        "prepare": [*map(workspace.split, SPLITS), workspace.assignments],
        "validate": [workspace.validation],
        "experts": [workspace.experts(name)],
        "distill": [workspace.set(name), workspace.grid(name), workspace.losses(name)],
        "references": [workspace.set(name)],
        "tune": [workspace.tuned(name), workspace.tuned_metrics(name)],
        "choose": [workspace.set(BEST), workspace.grid(BEST)],
        "project": [workspace.projection],
        "evaluate": [workspace.predictions(name), workspace.evaluation(name), workspace.rates(name)],
        "judge": [workspace.verdict(name)],
    }[stage]
    manifest = workspace.set(name or BEST) / MANIFEST_FILE
    version = sha256(manifest) if stage in _SET_STAGES and manifest.exists() else None
    return sum(map(_size, paths)), version


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def version_cost_of(costs: Sequence[StageCost], version: str) -> VersionCost | None:
    """Return the cost of a version from the recorded runs; None if no run of it is recorded.

    Counted are all completed runs of its set, and the newest run before them of each stage that made its data or its
    experts. Runs that failed have no version, so they count for the dataset only.
    """
    own = [cost for cost in costs if cost.version == version and cost.completed]
    if not own:
        return None
    first = min((cost.time for cost in own if cost.stage == "distill"), default=own[0].time)
    names = {cost.set for cost in own}
    earlier = [cost for cost in costs if cost.completed and cost.time <= first]
    inputs = {
        (cost.stage, cost.set): cost
        for cost in earlier
        if cost.stage in DATA_STAGES or (cost.stage == "experts" and cost.set in names)
    }
    counted = [*inputs.values(), *own]
    return VersionCost(own[0].dataset, version, max(cost.time for cost in counted), stage_totals(counted))


def stage_totals(costs: Iterable[StageCost]) -> tuple[StageTotal, ...]:
    """Return the totals of the runs of each stage and set, in the order of a run. Times are rounded to milliseconds."""
    groups: dict[tuple[str, str], list[StageCost]] = {}
    for cost in costs:
        groups.setdefault((cost.stage, cost.set), []).append(cost)
    return tuple(
        StageTotal(
            stage,
            name,
            len(runs),
            round(sum(run.cpu_seconds for run in runs), 3),
            round(sum(run.gpu_seconds for run in runs), 3),
            max(run.output_bytes for run in runs),  # a later run replaces the outputs of an earlier one
        )
        for (stage, name), runs in sorted(groups.items(), key=lambda item: (STAGES.index(item[0][0]), item[0][1]))
    )
