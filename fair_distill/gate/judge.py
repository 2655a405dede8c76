"""The verdict: predictions against a policy. A pure function; the numbers and the reasons go where it goes."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from fair_distill.artifacts import parse_json, sha256, to_json
from fair_distill.config import Gate, Limit
from fair_distill.errors import ConfigError, IntegrityError, MeasurementError
from fair_distill.gate.metrics import METRICS, mean_confusion, measure
from fair_distill.gate.predictions import Predictions

Outcome = Literal["pass", "fail", "insufficient"]
# The limit itself is kept: 9 of 10 against 6 of 10 is a gap of 0.3, which floats call 0.30000000000000004.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Finding:
    """One clause of the policy against what was measured; the worst network decides."""

    metric: str
    network: str
    value: float | None
    limit: float
    kept: bool | None
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """What was decided, on which bytes, and why.

    Attributes
    ----------
    set, split, predictions, policy, context : SHA-256 of what the decision was made from
    findings : one per clause, in the policy's order
    """

    outcome: Outcome
    set: str
    split: str
    predictions: str
    policy: str
    context: str
    engine: int
    findings: tuple[Finding, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences of the clauses that were not kept."""
        return tuple(finding.sentence for finding in self.findings if not finding.kept)

    def to_json(self) -> bytes:
        return to_json(asdict(self))

    @classmethod
    def from_json(cls, content: bytes, *, name: str = "verdict") -> "Verdict":
        value: dict[str, Any] = parse_json(content, name=name, error=IntegrityError)
        try:
            return cls(**{**value, "findings": tuple(Finding(**finding) for finding in value["findings"])})
        except (KeyError, TypeError) as error:
            raise IntegrityError(f"{name} is not a verdict: {error!r}") from None


def policy_digest(policy: Gate) -> str:
    return sha256(to_json(policy.model_dump()))


def judge(predictions: bytes, policy: Gate, *, context: bytes, engine: int) -> Verdict:
    """Say whether the set that gave these predictions stays within the policy, and if not, why.

    Rates are averaged over seeds, per network; each clause is held against its worst network. A metric that
    could not be measured is a refusal: an empty cell is missing evidence, not evidence of fairness.

    Parameters
    ----------
    predictions : the bytes of predictions.parquet
    context : the bytes of context.json, or b"" where there is none
    """
    for limit in policy.limits:
        if limit.metric not in METRICS:
            raise ConfigError(
                f"params.yaml: gate.limits names metric {limit.metric!r}; choose one of {', '.join(METRICS)}"
            )
    table = Predictions.from_parquet(predictions)
    runs = table.runs()
    if not runs:
        raise MeasurementError("there are no predictions to judge")
    findings = tuple(_finding(limit, table, runs) for limit in policy.limits)
    if any(finding.kept is False for finding in findings):
        outcome: Outcome = "fail"
    else:
        outcome = "pass" if all(finding.kept for finding in findings) else "insufficient"
    return Verdict(
        outcome=outcome,
        set=table.set,
        split=table.split,
        predictions=sha256(predictions),
        policy=policy_digest(policy),
        context=sha256(context),
        engine=engine,
        findings=findings,
    )


def _finding(limit: Limit, table: Predictions, runs: list[tuple[int, int]]) -> Finding:
    upper = limit.at_most is not None
    bound = limit.at_most if limit.at_most is not None else limit.at_least
    assert bound is not None
    worst: tuple[float, str] | None = None
    for index, network in enumerate(table.networks):
        seeds = [table.confusion(index, seed) for network_, seed in runs if network_ == index]
        measured = measure(limit.metric, mean_confusion(seeds))
        if measured.value is None:
            sentence = f"{limit.metric}: not measured, {measured.reason}"
            return Finding(limit.metric, network, None, bound, None, sentence)
        key = measured.value if upper else -measured.value
        if worst is None or key > (worst[0] if upper else -worst[0]):
            worst = measured.value, network
    assert worst is not None
    value, network = worst
    kept = value <= bound + _ROUNDING if upper else value >= bound - _ROUNDING
    relation = ("within" if kept else "over") if upper else ("at or above" if kept else "below")
    sentence = f"{limit.metric}: {value:.3f} ({network}) is {relation} the limit {bound:.3f}"
    return Finding(limit.metric, network, value, bound, kept, sentence)
