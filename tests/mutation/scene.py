"""A workspace with a registry in which one set passes in every interface: mutants start from here.

The gate split has groups of two attributes. The policy limits gaps, a gap by one attribute, accuracy compared with a
reference, a gap compared with the promoted version and near copies, so that every input of a verdict is used.
"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from small_predictions import drawn
from small_workspace import small_params, write_params

from fair_distill.card import DatasetCard, Nearness, TrainingRecipe
from fair_distill.config import Config, load_config
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.data.split_file import write_split
from fair_distill.distilled_set import DistilledSet
from fair_distill.files import sha256, to_json, write_bytes
from fair_distill.gate.predictions import Predictions
from fair_distill.registry.actor import Actor
from fair_distill.registry.manifest import PROVENANCE_FILE, SET_FILE, FileEntry, Manifest, write_version
from fair_distill.stages.attest import attest_predictions
from fair_distill.stages.context import write_context
from fair_distill.stages.promote import promote_version
from fair_distill.stages.publish import publish_set
from fair_distill.stages.set_record import set_params
from fair_distill.statements import Signer, new_key, signer
from fair_distill.workspace import Workspace

SET, OTHER, REFERENCE = "barycentric", "pooled", "full"
GROUPS = ("f×old", "f×young", "m×old", "m×young")
ATTRIBUTES = (("f", "old"), ("f", "young"), ("m", "old"), ("m", "young"))
ATTRIBUTE_NAMES = ("sex", "age")
CLASSES = ("class0", "class1")
NOW = datetime(2026, 11, 1, tzinfo=UTC)
NOBODY = Actor("ada", NOW, "scene")


def params(public_key: str) -> dict[str, Any]:
    """A strict policy that the honest set satisfies, and an evaluation of two networks with three seeds."""
    values = small_params()
    values["sets"] = [REFERENCE, OTHER, SET]
    values["references"] = {REFERENCE: {"select": "all"}}
    values["evaluate"]["seeds"] = 3
    values["gate"] = {
        "mode": "bounds",
        "alpha": 0.05,
        "attempts": 2,
        "minimum_seeds": 3,
        "minimum_per_cell": 20,
        "evaluators": [public_key],
        "limits": [
            {"metric": "eo_diag_max", "at_most": 0.5, "why": "a test"},
            {"metric": "eo_diag_max", "by": ["sex"], "at_most": 0.4, "why": "a test"},
            {"metric": "accuracy", "at_least": 0.6, "why": "a test"},
            {"metric": "accuracy", "over": REFERENCE, "at_least": -0.3, "why": "a test"},
            {
                "metric": "eo_diag_max",
                "over": "promoted",
                "at_most": 0.8,
                "first_release": "refuse",
                "why": "a test",
            },
            {"metric": "near_copies", "at_most": 0.3, "why": "a test"},
        ],
    }
    values["release"] = {"candidate": SET, "channels": ["staging", "production"], "signed_by": [], "approvals": {}}
    return values


class Scene:
    """The honest workspace, its registry and the policy of the base branch.

    Attributes
    ----------
    base : a params.yaml outside the workspace, equal to the workspace's
    sign : signs as the evaluator that the policy names; `strange` as somebody else
    """

    def __init__(self, folder: Path, *, of: int = 30, rates: float = 0.96) -> None:
        self.of = of
        self.root = folder / "workspace"
        self.root.mkdir(parents=True)
        self.registry = folder / "registry"
        self.base = folder / "base" / "params.yaml"
        self.base.parent.mkdir()
        self.sign, public = _key(folder / "evaluator.pem")
        self.strange, _ = _key(folder / "stranger.pem")
        self.workspace = Workspace(self.root)
        self.params = params(public)
        write_params(self.root, self.params)
        self.base.write_bytes(self.workspace.params.read_bytes())
        self.config: Config = load_config(self.workspace.params)
        self.split = self._splits(of)
        write_bytes(self.workspace.context, b"{}\n")
        for number, name in enumerate((REFERENCE, OTHER, SET)):
            self.make(name, number=number, of=of, rates=rates)
        self._release()

    def _splits(self, of: int) -> str:
        """Write the three splits and return the SHA-256 of the gate split."""
        for number, name in enumerate(("train", "tune", "gate")):
            labels, groups, pairs, clusters = _examples(of)
            rng = np.random.default_rng(number)
            split = GroupedDataset.from_arrays(
                rng.integers(0, 255, (len(labels), 1, 2, 2)).astype(np.uint8),
                labels,
                groups,
                pairs=pairs,
                clusters=clusters,
                classes=CLASSES,
                groups=GROUPS,
                attributes=ATTRIBUTES,
                attribute_names=ATTRIBUTE_NAMES,
            )
            path = self.workspace.split(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_split(split, path)
        return sha256(self.workspace.split("gate"))

    def make(self, name: str, *, number: int, of: int, rates: float, salt: float = 0.0) -> Manifest:
        """Write a set's folder and its predictions, with an evaluator's statement."""
        card = self._card(name, salt=salt)
        files: dict[str, bytes] = {}
        if card.kind == "distilled":
            images = np.random.default_rng(number).normal(size=(card.examples, *card.shape)).astype(np.float32)
            files[SET_FILE] = DistilledSet(images, np.arange(card.examples) % 2, card).to_parquet()
        manifest = Manifest(
            files=tuple(FileEntry.describe(path, content) for path, content in files.items()),
            card=card,
            source=sha256(self.workspace.split("train")),
            params=self._made_with(name),
            engine=self.config.engine,
        )
        write_version(self.workspace.set(name), manifest, files)
        write_bytes(self.workspace.set(name) / PROVENANCE_FILE, to_json({"commit": "0" * 40, "device": "cpu"}))
        table = self.predicted(manifest.version, number=number, of=of, rates=rates)
        write_bytes(self.workspace.predictions(name), table.to_parquet())
        attest_predictions(self.workspace, self._without_promoted(), [name], sign=self.sign)
        return manifest

    def predicted(self, version: str, *, number: int, of: int, rates: float) -> Predictions:
        """Return predictions of every network and seed on the gate split, each right at this rate."""
        options = {network.name: network.options for network in self.config.evaluate.networks}
        parts = [
            drawn(np.full((2, 4), rates), of, np.random.default_rng([number, i]), seeds=3) for i in range(len(options))
        ]
        labels, groups, pairs, clusters = _examples(of)
        columns = {
            key: np.concatenate([part.columns[key] for part in parts]) for key in ("example", "seed", "predicted")
        }
        runs = 3 * len(parts)
        columns |= {key: np.tile(v, runs) for key, v in zip(
            ("label", "group", "pair", "cluster"), (labels, groups, pairs, clusters), strict=True
        )}  # fmt: skip
        columns["network"] = np.repeat(np.arange(len(parts)), 3 * len(labels))
        columns["probability"] = np.full(len(columns["label"]), 0.9)
        return Predictions(
            set=version,
            split=self.split,
            classes=CLASSES,
            groups=GROUPS,
            networks=tuple(options),
            columns=columns,
            attributes=ATTRIBUTES,
            attribute_names=ATTRIBUTE_NAMES,
            options=options,
        )

    def _card(self, name: str, *, salt: float) -> DatasetCard:
        recipe = self.config.recipe
        distilled = name != REFERENCE
        return DatasetCard(
            dataset=self.config.dataset,
            name=name,
            kind="distilled" if distilled else "full",
            classes=CLASSES,
            groups=GROUPS,
            shape=(1, 2, 2),
            examples=60 if distilled else 240,
            train_counts=((30,) * 4,) * 2,
            recipe=TrainingRecipe(
                network={"name": recipe.network.name, "options": recipe.network.options},
                augment=tuple(recipe.augment),
                formation=1,
                mean=(0.5,),
                std=(0.25,),
                **recipe.model_dump(exclude={"network", "augment"}),
            ),
            diagnostics={"last_loss": 0.5 + salt} if distilled else {},
            nearness=Nearness(60, 100, 0.1, 2, 0, 1.5, (30, 30), (1, 1), (1.0, 1.0), None) if distilled else None,
        )

    def _made_with(self, name: str) -> dict[str, Any]:
        if name == REFERENCE:
            reference = self.config.references[name].model_dump()
            return set_params(self.config, reference=reference, ipc=self.config.distill.ipc)
        candidate = self.config.candidates[name].model_dump()
        return set_params(self.config, "distill", "diagnostics", "nearness", candidate=candidate)

    def _without_promoted(self) -> Config:
        limits = tuple(limit for limit in self.config.gate.limits if limit.over != "promoted")
        return self.config.model_copy(update={"gate": self.config.gate.model_copy(update={"limits": limits})})

    def _release(self) -> None:
        """Publish an earlier version and promote it, publish the candidate, and reserve its attempt."""
        registry = str(self.registry)
        self.earlier = self.make(SET, number=7, of=self.of, rates=0.95, salt=0.1).version
        first = self.params | {"gate": {**self.params["gate"], "limits": [
            limit | ({"first_release": "accept"} if limit.get("over") == "promoted" else {})
            for limit in self.params["gate"]["limits"]
        ]}}  # fmt: skip
        write_params(self.root, first)
        config = load_config(self.workspace.params)
        publish_set(self.workspace, config, registry=registry, actor=replace(NOBODY, nonce="p1"))
        promote_version(self.workspace, config, "production", registry=registry, actor=replace(NOBODY, nonce="p2"))
        write_params(self.root, self.params)
        self.version = self.make(SET, number=2, of=self.of, rates=0.96).version
        publish_set(self.workspace, self.config, registry=registry, actor=replace(NOBODY, nonce="p3"))
        write_context(
            self.workspace, self.config, SET, "production", registry=registry, actor=replace(NOBODY, nonce="p4")
        )


def _examples(of: int) -> tuple[Any, ...]:
    """Labels, groups, pairs and clusters of `of` examples in each class and group, sorted by cell."""
    labels, groups, numbers = (axis.ravel() for axis in np.indices((2, 4, of)))
    pairs = labels * of + numbers
    return labels, groups, pairs, 3 * pairs


def _key(path: Path) -> tuple[Signer, str]:
    private, public = new_key()
    path.write_bytes(private)
    return signer(path), public
