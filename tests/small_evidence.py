"""Write all files that a verdict needs in milliseconds, without training a network."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from small_predictions import drawn
from small_workspace import write_params

from fair_distill.card import DatasetCard, TrainingRecipe
from fair_distill.config import Config, load_config
from fair_distill.data.grouped_dataset import GroupedDataset
from fair_distill.data.split_file import write_split
from fair_distill.files import sha256, write_bytes
from fair_distill.gate.predictions import Predictions
from fair_distill.registry.manifest import MANIFEST_FILE, Manifest
from fair_distill.stages.set_record import set_params
from fair_distill.workspace import Workspace


def write_gate_split(workspace: Workspace, predictions: Predictions) -> str:
    """Write the gate split that the predictions belong to, with black images, and return its SHA-256."""
    first = np.flatnonzero(
        (predictions.columns["network"] == 0) & (predictions.columns["seed"] == predictions.columns["seed"][0])
    )
    columns = {
        name: column[first].astype(np.int64) for name, column in predictions.columns.items() if name != "probability"
    }
    split = GroupedDataset.from_arrays(
        np.zeros((len(first), 1, 2, 2), dtype=np.uint8),
        columns["label"],
        columns["group"],
        pairs=columns["pair"],
        classes=list(predictions.classes),
        groups=list(predictions.groups),
        attributes=predictions.attributes,
        attribute_names=predictions.attribute_names,
    )
    path = workspace.split("gate")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_split(split, path)
    return sha256(path)


def write_manifest(workspace: Workspace, config: Config, name: str, *, classes: int = 2, groups: int = 2) -> str:
    """Write the manifest that a stage would write for a set, without the set itself, and return its version."""
    recipe = config.recipe
    card = DatasetCard(
        dataset=config.dataset,
        name=name,
        kind="full" if name in config.references and config.references[name].select == "all" else "distilled",
        classes=tuple(f"class{c}" for c in range(classes)),
        groups=tuple(f"group{g}" for g in range(groups)),
        shape=(1, 2, 2),
        examples=4,
        train_counts=((9,) * groups,) * classes,
        recipe=TrainingRecipe(
            network={"name": recipe.network.name, "options": recipe.network.options},
            augment=tuple(recipe.augment),
            formation=1,
            mean=(0.5,),
            std=(0.25,),
            **recipe.model_dump(exclude={"network", "augment"}),
        ),
        diagnostics={},
    )
    if name in config.candidates:
        made_with = {"candidate": config.candidates[name].model_dump()}
        params = set_params(config, "distill", "diagnostics", "nearness", **made_with)
    else:
        params = set_params(config, reference=config.references[name].model_dump(), ipc=config.distill.ipc)
    manifest = Manifest(files=(), card=card, source="c" * 64, params=params, engine=config.engine)
    write_bytes(workspace.set(name) / MANIFEST_FILE, manifest.to_json())
    return manifest.version


def write_evidence(
    root: Path,
    params: dict[str, Any],
    *,
    names: tuple[str, ...],
    rates: Any,
    of: int,
    first_seed: int = 0,
    **how: Any,
) -> tuple[Workspace, Config]:
    """Write params, an empty context, a gate split, and a manifest and predictions drawn at `rates` for each set."""
    seeds, networks = params["evaluate"]["seeds"], params["evaluate"]["networks"]
    write_params(root, params)
    (root / "context.json").write_text("{}\n")
    workspace = Workspace(root)
    config = load_config(workspace.params)
    options = {network.name: network.options for network in config.evaluate.networks}
    assert len(networks) == 1, "drawn predictions are of one network"
    for number, name in enumerate(names, start=first_seed):
        version = write_manifest(workspace, config, name, classes=len(rates), groups=len(rates[0]))
        table = drawn(
            rates, of, np.random.default_rng(number), seeds=seeds, networks=tuple(options), set=version, **how
        )
        split = write_gate_split(workspace, table)
        table = replace(table, split=split, options=options)
        write_bytes(workspace.predictions(name), table.to_parquet())
    return workspace, config
