"""The input of a report as values: everything that is read before a page is rendered."""

from dataclasses import dataclass
from typing import Any

from fair_distill.card import DatasetCard
from fair_distill.config import Gate
from fair_distill.distilled_set import DistilledSet
from fair_distill.gate.metrics import EO_DIAG_MAX, METRICS
from fair_distill.gate.network_predictions import NetworkPredictions
from fair_distill.gate.verdict import Verdict
from fair_distill.registry.manifest import Manifest
from fair_distill.report.history import PublishedVersion

Metrics = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class ComparedSet:
    """One of the sets in the comparison of all sets.

    Attributes
    ----------
    origin : how the set was made, in a few words
    card : None if the set does not exist yet
    metrics : by network and metric; None if the set was not evaluated
    outcome : of the verdict; None without a verdict
    constant : architectures of which some network predicts one class for every example
    """

    name: str
    origin: str
    card: DatasetCard | None
    metrics: Metrics | None
    outcome: str | None
    constant: tuple[str, ...] = ()

    def network_title(self, network: str) -> str:
        """Return the name of a network, with a note if it predicts one class for every example."""
        return f"{network} (one class)" if network in self.constant else network


@dataclass(frozen=True)
class SweepCandidate:
    """A candidate of a sweep, with its metrics on the tune split.

    Attributes
    ----------
    kind : alignment and matcher
    ipc : examples per class
    examples : size of the set
    accuracy, gap : of the worst network for each
    margin : estimated distance to the nearest limit on the gate split, negative if a limit would be violated; None if
        it cannot be estimated
    values : the value of each clause of the policy
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
class ReportPoint:
    """A point of the projection of one class, see `audit.projection`.

    Attributes
    ----------
    set : the set that it belongs to; "" for real images and their means
    what : "real" or "image" for an image, "mean" for a group's mean, "centre" for the mean of a set's images
    """

    set: str
    label: str
    what: str
    group: str
    x: float
    y: float


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything that the report on a set shows.

    Attributes
    ----------
    distilled : the images; None for the full data, which are not stored again, and for restricted data
    provenance : where the set was made
    predictions : of each network architecture
    sets : all sets of the workspace, for comparison
    losses : pairs of step and loss; empty for sets that were not distilled
    points : the projection; empty if it was not computed
    history : the published versions, oldest first; empty without a registry
    registry : the address of the registry
    channel : the last of the release channels
    label_audit : the suspected label errors in the training split, as `data labels` wrote them; None without the file
    """

    dataset: str
    name: str
    verdict: Verdict
    manifest: Manifest
    distilled: DistilledSet | None
    provenance: dict[str, Any]
    policy: Gate
    predictions: tuple[NetworkPredictions, ...]
    sets: tuple[ComparedSet, ...]
    losses: tuple[tuple[int, float], ...]
    points: tuple[ReportPoint, ...]
    history: tuple[PublishedVersion, ...]
    registry: str
    channel: str
    label_audit: dict[str, Any] | None = None

    @property
    def gap_metric(self) -> str:
        """The gap metric of the comparison and the history."""
        return choose_gap_metric(self.policy)

    @property
    def gap_limit(self) -> float | None:
        """The policy's limit on that metric, or None."""
        return limit_on(self.policy, self.gap_metric)


def choose_gap_metric(policy: Gate) -> str:
    """Return the first gap between groups that the policy limits by itself, without a reference or a selection."""
    for limit in policy.limits:
        metric = METRICS[limit.metric]
        if metric.is_gap and metric.direction == "at_most" and limit.name == limit.metric:
            return limit.metric
    return EO_DIAG_MAX.name


def limit_on(policy: Gate, clause: str) -> float | None:
    """Return the number of the clause with this name, or None."""
    numbers = (
        limit.at_least if limit.at_most is None else limit.at_most for limit in policy.limits if limit.name == clause
    )
    return next(numbers, None)
