"""What gc takes: what crashed publications left, at the second look, and nothing that anything names."""

import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from places import Place
from small_registry import NAME, NOW, Package, files_of, local_registry, package, promote, publish, put_in_place

from fair_distill.cli import main
from fair_distill.errors import ConfigError, FairDistillError, IntegrityError
from fair_distill.files import sha256, to_json
from fair_distill.registry import retraction
from fair_distill.registry.actor import Actor
from fair_distill.registry.announcements import announce, plan
from fair_distill.registry.client_state import remember
from fair_distill.registry.dvc_layout import dvc_files
from fair_distill.registry.entry import entry_key
from fair_distill.registry.garbage_collection import GarbageRecord, Head, KnownHeads, check_ledgers, garbage, remove
from fair_distill.registry.layout import evidence_key, manifest_key, object_key
from fair_distill.registry.ledger import names, read_ledger
from fair_distill.registry.store import RegistryStore, open_registry
from fair_distill.registry.verify import head, verify

OLD, NEW = package(1), package(2)


def ship(store: RegistryStore, made: Package, *, name: str = NAME) -> None:
    publish(store, made, name=name)
    promote(store, made, name=name)


LOST = replace(package(3), provenance=to_json({"commit": "1" * 40}))
DAY = timedelta(days=1)


def crash(place: Place) -> set[str]:
    """Leave what a publication leaves that died before its ledger entry; return the keys."""
    return crash_in(place.store())


def crash_in(store: RegistryStore) -> set[str]:
    left = {
        object_key(LOST.manifest.files[0].md5): LOST.files["set.parquet"],
        **dvc_files(LOST.manifest, LOST.provenance),
        evidence_key(LOST.version, "provenance", sha256(LOST.provenance)): LOST.provenance,
        manifest_key(LOST.version): LOST.manifest.to_json(),
    }
    for key, content in left.items():
        store.create(key, content)
    return set(left)


def test_only_what_nothing_names_goes_and_only_at_the_second_look(place: Place):
    ship(place.store(), OLD)
    ship(place.store(), NEW)
    retraction.revoke(place.store(), NAME, OLD.version, reason="labels", actor=Actor("ada", NOW, "gone"))
    before = place.files()
    left = crash(place)
    store = place.store()

    look = GarbageRecord(NOW, garbage(store, now=NOW))
    assert set(look.keys) == left
    with pytest.raises(ConfigError, match="a publication may be running"):
        remove(store, look, now=NOW + DAY - timedelta(seconds=1), delete=store.remove)
    assert set(remove(store, look, now=NOW + DAY, delete=store.remove)) == left

    # Announcements that are old go too; these are of the first run.
    assert place.files() == before
    assert verify(NAME, registry=place.url)


def test_what_was_published_after_the_first_look_stays(place: Place):
    left = crash(place)
    store = place.store()
    look = GarbageRecord(NOW, garbage(store, now=NOW))
    assert set(look.keys) == left

    ship(place.store(), LOST)

    assert remove(store, look, now=NOW + 2 * DAY, delete=store.remove) == ()
    assert verify(NAME, registry=place.url)


def test_what_a_pin_names_stays(place: Place):
    crash(place)
    store = place.store()

    assert garbage(store, now=NOW, pinned=[LOST.version]) == ()


def test_a_manifest_goes_before_its_files(place: Place):
    left = crash(place)
    store = place.store()

    deleted: list[str] = []

    gone = remove(store, GarbageRecord(NOW, garbage(store, now=NOW)), now=NOW + DAY, delete=deleted.append)

    assert tuple(deleted[:-1]) == gone  # the plan goes last
    assert gone == tuple(sorted(left, key=lambda key: (key.startswith("objects/"), key)))
    assert gone[-1].startswith("objects/")


@pytest.mark.parametrize("damage", ["ledger", "manifest", "no manifest"])
def test_from_a_damaged_registry_nothing_is_removed(root: Path, damage: str):
    store = local_registry(root)
    ship(store, OLD)
    path = root / (f"ledger/{NAME}/000000000002.json" if damage == "ledger" else manifest_key(OLD.version))
    put_in_place(path, path.read_bytes()[:-1])
    if damage == "no manifest":
        (root / "versions").rename(root.parent / "elsewhere")

    with pytest.raises(IntegrityError):
        garbage(store, now=NOW)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"keys": [], "time": "2026-03-03"}', b'{"keys": 1, "time": ""}'])
def test_a_first_look_that_is_none_is_refused(content: bytes):
    with pytest.raises(ConfigError, match="look"):
        GarbageRecord.from_json(content, name="look.json")


def test_a_look_reads_back():
    look = GarbageRecord(NOW, ("objects/a", "versions/b"), {"team/digits": Head(3, "a" * 64)})

    assert GarbageRecord.from_json(look.to_json(), name="it") == look


def announced_at(place: Place, now: datetime) -> None:
    """Announce the publication of LOST."""
    keys = [*(object_key(file.md5) for file in LOST.manifest.files), *dvc_files(LOST.manifest, LOST.provenance)]
    keys += [manifest_key(LOST.version), evidence_key(LOST.version, "provenance", sha256(LOST.provenance))]
    announce(place.store(), NAME, LOST.version, keys, actor=Actor("ada", now, "publication"))


@pytest.mark.parametrize(
    ("hours", "kept"),
    [(-1, True), (-24, True), (-25, False)],  # a publication may run for a day, and clocks may differ by ten minutes
)
def test_what_a_running_publication_announced_is_no_garbage(place: Place, hours: int, kept: bool):
    ship(place.store(), OLD)
    announced_at(place, NOW + timedelta(hours=hours))
    left = crash(place)

    assert set(garbage(place.store(), now=NOW)) == (set() if kept else left)


def test_what_was_announced_after_the_first_look_stays(place: Place):
    """A publication crashed, was seen as garbage, and is repeated while gc runs: it finds its files and keeps them."""
    ship(place.store(), OLD)
    left = crash(place)
    look = GarbageRecord(NOW, garbage(place.store(), now=NOW))
    assert set(look.keys) == left
    announced_at(place, NOW + 40 * DAY)
    store = place.store()

    assert remove(store, look, now=NOW + 41 * DAY, delete=store.remove) == ()
    assert left <= place.files().keys()


def test_a_publication_that_finds_its_files_in_the_plan_of_gc_stops_before_it_writes(place: Place):
    """The other order: gc has planned before the publication announced, and may be removing already."""
    ship(place.store(), OLD)
    crash(place)
    look = GarbageRecord(NOW, garbage(place.store(), now=NOW))
    store, later = place.store(), NOW + 2 * DAY
    refusals = []

    def delete(key: str) -> None:
        if not refusals:
            with pytest.raises(ConfigError, match="`gc` is removing files that version") as refusal:
                publish(place.store(), LOST)
            refusals.append(refusal)
        store.remove(key)

    remove(store, look, now=later, delete=delete)

    assert refusals
    assert not [key for key in place.files() if key.startswith("collecting/")]
    publish(place.store(), LOST)
    assert verify(NAME, registry=place.url)


def test_a_plan_of_gc_stops_no_publication_of_other_files(place: Place):
    ship(place.store(), OLD)
    plan(place.store(), crash(place))

    publish(place.store(), NEW)

    assert verify(NAME, registry=place.url)


def test_gc_that_was_killed_is_ended_by_the_same_command(place: Place):
    ship(place.store(), OLD)
    left = crash(place)
    look = GarbageRecord(NOW, garbage(place.store(), now=NOW))
    plan(place.store(), look.keys)
    store = place.store()

    assert set(remove(store, look, now=NOW + 2 * DAY, delete=store.remove)) == left
    publish(place.store(), LOST)


def test_announcements_go_once_they_are_old_and_their_publication_is_done_or_gone(place: Place):
    ship(place.store(), OLD)
    crash(place)
    announced_at(place, NOW)
    store = place.store()
    look = GarbageRecord(NOW + 2 * DAY, garbage(store, now=NOW + 2 * DAY))
    assert len([key for key in place.files() if key.startswith("publishing/")]) == 2

    remove(store, look, now=NOW + 4 * DAY, delete=store.remove)

    assert not [key for key in place.files() if key.startswith("publishing/")]


def test_an_announcement_that_was_edited_stops_gc(place: Place):
    ship(place.store(), OLD)
    (key,) = [key for key in place.files() if key.startswith("publishing/")]
    place.put(key, place.get(key).replace(b"digits", b"faces!"))

    with pytest.raises(IntegrityError, match="not an announcement"):
        garbage(place.store(), now=NOW)


# Ledgers that are short or missing: everything that they named looks like garbage.


def vouched(place: Place, tmp_path: Path, **given: Any) -> dict[str, Head]:
    return check_ledgers(place.store(), KnownHeads(place.url, tmp_path / "memory", **given), now=NOW + 2 * DAY)


def head_of(place: Place, name: str = NAME) -> Head:
    entries = read_ledger(place.store(), name)
    return Head(len(entries), entries[-1].digest[:12])


def test_nothing_is_removed_where_nothing_says_that_the_ledger_is_complete(place: Place, tmp_path: Path):
    ship(place.store(), OLD)

    with pytest.raises(ConfigError, match=rf"--confirm-head {NAME}=4:[0-9a-f]{{12}}"):
        vouched(place, tmp_path)


@pytest.mark.parametrize("source", ["memory", "anchor", "confirmed"])
def test_a_ledger_is_complete_if_it_continues_a_head_and_refused_if_it_is_shorter(
    place: Place, tmp_path: Path, source: str
):
    ship(place.store(), OLD)
    given: dict[str, Any] = {}
    if source == "memory":
        remember(tmp_path / "memory", NAME, read_ledger(place.store(), NAME), url=place.url)
    elif source == "anchor":
        (tmp_path / "head.json").write_bytes(head(NAME, registry=place.url).to_json())
        given = {"anchors": [tmp_path / "head.json"]}
    else:
        given = {"confirmed": {NAME: head_of(place)}}
    ship(place.store(), NEW)
    assert vouched(place, tmp_path, **given)[NAME].number == 8

    for number in range(4, 9):
        place.remove(entry_key(NAME, number))
    with pytest.raises(IntegrityError, match="has 3 entries"):
        vouched(place, tmp_path, **given)
    for key in [key for key in place.files() if key.startswith("ledger/")]:
        place.remove(key)
    with pytest.raises(FairDistillError, match="no ledger"):
        vouched(place, tmp_path, **given)


@pytest.mark.parametrize("known", ["by memory", "by its versions", "by an announcement"])
def test_a_ledger_that_is_missing_as_a_whole_is_not_garbage(place: Place, tmp_path: Path, known: str):
    """A partial restore: the ledger of digits is there, that of faces is not."""
    publish(place.store(), OLD, name="faces")
    if known == "by memory":
        remember(tmp_path / "memory", "faces", read_ledger(place.store(), "faces"), url=place.url)
    place.remove(entry_key("faces", 1))
    if known != "by an announcement":
        for key in [key for key in place.files() if key.startswith("publishing/")]:
            place.remove(key)
    ship(place.store(), NEW, name="vision/digits" if known == "by its versions" else NAME)
    confirmed = {name: head_of(place, name) for name in names(place.store())}

    error = IntegrityError if known == "by memory" else ConfigError
    # The card of its version names the data set digits, which has no ledger either.
    lost = "digits" if known == "by its versions" else "faces"
    wanted = "the ledger of faces .* has 0 entries" if known == "by memory" else f"'{lost}' has contents here and no"
    with pytest.raises(error, match=wanted):
        vouched(place, tmp_path, confirmed=confirmed)
    if known != "by memory":
        assert vouched(place, tmp_path, confirmed={**confirmed, lost: Head(0, "")})[lost] == Head(0, "")


def test_a_ledger_that_was_cut_between_the_looks_is_refused(place: Place, tmp_path: Path):
    ship(place.store(), OLD)
    ship(place.store(), NEW)
    heads = vouched(place, tmp_path, confirmed={NAME: head_of(place)})
    look = GarbageRecord(NOW, garbage(place.store(), now=NOW), heads)
    for number in range(5, 9):
        place.remove(entry_key(NAME, number))
    store, before = place.store(), place.files()

    with pytest.raises(IntegrityError, match="had 8 entries at the first run"):
        remove(store, look, now=NOW + 2 * DAY, delete=store.remove)
    assert place.files() == before


@pytest.mark.parametrize("number", [0, 1, 3, 4])
def test_a_ledger_that_continues_its_head_of_any_length_at_the_first_look_is_collected(place: Place, number: int):
    left = crash(place)
    ship(place.store(), OLD)
    entries = read_ledger(place.store(), NAME)
    heads = [Head(0, ""), *(Head(entry.number, entry.digest) for entry in entries)]
    store = place.store()
    keys = garbage(store, now=NOW)

    for wrong in (Head(number, "0" * 64), Head(len(entries) + 1, entries[-1].digest)):
        with pytest.raises(IntegrityError, match="does not continue"):
            remove(store, GarbageRecord(NOW, keys, {NAME: wrong}), now=NOW + 2 * DAY, delete=store.remove)
    look = GarbageRecord(NOW, keys, {NAME: heads[number]})
    assert set(remove(store, look, now=NOW + 2 * DAY, delete=store.remove)) == left


@pytest.mark.parametrize("text", ["digits", "digits=", "digits=3", "digits=3:abc", "=3:" + "a" * 12, "digits=x:y"])
def test_a_head_that_is_none_is_refused(text: str):
    with pytest.raises(ConfigError, match=r"--confirm-head .*write NAME=NUMBER:DIGEST"):
        Head.parse(text, option="--confirm-head")


def test_the_command_collects_once_the_head_is_confirmed(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("FAIR_DISTILL_CACHE", str(tmp_path / "cache"))
    ship(place.store(), OLD)
    left = crash(place)
    gc = ["gc", str(tmp_path / "look.json"), "--registry", place.url, "--lock", str(tmp_path / "lock")]

    assert main(gc) == 2
    ((confirm),) = re.findall(r"--confirm-head (\S+)", capsys.readouterr().err)
    assert main([*gc, "--confirm-head", confirm]) == 0
    assert GarbageRecord.from_json((tmp_path / "look.json").read_bytes(), name="it").keys == tuple(sorted(left))
    assert main([*gc, "--confirm-head", confirm]) == 2
    assert "less than 1 day" in capsys.readouterr().err


def test_a_place_of_predictions_is_no_registry(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FAIR_DISTILL_PREDICTIONS", str(tmp_path / "private"))
    ship(open_registry(str(root)), OLD)
    monkeypatch.delenv("FAIR_DISTILL_PREDICTIONS")
    assert local_registry(tmp_path / "private").list("versions/")

    with pytest.raises(ConfigError, match="has no ledger: it is not a registry"):
        check_ledgers(local_registry(tmp_path / "private"), KnownHeads(str(tmp_path / "private")), now=NOW)


def test_of_predictions_apart_both_sides_are_collected_and_other_registries_keep_theirs(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FAIR_DISTILL_PREDICTIONS", str(tmp_path / "private"))
    store, other = open_registry(str(root)), open_registry(str(tmp_path / "other"))
    ship(store, OLD)
    ship(other, NEW)
    crashed = evidence_key(LOST.version, "predictions", sha256(LOST.predictions))
    left = crash_in(store) | {crashed}
    store.create(crashed, LOST.predictions)
    before = files_of(tmp_path / "private")

    look = GarbageRecord(NOW, garbage(store, now=NOW))
    assert set(look.keys) == left
    assert set(remove(store, look, now=NOW + DAY, delete=store.remove)) == left

    assert files_of(tmp_path / "private").keys() == before.keys() - {crashed}
    assert not [key for key in files_of(root) if LOST.version in key]
    for url in (root, tmp_path / "other"):
        assert verify(NAME, registry=str(url))


def test_a_registry_given_as_the_place_of_predictions_loses_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ship(local_registry(tmp_path / "other"), NEW)
    before = files_of(tmp_path / "other")
    monkeypatch.setenv("FAIR_DISTILL_PREDICTIONS", str(tmp_path / "other"))
    store = open_registry(str(root))
    ship(store, OLD)

    assert garbage(store, now=NOW) == ()
    assert before.items() <= files_of(tmp_path / "other").items()
