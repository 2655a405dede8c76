"""What a report is made of, as values: all that is read before a page is drawn."""

from dataclasses import dataclass
from typing import Any

from fair_distill.card import DatasetCard
from fair_distill.config import Gate
from fair_distill.distilled_set import DistilledSet
from fair_distill.gate.metrics import EO_DIAG_MAX, METRICS
from fair_distill.gate.network_predictions import NetworkPredictions
from fair_distill.gate.verdict import Verdict
from fair_distill.registry.manifest import Manifest
from fair_distill.report.history import Moment

Metrics = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Compared:
    """One of the sets that stand side by side.

    Attributes
    ----------
    how : its alignment, or how it was selected
    metrics : per network; None where it was not evaluated yet
    outcome : of its verdict; None where there is none
    """

    name: str
    how: str
    card: DatasetCard | None
    metrics: Metrics | None
    outcome: str | None


@dataclass(frozen=True)
class Swept:
    """A candidate of a sweep, as the tune split shows it.

    Attributes
    ----------
    kind : its alignment and backbone
    examples : how large the set is; `ipc` of them a class
    accuracy, gap : of the network that fares worst in each
    margin : how far the limit that is nearest should be from being broken on the gate split; None if unknown
    values : what each clause of the policy came to
    """

    name: str
    kind: str
    ipc: int
    examples: int
    accuracy: float | None
    gap: float | None
    margin: float | None
    values: dict[str, float | None]


@dataclass(frozen=True)
class Point:
    """A point of a class's plane; see `distillation.projection`."""

    set: str
    label: str
    what: str
    group: str
    x: float
    y: float


@dataclass(frozen=True, eq=False)
class Material:
    """All that a report tells.

    Attributes
    ----------
    distilled : None for the full data, which have no file of their own
    answers : per network
    losses : step and loss; empty for sets that were not distilled
    points : empty where the projection was not made
    history : empty where there is no registry yet
    where : the registry's address, as a consumer gives it
    channel : the last of the release channels
    """

    dataset: str
    name: str
    verdict: Verdict
    manifest: Manifest
    distilled: DistilledSet | None
    provenance: dict[str, Any]
    policy: Gate
    answers: tuple[NetworkPredictions, ...]
    sets: tuple[Compared, ...]
    losses: tuple[tuple[int, float], ...]
    points: tuple[Point, ...]
    history: tuple[Moment, ...]
    where: str
    channel: str

    @property
    def gated(self) -> str:
        return gated(self.policy)

    @property
    def limit(self) -> float | None:
        """The policy's limit on it."""
        return limit_on(self.policy, self.gated)


def gated(policy: Gate) -> str:
    """The metric that comparisons and history are drawn by: the first gap that the policy limits as such."""
    gaps = [limit.metric for limit in policy.limits if METRICS[limit.metric].is_gap and limit.name == limit.metric]
    return gaps[0] if gaps else EO_DIAG_MAX.name


def limit_on(policy: Gate, name: str) -> float | None:
    """The policy's limit on a metric as such, if it has one."""
    found = (one.at_least if one.at_most is None else one.at_most for one in policy.limits if one.name == name)
    return next(found, None)
