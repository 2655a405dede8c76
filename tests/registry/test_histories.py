"""Random histories by many processes with kills and faults: an independent checker finds nothing wrong.

A short form runs with the tests; `make test-histories` runs 300 on a folder and 60 on Ceph.
"""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from histories import SPLITS, VERSIONS, Plan, keys, run_history
from histories_checker import Record, violations
from places import Place
from small_attempts import numbered, take
from small_registry import NAME, local_registry, package, ship

from fair_distill.files import sha256, to_json
from fair_distill.registry.verify import verify

HISTORIES = int(os.environ.get("FAIR_DISTILL_HISTORIES", "5"))
SPLIT_NUMBERS = {numbered(numbers).split: numbers for numbers in SPLITS}
REPORT = os.environ.get("FAIR_DISTILL_HISTORIES_REPORT")


def images_of(seed: int) -> dict[str, str]:
    made = [package(1000 * seed + i) for i in range(VERSIONS)]
    return {one.version: sha256(one.set.images.tobytes()) for one in made}


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_a_history_of_many_processes_has_no_violation(place: Place, tmp_path: Path, seed: int):
    plan = Plan.of(seed)
    (tmp_path / "records").mkdir()

    records = run_history(plan, place, tmp_path / "records")

    faults = violations(
        place.files(), records, name=NAME, images=images_of(seed), keys=keys(plan), splits=SPLIT_NUMBERS
    )
    if REPORT:
        outcomes = Counter(f"{record.operation}: {record.outcome or 'killed'}" for record in records)
        with open(REPORT, "a") as file:
            file.write(json.dumps({"seed": seed, "place": place.url, "violations": faults, **outcomes}) + "\n")
    assert faults == []
    if any(record.operation == "publish" and record.outcome == "done" for record in records):
        assert verify(NAME, registry=place.url)


# The checker finds what it is for.


def test_the_checker_finds_each_kind_of_fault(root: Path):
    one, two = package(1), package(2)
    store = local_registry(root)
    ship(store, one)
    ship(store, two)
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    images = {made.version: sha256(made.set.images.tobytes()) for made in (one, two)}
    nonces = sorted({json.loads(files[key])["nonce"] for key in files if key.startswith("ledger/")})
    written = [Record("ship", nonce, 0, 10, "done", {}, {}) for nonce in nonces]

    def load(version: str, start: int = 20, **changes: object) -> Record:
        result = {"version": version, "images": images[version], "head": 8, **changes}
        return Record("load", "1-1", start, 30, "done", {"selector": "production", "moment": None}, result)

    def found(*records: Record, without: str = "", **changes: bytes) -> list[str]:
        there = {key: content for key, content in files.items() if not without or without not in key}
        return violations({**there, **changes}, [*written, *records], name=NAME, images=images, keys=[])

    assert found(load(two.version)) == []
    assert "right is" in found(load(one.version))[0]
    assert "other bytes" in found(load(two.version, images="x"))[0]
    assert "saw 7 entries" in found(load(two.version, head=7))[0]
    assert "missing" in found(without="000000000003")[0]
    assert "lost or damaged" in found(without="manifest")[0]
    assert "is lost" in found(without="predictions")[0]
    assert "lost or damaged" in found(without="verdicts")[0]
    assert "lost or damaged" in found(without="objects")[0]
    assert "was refused" in found(Record("demote", nonces[0], 0, 10, "refused", {}, {}))[0]
    lost = Record("rollback", "2-2", 0, 10, "done", {}, {"entries": [9]})
    assert "reported the entries [9]" in found(lost)[0]
    assert "is of no operation" in violations(files, [], name=NAME, images=images, keys=[])[0]
    assert "failed" in found(Record("load", "1-1", 20, 30, "fault", {}, {"error": "a digest"}))[0]
    assert "without an approval" in violations(files, written, name=NAME, images=images, keys=["ab" * 32])[0]


def test_the_checker_finds_each_kind_of_fault_in_attempts(root: Path):
    store = local_registry(root)
    ship(store, package(1))
    for version in range(2):
        take(store, numbered(SPLITS[0]), version=version, predictions="a" * 64)
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    nonces = sorted({json.loads(files[key])["nonce"] for key in files if key.startswith("ledger/")})
    written = [Record("ship", nonce, 0, 10, "done", {}, {}) for nonce in [*nonces, "n"]]

    def found(*records: Record, without: str = "", **changes: object) -> list[str]:
        there = {key: content for key, content in files.items() if not without or without not in key}
        if changes:
            key = "attempts/record/000000000002.json"
            entry = json.loads(there[key]) | changes
            del entry["seal"]
            plain = json.dumps(entry, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
            there[key] = to_json({**entry, "seal": sha256(plain.encode())})
        images = {package(1).version: sha256(package(1).set.images.tobytes())}
        everything = [*written, *records]
        return violations(there, everything, name=NAME, images=images, keys=[], splits=SPLIT_NUMBERS)

    def reserved(number: int, predictions: str | None) -> Record:
        result = {"attempt": number, "predictions": predictions}
        return Record("reserve", "n", 0, 10, "done", {}, result)

    first = json.loads(files["attempts/record/000000000001.json"])
    assert found(reserved(1, None), reserved(2, "a" * 64)) == []
    assert "does not continue" in found(without="record/000000000001")[0]
    assert "does not continue" in found(prev="0" * 64)[0]
    assert "are missing" in found(without="attempts/examples")[0]
    assert "takes 0.5" in found(fraction=0.5)[0]
    assert "for the second time" in found(version=first["version"])[0]
    assert "for the second time" in found(event="bind", reservation=1)[0]
    assert "is of no operation" in found(nonce="m")[0]
    assert "reported attempt 3" in found(reserved(3, None))[0]
    assert "reported attempt 1" in found(reserved(1, "b" * 64))[0]
