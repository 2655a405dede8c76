"""Many writers at once, in threads and in processes: one line of entries, and everybody told what became of theirs."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from places import Place
from small_registry import NAME, NOW, ORDER, events, local_registry, package, processes, promote, publish

from fair_distill.errors import Refused
from fair_distill.registry import release, retraction
from fair_distill.registry.actor import Actor
from fair_distill.registry.channels import current, version_number
from fair_distill.registry.client import load
from fair_distill.registry.entry import Entry
from fair_distill.registry.ledger import read_ledger
from fair_distill.registry.store import RegistryStore
from fair_distill.registry.verify import verify

RACERS = 16


def at_once(work: Callable[[int], Any], racers: int = RACERS) -> list[Any]:
    """Call `work` of 0, 1, … from as many threads, started together; return the results or what was raised."""
    barrier = Barrier(racers)

    def run(i: int) -> Any:
        barrier.wait()
        try:
            return work(i)
        except Exception as error:
            return error

    with ThreadPoolExecutor(racers) as pool:
        return list(pool.map(run, range(racers)))


def by_nonce(entries: tuple[Entry, ...], nonce: str) -> list[tuple[str | None, int]]:
    return [(entry.channel, entry.number) for entry in entries if entry.nonce == nonce]


def test_of_sixteen_who_publish_one_version_one_did(store: RegistryStore):
    made = package(1)

    results = at_once(lambda i: publish(store, made, nonce=str(i)))

    assert [result.new for result in results].count(True) == 1
    assert {(result.version, result.number) for result in results} == {(made.version, 1)}
    assert len(read_ledger(store, NAME)) == 1


def test_sixteen_who_publish_each_their_own_get_each_a_number(store: RegistryStore):
    made = [package(seed) for seed in range(RACERS)]

    results = at_once(lambda i: publish(store, made[i]))

    assert all(result.new for result in results)
    assert sorted(result.number for result in results) == list(range(1, RACERS + 1))
    entries = read_ledger(store, NAME)
    assert [version_number(entries, result.version) for result in results] == [result.number for result in results]


def test_sixteen_who_promote_one_version_write_it_once_and_the_others_are_told_it_is_there(store: RegistryStore):
    made = package(1)
    publish(store, made)

    results = at_once(lambda i: promote(store, made, nonce=str(i)))

    entries = read_ledger(store, NAME)
    assert events(entries)[1:] == [("promote", channel, made.version) for channel in ORDER]
    told = sorted((entry for result in results for entry in result.entries), key=lambda entry: entry.number)
    assert tuple(told) == entries[1:]
    assert [result.new for result in results].count(False) >= RACERS - len(ORDER)


def _every_racer_has_its_entries(store: RegistryStore, told: dict[str, list[int]]) -> None:
    """Each racer is told three numbers, which are its own in the ledger; no number is told twice or to nobody."""
    entries = read_ledger(store, NAME)
    for nonce, numbers in told.items():
        assert by_nonce(entries, nonce) == list(zip(ORDER, numbers, strict=True))
    assert sorted(number for numbers in told.values() for number in numbers) == list(
        range(RACERS + 1, RACERS * (1 + len(ORDER)) + 1)
    )
    for channel in ORDER:
        last = [entry for entry in entries if entry.channel == channel][-1]
        assert current(entries, channel) == last.version


def test_sixteen_who_promote_each_their_own_make_one_line_of_entries(store: RegistryStore):
    made = [package(seed) for seed in range(RACERS)]
    for one in made:
        publish(store, one)

    results = at_once(lambda i: promote(store, made[i], nonce=str(i)))

    told = {str(i): [entry.number for entry in result.entries] for i, result in enumerate(results)}
    _every_racer_has_its_entries(store, told)


def test_of_sixteen_who_roll_back_one_version_one_did_and_the_others_are_refused(store: RegistryStore):
    for seed in range(3):
        publish(store, package(seed))
        promote(store, package(seed))
    seen = Barrier(RACERS)

    class Together:
        """All have seen the same version in force before the first writes."""

        def __init__(self) -> None:
            self.first = True

        def __getattr__(self, verb: str) -> Any:
            return getattr(store, verb)

        def create(self, key: str, content: bytes) -> bool:
            if self.first:
                self.first = False
                seen.wait()
            return store.create(key, content)

    results = at_once(
        lambda i: retraction.rollback(Together(), NAME, "production", reason="", actor=Actor("ada", NOW, str(i)))
    )

    assert [type(result) for result in results].count(Entry) == 1
    assert [type(result) for result in results].count(Refused) == RACERS - 1
    assert current(read_ledger(store, NAME), "production") == package(1).version


def test_sixty_four_promoters_make_one_line_of_entries_and_each_is_told(place: Place):
    made = [package(seed) for seed in range(8)]
    for one in made:
        publish(place.store(), one)
    stores = [place.store() for _ in range(64)]
    promoted = partial(release.promote, name=NAME, channel="candidate", order=ORDER)

    def race(i: int) -> release.Promotion:
        one = made[i % 8]
        grounds = {"verdict": one.verdict, "verdict_bytes": one.verdict_bytes}
        return promoted(stores[i], version=one.version, **grounds, actor=Actor("ada", NOW, str(i)))

    results = at_once(race, 64)

    assert {type(result) for result in results} == {release.Promotion}
    entries = read_ledger(place.store(), NAME)[8:]
    told = {entry.number: entry for result in results for entry in result.entries}
    assert sum(len(result.entries) for result in results) == len(told) == len(entries)
    assert [told[entry.number] for entry in entries] == list(entries)
    assert all(told[entry.number] in results[int(entry.nonce)].entries for entry in entries)
    assert len(entries) > 8


def _promote_in_a_process(root: str, seed: int, start: Any) -> None:
    made = package(seed)
    start.wait()
    result = promote(local_registry(Path(root)), made, nonce=str(seed))
    (Path(root).parent / f"told-{seed}.json").write_text(json.dumps([entry.number for entry in result.entries]))


def test_sixteen_processes_that_promote_make_one_line_of_entries(root: Path):
    store = local_registry(root)
    for seed in range(RACERS):
        publish(store, package(seed))
    context = processes()
    start = context.Barrier(RACERS)
    racers = [context.Process(target=_promote_in_a_process, args=(str(root), seed, start)) for seed in range(RACERS)]

    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)

    assert [racer.exitcode for racer in racers] == [0] * RACERS
    told = {str(seed): json.loads((root.parent / f"told-{seed}.json").read_text()) for seed in range(RACERS)}
    _every_racer_has_its_entries(store, told)
    assert verify(NAME, registry=str(root))


@pytest.mark.parametrize("selector", ["production", "v1"])
def test_who_loads_while_others_promote_gets_a_whole_version(root: Path, selector: str):
    store = local_registry(root)
    made = [package(seed) for seed in range(RACERS)]
    for one in made:
        publish(store, one)
    promote(store, made[0])
    whole = {one.set.images.tobytes() for one in made}

    def work(i: int) -> bytes | None:
        if i % 4 == 0:
            return load(f"{NAME}@{selector}", registry=str(root)).images.tobytes()
        promote(store, made[i])
        return None

    results = at_once(work)

    assert {type(result) for result in results} == {bytes, type(None)}
    assert set(results) - {None} <= (whole if selector == "production" else {made[0].set.images.tobytes()})
