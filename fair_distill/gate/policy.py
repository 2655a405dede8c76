"""What a policy may say, what may be asked of it from outside, and the context that a verdict is given in.

Outside are an organisation's floor, which a team may tighten and never loosen, and context.json: what the registry
knows (what is promoted, how often this split was asked, who waived what). Both are in the verdict by digest.
"""

import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from fair_distill.artifacts import parse_json, sha256, to_json
from fair_distill.config import Gate, Limit, Section
from fair_distill.errors import ConfigError
from fair_distill.gate.metrics import GAP_RATES, GAPS, METRICS
from fair_distill.gate.published import NEAR_COPIES

PROMOTED = "promoted"
# The rise of a maximum is bounded by the largest rise; the rise of a mean is not gated.
RISING = tuple(name for name in GAP_RATES if name.endswith("_max"))


def policy_digest(policy: Gate) -> str:
    return sha256(to_json(policy.model_dump(mode="json")))


def alpha_at(alpha: float, attempt: int) -> float:
    """Return the risk that the k-th attempt may take: alpha · 6 / (π² k²), which over all attempts sums to alpha.

    An attempt is a distinct pair of set and split. Trying sets at one split until one passes is a search, and a
    search finds luck; so each try is harder to pass than the one before, and the whole risk stays below alpha.
    Judging the same set again is no new attempt.
    """
    return alpha * 6 / (9.869604401089358 * attempt**2)


def check(policy: Gate) -> None:
    """Raise ConfigError for a clause that cannot be decided, whatever the predictions."""
    for limit in policy.limits:
        if limit.metric not in (*METRICS, NEAR_COPIES):
            raise ConfigError(
                f"params.yaml: gate.limits names metric {limit.metric!r}; choose one of "
                f"{', '.join((*METRICS, NEAR_COPIES))}"
            )
        _check_clause(limit)


def _check_clause(limit: Limit) -> None:
    where = f"params.yaml: gate.limits: {limit.name}"
    side = "at_most" if limit.metric in (*GAPS, NEAR_COPIES) else "at_least"
    if getattr(limit, side) is None:
        raise ConfigError(f"{where}: {limit.metric} is limited by {side}; move the number there")
    if limit.metric == NEAR_COPIES:
        if limit.over or limit.by or limit.classes or limit.groups or limit.against:
            raise ConfigError(
                f"{where}: {NEAR_COPIES} is of the whole set; remove over, by, classes, groups and against"
            )
        return
    if limit.over and limit.metric not in (*RISING, "accuracy"):
        raise ConfigError(f"{where}: over another set are gated {', '.join(RISING)} and accuracy")
    if limit.against and limit.metric not in GAPS:
        raise ConfigError(f"{where}: {limit.metric} compares no groups; remove against")
    if limit.by and len(set(limit.by)) < len(limit.by):
        raise ConfigError(f"{where}: an attribute stands twice in by")
    if limit.by and limit.metric == "accuracy" and not limit.groups:
        raise ConfigError(f"{where}: accuracy is of all groups together; name some (groups), or remove by")
    if limit.groups and limit.metric in GAPS and len(set(limit.groups)) < 2:
        raise ConfigError(f"{where}: a gap needs two groups, got {', '.join(limit.groups)}")
    if limit.classes and limit.metric == "calibration_gap":
        raise ConfigError(f"{where}: calibration_gap is of groups, not of classes; remove classes")


def asks_the_card(policy: Gate) -> bool:
    """Say whether a clause is on the set itself, so that judging needs its manifest."""
    return any(limit.metric == NEAR_COPIES for limit in policy.limits)


def tighten(policy: Gate, floor: Gate) -> None:
    """Raise ConfigError unless `policy` is at least as strict as `floor` in everything that `floor` says."""
    check(floor)
    order = {"point": 0, "bounds": 1}
    if order[policy.mode] < order[floor.mode]:
        raise ConfigError(f"the policy floor asks for `mode: {floor.mode}`, params.yaml: gate.mode is {policy.mode}")
    for key, sign in (("alpha", -1), ("minimum_seeds", 1), ("minimum_per_cell", 1)):
        wanted, came = getattr(floor, key), getattr(policy, key)
        if wanted is not None and sign * came < sign * wanted:
            side = "at most" if sign < 0 else "at least"
            raise ConfigError(f"the policy floor asks for {key} of {side} {wanted:g}; params.yaml: gate has {came:g}")
    for clause in floor.limits:
        if not any(_as_strict(limit, clause) for limit in policy.limits):
            side, number = ("at_most", clause.at_most) if clause.at_most is not None else ("at_least", clause.at_least)
            raise ConfigError(
                f"the policy floor asks for {clause.name!r} with {side} {number:g}; params.yaml: gate.limits has no "
                "clause as strict"
            )


def _as_strict(limit: Limit, floor: Limit) -> bool:
    same = ("metric", "over")
    if any(getattr(limit, key) != getattr(floor, key) for key in same):
        return False
    if (limit.against or "each") != (floor.against or "each") or set(limit.by or ()) != set(floor.by or ()):
        return False
    # A limit on the worst of all groups and classes holds for the worst of some; one on a mean says nothing of a part.
    wide = limit.metric.endswith("_max") or limit.metric in ("worst_cell_accuracy", "calibration_gap")
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


class Waiver(Section):
    """Two people's decision to let one clause go unmet, for one version, until a day; both stand by it by name."""

    set: Annotated[str, AfterValidator(_version)]
    clause: Text
    who: Text
    approved_by: Text
    why: Text
    expires: Annotated[date, BeforeValidator(_day)]

    @model_validator(mode="after")
    def _two_people(self) -> "Waiver":
        if self.who.strip().casefold() == self.approved_by.strip().casefold():
            raise ValueError(f"a waiver needs a second person; {self.who!r} asked for it and approved it")
        return self

    def sentence(self) -> str:
        return f"waived until {self.expires} by {self.who}, approved by {self.approved_by}: {self.why}"


class Context(Section):
    """context.json: what a verdict needs from the registry. `{}` is a first attempt with nothing promoted."""

    promoted: Promoted | None = None
    attempt: Annotated[int, Field(ge=1)] = 1
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


def waiver_for(context: Context, clause: str, *, set: str, now: date | None) -> tuple[Waiver | None, str | None]:
    """Return the waiver in force for a clause, if any; else a sentence on one that counts for nothing."""
    note = None
    for waiver in context.waivers:
        if waiver.clause != clause or waiver.set != set:
            continue
        if now is None:
            note = f"a waiver until {waiver.expires} was not looked at: this verdict is given on no particular day"
        elif now > waiver.expires:
            note = f"a waiver by {waiver.who} expired on {waiver.expires}"
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
