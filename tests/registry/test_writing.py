"""Every command that writes compares the ledger with what this machine saw of it, before it adds to it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from places import Folder, Place
from small_attempts import numbered, take
from small_registry import NAME, NOW, package, promote, publish, put_in_place, ship
from small_workspace import run

from fair_distill.cli import main
from fair_distill.errors import IntegrityError
from fair_distill.registry import retraction
from fair_distill.registry.actor import Actor
from fair_distill.registry.approvals import approve
from fair_distill.registry.client_state import remember
from fair_distill.registry.entry import Draft, entry_key
from fair_distill.registry.ledger import append, read_ledger
from fair_distill.registry.writer import Writer, open_to_write
from fair_distill.statements import new_key, signer

ONE, TWO = package(1), package(2)
ADA = Actor("ada", NOW, "operation")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAIR_DISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    private, _ = new_key()
    (tmp_path / "key.pem").write_bytes(private)
    return tmp_path / "key.pem"


def cut(place: Place) -> dict[str, bytes]:
    """Ship two versions from here, take the two newest entries away, and return what is left."""
    for made in (ONE, TWO):
        ship(open_to_write(place.url), made)
    for number in (7, 8):
        place.remove(entry_key(NAME, number))
    return place.files()


VERBS: dict[str, Callable[[Writer, Path], object]] = {
    "publish": lambda store, _: publish(store, package(3)),
    "promote": lambda store, _: promote(store, TWO),
    "approve": lambda store, key: approve(store, NAME, ONE.version, policy=ONE.verdict.policy, sign=signer(key)),
    "rollback": lambda store, _: retraction.rollback(store, NAME, "candidate", reason="worse", actor=ADA),
    "demote": lambda store, _: retraction.demote(store, NAME, ONE.version, "production", reason="worse", actor=ADA),
    "revoke": lambda store, _: retraction.revoke(store, NAME, ONE.version, reason="labels", actor=ADA),
    "reserve": lambda store, _: take(store, numbered(range(8)), version=ONE.version),
}


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_adds_to_a_ledger_whose_newest_entries_were_taken_away(place: Place, key: Path, verb: str):
    before = cut(place)

    with pytest.raises(IntegrityError, match="has 6 entries, and had 8 when it was last read here") as refusal:
        VERBS[verb](open_to_write(place.url), key)

    assert refusal.value.exit_code == 5
    assert place.files() == before


COMMANDS = {
    "rollback": ["rollback", f"{NAME}@candidate", "--reason", "worse"],
    "demote": ["demote", f"{NAME}@production", "--reason", "worse"],
    "revoke": ["revoke", f"{NAME}@v1", "--reason", "labels"],
    "approve": ["approve", f"{NAME}@v1", "--policy", str(Path(__file__).parents[2] / "params.yaml")],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_adds_to_a_ledger_whose_newest_entries_were_taken_away(
    place: Place, key: Path, command: str, capsys: pytest.CaptureFixture[str]
):
    before = cut(place)
    key_option = ["--key", str(key)] if command == "approve" else []

    assert main([*COMMANDS[command], *key_option, "--registry", place.url]) == 5
    assert "its newest entries were removed" in capsys.readouterr().err
    assert place.files() == before


@pytest.mark.pipeline
def test_no_command_of_a_workspace_adds_to_such_a_ledger(workspace: Path):
    def registry() -> dict[str, bytes]:
        return Folder(workspace / "registry").files()

    assert run(workspace, "publish").code == 0
    assert run(workspace, "gate", "reserve").code == 0
    for chain in ("ledger/", "attempts/record/"):
        removed = sorted(key for key in registry() if key.startswith(chain))[-1]
        content = registry()[removed]
        Folder(workspace / "registry").remove(removed)
        before = registry()
        for command in (["publish"], ["promote", "--to", "production"], ["gate", "reserve"]):
            ended = run(workspace, *command)
            assert (ended.code, "its newest entries were removed" in ended.err) == (5, True), (
                chain,
                command,
                ended.err,
            )
        assert registry() == before
        put_in_place(workspace / "registry" / removed, content)


def test_a_ledger_that_was_rewritten_takes_no_entry(place: Place):
    ship(open_to_write(place.url), ONE)
    for key in place.files():
        place.remove(key)
    ship(place.store(), TWO)

    with pytest.raises(IntegrityError, match="the ledger was rewritten"):
        VERBS["demote"](open_to_write(place.url), Path())


def test_what_another_process_wrote_and_remembered_meanwhile_is_no_loss(place: Place, cache: Path):
    """This process reads the ledger; another appends and remembers; then this one compares."""
    ship(place.store(), ONE)

    class Slow(Writer):
        """Another process is faster, the first two times."""

        def see(self, name: str, entries: Any) -> None:
            if len(entries) < 6:
                append(self.store, NAME, lambda _: attempt(f"of another {len(entries)}"))
                remember(cache, NAME, read_ledger(self.store, NAME), url=self.url)
            super().see(name, entries)

    def attempt(nonce: str) -> Draft:
        return Draft(
            event="attempt", version=ONE.version, split="0" * 64, who="ada", time="2026-03-03T12:00:00Z", nonce=nonce
        )

    store = Slow(open_to_write(place.url).store, place.url, cache)
    entry = append(store, NAME, lambda _: attempt("of this"))

    assert entry is not None
    assert entry.number == 7
    assert [one.nonce for one in read_ledger(place.store(), NAME)[4:]] == ["of another 4", "of another 5", "of this"]


def test_what_was_written_from_here_is_remembered(place: Place, cache: Path):
    ship(open_to_write(place.url), ONE)

    (memory,) = cache.rglob("heads/*.json")
    assert f'"number": {len(read_ledger(place.store(), NAME))}'.encode() in memory.read_bytes()
