"""What a consumer relies on: the past, the pin, the memory of how far a ledger went, and work without a network."""

import socket
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import Bucket, Place
from small_registry import NAME, NOW, ORDER, Package, enter, package, ship

import fair_distill
from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import sha256
from fair_distill.gate.policy import Waiver
from fair_distill.gate.verdict import Verdict
from fair_distill.registry import release, retraction
from fair_distill.registry.actor import Actor
from fair_distill.registry.channels import Withdrawn
from fair_distill.registry.client import load, look_up
from fair_distill.registry.entry import entry_key
from fair_distill.registry.layout import evidence_key, manifest_key, object_key
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.pins import Pin, outdated, pin, read_pins

ONE, TWO = package(1), package(2)
PRODUCTION = f"{NAME}@production"
DAY = timedelta(days=1)


def ship_on(place: Place, made: Package, day: int, *, name: str = NAME) -> None:
    actor = Actor("ada", NOW + day * DAY, f"publish {made.version}")
    store = place.store()
    evidence = {"predictions": made.predictions, "provenance": made.provenance}
    release.publish(store, name, made.manifest, made.files, **evidence, actor=actor)
    grounds = {"verdict": made.verdict, "verdict_bytes": made.verdict_bytes}
    actor = replace(actor, nonce=f"promote {made.version} on {day}")
    release.promote(store, name, made.version, "production", order=ORDER, **grounds, actor=actor)


def is_of(made: Package, loaded: fair_distill.registry.client.DistilledSet) -> bool:
    return bool(loaded.images.tobytes() == made.set.images.tobytes())


def test_what_was_in_production_on_a_day_is_found_with_its_verdict(place: Place):
    ship_on(place, ONE, 0)
    ship_on(place, TWO, 10)

    for as_of, made, number in [("2026-03-03", ONE, 1), ("2026-03-12", ONE, 1), ("2026-03-13", TWO, 2)]:
        found = look_up(PRODUCTION, registry=place.url, as_of=as_of)
        assert (is_of(made, found.set), found.number, found.verdict) == (True, number, made.verdict)
        assert found.entry is not None
        assert found.entry.version == made.version
    assert is_of(TWO, load(PRODUCTION, registry=place.url))
    assert is_of(ONE, load(PRODUCTION, registry=place.url, as_of="2026-03-13T11:59:59Z"))
    assert is_of(TWO, load(PRODUCTION, registry=place.url, as_of="2026-03-13T12:00:00Z"))


def test_before_the_first_day_there_was_nothing(place: Place):
    ship_on(place, ONE, 0)

    with pytest.raises(
        ConfigError, match=r"nothing was published as 'digits' by 2026-03-02; the first entry is of 2026-03"
    ):
        load(PRODUCTION, registry=place.url, as_of="2026-03-02")


@pytest.mark.parametrize("as_of", ["", "yesterday", "2026-13-01", "2026-03-03 12:00", "20260303", "2026-03-03T12:00Z"])
def test_a_day_that_is_none_is_refused(place: Place, as_of: str):
    ship(place.store(), ONE)

    with pytest.raises(ConfigError, match="a day as in 2026-03-03"):
        load(PRODUCTION, registry=place.url, as_of=as_of)


def test_what_was_revoked_since_is_refused_for_the_past_too_unless_asked_for(place: Place):
    ship_on(place, ONE, 0)
    retraction.revoke(
        place.store(), NAME, ONE.version, reason="labels are wrong", actor=Actor("ada", NOW + 5 * DAY, "gone")
    )

    with pytest.raises(Withdrawn, match="labels are wrong"):
        load(PRODUCTION, registry=place.url, as_of="2026-03-03")
    assert is_of(ONE, load(PRODUCTION, registry=place.url, as_of="2026-03-03", revoked=True))


def test_a_team_s_dataset_is_a_dataset(place: Place):
    ship_on(place, ONE, 0, name=f"vision/{NAME}")
    ship_on(place, TWO, 0)

    assert is_of(ONE, load(f"vision/{PRODUCTION}", registry=place.url))
    assert is_of(TWO, load(PRODUCTION, registry=place.url))


def waived(made: Package, until: str) -> Package:
    """The package with a verdict that lets it pass by two people's word."""
    word = Waiver(set=made.version, clause="eo_diag_max", who="ada", approved_by="bea", why="pilot", expires=until)
    finding = replace(made.verdict.findings[0], outcome="fail", waiver=word.sentence())
    return replace(made, verdict=replace(made.verdict, outcome="waived", findings=(finding,)))


def test_a_waived_verdict_promotes_and_loads_until_its_day(place: Place):
    ship_on(place, waived(ONE, "2026-03-20"), 0)

    assert is_of(ONE, load(PRODUCTION, registry=place.url))
    assert is_of(ONE, load(PRODUCTION, registry=place.url, today=date(2026, 3, 20)))
    with pytest.raises(Withdrawn, match=r"waiver .*expired on 2026-03-20") as refusal:
        load(PRODUCTION, registry=place.url, today=date(2026, 3, 21))
    assert refusal.value.exit_code == 5


def force(place: Place, made: Package, *, channel: str = "production", **fields: Any) -> None:
    """Enter a promotion that the verb refuses, as a ledger of an earlier release may have one."""
    store = place.store()
    digest = sha256(made.verdict_bytes)
    store.create(evidence_key(made.version, "verdicts", digest), made.verdict_bytes)
    enter(store, event="promote", version=made.version, channel=channel, verdict=digest, **fields)


def test_a_channel_on_a_waiver_that_had_expired_is_refused(place: Place):
    ship(place.store(), ONE)
    force(place, waived(ONE, "2026-03-02"))

    with pytest.raises(IntegrityError, match="its waiver was valid until 2026-03-02"):
        load(PRODUCTION, registry=place.url)


def test_a_waived_verdict_without_a_waiver_is_forged(place: Place):
    made = replace(ONE, verdict=replace(ONE.verdict, outcome="waived"))
    ship(place.store(), ONE)
    force(place, made)

    with pytest.raises(IntegrityError, match="does not name"):
        load(PRODUCTION, registry=place.url)
    assert Verdict.from_json(made.verdict_bytes).lets_pass


def test_a_pinned_reference_stays_and_is_outdated_when_its_channel_moves(place: Place, tmp_path: Path):
    lock = tmp_path / "fair-distill.lock"
    ship_on(place, ONE, 0)
    pin(lock, PRODUCTION, look_up(PRODUCTION, registry=place.url).version, registry=place.url)
    assert outdated(read_pins(lock)) == []

    ship_on(place, TWO, 1)

    assert is_of(ONE, load(PRODUCTION, registry=place.url, lock=lock))
    assert is_of(TWO, load(PRODUCTION, registry=place.url))
    (found,) = outdated(read_pins(lock))
    assert (found.number, found.now, found.why) == (1, 2, "")
    pin(lock, PRODUCTION, TWO.version, registry=place.url)
    assert outdated(read_pins(lock)) == []
    assert read_pins(lock) == (Pin(PRODUCTION, place.url, TWO.version),)


def test_a_pin_does_not_outlive_a_revocation(place: Place, tmp_path: Path):
    lock = tmp_path / "lock"
    ship_on(place, ONE, 0)
    ship_on(place, TWO, 1)
    pin(lock, f"{NAME}@v1", ONE.version, registry=place.url)
    retraction.revoke(place.store(), NAME, ONE.version, reason="labels are wrong", actor=Actor("ada", NOW, "gone"))

    with pytest.raises(Withdrawn, match="labels are wrong"):
        load(f"{NAME}@v1", registry=place.url, lock=lock)
    assert outdated(read_pins(lock))[0].why == "revoked: labels are wrong"


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format": 2, "pins": []}', b'{"format": 1, "pins": [{}]}'])
def test_a_lock_file_that_is_none_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "lock").write_bytes(content)

    with pytest.raises(ConfigError, match="lock"):
        read_pins(tmp_path / "lock")


def test_what_is_not_pinned_says_so(place: Place, tmp_path: Path):
    ship(place.store(), ONE)

    with pytest.raises(ConfigError, match="has no pin for digits@production"):
        load(PRODUCTION, registry=place.url, lock=tmp_path / "lock")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAIR_DISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("gone", [1, 3, 8])
def test_a_ledger_that_goes_back_is_refused_by_who_saw_it(place: Place, cache: Path, gone: int):
    ship(place.store(), ONE)
    ship(place.store(), TWO)
    assert is_of(TWO, load(PRODUCTION, registry=place.url))
    taken = {entry_key(NAME, number): place.files()[entry_key(NAME, number)] for number in range(9 - gone, 9)}

    for key in taken:
        place.remove(key)

    with pytest.raises(IntegrityError, match=f"has {8 - gone} entries, and had 8 when it was last read here"):
        load(PRODUCTION, registry=place.url)
    for key, content in taken.items():
        place.put(key, content)
    assert is_of(TWO, load(PRODUCTION, registry=place.url))


def test_a_ledger_that_was_rewritten_is_refused_by_who_saw_it(place: Place, cache: Path):
    ship(place.store(), ONE)
    assert load(PRODUCTION, registry=place.url)
    for key in place.files():
        place.remove(key)
    ship(place.store(), TWO)
    ship(place.store(), ONE)

    with pytest.raises(IntegrityError, match=r"entry 4 .* the ledger was rewritten.*on purpose, remove"):
        load(PRODUCTION, registry=place.url)


def test_remembering_can_be_turned_off(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FAIR_DISTILL_CACHE", "")
    ship(place.store(), ONE)
    ship(place.store(), TWO)
    load(PRODUCTION, registry=place.url)

    place.remove(entry_key(NAME, 8))

    assert is_of(ONE, load(PRODUCTION, registry=place.url))


def test_a_memory_that_is_damaged_is_said_and_not_forgotten(place: Place, cache: Path):
    ship(place.store(), ONE)
    load(PRODUCTION, registry=place.url)
    (memory,) = cache.rglob("heads/*.json")
    memory.write_bytes(b"{}")

    with pytest.raises(ConfigError, match="is damaged; check the ledger"):
        load(PRODUCTION, registry=place.url)


def test_what_was_loaded_once_loads_without_a_network(server: Bucket, cache: Path, monkeypatch: pytest.MonkeyPatch):
    ship(server.store(), ONE)
    with pytest.raises(ConfigError, match="nothing published as 'digits'"):
        load(PRODUCTION, registry=server.url, offline=True)
    load(PRODUCTION, registry=server.url)

    def none(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", none)
    assert is_of(ONE, load(PRODUCTION, registry=server.url, offline=True))
    assert is_of(ONE, load(f"{NAME}@v1", registry=server.url, offline=True))


def test_a_second_load_fetches_the_ledger_and_no_content(server: Bucket, cache: Path):
    ship(server.store(), ONE)
    load(PRODUCTION, registry=server.url)
    for key in (manifest_key(ONE.version), object_key(ONE.manifest.files[0].md5)):
        server.remove(key)

    assert is_of(ONE, load(PRODUCTION, registry=server.url))
    server.remove(entry_key(NAME, 4))
    with pytest.raises(IntegrityError):
        load(PRODUCTION, registry=server.url)


def test_a_kept_entry_that_is_damaged_is_fetched_anew(server: Bucket, cache: Path):
    ship(server.store(), ONE)
    ship(server.store(), TWO)
    load(PRODUCTION, registry=server.url)
    (copy,) = cache.rglob("000000000003.json")
    whole = copy.read_bytes()
    for damage in (b"", whole[:-2] + b" \n", whole.replace(b"ada", b"eve")):
        copy.write_bytes(damage)

        assert is_of(TWO, load(PRODUCTION, registry=server.url))
        assert copy.read_bytes() == whole


@pytest.mark.parametrize("gone", [1, 3, 8])
def test_a_bucket_s_ledger_that_goes_back_or_another_way_is_refused_by_who_keeps_its_entries(
    server: Bucket, cache: Path, gone: int
):
    ship(server.store(), ONE)
    ship(server.store(), TWO)
    load(PRODUCTION, registry=server.url)
    contents = server.files()
    for number in range(9 - gone, 9):
        server.remove(entry_key(NAME, number))

    with pytest.raises(IntegrityError, match=f"has {8 - gone} entries, and had 8 when it was last read here"):
        load(PRODUCTION, registry=server.url)
    for key in server.files():
        server.remove(key)
    ship(server.store(), TWO)
    ship(server.store(), ONE)
    with pytest.raises(IntegrityError, match=r"entry 8 .* the ledger was rewritten.*on purpose, remove"):
        load(PRODUCTION, registry=server.url)
    for key, content in contents.items():
        server.put(key, content)
    server.remove(entry_key(NAME, 3))
    with pytest.raises(IntegrityError, match="entry 3 of digits's ledger is missing"):
        load(PRODUCTION, registry=server.url)


def test_a_damaged_copy_is_fetched_anew(server: Bucket, cache: Path):
    ship(server.store(), ONE)
    load(PRODUCTION, registry=server.url)
    (copy,) = (path for path in cache.rglob("objects/files/md5/*/*") if path.is_file())
    whole = copy.read_bytes()
    copy.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))

    assert is_of(ONE, load(PRODUCTION, registry=server.url))
    assert copy.read_bytes() == whole


def test_a_set_is_torch_s_arrow_s_numpy_s_and_pandas_s():
    torch = pytest.importorskip("torch")
    images, labels = ONE.set.to_numpy()
    np.testing.assert_array_equal(images, ONE.set.images)
    np.testing.assert_array_equal(labels, ONE.set.labels)
    images[:] = 0  # a copy

    table = ONE.set.to_arrow()
    assert table.column_names == ["image", "label"]
    assert fair_distill.distilled_set.DistilledSet.from_parquet(ONE.set.to_parquet()).card == ONE.set.card
    assert b"learning_rate" in table.schema.metadata[b"fair_distill"]
    assert ONE.set.to_pandas()["label"].tolist() == labels.tolist()

    plain, normal = ONE.set.to_torch(normalised=False), ONE.set.to_torch()
    assert isinstance(plain, torch.utils.data.Dataset)
    assert len(plain) == 4
    np.testing.assert_array_equal(plain[1][0].numpy(), ONE.set.images[1])
    np.testing.assert_allclose(normal[1][0].numpy(), (ONE.set.images[1] - 0.5) / 0.25, rtol=1e-6)
    batch, of = next(iter(torch.utils.data.DataLoader(normal, batch_size=3)))
    assert (batch.shape, of.tolist()) == ((3, 1, 2, 2), labels[:3].tolist())
    assert normal.recipe.learning_rate == 0.01


def test_the_ledger_of_another_dataset_is_remembered_apart(place: Place, cache: Path):
    ship_on(place, ONE, 0)
    ship_on(place, ONE, 0, name="vision/digits")
    ship_on(place, TWO, 1)

    assert is_of(TWO, load(PRODUCTION, registry=place.url))
    assert is_of(ONE, load("vision/digits@production", registry=place.url))
    assert len(read_ledger(place.store(), "vision/digits")) == 4
