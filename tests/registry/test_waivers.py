"""What rests on a waiver: rollback passes it over once it has expired, and a channel that got there can be repaired."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from places import Place
from small_registry import NAME, NOW, ORDER, MemoryStore, Package, enter, has_remark, package, publish

from fair_distill.errors import Refused
from fair_distill.files import sha256
from fair_distill.gate.policy import Waiver
from fair_distill.registry import release, retraction
from fair_distill.registry.actor import Actor
from fair_distill.registry.channels import Withdrawn, current, in_force
from fair_distill.registry.client import load, look_up
from fair_distill.registry.entry import Entry
from fair_distill.registry.export.dataset_card import dataset_card
from fair_distill.registry.export.evidence_bundle import evidence
from fair_distill.registry.integrity import grounds_of, late
from fair_distill.registry.layout import evidence_key
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.pins import pin
from fair_distill.registry.store import RegistryStore
from fair_distill.registry.verify import verify

ONE, TWO, THREE = package(1), package(2), package(3)
PRODUCTION = f"{NAME}@production"
DAY = timedelta(days=1)
# NOW is 3 March.
EXPIRES = "2026-03-05"
AFTER = NOW + 10 * DAY


def waived(made: Package, until: str = EXPIRES) -> Package:
    """The package with a verdict that lets it pass by two people's word, until a day."""
    word = Waiver(set=made.version, clause="eo_diag_max", who="ada", approved_by="bea", why="pilot", expires=until)
    finding = replace(made.verdict.findings[0], outcome="fail", waiver=word.sentence())
    return replace(made, verdict=replace(made.verdict, outcome="waived", findings=(finding,)))


def promote(store: RegistryStore, made: Package, channel: str = "production", **when: Any) -> release.Promotion:
    grounds = {"verdict": made.verdict, "verdict_bytes": made.verdict_bytes, "order": ORDER}
    actor = replace(Actor("ada", NOW, f"{made.version} {len(read_ledger(store, NAME))}"), **when)
    return release.promote(store, NAME, made.version, channel, **grounds, actor=actor)


def ship(store: RegistryStore, *packages: Package) -> None:
    for made in packages:
        publish(store, made)
        promote(store, made)


def back(store: RegistryStore, *, told: list[str] | None = None, **when: Any) -> Entry:
    told = [] if told is None else told
    actor = replace(Actor("ada", AFTER, "back"), **when)
    return retraction.rollback(store, NAME, "production", reason="worse", actor=actor, on_skip=told.append)


def rest_on_expired(place: Place) -> None:
    """What rollback of the previous release wrote: production returns to v2, whose waiver has expired."""
    store, two = place.store(), waived(TWO)
    ship(store, ONE, two, THREE)
    digest = sha256(two.verdict_bytes)
    time = AFTER.strftime("%Y-%m-%dT%H:%M:%SZ")
    enter(store, event="rollback", version=TWO.version, channel="production", verdict=digest, time=time, nonce="old")


def test_a_rollback_passes_over_a_version_whose_waiver_has_expired(place: Place):
    ship(place.store(), ONE, waived(TWO), THREE)
    told: list[str] = []

    assert back(place.store(), told=told).version == ONE.version

    assert told == [f"v2: its waiver expired on {EXPIRES}"]
    assert load(PRODUCTION, registry=place.url, today=AFTER.date())
    assert not [one.remark for one in verify(NAME, registry=place.url) if has_remark(one)]


def test_a_rollback_goes_to_a_version_whose_waiver_is_still_good(place: Place):
    ship(place.store(), ONE, waived(TWO, "2026-03-13"), THREE)

    assert back(place.store()).version == TWO.version
    assert load(PRODUCTION, registry=place.url, today=date(2026, 3, 13))


def test_a_rollback_to_nothing_but_an_expired_waiver_is_refused_and_says_so(place: Place):
    ship(place.store(), waived(ONE), TWO)

    with pytest.raises(Refused, match=rf"no earlier version may be used; v1: .* expired on {EXPIRES}"):
        back(place.store())
    assert current(read_ledger(place.store(), NAME), "production") == TWO.version


def test_a_rollback_passes_over_a_version_whose_verdict_is_missing(place: Place):
    ship(place.store(), ONE, TWO, THREE)
    place.remove(evidence_key(TWO.version, "verdicts", sha256(TWO.verdict_bytes)))
    told: list[str] = []

    assert back(place.store(), told=told).version == ONE.version
    assert "is missing from the registry" in told[0]


def test_a_promotion_on_an_expired_waiver_is_refused(place: Place):
    publish(place.store(), waived(ONE))

    with pytest.raises(Refused, match=f"the waiver of its verdict expired on {EXPIRES}"):
        promote(place.store(), waived(ONE), now=AFTER)
    assert promote(place.store(), waived(ONE), now=NOW + 2 * DAY).new


def test_a_channel_on_an_expired_waiver_is_refused_and_everything_else_can_be_read(place: Place, tmp_path: Any):
    rest_on_expired(place)

    for call in (load, look_up, evidence, verify):
        with pytest.raises(Withdrawn, match=f"its waiver was valid until {EXPIRES}") as refusal:
            call(PRODUCTION, registry=place.url)
        assert refusal.value.exit_code == 5
    found = look_up(f"{NAME}@v2", registry=place.url)
    assert dataset_card(found)
    assert pin(tmp_path / "lock", f"{NAME}@v2", found.version, registry=place.url)
    assert evidence(f"{NAME}@v2", registry=place.url)
    remarks = {one.key: one.remark for one in verify(NAME, registry=place.url) if has_remark(one)}
    assert list(remarks) == [f"ledger/{NAME}/000000000013.json"]
    assert f"was valid until {EXPIRES}" in remarks[f"ledger/{NAME}/000000000013.json"]


@pytest.mark.parametrize("repair", ["another version", "the same version", "rollback", "demote", "revoke"])
def test_a_channel_on_an_expired_waiver_is_repaired_by_any_later_act(place: Place, repair: str):
    rest_on_expired(place)
    store = place.store()
    actor = Actor("ada", AFTER, "repair")
    if repair == "another version":
        promote(store, THREE, now=AFTER)
    elif repair == "the same version":
        assert promote(store, TWO, now=AFTER).new
    elif repair == "rollback":
        assert back(store).version == ONE.version
    elif repair == "demote":
        retraction.demote(store, NAME, TWO.version, "production", reason="expired", actor=actor)
    else:
        retraction.revoke(store, NAME, TWO.version, reason="expired", actor=actor)

    assert verify(NAME, registry=place.url)
    assert evidence(f"{NAME}@v2", registry=place.url)
    if repair in ("demote", "revoke"):
        with pytest.raises(Withdrawn, match="expired"):
            load(PRODUCTION, registry=place.url)
    else:
        wanted = {"another version": THREE, "the same version": TWO, "rollback": ONE}[repair]
        assert load(PRODUCTION, registry=place.url).images.tobytes() == wanted.set.images.tobytes()
        assert verify(PRODUCTION, registry=place.url)


def test_a_version_that_was_promoted_again_is_not_what_a_rollback_goes_back_to(place: Place):
    ship(place.store(), ONE, waived(TWO))
    promote(place.store(), TWO, now=AFTER)

    assert back(place.store()).version == ONE.version


def test_a_version_whose_ground_holds_is_not_promoted_again(place: Place):
    judged_again = package(1, mistakes=1)
    ship(place.store(), ONE)
    publish(place.store(), judged_again)

    assert not promote(place.store(), judged_again, now=AFTER).new


def test_a_pin_does_not_outlive_the_waiver_where_the_day_is_given(place: Place, tmp_path: Any):
    lock = tmp_path / "lock"
    ship(place.store(), waived(ONE))
    pin(lock, PRODUCTION, look_up(PRODUCTION, registry=place.url).version, registry=place.url)

    assert load(PRODUCTION, registry=place.url, lock=lock)
    assert load(PRODUCTION, registry=place.url, lock=lock, today=date(2026, 3, 5))
    with pytest.raises(Withdrawn, match=f"waiver of .* expired on {EXPIRES}"):
        load(PRODUCTION, registry=place.url, lock=lock, today=date(2026, 3, 6))

    promote(place.store(), ONE, now=AFTER)
    assert load(PRODUCTION, registry=place.url, lock=lock, today=AFTER.date())


@pytest.mark.filterwarnings("ignore:entry 6 of digits")
def test_a_promotion_on_a_valid_waiver_is_accepted_after_an_entry_of_2036(place: Place):
    ship(place.store(), ONE)
    publish(place.store(), TWO)
    enter(place.store(), event="revoke", version=ONE.version, reason="leak", time="2036-01-01T00:00:00Z")

    promote(place.store(), waived(TWO))

    entry = in_force(read_ledger(place.store(), NAME), "production")
    assert entry is not None
    assert entry.time == "2026-03-03T12:00:00Z"
    assert load(PRODUCTION, registry=place.url, today=NOW.date()).images.tobytes() == TWO.set.images.tobytes()
    assert not [one.remark for one in verify(NAME, registry=place.url) if has_remark(one)]
    assert look_up(PRODUCTION, registry=place.url, as_of="2026-03-03", revoked=True).version == TWO.version


@pytest.mark.parametrize(
    ("time", "is_late"),
    [
        ("2026-03-05T23:59:59Z", False),
        ("2026-03-06T00:09:59Z", False),  # the writer's clock may have said ten minutes less
        ("2026-03-06T00:10:00Z", True),
        ("0001-01-01T00:00:00Z", False),
    ],
)
def test_an_entry_is_late_by_the_day_on_the_writer_s_clock(time: str, is_late: bool):
    store, made = MemoryStore(), waived(ONE)
    publish(store, made)
    digest = sha256(made.verdict_bytes)
    store.create(evidence_key(ONE.version, "verdicts", digest), made.verdict_bytes)
    enter(store, event="promote", version=ONE.version, channel="production", verdict=digest, time=time)

    ((entry, verdict),) = grounds_of(store, read_ledger(store, NAME), ONE.version)
    assert (late(entry, verdict) is not None) is is_late
