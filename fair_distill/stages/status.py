"""Every set of a workspace with its verdict, judged again: what `table`, `where` and the report compare."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fair_distill.config import Config
from fair_distill.errors import FairDistillError, IntegrityError, MeasurementError
from fair_distill.gate.verdict import Verdict
from fair_distill.stages.judge import verdict_of
from fair_distill.workspace import Workspace


@dataclass(frozen=True)
class SetStatus:
    """A set and its verdict, or why there is none.

    Attributes
    ----------
    outcome : of the verdict; else `not evaluated`, `out of date`, `contradictory` or `error`
    fault : the sentence that explains the last three
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
            networks[network] = _report(numbers, self.verdict.undefined.get("", {}))
            for attributes, coarser in self.verdict.marginals.items():
                if ", " not in attributes:  # of one attribute
                    marginal = _report(coarser[network], self.verdict.undefined.get(attributes, {}))
                    networks[network].setdefault("marginals", {})[attributes] = marginal
        return networks

    @property
    def reasons(self) -> tuple[str, ...]:
        """The clauses that are not met, or the fault."""
        if self.verdict is not None:
            return self.verdict.reasons
        return (self.fault,) if self.fault else ()


def _report(numbers: Mapping[str, Mapping[str, float | None]], undefined: Mapping[str, str]) -> dict[str, Any]:
    report: dict[str, Any] = {metric: value["value"] for metric, value in numbers.items()}
    report["mean_over_runs"] = {metric: value["per_seed"] for metric, value in numbers.items()}
    return report | ({"undefined": dict(undefined)} if undefined else {})


def status_of(workspace: Workspace, config: Config, name: str) -> SetStatus:
    """Judge a set as the graph does. A set that cannot be judged is reported, not raised."""
    if not workspace.predictions(name).exists():
        return SetStatus(name, None, "not evaluated", None)
    try:
        verdict = verdict_of(workspace, config, name)
    except FairDistillError as error:
        kinds = {IntegrityError: "contradictory", MeasurementError: "out of date"}
        outcome = next((word for kind, word in kinds.items() if isinstance(error, kind)), "error")
        return SetStatus(name, None, outcome, str(error))
    return SetStatus(name, verdict, verdict.outcome, None)
