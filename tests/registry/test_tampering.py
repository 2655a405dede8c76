"""What a failing disk, or somebody who has the folder, can do to a registry; and that no consumer gets the result."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from small_registry import NAME, files_of, package, promote, publish, put_in_place, ship

from fair_distill.artifacts import sha256, to_json
from fair_distill.errors import IntegrityError
from fair_distill.registry.client import load, verify
from fair_distill.registry.ledger import Draft, Entry, append, entry_key
from fair_distill.registry.manifest import FileEntry, Manifest
from fair_distill.registry.store import LocalStore, evidence_key, manifest_key, object_key

OLD, NEW, OTHER, BAD = package(1), package(2), package(3), package(4, mistakes=4)
PRODUCTION = f"{NAME}@production"


@pytest.fixture
def registry(root: Path) -> Path:
    """Two versions shipped, one published, one that failed its gate."""
    store = LocalStore(root)
    ship(store, OLD)
    ship(store, NEW)
    publish(store, OTHER)
    publish(store, BAD)
    store.create(evidence_key(BAD.version, "verdicts", sha256(BAD.verdict_bytes)), BAD.verdict_bytes)
    return root


def refused_by(call: Callable, reference: str, registry: Path) -> bool:
    try:
        call(reference, registry=str(registry))
    except IntegrityError as error:
        return "\n" not in str(error)
    return False


def test_an_untouched_registry_loads_and_verifies(registry: Path):
    assert load(PRODUCTION, registry=str(registry)).images.tobytes() == NEW.set.images.tobytes()
    assert len(verify(NAME, registry=str(registry))) == len(files_of(registry))


@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_flipped_bit_in_any_file_is_found_and_never_loaded(registry: Path, where: str):
    contents = files_of(registry)
    for number, (key, content) in enumerate(contents.items()):
        i = {"first": 0, "middle": len(content) // 2, "last": len(content) - 1}[where]
        flipped = content[:i] + bytes([content[i] ^ (1 << number % 8)]) + content[i + 1 :]
        put_in_place(registry / key, flipped)

        assert refused_by(verify, NAME, registry), key
        if not refused_by(load, PRODUCTION, registry):
            assert load(PRODUCTION, registry=str(registry)).images.tobytes() == NEW.set.images.tobytes()

        put_in_place(registry / key, content)
    assert not refused_by(verify, NAME, registry)


def test_load_itself_finds_a_flipped_bit_in_everything_it_rests_on(registry: Path):
    rests_on = [key for key in files_of(registry) if key.startswith("ledger/")] + [
        manifest_key(NEW.version),
        evidence_key(NEW.version, "verdicts", sha256(NEW.verdict_bytes)),
        *(object_key(entry.sha256) for entry in NEW.manifest.files),
    ]
    for key in rests_on:
        content = (registry / key).read_bytes()
        put_in_place(registry / key, content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
        assert refused_by(load, PRODUCTION, registry), key
        put_in_place(registry / key, content)


def test_a_missing_file_is_found_unless_it_is_the_newest_entry_or_evidence_that_nothing_rests_on(registry: Path):
    contents = files_of(registry)
    newest = entry_key(NAME, sum(key.startswith("ledger/") for key in contents))
    rests_on = {sha256(made.predictions) for made in (OLD, NEW)} | {sha256(made.verdict_bytes) for made in (OLD, NEW)}
    for key, content in contents.items():
        (registry / key).unlink()
        of_evidence = key.startswith("versions/") and not key.endswith("manifest.json")
        optional = key == newest or (of_evidence and Path(key).stem not in rests_on)

        assert refused_by(verify, NAME, registry) is not optional, key

        put_in_place(registry / key, content)


def swap(registry: Path, a: str, b: str) -> None:
    first, second = (registry / a).read_bytes(), (registry / b).read_bytes()
    put_in_place(registry / a, second)
    put_in_place(registry / b, first)


def swap_sets(registry: Path) -> None:
    swap(registry, *(object_key(made.manifest.files[0].sha256) for made in (OLD, NEW)))


def swap_manifests(registry: Path) -> None:
    swap(registry, manifest_key(OLD.version), manifest_key(NEW.version))


def swap_verdicts(registry: Path) -> None:
    swap(registry, *(evidence_key(made.version, "verdicts", sha256(made.verdict_bytes)) for made in (OLD, NEW)))


def edit_verdict(registry: Path) -> None:
    path = registry / evidence_key(NEW.version, "verdicts", sha256(NEW.verdict_bytes))
    put_in_place(path, replace(NEW.verdict, policy="0" * 64).to_json())


def edit_and_rename_verdict(registry: Path) -> None:
    (registry / evidence_key(NEW.version, "verdicts", sha256(NEW.verdict_bytes))).unlink()
    edited = replace(NEW.verdict, policy="0" * 64).to_json()
    put_in_place(registry / evidence_key(NEW.version, "verdicts", sha256(edited)), edited)


def repeat_a_key_in_the_manifest(registry: Path) -> None:
    path = registry / manifest_key(NEW.version)
    put_in_place(path, path.read_bytes().replace(b'"engine"', b'"engine": 9,\n "engine"'))


def link_the_set(registry: Path) -> None:
    path = registry / object_key(NEW.manifest.files[0].sha256)
    outside = registry.parent / "set.parquet"
    path.rename(outside)
    path.symlink_to(outside)


def link_the_version(registry: Path) -> None:
    folder = registry / "versions" / NEW.version
    outside = registry.parent / "version"
    folder.rename(outside)
    folder.symlink_to(outside)


def link_the_ledger(registry: Path) -> None:
    folder = registry / "ledger" / NAME
    outside = registry.parent / "ledger"
    folder.rename(outside)
    folder.symlink_to(outside)


def reorder_the_ledger(registry: Path) -> None:
    swap(registry, entry_key(NAME, 2), entry_key(NAME, 3))


def copy_the_ledger_of_another_dataset(registry: Path) -> None:
    publish(LocalStore(registry), NEW, name="faces")
    put_in_place(registry / entry_key(NAME, 1), (registry / entry_key("faces", 1)).read_bytes())


def empty_the_set(registry: Path) -> None:
    put_in_place(registry / object_key(NEW.manifest.files[0].sha256), b"")


# The rest is by somebody who may write to the store and knows its format: whole entries, right digests.


def enter(registry: Path, **fields: object) -> None:
    draft = Draft(who="eve", time="2026-03-03T12:00:00Z", nonce="forged", **fields)
    append(LocalStore(registry), NAME, lambda _: draft)


def enter_version(registry: Path, manifest: bytes) -> None:
    """Publish any bytes as a manifest, and put them in production on a verdict that says pass."""
    store, version = LocalStore(registry), sha256(manifest)
    verdict = replace(NEW.verdict, set=version).to_json()
    store.create(manifest_key(version), manifest)
    store.create(evidence_key(version, "verdicts", sha256(verdict)), verdict)
    enter(registry, event="publish", version=version)
    enter(registry, event="promote", version=version, channel="production", verdict=sha256(verdict))


def edited_manifest(**changes: object) -> bytes:
    return to_json({**json.loads(NEW.manifest.to_json()), **changes})


def promote_on_the_verdict_of_another(registry: Path) -> None:
    digest = sha256(NEW.verdict_bytes)
    put_in_place(registry / evidence_key(OTHER.version, "verdicts", digest), NEW.verdict_bytes)
    enter(registry, event="promote", version=OTHER.version, channel="production", verdict=digest)


def promote_on_a_verdict_that_failed(registry: Path) -> None:
    enter(registry, event="promote", version=BAD.version, channel="production", verdict=sha256(BAD.verdict_bytes))


def promote_on_no_verdict(registry: Path) -> None:
    enter(registry, event="promote", version=OTHER.version, channel="production", verdict="0" * 64)


def promote_what_was_never_published(registry: Path) -> None:
    enter(registry, event="promote", version="e" * 64, channel="production", verdict=sha256(NEW.verdict_bytes))


def roll_back_to_what_was_never_there(registry: Path) -> None:
    enter(registry, event="rollback", version=OTHER.version, channel="production", verdict=sha256(NEW.verdict_bytes))


def path_out_of_the_registry(registry: Path) -> None:
    entry = asdict(NEW.manifest.files[0])
    enter_version(registry, edited_manifest(files=[{**entry, "path": "../../set.parquet"}]))


def file_named_twice(registry: Path) -> None:
    entry = asdict(NEW.manifest.files[0])
    enter_version(registry, edited_manifest(files=[entry, entry]))


def digest_that_is_a_path(registry: Path) -> None:
    entry = asdict(NEW.manifest.files[0])
    enter_version(registry, edited_manifest(files=[{**entry, "sha256": "../" * 20 + "etc/passwd"}]))


def size_that_is_wrong(registry: Path) -> None:
    entry = asdict(NEW.manifest.files[0])
    enter_version(registry, edited_manifest(files=[{**entry, "size": 1}]))


def manifest_without_a_set(registry: Path) -> None:
    enter_version(registry, edited_manifest(files=[]))


def manifest_with_another_card(registry: Path) -> None:
    enter_version(registry, edited_manifest(card={**NEW.manifest.card.to_dict(), "name": "full"}))


def manifest_without_a_card(registry: Path) -> None:
    enter_version(registry, edited_manifest(card={}))


def manifest_that_is_a_list(registry: Path) -> None:
    enter_version(registry, b"[]")


def manifest_with_a_number_that_is_none(registry: Path) -> None:
    enter_version(registry, NEW.manifest.to_json().replace(b'"engine": 1', b'"engine": 1e999'))


def set_that_is_no_set(registry: Path) -> None:
    store, text = LocalStore(registry), b"text"
    store.create(object_key(sha256(text)), text)
    entry = asdict(FileEntry("set.parquet", len(text), sha256(text)))
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
def test_a_registry_that_was_tampered_with_is_refused(registry: Path, tamper: Callable[[Path], None]):
    tamper(registry)

    assert refused_by(load, PRODUCTION, registry)
    assert refused_by(verify, PRODUCTION, registry)


def predictions_of_another(registry: Path) -> None:
    put_in_place(registry / evidence_key(NEW.version, "predictions", sha256(OLD.predictions)), OLD.predictions)


def predictions_that_are_none(registry: Path) -> None:
    put_in_place(registry / evidence_key(NEW.version, "predictions", sha256(b"text")), b"text")


def verdict_of_another(registry: Path) -> None:
    put_in_place(registry / evidence_key(OLD.version, "verdicts", sha256(NEW.verdict_bytes)), NEW.verdict_bytes)


def provenance_that_is_no_json(registry: Path) -> None:
    put_in_place(registry / evidence_key(NEW.version, "provenance", sha256(b"text")), b"text")


def stranger_beside_the_version(registry: Path) -> None:
    put_in_place(registry / "versions" / NEW.version / "notes.txt", b"")


def evidence_under_a_name_of_its_own(registry: Path) -> None:
    put_in_place(registry / "versions" / NEW.version / "verdicts" / "latest.json", NEW.verdict_bytes)


@pytest.mark.parametrize(
    "tamper",
    [
        predictions_of_another,
        predictions_that_are_none,
        verdict_of_another,
        provenance_that_is_no_json,
        stranger_beside_the_version,
        evidence_under_a_name_of_its_own,
    ],
    ids=lambda tamper: tamper.__name__.replace("_", " "),
)
def test_what_has_no_place_beside_a_version_is_found_by_verify(registry: Path, tamper: Callable[[Path], None]):
    tamper(registry)

    assert refused_by(verify, NAME, registry)
    assert not refused_by(load, PRODUCTION, registry)


def test_a_ledger_that_was_tampered_with_takes_no_promotion(registry: Path):
    before = files_of(registry)
    path = registry / entry_key(NAME, 3)
    put_in_place(path, replace(Entry.from_json(path.read_bytes(), name="it"), who="eve").to_json())
    edited = files_of(registry)

    with pytest.raises(IntegrityError, match="entry 4 of digits's ledger follows on"):
        promote(LocalStore(registry), OTHER)

    assert files_of(registry) == edited
    assert edited.keys() == before.keys()


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a//b", "a\\b", "", ".", ".hidden", "a/../b"])
def test_a_manifest_names_no_file_outside_its_folder(path: str):
    with pytest.raises(IntegrityError, match="must not"):
        FileEntry(path, 0, "0" * 64)
    content = edited_manifest(files=[{**asdict(NEW.manifest.files[0]), "path": path}])
    with pytest.raises(IntegrityError, match="must not"):
        Manifest.from_json(content)
