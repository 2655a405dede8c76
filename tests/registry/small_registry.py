"""Small sets to publish, with real predictions and real verdicts, and a store in memory to hold against the others."""

import multiprocessing
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.context import BaseContext
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from fair_distill.card import DatasetCard, TrainingRecipe
from fair_distill.config import Gate, Limit
from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import ConfigError
from fair_distill.files import sha256, to_json
from fair_distill.gate.judge import Verdict, judge
from fair_distill.gate.predictions import Predictions
from fair_distill.registry import release
from fair_distill.registry.actor import Actor
from fair_distill.registry.entry import Draft, Entry
from fair_distill.registry.layout import key_fault, size_limit
from fair_distill.registry.ledger import append
from fair_distill.registry.manifest import SET_FILE, FileEntry, Manifest
from fair_distill.registry.store import CheckedStore, RegistryStore
from fair_distill.storage.local import LocalStore
from fair_distill.storage.store import Absent, check_size

NAME = "digits"
ORDER = ("candidate", "staging", "production")
NOW = datetime(2026, 3, 3, 12, tzinfo=UTC)
POLICY = Gate(mode="point", limits=(Limit(metric="eo_diag_max", at_most=0.3, why="a test's"),))

PRELOADED = [
    "pytest",
    "pandas",
    "pyarrow.dataset",
    "hypothesis",
    "boto3.session",
    "botocore.httpsession",
    "securesystemslib.signer",
    "cryptography.hazmat.primitives.serialization",
    "fair_distill.registry.client",
    "fair_distill.registry.garbage_collection",
    "fair_distill.registry.release",
]


class MemoryStore:
    """The contract of a store in its fewest lines."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.lock = Lock()

    def create(self, key: str, content: bytes) -> bool:
        self._check(key)
        with self.lock:
            free = key not in self.content
            self.content.setdefault(key, content)
        return free

    def read(self, key: str, *, at_most: int | None = None) -> bytes:
        self._check(key)
        if key not in self.content:
            raise Absent(f"{key} is not there")
        check_size(len(self.content[key]), min(size_limit(key), size_limit(key) if at_most is None else at_most), key)
        return self.content[key]

    def exists(self, key: str) -> bool:
        self._check(key)
        return key in self.content

    def list(self, prefix: str, *, after: str = "", at_most: int | None = None) -> list[str]:
        if "/" in prefix:
            self._check(prefix.rpartition("/")[0])
        return sorted(key for key in tuple(self.content) if key.startswith(prefix) and key > after)[:at_most]

    @staticmethod
    def _check(key: str) -> None:
        if key_fault(key):
            raise ConfigError(f"not a key: {key_fault(key)}")


def local_registry(root: Path, **options: Any) -> CheckedStore:
    """Return the registry in a folder, as `open_registry` opens it; `options` are those of LocalStore."""
    return CheckedStore(LocalStore(root, source="--registry", follow_links=False, **options))


@dataclass(frozen=True)
class Package:
    """All that is published of one version."""

    set: DistilledSet
    manifest: Manifest
    files: dict[str, bytes]
    predictions: bytes
    provenance: bytes
    verdict: Verdict

    @property
    def version(self) -> str:
        return self.manifest.version

    @property
    def verdict_bytes(self) -> bytes:
        return self.verdict.to_json()


def package(seed: int, *, mistakes: int = 0, examples: int = 4, shape: tuple[int, int, int] = (1, 2, 2)) -> Package:
    """Return a set of a few images that differs by seed; each mistake of ten in one cell opens a gap of 0.1."""
    recipe = TrainingRecipe(
        network={"name": "convnet", "width": 4, "depth": 1},
        steps=2,
        batch_size=4,
        learning_rate=0.01,
        momentum=0.9,
        weight_decay=0.0,
        augment=("crop",),
        formation=1,
        mean=(0.5,) * shape[0],
        std=(0.25,) * shape[0],
    )
    card = DatasetCard(
        dataset=NAME,
        name="barycentric",
        kind="distilled",
        classes=("0", "1"),
        groups=("red", "cyan"),
        shape=shape,
        examples=examples,
        train_counts=((9, 1), (1, 9)),
        recipe=recipe,
        diagnostics={"last_loss": 0.5},
    )
    images = np.random.default_rng(seed).normal(size=(examples, *shape)).astype(np.float32)
    distilled = DistilledSet(images, np.repeat([0, 1], examples // 2), card)
    files = {SET_FILE: distilled.to_parquet()}
    manifest = Manifest(
        files=tuple(FileEntry.describe(path, content) for path, content in files.items()),
        card=card,
        source=sha256(b"the training split"),
        params={"distill": {"ipc": 2}, "seed": seed},
        engine=1,
    )
    predictions = predictions_of_version(manifest.version, mistakes=mistakes)
    return Package(
        set=distilled,
        manifest=manifest,
        files=files,
        predictions=predictions,
        provenance=to_json({"commit": "0" * 40, "device": "cpu"}),
        verdict=judge(predictions, POLICY, context=b"", engine=1),
    )


def predictions_of_version(version: str, *, mistakes: int = 0) -> bytes:
    label, group = (column.ravel() for column in np.meshgrid([0, 1], [0, 1], indexing="ij"))
    label, group = np.repeat(label, 10), np.repeat(group, 10)
    predicted = label.copy()
    predicted[:mistakes] = 1
    columns = {
        "example": np.arange(40),
        "pair": np.arange(40),
        "label": label,
        "group": group,
        "seed": np.zeros(40, int),
        "network": np.zeros(40, int),
        "predicted": predicted,
        "probability": np.ones(40),
    }
    return Predictions(
        set=version,
        split=sha256(b"the gate split"),
        classes=("0", "1"),
        groups=("red", "cyan"),
        networks=("convnet",),
        columns=columns,
    ).to_parquet()


def publish(store: RegistryStore, made: Package, *, name: str = NAME, nonce: str | None = None) -> release.Publication:
    return release.publish(
        store,
        name,
        made.manifest,
        made.files,
        predictions=made.predictions,
        provenance=made.provenance,
        actor=Actor("ada", NOW, nonce or f"publish-{made.version}"),
    )


def promote(
    store: RegistryStore, made: Package, channel: str = "production", *, name: str = NAME, nonce: str | None = None
) -> release.Promotion:
    return release.promote(
        store,
        name,
        made.version,
        channel,
        order=ORDER,
        verdict=made.verdict,
        verdict_bytes=made.verdict_bytes,
        actor=Actor("ada", NOW, nonce or f"promote-{made.version}"),
    )


def ship(store: RegistryStore, made: Package) -> None:
    """Publish a package and promote it to production."""
    publish(store, made)
    promote(store, made)


def processes() -> BaseContext:
    """Return the way to start processes: from a server that has imported what they need, and has no threads.

    Not fork: the threads of the test run would be copied in whatever state they are.
    """
    context = multiprocessing.get_context("forkserver")
    # pyarrow imports pandas at its first array, where it is installed; that takes a second.
    context.set_forkserver_preload(PRELOADED)
    return context


def events(entries: tuple[Entry, ...]) -> list[tuple[str, str | None, str]]:
    """What the ledger says, without numbers, names and times."""
    return [(entry.event, entry.channel, entry.version) for entry in entries]


def files_of(root: Path) -> dict[str, bytes]:
    """Every file of a registry in a folder."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def lasting(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files of a registry that `verify` answers for: announcements of publications say nothing of a version."""
    return {key: content for key, content in files.items() if not key.startswith("publishing/")}


def enter(store: RegistryStore, **fields: object) -> Entry:
    """Write an entry as somebody would who may write to the store: no verb checks it."""
    draft = Draft(**{"who": "eve", "time": "2026-03-03T12:00:00Z", "nonce": "forged", **fields})
    entry = append(store, NAME, lambda _: draft)
    assert entry is not None
    return entry


def put_in_place(path: Path, content: bytes) -> None:
    """Overwrite a file as somebody would who has the disk: the registry's own are read-only."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def has_remark(check: Any) -> bool:
    """Return whether `verify` remarks on a file, other than that no attempt is recorded.

    The functions of this module write to the registry without a gate split, so no attempt is recorded for them.
    """
    return bool(check.remark) and check.remark != "its attempt is not in the record of attempts"
