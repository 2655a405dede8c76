"""The page for people. Read only: it judges again and trusts no stored verdict on the set that it is about."""

import csv
from pathlib import Path
from typing import Any

from fair_distill.card import DatasetCard
from fair_distill.config import Config
from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import DataError
from fair_distill.files import parse_json, require_file, write_bytes
from fair_distill.gate.network_predictions import answers
from fair_distill.gate.predictions import Predictions
from fair_distill.registry.manifest import MANIFEST_FILE, PROVENANCE_FILE, SET_FILE, Manifest, read_version
from fair_distill.registry.store import open_registry
from fair_distill.report.history import read_history
from fair_distill.report.page import numbers, page
from fair_distill.report.report_data import Compared, Material, Point, gated
from fair_distill.stages.judge import verdict_of
from fair_distill.stages.set_record import known, made_by
from fair_distill.stages.status import status_of
from fair_distill.workspace import Workspace


def report(workspace: Workspace, config: Config, name: str, *, registry: str, out: Path | None = None) -> Path:
    """Write the report on a set as one HTML file and return where it lies.

    Parameters
    ----------
    registry : its history is told, where there is any
    out : default artifacts/reports/<set>.html
    """
    place = out or workspace.report(name)
    write_bytes(place, page(material(workspace, config, name, registry=registry)))
    return place


def report_numbers(workspace: Workspace, config: Config, name: str, *, registry: str) -> dict[str, Any]:
    """Return what the page is drawn from, as plain values."""
    return numbers(material(workspace, config, name, registry=registry))


def material(workspace: Workspace, config: Config, name: str, *, registry: str) -> Material:
    """Read all that a report tells of a set."""
    known(config, name)
    manifest, files = read_version(workspace.set(name), made_by=made_by(config, name))
    told = require_file(workspace.predictions(name), made_by=f"fair-distill evaluate {name}")
    predictions = Predictions.from_parquet(told.read_bytes(), name=str(told))
    provenance = workspace.set(name) / PROVENANCE_FILE
    # What is distilled may resemble what it was distilled from.
    shown = SET_FILE in files and config.validate_.privacy != "restricted"
    return Material(
        dataset=config.dataset,
        name=name,
        verdict=verdict_of(workspace, config, name),
        manifest=manifest,
        distilled=DistilledSet.from_parquet(files[SET_FILE], name=name) if shown else None,
        provenance=parse_json(provenance.read_bytes(), name=str(provenance)) if provenance.exists() else {},
        policy=config.gate,
        answers=tuple(answers(predictions, network) for network in range(len(predictions.networks))),
        sets=tuple(_compared(workspace, config, one) for one in config.sets),
        losses=tuple((int(row["step"]), float(row["loss"])) for row in _rows(workspace.losses(name))),
        points=tuple(
            Point(row["set"], row["label"], row["what"], row["group"], float(row["x"]), float(row["y"]))
            for row in _rows(workspace.projection)
        ),
        history=read_history(open_registry(registry), config.dataset, gated(config.gate)),
        where=registry,
        channel=config.release.channels[-1],
    )


def _compared(workspace: Workspace, config: Config, name: str) -> Compared:
    manifest, status = workspace.set(name) / MANIFEST_FILE, status_of(workspace, config, name)
    card: DatasetCard | None = None
    if manifest.exists():
        card = Manifest.from_json(manifest.read_bytes(), name=str(manifest)).card
    return Compared(
        name,
        _how(config, name),
        card,
        status.networks,
        None if status.outcome == "not evaluated" else status.outcome,
    )


def _how(config: Config, name: str) -> str:
    if name in config.references:
        return {
            "all": "all real data",
            "random": "real, at random",
            "group_balanced": "real, as many of each group",
            "herding": "real, by herding",
            "k_centre": "real, by k-centre",
        }[config.references[name].select]
    if name not in config.candidates:
        return "as it was published"
    candidate = config.candidates[name]
    center = f", {candidate.barycenter.name} barycenter" if candidate.barycenter else ""
    return f"distilled, {candidate.alignment.name.replace('_', ' ')}{center}"


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if any(None in row.values() or None in row for row in rows):
        raise DataError(f"{path} is no table with a header; delete it and run `dvc repro`")
    return rows
