"""How often a split was asked is counted in the ledger, whoever asks and however often they judge."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from small_registry import NAME, NOW, MemoryStore, local_registry
from test_ledger import draft

from fair_distill.errors import ConfigError
from fair_distill.gate.policy import alpha_at
from fair_distill.registry.actor import Actor
from fair_distill.registry.attempts import attempt_number, reserve
from fair_distill.registry.channels import channels, published
from fair_distill.registry.entry import entry_key
from fair_distill.registry.ledger import append, read_ledger
from fair_distill.registry.store import RegistryStore

SETS = [digit * 64 for digit in "123456"]
OLD, GROWN, NEW = "a" * 64, "b" * 64, "c" * 64


def ask(store: RegistryStore, version: str, split: str = OLD, **more: Any) -> int:
    return reserve(store, NAME, version, split, actor=Actor("ada", NOW, version[:4] + split[:4]), **more)


def test_every_set_at_a_split_is_an_attempt_and_asking_again_is_none(store: RegistryStore) -> None:
    assert [ask(store, version) for version in SETS[:3]] == [1, 2, 3]
    assert [ask(store, version) for version in SETS[:3]] == [1, 2, 3]
    assert len(read_ledger(store, NAME)) == 3


def test_a_grown_split_inherits_what_its_parent_has_left(store: RegistryStore) -> None:
    ask(store, SETS[0])
    ask(store, SETS[1])

    assert ask(store, SETS[1], GROWN) == 3
    assert ask(store, SETS[2], OLD) == 4


def test_a_split_said_to_be_fresh_has_an_alpha_of_its_own_and_leaves_the_others_theirs(store: RegistryStore) -> None:
    ask(store, SETS[0])

    assert ask(store, SETS[1], NEW, fresh="collected in May") == 1
    assert ask(store, SETS[2], NEW) == 2
    assert ask(store, SETS[2], OLD) == 2
    assert read_ledger(store, NAME)[1].reason == "collected in May"
    # what comes next grew out of what was asked last
    assert ask(store, SETS[3], GROWN) == 3


def test_a_split_that_was_asked_is_not_fresh_and_saying_it_twice_is_saying_it_once(store: RegistryStore) -> None:
    ask(store, SETS[0])
    with pytest.raises(ConfigError, match=r"is not fresh: ada used it at 2026-03-03T12:00:00Z"):
        ask(store, SETS[1], fresh="I would like it to be")
    ask(store, SETS[0], NEW, fresh="collected in May")

    assert ask(store, SETS[0], NEW, fresh="collected in May") == 1
    assert len(read_ledger(store, NAME)) == 2


def test_ten_at_once_get_ten_numbers(root: Path) -> None:
    store = local_registry(root)
    versions = [f"{i:064x}" for i in range(10)]
    with ThreadPoolExecutor(10) as pool:
        numbers = list(pool.map(lambda version: ask(local_registry(root), version), versions))

    assert sorted(numbers) == list(range(1, 11))
    assert [attempt_number(read_ledger(store, NAME), version, OLD) for version in versions] == numbers


def test_an_attempt_publishes_and_promotes_nothing() -> None:
    store = MemoryStore()
    ask(store, SETS[0])

    entries = read_ledger(store, NAME)
    assert (published(entries), channels(entries)) == ((), ())
    assert attempt_number(entries, SETS[1], OLD) is None


def test_entries_from_before_there_were_attempts_are_spelled_as_they_were() -> None:
    store = MemoryStore()
    append(store, NAME, lambda _: draft())
    ask(store, SETS[0])

    first, second = (json.loads(store.read(entry_key(NAME, number))) for number in (1, 2))
    assert "split" not in first
    assert second["split"] == OLD


@pytest.mark.parametrize(
    "changes",
    [{"event": "attempt"}, {"event": "attempt", "split": "x"}, {"split": OLD}, {"event": "attempt", "channel": "c"}],
)
def test_an_attempt_has_a_split_and_nothing_else_has(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"ledger entry is not valid: (split|channel) is"):
        append(MemoryStore(), NAME, lambda _: draft(**changes))


def test_all_attempts_at_a_family_take_less_than_alpha() -> None:
    store = MemoryStore()
    numbers = [ask(store, f"{i:064x}", split) for split in (OLD, GROWN) for i in range(20)]

    assert sum(alpha_at(0.05, number) for number in numbers) < 0.05
