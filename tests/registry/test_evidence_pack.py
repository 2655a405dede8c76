"""One file with all that is known of a version: complete, checkable by itself, and the same bytes again."""

import io
import json
import subprocess
import zipfile
from pathlib import Path

import mlcroissant
import numpy as np
import pytest
from small_registry import NAME, NOW, ORDER, local_registry, package

from fair_distill.errors import IntegrityError
from fair_distill.files import sha256
from fair_distill.registry.actor import Actor
from fair_distill.registry.client import load, look_up
from fair_distill.registry.export.croissant import croissant
from fair_distill.registry.export.evidence_bundle import evidence
from fair_distill.registry.layout import object_key
from fair_distill.registry.release import promote, publish
from fair_distill.registry.retraction import revoke
from fair_distill.registry.verify import verify

ONE, TWO = package(1), package(2)


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """Two versions, the first of them in production."""
    store = local_registry(tmp_path / "registry")
    for made in (ONE, TWO):
        said = {"predictions": made.predictions, "verdicts": [made.verdict_bytes], "provenance": made.provenance}
        publish(store, NAME, made.manifest, made.files, **said, actor=Actor("ann", NOW, made.version))
    grounds = {"verdict": ONE.verdict, "verdict_bytes": ONE.verdict_bytes}
    promote(store, NAME, ONE.version, "production", order=ORDER, **grounds, actor=Actor("ann", NOW, "p"))
    return tmp_path / "registry"


def unpacked(content: bytes, folder: Path) -> Path:
    zipfile.ZipFile(io.BytesIO(content)).extractall(folder)
    return folder


def test_what_is_unpacked_is_a_registry_that_verifies_and_loads(registry: Path, tmp_path: Path) -> None:
    folder = unpacked(evidence(f"{NAME}@production", registry=str(registry)), tmp_path / "unpacked")
    there = str(folder / "registry")
    assert verify(f"{NAME}@production", registry=there) == verify(f"{NAME}@production", registry=str(registry))
    found = look_up(f"{NAME}@production", registry=there)
    assert (found.version, found.verdict) == (ONE.version, ONE.verdict)
    assert np.array_equal(found.set.images, ONE.set.images)
    assert not (folder / "registry" / object_key(TWO.manifest.files[0].md5)).exists()


def test_it_is_checked_with_nothing_but_coreutils(registry: Path, tmp_path: Path) -> None:
    folder = unpacked(evidence(f"{NAME}@v1", registry=str(registry)), tmp_path / "unpacked")
    sums = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(sums, cwd=folder, check=False).returncode == 0
    listed = {line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    assert listed == {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} - {"SHA256SUMS"}
    (folder / "CARD.md").write_text("all is well\n")
    assert subprocess.run(sums, cwd=folder, check=False, capture_output=True).returncode != 0


def test_the_same_registry_gives_the_same_bytes(registry: Path) -> None:
    first, second = (evidence(f"{NAME}@v1", registry=str(registry)) for _ in range(2))
    assert sha256(first) == sha256(second)


def test_a_damaged_version_is_not_packed(registry: Path) -> None:
    path = registry / object_key(ONE.manifest.files[0].md5)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(IntegrityError):
        evidence(f"{NAME}@v1", registry=str(registry))


def test_a_revoked_version_is_packed_with_its_tombstone(registry: Path, tmp_path: Path) -> None:
    revoke(local_registry(registry), NAME, ONE.version, reason="a leak", actor=Actor("ann", NOW, "r"))
    folder = unpacked(evidence(f"{NAME}@v1", registry=str(registry)), tmp_path / "unpacked")
    with pytest.raises(IntegrityError, match="a leak"):
        load(f"{NAME}@v1", registry=str(folder / "registry"))


def test_a_reader_of_croissant_finds_no_fault_and_loads_every_image(registry: Path, tmp_path: Path) -> None:
    folder = unpacked(evidence(f"{NAME}@production", registry=str(registry)), tmp_path / "unpacked")
    dataset = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    rows = list(dataset.records("examples"))
    images = np.array([row["examples/image"] for row in rows], np.float32).reshape(ONE.set.images.shape)
    assert np.array_equal(images, ONE.set.images)
    assert [row["examples/label"] for row in rows] == ONE.set.labels.tolist()
    names = [row["classes/name"] for row in dataset.records("classes")]
    assert [name.decode() if isinstance(name, bytes) else name for name in names] == list(ONE.set.card.classes)


def test_croissant_names_the_file_by_digest_and_says_what_the_verdict_says(registry: Path) -> None:
    found = look_up(f"{NAME}@production", registry=str(registry))
    metadata = croissant(found, base="https://store.example/registry")
    (file,) = metadata["distribution"]
    assert file["sha256"] == sha256(ONE.files["set.parquet"])
    assert file["contentUrl"] == f"https://store.example/registry/{object_key(ONE.manifest.files[0].md5)}"
    assert ONE.verdict.digest in metadata["rai:dataBiases"]
    assert json.loads(json.dumps(metadata)) == metadata
