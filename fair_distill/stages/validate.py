"""Stage `validate`: check the prepared splits against the data contract and write the outcome to validation.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fair_distill.config import Config
from fair_distill.errors import DataError
from fair_distill.files import parse_json, require_file, to_json, write_bytes
from fair_distill.stages.prepare import Notice, ignore_notice, read_source_splits
from fair_distill.stages.progress import ProgressCallback, ignore_progress
from fair_distill.workspace import SPLITS, Workspace

if TYPE_CHECKING:
    from fair_distill.data.grouped_dataset import GroupedDataset


def validate_splits(
    workspace: Workspace, config: Config, environment: Mapping[str, str], *, pages: Path | None = None
) -> dict[str, Any]:
    """Check the prepared splits against the contract; write and return the outcome, whether it passes or fails.

    Parameters
    ----------
    environment : environment variables; with restricted privacy they must contain the salt for hashed ids
    pages : folder for the Data Docs as HTML pages; None writes no pages
    """
    from fair_distill.data.split_file import read_split

    splits = {name: read_split(workspace.split(name)) for name in SPLITS}
    outcome = _check_contract(config, splits, environment, root=workspace.root, pages=pages)
    write_bytes(workspace.validation, to_json(outcome))
    return outcome


def describe_data(
    workspace: Workspace,
    config: Config,
    environment: Mapping[str, str],
    *,
    progress: ProgressCallback = ignore_progress,
    notice: Notice = ignore_notice,
) -> dict[str, Any]:
    """Return the outcome that `validate_splits` would write for the source in params.yaml, without writing a file."""
    splits = read_source_splits(workspace, config, progress=progress, notice=notice)
    return _check_contract(config, splits, environment, root=workspace.root)


def _check_contract(
    config: Config,
    splits: Mapping[str, "GroupedDataset"],
    environment: Mapping[str, str],
    *,
    root: Path,
    pages: Path | None = None,
) -> dict[str, Any]:
    from fair_distill.validation.contract import build_contract, evaluate_contract
    from fair_distill.validation.data_docs import write_data_docs
    from fair_distill.validation.ids import read_salt

    rules = config.validate_
    salt = read_salt(environment) if rules.privacy == "restricted" else None
    contract = build_contract(splits, rules, root=root, salt=salt)
    outcome = evaluate_contract(contract)
    if pages is not None:
        write_data_docs([table.suite for table in contract.tables], outcome, pages, restricted=salt is not None)
    return outcome.to_dict()


def read_validation(workspace: Workspace) -> dict[str, Any]:
    """Return the outcome in validation.json.

    Raises
    ------
    DataError
        If the file is missing or malformed, or the contract has errors: then no set may be made from the data.
    """
    path = require_file(workspace.validation, made_by="fair-distill stage validate")
    outcome = parse_json(path.read_bytes(), name=str(path))
    try:
        errors = [failure["sentence"] for failure in outcome["failures"] if failure["severity"] == "error"]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is not a validation outcome ({error!r}); run `fair-distill stage validate`") from None
    if errors:
        more = f" (and {len(errors) - 1} more in {path})" if len(errors) > 1 else ""
        raise DataError(f"validation refused the data: {errors[0]}{more}")
    return outcome


def data_provenance(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a set's provenance records about its data: warnings of the contract, and a profile for drift checks.

    The provenance is published with the set. With restricted privacy it therefore has only the number of examples for
    which each check warned.
    """
    warnings = [failure for failure in outcome["failures"] if failure["severity"] == "warn"]
    if outcome.get("privacy") == "restricted":
        return {
            "data": {
                "warnings": [f"{warning['check']} in {warning['split']}: {warning['count']}" for warning in warnings]
            }
        }
    return {"data": {"warnings": [warning["sentence"] for warning in warnings], "profile": outcome.get("profile")}}


def read_published_profile(reference: str, registry: str | None) -> dict[str, Any]:
    """Return the data profile of a published version, for `validate.drift.reference`.

    Versions that were published before profiles were recorded have only the counts of their cells.

    Parameters
    ----------
    reference : dataset@channel, dataset@v3 or dataset@sha256:...
    """
    from fair_distill.registry.client import provenance

    manifest, records = provenance(reference, registry=registry)
    card = manifest.card
    profiles = [profile for record in records if (profile := (record.get("data") or {}).get("profile"))]
    cells = {
        label: dict(zip(card.groups, counts, strict=True))
        for label, counts in zip(card.classes, card.train_counts, strict=True)
    }
    return {"version": manifest.version, "profile": profiles[-1] if profiles else {"cells": cells}}
