"""The attempt that evaluating a set of the workspace on its gate split is; see `registry.attempts`."""

from typing import TYPE_CHECKING

import numpy as np

from fair_distill.config import Config
from fair_distill.errors import MeasurementError
from fair_distill.files import require_file, sha256, to_json
from fair_distill.gate.predictions import Predictions
from fair_distill.registry.attempts import Request, stored_examples
from fair_distill.registry.manifest import read_version
from fair_distill.registry.split_examples import SplitExamples
from fair_distill.registry.store import RegistryStore
from fair_distill.stages.set_record import check_set_name, set_command
from fair_distill.workspace import Workspace

if TYPE_CHECKING:
    from fair_distill.data.grouped_dataset import GroupedDataset


def attempt_request(
    workspace: Workspace, config: Config, name: str, *, store: RegistryStore, predictions: bytes | None = None
) -> Request:
    """Return the attempt that a set of the workspace needs on the gate split.

    Parameters
    ----------
    predictions : content of the set's predictions; None before they exist

    Raises
    ------
    MeasurementError
        If the gate split's file is missing and no earlier attempt recorded its examples.
    """
    check_set_name(config, name)
    manifest, _ = read_version(workspace.set(name), made_by=set_command(config, name))
    return Request(
        dataset=config.dataset,
        version=manifest.version,
        examples=_gate_examples(workspace, config, name, store),
        evaluation=evaluation_digest(config),
        planned=config.gate.planned_attempts,
        predictions=None if predictions is None else sha256(predictions),
    )


def evaluation_digest(config: Config) -> str:
    """Return the SHA-256 of everything in params.yaml that the predictions of a set depend on."""
    sections = config.model_dump(mode="json", include={"engine", "seed", "evaluate", "recipe"})
    return sha256(to_json(sections))


def split_examples(workspace: Workspace, config: Config) -> SplitExamples:
    """Return the digests of the examples of the gate split, as a registry keeps them."""
    from fair_distill.data.split_file import read_split

    path = workspace.split("gate")
    return examples_of_split(read_split(path), digest=sha256(path), dataset=config.dataset)


def examples_of_split(split: "GroupedDataset", *, digest: str, dataset: str) -> SplitExamples:
    """Return the digests of the examples of a prepared split, as a registry keeps them.

    Parameters
    ----------
    digest : SHA-256 of the file of the split
    dataset : the data set, in which the names of examples, clusters and pairs are unique
    """
    from fair_distill.data.example_digests import (
        cell_name_digests,
        content_digests,
        name_digests,
        normalised_name,
        plain_name_digests,
    )

    has_relatives = split.clustered is not None or len(np.unique(split.pairs)) < len(split)
    examples = SplitExamples(
        split=digest,
        cells=split.labels.astype(np.int64) * len(split.groups) + split.group_indices,
        contents=content_digests(split),
        clusters=split.clusters.astype(np.int64),
        names=name_digests(split, dataset=dataset),
        plain_names=None if split.ids is None else plain_name_digests(split.ids.to_pylist()),
        cell_names=cell_name_digests(split.labels, split.group_indices, classes=split.classes, groups=split.groups),
        # The unit of an example without relatives is its name or its content, which are kept already.
        units=split.units if has_relatives else None,
        dataset=normalised_name(dataset),
    )
    return examples.kept()


def _gate_examples(workspace: Workspace, config: Config, name: str, store: RegistryStore) -> SplitExamples:
    """Return the examples of the gate split, from its file or from an earlier attempt at the same file."""
    path = workspace.split("gate")
    if path.exists():
        return split_examples(workspace, config)
    content = require_file(workspace.predictions(name), made_by=f"fair-distill stage evaluate {name}").read_bytes()
    examples = stored_examples(store, Predictions.from_parquet(content).split)
    if examples is None:
        raise MeasurementError(
            f"{path} is missing, and no attempt in the registry recorded its examples. Run `dvc pull {path}` or "
            "`fair-distill stage prepare`"
        )
    return examples
