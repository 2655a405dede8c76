"""Every set of a workspace with its verdict, judged again: what `table`, `where` and the report compare."""

from dataclasses import dataclass

from fair_distill.artifacts import Workspace
from fair_distill.config import Config
from fair_distill.errors import FairDistillError, IntegrityError, MeasurementError
from fair_distill.gate.verdict import Verdict
from fair_distill.stages.gate import verdict_of


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
    def networks(self) -> dict[str, dict[str, float | None]] | None:
        """Every metric of the rates averaged over seeds, per network; None without a verdict."""
        if self.verdict is None:
            return None
        numbers = self.verdict.numbers.items()
        return {network: {metric: value["value"] for metric, value in metrics.items()} for network, metrics in numbers}

    @property
    def reasons(self) -> tuple[str, ...]:
        """The clauses that are not met, or the fault."""
        if self.verdict is not None:
            return self.verdict.reasons
        return (self.fault,) if self.fault else ()


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
