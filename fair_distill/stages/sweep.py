"""Flow `sweep`: candidates over ipc, matcher, alignment and seed, ranked on the tune split.

Nothing here uses the gate split; see `stages.tune`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from fair_distill.config import Config
from fair_distill.config.loading import parse_config
from fair_distill.files import to_json, write_bytes
from fair_distill.gate.choice import TuneResult, margin
from fair_distill.gate.metrics import ACCURACY
from fair_distill.gate.verdict import Verdict
from fair_distill.report.report_data import Metrics, SweepCandidate, choose_gap_metric
from fair_distill.report.sweep import sweep_page
from fair_distill.stages.policy import without_promoted
from fair_distill.stages.tune import TuneEvaluation, judge_on_tune
from fair_distill.workspace import Workspace


@dataclass(frozen=True)
class SweepPoint:
    """One candidate of a sweep.

    Attributes
    ----------
    ipc : images per class
    matcher : the value of distill.matcher in params.yaml: a name, or a mapping with options
    candidate : a name under candidates in params.yaml, which selects the alignment
    seed : seed of distillation
    """

    ipc: int
    matcher: str | dict[str, Any]
    candidate: str
    seed: int

    @property
    def kind(self) -> str:
        """The candidate and the matcher with its options, as one title."""
        if isinstance(self.matcher, str):
            return f"{self.candidate} · {self.matcher}"
        options = (f"{key} {value}" for key, value in sorted(self.matcher.items()) if key != "name")
        return " · ".join((self.candidate, " ".join((str(self.matcher.get("name", "?")), *options))))

    @property
    def name(self) -> str:
        """A title that no other point of the sweep has."""
        return f"{self.kind} · ipc {self.ipc} · seed {self.seed}"


def sweep_points(
    ipc: Sequence[int], matchers: Sequence[str | dict[str, Any]], candidates: Sequence[str], seeds: Sequence[int]
) -> Iterator[SweepPoint]:
    """Return all combinations, the smallest sets first."""
    return (SweepPoint(*values) for values in product(sorted(ipc), matchers, candidates, seeds))


def point_config(params: dict[Any, Any], point: SweepPoint) -> Config:
    """Return the checked configuration of a sweep point. Raises ConfigError if the point names no candidate."""
    config = parse_config(_point_params(params, point), name=f"params.yaml at {point.name}")
    config.candidate(point.candidate)
    return config


def write_point_params(workspace: Workspace, params: dict[Any, Any], point: SweepPoint) -> Config:
    """Write the params.yaml of a sweep point and return its checked configuration.

    The file is JSON, which is also YAML.
    """
    config = point_config(params, point)
    write_bytes(workspace.params, to_json(_point_params(params, point)))
    return config


def _point_params(params: dict[Any, Any], point: SweepPoint) -> dict[Any, Any]:
    """Return the params of a sweep point, without the other candidates and their sets."""
    sets = [name for name in params["sets"] if name not in params["candidates"] or name == point.candidate]
    return params | {
        "seed": point.seed,
        "distill": params["distill"] | {"ipc": point.ipc, "matcher": point.matcher},
        "candidates": {name: value for name, value in params["candidates"].items() if name == point.candidate},
        "sets": sets if point.candidate in sets else [*sets, point.candidate],
        "release": params["release"] | {"candidate": point.candidate},
    }


@dataclass(frozen=True)
class SweepReference:
    """A reference that sweep points are compared with. Points share it if they agree in everything that defines it.

    Attributes
    ----------
    ipc : images per class; None for the reference of all real images, which is the same for every ipc
    """

    name: str
    seed: int
    ipc: int | None


def point_references(config: Config, point: SweepPoint) -> tuple[SweepReference, ...]:
    """Return the references that a point is compared with."""
    return tuple(
        SweepReference(name, point.seed, point.ipc if config.references[name].has_files else None)
        for name in sorted({limit.over for limit in without_promoted(config.gate).limits if limit.over})
    )


@dataclass(frozen=True)
class TunedPoint:
    """A sweep point and its verdict on the tune split.

    Attributes
    ----------
    shrink : factor by which bounds shrink from the tune split to the gate split
    """

    point: SweepPoint
    tuned: TuneResult
    shrink: float
    metrics: Metrics


def judge_point(
    workspace: Workspace,
    config: Config,
    point: SweepPoint,
    evaluations: Mapping[str, TuneEvaluation],
    *,
    shrink: float,
    scratch: Path,
) -> TunedPoint:
    """Judge a point's set on the tune split; see `stages.tune.judge_on_tune`.

    Parameters
    ----------
    shrink : the result of `bound_shrinkage` for the workspace
    """
    tuned = judge_on_tune(workspace, config, point.candidate, evaluations, scratch=scratch)
    return TunedPoint(point, replace(tuned, name=point.name), shrink, evaluations[point.candidate].metrics)


def sweep_report(config: Config, points: Sequence[TunedPoint], *, chosen: str | None, outcome: str | None) -> bytes:
    """Return the HTML report on a sweep; `chosen` and `outcome` are those of `report.sweep_page`."""
    gap, limits = choose_gap_metric(config.gate), without_promoted(config.gate).limits
    rows = [
        SweepCandidate(
            name=tuned_point.point.name,
            kind=tuned_point.point.kind,
            ipc=tuned_point.point.ipc,
            examples=tuned_point.tuned.examples,
            accuracy=min(_defined(tuned_point.metrics, ACCURACY.name), default=None),
            gap=max(_defined(tuned_point.metrics, gap), default=None),
            margin=margin(tuned_point.tuned, limits, shrink=tuned_point.shrink),
            values={finding.clause: finding.value for finding in tuned_point.tuned.verdict.findings},
        )
        for tuned_point in points
    ]
    return sweep_page(config.dataset, rows, config.gate, chosen=chosen, outcome=outcome)


def _defined(metrics: Metrics, name: str) -> list[float]:
    """Return the values of a metric for all networks for which it is defined."""
    return [values[name] for values in metrics.values() if values.get(name) is not None]


def read_outcome(workspace: Workspace, name: str) -> str:
    """Return the outcome of the verdict on a set, from its file."""
    return Verdict.from_json(workspace.verdict(name).read_bytes(), name=str(workspace.verdict(name))).outcome
