"""What a verdict is: values, and their one spelling as JSON."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from fair_distill.errors import IntegrityError, Refused, Undecided
from fair_distill.files import parse_json, sha256, to_json
from fair_distill.formats.strict_json import check_fields

Outcome = Literal["pass", "fail", "inconclusive", "insufficient"]
EXIT_CODES = {
    "pass": 0,
    "waived": 0,  # lets pass, and says by whose word
    "fail": Refused.exit_code,
    "inconclusive": Undecided.exit_code,
    "insufficient": Undecided.exit_code,
}
Numbers = dict[str, dict[str, dict[str, float | None]]]
_NEWER = ("examples", "evaluation", "gate", "warnings")


@dataclass(frozen=True)
class Culprit:
    """One place where a clause was not met, the worst first.

    Attributes
    ----------
    groups, rates, examples : of the one or two sides that are looked at
    value, bound : the number there, and its bound on the side of the limit
    sentence : what was measured
    remedy : the nearest thing that would change the outcome
    """

    classes: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    rates: tuple[float, ...]
    examples: tuple[int, ...]
    value: float
    bound: float | None
    sentence: str
    remedy: str


@dataclass(frozen=True)
class Finding:
    """One clause of the policy against what was measured; the worst network decides.

    Attributes
    ----------
    value : the metric of mean rates over seeds; `per_seed` is the mean of each seed's own
    network : the worst; "the set" where no network has a part in it
    noise : what chance would show: of a perfectly fair classifier, for gaps; of unseen images, for near copies
    bound : what has to stay within the limit; the value itself where that is counted and not estimated; None in
        `mode: point` and where there is too little evidence
    waiver : by whose word an unmet clause holds nobody up
    """

    clause: str
    metric: str
    network: str
    outcome: Outcome
    value: float | None
    per_seed: float | None
    noise: float | None
    bound: float | None
    limit: float
    waiver: str | None
    sentence: str
    culprits: tuple[Culprit, ...]

    @property
    def kept(self) -> bool | None:
        """Whether the limit is kept; None where that could not be decided. A waiver does not make it kept."""
        return {"pass": True, "fail": False}.get(self.outcome)


@dataclass(frozen=True)
class Group:
    """One group's accuracy in one network, with an interval that holds it with the verdict's confidence."""

    network: str
    group: str
    examples: int
    clusters: int
    accuracy: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Verdict:
    """What was decided, on which bytes, and why.

    Attributes
    ----------
    set, split, predictions, policy, policy_floor, context, references : SHA-256 of what the decision was made from
    examples : rows of the gate split
    evaluation : how the set was evaluated: `networks` with their options, `seeds`, and `recipe`, the SHA-256 of the
        card's training recipe. Null, as `examples` and `gate`, in verdicts of releases that did not record it
    gate : the policy in full; `policy` is its digest
    warnings : clauses of the policy that every set satisfies
    alpha : the risk this attempt may take of passing a set that breaks a limit; None in `mode: point`
    findings : one per clause, in the policy's order
    groups : every group, and where groups have several attributes, each attribute's (`sex: f`)
    numbers : per network and metric: value, per_seed, and for gaps noise; null where it is not defined
    marginals : the same for coarser groups, by the attributes that make them
    undefined : why a number is null, by what makes the groups ("" for the groups themselves) and metric
    compared : the values of the references, per reference, network and metric
    """

    outcome: Literal["pass", "fail", "inconclusive", "insufficient", "waived"]
    set: str
    split: str
    predictions: str
    policy: str
    policy_floor: str | None
    context: str
    references: dict[str, str]
    engine: int
    mode: str
    attempt: int
    alpha: float | None
    findings: tuple[Finding, ...]
    groups: tuple[Group, ...]
    numbers: Numbers
    marginals: dict[str, Numbers]
    undefined: dict[str, dict[str, str]]
    compared: Numbers
    examples: int | None = None
    evaluation: dict[str, Any] | None = None
    gate: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences of the clauses that were not met, waived or not."""
        return tuple(finding.sentence for finding in self.findings if not finding.kept)

    @property
    def lets_pass(self) -> bool:
        """Whether the set may be promoted: every clause is met, or waived by name."""
        return self.outcome in ("pass", "waived")

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.outcome]

    @property
    def digest(self) -> str:
        return sha256(self.to_json())

    def to_json(self) -> bytes:
        """Return the verdict as JSON, without the keys that older releases did not have where they have no value."""
        return to_json({key: value for key, value in asdict(self).items() if key not in _NEWER or value})

    @classmethod
    def from_json(cls, content: bytes, *, name: str = "verdict") -> "Verdict":
        value: dict[str, Any] = parse_json(content, name=name, error=IntegrityError)
        try:
            value = {"marginals": {}, "undefined": {}, **value}  # as they were before groups had several attributes
            check_fields(value, cls, name=name, error=IntegrityError)
            findings = tuple(_finding(row) for row in value["findings"])
            groups, warnings = tuple(Group(**row) for row in value["groups"]), tuple(value.get("warnings", ()))
            verdict = cls(**{**value, "findings": findings, "groups": groups, "warnings": warnings})
            known = verdict.outcome in EXIT_CODES
        except (KeyError, TypeError) as error:
            raise IntegrityError(f"{name} is not a verdict: {error!r}") from None
        if not known:
            raise IntegrityError(f"{name} is not a verdict: its outcome is {verdict.outcome!r}")
        return verdict


def _finding(value: dict[str, Any]) -> Finding:
    return Finding(**{**value, "culprits": tuple(_culprit(row) for row in value["culprits"])})


def _culprit(value: dict[str, Any]) -> Culprit:
    plain = {key: tuple(value[key]) for key in ("classes", "rates", "examples")}
    return Culprit(**{**value, **plain, "groups": tuple(tuple(side) for side in value["groups"])})
