"""Command `report`: the HTML report on a set. It computes every verdict again and trusts no stored one."""

import csv
from pathlib import Path
from typing import Any

from fair_distill.card import DatasetCard
from fair_distill.config import BEST, AnyCandidate, Config, Coreset, Custom, Imported
from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import DataError
from fair_distill.files import parse_json, require_file, write_bytes
from fair_distill.gate.network_predictions import network_predictions
from fair_distill.gate.predictions import Predictions
from fair_distill.registry.manifest import MANIFEST_FILE, PROVENANCE_FILE, SET_FILE, Manifest, read_version
from fair_distill.registry.store import open_registry
from fair_distill.report.history import read_history
from fair_distill.report.page import numbers, page
from fair_distill.report.report_data import ComparedSet, ReportData, ReportPoint, choose_gap_metric
from fair_distill.stages.costs import read_costs, version_cost_of
from fair_distill.stages.judge import compute_verdict
from fair_distill.stages.label_audit import read_label_audit
from fair_distill.stages.set_record import check_set_name, set_command
from fair_distill.stages.status import read_status
from fair_distill.workspace import Workspace

_SELECTIONS = {
    "all": "all real data",
    "resampled": "all real data, groups resampled to equal size",
    "majority": "a constant answer, the most frequent class",
    "random": "real, at random",
    "group_balanced": "real, as many of each group",
    "herding": "real, by herding",
    "k_centre": "real, by k-centre",
    "medoids": "real, the medoids of clusters",
}


def write_report(workspace: Workspace, config: Config, name: str, *, registry: str, out: Path | None = None) -> Path:
    """Write the report on a set as one HTML file and return its path.

    Parameters
    ----------
    registry : address of the registry, whose history the report shows
    out : path of the file; default artifacts/reports/<set>.html
    """
    path = out or workspace.report(name)
    write_bytes(path, page(read_report_data(workspace, config, name, registry=registry)))
    return path


def report_numbers(workspace: Workspace, config: Config, name: str, *, registry: str) -> dict[str, Any]:
    """Return the numbers in the report as plain values."""
    return numbers(read_report_data(workspace, config, name, registry=registry))


def read_report_data(workspace: Workspace, config: Config, name: str, *, registry: str) -> ReportData:
    """Read everything that the report on a set shows."""
    check_set_name(config, name)
    manifest, files = read_version(workspace.set(name), made_by=set_command(config, name))
    path = require_file(workspace.predictions(name), made_by=f"fair-distill stage evaluate {name}")
    predictions = Predictions.from_parquet(path.read_bytes(), name=str(path))
    provenance = workspace.set(name) / PROVENANCE_FILE
    # A distilled image may resemble the images that it was distilled from.
    show_images = SET_FILE in files and config.validate_.privacy != "restricted"
    return ReportData(
        dataset=config.dataset,
        name=name,
        verdict=compute_verdict(workspace, config, name),
        manifest=manifest,
        distilled=DistilledSet.from_parquet(files[SET_FILE], name=name) if show_images else None,
        provenance=_provenance(provenance) | _costs(workspace, config, manifest.version),
        policy=config.gate,
        predictions=tuple(network_predictions(predictions, network) for network in range(len(predictions.networks))),
        sets=tuple(_read_comparison(workspace, config, set_name) for set_name in config.sets),
        losses=tuple((int(row["step"]), float(row["loss"])) for row in _read_csv(workspace.losses(name))),
        points=tuple(
            ReportPoint(row["set"], row["label"], row["what"], row["group"], float(row["x"]), float(row["y"]))
            for row in _read_csv(workspace.projection)
        ),
        history=read_history(open_registry(registry), config.dataset, choose_gap_metric(config.gate)),
        registry=registry,
        channel=config.release.channels[-1],
        label_audit=read_label_audit(workspace),
    )


def _provenance(path: Path) -> dict[str, Any]:
    return parse_json(path.read_bytes(), name=str(path)) if path.exists() else {}


def _costs(workspace: Workspace, config: Config, version: str) -> dict[str, Any]:
    """Return the recorded cost of each stage that made a version, for the table of its provenance."""
    cost = version_cost_of(read_costs(workspace, config.dataset), version)
    if cost is None:
        return {}
    stages = {
        f"{stage.stage} {stage.set}".strip(): f"{stage.cpu_seconds:.1f} CPU seconds, {stage.gpu_seconds:.1f} GPU "
        f"seconds, {stage.output_bytes:,} bytes"
        for stage in cost.stages
    }
    return {"cost": stages}


def _read_comparison(workspace: Workspace, config: Config, name: str) -> ComparedSet:
    """Return what the report shows of each set next to the set that it is about."""
    manifest, status = workspace.set(name) / MANIFEST_FILE, read_status(workspace, config, name)
    card: DatasetCard | None = None
    if manifest.exists():
        card = Manifest.from_json(manifest.read_bytes(), name=str(manifest)).card
    outcome = None if status.outcome == "not evaluated" else status.outcome
    return ComparedSet(name, _describe_origin(config, name), card, status.networks, outcome, status.constant)


def _describe_origin(config: Config, name: str) -> str:
    """Return how a set was made, in a few words."""
    if name in config.references:
        return _SELECTIONS[config.references[name].select]
    if name == BEST and config.best is not None:
        return "the best of several candidates on the tune split"
    return _describe_candidate(config.candidates[name]) if name in config.candidates else "as it was published"


def _describe_candidate(candidate: AnyCandidate) -> str:
    if isinstance(candidate, Imported):
        return f"imported, made by {candidate.producer}"
    if isinstance(candidate, Custom):
        return f"made by {candidate.make.name}"
    if isinstance(candidate, Coreset):
        return _SELECTIONS[candidate.select]
    barycenter = f", {candidate.barycenter.name} barycenter" if candidate.barycenter else ""
    return f"distilled, {candidate.alignment.name.replace('_', ' ')}{barycenter}"


def _read_csv(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if any(None in row.values() or None in row for row in rows):
        raise DataError(f"{path} is not a table with a header; delete it and run `dvc repro`")
    return rows
