"""What a policy may contain, how strict it is, and the context that a verdict is computed in.

An organisation's floor is a policy that a team may tighten and never loosen. context.json holds what a verdict needs
from the registry: what is promoted, which attempt was reserved, and who waived what. The verdict names both by digest.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from fair_distill.config import Gate, Limit, Section, checked, shortfall
from fair_distill.errors import ConfigError, MeasurementError
from fair_distill.files import parse_json, sha256, to_json
from fair_distill.gate.metrics import CARD_METRICS, METRICS, PREDICTION_METRICS, Metric
from fair_distill.gate.verdict import Verdict
from fair_distill.statements import Statement, read_envelope, signed_by

PROMOTED = "promoted"
# Keys that older policies do not have. Without a value they are not part of the digest, which therefore stays the same.
_NEWER = ("exam", "evaluators", "approvers")
MOST_ATTEMPTS = 1_000_000


def plain_policy(policy: Gate) -> dict[str, Any]:
    """Return a policy as plain values, as its digest covers it."""
    plain = policy.model_dump(mode="json")
    return {key: value for key, value in plain.items() if key not in _NEWER or value}


def policy_digest(policy: Gate) -> str:
    return sha256(to_json(plain_policy(policy)))


def alpha_at(alpha: float, attempt: int) -> float:
    """Return the risk that the k-th attempt may take: alpha · 6 / (π² k²), which over all attempts sums to alpha.

    An attempt is a distinct pair of set and split. Trying sets on one split until one passes is a search, and a
    search benefits from luck. So each attempt is harder to pass than the one before, and the total risk stays below
    alpha. Judging the same set again is not a new attempt.
    """
    return alpha * 6 / (9.869604401089358 * attempt**2)


def check(policy: Gate) -> None:
    """Raise ConfigError for a clause that cannot be decided, whatever the predictions."""
    for limit in policy.limits:
        metric = METRICS.get(limit.metric)
        if metric is None:
            raise ConfigError(
                f"{policy.where}.limits names metric {limit.metric!r}; choose one of {', '.join(METRICS)}"
            )
        _check_clause(limit, metric, where=f"{policy.where}.limits: {limit.name}")


def vacuous(policy: Gate) -> tuple[str, ...]:
    """Return a warning for each clause that every set satisfies, because its limit is at the end of the scale."""
    return tuple(
        f"{limit.name}: every set satisfies {_side(limit)}; choose a limit that can be violated"
        for limit in policy.limits
        if (limit.at_most is not None and limit.at_most >= 1)
        or (limit.at_least is not None and limit.at_least <= (-1 if limit.over else 0))
    )


def _side(limit: Limit) -> str:
    return f"at_most {limit.at_most:g}" if limit.at_most is not None else f"at_least {limit.at_least:g}"


def _check_clause(limit: Limit, metric: Metric, *, where: str) -> None:
    if getattr(limit, metric.direction) is None:
        raise ConfigError(f"{where}: {metric.name} is limited by {metric.direction}; move the number there")
    if limit.metric in CARD_METRICS:
        if limit.over or limit.by or limit.classes or limit.groups or limit.against:
            raise ConfigError(
                f"{where}: {metric.name} is a number of the whole set; remove over, by, classes, groups and against"
            )
        return
    rising = [name for name, other in PREDICTION_METRICS.items() if other.rise is not None]
    if limit.over and limit.metric not in rising:
        raise ConfigError(f"{where}: {metric.name} cannot be limited over another set; choose {', '.join(rising)}")
    if limit.against and not metric.is_gap:
        raise ConfigError(f"{where}: {metric.name} does not compare groups; remove against")
    if limit.by and len(set(limit.by)) < len(limit.by):
        raise ConfigError(f"{where}: `by` lists an attribute twice; list each once")
    if limit.by and metric.pools_groups and not limit.groups:
        raise ConfigError(f"{where}: {metric.name} pools all groups; select some with `groups`, or remove `by`")
    if limit.groups and metric.is_gap and len(set(limit.groups)) < 2:
        raise ConfigError(f"{where}: a gap needs two groups, got {', '.join(limit.groups)}")
    if limit.classes and not metric.selects_classes:
        raise ConfigError(f"{where}: {metric.name} compares groups over all classes; remove classes")


def asks_the_card(policy: Gate) -> bool:
    """Say whether a clause is on the set itself, so that judging needs its manifest."""
    return any(limit.metric in CARD_METRICS for limit in policy.limits)


def tighten(policy: Gate, floor: Gate) -> None:
    """Raise ConfigError unless `policy` is at least as strict as `floor` in its clauses and its keys.

    The floor's exam is not compared with the policy's: the predictions themselves must satisfy both.
    """
    check(floor)
    fault = _laxer(policy, floor)
    if fault:
        required, actual = fault
        raise ConfigError(f"the policy floor asks for {required}; {policy.where} has {actual}")


def laxer(policy: Gate, than: Gate) -> str | None:
    """Say in which point `policy` is laxer than another one; None if it is at least as strict in everything."""
    fault = _laxer(policy, than)
    if fault:
        return f"{fault[1]} instead of {fault[0]}"
    if than.exam is None:
        return None
    if policy.exam is None:
        return "no exam instead of one"
    return shortfall(policy.exam, than.exam)


def laxer_than(policy: Gate, verdict: Verdict) -> str | None:
    """Say in which point `policy` is laxer than the policy of an earlier verdict; None if it is as strict.

    A verdict of a release that did not record its policy is compared by its clauses and their limits.
    """
    if verdict.gate is not None:
        return laxer(policy, checked(Gate, verdict.gate, name="the earlier verdict's policy"))
    limits = {limit.name: limit for limit in policy.limits}
    for finding in verdict.findings:
        limit = limits.get(finding.clause)
        if limit is None:
            return f"no clause {finding.clause!r}"
        weaker = (limit.at_most is not None and limit.at_most > finding.limit) or (
            limit.at_least is not None and limit.at_least < finding.limit
        )
        if weaker:
            return f"{limit.name!r} with {_side(limit)} instead of {finding.limit:g}"
    return None


def _laxer(policy: Gate, than: Gate) -> tuple[str, str] | None:
    """Return the first term that is laxer: what the other policy requires, and what this one has."""
    order = {"point": 0, "bounds": 1}
    if order[policy.mode] < order[than.mode]:
        return f"`mode: {than.mode}`", f"`mode: {policy.mode}`"
    for key, sign in (("alpha", -1), ("minimum_seeds", 1), ("minimum_per_cell", 1)):
        required, actual = getattr(than, key), getattr(policy, key)
        if required is not None and sign * actual < sign * required:
            return f"{key} of {'at most' if sign < 0 else 'at least'} {required:g}", f"{actual:g}"
    for key in ("evaluators", "approvers"):
        required, actual = set(getattr(than, key)), set(getattr(policy, key))
        if required and not (actual and actual <= required):
            return f"{key} among {len(required)} keys", f"{len(actual)}, {len(actual - required)} of them others"
    for clause in than.limits:
        if not any(_as_strict(limit, clause) for limit in policy.limits):
            return f"{clause.name!r} with {_side(clause)}", "no clause as strict"
    return None


def _as_strict(limit: Limit, floor: Limit) -> bool:
    same = ("metric", "over")
    if any(getattr(limit, key) != getattr(floor, key) for key in same):
        return False
    if (limit.against or "each") != (floor.against or "each") or set(limit.by or ()) != set(floor.by or ()):
        return False
    # A limit on the worst of all groups and classes holds for the worst of some; one on a mean says nothing of a part.
    metric = METRICS.get(limit.metric)
    wide = metric is not None and metric.covers_parts
    for key in ("classes", "groups"):
        own, asked = getattr(limit, key), getattr(floor, key)
        covered = own is None or (asked is not None and set(asked) <= set(own))
        if (set(own or ()) != set(asked or ())) and not (wide and covered and limit.against != "rest"):
            return False
    if floor.first_release == "refuse" and limit.first_release != "refuse":
        return False
    if floor.at_most is not None:
        return limit.at_most is not None and limit.at_most <= floor.at_most
    assert floor.at_least is not None
    return limit.at_least is not None and limit.at_least >= floor.at_least


def _day(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("a date YYYY-MM-DD was wanted")
    return date.fromisoformat(value)


def _version(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError(f"the SHA-256 of a version was wanted (`fair-distill publish` prints it); got {text!r}")
    return text


Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1)]


class Promoted(Section):
    """What a channel holds now: its version, and the predictions that it was promoted on."""

    version: Sha256
    predictions: Sha256


def _person(name: str) -> str:
    """Return a name without what looks the same on a page: capitals, spaces, signs, widths, invisible characters."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", name))).casefold() or name


class Waiver(Section):
    """Two people's decision to accept that one version violates one clause, until a day.

    Attributes
    ----------
    envelope : the approver's signature on all other fields; required where the policy names `approvers`
    """

    set: Annotated[str, AfterValidator(_version)]
    clause: Text
    who: Text
    approved_by: Text
    why: Text
    expires: Annotated[date, BeforeValidator(_day)]
    envelope: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _two_people(self) -> "Waiver":
        if _person(self.who) == _person(self.approved_by):
            raise ValueError(f"a waiver needs a second person; {self.who!r} asked for it and approved it")
        return self

    @property
    def statement(self) -> Statement:
        """What the approver signs."""
        fields = self.model_dump(mode="json", exclude={"envelope"})
        return Statement("waivers", self.clause, self.set, sha256(to_json(fields)))

    def is_signed_by(self, keys: Sequence[str]) -> bool:
        """Say whether the envelope carries this waiver's statement and the signature of one of the keys."""
        if self.envelope is None:
            return False
        content = to_json(self.envelope)
        name = f"context.json: the waiver of {self.clause!r}"
        return read_envelope(content, name=name) == self.statement and signed_by(content, keys, name=name)

    def sentence(self) -> str:
        return f"waived until {self.expires} by {self.who}, approved by {self.approved_by}: {self.why}"


class Attempt(Section):
    """The attempt that the registry reserved: which set, on which gate split, and its number, from 1."""

    set: Sha256
    split: Sha256
    number: Annotated[int, Field(ge=1, le=MOST_ATTEMPTS)]


class Context(Section):
    """context.json: what a verdict needs from the registry. `{}` is a first attempt with nothing promoted."""

    promoted: Promoted | None = None
    attempt: Attempt | None = None
    waivers: Annotated[tuple[Waiver, ...], Field(strict=False)] = ()


def read_context(content: bytes) -> Context:
    """Read context.json; no bytes are no context."""
    raw: Mapping[str, Any] = parse_json(content, name="context.json", error=ConfigError) if content else {}
    try:
        return Context.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"context.json: {where}: {message[0].lower()}{message[1:]}") from None


def attempt_for(context: Context, *, set: str, split: str) -> int:
    """Return the number of the attempt that judging a set on a split is.

    A set without a reserved attempt of its own is judged as the next attempt after the reserved one: that is the
    number it would get. It never borrows the number of another set.

    Raises
    ------
    MeasurementError
        If the set's attempt was reserved for another split: its predictions or the context are stale.
    """
    reserved = context.attempt
    if reserved is None:
        return 1
    if reserved.set != set:
        return min(reserved.number + 1, MOST_ATTEMPTS)
    if reserved.split != split:
        raise MeasurementError(
            f"context.json reserves attempt {reserved.number} on the gate split {reserved.split[:12]}…; the "
            f"predictions are for {split[:12]}…. Run `fair-distill gate reserve`, then evaluate again"
        )
    return reserved.number


def waiver_for(
    context: Context, clause: str, *, set: str, now: date | None, approvers: Sequence[str] = ()
) -> tuple[Waiver | None, str | None]:
    """Return the waiver in force for a clause, if any; else a sentence about a waiver that does not count."""
    note = None
    for waiver in context.waivers:
        if waiver.clause != clause or waiver.set != set:
            continue
        if now is None:
            note = f"a waiver until {waiver.expires} does not count: this verdict has no date"
        elif now > waiver.expires:
            note = f"a waiver by {waiver.who} expired on {waiver.expires}"
        elif approvers and not waiver.is_signed_by(approvers):
            note = f"a waiver by {waiver.who} does not count: none of the policy's approvers signed it"
        else:
            return waiver, None
    return None, note


def check_waivers(context: Context, policy: Gate, *, set: str) -> None:
    """Raise ConfigError for a waiver of a clause that the policy does not have: a misspelt one waives nothing."""
    names = [limit.name for limit in policy.limits]
    for waiver in context.waivers:
        if waiver.set == set and waiver.clause not in names:
            raise ConfigError(
                f"context.json: a waiver names the clause {waiver.clause!r}; choose one of {'; '.join(names)}"
            )
