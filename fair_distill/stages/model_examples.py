"""The examples that a model must predict: of a gate split, of separate labels, or those that it predicted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fair_distill.errors import ConfigError, IntegrityError, MeasurementError
from fair_distill.files import sha256
from fair_distill.gate.binding import GateIndex
from fair_distill.gate.judged_examples import JudgedExamples, examples_of
from fair_distill.gate.model_rows import Rows, read_labels
from fair_distill.gate.predictions import named_attributes
from fair_distill.stages.trained_on import TrainedOn
from fair_distill.stages.training_units import check_no_overlap, unit_digests
from fair_distill.storage.schemes import open_object
from fair_distill.storage.store import Absent
from fair_distill.workspace import Workspace

_MOST_BYTES = 2**30


def read_address(address: str, *, source: str) -> bytes:
    """Return the content of a path or URL of at most 1 GB. Raises MeasurementError if nothing is there."""
    store, key = open_object(address, source=source)
    try:
        return store.read(key, size_limit=_MOST_BYTES)
    except Absent:
        raise MeasurementError(f"{store.address(key)} is missing. Correct {source}, or write the file") from None


def read_examples(
    rows: Rows,
    *,
    split: Path | None,
    labels: str | None,
    groups: Sequence[str],
    classes: Sequence[str],
    version: TrainedOn | None,
    workspace: Workspace | None,
) -> JudgedExamples:
    """Return the examples with the names of the set's classes and groups, if the model was trained on a set.

    Parameters
    ----------
    rows : the predictions, which describe the examples themselves if neither `split` nor `labels` is given

    Raises
    ------
    ConfigError
        If nothing states the labels or the groups.
    IntegrityError
        If the split is a training or tuning split, or the set has other classes, groups or shapes.
    """
    for name in classes:
        if list(classes).count(name) > 1:
            raise ConfigError(f"--classes lists {name!r} twice; list each class once")
    if split is not None and labels is not None:
        raise ConfigError("--split and --labels both state the labels of the examples; pass one of them")
    if split is not None:
        if classes:
            raise ConfigError("--classes does not apply with --split, which names the classes; remove it")
        examples = _examples_of_split(split, version, workspace)
    else:
        described = rows
        if labels is not None:
            described = read_labels(read_address(labels, source="--labels"), file=labels, attributes=groups)
        for column, values in (("label", described.label), (" and ".join(groups) or "group", described.group)):
            if values is None:
                raise ConfigError(
                    f"{rows.file} has no column {column!r}; pass --split or --labels, which state the labels and "
                    "groups of the examples, or add the column"
                )
        examples = examples_of(described, classes=classes or (() if version is None else version.card.classes))
    if version is None:
        return examples
    return examples.with_names(version.card.classes, version.card.groups, source=version.name)


def _examples_of_split(path: Path, version: TrainedOn | None, workspace: Workspace | None) -> JudgedExamples:
    from fair_distill.data.split_file import read_split

    split = read_split(path)
    digest = sha256(path)
    _refuse_other_splits(path, digest, version, workspace)
    if version is not None and split.shape != version.card.shape:
        raise IntegrityError(
            f"{path} has examples of the shape {_shape(split.shape)}, and {version.name} was distilled from examples "
            f"of the shape {_shape(version.card.shape)}; pass the gate split of the same data"
        )
    if version is not None:
        check_no_overlap(version.training, unit_digests(split), set_name=version.name)
    names = tuple(map(str, range(len(split)))) if split.ids is None else tuple(split.ids.to_pylist())
    if len(set(names)) < len(names):
        raise IntegrityError(f"{path} has two examples with the same id, so predictions cannot be matched with them")
    attributes, attribute_names = named_attributes(split.groups, split.attributes, split.attribute_names)
    index = GateIndex(
        digest=digest,
        classes=split.classes,
        groups=split.groups,
        attributes=attributes,
        attribute_names=attribute_names,
        labels=np.asarray(split.labels),
        group_indices=np.asarray(split.group_indices),
        pairs=np.asarray(split.pairs),
        clusters=np.asarray(split.clusters),
    )
    return JudgedExamples(names, index, str(path))


def _refuse_other_splits(path: Path, digest: str, version: TrainedOn | None, workspace: Workspace | None) -> None:
    """Raise IntegrityError if the split is one that sets are distilled from or tuned on."""
    if version is not None and version.source == digest:
        raise IntegrityError(f"{path} is the split that {version.name} was distilled from; pass the gate split")
    for name in ("train", "tune"):
        others = [path.parent / f"{name}.arrow", *([] if workspace is None else [workspace.split(name)])]
        if any(other.exists() and sha256(other) == digest for other in others):
            raise IntegrityError(f"{path} is the {name} split, not the gate split; pass the gate split")


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
