"""What a consumer gets for a reference: the bytes that were published, or a line that says why not."""

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from small_registry import NAME, NOW, Package, files_of, lasting, local_registry, package, promote, publish, ship

from fair_distill.errors import ConfigError
from fair_distill.registry import retraction
from fair_distill.registry.actor import Actor
from fair_distill.registry.channels import Withdrawn
from fair_distill.registry.client import load
from fair_distill.registry.verify import verify

ONE, TWO = package(1), package(2)


@pytest.fixture
def registry(root: Path) -> str:
    """v1 in every channel, v2 published only."""
    ship(local_registry(root), ONE)
    publish(local_registry(root), TWO)
    return str(root)


def is_set(loaded: object, made: Package) -> bool:
    return np.array_equal(loaded.images, made.set.images) and np.array_equal(loaded.labels, made.set.labels)


@pytest.mark.parametrize(
    ("selector", "made"),
    [
        ("production", ONE),
        ("candidate", ONE),
        ("v1", ONE),
        ("v2", TWO),
        (f"sha256:{ONE.version}", ONE),
        (f"sha256:{TWO.version[:12]}", TWO),
    ],
)
def test_a_reference_gives_the_set_that_was_published(registry: str, selector: str, made: Package):
    loaded = load(f"{NAME}@{selector}", registry=registry)

    assert is_set(loaded, made)
    assert loaded.card.recipe == made.set.card.recipe


def test_a_dataset_of_a_team_is_loaded_by_both_names(root: Path):
    publish(local_registry(root), ONE, name="vision/digits")

    assert is_set(load("vision/digits@v1", registry=str(root)), ONE)


def test_a_promotion_moves_the_channel_and_leaves_the_numbers(registry: str):
    promote(local_registry(Path(registry)), TWO)

    assert is_set(load(f"{NAME}@production", registry=registry), TWO)
    assert is_set(load(f"{NAME}@v1", registry=registry), ONE)


def test_a_rollback_gives_the_earlier_set_again(registry: str):
    store = local_registry(Path(registry))
    promote(store, TWO)
    retraction.rollback(store, NAME, "production", reason="", actor=Actor("ada", NOW, "back"))

    assert is_set(load(f"{NAME}@production", registry=registry), ONE)


def test_a_revoked_version_is_refused_by_every_reference_to_it(registry: str):
    store = local_registry(Path(registry))
    retraction.revoke(store, NAME, ONE.version, reason="labels are wrong", actor=Actor("ada", NOW, "gone"))

    for selector in ("production", "v1", f"sha256:{ONE.version}"):
        for call in (load, verify):
            with pytest.raises(Withdrawn, match="labels are wrong") as refusal:
                call(f"{NAME}@{selector}", registry=registry)
            assert refusal.value.exit_code == 5
    assert is_set(load(f"{NAME}@v2", registry=registry), TWO)
    assert verify(NAME, registry=registry)


def test_a_demoted_version_is_refused_by_its_channel_and_not_by_its_number(registry: str):
    store = local_registry(Path(registry))
    retraction.demote(store, NAME, ONE.version, "production", reason="new policy", actor=Actor("ada", NOW, "off"))

    with pytest.raises(Withdrawn, match="new policy"):
        load(f"{NAME}@production", registry=registry)
    assert is_set(load(f"{NAME}@staging", registry=registry), ONE)
    assert is_set(load(f"{NAME}@v1", registry=registry), ONE)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (NAME, "names no version"),
        (f"{NAME}@", "ends in '@'"),
        (f"{NAME}@v3", "newest version is v2"),
        (f"{NAME}@prod", "candidate, staging, production"),
        ("faces@production", "nothing published as 'faces'; it has digits"),
        ("../digits@v1", "team/dataset"),
        ("@v1", "team/dataset"),
        ("", "team/dataset"),
        (f"{NAME}@v1@v2", "use a channel"),
    ],
)
def test_a_reference_to_nothing_says_what_there_is(registry: str, reference: str, message: str):
    with pytest.raises(ConfigError, match=message) as refusal:
        load(reference, registry=registry)
    assert "\n" not in str(refusal.value)


def test_a_registry_that_is_not_there_is_one_clear_line(root: Path):
    with pytest.raises(ConfigError, match=r"nothing published as 'digits'; it has no datasets.*FAIR_DISTILL_REGISTRY"):
        load(f"{NAME}@production", registry=str(root))
    assert not root.exists()


def test_the_environment_names_the_registry(registry: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FAIR_DISTILL_REGISTRY", Path(registry).as_uri())

    assert is_set(load(f"{NAME}@production"), ONE)


def test_a_registry_that_was_moved_is_the_same_registry(registry: str, tmp_path: Path):
    moved = Path(registry).rename(tmp_path / "elsewhere")

    assert is_set(load(f"{NAME}@production", registry=str(moved)), ONE)


def test_loading_writes_nothing(registry: str):
    before = files_of(Path(registry))

    load(f"{NAME}@production", registry=registry)
    verify(NAME, registry=registry)

    assert files_of(Path(registry)) == before


def test_verifying_a_dataset_checks_every_file_there_is(registry: str):
    checked = verify(NAME, registry=registry)

    found = lasting(files_of(Path(registry)))
    assert {item.key: (item.size, item.sha256) for item in checked} == {
        key: (len(content), sha256(content).hexdigest()) for key, content in found.items()
    }
    assert len(checked) == len(found)


def test_verifying_a_version_checks_the_ledger_and_that_version(registry: str):
    keys = [item.key for item in verify(f"{NAME}@v2", registry=registry)]

    assert all(key.startswith(("ledger/", "objects/", f"versions/{TWO.version}/")) for key in keys)
    assert sum(key.startswith("ledger/") for key in keys) == 5
    assert sum(key.startswith("objects/") for key in keys) == 4  # the set, and what DVC asks for beside it


def test_a_consumer_needs_none_of_the_heavy_libraries():
    heavy = "torch ot scipy pandas great_expectations prefect dvc boto3 sklearn"
    room = "from fair_distill.registry import client, release"
    code = f"import sys; {room}; print(*set('{heavy}'.split()) & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""
