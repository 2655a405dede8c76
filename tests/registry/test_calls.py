"""Which S3 calls are made, all of them, and that the IAM policies that ship allow those and no more."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from places import Bucket
from small_attempts import numbered, take
from small_erasures import erase, made_from, ship_with_units
from small_registry import NAME, NOW, package, promote, publish, ship
from test_snapshots import lengthen

from fair_distill.registry import retraction
from fair_distill.registry.actor import Actor
from fair_distill.registry.channels import Withdrawn
from fair_distill.registry.client import load
from fair_distill.registry.garbage_collection import GarbageRecord, Head, KnownHeads, check_ledgers, garbage, remove
from fair_distill.registry.layout import object_key
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.store import RegistryStore
from fair_distill.registry.verify import verify
from fair_distill.storage import s3_client

ONE, TWO = package(1), package(2)
POLICIES = Path(__file__).parents[2] / "examples" / "registry"
# What AWS asks leave for, by call.
NEEDS = {
    "PutObject": "s3:PutObject",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "DeleteObject": "s3:DeleteObject",
}


@pytest.fixture
def calls(server: Bucket, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Every call that a client of the package makes from here on, with its parameters."""
    made: list[tuple[str, dict[str, Any]]] = []
    client_of = s3_client._client

    def watched(*arguments: Any) -> Any:
        client = client_of(*arguments)
        client.meta.events.register(
            "provide-client-params.s3", lambda params, model, **_: made.append((model.name, params))
        )
        return client

    monkeypatch.setattr(s3_client, "_client", watched)
    monkeypatch.setenv("FAIR_DISTILL_CACHE", "")
    return made


def back(store: RegistryStore) -> None:
    retraction.rollback(store, NAME, "production", reason="worse", actor=Actor("ada", NOW, "back"))


def off(store: RegistryStore) -> None:
    retraction.demote(store, NAME, ONE.version, "production", reason="worse", actor=Actor("ada", NOW, "off"))


def away(store: RegistryStore) -> None:
    retraction.revoke(store, NAME, TWO.version, reason="labels", actor=Actor("ada", NOW, "gone"))


def test_these_are_the_calls_and_there_are_no_others(server: Bucket, calls: list[tuple[str, dict[str, Any]]]):
    def made_by(act: Callable[[], object]) -> Counter[str]:
        calls.clear()
        act()
        return Counter(name for name, _ in calls)

    probe = {"PutObject": 2}
    # The announcement; the set and three files for DVC; predictions, provenance, manifest, entry. The ledger before and
    # after, whether any of these was erased, and whether gc is removing any.
    assert made_by(lambda: publish(server.store(), ONE)) == Counter(probe) + Counter(
        PutObject=9, ListObjectsV2=5, GetObject=1
    )
    # The verdict and three entries, each after a listing of the ledger. Entries are read once, and the predictions.
    assert made_by(lambda: promote(server.store(), ONE)) == Counter(probe) + Counter(
        PutObject=4, ListObjectsV2=4, GetObject=3 + 1, HeadObject=1
    )
    # Four entries, the verdict of the three promotions, manifest, set.
    assert made_by(lambda: load(f"{NAME}@production", registry=server.url)) == Counter(
        ListObjectsV2=1, GetObject=4 + 1 + 2
    )
    ship(server.store(), TWO)
    for act in (back, off, away):
        made = made_by(lambda act=act: act(server.store()))
        assert made["PutObject"] == 3
        assert set(made) <= {"PutObject", "GetObject", "ListObjectsV2"}
    assert set(made_by(lambda: verify(NAME, registry=server.url))) == {"GetObject", "HeadObject", "ListObjectsV2"}


def test_an_attempt_reads_the_record_once_and_the_examples_of_each_earlier_split(
    server: Bucket, calls: list[tuple[str, dict[str, Any]]]
):
    ship(server.store(), ONE)
    for number in range(3):
        calls.clear()
        take(server.store(), numbered(range(number, 100 + number)), version=number)
        made = Counter(name for name, _ in calls)
        # The ledger and the record; the record again for the new entry. Examples: those of the earlier splits.
        assert made == Counter(PutObject=2 + 2, ListObjectsV2=3, GetObject=4 + (number + 1) + number)
    assert {NEEDS[name] for name in made} == actions("publish")


def statements(role: str) -> dict[str, dict[str, Any]]:
    """The statements of the policy of a role that ships, by their names."""
    read = json.loads((POLICIES / f"iam-{role}.json").read_text())["Statement"]
    return {one["Sid"]: one for one in read}


def actions(role: str) -> set[str]:
    """The actions that the policy of a role allows."""
    return {one["Action"] for one in statements(role).values() if one["Effect"] == "Allow"}


def test_the_policies_that_ship_allow_what_is_called_and_no_more(
    server: Bucket, calls: list[tuple[str, dict[str, Any]]]
):
    ship(server.store(), ONE)
    ship(server.store(), TWO)
    for act in (back, off, away):
        act(server.store())
    assert {NEEDS[name] for name, _ in calls} == actions("publish")

    calls.clear()
    load(f"{NAME}@v1", registry=server.url)
    verify(NAME, registry=server.url)
    assert {NEEDS[name] for name, _ in calls} == actions("read")


def test_a_ledger_with_snapshots_needs_no_other_calls(server: Bucket, calls: list[tuple[str, dict[str, Any]]]):
    ship(server.store(), ONE)
    lengthen(server, 120)
    calls.clear()
    away_with = partial(retraction.demote, reason="worse", actor=Actor("ada", NOW, "off"))
    away_with(server.store(), NAME, ONE.version, "production")
    written = [params for name, params in calls if name == "PutObject"]

    assert {NEEDS[name] for name, _ in calls} <= actions("publish")
    assert {params["IfNoneMatch"] for params in written} == {"*"}
    assert any("/snapshots/" in params["Key"] for params in written)
    calls.clear()
    load(f"{NAME}@v1", registry=server.url)
    assert {NEEDS[name] for name, _ in calls} <= actions("read")
    for _, params in calls:
        assert params.get("StartAfter", f"{server.prefix}/").startswith(f"{server.prefix}/")


def test_gc_makes_these_calls_and_the_policy_that_ships_for_it_allows_them_and_no_more(
    server: Bucket, calls: list[tuple[str, dict[str, Any]]]
):
    ship(server.store(), ONE)
    lost = object_key("0" * 32)
    server.put(lost, b"left by a publication that crashed")
    entries = read_ledger(server.store(), NAME)
    vouching = KnownHeads(server.url, confirmed={NAME: Head(len(entries), entries[-1].digest)})
    calls.clear()

    store, day = server.store(), NOW + timedelta(days=1)
    look = GarbageRecord(day, garbage(store, now=day), check_ledgers(store, vouching, now=day))
    assert remove(store, look, now=NOW + timedelta(days=2), delete=store.remove) == (lost,)

    made = Counter(name for name, _ in calls)
    # The plan, after the probe; the content, the announcement, the plan.
    assert (made["PutObject"], made["DeleteObject"]) == (3, 3)
    assert {NEEDS[name] for name in made} == actions("collect")
    for name, params in calls:
        if name == "DeleteObject":
            key = params["Key"].removeprefix(f"{server.prefix}/")
            assert key.startswith(("objects/", "publishing/", "collecting/"))


def test_every_write_is_create_only_and_within_the_prefix(server: Bucket, calls: list[tuple[str, dict[str, Any]]]):
    ship(server.store(), ONE)
    load(f"{NAME}@production", registry=server.url)
    verify(NAME, registry=server.url)

    assert {params["IfNoneMatch"] for name, params in calls if name == "PutObject"} == {"*"}
    for _, params in calls:
        assert params["Bucket"] == server.bucket
        assert (params.get("Key") or params["Prefix"]).startswith(f"{server.prefix}/")


def test_of_a_ledger_that_was_read_only_the_last_entry_and_what_is_new_are_asked_for(
    server: Bucket, calls: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("FAIR_DISTILL_CACHE", str(tmp_path / "cache"))
    ship(server.store(), ONE)
    ship(server.store(), TWO)
    back(server.store())

    def entries_asked_for() -> list[int]:
        calls.clear()
        load(f"{NAME}@v1", registry=server.url)
        keys = [params["Key"] for name, params in calls if name == "GetObject"]
        assert [name for name, _ in calls].count("ListObjectsV2") == 1
        return [int(Path(key).stem) for key in keys if "/ledger/" in key]

    assert entries_asked_for() == list(range(1, 10))
    assert entries_asked_for() == [9]
    off(server.store())
    away(server.store())
    assert entries_asked_for() == [9, 10, 11]


def test_an_erasure_makes_these_calls_and_the_policy_that_ships_for_it_allows_them_and_no_more(
    server: Bucket, calls: list[tuple[str, dict[str, Any]]]
):
    ship_with_units(server.store(), made_from([1, 2], seed=1), [1, 2])
    ship_with_units(server.store(), made_from([3], seed=2), [3])
    calls.clear()

    erase(server.store(), 2)

    removed = [params["Key"] for name, params in calls if name == "DeleteObject"]
    assert {NEEDS[name] for name, _ in calls} == actions("erase")
    assert removed
    for key in removed:
        assert key.removeprefix(f"{server.prefix}/").startswith(("objects/", "versions/", "units/", "collecting/"))
    assert load(f"{NAME}@v2", registry=server.url)
    with pytest.raises(Withdrawn, match="erased on"):
        load(f"{NAME}@v1", registry=server.url)
    assert verify(NAME, registry=server.url)
