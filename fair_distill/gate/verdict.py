"""The verdict: plain values, and their JSON form, whose SHA-256 names the verdict."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from fair_distill.errors import IntegrityError, Refused, Undecided
from fair_distill.files import parse_json, sha256, to_json
from fair_distill.formats.strict_json import check_fields
from fair_distill.text import html_table

Outcome = Literal["pass", "fail", "inconclusive", "insufficient"]
EXIT_CODES = {
    "pass": 0,
    "waived": 0,  # the finding names the people who accepted the violation
    "fail": Refused.exit_code,
    "inconclusive": Undecided.exit_code,
    "insufficient": Undecided.exit_code,
}
Numbers = dict[str, dict[str, dict[str, float | None]]]
# Fields that verdicts of older releases do not have. Without a value they are left out of the JSON.
_NEWER = ("examples", "evaluation", "gate", "warnings", "fraction", "assumption", "outlying", "model", "constant")


@dataclass(frozen=True)
class Culprit:
    """One comparison that does not satisfy a clause; a finding lists the worst first.

    Attributes
    ----------
    groups, rates, examples : one entry for each of the one or two sides that are compared
    value, bound : the number that is compared with the limit, and its bound on that side
    sentence : the measured rates
    remedy : what limits the bound, or what could change a value that violates the limit; see `gate.remedies`
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
    """The result of one clause of the policy. The worst network decides.

    Attributes
    ----------
    value : the metric of the mean rates over seeds; `per_seed` is the mean of the metric of each seed
    network : the worst network; "the set" for a metric of the card
    noise : the value expected by chance: of a perfectly fair classifier for gaps, of unseen images for near copies
    bound : the number that must be within the limit; the value itself for a metric of the card; None in
        `mode: point` and if there is too little evidence
    waiver : who accepted the violation, until when, and why
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
    def satisfied(self) -> bool | None:
        """Whether the value satisfies the limit; None if that is undecided. A waiver does not change it."""
        return {"pass": True, "fail": False}.get(self.outcome)


@dataclass(frozen=True)
class OutlyingNetwork:
    """A network that is far from the others of its architecture in the metric of a clause.

    Attributes
    ----------
    network, seed : the architecture, and the seed of the network
    value : the metric of this network; with `over`, minus that of the reference's network with the same seed
    others : the mean over the networks that are not outlying
    """

    clause: str
    network: str
    seed: int
    value: float
    others: float


@dataclass(frozen=True)
class Group:
    """The accuracy of one group in one network, with an interval at the confidence of the verdict."""

    network: str
    group: str
    examples: int
    clusters: int
    accuracy: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Verdict:
    """The decision on a set, its reasons, and the digests of everything that it was computed from.

    Attributes
    ----------
    set, split, predictions, policy, policy_floor, context, references : SHA-256 of the inputs
    examples : number of rows of the gate split
    evaluation : how the set was evaluated: `networks` with their options, `seeds`, and `recipe`, the SHA-256 of the
        card's training recipe. Null, like `examples` and `gate`, in verdicts of releases that did not record it
    gate : the complete policy; `policy` is its digest
    warnings : clauses of the policy that every set satisfies, and networks that are far from the others
    assumption : what the bounds assume about how rates vary over trained networks; empty without bounds, and in
        verdicts of releases that did not record it
    outlying : networks that are far from the others, by clause
    constant : architectures of which some network predicts one class for every example; warnings say which class
    model : of a verdict on a model instead of a set: its `name`; `networks`, which are given or sampled; the file that
        states the `labels`; the version that it was `trained_on`; and `notes` on what was not checked. `set` is then
        the SHA-256 of the model's predictions
    alpha : the risk of passing a set that violates a limit, for this attempt; None in `mode: point`
    fraction : the fraction of the policy's alpha that the attempt takes
    findings : one per clause, in the order of the policy
    groups : every group; if groups have several attributes, also the groups of each attribute (`sex: f`)
    numbers : per network and metric: value, per_seed, and for gaps noise; null if undefined
    marginals : the same for coarser groups, by the attributes that define them
    undefined : why a number is null, by attributes ("" for the groups themselves) and metric
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
    assumption: str = ""
    outlying: tuple[OutlyingNetwork, ...] = ()
    fraction: float | None = None
    model: dict[str, Any] | None = None
    constant: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences of the clauses that are not satisfied, with or without a waiver."""
        return tuple(finding.sentence for finding in self.findings if not finding.satisfied)

    @property
    def notes(self) -> tuple[str, ...]:
        """For a model: what the verdict is about, and what was not checked."""
        notes = (self.model or {}).get("notes")
        return tuple(map(str, notes)) if isinstance(notes, list | tuple) else ()

    @property
    def lets_pass(self) -> bool:
        """Whether the set may be promoted: every clause is satisfied or waived."""
        return self.outcome in ("pass", "waived")

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.outcome]

    @property
    def digest(self) -> str:
        return sha256(self.to_json())

    def _repr_html_(self) -> str:
        """Return the verdict for a notebook: one row for each clause, as in `fair-distill gate explain`."""
        rows = [
            (finding.outcome, finding.clause, finding.network, finding.sentence, finding.waiver or "")
            for finding in self.findings
        ]
        lines = [f"attempt {self.attempt}", self.assumption, *self.warnings, *self.notes]
        caption = f"{self.outcome.upper()} · " + " · ".join(filter(None, lines))
        return html_table(("outcome", "clause", "network", "reason", "waiver"), rows, caption=caption)

    def to_json(self) -> bytes:
        """Return the verdict as JSON. Keys that older releases lack are omitted if they have no value."""
        return to_json({key: value for key, value in asdict(self).items() if key not in _NEWER or value})

    @classmethod
    def from_json(cls, content: bytes, *, name: str = "verdict") -> "Verdict":
        value: dict[str, Any] = parse_json(content, name=name, error=IntegrityError)
        try:
            value = {"marginals": {}, "undefined": {}, **value}  # groups of older releases have one attribute
            check_fields(value, cls, name=name, error=IntegrityError)
            findings = tuple(_finding(row) for row in value["findings"])
            groups, warnings = tuple(Group(**row) for row in value["groups"]), tuple(value.get("warnings", ()))
            outlying = tuple(OutlyingNetwork(**row) for row in value.get("outlying", ()))
            lists = {"findings": findings, "groups": groups, "warnings": warnings, "outlying": outlying}
            verdict = cls(**{**value, **lists, "constant": tuple(value.get("constant", ()))})
            is_valid = verdict.outcome in EXIT_CODES
        except (KeyError, TypeError) as error:
            raise IntegrityError(f"{name} is not a verdict: {error!r}") from None
        if not is_valid:
            raise IntegrityError(f"{name} is not a verdict: its outcome is {verdict.outcome!r}")
        return verdict


def _finding(value: dict[str, Any]) -> Finding:
    return Finding(**{**value, "culprits": tuple(_culprit(row) for row in value["culprits"])})


def _culprit(value: dict[str, Any]) -> Culprit:
    plain = {key: tuple(value[key]) for key in ("classes", "rates", "examples")}
    return Culprit(**{**value, **plain, "groups": tuple(tuple(side) for side in value["groups"])})
