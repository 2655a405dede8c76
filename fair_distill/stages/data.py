"""The stages before anything is distilled: prepare the splits, and hold them against the contract."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fair_distill.config import Config
from fair_distill.errors import DataError
from fair_distill.files import parse_json, require_file, to_json, write_bytes
from fair_distill.seeds import numpy_generator, torch_generator
from fair_distill.stages.progress import Progress, Reached, quiet
from fair_distill.workspace import SPLITS, Workspace

if TYPE_CHECKING:
    import torch

    from fair_distill.data.grouped_dataset import GroupedDataset
    from fair_distill.distillation.unknown_groups import Resolved


_WORTH_TELLING = 10_000  # images; fewer are there before anyone could look


def prepare(workspace: Workspace, config: Config, *, progress: Progress = quiet) -> dict[str, "GroupedDataset"]:
    """Read the source, split it, colour it if told so; write train, tune and gate."""
    from fair_distill.data.split_file import read_split

    paths = {name: workspace.split(name) for name in SPLITS}
    _write_splits(workspace, config, paths, progress)
    return {name: read_split(path, verify=False) for name, path in paths.items()}


def splits_of(workspace: Workspace, config: Config, *, progress: Progress = quiet) -> dict[str, "GroupedDataset"]:
    """Return the splits that `prepare` would write. Writes nothing that stays."""
    from fair_distill.data.split_file import read_split

    with tempfile.TemporaryDirectory(prefix="fair-distill-") as folder:
        paths = {name: Path(folder) / f"{name}.arrow" for name in SPLITS}
        _write_splits(workspace, config, paths, progress)
        return {name: read_split(path) for name, path in paths.items()}  # mapped: readable after the folder is gone


def _write_splits(workspace: Workspace, config: Config, paths: Mapping[str, Path], progress: Progress = quiet) -> None:
    from fair_distill.data.prepare import plan_splits
    from fair_distill.data.sources import prune_source_cache, read_source

    source = read_source(config.data.source.name, config.data.source.options, root=workspace.root)
    planned = plan_splits(
        source,
        config.data,
        dealing=numpy_generator(config.seed, "prepare.split"),
        colouring=numpy_generator(config.seed, "prepare.colours"),
    )
    told = progress if len(source) >= _WORTH_TELLING else quiet
    planned.write(paths, progress=lambda done, of: told(Reached(done, of, images=1)))
    prune_source_cache(workspace.root)


def describe(
    workspace: Workspace, config: Config, environment: Mapping[str, str], *, progress: Progress = quiet
) -> dict[str, Any]:
    """Return what `validate` would say of the splits that `prepare` would write. Writes nothing that stays."""
    return _outcome(workspace, config, splits_of(workspace, config, progress=progress), environment)


def validate(
    workspace: Workspace, config: Config, environment: Mapping[str, str], *, pages: Path | None = None
) -> dict[str, Any]:
    """Hold the prepared splits against the contract; write and return the outcome, whatever it is.

    Parameters
    ----------
    environment : where the salt of ids is, if privacy is restricted
    pages : a folder for the Data Docs; nothing reads them again
    """
    from fair_distill.data.split_file import read_split

    splits = {name: read_split(workspace.split(name)) for name in SPLITS}
    outcome = _outcome(workspace, config, splits, environment, pages=pages)
    write_bytes(workspace.validation, to_json(outcome))
    return outcome


def _outcome(
    workspace: Workspace,
    config: Config,
    splits: Mapping[str, "GroupedDataset"],
    environment: Mapping[str, str],
    *,
    pages: Path | None = None,
) -> dict[str, Any]:
    from fair_distill.validation.contract import build_contract, evaluate_contract
    from fair_distill.validation.data_docs import write_data_docs
    from fair_distill.validation.ids import read_salt

    rules = config.validate_
    salt = read_salt(environment) if rules.privacy == "restricted" else None
    contract = build_contract(splits, rules, root=workspace.root, salt=salt)
    outcome = evaluate_contract(contract)
    if pages is not None:
        write_data_docs([table.suite for table in contract.tables], outcome, pages, restricted=salt is not None)
    return outcome.to_dict()


def validated(workspace: Workspace) -> dict[str, Any]:
    """Return the outcome of the contract; refuse what `validate` refused."""
    path = require_file(workspace.validation, made_by="fair-distill validate")
    outcome = parse_json(path.read_bytes(), name=str(path))
    try:
        errors = [failure["sentence"] for failure in outcome["failures"] if failure["severity"] == "error"]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is no outcome of a validation ({error!r}); run `fair-distill validate`") from None
    if errors:
        more = f" (and {len(errors) - 1} more in {path})" if len(errors) > 1 else ""
        raise DataError(f"validation refused the data: {errors[0]}{more}")
    return outcome


def of_data(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """What stands beside a set about its data: the contract's warnings, and a profile to hold other data against.

    It is published with the set, so where privacy is restricted it is no more than how often which check warned.
    """
    warnings = [failure for failure in outcome["failures"] if failure["severity"] == "warn"]
    if outcome.get("privacy") == "restricted":
        return {"data": {"warnings": [f"{it['check']} in {it['split']}: {it['count']}" for it in warnings]}}
    return {"data": {"warnings": [it["sentence"] for it in warnings], "profile": outcome.get("profile")}}


def reference(named: str, registry: str | None) -> dict[str, Any]:
    """Return how the data of a published version are spread, for `validate.drift.reference`.

    A version from before this was kept has only the counts of its cells.
    """
    from fair_distill.registry.client import provenance

    manifest, beside = provenance(named, registry=registry)
    card = manifest.card
    profiles = [profile for found in beside if (profile := (found.get("data") or {}).get("profile"))]
    cells = {
        label: dict(zip(card.groups, counts, strict=True))
        for label, counts in zip(card.classes, card.train_counts, strict=True)
    }
    return {"version": manifest.version, "profile": profiles[-1] if profiles else {"cells": cells}}


def of_known_groups(workspace: Workspace, config: Config, device: "torch.device") -> "Resolved":
    """Read the train split and see to examples of unknown group, as params say; alike for every stage that asks."""
    from fair_distill.data.split_file import read_split
    from fair_distill.distillation.unknown_groups import with_known_groups

    return with_known_groups(
        read_split(workspace.split("train")),
        config.distill.unknown,
        config.distill.network,
        generator=torch_generator(config.seed, "distill.unknown"),
        device=device,
    )
