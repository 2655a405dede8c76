"""One line of entries, whoever writes and however often; and what its chain shows."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
from places import Bucket
from small_registry import NAME, MemoryStore, local_registry, put_in_place

from fair_distill.errors import ConfigError, FairDistillError, IntegrityError
from fair_distill.files import to_json
from fair_distill.registry import ledger
from fair_distill.registry.entry import Draft, Entry, clock_faults, entry_key, timestamp, until
from fair_distill.registry.ledger import append, names, read_ledger
from fair_distill.registry.store import CheckedStore, RegistryStore
from fair_distill.storage.s3 import S3Store
from fair_distill.storage.store import Unanswered

VERSION = "ab" * 32
VERDICT = "cd" * 32


def draft(nonce: str = "n", **changes: object) -> Draft:
    fields = {"event": "publish", "version": VERSION, "who": "ada", "time": "2026-03-03T12:00:00Z", "nonce": nonce}
    return Draft(**{**fields, **changes})


def write(store: RegistryStore, *nonces: str, name: str = NAME) -> None:
    for nonce in nonces:
        append(store, name, lambda _, nonce=nonce: draft(nonce))


def nonces(store: RegistryStore, name: str = NAME) -> list[str]:
    return [entry.nonce for entry in read_ledger(store, name)]


@pytest.mark.parametrize("changes", [{"reason": "x" * 70_000}, {"reason": "\u00e9" * 40_000}, {"who": "x" * 70_000}])
def test_an_entry_that_no_reader_would_read_is_not_written(tmp_path: Path, changes: dict[str, str]) -> None:
    store = local_registry(tmp_path)
    write(store, "a")

    with pytest.raises(ConfigError, match="at most 65,536 are allowed"):
        append(store, NAME, lambda _: draft("b", **changes))

    assert nonces(store) == ["a"]


class Before(MemoryStore):
    """A store in which somebody else writes first: `others` says how often."""

    def __init__(self, others: int) -> None:
        super().__init__()
        self.others = others
        self.reads: list[str] = []

    def read(self, key: str, *, at_most: int | None = None) -> bytes:
        self.reads.append(key)
        return super().read(key, at_most=at_most)

    def create(self, key: str, content: bytes) -> bool:
        if self.others:
            self.others -= 1
            entry = Entry.from_json(content, name=key)
            super().create(key, replace(entry, nonce=f"other {entry.number}").to_json())
        return super().create(key, content)


class Silent(MemoryStore):
    """A store whose first answers to `create` are lost, with or without the write having taken place."""

    def __init__(self, losses: int, *, written: bool) -> None:
        super().__init__()
        self.losses, self.written = losses, written

    def create(self, key: str, content: bytes) -> bool:
        if not self.losses:
            return super().create(key, content)
        self.losses -= 1
        if self.written:
            super().create(key, content)
        raise Unanswered("connection reset")


def test_entries_are_numbered_from_one_and_chained_by_the_sha256_of_their_bytes(store: RegistryStore):
    write(store, "a", "b", "c")

    prev = "0" * 64
    for number in (1, 2, 3):
        content = store.read(f"ledger/digits/{number:012d}.json")
        value = json.loads(content)
        assert (value["number"], value["prev"]) == (number, prev)
        prev = sha256(content).hexdigest()
    assert store.list("ledger/") == [entry_key(NAME, number) for number in (1, 2, 3)]


def test_what_was_appended_is_what_is_read(store: RegistryStore):
    wanted = draft("n", event="promote", channel="production", verdict=VERDICT, reason='größer\n"quoted"')

    entry = append(store, NAME, lambda _: wanted)

    assert read_ledger(store, NAME) == (entry,)
    assert {field: getattr(entry, field) for field in vars(wanted)} == vars(wanted)


def test_there_is_no_ledger_before_the_first_entry(store: RegistryStore):
    assert read_ledger(store, NAME) == ()
    assert names(store) == ()


def test_nothing_wanted_is_nothing_written(store: RegistryStore):
    assert append(store, NAME, lambda _: None) is None
    assert store.list("") == []


def test_a_team_and_its_dataset_have_ledgers_of_their_own(store: RegistryStore):
    write(store, "team", name="vision")
    write(store, "dataset", name="vision/digits")
    write(store, "other", name="digits")

    assert nonces(store, "vision") == ["team"]
    assert nonces(store, "vision/digits") == ["dataset"]
    assert names(store) == ("digits", "vision", "vision/digits")


@pytest.mark.parametrize("name", ["", "/", "a/", "/a", "a/b/c", "..", "a/..", "a b", "a@b", "é", "a\n"])
def test_a_name_that_is_no_name_is_refused(store: RegistryStore, name: str):
    with pytest.raises(ConfigError, match="team/dataset"):
        read_ledger(store, name)
    with pytest.raises(ConfigError, match="team/dataset"):
        append(store, name, lambda _: draft())


def dated(store: RegistryStore, *times: str) -> tuple[Entry, ...]:
    for i, moment in enumerate(times):
        append(store, NAME, lambda _, i=i, moment=moment: draft(str(i), time=f"2026-{moment}Z"))
    return read_ledger(store, NAME)


def test_time_does_not_go_back_while_clocks_differ_by_as_much_as_they_may(store: RegistryStore):
    entries = dated(store, "03-03T12:00:00", "03-03T11:50:00", "03-03T11:59:00", "03-03T12:01:00")

    assert [entry.time[11:16] for entry in entries] == ["12:00", "12:00", "12:00", "12:01"]


def test_a_clock_that_ran_ahead_is_not_copied_into_later_entries(store: RegistryStore):
    entries = dated(store, "03-03T12:00:00", "12-03T12:00:00", "03-03T12:05:00", "03-03T12:06:00")

    assert [entry.time[5:16] for entry in entries] == ["03-03T12:00", "12-03T12:00", "03-03T12:05", "03-03T12:06"]


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("2026-03-03T11:59:59Z", 0),
        ("2026-03-03T12:00:00Z", 1),
        ("2026-03-05T11:59:59Z", 1),
        ("2026-03-05T12:00:00Z", 3),  # entry 2 was there when entry 3 was written, whatever its clock said
        ("2026-03-06T12:00:00Z", 4),
        ("2036-01-01T00:00:00Z", 4),
    ],
)
def test_a_moment_is_resolved_by_number_where_one_clock_was_ahead(moment: str, number: int):
    entries = dated(MemoryStore(), "03-03T12:00:00", "12-03T12:00:00", "03-05T12:00:00", "03-06T12:00:00")

    assert until(entries, moment) == entries[:number]


def test_a_ledger_that_the_previous_release_poisoned_heals_with_the_next_entry():
    """That release copied a time in the future into every later entry."""
    entries = dated(MemoryStore(), "03-03T12:00:00", *["12-03T12:00:00"] * 3, "03-05T12:00:00")

    assert until(entries, "2026-03-04T00:00:00Z") == entries[:1]
    assert until(entries, "2026-03-05T12:00:00Z") == entries


@pytest.mark.parametrize("seed", range(20))
def test_where_times_do_not_go_back_a_moment_is_resolved_by_time(seed: int):
    rng = Random(seed)
    entries = dated(MemoryStore(), *sorted(f"03-{rng.randrange(1, 29):02}T12:00:00" for _ in range(10)))

    for day in range(1, 30):
        moment = f"2026-03-{day:02}T12:00:00Z"
        assert until(entries, moment) == tuple(entry for entry in entries if entry.time <= moment)


def test_entries_whose_clock_was_ahead_are_named_and_others_are_not():
    entries = dated(MemoryStore(), "03-03T12:00:00", "12-03T12:00:00", "03-05T12:00:00", "03-06T12:00:00")
    now = datetime(2026, 3, 6, 11, 50, tzinfo=UTC)

    (fault,) = clock_faults(entries, now)
    assert fault.startswith(f"entry 2 of {NAME}'s ledger is dated 2026-12-03T12:00:00Z")
    assert len(clock_faults(entries, now - timedelta(seconds=1))) == 2
    assert clock_faults(entries[:1], now) == ()


@pytest.mark.parametrize("time", ["2026-02-30T12:00:00Z", "2026-03-03T24:00:01Z", "2026-03-03T12:60:00Z"])
def test_a_time_that_no_clock_shows_is_refused(store: RegistryStore, time: str):
    with pytest.raises(ConfigError, match=r"time is .* expected UTC"):
        append(store, NAME, lambda _: draft(time=time))


SKEWS = [(-301, True), (-299, False), (0, False), (299, False), (301, True)]


@pytest.mark.parametrize(("seconds", "refused"), SKEWS)
def test_a_folder_takes_no_entry_from_a_clock_that_differs_by_more_than_five_minutes(
    root: Path, seconds: int, refused: bool
):
    store = local_registry(root, clock=lambda: time.time() + seconds)

    if refused:
        with pytest.raises(ConfigError, match=r"this machine's clock says 20.* and the clock of the folder .* says 20"):
            write(store, "a")
    else:
        write(store, "a")
    assert len(read_ledger(store, NAME)) == (0 if refused else 1)
    assert store.create("objects/content", b"that carries no time")


@pytest.mark.parametrize(("seconds", "refused"), SKEWS)
def test_a_server_takes_no_entry_from_a_clock_that_differs_by_more_than_five_minutes(
    server: Bucket, seconds: int, refused: bool
):
    # A `Date` is cut to the second, so a clock may be ahead of it by one.
    shift = timedelta(seconds=seconds + (0.5 if seconds > 0 else 0) - (1 if seconds == 299 else 0))
    store = CheckedStore(S3Store(server.bucket, server.prefix, server.client, clock=lambda: datetime.now(UTC) + shift))

    if refused:
        with pytest.raises(ConfigError, match=r"this machine's clock says 20.* and the clock of s3://.* says 20"):
            write(store, "a")
    else:
        write(store, "a")
    assert len(read_ledger(store, NAME)) == (0 if refused else 1)


def test_a_time_is_written_in_utc():
    assert timestamp(datetime(2026, 3, 3, 1, tzinfo=timezone(timedelta(hours=2)))) == "2026-03-02T23:00:00Z"
    assert timestamp(datetime(2026, 3, 3, tzinfo=UTC)) == "2026-03-03T00:00:00Z"
    with pytest.raises(ConfigError, match="zone"):
        timestamp(datetime(2026, 3, 3))


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("event", {"event": "delete"}),
        ("version", {"version": "v1"}),
        ("version", {"version": VERSION.upper()}),
        ("channel", {"channel": "production"}),
        ("channel", {"event": "promote", "verdict": VERDICT}),
        ("channel", {"event": "promote", "verdict": VERDICT, "channel": "a/b"}),
        ("verdict", {"event": "promote", "channel": "production"}),
        ("verdict", {"event": "rollback", "channel": "production", "verdict": "pass"}),
        ("time", {"time": "2026-03-03"}),
        ("time", {"time": "2026-03-03T12:00:00+00:00"}),
        ("who", {"who": ""}),
        ("who", {"who": "\udcff"}),
        ("reason", {"reason": "\udcff"}),
        ("nonce", {"nonce": ""}),
    ],
)
def test_what_is_no_entry_is_refused_by_its_field(store: RegistryStore, field: str, changes: dict):
    with pytest.raises(ConfigError, match=f"{field} is "):
        append(store, NAME, lambda _: draft(**changes))
    assert store.list("") == []


def test_who_loses_a_number_decides_again_on_what_the_winner_wrote():
    store = Before(others=2)
    seen = []

    entry = append(store, NAME, lambda entries: (seen.append(len(entries)), draft("mine"))[1])

    assert seen == [0, 1, 2]
    assert entry is not None
    assert entry.number == 3
    assert nonces(store) == ["other 1", "other 2", "mine"]


def test_who_loses_may_find_that_nothing_is_left_to_do():
    store = Before(others=1)

    assert append(store, NAME, lambda entries: None if entries else draft("mine")) is None
    assert nonces(store) == ["other 1"]


def test_who_loses_for_ever_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledger, "_TRIES", 5)
    store = Before(others=100)

    with pytest.raises(
        FairDistillError, match=r"other writers were faster 5 times, up to entry 5; .*Repeat the command"
    ):
        append(store, NAME, lambda _: draft("mine"))
    assert "mine" not in nonces(store)


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("losses", [1, 2])
def test_a_lost_answer_neither_loses_nor_doubles_an_entry(losses: int, written: bool):
    store = Silent(losses, written=written)

    entry = append(store, NAME, lambda _: draft("mine"))

    assert read_ledger(store, NAME) == (entry,)


def test_a_lost_answer_to_one_who_lost_is_no_win():
    class LostRace(Before):
        def create(self, key: str, content: bytes) -> bool:
            first = self.others > 0
            created = super().create(key, content)
            if first:
                raise Unanswered("connection reset")
            return created

    store = LostRace(others=1)

    entry = append(store, NAME, lambda _: draft("mine"))

    assert entry is not None
    assert entry.number == 2
    assert nonces(store) == ["other 1", "mine"]


def test_a_store_that_never_answers_is_given_up():
    store = Silent(10**6, written=False)

    with pytest.raises(Unanswered, match="repeat the command"):
        append(store, NAME, lambda _: draft("mine"))
    assert 10**6 - store.losses < 10


def test_of_a_ledger_that_grows_meanwhile_each_entry_is_read_once():
    store = Before(others=0)
    write(store, "a", "b", "c")
    store.others, store.reads = 2, []

    append(store, NAME, lambda _: draft("mine"))

    assert store.reads == [entry_key(NAME, number) for number in (1, 2, 3, 4, 4, 5, 5)]  # 4, 5: whose is it?


# What somebody who has the folder can do to four entries, and what the reader says.


def remove(folder: Path, number: int) -> None:
    (folder / f"{number:012d}.json").unlink()


def swap(folder: Path, a: int, b: int) -> None:
    first, second = (folder / f"{number:012d}.json" for number in (a, b))
    contents = second.read_bytes(), first.read_bytes()
    for path, content in zip((first, second), contents, strict=True):
        put_in_place(path, content)


def edit(folder: Path, number: int, **changes: object) -> None:
    """Rewrite an entry whole, seal and all."""
    path = folder / f"{number:012d}.json"
    put_in_place(path, replace(Entry.from_json(path.read_bytes(), name="it"), **changes).to_json())


def spell(folder: Path, number: int, spelling) -> None:
    path = folder / f"{number:012d}.json"
    put_in_place(path, spelling(path.read_bytes()))


TAMPERING = {
    "the first is removed": ("entry 1 .* missing", lambda f: remove(f, 1)),
    "one in between is removed": ("entry 3 .* missing", lambda f: remove(f, 3)),
    "two are exchanged": ("entry 2 .* is entry 3", lambda f: swap(f, 2, 3)),
    "the newest is moved into a gap": ("entry 3 .* is entry 4", lambda f: (swap(f, 3, 4), remove(f, 4))),
    "an old one is edited": ("entry 3 .* follows", lambda f: edit(f, 2, version="ef" * 32)),
    "an old one is of somebody else": ("entry 4 .* follows", lambda f: edit(f, 3, who="eve")),
    "the newest follows on nothing": ("entry 4 .* follows", lambda f: edit(f, 4, prev="0" * 64)),
    "the newest is of another dataset": ("entry 4 .* of faces's", lambda f: edit(f, 4, name="faces")),
    "the newest is cut short": ("entry 4 .* not readable JSON", lambda f: spell(f, 4, lambda b: b[:-20])),
    "the newest is empty": ("entry 4 .* not readable JSON", lambda f: spell(f, 4, lambda b: b"")),
    "the newest has no seal": ("entry 4 ", lambda f: spell(f, 4, lambda b: _without(b, "seal"))),
    "the newest lacks a field": ("entry 4 .* not a ledger entry", lambda f: spell(f, 4, lambda b: _without(b, "who"))),
    "the newest has a field more": ("entry 4 .* not a ledger entry", lambda f: spell(f, 4, lambda b: _with(b, more=1))),
    "a number is a text": ("entry 4 .* number is", lambda f: spell(f, 4, lambda b: _with(b, number="4"))),
    "a reason is a list": ("entry 4 .* reason is", lambda f: spell(f, 4, lambda b: _with(b, reason=["x"]))),
    "a version is a path": ("entry 4 .* version is", lambda f: spell(f, 4, lambda b: _with(b, version="../../x"))),
    "the same key twice": (
        "entry 4 .* the same key twice",
        lambda f: spell(f, 4, lambda b: b.replace(b'"who"', b'"who": "eve",\n "who"')),
    ),
    "it is spelled otherwise": ("entry 4 .* edited", lambda f: spell(f, 4, lambda b: b.replace(b"\n", b"\n\n"))),
    "it is a list": ("entry 4 .* JSON object", lambda f: spell(f, 4, lambda b: b"[]")),
    "it nests without end": ("are allowed|levels", lambda f: spell(f, 4, lambda b: b'{"a":' * 10**5)),
    "a stranger lies in the folder": ("not an entry of", lambda f: put_in_place(f / "notes.txt", b"")),
    "there is an entry 0": ("not an entry of", lambda f: put_in_place(f / f"{0:012d}.json", b"")),
    "a number is far ahead": ("entry 5 .* missing", lambda f: put_in_place(f / f"{10**11:012d}.json", b"")),
}


def _with(content: bytes, **changes: object) -> bytes:
    return to_json({**json.loads(content), **changes})


def _without(content: bytes, key: str) -> bytes:
    return to_json({field: value for field, value in json.loads(content).items() if field != key})


@pytest.mark.parametrize("what", TAMPERING)
def test_a_ledger_that_was_tampered_with_is_refused_by_reader_and_writer(root: Path, what: str):
    store = local_registry(root)
    write(store, "a", "b", "c", "d")
    message, tamper = TAMPERING[what]
    tamper(root / "ledger" / NAME)

    with pytest.raises(IntegrityError, match=message):
        read_ledger(store, NAME)
    with pytest.raises(IntegrityError, match=message):
        append(store, NAME, lambda _: draft("e"))


def test_a_flipped_bit_in_any_byte_of_the_newest_entry_is_seen():
    store = MemoryStore()
    write(store, "a", "b")
    key = entry_key(NAME, 2)
    content = store.content[key]
    first = read_ledger(store, NAME)[:1]

    for i in range(len(content)):
        store.content[key] = content[:i] + bytes([content[i] ^ (1 << i % 8)]) + content[i + 1 :]
        with pytest.raises(IntegrityError, match="entry 2"):
            read_ledger(store, NAME, previous=first)


def test_the_chain_alone_cannot_show_that_the_newest_entry_was_taken_away(root: Path):
    store = local_registry(root)
    write(store, "a", "b", "c")

    remove(root / "ledger" / NAME, 3)

    assert nonces(store) == ["a", "b"]  # the limit that the module's docstring states
