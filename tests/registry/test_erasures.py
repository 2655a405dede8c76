"""Erasing people from a registry: versions, predictions and digests go, and everything else stays valid."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from small_attempts import numbered, take
from small_erasures import erase, made_from, plan, ship_with_units, units_of
from small_registry import NAME, NOW, MemoryStore, files_of, local_registry, package, put_in_place, ship

from fair_distill.errors import IntegrityError, MeasurementError
from fair_distill.files import sha256, to_json
from fair_distill.registry import release
from fair_distill.registry.actor import Actor
from fair_distill.registry.announcements import announce
from fair_distill.registry.attempt_checks import check_record
from fair_distill.registry.attempts import read_record
from fair_distill.registry.channels import Withdrawn, in_force
from fair_distill.registry.client import load
from fair_distill.registry.erasures import RECORD, Erased, ErasureEntry, ErasureList, read_erasures
from fair_distill.registry.garbage_collection import garbage
from fair_distill.registry.layout import examples_key, object_key, units_key
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.store import RegistryStore
from fair_distill.registry.verify import verify
from fair_distill.stages.context import _judged_predictions
from fair_distill.stages.training_units import explain_erased

FIRST, SECOND = made_from([1, 2, 3], seed=1), made_from([1, 3], seed=2)


@pytest.fixture
def store(root: Path) -> RegistryStore:
    """Return a registry with two versions, of which only the first was made from person 2."""
    store = local_registry(root)
    ship_with_units(store, FIRST, [1, 2, 3])
    ship_with_units(store, SECOND, [1, 3])
    return store


def test_only_versions_that_were_made_from_the_person_are_erased(store: RegistryStore, root: Path):
    removed = erase(store, 2)

    assert units_key(units_of([1, 2, 3]).sha256) in removed
    assert object_key(FIRST.manifest.files[0].md5) in removed
    assert not any(key.startswith(f"versions/{SECOND.version}") for key in removed)
    assert not any((root / key).exists() for key in removed)
    assert load(f"{NAME}@production", registry=root).card == SECOND.manifest.card
    with pytest.raises(Withdrawn, match=r"v1 of digits was revoked .* erased on 2026-03-03 \(erasure 1 of digits\)"):
        load(f"{NAME}@v1", registry=root)
    with pytest.raises(Erased, match="was erased on 2026-03-03"):
        load(f"{NAME}@v1", registry=root, revoked=True)
    assert {row.remark for row in verify(NAME, registry=str(root))} >= {"erased on 2026-03-03 (erasure 1 of digits)"}
    assert garbage(store, now=NOW + timedelta(days=2)) == ()


def test_the_same_erasure_again_writes_and_removes_nothing(store: RegistryStore, root: Path):
    erase(store, 2)
    before = files_of(root)

    assert erase(store, 2) == ()
    assert files_of(root) == before


def test_a_later_erasure_gets_a_record_of_its_own(store: RegistryStore):
    erase(store, 2)
    erase(store, 3)

    erasures = read_erasures(store)
    assert [removal.versions for removal in erasures.lists] == [(FIRST.version,), (SECOND.version,)]
    assert erasures.of_version[SECOND.version].number == 2
    assert [entry.event for entry in read_ledger(store, NAME)].count("revoke") == 2


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", range(11))
def test_an_erasure_that_is_killed_at_any_step_is_completed_by_repeating_it(
    store: RegistryStore, root: Path, step: int, monkeypatch: pytest.MonkeyPatch
):
    steps = iter(range(step))

    def dying(method):
        def call(self, *arguments, **options):
            if next(steps, None) is None:
                raise Killed
            return method(self, *arguments, **options)

        return call

    kind = type(store)
    with monkeypatch.context() as patch:
        patch.setattr(kind, "create", dying(kind.create))
        patch.setattr(kind, "remove", dying(kind.remove))
        with pytest.raises(Killed):
            erase(store, 2)

    erase(store, 2)

    # The plan of a killed run may remain: `gc` and the next publication report it.
    assert plan(store, [2]).is_empty
    assert verify(NAME, registry=str(root))
    assert not (root / object_key(FIRST.manifest.files[0].md5)).exists()


def test_versions_without_training_units_are_reported_and_erased_only_on_request(root: Path):
    store = local_registry(root)
    ship(store, package(1))

    cautious, thorough = plan(store, [2]), plan(store, [2], include_unknown=True)

    assert cautious.versions == ()
    assert any("digits@v1: its training units are not recorded" in line for line in cautious.unknown)
    assert [row.number for row in thorough.versions] == [1]
    assert thorough.versions[0].channels == ("candidate", "staging", "production")


def test_digests_of_gate_examples_become_random_and_all_shares_stay(root: Path):
    store = local_registry(root)
    splits = [numbered(range(40)), numbered(range(20, 60)), numbered(range(30, 90))]
    for number, split in enumerate(splits):
        take(store, split, version=number, planned=9)
    before = [entry.fraction for entry in read_record(store)]
    person = sorted(
        set(splits[0].contents.tolist()) & set(splits[1].contents.tolist()) & set(splits[2].contents.tolist())
    )[:2]

    removed = erase(store, *person)

    assert set(removed) == {examples_key(split.digest) for split in splits}
    remaining = b"".join(path.read_bytes() for path in (root / "attempts/examples").iterdir())
    assert not any(np.uint64(digest).astype("<u8").tobytes() in remaining for digest in person)
    assert [entry.fraction for entry in read_record(store)] == before
    assert check_record(store)  # it computes each fraction again from the shares
    with pytest.raises(Erased, match="people who were erased on"):
        take(store, splits[0], version=9, planned=9)


def test_erased_predictions_and_training_units_are_not_published_again(store: RegistryStore):
    erase(store, 2)
    late = made_from([1, 2, 3], seed=5)

    with pytest.raises(Erased, match="is not published again"):
        ship_with_units(store, late, [1, 2, 3])


def test_verify_refuses_an_erased_content_that_is_back(store: RegistryStore, root: Path):
    removed = erase(store, 2)
    put_in_place(root / next(key for key in removed if "/predictions/" in key), b"back")

    with pytest.raises(IntegrityError, match=r"was erased on 2026-03-03 .* and is in the registry"):
        verify(NAME, registry=str(root))


def test_an_edited_list_or_entry_is_refused(store: RegistryStore, root: Path):
    erase(store, 2)
    entry, removal = read_erasures(store).entries[0], read_erasures(store).lists[0]

    for path, content in (
        (root / RECORD.key(1), entry.to_json().replace(b"dpo", b"eve")),
        (root / f"erasures/lists/{entry.contents}.json", removal.to_json().replace(b"units/", b"unita/")),
    ):
        original = path.read_bytes()
        put_in_place(path, content)
        with pytest.raises(IntegrityError):
            read_erasures(store)
        put_in_place(path, original)
    with pytest.raises(IntegrityError, match="not in the form"):
        ErasureEntry.from_json(to_json({**entry.__dict__, "format": 1, "seal": "0" * 64}), "it")
    with pytest.raises(IntegrityError, match="not a list of erased contents"):
        ErasureList.from_json(removal.to_json().replace(b"units/", b"../uni"), name="it")


def test_contents_that_a_running_publication_needs_stay_until_it_has_ended(store: RegistryStore):
    key = object_key(FIRST.manifest.files[0].md5)
    announce(store, NAME, sha256(b"another version"), [key], actor=Actor("bob", NOW, "publishing"))

    with pytest.raises(MeasurementError, match="a publication is running"):
        erase(store, 2)

    assert store.exists(key)
    assert not store.exists(units_key(units_of([1, 2, 3]).sha256))


def test_a_content_that_a_live_version_shares_stays(root: Path):
    store = local_registry(root)
    shared = made_from([4], seed=1)
    assert shared.files == FIRST.files
    ship_with_units(store, FIRST, [1, 2, 3])
    ship_with_units(store, shared, [4])

    erase(store, 2)

    assert load(f"{NAME}@v2", registry=root)
    assert verify(NAME, registry=str(root))


def test_garbage_includes_units_that_no_version_names(store: RegistryStore):
    store.create(units_key(units_of([9]).sha256), units_of([9]).to_bytes())

    assert garbage(store, now=NOW + timedelta(days=2)) == (units_key(units_of([9]).sha256),)


def test_garbage_includes_examples_that_no_attempt_names_only_if_the_record_is_known_to_be_complete():
    store = MemoryStore()
    take(store, numbered(range(20)))
    lost = numbered(range(5))
    store.create(examples_key(lost.digest), lost.content)
    release.publish(store, NAME, package(1).manifest, package(1).files, actor=Actor("ada", NOW, "p"))

    assert garbage(store, now=NOW + timedelta(days=2)) == ()
    assert garbage(store, now=NOW + timedelta(days=2), examples=True) == (examples_key(lost.digest),)


def test_an_attempt_at_examples_that_a_crash_left_announces_them():
    store = MemoryStore()
    split = numbered(range(5))
    store.create(examples_key(split.digest), split.content)

    take(store, split)

    assert any(
        examples_key(split.digest).encode() in content for key, content in store.content.items() if "publishing/" in key
    )


def test_a_comparison_with_an_erased_version_names_the_way_out(store: RegistryStore):
    entry = in_force(read_ledger(store, NAME), "production")
    assert entry is not None
    erase(store, 3)

    with pytest.raises(Erased, match="registry demote digits@production"), explain_erased(entry):
        _judged_predictions(store, entry)
