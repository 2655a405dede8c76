"""The verbs that write: what each puts into the registry, what it refuses, and that it does nothing twice."""

import io
from dataclasses import replace
from hashlib import md5, sha256
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_registry import (
    NAME,
    NOW,
    ORDER,
    MemoryStore,
    Package,
    events,
    files_of,
    local_registry,
    package,
    promote,
    publish,
    put_in_place,
    ship,
)

from fair_distill.errors import ConfigError, DataError, IntegrityError, Refused, Undecided
from fair_distill.registry import release, retraction
from fair_distill.registry.actor import Actor
from fair_distill.registry.channels import Withdrawn, current
from fair_distill.registry.entry import Entry
from fair_distill.registry.layout import object_key
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.manifest import MANIFEST_FILE, PROVENANCE_FILE, SET_FILE, FileEntry
from fair_distill.registry.store import RegistryStore

ONE, TWO, THREE = package(1), package(2), package(3)


def ledger(store: RegistryStore) -> list[tuple[str, str | None, str]]:
    return events(read_ledger(store, NAME))


def go_back(store: RegistryStore, *, nonce: str = "back") -> Entry:
    return retraction.rollback(store, NAME, "production", reason="worse in the field", actor=Actor("ada", NOW, nonce))


def take_off(store: RegistryStore, made: Package, *, nonce: str = "off", reason: str = "fails the new policy") -> Entry:
    return retraction.demote(store, NAME, made.version, "production", reason=reason, actor=Actor("ada", NOW, nonce))


def withdraw(store: RegistryStore, made: Package, *, nonce: str = "gone", reason: str = "labels are wrong") -> Entry:
    return retraction.revoke(store, NAME, made.version, reason=reason, actor=Actor("ada", NOW, nonce))


class Ordered(MemoryStore):
    """A store that remembers the order of its keys."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    def create(self, key: str, content: bytes) -> bool:
        self.order.append(key.split("/")[2 if key.startswith("versions") else 0])
        return super().create(key, content)


def test_a_version_lies_where_its_digests_say(store: RegistryStore):
    publish(store, ONE)

    version = sha256(ONE.manifest.to_json()).hexdigest()
    contents = {SET_FILE: ONE.files[SET_FILE], MANIFEST_FILE: ONE.manifest.to_json(), PROVENANCE_FILE: ONE.provenance}
    named = {path: md5(content).hexdigest() for path, content in contents.items()}
    listing = b'[{"md5": "%b", "relpath": "manifest.json"}, ' % named[MANIFEST_FILE].encode()
    listing += b'{"md5": "%b", "relpath": "provenance.json"}, ' % named[PROVENANCE_FILE].encode()
    listing += b'{"md5": "%b", "relpath": "set.parquet"}]' % named[SET_FILE].encode()
    objects = {f"objects/files/md5/{named[path][:2]}/{named[path][2:]}": contents[path] for path in contents}
    folder = md5(listing).hexdigest()
    objects[f"objects/files/md5/{folder[:2]}/{folder[2:]}.dir"] = listing
    assert {key: store.read(key) for key in store.list("objects/")} == objects
    assert store.read(f"versions/{version}/manifest.json") == ONE.manifest.to_json()
    announced, *others = sorted(store.list(""), key=lambda key: not key.startswith("publishing/"))
    digest = sha256(f"publish-{version}".encode()).hexdigest()
    assert announced == f"publishing/{version}-20260303T120000Z-{digest[:16]}.json"
    assert others == sorted(
        [
            f"ledger/{NAME}/000000000001.json",
            *objects,
            f"versions/{version}/manifest.json",
            f"versions/{version}/predictions/{sha256(ONE.predictions).hexdigest()}.parquet",
            f"versions/{version}/provenance/{sha256(ONE.provenance).hexdigest()}.json",
        ]
    )


def test_a_published_set_does_not_say_of_which_group_an_example_is():
    table = pq.read_table(io.BytesIO(ONE.files[SET_FILE]))

    assert table.column_names == ["image", "label"]


def test_the_announcement_comes_first_and_bytes_before_the_manifest_and_the_ledger_last():
    store = Ordered()

    ship(store, ONE)

    assert store.order == [
        "publishing",
        *4 * ["objects"],
        "predictions",
        "provenance",
        "manifest.json",
        "ledger",
        "verdicts",
        "ledger",
        "ledger",
        "ledger",
    ]


def test_publishing_again_changes_nothing_and_names_the_same_version(root: Path):
    store = local_registry(root)
    first = publish(store, ONE)
    publish(store, TWO)
    before = files_of(root)

    again = publish(store, ONE, nonce="another day")

    assert (first.new, again.new) == (True, False)
    assert (again.version, again.number) == (first.version, 1)
    assert files_of(root) == before


def test_versions_are_numbered_as_they_are_published(store: RegistryStore):
    assert [publish(store, made).number for made in (TWO, ONE, THREE, ONE)] == [1, 2, 3, 2]


def test_equal_files_are_stored_once(store: RegistryStore):
    publish(store, ONE)
    before = store.list("objects/")
    other = replace(ONE, manifest=replace(ONE.manifest, engine=2))

    release.publish(store, NAME, other.manifest, other.files, actor=Actor("ada", NOW, "other engine"))

    assert store.list("objects/") == before
    assert len(read_ledger(store, NAME)) == 2


def test_evidence_of_another_day_lies_beside_the_same_version(store: RegistryStore):
    publish(store, ONE)
    later = package(1, mistakes=1)

    assert later.version == ONE.version
    assert not publish(store, later).new
    assert len(store.list(f"versions/{ONE.version}/predictions/")) == 2
    assert len(ledger(store)) == 1


def test_publishing_again_restores_what_was_lost_but_not_what_was_damaged(root: Path):
    store = local_registry(root)
    publish(store, ONE)
    before = files_of(root)
    lost = root / object_key(ONE.manifest.files[0].md5)
    lost.unlink()

    publish(store, ONE)
    assert files_of(root) == before

    put_in_place(lost, b"damaged")
    with pytest.raises(IntegrityError, match="other bytes"):
        publish(store, ONE)


def _extra(made: Package) -> Package:
    return replace(made, files={**made.files, "more.txt": b""})


def _no_set(made: Package) -> Package:
    return replace(made, manifest=replace(made.manifest, files=()), files={})


def _other_bytes(made: Package) -> Package:
    return replace(made, files=TWO.files)


def _no_parquet(made: Package) -> Package:
    entry = FileEntry.describe(SET_FILE, b"text")
    return replace(made, manifest=replace(made.manifest, files=(entry,)), files={SET_FILE: b"text"})


def _other_card(made: Package) -> Package:
    return replace(made, manifest=replace(made.manifest, card=replace(made.manifest.card, name="pooled")))


def _other_predictions(made: Package) -> Package:
    return replace(made, predictions=TWO.predictions)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (_extra, DataError, "manifest names the files"),
        (_no_set, DataError, "has none"),
        (_other_bytes, IntegrityError, "not the file in its manifest"),
        (_no_parquet, DataError, "not a distilled set"),
        (_other_card, IntegrityError, "not the card of its manifest"),
        (_other_predictions, IntegrityError, "name the version .*, not"),
    ],
)
def test_what_load_would_refuse_is_not_published(store: RegistryStore, spoil, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        publish(store, spoil(ONE))
    assert store.list("") == []


def test_a_verdict_on_another_version_is_not_published(store: RegistryStore):
    with pytest.raises(IntegrityError, match=r"name the version .*, not"):
        release.publish(
            store, NAME, ONE.manifest, ONE.files, verdicts=[TWO.verdict_bytes], actor=Actor("ada", NOW, "n")
        )
    assert store.list("") == []


def test_a_version_goes_straight_through_the_channels_one_entry_each(store: RegistryStore):
    publish(store, ONE)

    result = promote(store, ONE)

    assert result.new
    assert [entry.channel for entry in result.entries] == list(ORDER)
    assert {entry.verdict for entry in result.entries} == {sha256(ONE.verdict_bytes).hexdigest()}
    assert [current(read_ledger(store, NAME), channel) for channel in ORDER] == [ONE.version] * 3
    assert len(store.list(f"versions/{ONE.version}/verdicts/")) == 1


def test_promotion_stops_at_the_channel_that_was_asked_for(store: RegistryStore):
    publish(store, ONE)
    promote(store, ONE, "staging")

    assert [current(read_ledger(store, NAME), channel) for channel in ORDER] == [ONE.version, ONE.version, None]


def test_channels_already_held_are_not_entered_again(store: RegistryStore):
    publish(store, ONE)
    promote(store, ONE, "candidate")
    publish(store, TWO)
    promote(store, TWO, "candidate")

    result = promote(store, ONE)

    assert [entry.channel for entry in result.entries] == ["staging", "production"]
    assert current(read_ledger(store, NAME), "candidate") == TWO.version


@pytest.mark.parametrize("channel", ORDER)
def test_promoting_what_is_there_changes_nothing_and_says_so(root: Path, channel: str):
    store = local_registry(root)
    ship(store, ONE)
    before = files_of(root)

    again = promote(store, ONE, channel, nonce="another day")

    assert not again.new
    assert again.entries == ()
    assert files_of(root) == before


def test_what_is_in_force_stays_on_the_verdict_it_came_with(root: Path):
    store = local_registry(root)
    ship(store, ONE)
    judged_again = package(1, mistakes=1)
    publish(store, judged_again)
    before = files_of(root)

    assert not promote(store, judged_again, nonce="again").new
    assert files_of(root) == before


def test_a_verdict_that_is_no_pass_promotes_nothing(store: RegistryStore):
    failed = package(1, mistakes=4)
    publish(store, failed)
    before = store.list("")

    with pytest.raises(
        Refused, match=r"v1 of digits is not promoted to production: eo_diag_max: 0.400 .* over .* 0.300"
    ):
        promote(store, failed)
    assert store.list("") == before


@pytest.mark.parametrize("outcome", ["insufficient", "inconclusive"])
def test_a_verdict_that_decides_nothing_promotes_nothing(store: RegistryStore, outcome: str):
    publish(store, ONE)
    before = store.list("")

    with pytest.raises(Undecided, match="not promoted to production"):
        promote(store, replace(ONE, verdict=replace(ONE.verdict, outcome=outcome)))
    assert store.list("") == before


def test_a_verdict_on_another_version_promotes_nothing(store: RegistryStore):
    publish(store, ONE)
    publish(store, TWO)

    with pytest.raises(IntegrityError, match="the verdict is of"):
        promote(store, replace(ONE, verdict=TWO.verdict))
    assert [event for event, _, _ in ledger(store)] == ["publish", "publish"]


def test_a_verdict_whose_bytes_say_something_else_promotes_nothing(store: RegistryStore):
    failed = package(1, mistakes=4)
    publish(store, failed)

    with pytest.raises(IntegrityError, match="differs from the verdict"):
        release.promote(
            store,
            NAME,
            failed.version,
            "production",
            order=ORDER,
            verdict=ONE.verdict,
            verdict_bytes=failed.verdict_bytes,
            actor=Actor("ada", NOW, "n"),
        )


def test_a_verdict_without_its_predictions_in_the_registry_promotes_nothing(store: RegistryStore):
    release.publish(store, NAME, ONE.manifest, ONE.files, actor=Actor("ada", NOW, "n"))

    with pytest.raises(DataError, match="publish them with it"):
        promote(store, ONE)
    assert len(ledger(store)) == 1


def test_an_unknown_channel_is_refused_with_the_known_ones(store: RegistryStore):
    publish(store, ONE)

    with pytest.raises(ConfigError, match=r"channel is 'prod'.*candidate, staging, production"):
        promote(store, ONE, "prod")


def test_a_version_published_under_another_name_is_not_promoted_under_this_one(store: RegistryStore):
    publish(store, ONE, name="faces")

    with pytest.raises(ConfigError, match="not published here"):
        promote(store, ONE)


def test_a_rollback_is_one_entry_that_carries_the_verdict_of_the_version_it_returns_to(store: RegistryStore):
    ship(store, ONE)
    ship(store, TWO)

    entry = go_back(store)

    assert ledger(store)[-1] == ("rollback", "production", ONE.version)
    assert entry.verdict == sha256(ONE.verdict_bytes).hexdigest()
    assert current(read_ledger(store, NAME), "production") == ONE.version
    assert current(read_ledger(store, NAME), "staging") == TWO.version


def test_a_rollback_passes_over_a_revoked_version(store: RegistryStore):
    for made in (ONE, TWO, THREE):
        ship(store, made)
    withdraw(store, TWO)

    assert go_back(store).version == ONE.version


def test_a_rollback_with_nothing_to_go_back_to_is_refused(store: RegistryStore):
    ship(store, ONE)

    with pytest.raises(Refused, match="no earlier version"):
        go_back(store)


def test_a_rollback_repeated_with_its_nonce_goes_back_once_and_with_another_twice(store: RegistryStore):
    for made in (ONE, TWO, THREE):
        ship(store, made)

    assert go_back(store, nonce="a") == go_back(store, nonce="a")
    assert current(read_ledger(store, NAME), "production") == TWO.version
    go_back(store, nonce="b")
    assert current(read_ledger(store, NAME), "production") == ONE.version


def test_of_two_who_roll_back_the_same_version_the_second_is_told(monkeypatch: pytest.MonkeyPatch):
    class Overtaken(MemoryStore):
        armed = False

        def create(self, key: str, content: bytes) -> bool:
            if self.armed:
                self.armed = False
                go_back(self, nonce="the other's")
            return super().create(key, content)

    store = Overtaken()
    for made in (ONE, TWO, THREE):
        ship(store, made)
    store.armed = True

    with pytest.raises(Refused, match="entry 13 changed it during this command"):
        go_back(store, nonce="mine")
    assert current(read_ledger(store, NAME), "production") == TWO.version


def test_a_demoted_version_leaves_its_channel_empty_and_the_others_as_they_are(store: RegistryStore):
    ship(store, ONE)
    ship(store, TWO)

    entry = take_off(store, TWO)

    assert take_off(store, TWO) == entry
    entries = read_ledger(store, NAME)
    assert [current(entries, channel) for channel in ORDER] == [TWO.version, TWO.version, None]
    assert go_back(store).version == ONE.version


def test_only_what_is_in_force_is_demoted(store: RegistryStore):
    ship(store, ONE)
    ship(store, TWO)

    with pytest.raises(Refused, match="v1 is not demoted from production: v2 is in force there"):
        take_off(store, ONE)


def test_a_revoked_version_is_revoked_once_and_for_good(store: RegistryStore):
    ship(store, ONE)

    stone = withdraw(store, ONE)

    assert withdraw(store, ONE, nonce="again", reason="another") == stone
    for verb in (publish, promote):
        with pytest.raises(Withdrawn, match=r"v1 of digits was revoked .* labels are wrong"):
            verb(store, ONE)
    assert [event for event, _, _ in ledger(store)].count("revoke") == 1


@pytest.mark.parametrize("verb", [take_off, withdraw])
def test_what_consumers_will_read_needs_a_reason(store: RegistryStore, verb):
    ship(store, ONE)

    with pytest.raises(ConfigError, match="the reason is empty"):
        verb(store, ONE, reason="")
