"""Command `data labels`: suspected label errors of a prepared split, as a table and as a list to relabel."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from fair_distill.config import Config
from fair_distill.errors import ConfigError, DataError
from fair_distill.files import parse_json, require_file, sha256, to_csv, to_json, write_bytes
from fair_distill.seeds import torch_generator
from fair_distill.stages.device import torch_device
from fair_distill.stages.progress import ProgressCallback, StageProgress, ignore_progress
from fair_distill.stages.set_record import training_recipe
from fair_distill.text import percent
from fair_distill.workspace import SPLITS, Workspace

if TYPE_CHECKING:
    from fair_distill.audit.suspected_labels import LabelAudit
    from fair_distill.data.grouped_dataset import GroupedDataset

_FORMAT = 1
_CELL_FIELDS = {"label": "text", "group": "text", "suspected": "share", "precision": "optional number"}
_GROUP_FIELDS = {
    "group": "text",
    "suspected": "share",
    "error_rate": "share",
    "precision": "optional number",
    "is_high": "bool",
}


def audit_split(
    workspace: Workspace,
    config: Config,
    split: str,
    environment: Mapping[str, str],
    *,
    device: str = "cpu",
    progress: ProgressCallback = ignore_progress,
) -> dict[str, Any]:
    """Look for wrong labels in a split; write the table and the list of examples, and return the table.

    Networks follow the recipe in params.yaml for as many steps as `labels` says. The list names examples by id, or by
    pair if the source has no ids; with restricted privacy it names them by keyed hash.

    Raises
    ------
    ConfigError
        If the split or the section `labels` does not exist, the salt is missing, or cleanlab is not installed.
    DataError
        If the split has fewer than two classes, or a class has only one unit.
    MeasurementError
        If the training of a network diverged.
    """
    from fair_distill.audit.suspected_labels import audit_labels, require_cleanlab
    from fair_distill.data.split_file import read_split
    from fair_distill.evaluation.out_of_fold import out_of_fold_probabilities
    from fair_distill.validation.ids import read_salt

    if split not in SPLITS:
        raise ConfigError(f"--split is {split!r}; pass one of {', '.join(SPLITS)}")
    if config.labels is None:
        raise ConfigError(
            "params.yaml has no section `labels`, which the audit of labels needs; add for example "
            "`labels: {folds: 5, steps: 1000}`"
        )
    require_cleanlab()
    salt = read_salt(environment) if config.validate_.privacy == "restricted" else None
    torch_dev = torch_device(device, threads=config.threads)
    path = require_file(workspace.split(split), made_by="fair-distill stage prepare")
    dataset = read_split(path)
    if len(dataset.classes) < 2:
        raise DataError(f"{path} has one class; the audit of labels compares at least two")
    recipe = replace(training_recipe(config, dataset, 1), steps=config.labels.steps)
    probabilities = out_of_fold_probabilities(
        dataset,
        recipe,
        folds=config.labels.folds,
        generator=torch_generator(config.seed, f"labels.{split}"),
        device=torch_dev,
        progress=lambda step, steps: progress(StageProgress(step, steps)),
    )
    audit = audit_labels(dataset, probabilities)
    table = {
        "format": _FORMAT,
        "split": split,
        "sha256": sha256(path),
        "examples": len(dataset),
        "settings": config.labels.model_dump(),
        "groups": [_with_shares(asdict(group)) for group in audit.groups],
        "cells": [_with_shares(asdict(cell)) for cell in audit.cells],
    }
    write_bytes(workspace.suspected_labels(split), _suspects_csv(dataset, audit, salt))
    write_bytes(workspace.label_audit(split), to_json(table))
    return table


def read_label_audit(workspace: Workspace, split: str = "train") -> dict[str, Any] | None:
    """Return the table of a split; None if it was not made, or was made from another version of the split.

    Raises
    ------
    DataError
        If the file is not such a table.
    """
    path, data = workspace.label_audit(split), workspace.split(split)
    if not path.exists() or not data.exists():
        return None
    table = parse_json(path.read_bytes(), name=str(path))
    try:
        if table["format"] != _FORMAT:
            raise ValueError(f"its format is {table['format']!r}, not {_FORMAT}")
        for kind, fields in (("groups", _GROUP_FIELDS), ("cells", _CELL_FIELDS)):
            for row in table[kind]:
                _check_row(row, fields)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is not a table of suspected labels ({error!r}); delete it, or run `fair-distill data labels`"
        ) from None
    return table if table.get("sha256") == sha256(data) else None


def _check_row(row: Mapping[str, Any], fields: Mapping[str, str]) -> None:
    """Raise KeyError, TypeError or ValueError unless a row of the table has these fields."""
    for name, kind in fields.items():
        value = row[name]
        if kind == "share":
            numbers: list[Any] = [value[key] for key in ("count", "total", "value", "low", "high")]
        else:
            numbers = [value] if kind == "optional number" and value is not None else []
        expected = {"text": str, "bool": bool, "share": dict}.get(kind, object)
        if not isinstance(value, expected) or any(type(number) not in (int, float) for number in numbers):
            raise ValueError(f"{name} is {value!r}")


def high_groups_sentence(table: Mapping[str, Any]) -> str:
    """Return which groups have significantly more label errors than the others."""
    named = [
        f"{row['group']!r} ({percent(row['error_rate']['value'])}, interval {percent(row['error_rate']['low'])} to "
        f"{percent(row['error_rate']['high'])})"
        for row in table["groups"]
        if row["is_high"]
    ]
    if not named:
        return "no group has significantly more label errors than the others"
    return f"significantly more label errors than in the other groups: {', '.join(named)}"


def _with_shares(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row in which each share also has its value."""
    return {
        key: {**item, "value": item["count"] / item["total"]} if isinstance(item, dict) else item
        for key, item in row.items()
    }


def _suspects_csv(dataset: "GroupedDataset", audit: "LabelAudit", salt: bytes | None) -> bytes:
    from fair_distill.validation.ids import IdFormatter

    named = dataset.ids is not None
    noun = "example" if named else "pair"
    ids = dataset.ids.take(audit.rows).to_pylist() if dataset.ids is not None else dataset.pairs[audit.rows].tolist()
    formatter = IdFormatter(noun, salt)
    return to_csv(
        [noun, "given", "suggested", "group", "probability_wrong"],
        (
            [
                formatter.name(identity),
                dataset.classes[dataset.labels[row]],
                dataset.classes[suggested],
                dataset.groups[dataset.group_indices[row]],
                f"{score:.4f}",
            ]
            for identity, row, suggested, score in zip(ids, audit.rows, audit.suggested, audit.scores, strict=True)
        ),
    )
