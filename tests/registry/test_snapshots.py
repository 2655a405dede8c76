"""A long ledger is read from snapshots, in few requests; and a false snapshot changes nothing."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import Bucket, Folder, Place
from small_registry import NAME, NOW, MemoryStore, local_registry, package, processes, publish, ship
from test_compatibility import old_client

from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import sha256, to_json
from fair_distill.registry import retraction, snapshots
from fair_distill.registry.actor import Actor
from fair_distill.registry.channels import Withdrawn, current
from fair_distill.registry.client import load
from fair_distill.registry.entry import Draft, Entry, entry_key
from fair_distill.registry.ledger import append, read_ledger
from fair_distill.registry.snapshots import SIZES, Snapshot, blocks, list_snapshots, make_snapshot, plan
from fair_distill.registry.store import RegistryStore
from fair_distill.registry.verify import verify
from fair_distill.storage import s3_client

ONE, TWO = package(1), package(2)
PRODUCTION = f"{NAME}@production"
SPLIT = sha256(b"a split")


def attempts(entries: list[Entry], until: int) -> list[Entry]:
    """Return a ledger that goes on with attempts until it has so many entries."""
    entries = list(entries)
    while len(entries) < until:
        number, prev = len(entries) + 1, entries[-1].digest if entries else "0" * 64
        fields = {"version": sha256(b"%d" % number), "split": SPLIT, "time": "2026-03-03T12:00:00Z"}
        entry = Entry(event="attempt", who="ada", nonce=str(number), number=number, prev=prev, name=NAME, **fields)
        entries.append(entry)
    return entries


def lengthen(place: Place, until: int) -> None:
    """Write attempts as release 0 would: entries, and no snapshots."""
    before = list(read_ledger(place.store(), NAME))
    for entry in attempts(before, until)[len(before) :]:
        place.put(entry_key(NAME, entry.number), entry.to_json())


def attempt(store: RegistryStore, nonce: str) -> Entry:
    fields = {"version": sha256(nonce.encode()), "split": SPLIT, "time": "2026-03-03T12:00:00Z"}
    entry = append(store, NAME, lambda _: Draft(event="attempt", who="ada", nonce=nonce, **fields))
    assert entry is not None
    return entry


def ranges(store: RegistryStore) -> set[tuple[int, int]]:
    return {(snapshot.first, snapshot.last) for snapshot in list_snapshots(store, NAME)}


class Counting(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def read(self, key: str, *, at_most: int | None = None) -> bytes:
        self.calls[key.partition("/")[0]] += 1
        return super().read(key, at_most=at_most)

    def list(self, prefix: str, *, after: str = "", at_most: int | None = None) -> list[str]:
        keys = super().list(prefix, after=after, at_most=at_most)
        self.calls["listing"] += 1 + len(keys) // 1000  # pages of a bucket's listing
        return keys


def counting(length: int) -> Counting:
    """A ledger in memory, with the snapshots that its writers made."""
    store = Counting()
    entries = attempts([], length)
    for entry in entries:
        store.create(entry_key(NAME, entry.number), entry.to_json())
    snapshots.write_missing(store, NAME, entries)
    store.calls.clear()
    return store


@pytest.mark.parametrize("length", [1, 99, 100, 101, 200, 399, 400, 401, 1600, 2345, 10_000])
def test_a_ledger_of_any_length_is_read_whole_in_few_requests(length: int):
    store = counting(length)

    entries = read_ledger(store, NAME)

    assert [entry.number for entry in entries] == list(range(1, length + 1))
    assert store.calls["ledger"] <= 100
    assert store.calls["snapshots"] <= 3 * len(SIZES)
    assert store.calls["listing"] <= 3
    assert entries == read_ledger(store, NAME, snapshots=False)


@given(st.integers(1, 30_000), st.integers(0, 30_000))
@settings(max_examples=200)
def test_a_plan_covers_every_entry_once_and_reads_the_newest_from_its_own_file(length: int, known: int):
    known = min(known, length - 1)
    listed = [Snapshot("", first, last) for first, last in blocks(length)]

    steps = list(plan(listed, known + 1, length))

    spans = [(step.first, step.last) if isinstance(step, Snapshot) else (step, step) for step in steps]
    assert [number for first, last in spans for number in range(first, last + 1)] == list(range(known + 1, length + 1))
    assert spans[-1] == (length, length)
    assert len(spans) <= 100 + 100 + 6 * len(SIZES) + length // SIZES[0]


def test_a_snapshot_is_written_by_who_completes_a_block_and_is_the_same_for_all(place: Place):
    ship(place.store(), ONE)
    lengthen(place, 98)
    for nonce in "ab":
        assert not ranges(place.store())
        attempt(place.store(), nonce)

    assert ranges(place.store()) == {(1, 100)}
    (snapshot,) = list_snapshots(place.store(), NAME)
    entries = read_ledger(place.store(), NAME, snapshots=False)
    key, content = make_snapshot(NAME, 1, [entry.to_json() for entry in entries])
    assert (snapshot.key, place.get(snapshot.key)) == (key, content)
    assert json.loads(content)["entries"][56] == entries[56].to_json().decode()


def test_an_entry_says_the_same_as_before_there_were_snapshots(place: Place):
    lengthen(place, 100)

    assert set(json.loads(attempt(place.store(), "a").to_json())) == set(json.loads(place.get(entry_key(NAME, 1))))


def test_a_ledger_of_today_gets_its_snapshots_from_its_next_writer(place: Place):
    ship(place.store(), ONE)
    lengthen(place, 450)
    assert load(PRODUCTION, registry=place.url).images.tobytes() == ONE.set.images.tobytes()
    assert not ranges(place.store())

    retraction.revoke(place.store(), NAME, ONE.version, reason="labels", actor=Actor("ada", NOW, "gone"))

    assert ranges(place.store()) == {(1, 400), (1, 100), (101, 200), (201, 300), (301, 400)}
    with pytest.raises(Withdrawn, match="labels"):
        load(PRODUCTION, registry=place.url)
    assert verify(NAME, registry=place.url)


def test_a_reader_writes_nothing(place: Place):
    ship(place.store(), ONE)
    lengthen(place, 250)
    before = place.files()

    load(PRODUCTION, registry=place.url)
    verify(NAME, registry=place.url)

    assert place.files() == before


def test_the_client_of_release_0_reads_a_ledger_with_snapshots_and_goes_on(root: Path):
    place = Folder(root)
    publish(place.store(), ONE)
    lengthen(place, 205)
    publish(place.store(), TWO)
    assert ranges(place.store())

    old = old_client(root, f"{NAME}@v2", NAME)
    lengthen(place, 320)  # an old writer completes the third block, and makes no snapshot of it
    attempt(place.store(), "new")

    assert old[f"{NAME}@v2"] == [TWO.version, sha256(TWO.set.images.tobytes())]
    assert isinstance(old[NAME], int)
    assert (201, 300) in ranges(place.store())
    assert load(f"{NAME}@v2", registry=place.url).images.tobytes() == TWO.set.images.tobytes()


# A false snapshot.


def forge(place: Place, first: int, entries: list[Entry], *, instead: bool = True) -> str:
    """Put another snapshot of a block there, under its own digest, in place of the right one or with it."""
    key, content = make_snapshot(NAME, first, [entry.to_json() for entry in entries])
    for snapshot in list_snapshots(place.store(), NAME):
        if instead and (snapshot.first, snapshot.last) == (first, first + len(entries) - 1):
            place.remove(snapshot.key)
    place.put(key, content)
    return key


def chained(entries: list[Entry]) -> list[Entry]:
    """Return entries with the digests that make them a chain again."""
    made: list[Entry] = []
    for entry in entries:
        made.append(replace(entry, prev=made[-1].digest if made else "0" * 64))
    return made


@pytest.fixture
def revoked(place: Place) -> Place:
    """A ledger of 230 entries whose fifth revokes what is in production."""
    ship(place.store(), ONE)
    retraction.revoke(place.store(), NAME, ONE.version, reason="labels", actor=Actor("ada", NOW, "gone"))
    lengthen(place, 229)
    attempt(place.store(), "last")
    return place


def without_the_revocation(entries: list[Entry]) -> list[Entry]:
    harmless = {"event": "attempt", "split": SPLIT, "reason": ""}
    return chained([replace(entry, **harmless) if entry.event == "revoke" else entry for entry in entries])


LIES = {
    "an omitted revocation, chained again": without_the_revocation,
    "an omitted revocation, not chained": lambda entries: [*entries[:4], *entries[5:], entries[4]],
    "an edited reason": lambda entries: chained([replace(entry, reason="x") for entry in entries]),
    "another dataset's": lambda entries: chained([replace(entry, name="faces") for entry in entries]),
}


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("lie", LIES)
def test_a_lying_snapshot_deceives_nobody_and_verify_names_it(
    revoked: Place, lie: str, cached: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("FAIR_DISTILL_CACHE", str(tmp_path / "cache") if cached else "")
    key = forge(revoked, 1, LIES[lie](list(read_ledger(revoked.store(), NAME))[:100]))

    for _ in range(2):
        with pytest.raises(Withdrawn, match="labels"):
            load(PRODUCTION, registry=revoked.url)
    with pytest.raises(IntegrityError, match=f"{key} is not the snapshot of entries 1 to 100"):
        verify(NAME, registry=revoked.url)
    revoked.remove(key)
    attempt(revoked.store(), "another")
    assert (1, 100) in ranges(revoked.store())
    assert verify(NAME, registry=revoked.url)


def test_the_whole_ledger_in_lying_snapshots_deceives_nobody(revoked: Place):
    entries = without_the_revocation(list(read_ledger(revoked.store(), NAME)))
    for first in (1, 101):
        forge(revoked, first, entries[first - 1 : first + 99])

    with pytest.raises(Withdrawn, match="labels"):
        load(PRODUCTION, registry=revoked.url)
    assert attempt(revoked.store(), "next").number == 231


def test_a_damaged_copy_of_a_snapshot_is_fetched_again(server: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("FAIR_DISTILL_CACHE", str(tmp_path / "cache"))
    ship(server.store(), ONE)
    lengthen(server, 119)
    attempt(server.store(), "last")
    load(PRODUCTION, registry=server.url)
    (copy,) = (path for path in tmp_path.rglob("contents/snapshots/*/*/*.json"))
    whole = copy.read_bytes()
    copy.write_bytes(whole.replace(b"ada", b"eve"))

    assert load(PRODUCTION, registry=server.url).images.tobytes() == ONE.set.images.tobytes()
    assert copy.read_bytes() == whole


def test_of_two_snapshots_of_a_block_neither_is_read(revoked: Place):
    entries = list(read_ledger(revoked.store(), NAME))
    key = forge(revoked, 1, without_the_revocation(entries[:100]), instead=False)

    with pytest.raises(Withdrawn, match="labels"):
        load(PRODUCTION, registry=revoked.url)
    with pytest.raises(IntegrityError, match=key):
        verify(NAME, registry=revoked.url)


DAMAGE = {
    "empty": lambda content: b"",
    "cut": lambda content: content[:-9],
    "flipped": lambda content: content.replace(b"ada", b"eve"),
    "too large": lambda content: content + b" " * snapshots.MOST_BYTES,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_snapshot_is_read_around(revoked: Place, damage: str):
    for snapshot in list_snapshots(revoked.store(), NAME):
        revoked.put(snapshot.key, DAMAGE[damage](revoked.get(snapshot.key)))

    with pytest.raises(Withdrawn, match="labels"):
        load(PRODUCTION, registry=revoked.url)
    with pytest.raises(IntegrityError, match="was damaged"):
        verify(NAME, registry=revoked.url)


JUNK = {
    "not JSON": b"{",
    "no entries": to_json({"format": 1}),
    "numbers as entries": to_json({"entries": [1] * 100}),
    "too few": to_json({"entries": ["{}"] * 99}),
    "not UTF-8 when written": json.dumps({"entries": ["\ud800"] * 100}).encode(),
    "nested": b'{"entries":' + b"[" * 10**5,
}


@pytest.mark.parametrize("junk", JUNK)
def test_a_snapshot_of_junk_under_its_own_digest_is_read_around(revoked: Place, junk: str):
    for snapshot in list_snapshots(revoked.store(), NAME):
        revoked.remove(snapshot.key)
        revoked.put(f"{snapshot.key.rpartition('/')[0]}/{sha256(JUNK[junk])}.json", JUNK[junk])

    with pytest.raises(Withdrawn, match="labels"):
        load(PRODUCTION, registry=revoked.url)


def test_a_ledger_that_is_shorter_than_its_snapshots_is_refused_by_everybody(place: Place):
    ship(place.store(), ONE)
    lengthen(place, 199)
    attempt(place.store(), "last")
    for number in range(151, 201):
        place.remove(entry_key(NAME, number))

    message = "newest entries are missing"
    with pytest.raises(IntegrityError, match=message):
        load(PRODUCTION, registry=place.url)
    with pytest.raises(IntegrityError, match=message):
        verify(NAME, registry=place.url)
    with pytest.raises(IntegrityError, match=message):
        attempt(place.store(), "next")


def test_an_entry_that_was_changed_under_a_right_snapshot_is_found_by_verify(revoked: Place):
    entries = list(read_ledger(revoked.store(), NAME))
    revoked.put(entry_key(NAME, 5), without_the_revocation(entries)[4].to_json())

    with pytest.raises(Withdrawn, match="labels"):
        load(PRODUCTION, registry=revoked.url)
    with pytest.raises(IntegrityError, match=r"entry 6 .* follows"):
        verify(NAME, registry=revoked.url)


def test_strangers_among_the_snapshots_are_ignored(revoked: Place):
    for key in ("notes.txt", "000000000001-000000000099/x.json", "000000000002-000000000101/" + "a" * 64 + ".json"):
        revoked.put(f"snapshots/{NAME}/{key}", b"")

    with pytest.raises(Withdrawn, match="labels"):
        load(PRODUCTION, registry=revoked.url)


def test_a_block_that_would_be_too_large_is_read_from_smaller_ones(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(snapshots, "MOST_BYTES", 150_000)

    store = counting(901)

    assert {last - first + 1 for first, last in ranges(store)} == {100}
    assert max(len(content) for key, content in store.content.items() if key.startswith("snap")) <= 150_000
    assert len(read_ledger(store, NAME)) == 901


def test_a_writer_that_may_not_write_snapshots_writes_its_entry():
    class Narrow(MemoryStore):
        def create(self, key: str, content: bytes) -> bool:
            if key.startswith("snapshots/"):
                raise ConfigError("the credentials do not allow it")
            return super().create(key, content)

    store = Narrow()
    for entry in attempts([], 150):
        store.create(entry_key(NAME, entry.number), entry.to_json())

    assert attempt(store, "mine").number == 151
    assert len(read_ledger(store, NAME)) == 151


def _attempt_in_a_process(root: str, racer: int, start: Any) -> None:
    start.wait()
    for i in range(8):
        attempt(local_registry(Path(root)), f"{racer}-{i}")


def test_processes_that_complete_a_block_together_make_one_snapshot(root: Path):
    lengthen(Folder(root), 90)
    context = processes()
    start = context.Barrier(8)
    racers = [context.Process(target=_attempt_in_a_process, args=(str(root), racer, start)) for racer in range(8)]

    for process in racers:
        process.start()
    for process in racers:
        process.join(60)

    assert [process.exitcode for process in racers] == [0] * 8
    entries = read_ledger(local_registry(root), NAME, snapshots=False)
    assert len(entries) == 154
    assert ranges(local_registry(root)) == {(1, 100)}
    assert len(list_snapshots(local_registry(root), NAME)) == 1
    assert snapshots.check_snapshots(local_registry(root), NAME, entries)


def test_threads_that_fill_an_old_ledger_together_make_the_same_snapshots(place: Place):
    lengthen(place, 420)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: attempt(place.store(), str(i)), range(8)))

    assert len(list_snapshots(place.store(), NAME)) == len(ranges(place.store())) == 5
    assert len(read_ledger(place.store(), NAME)) == 428


def test_a_long_ledger_is_read_from_a_bucket_in_few_requests_and_again_from_the_cache(
    server: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    ship(server.store(), ONE)
    publish(server.store(), TWO)
    lengthen(server, 449)
    attempt(server.store(), "last")
    made: list[str] = []
    client_of = s3_client._client

    def watched(*arguments: Any) -> Any:
        client = client_of(*arguments)
        client.meta.events.register("provide-client-params.s3", lambda model, **_: made.append(model.name))
        return client

    monkeypatch.setattr(s3_client, "_client", watched)
    monkeypatch.setenv("FAIR_DISTILL_CACHE", str(tmp_path / "cache"))

    load(PRODUCTION, registry=server.url)
    first = Counter(made)
    made.clear()
    load(PRODUCTION, registry=server.url)
    again = Counter(made)
    made.clear()
    retraction.demote(server.store(), NAME, ONE.version, "production", reason="x", actor=Actor("ada", NOW, "off"))
    demotion = Counter(made)

    # One snapshot of 400 and 50 entries; the verdict, the manifest and the set. Listings: 100 keys, snapshots, the end.
    assert first == Counter(GetObject=1 + 50 + 3, ListObjectsV2=3)
    assert again == Counter(GetObject=1, ListObjectsV2=3)
    assert demotion["GetObject"] == 1 + 50
    assert current(read_ledger(server.store(), NAME), "production") is None
    with pytest.raises(Withdrawn):
        load(PRODUCTION, registry=server.url)
    load(f"{NAME}@v1", registry=server.url, offline=True)
