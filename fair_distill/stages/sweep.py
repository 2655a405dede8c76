"""Flow `sweep`: candidates over ipc, matcher, alignment and seed, ranked on the tune split.

Nothing here uses the gate split. The networks predict the tune split instead, in a separate folder.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from fair_distill.config import Config, Gate
from fair_distill.config.loading import parse_config
from fair_distill.files import to_json, write_bytes
from fair_distill.gate.choice import TuneResult, margin, shrinkage
from fair_distill.gate.metrics import ACCURACY
from fair_distill.gate.verdict import Verdict
from fair_distill.registry.manifest import MANIFEST_FILE, read_version
from fair_distill.report.report_data import Metrics, SweepCandidate, choose_gap_metric
from fair_distill.report.sweep import sweep_page
from fair_distill.stages.evaluate import evaluate_set
from fair_distill.stages.judge import compute_verdict
from fair_distill.stages.policy import without_promoted
from fair_distill.stages.set_record import set_command
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
class TuneEvaluation:
    """Predictions of the tune split by networks that were trained on a set, their metrics, and the set's manifest."""

    predictions: bytes
    metrics: Metrics
    manifest: bytes


def evaluate_on_tune(workspace: Workspace, config: Config, name: str, *, scratch: Path, device: str) -> TuneEvaluation:
    """Train networks on a set and predict the tune split with them.

    Parameters
    ----------
    scratch : an empty folder
    """
    tuning = Workspace(scratch)
    for split, role in (("train", "train"), ("tune", "gate")):
        _link(tuning.split(role), workspace.split(split))
    _link(tuning.set(name), workspace.set(name))
    metrics = evaluate_set(tuning, config, name, device=device)
    manifest = (tuning.set(name) / MANIFEST_FILE).read_bytes()
    return TuneEvaluation(tuning.predictions(name).read_bytes(), metrics, manifest)


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


def judge_on_tune(
    workspace: Workspace,
    config: Config,
    point: SweepPoint,
    evaluations: Mapping[str, TuneEvaluation],
    *,
    shrink: float,
    scratch: Path,
) -> TunedPoint:
    """Compare the evaluation of a point's set on the tune split with the policy.

    Parameters
    ----------
    evaluations : by set, of the point's candidate and of its references
    shrink : the result of `bound_shrinkage` for the workspace
    scratch : an empty folder
    """
    tuning = Workspace(scratch)
    write_bytes(tuning.context, b"{}\n")
    _link(tuning.split("gate"), workspace.split("tune"))
    for name, evaluation in evaluations.items():
        write_bytes(tuning.predictions(name), evaluation.predictions)
        if name != point.candidate:
            write_bytes(tuning.set(name) / MANIFEST_FILE, evaluation.manifest)
    _link(tuning.set(point.candidate), workspace.set(point.candidate))
    verdict = compute_verdict(tuning, config.model_copy(update={"gate": _tune_policy(config)}), point.candidate)
    manifest, _ = read_version(tuning.set(point.candidate), made_by=set_command(config, point.candidate))
    tuned = TuneResult(point.name, manifest.card.examples, verdict)
    return TunedPoint(point, tuned, shrink, evaluations[point.candidate].metrics)


def _tune_policy(config: Config) -> Gate:
    """Return the policy for the tune split, which is small: too few examples to establish a limit can still rank."""
    policy = without_promoted(config.gate)
    if policy.exam is not None:  # the exam describes the gate split
        policy = policy.model_copy(update={"exam": policy.exam.model_copy(update={"split": None})})
    if policy.mode == "bounds":
        policy = policy.model_copy(update={"minimum_per_cell": 2})
    return policy


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


def bound_shrinkage(workspace: Workspace) -> float:
    """Return the factor by which bounds shrink from the tune split to the gate split, from the sizes of both."""
    from fair_distill.data.split_file import read_split

    return shrinkage(len(read_split(workspace.split("tune"))), len(read_split(workspace.split("gate"))))


def _link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target.absolute())
