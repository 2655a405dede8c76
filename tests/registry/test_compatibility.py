"""A registry of release 0 is read as before, and the client of release 0 reads a registry of today."""

import json
import os
import subprocess
import sys
import zipfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from small_registry import NAME, NOW, local_registry, package, publish, ship

from fair_distill.errors import FairDistillError
from fair_distill.files import sha256
from fair_distill.registry import retraction
from fair_distill.registry.actor import Actor
from fair_distill.registry.client import load, look_up
from fair_distill.registry.pins import read_pins
from fair_distill.registry.verify import verify

FROZEN = Path(__file__).parent / "fixtures" / "release_0"
EXPECTED = json.loads((FROZEN / "expected.json").read_text())
# A waiver of the frozen registry was valid until the end of June.
TODAY = date(2026, 6, 1)
# What a new process with the client of the release before runs.
_OLD_CLIENT = """
import hashlib, json, sys
import fair_distill
from fair_distill.errors import FairDistillError
from fair_distill.registry.audit import verify
from fair_distill.registry.client import look_up

registry, *references = json.load(sys.stdin)
outcomes = {"client": fair_distill.__file__}
for reference in references:
    try:
        if "@" in reference:
            found = look_up(reference, registry=registry)
            outcomes[reference] = [found.version, hashlib.sha256(found.set.images.tobytes()).hexdigest()]
        else:
            outcomes[reference] = len(verify(reference, registry=registry))
    except FairDistillError as error:
        outcomes[reference] = str(error)
print(json.dumps(outcomes))
"""


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    with zipfile.ZipFile(FROZEN / "registry.zip") as archive:
        archive.extractall(tmp_path / "frozen")
    return tmp_path / "frozen"


def outcome(reference: str, **options: Any) -> dict[str, str]:
    try:
        found = look_up(reference, today=TODAY, **options)
    except FairDistillError as error:
        return {"refused": type(error).__name__}
    return {"version": found.version, "images": sha256(found.set.images.tobytes())}


def old_client(registry: Path, *references: str) -> dict[str, Any]:
    """Return what the client of release 0 makes of references, and of datasets, which it verifies."""
    environment = {**os.environ, "PYTHONPATH": str(FROZEN / "client.zip"), "FAIR_DISTILL_CACHE": ""}
    done = subprocess.run(
        [sys.executable, "-c", _OLD_CLIENT],
        input=json.dumps([str(registry), *references]),
        env=environment,
        cwd=registry.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    outcomes: dict[str, Any] = json.loads(done.stdout)
    assert "client.zip" in outcomes.pop("client")
    return outcomes


@pytest.mark.parametrize("reference", EXPECTED["references"])
@pytest.mark.parametrize("trust", [(), EXPECTED["trust"]], ids=["unsigned", "signed"])
def test_every_reference_of_release_0_gives_the_same_bytes(frozen: Path, reference: str, trust: list[str]):
    registry = str(frozen / "registry")

    assert outcome(reference, registry=registry, trust=trust) == EXPECTED["references"][reference]


@pytest.mark.parametrize("day", EXPECTED["past"])
def test_every_day_of_release_0_gives_the_same_bytes(frozen: Path, day: str):
    found = outcome(f"{NAME}@production", registry=str(frozen / "registry"), as_of=day)

    assert found == EXPECTED["past"][day]


def test_every_pin_of_release_0_gives_the_same_bytes(frozen: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(frozen)
    pins = read_pins(Path("fair-distill.lock"))
    assert [pin.reference for pin in pins] == [f"{NAME}@production", f"{NAME}@v1"]

    for pin in pins:
        found = look_up(pin.reference, registry=pin.registry, lock="fair-distill.lock")
        first = EXPECTED["references"][f"{NAME}@v1"]
        assert {"version": found.version, "images": sha256(found.set.images.tobytes())} == first


@pytest.mark.parametrize("name", [NAME, f"vision/{NAME}"])
def test_a_registry_of_release_0_verifies(frozen: Path, name: str):
    registry = str(frozen / "registry")

    assert verify(name, registry=registry, trust=EXPECTED["trust"])
    if name == NAME:
        assert verify(name, registry=registry, trust=EXPECTED["trust"], anchor=frozen / "head.json")


def test_an_evidence_pack_of_release_0_verifies_and_loads(frozen: Path, tmp_path: Path):
    with zipfile.ZipFile(frozen / "evidence-v1.zip") as archive:
        archive.extractall(tmp_path / "pack")
    registry = str(tmp_path / "pack" / "registry")

    assert verify(f"{NAME}@v1", registry=registry, trust=EXPECTED["trust"])
    assert (
        sha256(load(f"{NAME}@v1", registry=registry).images.tobytes())
        == (EXPECTED["references"][f"{NAME}@v1"]["images"])
    )


def is_one_line_about_the_verdict(outcome: object) -> bool:
    """Release 0 has no place for what a verdict names since then, and refuses it in one line."""
    return isinstance(outcome, str) and "is not a verdict" in outcome and "\n" not in outcome


def test_a_registry_of_release_0_goes_on_and_the_old_client_reads_what_it_can(
    frozen: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("small_registry.NOW", NOW + timedelta(days=100))  # after the frozen entries
    store = local_registry(frozen / "registry")
    ship(store, package(6))
    publish(store, package(7))
    found = look_up(f"{NAME}@production", registry=str(frozen / "registry"))
    assert found.version == package(6).version

    references = [f"{NAME}@{selector}" for selector in ("production", "v1", "v2", "v7")]
    old = old_client(frozen / "registry", *references)

    assert is_one_line_about_the_verdict(old[f"{NAME}@production"])
    for number in (1, 2):
        frozen_outcome = EXPECTED["references"][f"{NAME}@v{number}"]
        assert old[f"{NAME}@v{number}"] == [frozen_outcome["version"], frozen_outcome["images"]]
    assert old[f"{NAME}@v7"] == [package(7).version, sha256(package(7).set.images.tobytes())]


def test_the_client_of_release_0_reads_a_registry_of_today_or_says_in_one_line_why_not(root: Path):
    store = local_registry(root)
    made = [package(seed) for seed in range(4)]
    for one in made:
        ship(store, one)
    publish(store, package(8))
    retraction.rollback(store, NAME, "production", reason="worse", actor=Actor("ada", NOW, "back"))
    retraction.demote(store, NAME, made[3].version, "staging", reason="policy", actor=Actor("ada", NOW, "off"))
    retraction.revoke(store, NAME, made[0].version, reason="labels", actor=Actor("ada", NOW, "gone"))
    publish(store, package(9), name=f"vision/{NAME}")

    old = old_client(
        root, *(f"{NAME}@{selector}" for selector in ("production", "staging", "v1", "v5")), f"vision/{NAME}@v1", NAME
    )

    assert is_one_line_about_the_verdict(old[f"{NAME}@production"])
    assert is_one_line_about_the_verdict(old[NAME])
    assert "was demoted" in old[f"{NAME}@staging"]
    assert "was revoked" in old[f"{NAME}@v1"]
    for reference, seed in ((f"{NAME}@v5", 8), (f"vision/{NAME}@v1", 9)):
        assert old[reference] == [package(seed).version, sha256(package(seed).set.images.tobytes())]
