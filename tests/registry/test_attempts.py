"""Attempts are counted by the examples that they evaluate, in one record for all datasets of a store."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from small_attempts import CELLS, numbered, request, spent, take
from small_registry import NAME, NOW, MemoryStore, lasting, local_registry, package, ship
from test_ledger import draft

from fair_distill.errors import ConfigError, IntegrityError, Undecided
from fair_distill.files import sha256
from fair_distill.gate.spending import SMALLEST_FRACTION, fraction_of, legacy_fraction
from fair_distill.registry.actor import Actor
from fair_distill.registry.attempt_checks import check_record, promotion_fault
from fair_distill.registry.attempt_entry import RECORD, AttemptEntry
from fair_distill.registry.attempts import attempts_of, look_up, read_record, record_publication, reserve
from fair_distill.registry.channels import channels, published
from fair_distill.registry.client_state import known_names
from fair_distill.registry.entry import entry_key
from fair_distill.registry.garbage_collection import garbage
from fair_distill.registry.layout import MAX_EXAMPLES_BYTES, examples_key
from fair_distill.registry.ledger import append, names, read_ledger
from fair_distill.registry.split_examples import MOST_KEPT, SplitExamples, shares
from fair_distill.registry.store import RegistryStore, SeparatePredictions
from fair_distill.registry.writer import Writer

OLD = numbered(range(400))
FIRST, SECOND = sha256(b"first predictions"), sha256(b"second predictions")


def test_attempts_at_one_split_get_numbers_and_take_less_than_alpha(store: RegistryStore) -> None:
    made = [take(store, OLD, version=i, planned=4).entry for i in range(12)]

    assert [entry.attempt for entry in made] == list(range(1, 13))
    assert [entry.fraction for entry in made[:4]] == pytest.approx([0.225] * 4)
    assert sum(entry.fraction for entry in made) < 1
    assert made[-1].left == pytest.approx(1 - sum(entry.fraction for entry in made))
    assert len(read_record(store)) == 12
    check_record(store)


def test_the_same_version_split_and_evaluation_are_one_attempt(store: RegistryStore) -> None:
    assert take(store, OLD) == take(store, OLD)
    assert len(read_record(store)) == 1


# ---- predictions -----------------------------------------------------------------------------------------------------


def test_the_first_predictions_are_bound_and_judging_them_again_is_no_attempt(store: RegistryStore) -> None:
    reserved = take(store, OLD)
    bound = take(store, OLD, predictions=FIRST)

    assert (bound.entry, reserved.predictions, bound.predictions) == (reserved.entry, None, FIRST)
    assert take(store, OLD, predictions=FIRST, planned=7) == bound  # under any policy
    assert take(store, OLD, predictions=FIRST, dataset="team/other") == bound  # and under any name
    assert take(store, OLD) == bound  # reserving again, for example when a pipeline is repeated
    assert [entry.event for entry in read_record(store)] == ["reserve", "bind"]


@pytest.mark.parametrize("evaluation", [sha256(b"five seeds"), sha256(b"thirty seeds")])
def test_other_predictions_of_the_same_version_are_another_attempt(store: RegistryStore, evaluation: str) -> None:
    """Networks that were trained again, with the same or with other seeds."""
    take(store, OLD)
    take(store, OLD, predictions=FIRST)
    again = take(store, OLD, predictions=SECOND, evaluation=evaluation).entry

    assert (again.attempt, again.fraction) == (2, pytest.approx(0.05))


def test_a_reservation_for_one_evaluation_is_not_used_by_another(store: RegistryStore) -> None:
    take(store, OLD, evaluation=sha256(b"five seeds"))

    assert take(store, OLD, evaluation=sha256(b"thirty seeds"), predictions=FIRST).entry.attempt == 2


def test_publishing_binds_a_reserved_attempt_and_records_a_second_publication(store: RegistryStore) -> None:
    actor = Actor("ada", NOW, "n")
    take(store, OLD)
    for predictions in (FIRST, FIRST, SECOND):
        record_publication(store, request(OLD, predictions=predictions), actor=actor)

    events = [(entry.event, entry.predictions) for entry in read_record(store)]
    assert events == [("reserve", None), ("bind", FIRST), ("reserve", SECOND)]


def test_a_publication_is_recorded_and_its_promotion_is_the_same_attempt(store: RegistryStore) -> None:
    record_publication(store, request(OLD, predictions=FIRST), actor=Actor("ada", NOW, "n"))
    promoted = take(store, OLD, predictions=FIRST)

    assert [entry.predictions for entry in read_record(store)] == [FIRST]
    assert (promoted.entry.attempt, promoted.entry.fraction) == (1, pytest.approx(0.9))
    assert promoted.is_plain_first


def test_the_best_of_twenty_published_sets_is_not_a_first_attempt(store: RegistryStore) -> None:
    for i in range(20):
        predictions = sha256(b"%d" % i)
        record_publication(store, request(OLD, version=i, predictions=predictions), actor=Actor("ada", NOW, f"n{i}"))
    best = take(store, OLD, version=7, predictions=sha256(b"7")).entry

    assert len(read_record(store)) == 20
    assert (best.attempt, best.fraction) == (8, pytest.approx(0.05 / 2**6))
    check_record(store)


def test_looking_up_records_nothing_and_agrees_with_reserving(store: RegistryStore) -> None:
    take(store, OLD)
    wanted = request(OLD, version="2", predictions=FIRST)
    seen = look_up(store, wanted)

    assert not seen.recorded
    assert len(read_record(store)) == 1
    made = reserve(store, wanted, actor=Actor("ada", NOW, "n"))
    assert (seen.entry.attempt, seen.entry.fraction) == (made.entry.attempt, made.entry.fraction)
    assert look_up(store, wanted) == made


# ---- examples --------------------------------------------------------------------------------------------------------


def reordered(numbers: range) -> range:
    return numbers[::-1]


SAME_EXAMPLES = {
    "another name of the split": numbered(range(400), split="d" * 64),
    "another order": numbered(reordered(range(400))),
    "a row less": numbered(range(399)),
    "a half": numbered(range(200)),
    "other labels and groups": numbered(range(400), cells=np.arange(400) // 100, split="e" * 64),
    "one label and one group": numbered(range(400), cells=np.zeros(400, np.int64), split="f" * 64),
    "each example twice": numbered(range(400), range(400)),
}


@pytest.mark.parametrize("split", SAME_EXAMPLES.values(), ids=SAME_EXAMPLES)
@pytest.mark.parametrize("dataset", [NAME, "other", "team/other"])
def test_the_same_examples_inherit_everything(split: object, dataset: str) -> None:
    store = MemoryStore()
    take(store, OLD)

    entry = take(store, split, version="2", dataset=dataset).entry

    assert (entry.attempt, entry.fraction) == (2, pytest.approx(0.05))
    check_record(store)


def test_two_halves_and_their_union_have_one_budget() -> None:
    store = MemoryStore()
    halves = numbered(range(200)), numbered(range(200, 400))

    assert spent(store, OLD, version="0") == pytest.approx(0.9)
    assert [spent(store, half, version=i + 1) for i, half in enumerate(halves)] == pytest.approx([0.05, 0.05])
    assert spent(store, OLD, version="4") == pytest.approx(0.025)


def test_the_union_of_two_splits_inherits_from_both() -> None:
    store = MemoryStore()
    take(store, numbered(range(200)), version="1", planned=2)
    take(store, numbered(range(200, 400)), version="2", planned=2)

    entry = take(store, OLD, version="3", planned=2).entry

    assert entry.attempt == 3
    assert entry.left + entry.fraction == pytest.approx(1 - 0.45)


def test_only_new_examples_renew_the_budget() -> None:
    store = MemoryStore()
    take(store, OLD)
    grown = take(store, numbered(range(800)), version="2").entry
    disjoint = take(store, numbered(range(1000, 1400)), version="3").entry

    assert grown.left + grown.fraction == pytest.approx(1 - 0.9 / 2)
    assert (disjoint.attempt, disjoint.fraction) == (1, pytest.approx(0.9))


def test_growth_of_one_cell_renews_nothing_for_the_others() -> None:
    store = MemoryStore()
    take(store, OLD)
    junk = np.arange(10_000, 20_000)

    grown = numbered(range(400), junk, cells=np.append(np.arange(400) % CELLS, junk * 0))

    assert spent(store, grown, version="2") == pytest.approx(0.05)


def test_a_split_that_only_grows_spends_at_most_one_plus_the_logarithm_of_its_growth() -> None:
    """The theorem of docs/gate.md, also for growth by junk: from 400 to 3,200 examples in 20 attempts."""
    store = MemoryStore()
    sizes = np.geomspace(400, 3200, 20).astype(int) // CELLS * CELLS
    total = sum(spent(store, numbered(range(size)), version=i) for i, size in enumerate(sizes))

    assert 1 < total <= 1 + np.log(sizes[-1] / sizes[0])


def test_clusters_are_evaluated_as_a_whole() -> None:
    store = MemoryStore()
    take(store, numbered(range(100)))
    persons = np.arange(400) % 100  # each person has one old image and three new ones

    assert spent(store, numbered(range(400), clusters=persons), version="2") == pytest.approx(0.05)


def test_a_name_recognises_an_example_whose_content_has_changed() -> None:
    store = MemoryStore()
    named = np.arange(400, dtype=np.uint64) + np.uint64(7)
    take(store, numbered(range(400), names=named))

    assert spent(store, numbered(range(1000, 1400), names=named), version="2") == pytest.approx(0.05)


def test_copies_of_a_new_example_renew_nothing() -> None:
    store = MemoryStore()
    take(store, OLD)
    entry = take(store, numbered(range(400), *[range(5000, 5004)] * 1000), version="2").entry

    # In each of the four cells, 100 of 101 different contents were evaluated.
    assert entry.left + entry.fraction == pytest.approx(1 - 0.9 * 100 / 101)


def test_copies_of_an_old_example_count_as_often_as_the_gate_counts_them() -> None:
    old, current = numbered(range(4)), numbered(*[range(4)] * 99, range(1000, 1004))

    assert shares(current, old) == pytest.approx([0.99] * CELLS)


def test_many_new_examples_of_one_person_renew_one_person() -> None:
    persons = np.append(np.arange(400), np.arange(400, 8400) % CELLS + 400)
    grown = numbered(range(8400), clusters=persons)

    assert shares(grown, OLD) == pytest.approx([100 / 101] * CELLS)


def test_contents_and_names_of_the_same_counts_are_the_same_examples() -> None:
    """`gate model` knows the contents of examples without ids from the file of the split, and their names without."""
    others = numbered(range(1000, 1400))
    by_name = replace(others, names=others.contents)
    moved = replace(by_name, cells=by_name.cells // 2)

    assert shares(by_name, OLD) == pytest.approx([1] * CELLS)
    assert shares(OLD, by_name) == pytest.approx([1] * CELLS)
    assert shares(OLD, moved) == pytest.approx([0] * CELLS)  # other counts
    assert shares(OLD, others) == pytest.approx([0] * CELLS)  # contents on both sides
    assert shares(replace(OLD, names=OLD.contents), by_name) == pytest.approx([0] * CELLS)  # names on both sides
    of_set = replace(others, names=np.arange(400, dtype=np.uint64))
    assert shares(OLD, of_set) == pytest.approx([0] * CELLS)  # contents on both sides, and names on one


def test_twenty_retrainings_take_less_than_alpha_together() -> None:
    store = MemoryStore()
    total = sum(spent(store, OLD, predictions=sha256(b"%d" % i)) for i in range(20))

    assert 0.99 < total < 1
    check_record(store)


def test_a_budget_that_is_used_up_is_refused_and_recorded_nowhere() -> None:
    store = MemoryStore()
    for version in range(27):
        take(store, OLD, version=version)
    with pytest.raises(Undecided, match=r"have used up the error budget .*Add examples"):
        take(store, OLD, version="one more")
    entries = read_record(store)

    assert entries[-1].fraction >= SMALLEST_FRACTION
    record_publication(
        store, request(OLD, version=0, predictions=FIRST, evaluation=sha256(b"x")), actor=Actor("ada", NOW, "n")
    )
    assert read_record(store)[-1].fraction < SMALLEST_FRACTION  # a publication is recorded all the same
    for act in (lambda it: reserve(store, it, actor=Actor("ada", NOW, "n")), lambda it: look_up(store, it)):
        for version in (0, "one more"):
            with pytest.raises(Undecided):
                act(request(OLD, version=version, predictions=FIRST))
    check_record(store)


def test_large_splits_keep_the_same_part_of_their_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fair_distill.registry.split_examples.MOST_KEPT", 1000)
    store = MemoryStore()
    large, larger = numbered(range(6000)), numbered(range(12_000))

    assert (large.bits, larger.bits) == (3, 4)
    assert len(large) == pytest.approx(6000 / 8, rel=0.1)
    take(store, large)
    entry = take(store, larger, version="2").entry
    # The estimated share of the worst of four cells, each with about 190 kept examples, is near 1/2.
    assert entry.left + entry.fraction == pytest.approx(1 - 0.9 * 0.53, abs=0.06)
    with pytest.raises(Undecided):
        take(store, numbered(range(600)), version="3")  # a part of both


def test_splits_of_a_million_examples_are_recognised_by_names_and_clusters() -> None:
    n, random = 1_000_000, np.random.default_rng(0)
    contents, others, names_ = (random.integers(0, 2**64, n, dtype=np.uint64) for _ in range(3))
    cells, persons = np.zeros(n, np.int64), np.arange(n) // 100
    earlier = SplitExamples("a" * 64, cells, contents, persons, names_).kept()
    same_names = SplitExamples("b" * 64, cells, others, np.arange(n), names_).kept()
    one_of_each_person = SplitExamples("c" * 64, cells[::100], contents[::100], persons[::100]).kept()
    same_persons = SplitExamples("d" * 64, cells, np.where(np.arange(n) % 100, others, contents), persons).kept()

    assert shares(same_names, earlier) == pytest.approx([1])
    assert shares(same_persons, one_of_each_person) == pytest.approx([1])


def test_the_largest_file_of_examples_is_within_the_limit() -> None:
    bytes_of_an_example, header = 8 + 4 + 2 * 8 + 2 * 8, 2**22

    assert 1.01 * MOST_KEPT * bytes_of_an_example + header < MAX_EXAMPLES_BYTES


def test_a_hundred_thousand_examples_take_less_than_a_megabyte() -> None:
    digests = np.random.default_rng(0).integers(0, 2**64, 100_000, dtype=np.uint64)
    examples = replace(OLD, contents=digests, cells=np.arange(100_000) % 20, clusters=np.arange(100_000)).kept()

    assert len(examples) == 100_000
    assert len(examples.content) < 10**6


# ---- fresh -----------------------------------------------------------------------------------------------------------


def test_a_split_with_examples_that_were_evaluated_is_not_fresh() -> None:
    store = MemoryStore()
    take(store, OLD)
    message = r"10 of its 400 examples were evaluated by ada for digits at 2026-03-03T12:00:00Z"
    with pytest.raises(ConfigError, match=message):
        take(store, numbered(range(390, 790)), version="2", fresh="collected in May")

    assert len(read_record(store)) == 1


def test_fresh_states_that_attempts_without_examples_do_not_count() -> None:
    store = MemoryStore()
    for number in range(3):
        legacy(store, sha256(b"%d" % number), "a" * 64)

    with pytest.raises(ConfigError, match=r"is not fresh: ada used it at"):
        take(store, numbered(range(10), split="a" * 64), version="9", fresh="it is")
    fresh = take(store, OLD, fresh="collected in May").entry
    assert (fresh.attempt, fresh.fraction, fresh.reason) == (1, pytest.approx(0.9), "collected in May")
    assert take(store, OLD, fresh="collected in May").entry == fresh
    assert take(store, numbered(range(100)), version="2").entry.attempt == 2


def test_fresh_counts_only_for_the_share_of_a_split_that_was_stated() -> None:
    store = MemoryStore()
    for number in range(10):
        legacy(store, sha256(b"%d" % number), OLD.split)
    smaller, fresh = numbered(range(4, 400)), numbered(range(9000, 9400))
    before = look_up(store, request(smaller, version="y")).entry
    take(store, fresh, version="z", fresh="collected in May", planned=100)
    after = look_up(store, request(smaller, version="y")).entry
    half = look_up(store, request(numbered(range(4, 204), range(9000, 9200)), version="y", planned=100)).entry

    assert before.fraction == pytest.approx(0.0289, abs=1e-4)  # of the examples, the ten attempts left 1 - 0.942 * ½
    assert after.fraction == before.fraction
    ten = sum(legacy_fraction(number) for number in range(1, 11))
    assert half.left + half.fraction == pytest.approx(1 - ten / 2 - 0.009 / 2)
    assert spent(store, numbered(range(9000, 9200)), version="w", planned=100) == pytest.approx(0.009)


def test_fresh_does_not_cover_other_images_of_its_people() -> None:
    store = MemoryStore()
    for number in range(10):
        legacy(store, sha256(b"%d" % number), "a" * 64)
    take(store, numbered(range(9000, 9100)), version="z", fresh="collected in May", planned=100)
    people = np.arange(200) % 100  # each has one stated image and another one
    grown = numbered(range(9000, 9200), clusters=people)

    assert look_up(store, request(grown, version="y", planned=100)).entry.left < 0.06


def test_a_fresh_split_that_grew_can_be_stated_again() -> None:
    store = MemoryStore()
    legacy(store, "1" * 64, "a" * 64)
    take(store, numbered(range(400)), version="1", fresh="collected in May", planned=100)
    grown = numbered(range(800))
    unstated = look_up(store, request(grown, version="2", planned=100)).entry
    entry = take(store, grown, version="2", fresh="collected in June", planned=100).entry

    assert unstated.left + unstated.fraction == pytest.approx(1 - 0.009 / 2 - legacy_fraction(1) / 2)
    assert entry.left + entry.fraction == pytest.approx(1 - 0.009 / 2)


def test_fresh_does_not_discard_attempts_in_the_ledger_whose_examples_are_known() -> None:
    store = MemoryStore()
    for number in range(10):
        legacy(store, sha256(b"%d" % number), OLD.split)
    take(store, OLD, version="new")
    smaller = numbered(range(4, 400))
    before = look_up(store, request(smaller, version="y")).entry
    take(store, numbered(range(1000, 1400)), version="z", fresh="collected in May")
    after = look_up(store, request(smaller, version="y")).entry

    assert before.attempt == 12
    assert (after.attempt, after.fraction) == (before.attempt, pytest.approx(before.fraction))


# ---- attempts of earlier releases ------------------------------------------------------------------------------------


def legacy(store: RegistryStore, version: str, split: str, *, dataset: str = NAME) -> None:
    actor = Actor("ada", NOW, f"{version[:8]} {split[:8]}")
    append(store, dataset, lambda _: actor.draft("attempt", version, split=split))


def test_attempts_in_the_ledger_count_in_full_for_later_splits_of_the_dataset(store: RegistryStore) -> None:
    legacy(store, "1" * 64, "a" * 64)
    legacy(store, "2" * 64, "a" * 64)

    entry = take(store, OLD).entry
    left = 1 - legacy_fraction(1) - legacy_fraction(2)
    assert (entry.attempt, entry.fraction) == (3, pytest.approx(fraction_of(left, 1)))
    assert spent(store, numbered(range(1000, 1400)), version="2", dataset="other") == pytest.approx(0.9)
    check_record(store)


def test_an_attempt_in_the_ledger_keeps_its_number_and_counts_once(store: RegistryStore) -> None:
    split, version = OLD.split, request(OLD).version
    legacy(store, "1" * 64, split)
    legacy(store, version, split)

    entry = take(store, OLD, predictions=FIRST).entry
    assert (entry.attempt, entry.fraction) == (2, legacy_fraction(2))
    again = take(store, OLD, predictions=SECOND).entry
    assert again.attempt == 3
    assert again.left + again.fraction == pytest.approx(1 - legacy_fraction(1) - legacy_fraction(2))
    check_record(store)


def test_an_attempt_in_the_ledger_takes_no_more_than_the_policy_plans(store: RegistryStore) -> None:
    fractions = []
    for number in range(3):
        version = sha256(b"%d" % number)
        legacy(store, version, OLD.split)
        fractions.append(spent(store, OLD, version=version, planned=104))

    assert fractions == pytest.approx([0.9 / 104] * 3)
    check_record(store)


def test_an_attempt_that_an_old_client_writes_takes_no_more_than_the_record_has_left() -> None:
    store = MemoryStore()
    for version in range(6):
        take(store, OLD, version=version)
    made = []
    for number in range(3):
        version, dataset = sha256(b"%d" % number), f"team/x{number}"
        legacy(store, version, OLD.split, dataset=dataset)
        made.append(take(store, OLD, version=version, dataset=dataset).entry)

    assert [entry.attempt for entry in made] == [7, 8, 9]
    assert [entry.fraction for entry in made] == pytest.approx([0.05 / 2**5, 0.05 / 2**6, 0.05 / 2**7])
    check_record(store)


def test_a_recorded_attempt_of_the_ledger_that_took_more_than_was_left_is_found() -> None:
    store = MemoryStore()
    first = take(store, OLD).entry
    legacy(store, "c" * 64, OLD.split)
    forged = replace(first, number=2, reservation=2, prev=first.digest, version="c" * 64, fraction=legacy_fraction(1))
    store.create(RECORD.key(2), forged.to_json())

    with pytest.raises(IntegrityError, match=r"entry 2 .* takes 0\.607927 of alpha; .* allow 0\.050000"):
        check_record(store)


def test_an_attempt_in_the_ledger_counts_by_its_examples_once_they_are_known(store: RegistryStore) -> None:
    legacy(store, "1" * 64, OLD.split)
    take(store, OLD, version="2")
    renewed = take(store, numbered(range(1000, 1400)), version="3").entry

    assert (renewed.attempt, renewed.fraction) == (1, pytest.approx(0.9))


# ---- the record ------------------------------------------------------------------------------------------------------


def test_ten_at_once_get_ten_numbers_and_one_budget(root: Path) -> None:
    with ThreadPoolExecutor(10) as pool:
        made = list(pool.map(lambda i: take(local_registry(root), OLD, version=i).entry, range(10)))

    assert sorted(entry.attempt for entry in made) == list(range(1, 11))
    assert sum(entry.fraction for entry in made) < 1
    check_record(local_registry(root))


def test_two_files_of_predictions_that_race_for_one_reservation_are_two_attempts(root: Path) -> None:
    take(local_registry(root), OLD)
    predictions = [sha256(b"%d" % i) for i in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda digest: take(local_registry(root), OLD, predictions=digest), predictions))

    made = attempts_of(read_record(local_registry(root)))
    assert sorted(attempt.predictions or "" for attempt in made) == sorted(predictions)


class Dying(MemoryStore):
    """A store whose process dies before or after one of its writes."""

    def __init__(self, step: int, *, after: bool) -> None:
        super().__init__()
        self.left, self.after = step, after

    def create(self, key: str, content: bytes) -> bool:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise KeyboardInterrupt
        created = super().create(key, content)
        if self.left == 0:
            raise KeyboardInterrupt
        return created


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_an_attempt_whose_process_is_killed_is_completed_by_repeating_it(step: int, after: bool) -> None:
    def commands(store: RegistryStore) -> None:
        take(store, OLD)
        take(store, OLD, predictions=FIRST)

    undisturbed, store = MemoryStore(), Dying(step, after=after)
    commands(undisturbed)
    with pytest.raises(KeyboardInterrupt):  # the examples, the reservation, and the entry that binds it
        commands(store)
    commands(store)

    assert lasting(store.content) == undisturbed.content
    assert check_record(store)


def test_an_attempt_publishes_and_promotes_nothing_and_is_no_garbage() -> None:
    store = MemoryStore()
    append(store, NAME, lambda _: draft())
    ledger = read_ledger(store, NAME)
    take(store, OLD)

    assert read_ledger(store, NAME) == ledger
    assert names(store) == (NAME,)
    assert (published(ledger), channels(ledger)) == ((ledger[0].version,), ())
    store = MemoryStore()
    ship(store, package(1))
    take(store, OLD)
    assert garbage(store, now=NOW + timedelta(days=30)) == ()


def test_a_record_whose_newest_entries_were_removed_is_refused(root: Path, tmp_path: Path) -> None:
    store = Writer(local_registry(root), str(root), tmp_path / "cache")
    for version in range(3):
        take(store, OLD, version=version)
    newest = root / RECORD.key(3)
    newest.unlink()

    with pytest.raises(IntegrityError, match=r"has 2 entries, and had 3 when it was last read"):
        take(store, OLD, version="other")
    assert known_names(tmp_path / "cache", url=str(root)) == ()  # `gc` asks for the ledger of each of these


@pytest.mark.parametrize("field", ["fraction", "split", "examples", "predictions", "left", "dataset", "reservation"])
def test_an_edited_entry_is_found(field: str) -> None:
    store = MemoryStore()
    take(store, OLD)
    key = RECORD.key(1)
    value = json.loads(store.content[key])
    value[field] = {"fraction": 0.01, "left": 0.99, "dataset": "other", "reservation": 2}.get(field, "c" * 64)
    store.content[key] = json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"

    with pytest.raises(IntegrityError, match=r"entry 1 of the record of attempts"):
        read_record(store)


def test_an_attempt_that_took_more_than_was_left_is_found() -> None:
    store = MemoryStore()
    first = take(store, OLD).entry
    forged = replace(first, number=2, reservation=2, prev=first.digest, version="c" * 64, fraction=0.5, left=0.0)
    store.create(RECORD.key(2), forged.to_json())

    assert len(read_record(store)) == 2  # the chain is whole
    with pytest.raises(IntegrityError, match=r"entry 2 .* takes 0\.500000 of alpha; .* allow 0\.050000"):
        check_record(store)


def test_a_promotion_is_compared_with_its_attempt() -> None:
    store, made = MemoryStore(), package(1)
    split = numbered(range(40), split=made.verdict.split)
    verdict = replace(made.verdict, gate={"alpha": 0.05}, alpha=0.045)

    def fault(**changes: object) -> str:
        return promotion_fault(attempts_of(read_record(store)), replace(verdict, **changes))

    assert fault() == "its attempt is not in the record of attempts"
    assert fault(fraction=None) == ""  # of an earlier release
    take(store, split, version=made.version, predictions=made.verdict.predictions)
    assert fault() == ""
    assert fault(alpha=0.01) == ""
    assert fault(fraction=0.5, alpha=0.025) == ""  # a policy that plans more attempts
    for changes, message in (
        ({"alpha": 0.0451}, "uses an alpha of 0.0451"),
        ({"fraction": 0.91}, "with 0.910000 of alpha; in the record it is attempt 1 with 0.900000"),
        ({"attempt": 2}, "is attempt 2 with"),
        ({"predictions": FIRST}, "other attempts of this version only"),
        ({"split": "f" * 64}, "other attempts of this version only"),
    ):
        with pytest.raises(IntegrityError, match=message):
            fault(**changes)


def test_a_bind_that_changes_the_fraction_or_binds_twice_is_found() -> None:
    store = MemoryStore()
    take(store, OLD)
    bound = take(store, OLD, predictions=FIRST)
    _, entry = read_record(store)
    for changes, message in (({"fraction": 0.95}, "differs from entry 1"), ({}, "has predictions already")):
        other = MemoryStore()
        other.content = dict(store.content)
        number = 2 if changes else 3
        if changes:
            del other.content[RECORD.key(2)]
        prev = bound.entry.digest if changes else entry.digest
        other.create(RECORD.key(number), replace(entry, number=number, prev=prev, **changes).to_json())
        with pytest.raises(IntegrityError, match=message):
            attempts_of(read_record(other))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"{}\n",
        b'{"format": 1}\n',
        OLD.content[:-1],
        OLD.content + b"x",
        OLD.content.replace(b'"bits": 0', b'"bits": 99'),
        OLD.content.replace(b'"examples": 400', b'"examples": -1'),
        OLD.content.replace(b'"examples": 400', b'"examples": 4e2'),
        OLD.content.replace(b'"names": false', b'"names": true'),
    ],
)
def test_a_damaged_file_of_examples_is_one_line(content: bytes) -> None:
    with pytest.raises(IntegrityError, match=r"^it (is|has) "):
        type(OLD).from_bytes(content, name="it")


def test_a_file_of_examples_is_read_as_it_was_written() -> None:
    clusters, names_ = np.arange(400) // 2, np.arange(400, dtype=np.uint64)
    for examples in (OLD, numbered(range(400), clusters=clusters, names=names_), numbered(range(0))):
        again = type(OLD).from_bytes(examples.content, name="it")
        assert again.content == examples.content
        assert again.digest == examples.digest


def test_digests_of_examples_are_stored_with_private_predictions(tmp_path: Path) -> None:
    public, private = (local_registry(tmp_path / name) for name in ("public", "private"))
    store = SeparatePredictions(public, private)
    take(store, OLD)
    take(store, numbered(range(100)), version="2")

    assert public.list("attempts/examples/") == []
    assert len(private.list("attempts/examples/")) == 2
    assert len(public.list("attempts/record/")) == 2
    check_record(store)


def test_a_missing_file_of_examples_is_named() -> None:
    store = MemoryStore()
    take(store, OLD)
    del store.content[examples_key(OLD.digest)]

    with pytest.raises(IntegrityError, match=rf"attempts/examples/{OLD.digest}\.bin is missing"):
        take(store, numbered(range(100)), version="2")


def test_long_records_are_read_from_snapshots() -> None:
    store = MemoryStore()
    last = take(store, numbered(range(4))).entry
    for number in range(2, 100):
        last = replace(
            last, number=number, reservation=number, prev=last.digest, version=sha256(b"%d" % number), fraction=1e-5
        )
        store.create(RECORD.key(number), last.to_json())
    take(store, numbered(range(4)), version="last")

    assert len(store.list("snapshots/all.attempts/")) == 1
    assert len(read_record(store)) == 100
    assert isinstance(read_record(store)[50], AttemptEntry)
    (snapshot,) = store.list("snapshots/all.attempts/")
    assert snapshot in dict(check_record(store))
    store.content[snapshot] = b"{}"
    with pytest.raises(IntegrityError, match=r"snapshots/all\.attempts/.* was damaged"):
        check_record(store)


@pytest.mark.parametrize(
    "changes",
    [{"event": "attempt"}, {"event": "attempt", "split": "x"}, {"split": "a" * 64}],
)
def test_an_attempt_in_a_ledger_has_a_split_and_nothing_else_has(changes: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"ledger entry is not valid: split is"):
        append(MemoryStore(), NAME, lambda _: draft(**changes))


def test_entries_from_before_there_were_attempts_are_spelled_as_they_were() -> None:
    store = MemoryStore()
    append(store, NAME, lambda _: draft())
    legacy(store, "1" * 64, "a" * 64)

    first, second = (json.loads(store.read(entry_key(NAME, number))) for number in (1, 2))
    assert "split" not in first
    assert second["split"] == "a" * 64
