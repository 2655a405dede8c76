"""The status of a set in a workspace, for `table`, `where` and the report. Verdicts are computed again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fair_distill.config import Config
from fair_distill.errors import FairDistillError, IntegrityError, MeasurementError
from fair_distill.gate.verdict import Verdict
from fair_distill.stages.judge import compute_verdict
from fair_distill.workspace import Workspace


@dataclass(frozen=True)
class SetStatus:
    """A set with its verdict, or the reason why it has no verdict.

    Attributes
    ----------
    outcome : outcome of the verdict, or `not evaluated`, `out of date`, `contradictory` or `error`
    fault : message of the error for the last three; otherwise None
    """

    name: str
    verdict: Verdict | None
    outcome: str
    fault: str | None

    @property
    def networks(self) -> dict[str, dict[str, Any]] | None:
        """The metrics of every network, as `evaluate` writes them to artifacts/evaluation; None without a verdict."""
        if self.verdict is None:
            return None
        networks = {}
        for network, numbers in self.verdict.numbers.items():
            networks[network] = _metrics(numbers, self.verdict.undefined.get("", {}))
            for attributes, marginals in self.verdict.marginals.items():
                if ", " not in attributes:  # a single attribute
                    marginal = _metrics(marginals[network], self.verdict.undefined.get(attributes, {}))
                    networks[network].setdefault("marginals", {})[attributes] = marginal
        return networks

    @property
    def constant(self) -> tuple[str, ...]:
        """The architectures of which some network predicts one class for every example."""
        return () if self.verdict is None else self.verdict.constant

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences of all violated clauses, or the fault."""
        if self.verdict is not None:
            return self.verdict.reasons
        return (self.fault,) if self.fault else ()


def _metrics(numbers: Mapping[str, Mapping[str, float | None]], undefined: Mapping[str, str]) -> dict[str, Any]:
    metrics: dict[str, Any] = {metric: value["value"] for metric, value in numbers.items()}
    metrics["mean_over_runs"] = {metric: value["per_seed"] for metric, value in numbers.items()}
    # A reason may be that of another network.
    reasons = {metric: reason for metric, reason in undefined.items() if metrics.get(metric) is None}
    return metrics | ({"undefined": reasons} if reasons else {})


def read_status(workspace: Workspace, config: Config, name: str) -> SetStatus:
    """Judge a set as the graph does. An error becomes the status of the set and is not raised."""
    if not workspace.predictions(name).exists():
        return SetStatus(name, None, "not evaluated", None)
    try:
        verdict = compute_verdict(workspace, config, name)
    except FairDistillError as error:
        outcomes = {IntegrityError: "contradictory", MeasurementError: "out of date"}
        outcome = next((outcome for kind, outcome in outcomes.items() if isinstance(error, kind)), "error")
        return SetStatus(name, None, outcome, str(error))
    return SetStatus(name, verdict, verdict.outcome, None)
