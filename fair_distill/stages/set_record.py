"""The record of a set: its card, the params that made it, and its manifest."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fair_distill.card import DatasetCard, Nearness, Relations, Residuals, TrainingRecipe
from fair_distill.config import BEST, AnyCandidate, Candidate, Config, Distill
from fair_distill.errors import ConfigError
from fair_distill.registry.manifest import SET_FILE, FileEntry, Manifest
from fair_distill.text import percent

if TYPE_CHECKING:
    from fair_distill.data.grouped_dataset import GroupedDataset
    from fair_distill.distillation.unknown_groups import ResolvedGroups


# Sections of params.yaml in the manifest of every set, and further keys in the manifest of a candidate.
COMMON_SECTIONS = ("seed", "threads", "dataset", "data", "recipe")
CANDIDATE_KEYS = ("distill", "diagnostics", "nearness", "candidate")

# Without `recipe.priors`, predictions are corrected if the largest class has more than this times the smallest.
LARGEST_CLASS_RATIO = 1.2


def check_set_name(config: Config, name: str) -> None:
    """Raise ConfigError unless params.yaml lists the set."""
    if name not in config.sets:
        raise ConfigError(f"params.yaml: sets has no {name!r}; choose one of {', '.join(config.sets)}")


def set_command(config: Config, name: str) -> str:
    """Return the command that makes a set, for error messages."""
    if name == BEST:
        return "fair-distill stage choose"
    return f"fair-distill stage {'references' if name in config.references else 'distill'} {name}"


def draw_file(number: int) -> str:
    """Return the path of a further draw of a random reference in the folder of its set; the first draw is number 0."""
    return f"draw-{number}.parquet" if number else SET_FILE


def training_recipe(config: Config, train: "GroupedDataset", formation: int) -> TrainingRecipe:
    """Return the recipe in params.yaml with the normalisation of the training split.

    Raises
    ------
    ConfigError
        If the recipe augments images and the data are rows of a table.
    """
    from fair_distill.distillation.sampling import normalisation

    if train.schema is not None and config.recipe.augment:
        raise ConfigError(
            f"params.yaml: recipe.augment is {config.recipe.augment}, which changes images; set it to [] for "
            "rows of a table"
        )
    pixels = normalisation(train)
    settings = config.recipe.model_dump(exclude={"network", "augment"})
    network = {"name": config.recipe.network.name, "options": config.recipe.network.options}
    settings.pop("priors", None)
    return TrainingRecipe(
        **settings,
        network=network,
        augment=tuple(config.recipe.augment),
        formation=formation,
        mean=pixels.mean,
        std=pixels.std,
        priors=_priors(config, train),
    )


def _priors(config: Config, train: "GroupedDataset") -> tuple[float, ...] | None:
    """Return the shares of the classes in the training data; None if predictions are not corrected for them."""
    counts = train.counts.sum(axis=1)
    are_alike = counts.max() <= LARGEST_CLASS_RATIO * counts.min()
    if config.recipe.priors == "ignore" or (config.recipe.priors is None and are_alike):
        return None
    return tuple((counts / counts.sum()).tolist())


def make_card(
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
    relations: Relations | None = None,
    origin: Mapping[str, str] = MappingProxyType({}),
) -> DatasetCard:
    """Return the card of a set; the training split gives classes, groups, shape and counts."""
    return DatasetCard(
        dataset=config.dataset,
        name=name,
        kind=kind,
        classes=train.classes,
        groups=train.groups,
        shape=train.shape,
        examples=examples,
        train_counts=tuple(tuple(row) for row in train.counts.tolist()),
        recipe=training_recipe(config, train, formation),
        diagnostics=dict(diagnostics),
        group_labels=dict(group_labels),
        schema=train.schema,
        residuals=residuals,
        nearness=nearness,
        relations=relations,
        missing_cells=dict(train.missing_cells) or None,
        origin=dict(origin) or None,
    )


def group_label_record(distill: Distill, candidate: AnyCandidate, resolved: "ResolvedGroups") -> dict[str, Any]:
    """Return how distillation handled group labels, for the card; see `DatasetCard.group_labels`."""
    from fair_distill.distillation.shrinkage import thin_cells

    classes, groups = resolved.dataset.classes, resolved.dataset.groups
    shrunk = unknown = None
    if distill.shrinkage and isinstance(candidate, Candidate) and candidate.alignment.name != "pooled":
        shrunk = {
            "prior": distill.shrinkage.prior,
            "thin": [
                {
                    "class": classes[cell.label],
                    "group": groups[cell.group],
                    "examples": cell.examples,
                    "own": cell.share,
                }
                for cell in thin_cells(resolved.dataset.counts, distill.shrinkage.prior)
            ],
        }
    if resolved.unknown_share:
        unknown = {
            "method": distill.unknown.name,
            "share": resolved.unknown_share,
            "accuracy": resolved.accuracy,
            **_majority_record(resolved),
            "cells": [
                {
                    "class": classes[cell.label],
                    "group": groups[cell.group],
                    "known": cell.known,
                    "inferred": cell.inferred,
                    "confidence": cell.correct / cell.predicted if cell.predicted else None,
                    "found": cell.correct / cell.known if cell.known else None,
                }
                for cell in resolved.cells
            ],
        }
    return {"shrinkage": shrunk, "unknown": unknown}


def _majority_record(resolved: "ResolvedGroups") -> dict[str, Any]:
    """Return how often the majority guess was right where the accuracy was measured; empty if nothing was inferred."""
    comparison = resolved.comparison
    if comparison is None:
        return {}
    return {
        "measured_on": comparison.known,
        "majority_guess": comparison.majority_correct / comparison.known,
        "better": comparison.better,
        "worse": comparison.worse,
        "better_at_least": comparison.at_least,
    }


def group_inference(distill: Distill, resolved: "ResolvedGroups") -> dict[str, str]:
    """Return what happened to examples of unknown group as a sentence, for the provenance; empty if there were none."""
    if not resolved.unknown_share:
        return {}
    share, comparison = percent(resolved.unknown_share), resolved.comparison
    if comparison is not None:
        sentence = f"{share} of the training examples had no known group, and got one by inference; "
        return {"group_inference": sentence + comparison.sentence()}
    if resolved.cells:
        accuracy = percent(resolved.accuracy)
        measured = f"{accuracy} of the known examples are inferred correctly while their groups are hidden"
    else:
        measured = "nothing was inferred, so no accuracy was measured"
    return {
        "group_inference": f"{share} of the training examples had no known group ({distill.unknown.name}); {measured}"
    }


def set_params(config: Config, *sections: str, **extra: Any) -> dict[str, Any]:
    """Return the params that a manifest records.

    Parameters
    ----------
    sections : sections of params.yaml in addition to `COMMON_SECTIONS`
    extra : further entries, such as `candidate`

    Returns
    -------
    dict
        The sections and entries, and under "own" the SHA-256 of the source file of each custom component.
    """
    from fair_distill.plugins import custom_source_digests

    params = config.model_dump(include={*COMMON_SECTIONS, *sections}, by_alias=True) | extra
    custom = custom_source_digests(params)
    return params | ({"own": custom} if custom else {})


def make_manifest(
    config: Config, card: DatasetCard, files: Mapping[str, bytes], *, params: dict[str, Any], source: str
) -> Manifest:
    """Return the manifest of a set.

    Parameters
    ----------
    files : contents by path in the set's folder; empty for the reference of all training examples
    source : SHA-256 of the training split
    """
    return Manifest(
        files=tuple(FileEntry.describe(path, content) for path, content in files.items()),
        card=card,
        source=source,
        params=params,
        engine=config.engine,
    )
