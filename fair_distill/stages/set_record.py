"""What is recorded of a set, however it was made: its card, the params that made it, its manifest."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fair_distill.card import DatasetCard, Nearness, Residuals, TrainingRecipe
from fair_distill.config import Candidate, Config, Distill
from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import ConfigError
from fair_distill.files import sha256
from fair_distill.registry.manifest import SET_FILE, FileEntry, Manifest, write_version
from fair_distill.workspace import Workspace

if TYPE_CHECKING:
    from fair_distill.data.grouped_dataset import GroupedDataset
    from fair_distill.distillation.unknown_groups import Resolved


# The sections of params.yaml that every set is made with, and the keys that a candidate's manifest has in addition.
ALWAYS = ("seed", "threads", "dataset", "data", "recipe")
MAKES_CANDIDATE = ("distill", "diagnostics", "nearness", "candidate")


def known(config: Config, name: str) -> None:
    if name not in config.sets:
        raise ConfigError(f"params.yaml: sets has no {name!r}; choose one of {', '.join(config.sets)}")


def made_by(config: Config, name: str) -> str:
    return f"fair-distill {'references' if name in config.references else 'distill'} {name}"


def recipe_of(config: Config, train: "GroupedDataset", formation: int) -> TrainingRecipe:
    from fair_distill.distillation.sampling import normalisation

    if train.schema is not None and config.recipe.augment:
        raise ConfigError(
            f"params.yaml: recipe.augment is {config.recipe.augment}, which changes images; for rows say []"
        )
    pixels = normalisation(train)
    plain = config.recipe.model_dump(exclude={"network", "augment"})
    network = {"name": config.recipe.network.name, "options": config.recipe.network.options}
    return TrainingRecipe(
        **plain,
        network=network,
        augment=tuple(config.recipe.augment),
        formation=formation,
        mean=pixels.mean,
        std=pixels.std,
    )


def card_of(
    config: Config,
    train: "GroupedDataset",
    *,
    name: str,
    kind: str,
    examples: int,
    formation: int = 1,
    diagnostics: Mapping[str, float] = MappingProxyType({}),
    group_labels: Mapping[str, Any] = MappingProxyType({}),
    residuals: Residuals | None = None,
    nearness: Nearness | None = None,
) -> DatasetCard:
    return DatasetCard(
        dataset=config.dataset,
        name=name,
        kind=kind,
        classes=train.classes,
        groups=train.groups,
        shape=train.shape,
        examples=examples,
        train_counts=tuple(tuple(row) for row in train.counts.tolist()),
        recipe=recipe_of(config, train, formation),
        diagnostics=dict(diagnostics),
        group_labels=dict(group_labels),
        schema=train.schema,
        residuals=residuals,
        nearness=nearness,
        missing_cells=dict(train.missing_cells) or None,
    )


def group_labels_of(distill: Distill, candidate: Candidate, resolved: "Resolved") -> dict[str, Any]:
    """What the card says of the groups' labels; see `DatasetCard.group_labels`."""
    from fair_distill.distillation.shrinkage import thin_cells

    classes, groups = resolved.dataset.classes, resolved.dataset.groups
    shrunk = unknown = None
    if distill.shrinkage and candidate.alignment.name != "pooled":
        shrunk = {
            "prior": distill.shrinkage.prior,
            "thin": [
                {"class": classes[cell.label], "group": groups[cell.group], "examples": cell.examples, "own": cell.own}
                for cell in thin_cells(resolved.dataset.counts, distill.shrinkage.prior)
            ],
        }
    if resolved.unknown:
        unknown = {
            "method": distill.unknown.name,
            "share": resolved.unknown,
            "accuracy": resolved.accuracy,
            "cells": [
                {
                    "class": classes[cell.label],
                    "group": groups[cell.group],
                    "known": cell.known,
                    "inferred": cell.inferred,
                    "confidence": cell.right / cell.guessed if cell.guessed else None,
                    "found": cell.right / cell.known if cell.known else None,
                }
                for cell in resolved.cells
            ],
        }
    return {"shrinkage": shrunk, "unknown": unknown}


def params_of(config: Config, *sections: str, **extra: Any) -> dict[str, Any]:
    """The sections of params.yaml that make a set, as the manifest keeps them, with digests of what is one's own."""
    from fair_distill.plugins import custom_source_digests

    params = config.model_dump(include={*ALWAYS, *sections}, by_alias=True) | extra
    return params | ({"own": own} if (own := custom_source_digests(params)) else {})


def write_set(
    workspace: Workspace, config: Config, card: DatasetCard, distilled: DistilledSet | None, params: dict[str, Any]
) -> Manifest:
    files = {} if distilled is None else {SET_FILE: distilled.to_parquet()}
    manifest = Manifest(
        files=tuple(FileEntry.describe(path, content) for path, content in files.items()),
        card=card,
        source=sha256(workspace.split("train")),
        params=params,
        engine=config.engine,
    )
    write_version(workspace.set(card.name), manifest, files)
    return manifest
