"""A registry of release 0 is read as before, and the client of release 0 reads a registry of today."""

import json
import os
import subprocess
import sys
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from small_registry import NAME, NOW, package, promote, publish, ship

from fair_distill.artifacts import sha256
from fair_distill.errors import FairDistillError
from fair_distill.registry import retraction
from fair_distill.registry.audit import verify
from fair_distill.registry.client import load, look_up
from fair_distill.registry.folder import LocalStore
from fair_distill.registry.pins import read_pins

FROZEN = Path(__file__).parent / "fixtures" / "release_0"
EXPECTED = json.loads((FROZEN / "expected.json").read_text())
# A waiver of the frozen registry was good until the end of June.
TODAY = date(2026, 6, 1)
# What a new process with the client of the release before runs.
_OLD_CLIENT = """
import json, sys
import fair_distill
from fair_distill.artifacts import sha256
from fair_distill.errors import FairDistillError
from fair_distill.registry.audit import verify
from fair_distill.registry.client import look_up

registry, *references = json.load(sys.stdin)
outcomes = {"client": fair_distill.__file__}
for reference in references:
    try:
        if "@" in reference:
            found = look_up(reference, registry=registry)
            outcomes[reference] = [found.version, sha256(found.set.images.tobytes())]
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


def test_a_registry_of_release_0_goes_on_and_both_clients_read_it(frozen: Path):
    store = LocalStore(frozen / "registry")
    ship(store, package(6))

    found = look_up(f"{NAME}@production", registry=str(store.root))
    old = old_client(store.root, f"{NAME}@production", f"{NAME}@v1", f"{NAME}@staging", NAME)

    assert found.version == package(6).version
    assert old[f"{NAME}@production"] == [found.version, sha256(found.set.images.tobytes())]
    assert old[f"{NAME}@v1"] == [EXPECTED["references"][f"{NAME}@v1"][key] for key in ("version", "images")]
    assert old[NAME] == len(verify(NAME, registry=str(store.root)))


def test_the_client_of_release_0_reads_a_registry_of_today(root: Path):
    store = LocalStore(root)
    made = [package(seed) for seed in range(4)]
    for one in made:
        ship(store, one)
    retraction.rollback(store, NAME, "production", reason="worse", who="ada", now=NOW, nonce="back")
    retraction.demote(store, NAME, made[3].version, "staging", reason="policy", who="ada", now=NOW, nonce="off")
    retraction.revoke(store, NAME, made[0].version, reason="labels", who="ada", now=NOW, nonce="gone")
    promote(store, made[1], "candidate")
    publish(store, package(9), name=f"vision/{NAME}")
    references = [f"{NAME}@{selector}" for selector in ("production", "candidate", "staging", "v1", "v2", "v4")]
    references.append(f"vision/{NAME}@v1")

    old = old_client(root, *references, NAME)

    for reference in references:
        try:
            found = look_up(reference, registry=str(root))
            assert old[reference] == [found.version, sha256(found.set.images.tobytes())]
        except FairDistillError:
            assert isinstance(old[reference], str)
            assert "\n" not in old[reference]
    assert isinstance(old[f"{NAME}@v1"], str)
    assert isinstance(old[f"{NAME}@production"], list)
    assert isinstance(old[NAME], int)
