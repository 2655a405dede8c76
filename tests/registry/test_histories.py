"""Random histories by many processes with kills and faults: an independent checker finds nothing wrong.

A short form runs with the tests; `make test-histories` runs 300 on a folder and 60 on Ceph.
"""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from histories import VERSIONS, Plan, keys, run_history
from histories_checker import Record, violations
from places import Place
from small_registry import NAME, local_registry, package, ship

from fair_distill.files import sha256
from fair_distill.registry.verify import verify

HISTORIES = int(os.environ.get("FAIR_DISTILL_HISTORIES", "5"))
REPORT = os.environ.get("FAIR_DISTILL_HISTORIES_REPORT")


def images_of(seed: int) -> dict[str, str]:
    made = [package(1000 * seed + i) for i in range(VERSIONS)]
    return {one.version: sha256(one.set.images.tobytes()) for one in made}


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_a_history_of_many_processes_has_no_violation(place: Place, tmp_path: Path, seed: int):
    plan = Plan.of(seed)
    (tmp_path / "records").mkdir()

    records = run_history(plan, place, tmp_path / "records")

    faults = violations(place.files(), records, name=NAME, images=images_of(seed), keys=keys(plan))
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
