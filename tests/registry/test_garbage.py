"""What gc takes: what crashed publications left, at the second look, and nothing that anything names."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from places import Place
from small_registry import NAME, NOW, package, put_in_place, ship

from fair_distill.artifacts import sha256, to_json
from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.registry import retraction
from fair_distill.registry.audit import verify
from fair_distill.registry.folder import LocalStore
from fair_distill.registry.garbage import Look, garbage, remove
from fair_distill.registry.remote import beside_files
from fair_distill.registry.store import evidence_key, manifest_key, object_key

OLD, NEW = package(1), package(2)
LOST = replace(package(3), provenance=to_json({"commit": "1" * 40}))
DAY = timedelta(days=1)


def crash(place: Place) -> set[str]:
    """Leave what a publication leaves that died before its ledger entry; return the keys."""
    left = {
        object_key(LOST.manifest.files[0].md5): LOST.files["set.parquet"],
        **beside_files(LOST.manifest, LOST.provenance),
        evidence_key(LOST.version, "provenance", sha256(LOST.provenance)): LOST.provenance,
        manifest_key(LOST.version): LOST.manifest.to_json(),
    }
    for key, content in left.items():
        place.store().create(key, content)
    return set(left)


def test_only_what_nothing_names_goes_and_only_at_the_second_look(place: Place):
    ship(place.store(), OLD)
    ship(place.store(), NEW)
    retraction.revoke(place.store(), NAME, OLD.version, reason="labels", who="ada", now=NOW, nonce="gone")
    before = place.files()
    left = crash(place)
    store = place.store()

    look = Look(NOW, garbage(store))
    assert set(look.keys) == left
    with pytest.raises(ConfigError, match="a publication may be under way"):
        remove(store, look, now=NOW + DAY - timedelta(seconds=1), delete=store.remove)
    assert set(remove(store, look, now=NOW + DAY, delete=store.remove)) == left

    assert place.files() == before
    assert verify(NAME, registry=place.url)


def test_what_was_published_after_the_first_look_stays(place: Place):
    left = crash(place)
    store = place.store()
    look = Look(NOW, garbage(store))
    assert set(look.keys) == left

    ship(place.store(), LOST)

    assert remove(store, look, now=NOW + 2 * DAY, delete=store.remove) == ()
    assert verify(NAME, registry=place.url)


def test_what_a_pin_names_stays(place: Place):
    crash(place)
    store = place.store()

    assert garbage(store, pinned=[LOST.version]) == ()


def test_a_manifest_goes_before_its_files(place: Place):
    crash(place)
    store = place.store()

    gone = remove(store, Look(NOW, garbage(store)), now=NOW + DAY, delete=store.remove)

    assert gone[-1].startswith("objects/")


@pytest.mark.parametrize("damage", ["ledger", "manifest", "no manifest"])
def test_from_a_damaged_registry_nothing_is_removed(root: Path, damage: str):
    store = LocalStore(root)
    ship(store, OLD)
    path = root / (f"ledger/{NAME}/000000000002.json" if damage == "ledger" else manifest_key(OLD.version))
    put_in_place(path, path.read_bytes()[:-1])
    if damage == "no manifest":
        (root / "versions").rename(root.parent / "elsewhere")

    with pytest.raises(IntegrityError):
        garbage(store)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"keys": [], "time": "2026-03-03"}', b'{"keys": 1, "time": ""}'])
def test_a_first_look_that_is_none_is_refused(content: bytes):
    with pytest.raises(ConfigError, match="look"):
        Look.from_json(content, name="look.json")


def test_a_look_reads_back():
    look = Look(NOW, ("objects/a", "versions/b"))

    assert Look.from_json(look.to_json(), name="it") == look
