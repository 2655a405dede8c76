"""A command whose answer was lost and that is repeated: one entry, under the id that the message names or by itself."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from faulty import Plan, proxy
from places import Bucket
from small_attempts import numbered, take
from small_registry import NAME, NOW, MemoryStore, events, package, promote, ship

from fair_distill.cli import main
from fair_distill.errors import Refused
from fair_distill.registry import release, retraction
from fair_distill.registry.actor import Actor
from fair_distill.registry.approvals import approve
from fair_distill.registry.attempts import read_record
from fair_distill.registry.channels import current, version_number
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.operations import operation
from fair_distill.registry.store import RegistryStore
from fair_distill.statements import new_key, signer
from fair_distill.storage.store import Unanswered

PACKAGES = ONE, TWO, THREE = package(1), package(2), package(3)
ID = "0123456789abcdef"


class Deaf:
    """A store that writes, and from the first ledger entry on loses every answer until it is healed."""

    def __init__(self, store: RegistryStore, *, lasting: str = "ledger/") -> None:
        self.store, self.lasting, self.lost = store, lasting, False

    def __getattr__(self, verb: str) -> Any:
        method = getattr(self.store, verb)

        def ask(key: str, *content: bytes, **options: Any) -> Any:
            answer = method(key, *content, **options)
            self.lost = self.lost or (verb == "create" and key.startswith(self.lasting))
            if self.lost:
                raise Unanswered("connection reset")
            return answer

        return ask


@pytest.fixture
def shipped() -> MemoryStore:
    """v1, v2 and v3 in production, one after the other."""
    store = MemoryStore()
    for made in PACKAGES:
        ship(store, made)
    return store


def in_production(store: RegistryStore) -> int | None:
    entries = read_ledger(store, NAME)
    version = current(entries, "production")
    return version_number(entries, version) if version else None


ADA = Actor("ada", NOW, ID)
# Every verb that writes to the ledger, as one operation. Of a key, approvals are the same bytes each time.
VERBS: dict[str, Callable[[RegistryStore], object]] = {
    "publish": lambda store: release.publish(store, NAME, package(4).manifest, package(4).files, actor=ADA),
    "promote": lambda store: promote(store, ONE, nonce=ID),
    "rollback": lambda store: retraction.rollback(store, NAME, "production", reason="worse", actor=ADA),
    "demote": lambda store: retraction.demote(store, NAME, THREE.version, "production", reason="worse", actor=ADA),
    "revoke": lambda store: retraction.revoke(store, NAME, THREE.version, reason="labels", actor=ADA),
}


@pytest.mark.parametrize("verb", VERBS)
def test_an_operation_whose_answer_was_lost_is_done_once_when_it_is_repeated(shipped: MemoryStore, verb: str):
    before = len(read_ledger(shipped, NAME))
    with pytest.raises(Unanswered):
        VERBS[verb](Deaf(shipped))
    after = read_ledger(shipped, NAME)
    assert len(after) == before + 1  # it was written, and nobody knows

    for _ in range(2):
        VERBS[verb](shipped)

    assert read_ledger(shipped, NAME) == after


def test_a_reservation_whose_answer_was_lost_is_made_once(shipped: MemoryStore):
    for predictions in (None, "c" * 64):  # the reservation, and the entry that binds it
        with pytest.raises(Unanswered):
            take(Deaf(shipped, lasting="attempts/record/"), numbered(range(8)), predictions=predictions)
        after = read_record(shipped)
        take(shipped, numbered(range(8)), predictions=predictions)

        assert read_record(shipped) == after
    assert [entry.event for entry in after] == ["reserve", "bind"]


def test_an_approval_whose_answer_was_lost_is_given_once(shipped: MemoryStore, tmp_path: Path):
    private, _ = new_key()
    (tmp_path / "key").write_bytes(private)
    sign = signer(tmp_path / "key")
    before = set(shipped.content)

    with pytest.raises(Unanswered):
        approve(Deaf(shipped, lasting="versions/"), NAME, ONE.version, policy=ONE.verdict.policy, sign=sign)
    approve(shipped, NAME, ONE.version, policy=ONE.verdict.policy, sign=sign)

    assert len(set(shipped.content) - before) == 1


@pytest.mark.parametrize("verb", ["promote", "rollback", "demote"])
def test_an_operation_that_was_done_is_not_done_again_where_others_changed_the_channel_since(
    shipped: MemoryStore, verb: str
):
    VERBS[verb](shipped)
    promote(shipped, THREE, nonce="somebody else's")

    with pytest.raises(Refused, match=rf"the operation {ID} is entry 13, and entry 14 changed production"):
        VERBS[verb](shipped)
    assert in_production(shipped) == 3


def test_two_processes_of_one_operation_write_one_entry(shipped: MemoryStore):
    class Twice(MemoryStore):
        """The other process is first, at the moment that this one writes."""

        content, lock = shipped.content, shipped.lock

        def __init__(self) -> None: ...

        def create(self, key: str, content: bytes) -> bool:
            VERBS["rollback"](shipped)
            return super().create(key, content)

    entry = VERBS["rollback"](Twice())

    assert [one for one in read_ledger(shipped, NAME) if one.event == "rollback"] == [entry]
    assert in_production(shipped) == 2


@dataclass
class Console:
    """The command line at a registry behind a proxy that loses answers."""

    server: Bucket
    plan: Plan
    capture: pytest.CaptureFixture[str]
    address: str

    def run(self, *words: str) -> tuple[int, str]:
        """Run a command; return its exit code and what it printed."""
        at = f"{self.server.url}?endpoint={self.address}"
        code = main([*words, "--registry", at, "--who", "ada"])
        shown = self.capture.readouterr()
        return code, shown.out + shown.err

    def lose(self) -> None:
        """Lose every answer from the next ledger entry on."""
        first = len(self.plan.asked)
        self.plan.fault = "lost answer"
        self.plan.spoils = lambda number, method, path: any(
            method == "PUT" and "/ledger/" in path for method, path in self.plan.asked[first:]
        )

    def heal(self) -> None:
        self.plan.spoils = lambda number, method, path: False


@pytest.fixture
def console(
    server: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Console]:
    for made in PACKAGES:
        ship(server.store(), made)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("FAIR_DISTILL_CACHE", str(tmp_path / "cache"))
    with proxy(server.client.meta.endpoint_url) as (address, plan):
        yield Console(server, plan, capsys, address)


BACK = ("rollback", f"{NAME}@production", "--reason", "worse")
OFF = ("demote", f"{NAME}@production", "--reason", "worse")


@pytest.mark.parametrize("memory", ["remembered", "not remembered"])
def test_a_rollback_that_is_repeated_with_the_id_of_the_message_goes_back_one_version(
    console: Console, monkeypatch: pytest.MonkeyPatch, memory: str
):
    if memory == "not remembered":
        monkeypatch.setenv("FAIR_DISTILL_CACHE", "")
    console.lose()
    code, shown = console.run(*BACK)
    assert code == 2
    assert in_production(console.server.store()) == 2  # it was written
    ((id),) = re.findall(r"--operation ([0-9a-f]{32})", shown)
    console.heal()

    code, shown = console.run(*BACK, "--operation", id)

    assert (code, in_production(console.server.store())) == (0, 2)
    assert f"{NAME}@production is now v2" in shown
    written = [entry for entry in read_ledger(console.server.store(), NAME) if entry.event == "rollback"]
    assert [entry.nonce for entry in written] == [id]


def test_a_rollback_that_is_repeated_as_it_was_goes_back_one_version_and_says_so(console: Console):
    console.lose()
    assert console.run(*BACK)[0] == 2
    console.heal()

    code, shown = console.run(*BACK)

    assert (code, in_production(console.server.store())) == (0, 2)
    assert "whose result was unknown. It wrote entry 13 once" in shown
    assert console.run(*BACK)[0] == 0  # that one had its answer; this is another rollback
    assert in_production(console.server.store()) == 1


def test_a_rollback_that_was_not_written_is_written_by_the_repetition(console: Console):
    console.plan.fault = "503"
    console.plan.spoils = lambda number, method, path: method == "PUT" and "/ledger/" in path
    assert console.run(*BACK)[0] == 2
    assert in_production(console.server.store()) == 3
    console.heal()

    assert console.run(*BACK)[0] == 0
    assert in_production(console.server.store()) == 2


def test_a_demotion_that_is_repeated_as_it_was_does_not_take_off_what_followed(console: Console):
    console.lose()
    assert console.run(*OFF)[0] == 2
    console.heal()
    assert in_production(console.server.store()) is None

    code, shown = console.run(*OFF)
    assert code == 0
    assert f"v3 was demoted: {OFF[-1]}" in shown

    assert [event for event, _, _ in events(read_ledger(console.server.store(), NAME))].count("demote") == 1


def test_a_demotion_after_which_somebody_promoted_is_refused_when_it_is_repeated(console: Console):
    console.lose()
    assert console.run(*OFF)[0] == 2
    console.heal()
    promote(console.server.store(), TWO, nonce="somebody else's")

    code, shown = console.run(*OFF)

    assert code == 1
    assert "entry 14 changed production afterwards; nothing was written" in shown
    assert in_production(console.server.store()) == 2


def test_an_id_that_is_none_is_refused(console: Console):
    code, shown = console.run(*BACK, "--operation", "a b")

    assert code == 2
    assert "--operation is 'a b'" in shown


def test_an_operation_is_forgotten_with_its_answer_and_after_a_day(tmp_path: Path):
    def id_at(now: datetime, *, lose: bool = False) -> str:
        with operation(tmp_path, ["rollback", NAME, "production"], url="s3://a/b", now=now, new=f"at {now}") as this:
            if lose:
                raise RuntimeError
        return this.id

    now = datetime(2026, 3, 3, 12, tzinfo=UTC)
    assert id_at(now) == f"at {now}"
    with pytest.raises(RuntimeError):
        id_at(now, lose=True)
    day = timedelta(days=1)
    for later, same in ((timedelta(seconds=1), True), (timedelta(seconds=2), False)):
        assert (id_at(now + later) == f"at {now}") is same
    with pytest.raises(RuntimeError):
        id_at(now, lose=True)
    assert id_at(now + day + timedelta(seconds=1)) != f"at {now}"


@pytest.mark.parametrize("chosen", [None, "chosen"])
@pytest.mark.parametrize("pending", [False, True])
def test_an_operation_is_repeated_if_its_id_was_passed_or_remembered(tmp_path: Path, pending: bool, chosen: str | None):
    act = ["rollback", NAME, "production"]
    if pending:
        with pytest.raises(Unanswered), operation(tmp_path, act, url="s3://a/b", now=NOW, new="earlier"):
            raise Unanswered("reset")

    with operation(tmp_path, act, url="s3://a/b", now=NOW, new="new", chosen=chosen) as this:
        assert this.repeated == (pending or chosen is not None)
        assert this.id == (chosen or ("earlier" if pending else "new"))


def test_an_operation_of_another_channel_or_registry_is_another(tmp_path: Path):
    def id_of(*act: str, url: str = "s3://a/b", lose: bool = False) -> str:
        with operation(tmp_path, act, url=url, now=NOW, new=f"{act} {url} {lose}") as this:
            if lose:
                raise Unanswered("reset")
        return this.id

    with pytest.raises(Unanswered, match="Repeat the same command on this machine"):
        id_of("rollback", NAME, "production", lose=True)
    assert id_of("rollback", NAME, "staging").endswith("False")
    assert id_of("demote", NAME, "production").endswith("False")
    assert id_of("rollback", NAME, "production", url="s3://a/c").endswith("False")
    assert id_of("rollback", NAME, "production").endswith("True")


def test_a_cache_that_cannot_be_written_stops_no_operation(tmp_path: Path):
    (tmp_path / "cache").write_text("a file")

    with operation(tmp_path / "cache", ["rollback"], url="s3://a/b", now=NOW, new="new") as this:
        assert this.id == "new"
    with (
        pytest.raises(Unanswered, match="Repeat the command with --operation new"),
        operation(tmp_path / "cache", ["rollback"], url="s3://a/b", now=NOW, new="new"),
    ):
        raise Unanswered("reset")
