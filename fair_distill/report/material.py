"""What a report is made of, as values: all that is read before a page is drawn."""

from dataclasses import dataclass
from typing import Any

from fair_distill.card import DatasetCard
from fair_distill.config import Gate
from fair_distill.distilled import DistilledSet
from fair_distill.gate.answers import Answers
from fair_distill.gate.metrics import GAP_RATES
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
    answers: tuple[Answers, ...]
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
        return next((one.at_most for one in self.policy.limits if one.name == self.gated), None)


def gated(policy: Gate) -> str:
    """The metric that comparisons and history are drawn by: the first gap that the policy limits as such."""
    gaps = [limit.metric for limit in policy.limits if limit.metric in GAP_RATES and limit.name == limit.metric]
    return gaps[0] if gaps else "eo_diag_max"
