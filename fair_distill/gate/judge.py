"""The verdict: predictions against a policy. A pure function; the numbers and the reasons go where it goes.

PASS: every clause's bound is within its limit. FAIL: a Holm-adjusted test shows that some limit is broken.
INCONCLUSIVE: neither. INSUFFICIENT: there is too little to look at. WAIVED: what was not met was waived by name.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any, Literal

import numpy as np

from fair_distill.artifacts import parse_json, sha256, to_json
from fair_distill.config import Gate, Limit
from fair_distill.errors import ConfigError, IntegrityError, MeasurementError
from fair_distill.gate.answers import Answers, answers, same_examples
from fair_distill.gate.bounds import level
from fair_distill.gate.evidence import Evidence, Place, gather, lacking, scope, value_of
from fair_distill.gate.explain import Outcome as Outcome
from fair_distill.gate.explain import measured, remedy
from fair_distill.gate.metrics import GAPS, METRICS, Confusion, measure
from fair_distill.gate.noise import fair_tables
from fair_distill.gate.policy import (
    PROMOTED,
    Context,
    alpha_at,
    check,
    check_waivers,
    policy_digest,
    read_context,
    tighten,
    waiver_for,
)
from fair_distill.gate.predictions import Predictions

# The limit itself is kept: 9 of 10 against 6 of 10 is a gap of 0.3, which floats call 0.30000000000000004.
_ROUNDING = 1e-9
_SHOWN = 5
EXIT_CODES = {"pass": 0, "waived": 0, "fail": 1, "inconclusive": 3, "insufficient": 3}
"""What `enforce` ends with; a waived verdict lets pass, and says by whose word."""


@dataclass(frozen=True)
class Culprit:
    """One place where a clause was not met, the worst first.

    Attributes
    ----------
    groups, rates, examples : of the one or two sides that are looked at
    value, bound : the number there, and its bound on the side of the limit
    sentence : what was measured; `remedy`: what would change the outcome
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
    noise : what a perfectly fair classifier would show by chance
    bound : what has to stay within the limit; None in `mode: point` and where there is too little evidence
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
    alpha : the risk this attempt may take of passing a set that breaks a limit; None in `mode: point`
    findings : one per clause, in the policy's order
    numbers : per network and metric: value, per_seed, and for gaps noise
    compared : the same values of the references, per reference and network
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
    numbers: dict[str, dict[str, dict[str, float | None]]]
    compared: dict[str, dict[str, dict[str, float | None]]]

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
        return to_json(asdict(self))

    @classmethod
    def from_json(cls, content: bytes, *, name: str = "verdict") -> "Verdict":
        value: dict[str, Any] = parse_json(content, name=name, error=IntegrityError)
        try:
            findings = tuple(_finding_of(finding) for finding in value["findings"])
            verdict = cls(**{**value, "findings": findings, "groups": tuple(Group(**row) for row in value["groups"])})
        except (KeyError, TypeError) as error:
            raise IntegrityError(f"{name} is not a verdict: {error!r}") from None
        if verdict.outcome not in EXIT_CODES:
            raise IntegrityError(f"{name} is not a verdict: its outcome is {verdict.outcome!r}")
        return verdict


def _finding_of(value: dict[str, Any]) -> Finding:
    def culprit(row: dict[str, Any]) -> Culprit:
        plain = {key: tuple(row[key]) for key in ("classes", "rates", "examples")}
        return Culprit(**{**row, **plain, "groups": tuple(tuple(side) for side in row["groups"])})

    return Finding(**{**value, "culprits": tuple(culprit(row) for row in value["culprits"])})


def judge(
    predictions: bytes,
    policy: Gate,
    *,
    context: bytes,
    engine: int,
    references: Mapping[str, bytes] | None = None,
    floor: Gate | None = None,
    now: date | None = None,
) -> Verdict:
    """Say whether the set that gave these predictions stays within the policy, and if not, why.

    Rates are averaged over seeds, per network; each clause is held against its worst network. A metric that
    could not be measured is a refusal: an empty cell is missing evidence, not evidence of fairness.

    Parameters
    ----------
    predictions : the bytes of predictions.parquet
    context : the bytes of context.json, or b"" where there is none
    references : the bytes of the predictions that clauses with `over` compare to, by name, on the same split;
        under `promoted` those that context.json names
    floor : an organisation's policy, which `policy` may tighten and not loosen
    now : the day, for waivers; on no day no waiver counts

    Raises
    ------
    ConfigError
        If the policy or the context cannot be applied as it stands.
    IntegrityError
        If a reference is of another split, or not the one that was promoted.
    MeasurementError
        If there is nothing to judge, or what is there contradicts itself.
    """
    check(policy)
    if floor is not None:
        tighten(policy, floor)
    known = read_context(context)
    table = Predictions.from_parquet(predictions)
    if not len(table):
        raise MeasurementError("there are no predictions to judge")
    check_waivers(known, policy, set=table.set)
    for limit in policy.limits:
        scope(limit, table.classes, table.groups)
    others = {name: _reference(name, content, table, known) for name, content in sorted((references or {}).items())}
    _referred(policy, others, known)

    own = [answers(table, network) for network in range(len(table.networks))]
    alpha = None if policy.alpha is None else alpha_at(policy.alpha, known.attempt)
    # The same draws whoever judges: a constant, because it decides nothing and a verdict is a function of its inputs.
    fair = [fair_tables(one, np.random.default_rng(0)) for one in own]
    findings = tuple(
        _waived(_finding(limit, policy, own, others, fair, alpha, known), known, table.set, now)
        for limit in policy.limits
    )
    return Verdict(
        outcome=_outcome(findings),
        set=table.set,
        split=table.split,
        predictions=sha256(predictions),
        policy=policy_digest(policy),
        policy_floor=None if floor is None else policy_digest(floor),
        context=sha256(context),
        references={name: sha256(content) for name, content in sorted((references or {}).items())},
        engine=engine,
        mode=policy.mode,
        attempt=known.attempt,
        alpha=alpha,
        findings=findings,
        groups=tuple(row for one in own for row in _groups(one, alpha)),
        numbers={one.network: _numbers(one, tables) for one, tables in zip(own, fair, strict=True)},
        compared={
            name: {network: _values(one.table()) for network, one in nets.items()} for name, nets in others.items()
        },
    )


def _reference(name: str, content: bytes, table: Predictions, known: Context) -> dict[str, Answers]:
    other = Predictions.from_parquet(content, name=f"predictions of {name!r}")
    if other.split != table.split:
        raise IntegrityError(
            f"{name!r} was evaluated on the split {other.split[:12]}…, the set on {table.split[:12]}…; "
            "evaluate both on one"
        )
    if name == PROMOTED:
        if known.promoted is None:
            raise IntegrityError("predictions of a promoted version were given; context.json names none")
        if sha256(content) != known.promoted.predictions or other.set != known.promoted.version:
            raise IntegrityError(
                f"the predictions given as the promoted version's are {sha256(content)[:12]}… of {other.set[:12]}…; "
                f"context.json names {known.promoted.predictions[:12]}… of {known.promoted.version[:12]}…"
            )
    return {network: answers(other, i) for i, network in enumerate(other.networks)}


def _referred(policy: Gate, others: Mapping[str, object], known: Context) -> None:
    for limit in policy.limits:
        first = limit.over == PROMOTED and known.promoted is None
        if limit.over and limit.over not in others and not first:
            raise ConfigError(
                f"params.yaml: gate.limits: {limit.name}: the predictions of {limit.over!r} were not given; "
                "it is a reference that was evaluated on this split, or `promoted`"
            )


def _outcome(findings: tuple[Finding, ...]) -> Any:
    open_ = {finding.outcome for finding in findings if finding.waiver is None}
    for worst in ("fail", "insufficient", "inconclusive"):
        if worst in open_:
            return worst
    return "waived" if any(finding.waiver for finding in findings) else "pass"


def _waived(finding: Finding, known: Context, set_: str, now: date | None) -> Finding:
    if finding.kept:
        return finding
    waiver, note = waiver_for(known, finding.clause, set=set_, now=now)
    if waiver is not None:
        return replace(finding, waiver=waiver.sentence(), sentence=f"{finding.sentence} [{waiver.sentence()}]")
    return replace(finding, sentence=f"{finding.sentence} [{note}]") if note else finding


def _finding(
    limit: Limit,
    policy: Gate,
    own: list[Answers],
    others: Mapping[str, Mapping[str, Answers]],
    fair: list[list[Confusion]],
    alpha: float | None,
    known: Context,
) -> Finding:
    number = limit.at_most if limit.at_most is not None else limit.at_least
    assert number is not None
    blank = Finding(
        limit.name, limit.metric, own[0].network, "insufficient", None, None, None, None, number, None, "", ()
    )
    if limit.over == PROMOTED and known.promoted is None:
        accepted = limit.first_release == "accept"
        told = "is met" if accepted else "is not met"
        sentence = f"{limit.name}: nothing is promoted yet, so the clause {told} (first_release: {limit.first_release})"
        return replace(blank, outcome="pass" if accepted else "fail", sentence=sentence)

    for one in own:
        lack = _lack(limit, policy, one)
        if lack:
            return replace(blank, network=one.network, sentence=f"{limit.name}: {lack}")
    found = [gather(limit, one, _other(limit, one, others)) for one in own]
    return _decided(limit, number, found, own, fair, alpha)


def _other(limit: Limit, own: Answers, others: Mapping[str, Mapping[str, Answers]]) -> Answers | None:
    if limit.over is None:
        return None
    networks = others[limit.over]
    if own.network not in networks:
        raise MeasurementError(f"{limit.over!r} was not evaluated with the network {own.network}; evaluate it again")
    same_examples(own, networks[own.network], name=limit.over)
    return networks[own.network]


def _lack(limit: Limit, policy: Gate, own: Answers) -> str | None:
    if policy.minimum_seeds is not None and own.seeds < policy.minimum_seeds:
        return (
            f"too little evidence, {own.network} was trained with {own.seeds} seeds and {policy.minimum_seeds} are "
            "needed; raise params.yaml: evaluate.seeds"
        )
    of = scope(limit, own.classes, own.groups)
    missing = lacking(own, limit, of, 1)
    if missing:
        return f"not measured, {missing}"
    few = lacking(own, limit, of, policy.minimum_per_cell or 1)
    return f"too little evidence, {few}; collect more, or compare coarser groups" if few else None


def _decided(
    limit: Limit,
    number: float,
    found: list[Evidence],
    own: list[Answers],
    fair: list[list[Confusion]],
    alpha: float | None,
) -> Finding:
    upward = limit.at_most is not None
    sign = 1.0 if upward else -1.0  # so that more is worse
    # Per network, at each place: the number, and the bound that has to stay within the limit.
    each = [sign * one.each for one in found]
    bounds = each if alpha is None else [sign * (one.upper if upward else one.lower)(alpha) for one in found]
    broken = [values > sign * number + _ROUNDING for values in bounds]
    shown, rejected = (None, broken) if alpha is None else _holm(found, sign, number, alpha)
    outcome: Outcome = "pass"
    if any(places.any() for places in broken):
        outcome = "fail" if any(places.any() for places in rejected) else "inconclusive"
    guilty = {"fail": rejected, "inconclusive": broken, "pass": broken}[outcome]
    # The network with the most to answer for: rejected or broken places first, then the farthest bound.
    worst = max(range(len(found)), key=lambda i: (bool(guilty[i].any()), float(bounds[i].max()), -i))
    evidence, network = found[worst], own[worst]
    culprits = tuple(
        _culprit(limit, outcome, evidence, j, network, alpha, number, float(bounds[worst][j]))
        for j in _ranked(guilty[worst], bounds[worst], each[worst])
    )
    floors = [value_of(limit, table) for table in fair[worst]] if limit.metric in GAPS else []
    noise = [floor for floor in floors if floor is not None]
    bound = None if alpha is None else sign * float(bounds[worst].max())
    least = None if shown is None else sign * float(shown[worst].max())
    return Finding(
        clause=limit.name,
        metric=limit.metric,
        network=evidence.network,
        outcome=outcome,
        value=evidence.value,
        per_seed=evidence.per_seed,
        noise=float(np.mean(noise)) if noise else None,
        bound=bound,
        limit=number,
        waiver=None,
        sentence=_sentence(limit, evidence, number, outcome, bound, least, alpha, culprits),
        culprits=culprits,
    )


def _ranked(guilty: Any, bounds: Any, each: Any) -> list[int]:
    order = np.lexsort((-each, -bounds))
    return [int(j) for j in order if guilty[j]][:_SHOWN]


def _holm(found: list[Evidence], sign: float, number: float, alpha: float) -> tuple[list[Any], list[Any]]:
    """Holm's step-down test that a place breaks the limit, over all networks and places.

    Returns the simultaneous bounds of the first step, and which places were found guilty by the last.
    """
    remaining = sum(one.tests * len(one.each) for one in found)
    rejected = [np.zeros(len(one.each), dtype=bool) for one in found]
    first: list[Any] = []
    while True:
        bounds = [sign * (one.lower if sign > 0 else one.upper)(alpha / remaining) for one in found]
        first = first or bounds
        new = [(b > sign * number + _ROUNDING) & ~r for b, r in zip(bounds, rejected, strict=True)]
        rejected = [r | n for r, n in zip(rejected, new, strict=True)]
        count = sum(int(n.sum()) for n in new)
        remaining -= count
        if count == 0 or remaining < 1:
            return first, rejected


def _culprit(
    limit: Limit,
    outcome: Outcome,
    evidence: Evidence,
    j: int,
    own: Answers,
    alpha: float | None,
    number: float,
    bound: float,
) -> Culprit:
    place = evidence.places[j]
    rates, sizes = _rates_at(place, own)
    sign = 1.0 if limit.at_most is not None else -1.0
    parts = (0.0, 0.0) if alpha is None else tuple(float(part[j]) for part in evidence.parts(alpha))
    return Culprit(
        classes=() if place.rate is None else tuple(own.classes[c] for c in place.rate.of),
        groups=tuple(tuple(own.groups[g] for g in side) for side in (place.first, place.second) if side),
        rates=rates,
        examples=sizes,
        value=float(evidence.each[j]),
        bound=None if alpha is None else sign * bound,
        sentence=measured(place, rates, sizes, own),
        remedy=remedy(
            limit,
            outcome,
            place,
            own,
            worse=int(np.argmin(rates)),
            margin=sign * (number - float(evidence.each[j])),
            parts=(parts[0], parts[1]),
            alpha=alpha,
            examples=min(sizes),
        ),
    )


def _rates_at(place: Place, own: Answers) -> tuple[tuple[float, ...], tuple[int, ...]]:
    table = own.table()
    rates, sizes = [], []
    for side in (place.first, place.second):
        if side is None:
            continue
        groups = list(side)
        size = (
            table.support[groups].sum() if place.rate is None else table.support[groups][:, list(place.rate.of)].sum()
        )
        if place.rate is None:
            assert table.confidence is not None
            right = np.trace(table.counts[groups].sum(axis=0))
            rates.append(float((table.confidence[groups].sum() - right) / size))
        else:
            said, _ = table.parts([place.rate])
            rates.append(float(said[0, groups].sum() / size))
        sizes.append(round(float(size)))
    return tuple(rates), tuple(sizes)


def _sentence(
    limit: Limit,
    evidence: Evidence,
    number: float,
    outcome: Outcome,
    bound: float | None,
    least: float | None,
    alpha: float | None,
    culprits: tuple[Culprit, ...],
) -> str:
    upward = limit.at_most is not None
    head = f"{limit.name}: {evidence.value:.3f} ({evidence.network})"
    sure = "" if alpha is None else f" with {100 * (1 - alpha):.1f} % confidence"
    relation = {
        ("pass", True): "is within",
        ("pass", False): "is at or above",
        ("fail", True): "is over",
        ("fail", False): "is below",
        ("inconclusive", True): "is not shown to stay within",
        ("inconclusive", False): "is not shown to reach",
    }[outcome, upward]
    told = f"{head} {relation} the limit {number:.3f}"
    if alpha is None or bound is None or least is None:
        told += " (mode: point, no confidence)"
    elif outcome == "fail":
        told += f": {'at least' if upward else 'at most'} {least:.3f}{sure}"
    else:
        told += f": {'at most' if upward else 'at least'} {bound:.3f}{sure}"
    if outcome != "pass" and culprits:
        told += f"; {culprits[0].sentence}; {culprits[0].remedy}"
    return told


def _groups(own: Answers, alpha: float | None) -> list[Group]:
    rows = []
    for g, name in enumerate(own.groups):
        at = np.flatnonzero(own.of_groups == g)
        clusters = own.clusters[at]
        count = len(np.unique(clusters))
        accuracy = low = high = None
        if len(at):
            right = (own.predicted[:, at] == own.labels[at]).astype(float)
            accuracy = float(right.mean())
            if alpha is not None and own.seeds > 1 and count > 1:
                rate = level(right[None], clusters)
                low = max(float(rate.lower(alpha / 2)[0]), 0.0)
                high = min(float(rate.upper(alpha / 2)[0]), 1.0)
        rows.append(Group(own.network, name, len(at), count, accuracy, low, high))
    return rows


def _values(table: Confusion) -> dict[str, float | None]:
    return {name: measure(name, table).value for name in METRICS}


def _numbers(own: Answers, fair: list[Confusion]) -> dict[str, dict[str, float | None]]:
    runs = [_values(table) for table in own.tables()]
    numbers: dict[str, dict[str, float | None]] = {}
    for name, value in _values(own.table()).items():
        each = [run[name] for run in runs]
        defined = [one for one in each if one is not None]
        numbers[name] = {"value": value, "per_seed": float(np.mean(defined)) if len(defined) == len(each) else None}
        if name in GAPS:
            floors = [measure(name, table).value for table in fair] if value is not None else []
            numbers[name]["noise"] = (
                float(np.mean([floor for floor in floors if floor is not None])) if floors else None
            )
    return numbers
