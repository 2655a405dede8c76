"""The rules for policies, the comparison with a floor, and the strict reading of context.json."""

import json
from datetime import date
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from fair_distill.config import Gate, load_gate
from fair_distill.errors import ConfigError, Undecided
from fair_distill.gate.metrics import METRICS
from fair_distill.gate.policy import (
    attempt_for,
    check,
    check_waivers,
    fraction_after,
    plain_policy,
    policy_digest,
    read_context,
    vacuous,
    waiver_for,
)
from fair_distill.gate.strictness import laxer, tighten

VERSION, OTHER, SPLIT = "a" * 64, "b" * 64, "c" * 64
BOUNDS = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 3, "minimum_per_cell": 50}


def limit(metric: str, number: float, **more: Any) -> dict[str, Any]:
    return {"metric": metric, METRICS[metric].direction: number, "why": "a test", **more}


def policy(*limits: dict[str, Any], **more: Any) -> Gate:
    return Gate.model_validate(BOUNDS | {"limits": list(limits)} | more)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_can_be_limited(metric: str) -> None:
    check(policy(limit(metric, 0.5)))


def test_an_empty_policy_is_no_policy() -> None:
    with pytest.raises(ValidationError, match="limits"):
        policy()


@pytest.mark.parametrize(
    "more",
    [
        {"mode": "bounds", "alpha": None},
        {"mode": "point"},
        {"mode": "point", "alpha": None, "minimum_seeds": None},
        {"mode": "sure"},
        {"alpha": 0.5},
        {"alpha": 0.0},
        {"minimum_seeds": 1},
        {"minimum_per_cell": 1},
        {"minimum_per_cel": 50},
    ],
)
def test_a_mode_has_all_of_its_numbers_and_no_others(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        policy(limit("accuracy", 0.5), **more)


@pytest.mark.parametrize(
    ("clause", "says"),
    [
        ({"metric": "eod", "at_most": 0.1, "why": "x"}, "names metric 'eod'; choose one of accuracy"),
        ({"metric": "accuracy", "at_most": 0.1, "why": "x"}, "accuracy is limited by at_least"),
        ({"metric": "eo_diag_max", "at_least": 0.1, "why": "x"}, "eo_diag_max is limited by at_most"),
        (
            limit("eo_diag_mean", 0.1, over="full"),
            "eo_diag_mean cannot be limited over another set; choose accuracy",
        ),
        (limit("accuracy", 0.1, against="rest"), "does not compare groups; remove against"),
        (limit("dpd_max", 0.1, groups=["red"]), "a gap needs two groups"),
        (limit("dpd_max", 0.1, groups=["red", "red"]), "`groups` lists 'red' twice; list it once"),
        (limit("accuracy", 0.1, groups=["red", "blue", "red"]), "`groups` lists 'red' twice; list it once"),
        (limit("eo_diag_max", 0.1, classes=["1", "2", "1"]), "`classes` lists '1' twice; list it once"),
        (limit("accuracy", -0.1), "at_least is -0.1, and accuracy is never below 0; choose a limit from 0 to 1"),
        (limit("selection_rate_ratio", -0.1), "at_least is -0.1, and selection_rate_ratio is never below 0"),
        (limit("calibration_gap", 0.1, classes=["1"]), "covers all classes; remove classes"),
    ],
)
def test_a_clause_that_cannot_be_decided_is_a_configuration_error(clause: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check(policy(clause))


@pytest.mark.parametrize(
    "clause",
    [
        limit("accuracy_over_majority", -1.1),
        limit("eo_diag_max", 0.1, over="promoted"),
        limit("eo_diag_max", 0.1, over="full", first_release="accept"),
        limit("eo_diag_max", 0.1, classes=[]),
        limit("eo_diag_max", 0.1, classes=[1.5]),
        limit("eo_diag_max", 0.1, against="all"),
    ],
)
def test_a_clause_says_no_less_and_no_more_than_it_needs(clause: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        policy(clause)


def test_a_limit_below_0_is_allowed_for_a_metric_that_can_be_negative_and_for_an_increase() -> None:
    negative = policy(limit("accuracy_over_majority", -0.02), limit("accuracy", -0.1, over="full"))

    check(negative)

    assert vacuous(negative) == ()
    (warning,) = vacuous(policy(limit("accuracy_over_majority", -1.0)))
    assert "every set satisfies at_least -1" in warning


def test_the_same_clause_twice_is_refused_and_another_scope_is_another_clause() -> None:
    with pytest.raises(ValidationError, match="two clauses limit 'dpd_max'"):
        policy(limit("dpd_max", 0.1), limit("dpd_max", 0.2))

    scopes = policy(
        limit("dpd_max", 0.2),
        limit("dpd_max", 0.1, classes=["1"]),
        limit("dpd_max", 0.1, over="full"),
        limit("dpd_max", 0.1, against="rest"),
    )
    assert [clause.name for clause in scopes.limits] == [
        "dpd_max",
        "dpd_max of classes 1",
        "dpd_max over full",
        "dpd_max against the rest",
    ]


def test_a_policy_is_read_from_a_file_of_its_own_or_from_another_params_yaml(tmp_path: Any) -> None:
    text = "mode: point\nlimits: [{metric: accuracy, at_least: 0.5, why: a test}]\n"
    (tmp_path / "own.yaml").write_text(text)
    (tmp_path / "params.yaml").write_text("seed: 3\ngate: {" + text.replace("\n", ", ").rstrip(", ") + "}\n")

    own, other = (load_gate(tmp_path / name) for name in ("own.yaml", "params.yaml"))
    assert policy_digest(own) == policy_digest(other)
    for bad in ("", "- 1\n", "gate: 3\n", "gate: {limits: []}\n"):
        (tmp_path / "own.yaml").write_text(bad)
        with pytest.raises(ConfigError, match=r"own.yaml[: ][^\n]+$"):
            load_gate(tmp_path / "own.yaml")
    with pytest.raises(ConfigError, match=r"no\.yaml is missing"):
        load_gate(tmp_path / "no.yaml")


# ---- a floor --------------------------------------------------------------------------------------------------------

FLOOR = policy(limit("eo_diag_max", 0.2), limit("accuracy", 0.8))


@pytest.mark.parametrize(
    "team",
    [
        FLOOR,
        policy(limit("eo_diag_max", 0.1), limit("accuracy", 0.9), limit("dpd_max", 0.5)),
        policy(limit("eo_diag_max", 0.2), limit("accuracy", 0.8), alpha=0.01, minimum_seeds=5, minimum_per_cell=60),
    ],
)
def test_a_team_may_be_as_strict_as_the_floor_or_stricter(team: Gate) -> None:
    tighten(team, FLOOR)


@pytest.mark.parametrize(
    ("team", "says"),
    [
        (
            policy(limit("eo_diag_max", 0.21), limit("accuracy", 0.8)),
            "the clause 'eo_diag_max' with at_most 0.2;",
        ),
        (
            policy(limit("eo_diag_max", 0.2), limit("accuracy", 0.79)),
            "the clause 'accuracy' with at_least 0.8;",
        ),
        (policy(limit("accuracy", 0.9)), "the clause 'eo_diag_max'"),
        (policy(limit("eo_diag_max", 0.1, classes=["1"]), limit("accuracy", 0.8)), "the clause 'eo_diag_max'"),
        (
            policy(limit("eo_diag_max", 0.1, against="rest"), limit("accuracy", 0.8)),
            "the clause 'eo_diag_max'",
        ),
        (policy(limit("eo_diag_max", 0.1, over="full"), limit("accuracy", 0.8)), "the clause 'eo_diag_max'"),
        (FLOOR.model_copy(update={"alpha": 0.06}), "alpha of at most 0.05; params.yaml: gate has 0.06"),
        (FLOOR.model_copy(update={"minimum_seeds": 2}), "minimum_seeds of at least 3"),
        (FLOOR.model_copy(update={"minimum_per_cell": 49}), "minimum_per_cell of at least 50"),
        (Gate.model_validate({"mode": "point", "limits": [limit("eo_diag_max", 0.0)]}), "requires `mode: bounds`"),
    ],
)
def test_a_floor_is_never_loosened(team: Gate, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        tighten(team, FLOOR)


def test_a_limit_on_all_classes_covers_a_floor_on_some_but_a_mean_does_not() -> None:
    tighten(policy(limit("eo_diag_max", 0.1)), policy(limit("eo_diag_max", 0.2, classes=["1"])))
    tighten(policy(limit("worst_cell_accuracy", 0.8)), policy(limit("worst_cell_accuracy", 0.7, groups=["red"])))
    with pytest.raises(ConfigError, match="of classes 1"):
        tighten(policy(limit("eo_diag_mean", 0.1)), policy(limit("eo_diag_mean", 0.2, classes=["1"])))


def test_a_floor_that_refuses_a_first_release_is_not_met_by_accepting_one() -> None:
    refuse, accept = (
        policy(limit("eo_diag_max", 0.1, over="promoted", first_release=rule)) for rule in ("refuse", "accept")
    )

    tighten(refuse, accept)
    with pytest.raises(ConfigError, match="over promoted"):
        tighten(accept, refuse)


def test_a_floor_is_checked_itself() -> None:
    with pytest.raises(ConfigError, match="names metric 'eod'"):
        tighten(FLOOR, policy({"metric": "eod", "at_most": 0.1, "why": "x"}))


# ---- attempts -------------------------------------------------------------------------------------------------------


def test_a_policy_without_attempts_keeps_its_digest_and_plans_one() -> None:
    plain = Gate.model_validate(BOUNDS | {"limits": [limit("accuracy", 0.5)]})
    planned = Gate.model_validate(BOUNDS | {"limits": [limit("accuracy", 0.5)], "attempts": 14})

    assert "attempts" not in plain_policy(plain)
    assert policy_digest(plain) == ("09819fc98b3e79d5c996c00cfe3da74521ad205b7f91fc46123d0a962bd7d3d3")
    assert (plain.planned_attempts, planned.planned_attempts) == (1, 14)
    assert policy_digest(planned) != policy_digest(plain)


def test_fewer_planned_attempts_are_laxer() -> None:
    def planning(attempts: int | None) -> Gate:
        return Gate.model_validate(BOUNDS | {"limits": [limit("accuracy", 0.5)], "attempts": attempts})

    tighten(planning(14), planning(None))
    tighten(planning(14), planning(14))
    for attempts, actual in ((13, "13"), (None, "1")):
        with pytest.raises(ConfigError, match=rf"requires attempts of at least 14; params\.yaml: gate has {actual}\."):
            tighten(planning(attempts), planning(14))
    with pytest.raises(ValidationError, match="`mode: point` does not use attempts"):
        Gate.model_validate({"mode": "point", "limits": [limit("accuracy", 0.5)], "attempts": 2})


def test_the_attempt_of_a_context_takes_its_fraction_and_another_set_the_next_one() -> None:
    context = read_context(
        json.dumps({"attempt": {"set": VERSION, "split": SPLIT, "number": 3, "fraction": 0.2, "left": 0.3}}).encode()
    )

    def attempt(version: str, planned: int) -> tuple[int, float]:
        policy = Gate.model_validate(BOUNDS | {"limits": [limit("accuracy", 0.5)], "attempts": planned})
        share = attempt_for(context, policy, set=version, split=SPLIT)
        return share.number, pytest.approx(share.fraction)

    assert attempt(VERSION, 1) == (3, 0.2)
    assert attempt(VERSION, 9) == (3, 0.1)  # this policy plans more attempts than the reservation did
    assert attempt(OTHER, 1) == (4, 0.2)
    assert attempt(OTHER, 9) == (4, 0.1)


def test_the_attempt_of_an_earlier_context_takes_the_fraction_of_its_release() -> None:
    policy = Gate.model_validate(BOUNDS | {"limits": [limit("accuracy", 0.5)]})
    context = read_context(json.dumps({"attempt": {"set": VERSION, "split": SPLIT, "number": 3}}).encode())

    for version, number in ((VERSION, 3), (OTHER, 4)):
        share = attempt_for(context, policy, set=version, split=SPLIT)
        assert (share.number, share.fraction) == (number, pytest.approx(6 / (np.pi * number) ** 2))
    assert attempt_for(read_context(b"{}"), policy, set=VERSION, split=SPLIT).fraction == 0.9


def test_without_an_attempt_the_next_one_is_the_first_of_the_whole_budget_and_numbers_start_at_1() -> None:
    policy = Gate.model_validate(BOUNDS | {"limits": [limit("accuracy", 0.5)]})

    # This set takes the first attempt, 0.9 of alpha, so half of the rest is left for the next.
    assert fraction_after(read_context(b"{}"), policy, set=VERSION) == pytest.approx(0.05)
    with pytest.raises(ConfigError, match=r"attempt\.number"):
        read_context(json.dumps({"attempt": {"set": VERSION, "split": SPLIT, "number": 0}}).encode())


def test_the_attempt_of_an_earlier_context_takes_no_more_than_the_policy_plans() -> None:
    policy = Gate.model_validate(BOUNDS | {"limits": [limit("accuracy", 0.5)], "attempts": 104})
    context = read_context(json.dumps({"attempt": {"set": VERSION, "split": SPLIT, "number": 1}}).encode())

    for version in (VERSION, OTHER):
        assert attempt_for(context, policy, set=version, split=SPLIT).fraction == pytest.approx(0.9 / 104)
        assert fraction_after(context, policy, set=version) == pytest.approx(0.9 / 104)


@pytest.mark.parametrize(
    "share",
    [
        {"fraction": 1.0, "left": 0.0},
        {"fraction": 0.95, "left": 0.0},
        {"fraction": 0.0, "left": 0.5},
        {"fraction": 0.5, "left": 1.0},
        {"fraction": 0.5, "left": -0.1},
        {"fraction": 0.5},
        {"left": 0.5},
    ],
)
def test_a_context_with_an_impossible_fraction_is_refused(share: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"context\.json: attempt"):
        read_context(json.dumps({"attempt": {"set": VERSION, "split": SPLIT, "number": 3} | share}).encode())


def test_a_context_that_leaves_nothing_decides_nothing_about_another_set() -> None:
    policy = Gate.model_validate(BOUNDS | {"limits": [limit("accuracy", 0.5)]})
    attempt = {"set": VERSION, "split": SPLIT, "number": 3, "fraction": 1e-9, "left": 0.0}
    with pytest.raises(Undecided, match="used up the error budget"):
        attempt_for(read_context(json.dumps({"attempt": attempt}).encode()), policy, set=OTHER, split=SPLIT)


# ---- context.json ---------------------------------------------------------------------------------------------------


def waiver(**changes: Any) -> dict[str, Any]:
    return {
        "set": VERSION,
        "clause": "accuracy",
        "who": "Ada",
        "approved_by": "Grace",
        "why": "the field trial needs it",
        "expires": "2026-06-30",
    } | changes


def context(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def test_no_context_is_a_first_attempt_with_nothing_promoted() -> None:
    for content in (b"", b"{}", b" {}\n"):
        known = read_context(content)
        assert (known.promoted, known.attempt, known.waivers) == (None, None, ())


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        context(attempts=1),
        context(attempt=0),
        context(attempt="2"),
        context(attempt=1.5),
        context(promoted={"version": VERSION}),
        context(promoted={"version": "v1", "predictions": VERSION}),
        context(waivers=[waiver(expires="next week")]),
        context(waivers=[waiver(expires=20260630)]),
        context(waivers=[waiver(why="")]),
        context(waivers=[waiver(set="v1")]),
        context(waivers=[{**waiver(), "signed": True}]),
        context(waivers=[waiver(approved_by="Ada")]),
        context(waivers=[waiver(approved_by=" ada ")]),
    ],
)
def test_a_context_that_is_not_what_it_should_be_is_one_line(content: bytes) -> None:
    with pytest.raises(ConfigError, match=r"^context.json[^\n]+$"):
        read_context(content)


@pytest.mark.parametrize("field", ["clause", "who", "approved_by", "why"])
def test_a_text_of_a_waiver_has_at_least_one_character(field: str) -> None:
    assert getattr(read_context(context(waivers=[waiver(**{field: "x"})])).waivers[0], field) == "x"
    with pytest.raises(ConfigError, match=rf"waivers\.0\.{field}"):
        read_context(context(waivers=[waiver(**{field: ""})]))


def test_a_waiver_is_of_a_version_and_not_of_a_name() -> None:
    says = r"^context.json: waivers.0.set: expected the SHA-256 of a version, which `fair-distill publish` prints; "
    with pytest.raises(ConfigError, match=f"{says}got 'barycentric'"):
        read_context(context(waivers=[waiver(set="barycentric")]))


@pytest.mark.parametrize("name", ["Ada", "ada ", "Ada.", "A\u200bda", "\uff21\uff44\uff41"])
def test_nobody_waives_for_themselves(name: str) -> None:
    with pytest.raises(ConfigError, match="needs a second person; 'Ada' asked for it and approved it"):
        read_context(context(waivers=[waiver(approved_by=name)]))


@pytest.mark.parametrize(
    ("day", "clause", "version", "counts"),
    [
        (date(2026, 6, 30), "accuracy", VERSION, True),
        (date(2026, 7, 1), "accuracy", VERSION, False),
        (None, "accuracy", VERSION, False),
        (date(2026, 6, 1), "dpd_max", VERSION, False),
        (date(2026, 6, 1), "accuracy", OTHER, False),
    ],
)
def test_a_waiver_counts_for_its_clause_and_version_until_its_day(
    day: date | None, clause: str, version: str, counts: bool
) -> None:
    known = read_context(context(waivers=[waiver()]))

    found, note = waiver_for(known, clause, set=version, now=day)
    assert (found is not None) == counts
    if day == date(2026, 7, 1):
        assert note == "a waiver by Ada expired on 2026-06-30"


def test_a_waiver_of_a_clause_that_is_not_there_is_told() -> None:
    known = read_context(context(waivers=[waiver(clause="acuracy")]))

    with pytest.raises(ConfigError, match="names the clause 'acuracy'; choose one of eo_diag_max; accuracy"):
        check_waivers(known, FLOOR, set=VERSION)
    check_waivers(known, FLOOR, set=OTHER)


# --- limits at the end of the scale, and policies that are laxer than others


@pytest.mark.parametrize(
    ("clause", "warned"),
    [
        ({"metric": "eo_diag_max", "at_most": 1.0}, True),
        ({"metric": "eo_diag_max", "at_most": 0.999}, False),
        ({"metric": "accuracy", "at_least": 0.0}, True),
        ({"metric": "accuracy", "at_least": 0.001}, False),
        ({"metric": "accuracy", "over": "full", "at_least": 0.0}, False),
        ({"metric": "accuracy", "over": "full", "at_least": -1.0}, True),
        ({"metric": "eo_diag_max", "over": "full", "at_most": 1.0}, True),
        ({"metric": "near_copies", "at_most": 1.0}, True),
    ],
)
def test_a_limit_that_every_set_satisfies_is_warned_about(clause: dict[str, Any], warned: bool) -> None:
    policy = Gate.model_validate({"mode": "point", "limits": [clause | {"why": "a test"}]})

    assert [": every set satisfies" in warning for warning in vacuous(policy)] == ([True] if warned else [])


KEY, OTHER = f"ed25519:{'1' * 64}", f"ed25519:{'2' * 64}"
EXAM = {"networks": [{"name": "convnet", "width": 8}], "seeds": 5}
TERMS = {"mode": "bounds", "alpha": 0.05, "minimum_seeds": 5, "minimum_per_cell": 50}
LIMIT = {"metric": "eo_diag_max", "at_most": 0.2, "why": "a test"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, None),
        ({"alpha": 0.01, "minimum_seeds": 6, "minimum_per_cell": 51}, None),
        ({"limits": [LIMIT | {"at_most": 0.1}]}, None),
        ({"limits": [LIMIT, {"metric": "accuracy", "at_least": 0.5, "why": "more"}]}, None),
        ({"exam": EXAM | {"seeds": 6}}, None),
        ({"exam": EXAM | {"networks": [*EXAM["networks"], {"name": "mlp"}]}}, None),
        ({"alpha": 0.06}, "0.06 instead of alpha of at most 0.05"),
        ({"minimum_seeds": 4}, "4 instead of minimum_seeds of at least 5"),
        ({"minimum_per_cell": 49}, "49 instead of minimum_per_cell of at least 50"),
        ({"limits": [LIMIT | {"at_most": 0.21}]}, "as strict instead of the clause 'eo_diag_max' with at_most 0.2"),
        ({"limits": [LIMIT | {"classes": ["a"]}]}, "no clause that is as strict"),
        ({"evaluators": []}, "instead of evaluators among 1 keys"),
        ({"evaluators": [KEY, OTHER]}, "instead of evaluators among 1 keys"),
        ({"approvers": []}, "instead of approvers among 1 keys"),
        ({"exam": None}, "no exam instead of one"),
        ({"exam": EXAM | {"seeds": 4}}, "5 seeds are required"),
        ({"exam": EXAM | {"networks": [{"name": "mlp"}]}}, "network 'convnet' is required"),
    ],
)
def test_a_policy_is_laxer_than_another_in_the_first_point_that_is(change: dict[str, Any], says: str | None) -> None:
    terms = TERMS | {"limits": [LIMIT], "evaluators": [KEY], "approvers": [KEY], "exam": EXAM}
    earlier, now = Gate.model_validate(terms), Gate.model_validate(terms | change)

    difference = laxer(now, earlier)

    assert (difference is None) if says is None else (says in (difference or ""))


def test_a_mode_without_confidence_is_laxer_than_one_with_it() -> None:
    earlier = Gate.model_validate(TERMS | {"limits": [LIMIT]})
    now = Gate.model_validate({"mode": "point", "limits": [LIMIT]})

    assert laxer(now, earlier) == "`mode: point` instead of `mode: bounds`"
    assert laxer(earlier, now) is None


def test_the_digest_of_a_policy_without_the_newer_keys_is_what_it_was() -> None:
    policy = Gate.model_validate(TERMS | {"limits": [LIMIT]})

    assert policy_digest(policy) == "7cb35d204bc519ad37f2a3e297a9298336faa7428a5709090ad13854e1a39215"
    assert policy_digest(policy) != policy_digest(policy.model_copy(update={"evaluators": (KEY,)}))
    assert policy_digest(policy.read_from("elsewhere.yaml")) == policy_digest(policy)
