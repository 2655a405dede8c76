"""Candidates over ipc, backbone, alignment and seed: how each is made, and what the tune split says of it.

The gate split is not looked at here. Networks are asked about the tune split in its place, in a folder of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from fair_distill.config import Config
from fair_distill.config.loading import parse_config
from fair_distill.files import to_json, write_bytes
from fair_distill.gate.choice import Tuned, margin, shrinkage
from fair_distill.gate.verdict import Verdict
from fair_distill.registry.manifest import MANIFEST_FILE, read_version
from fair_distill.report.report_data import Metrics, Swept, gated
from fair_distill.report.sweep import sweep_page
from fair_distill.stages.evaluate import evaluate
from fair_distill.stages.judge import by_itself, verdict_of
from fair_distill.stages.set_record import made_by
from fair_distill.workspace import Workspace


@dataclass(frozen=True)
class Point:
    """One candidate of a sweep.

    Attributes
    ----------
    matcher : the backbone, as params.yaml would say it: a name, or a mapping with options
    candidate : a name under candidates, for the alignment
    """

    ipc: int
    matcher: str | dict[str, Any]
    candidate: str
    seed: int

    @property
    def kind(self) -> str:
        if isinstance(self.matcher, str):
            return f"{self.candidate} · {self.matcher}"
        options = (f"{key} {value}" for key, value in sorted(self.matcher.items()) if key != "name")
        return " · ".join((self.candidate, " ".join((str(self.matcher.get("name", "?")), *options))))

    @property
    def name(self) -> str:
        return f"{self.kind} · ipc {self.ipc} · seed {self.seed}"


def points(
    ipc: Sequence[int], matchers: Sequence[str | dict[str, Any]], candidates: Sequence[str], seeds: Sequence[int]
) -> Iterator[Point]:
    """All of them, the smallest sets first."""
    return (Point(*each) for each in product(sorted(ipc), matchers, candidates, seeds))


def write_point(workspace: Workspace, raw: dict[Any, Any], point: Point) -> Config:
    """Make a workspace the point's: params.yaml with its settings, checked; return them.

    Every other candidate goes, and so do its sets. JSON is YAML: this file is read by programs alone.
    """
    kept = [name for name in raw["sets"] if name not in raw["candidates"] or name == point.candidate]
    changed = raw | {
        "seed": point.seed,
        "distill": raw["distill"] | {"ipc": point.ipc, "matcher": point.matcher},
        "candidates": {name: of for name, of in raw["candidates"].items() if name == point.candidate},
        "sets": kept if point.candidate in kept else [*kept, point.candidate],
        "release": raw["release"] | {"candidate": point.candidate},
    }
    config = parse_config(changed, name=f"params.yaml at {point.name}")
    config.candidate(point.candidate)
    write_bytes(workspace.params, to_json(changed))
    return config


@dataclass(frozen=True)
class Compared:
    """A reference that points of a sweep are compared to. Points that differ in nothing that makes it share it.

    Attributes
    ----------
    ipc : None where the reference is all real images, whatever the point
    """

    name: str
    seed: int
    ipc: int | None


def compared_at(config: Config, point: Point) -> tuple[Compared, ...]:
    """Return what a point is compared to."""
    every = {name for name, reference in config.references.items() if reference.select == "all"}
    return tuple(
        Compared(name, point.seed, None if name in every else point.ipc)
        for name in sorted({limit.over for limit in by_itself(config.gate).limits if limit.over})
    )


@dataclass(frozen=True)
class OnTune:
    """What networks that were trained on a set predict on the tune split, and the manifest of that set."""

    predictions: bytes
    metrics: Metrics
    manifest: bytes


def on_tune(workspace: Workspace, config: Config, name: str, *, scratch: Path, device: str) -> OnTune:
    """Train on a set and ask the networks about the tune split.

    Parameters
    ----------
    scratch : an empty folder
    """
    aside = Workspace(scratch)
    for split, role in (("train", "train"), ("tune", "gate")):
        _link(aside.split(role), workspace.split(split))
    _link(aside.set(name), workspace.set(name))
    metrics = evaluate(aside, config, name, device=device)
    manifest = (aside.set(name) / MANIFEST_FILE).read_bytes()
    return OnTune(aside.predictions(name).read_bytes(), metrics, manifest)


@dataclass(frozen=True)
class Tried:
    """A point of a sweep and what the tune split says of it.

    Attributes
    ----------
    shrink : how bounds shrink from the tune split to the gate split
    """

    point: Point
    tuned: Tuned
    shrink: float
    metrics: Metrics


def tuned(
    workspace: Workspace,
    config: Config,
    point: Point,
    said: Mapping[str, OnTune],
    *,
    shrink: float,
    scratch: Path,
) -> Tried:
    """Hold what the tune split says of a point's set against the policy.

    Parameters
    ----------
    said : of the point's candidate and of what it is compared to
    shrink : what `shrink_of` says of the workspace
    scratch : an empty folder
    """
    aside = Workspace(scratch)
    write_bytes(aside.context, b"{}\n")
    _link(aside.split("gate"), workspace.split("tune"))
    for name, one in said.items():
        write_bytes(aside.predictions(name), one.predictions)
        if name != point.candidate:
            write_bytes(aside.set(name) / MANIFEST_FILE, one.manifest)
    _link(aside.set(point.candidate), workspace.set(point.candidate))
    # The tune split is small: what it cannot show for certain it can still rank.
    policy = by_itself(config.gate)
    if policy.exam is not None:  # which speaks of the gate split
        policy = policy.model_copy(update={"exam": policy.exam.model_copy(update={"split": None})})
    if policy.mode == "bounds":
        policy = policy.model_copy(update={"minimum_per_cell": 2})
    verdict = verdict_of(aside, config.model_copy(update={"gate": policy}), point.candidate)
    manifest, _ = read_version(aside.set(point.candidate), made_by=made_by(config, point.candidate))
    found = Tuned(point.name, manifest.card.examples, verdict)
    return Tried(point, found, shrink, said[point.candidate].metrics)


def told(config: Config, tried: Sequence[Tried], *, chosen: str | None, outcome: str | None) -> bytes:
    """Return the page on a sweep; its parameters are those of `report.sweep_page`."""
    gap, limits = gated(config.gate), by_itself(config.gate).limits
    points = [
        Swept(
            name=one.point.name,
            kind=one.point.kind,
            ipc=one.point.ipc,
            examples=one.tuned.examples,
            accuracy=min(_known(one.metrics, "accuracy"), default=None),
            gap=max(_known(one.metrics, gap), default=None),
            margin=margin(one.tuned, limits, shrink=one.shrink),
            values={finding.clause: finding.value for finding in one.tuned.verdict.findings},
        )
        for one in tried
    ]
    return sweep_page(config.dataset, points, config.gate, chosen=chosen, outcome=outcome)


def _known(metrics: Metrics, name: str) -> list[float]:
    return [of[name] for of in metrics.values() if of.get(name) is not None]


def outcome(workspace: Workspace, name: str) -> str:
    """What the gate said of a set."""
    return Verdict.from_json(workspace.verdict(name).read_bytes(), name=str(workspace.verdict(name))).outcome


def shrink_of(workspace: Workspace) -> float:
    """Return how bounds shrink from the tune split to the gate split, of which only its size counts."""
    from fair_distill.data.split_file import read_split

    return shrinkage(len(read_split(workspace.split("tune"))), len(read_split(workspace.split("gate"))))


def _link(place: Path, to: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(to.absolute())
