"""What a failing disk, or somebody who has the folder, can do to a registry; and that no consumer gets the result."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from places import FULLY, Folder, Place
from small_registry import NAME, lasting, package, promote, publish, ship

from fair_distill.errors import IntegrityError
from fair_distill.files import md5, sha256, to_json
from fair_distill.registry.client import load
from fair_distill.registry.entry import Draft, Entry, entry_key
from fair_distill.registry.layout import MAX_ENTRY_BYTES, MAX_JSON_BYTES, evidence_key, manifest_key, object_key
from fair_distill.registry.ledger import append
from fair_distill.registry.manifest import FileEntry, Manifest
from fair_distill.registry.verify import verify

OLD, NEW, OTHER, BAD = package(1), package(2), package(3), package(4, mistakes=4)
PRODUCTION = f"{NAME}@production"


@pytest.fixture
def registry(place: Place) -> Place:
    """Two versions shipped, one published, one that failed its gate."""
    store = place.store()
    ship(store, OLD)
    ship(store, NEW)
    publish(store, OTHER)
    publish(store, BAD)
    store.create(evidence_key(BAD.version, "verdicts", sha256(BAD.verdict_bytes)), BAD.verdict_bytes)
    return place


@pytest.fixture(autouse=True)
def _nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found here is found by looking, not by having seen it before."""
    monkeypatch.setenv("FAIR_DISTILL_CACHE", "")


def refused_by(call: Callable, reference: str, registry: Place) -> bool:
    """Whether it is refused with exit code 5 and a reason of one line."""
    try:
        call(reference, registry=registry.url)
    except IntegrityError as error:
        return error.exit_code == 5 and bool(str(error)) and "\n" not in str(error)
    return False


def test_an_untouched_registry_loads_and_verifies(registry: Place):
    assert load(PRODUCTION, registry=registry.url).images.tobytes() == NEW.set.images.tobytes()
    assert {checked.key for checked in verify(NAME, registry=registry.url)} == set(lasting(registry.files()))


# What is found does not depend on the place, and a real server takes its time.
@pytest.mark.parametrize("where", ["middle"] if FULLY else ["first", "middle", "last"])
def test_a_flipped_bit_in_any_file_is_found_and_never_loaded(registry: Place, where: str):
    contents = lasting(registry.files())
    for number, (key, content) in enumerate(contents.items()):
        i = {"first": 0, "middle": len(content) // 2, "last": len(content) - 1}[where]
        flipped = content[:i] + bytes([content[i] ^ (1 << number % 8)]) + content[i + 1 :]
        registry.put(key, flipped)

        assert refused_by(verify, NAME, registry), key
        if not refused_by(load, PRODUCTION, registry):
            assert load(PRODUCTION, registry=registry.url).images.tobytes() == NEW.set.images.tobytes()

        registry.put(key, content)
    assert not refused_by(verify, NAME, registry)


def test_load_itself_finds_a_flipped_bit_in_everything_it_rests_on(registry: Place):
    rests_on = [key for key in registry.files() if key.startswith("ledger/")] + [
        manifest_key(NEW.version),
        evidence_key(NEW.version, "verdicts", sha256(NEW.verdict_bytes)),
        *(object_key(entry.md5) for entry in NEW.manifest.files),
    ]
    for key in rests_on:
        content = registry.get(key)
        registry.put(key, content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
        assert refused_by(load, PRODUCTION, registry), key
        registry.put(key, content)


def test_a_missing_file_is_found_unless_it_is_the_newest_entry_or_evidence_that_nothing_rests_on(registry: Place):
    contents = lasting(registry.files())
    newest = entry_key(NAME, sum(key.startswith("ledger/") for key in contents))
    rests_on = {sha256(made.predictions) for made in (OLD, NEW)} | {sha256(made.verdict_bytes) for made in (OLD, NEW)}
    for key, content in contents.items():
        registry.remove(key)
        of_evidence = key.startswith("versions/") and not key.endswith("manifest.json")
        optional = key == newest or (of_evidence and Path(key).stem not in rests_on)

        assert refused_by(verify, NAME, registry) is not optional, key

        registry.put(key, content)


def swap(registry: Place, a: str, b: str) -> None:
    first, second = registry.get(a), registry.get(b)
    registry.put(a, second)
    registry.put(b, first)


def swap_sets(registry: Place) -> None:
    swap(registry, *(object_key(made.manifest.files[0].md5) for made in (OLD, NEW)))


def swap_manifests(registry: Place) -> None:
    swap(registry, manifest_key(OLD.version), manifest_key(NEW.version))


def swap_verdicts(registry: Place) -> None:
    swap(registry, *(evidence_key(made.version, "verdicts", sha256(made.verdict_bytes)) for made in (OLD, NEW)))


def edit_verdict(registry: Place) -> None:
    key = evidence_key(NEW.version, "verdicts", sha256(NEW.verdict_bytes))
    registry.put(key, replace(NEW.verdict, policy="0" * 64).to_json())


def edit_and_rename_verdict(registry: Place) -> None:
    registry.remove(evidence_key(NEW.version, "verdicts", sha256(NEW.verdict_bytes)))
    edited = replace(NEW.verdict, policy="0" * 64).to_json()
    registry.put(evidence_key(NEW.version, "verdicts", sha256(edited)), edited)


def repeat_a_key_in_the_manifest(registry: Place) -> None:
    key = manifest_key(NEW.version)
    registry.put(key, registry.get(key).replace(b'"engine"', b'"engine": 9,\n "engine"'))


def link(registry: Place, path: str) -> None:
    if not isinstance(registry, Folder):
        pytest.skip("a bucket has no links")
    inside, outside = registry.root / path, registry.root.parent / "outside"
    inside.rename(outside)
    inside.symlink_to(outside)


def link_the_set(registry: Place) -> None:
    link(registry, object_key(NEW.manifest.files[0].md5))


def link_the_version(registry: Place) -> None:
    link(registry, f"versions/{NEW.version}")


def link_the_ledger(registry: Place) -> None:
    link(registry, f"ledger/{NAME}")


def link_an_entry(registry: Place) -> None:
    link(registry, entry_key(NAME, 2))


def edit_entry(registry: Place, number: int, change: Callable[[dict], None]) -> None:
    """Edit an entry as it is spelled, seal and all left to those who check."""
    value = json.loads(registry.get(entry_key(NAME, number)))
    change(value)
    registry.put(entry_key(NAME, number), to_json(value))


def edit_who_of_the_newest_entry(registry: Place) -> None:
    edit_entry(registry, 10, lambda value: value.update(who="eve"))


def reseal_an_edited_entry(registry: Place) -> None:
    entry = Entry.from_json(registry.get(entry_key(NAME, 3)), name="it")
    registry.put(entry_key(NAME, 3), replace(entry, who="eve").to_json())


def remove_an_entry(registry: Place) -> None:
    registry.remove(entry_key(NAME, 5))


def remove_the_first_entry(registry: Place) -> None:
    registry.remove(entry_key(NAME, 1))


def move_the_later_entries_down(registry: Place) -> None:
    for number in range(5, 10):
        registry.put(entry_key(NAME, number), registry.get(entry_key(NAME, number + 1)))
    registry.remove(entry_key(NAME, 10))


def entry_zero(registry: Place) -> None:
    registry.put(entry_key(NAME, 0), registry.get(entry_key(NAME, 1)))


def stranger_in_the_ledger(registry: Place) -> None:
    registry.put(f"ledger/{NAME}/latest.json", b"{}")


def truncate_an_entry(registry: Place) -> None:
    registry.put(entry_key(NAME, 10), registry.get(entry_key(NAME, 10))[:40])


def repeat_a_key_in_an_entry(registry: Place) -> None:
    content = registry.get(entry_key(NAME, 10))
    registry.put(entry_key(NAME, 10), content.replace(b'"event"', b'"event": "revoke",\n "event"'))


def nest_an_entry_without_end(registry: Place) -> None:
    registry.put(entry_key(NAME, 10), b"[" * 200_000)


def oversized_manifest(registry: Place) -> None:
    registry.put(manifest_key(NEW.version), b" " * (MAX_JSON_BYTES + 1))


def oversized_entry(registry: Place) -> None:
    registry.put(entry_key(NAME, 10), b" " * (MAX_ENTRY_BYTES + 1))


def promote_on_a_waiver_that_had_expired(registry: Place) -> None:
    word = "waived until 2026-03-02 by ada, approved by bea: pilot"
    finding = replace(OTHER.verdict.findings[0], outcome="fail", waiver=word)
    verdict = replace(OTHER.verdict, outcome="waived", findings=(finding,)).to_json()
    registry.put(evidence_key(OTHER.version, "verdicts", sha256(verdict)), verdict)
    enter(registry, event="promote", version=OTHER.version, channel="production", verdict=sha256(verdict))


def promote_on_a_verdict_that_is_no_json(registry: Place) -> None:
    registry.put(evidence_key(OTHER.version, "verdicts", sha256(b"pass")), b"pass")
    enter(registry, event="promote", version=OTHER.version, channel="production", verdict=sha256(b"pass"))


def reorder_the_ledger(registry: Place) -> None:
    swap(registry, entry_key(NAME, 2), entry_key(NAME, 3))


def copy_the_ledger_of_another_dataset(registry: Place) -> None:
    publish(registry.store(), NEW, name="faces")
    registry.put(entry_key(NAME, 1), registry.get(entry_key("faces", 1)))


def empty_the_set(registry: Place) -> None:
    registry.put(object_key(NEW.manifest.files[0].md5), b"")


# The rest is by somebody who may write to the store and knows its format: whole entries, right digests.


def enter(registry: Place, **fields: object) -> None:
    draft = Draft(who="eve", time="2026-03-03T12:00:00Z", nonce="forged", **fields)
    append(registry.store(), NAME, lambda _: draft)


def enter_version(registry: Place, manifest: bytes) -> None:
    """Publish any bytes as a manifest, and put them in production on a verdict that says pass."""
    store, version = registry.store(), sha256(manifest)
    verdict = replace(NEW.verdict, set=version).to_json()
    store.create(manifest_key(version), manifest)
    store.create(evidence_key(version, "verdicts", sha256(verdict)), verdict)
    enter(registry, event="publish", version=version)
    enter(registry, event="promote", version=version, channel="production", verdict=sha256(verdict))


def edited_manifest(**changes: object) -> bytes:
    return to_json({**json.loads(NEW.manifest.to_json()), **changes})


def promote_on_the_verdict_of_another(registry: Place) -> None:
    digest = sha256(NEW.verdict_bytes)
    registry.put(evidence_key(OTHER.version, "verdicts", digest), NEW.verdict_bytes)
    enter(registry, event="promote", version=OTHER.version, channel="production", verdict=digest)


def promote_on_a_verdict_that_failed(registry: Place) -> None:
    enter(registry, event="promote", version=BAD.version, channel="production", verdict=sha256(BAD.verdict_bytes))


def promote_on_no_verdict(registry: Place) -> None:
    enter(registry, event="promote", version=OTHER.version, channel="production", verdict="0" * 64)


def promote_what_was_never_published(registry: Place) -> None:
    enter(registry, event="promote", version="e" * 64, channel="production", verdict=sha256(NEW.verdict_bytes))


def roll_back_to_what_was_never_there(registry: Place) -> None:
    enter(registry, event="rollback", version=OTHER.version, channel="production", verdict=sha256(NEW.verdict_bytes))


def path_out_of_the_registry(registry: Place) -> None:
    entry = asdict(NEW.manifest.files[0])
    enter_version(registry, edited_manifest(files=[{**entry, "path": "../../set.parquet"}]))


def file_named_twice(registry: Place) -> None:
    entry = asdict(NEW.manifest.files[0])
    enter_version(registry, edited_manifest(files=[entry, entry]))


def digest_that_is_a_path(registry: Place) -> None:
    entry = asdict(NEW.manifest.files[0])
    enter_version(registry, edited_manifest(files=[{**entry, "sha256": "../" * 20 + "etc/passwd"}]))


def size_that_is_wrong(registry: Place) -> None:
    entry = asdict(NEW.manifest.files[0])
    enter_version(registry, edited_manifest(files=[{**entry, "size": 1}]))


def manifest_without_a_set(registry: Place) -> None:
    enter_version(registry, edited_manifest(files=[]))


def manifest_with_another_card(registry: Place) -> None:
    enter_version(registry, edited_manifest(card={**NEW.manifest.card.to_dict(), "name": "full"}))


def manifest_without_a_card(registry: Place) -> None:
    enter_version(registry, edited_manifest(card={}))


def manifest_that_is_a_list(registry: Place) -> None:
    enter_version(registry, b"[]")


def manifest_with_a_number_that_is_none(registry: Place) -> None:
    enter_version(registry, NEW.manifest.to_json().replace(b'"engine": 1', b'"engine": 1e999'))


def set_that_is_no_set(registry: Place) -> None:
    store, text = registry.store(), b"text"
    store.create(object_key(md5(text)), text)
    entry = asdict(FileEntry.describe("set.parquet", text))
    enter_version(registry, edited_manifest(files=[entry]))


TAMPERING = [
    swap_sets,
    swap_manifests,
    swap_verdicts,
    edit_verdict,
    edit_and_rename_verdict,
    repeat_a_key_in_the_manifest,
    link_the_set,
    link_the_version,
    link_the_ledger,
    link_an_entry,
    edit_who_of_the_newest_entry,
    reseal_an_edited_entry,
    remove_an_entry,
    remove_the_first_entry,
    move_the_later_entries_down,
    entry_zero,
    stranger_in_the_ledger,
    truncate_an_entry,
    repeat_a_key_in_an_entry,
    nest_an_entry_without_end,
    oversized_manifest,
    oversized_entry,
    promote_on_a_waiver_that_had_expired,
    promote_on_a_verdict_that_is_no_json,
    reorder_the_ledger,
    copy_the_ledger_of_another_dataset,
    empty_the_set,
    promote_on_the_verdict_of_another,
    promote_on_a_verdict_that_failed,
    promote_on_no_verdict,
    promote_what_was_never_published,
    roll_back_to_what_was_never_there,
    path_out_of_the_registry,
    file_named_twice,
    digest_that_is_a_path,
    size_that_is_wrong,
    manifest_without_a_set,
    manifest_with_another_card,
    manifest_without_a_card,
    manifest_that_is_a_list,
    manifest_with_a_number_that_is_none,
    set_that_is_no_set,
]


@pytest.mark.parametrize("tamper", TAMPERING, ids=lambda tamper: tamper.__name__.replace("_", " "))
def test_a_registry_that_was_tampered_with_is_refused(registry: Place, tamper: Callable[[Place], None]):
    tamper(registry)

    assert refused_by(load, PRODUCTION, registry)
    assert refused_by(verify, PRODUCTION, registry)


def test_the_corpus_has_forty_and_more():
    assert len(TAMPERING) >= 40
    assert len(set(TAMPERING)) == len(TAMPERING)


def predictions_of_another(registry: Place) -> None:
    registry.put(evidence_key(NEW.version, "predictions", sha256(OLD.predictions)), OLD.predictions)


def predictions_that_are_none(registry: Place) -> None:
    registry.put(evidence_key(NEW.version, "predictions", sha256(b"text")), b"text")


def edit_the_predictions(registry: Place) -> None:
    key = evidence_key(NEW.version, "predictions", sha256(NEW.predictions))
    registry.put(key, package(2, mistakes=1).predictions)


def listing_of_another_for_dvc(registry: Place) -> None:
    listings = [key for key in registry.files() if key.endswith(".dir")]
    swap(registry, *listings[:2])


def no_manifest_for_dvc(registry: Place) -> None:
    registry.remove(object_key(md5(NEW.manifest.to_json())))


def verdict_of_another(registry: Place) -> None:
    registry.put(evidence_key(OLD.version, "verdicts", sha256(NEW.verdict_bytes)), NEW.verdict_bytes)


def provenance_that_is_no_json(registry: Place) -> None:
    registry.put(evidence_key(NEW.version, "provenance", sha256(b"text")), b"text")


def stranger_beside_the_version(registry: Place) -> None:
    registry.put(f"versions/{NEW.version}/notes.txt", b"")


def evidence_under_a_name_of_its_own(registry: Place) -> None:
    registry.put(f"versions/{NEW.version}/verdicts/latest.json", NEW.verdict_bytes)


@pytest.mark.parametrize(
    "tamper",
    [
        predictions_of_another,
        predictions_that_are_none,
        edit_the_predictions,
        listing_of_another_for_dvc,
        no_manifest_for_dvc,
        verdict_of_another,
        provenance_that_is_no_json,
        stranger_beside_the_version,
        evidence_under_a_name_of_its_own,
    ],
    ids=lambda tamper: tamper.__name__.replace("_", " "),
)
def test_what_has_no_place_beside_a_version_is_found_by_verify(registry: Place, tamper: Callable[[Place], None]):
    tamper(registry)

    assert refused_by(verify, NAME, registry)
    assert not refused_by(load, PRODUCTION, registry)


def test_a_ledger_that_was_tampered_with_takes_no_promotion(registry: Place):
    before = registry.files()
    reseal_an_edited_entry(registry)
    edited = registry.files()

    with pytest.raises(IntegrityError, match="entry 4 of digits's ledger follows"):
        promote(registry.store(), OTHER)

    assert registry.files() == edited
    assert edited.keys() == before.keys()


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a//b", "a\\b", "", ".", ".hidden", "a/../b"])
def test_a_manifest_names_no_file_outside_its_folder(path: str):
    with pytest.raises(IntegrityError, match="is not allowed"):
        FileEntry.describe(path, b"")
    content = edited_manifest(files=[{**asdict(NEW.manifest.files[0]), "path": path}])
    with pytest.raises(IntegrityError, match="is not allowed"):
        Manifest.from_json(content)
