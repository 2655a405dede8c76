"""Rules for policies, and the context of a verdict.

context.json contains everything that a verdict needs from the registry: the promoted version, the reserved attempt and
the waivers. The verdict names policy, floor and context by digest.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from fair_distill.config import Gate, Limit, Section
from fair_distill.errors import ConfigError, MeasurementError
from fair_distill.files import parse_json, sha256, to_json
from fair_distill.gate.metrics import CARD_METRICS, METRICS, PREDICTION_METRICS, Metric
from fair_distill.gate.spending import (
    PLANNED_SHARE,
    SMALLEST_FRACTION,
    check_fraction,
    fraction_of,
    legacy_fraction,
)
from fair_distill.statements import Statement, read_envelope, signed_by
from fair_distill.text import validation_sentence

PROMOTED = "promoted"
# Keys that older policies do not have. They enter the digest only with a value, so digests of old policies are stable.
_NEWER = ("exam", "evaluators", "approvers", "attempts", "networks", "planned_for")
_NEWER_OF_LIMITS = ("each_network",)
MOST_ATTEMPTS = 1_000_000


def plain_policy(policy: Gate) -> dict[str, Any]:
    """Return a policy as the plain values that its digest covers."""
    plain = policy.model_dump(mode="json")
    plain["limits"] = [
        {key: value for key, value in limit.items() if key not in _NEWER_OF_LIMITS or value}
        for limit in plain["limits"]
    ]
    return {key: value for key, value in plain.items() if key not in _NEWER or value}


def policy_digest(policy: Gate) -> str:
    return sha256(to_json(plain_policy(policy)))


def check(policy: Gate) -> None:
    """Raise ConfigError for a clause that no predictions can decide."""
    for limit in policy.limits:
        metric = METRICS.get(limit.metric)
        if metric is None:
            raise ConfigError(
                f"{policy.location}.limits names metric {limit.metric!r}; choose one of {', '.join(METRICS)}"
            )
        _check_clause(limit, metric, location=f"{policy.location}.limits: {limit.name}")


def vacuous(policy: Gate) -> tuple[str, ...]:
    """Return a warning for each clause that every set satisfies because its limit is at the end of the scale."""
    return tuple(
        f"{limit.name}: every set satisfies {limit_text(limit)}; choose a limit that can be violated"
        for limit in policy.limits
        if (limit.at_most is not None and limit.at_most >= 1)
        or (limit.at_least is not None and limit.at_least <= (-1 if limit.over else METRICS[limit.metric].lowest))
    )


def limit_text(limit: Limit) -> str:
    """Return the limit of a clause as the policy writes it."""
    return f"at_most {limit.at_most:g}" if limit.at_most is not None else f"at_least {limit.at_least:g}"


def _check_clause(limit: Limit, metric: Metric, *, location: str) -> None:
    if getattr(limit, metric.direction) is None:
        raise ConfigError(f"{location}: {metric.name} is limited by {metric.direction}; move the number there")
    if limit.at_least is not None and limit.at_least < 0 and not limit.over and metric.lowest >= 0:
        raise ConfigError(
            f"{location}: at_least is {limit.at_least:g}, and {metric.name} is never below 0; choose a limit from 0 to "
            "1, or limit the increase with `over`"
        )
    for key in ("by", "classes", "groups"):
        names = getattr(limit, key) or ()
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"{location}: `{key}` lists {name!r} twice; list it once")
    if limit.metric in CARD_METRICS:
        if limit.over or limit.by or limit.classes or limit.groups or limit.against or limit.each_network:
            raise ConfigError(
                f"{location}: {metric.name} is a number of the whole set; remove over, by, classes, groups, against "
                "and each_network"
            )
        return
    rising = [name for name, rising_metric in PREDICTION_METRICS.items() if rising_metric.rise is not None]
    if limit.over and limit.metric not in rising:
        raise ConfigError(f"{location}: {metric.name} cannot be limited over another set; choose {', '.join(rising)}")
    if limit.against and not metric.is_gap:
        raise ConfigError(f"{location}: {metric.name} does not compare groups; remove against")
    if limit.by and metric.pools_groups and not limit.groups:
        raise ConfigError(f"{location}: {metric.name} pools all groups; select some with `groups`, or remove `by`")
    if limit.groups and metric.is_gap and len(limit.groups) < 2:
        raise ConfigError(f"{location}: a gap needs two groups, got {', '.join(limit.groups)}")
    if limit.classes and not metric.selects_classes:
        raise ConfigError(f"{location}: {metric.name} covers all classes; remove classes")


def asks_the_card(policy: Gate) -> bool:
    """Return whether a clause limits a metric of the card, so that judging requires the manifest."""
    return any(limit.metric in CARD_METRICS for limit in policy.limits)


def _day(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("expected a date, YYYY-MM-DD")
    return date.fromisoformat(value)


def _version(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError(f"expected the SHA-256 of a version, which `fair-distill publish` prints; got {text!r}")
    return text


Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1)]


class Promoted(Section):
    """The current version of a channel, and the predictions that it was promoted on, as digests."""

    version: Sha256
    predictions: Sha256


def _person(name: str) -> str:
    """Return a name without case, spaces, punctuation, width and invisible characters, which readers overlook."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", name))).casefold() or name


class Waiver(Section):
    """The decision of two people to accept that one version violates one clause, until a day.

    Attributes
    ----------
    envelope : the approver's signature on all other fields; required if the policy names `approvers`
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
        """The statement that the approver signs."""
        fields = self.model_dump(mode="json", exclude={"envelope"})
        return Statement("waivers", self.clause, self.set, sha256(to_json(fields)))

    def is_signed_by(self, keys: Sequence[str]) -> bool:
        """Return whether the envelope contains this waiver's statement and a signature by one of the keys."""
        if self.envelope is None:
            return False
        content = to_json(self.envelope)
        name = f"context.json: the waiver of {self.clause!r}"
        return read_envelope(content, name=name) == self.statement and signed_by(content, keys, name=name)

    def sentence(self) -> str:
        return f"waived until {self.expires} by {self.who}, approved by {self.approved_by}: {self.why}"


class Attempt(Section):
    """The reserved attempt of a set at a gate split.

    Attributes
    ----------
    number : the number of the attempt at these examples, from 1
    fraction : the fraction of alpha that the attempt takes
    left : the fraction of alpha that this attempt and earlier ones leave. Contexts of earlier releases have neither
        `fraction` nor `left`; they are read by the rule of these releases, `spending.legacy_fraction`
    """

    set: Sha256
    split: Sha256
    number: Annotated[int, Field(ge=1, le=MOST_ATTEMPTS)]
    fraction: Annotated[float, Field(gt=0, le=PLANNED_SHARE)] | None = None
    left: Annotated[float, Field(ge=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Attempt":
        if (self.fraction is None) != (self.left is None):
            raise ValueError("an attempt has both `fraction` and `left`, or neither; run `fair-distill gate reserve`")
        return self


class Context(Section):
    """The content of context.json. `{}` is a first attempt with nothing promoted and no waivers."""

    promoted: Promoted | None = None
    attempt: Attempt | None = None
    waivers: Annotated[tuple[Waiver, ...], Field(strict=False)] = ()


def read_context(content: bytes) -> Context:
    """Read the content of context.json. Empty content is an empty context."""
    raw: Mapping[str, Any] = parse_json(content, name="context.json", error=ConfigError) if content else {}
    try:
        return Context.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"context.json: {validation_sentence(error)}") from None


@dataclass(frozen=True)
class AttemptShare:
    """The number of an attempt, and the fraction of alpha that it takes."""

    number: int
    fraction: float


def next_attempt(context: Context, policy: Gate) -> AttemptShare:
    """Return the attempt of a set that has not reserved one: the first, or the one after the reserved one."""
    reserved = context.attempt
    if reserved is None:
        return AttemptShare(1, fraction_of(1.0, policy.planned_attempts))
    number = min(reserved.number + 1, MOST_ATTEMPTS)
    if reserved.left is None:
        return AttemptShare(number, legacy_fraction(number, policy.planned_attempts))
    return AttemptShare(number, fraction_of(reserved.left, policy.planned_attempts))


def reserved_fraction(attempt: Attempt, policy: Gate) -> float:
    """Return the fraction of alpha that a reserved attempt may take under a policy.

    The policy may plan more attempts than the policy of the reservation did. The fraction is then smaller.
    """
    if attempt.fraction is None:
        return legacy_fraction(attempt.number, policy.planned_attempts)
    return min(attempt.fraction, fraction_of(1.0, policy.planned_attempts))


def fraction_after(context: Context, policy: Gate, *, set: str) -> float:
    """Return the fraction of alpha that the attempt after the one of this set takes, on the same split."""
    reserved, planned = context.attempt, policy.planned_attempts
    if reserved is not None and reserved.left is None:
        return legacy_fraction(reserved.number + (1 if reserved.set == set else 2), planned)
    left = 1.0 if reserved is None or reserved.left is None else reserved.left
    if reserved is None or reserved.set != set:
        left -= fraction_of(left, planned)
    return max(fraction_of(left, planned), SMALLEST_FRACTION)


def attempt_for(context: Context, policy: Gate, *, set: str, split: str) -> AttemptShare:
    """Return the attempt that judging this set on this split is.

    A set without a reserved attempt gets the next number and fraction, as from the registry. It never uses the
    attempt that was reserved for another set.

    Raises
    ------
    MeasurementError
        If the attempt was reserved for another split: the predictions or the context are out of date.
    Undecided
        If earlier attempts have used up the error budget.
    """
    reserved = context.attempt
    if reserved is None or reserved.set != set:
        share = next_attempt(context, policy)
        check_fraction(share.fraction, split=split)
        return share
    if reserved.split != split:
        raise MeasurementError(
            f"context.json reserves attempt {reserved.number} on the gate split {reserved.split[:12]}…; the "
            f"predictions are for {split[:12]}…. Run `fair-distill gate reserve`, then evaluate again"
        )
    return AttemptShare(reserved.number, reserved_fraction(reserved, policy))


def waiver_for(
    context: Context, clause: str, *, set: str, now: date | None, approvers: Sequence[str] = ()
) -> tuple[Waiver | None, str | None]:
    """Return the waiver of a clause that counts, if any; else a sentence about a waiver that does not count."""
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
    """Raise ConfigError for a waiver of this set whose clause the policy does not have, such as a misspelt one."""
    names = [limit.name for limit in policy.limits]
    for waiver in context.waivers:
        if waiver.set == set and waiver.clause not in names:
            raise ConfigError(
                f"context.json: a waiver names the clause {waiver.clause!r}; choose one of {'; '.join(names)}"
            )
