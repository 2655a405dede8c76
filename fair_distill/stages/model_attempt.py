"""The attempt that judging a model is: recorded before any number is printed, in the record of the whole registry."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fair_distill.config import Gate
from fair_distill.errors import ConfigError
from fair_distill.files import sha256, to_json
from fair_distill.gate.judged_examples import JudgedExamples
from fair_distill.gate.policy import Attempt
from fair_distill.registry.actor import Actor
from fair_distill.registry.attempts import Request, look_up, reserve
from fair_distill.registry.entry import check_name
from fair_distill.registry.split_examples import SplitExamples
from fair_distill.registry.store import open_registry
from fair_distill.registry.writer import open_to_write


@dataclass(frozen=True)
class AttemptRecord:
    """Where attempts are recorded.

    Attributes
    ----------
    registry : the registry whose record of attempts counts
    dataset : the data set of the examples, in which their names are unique
    actor : who judges; None for an audit, which judges recorded predictions only and records nothing
    """

    registry: str
    dataset: str
    actor: Actor | None


def model_attempt(
    record: AttemptRecord, content: bytes, examples: JudgedExamples, policy: Gate, *, split: Path | None
) -> Attempt:
    """Return the attempt of a model at its examples, after recording it.

    Predictions that were recorded before keep their attempt. Other predictions, of this or of another model, are
    another attempt.

    Parameters
    ----------
    content : the file of the predictions, whose SHA-256 names the model
    split : the file of the gate split. Its examples are recognised by their content and id; without it, by their names

    Raises
    ------
    ConfigError
        If an audit is about predictions that are not in the record of attempts.
    Undecided
        If earlier attempts have used up alpha.
    """
    digest = sha256(content)
    request = Request(
        dataset=check_name(record.dataset),
        version=digest,
        examples=_digests(examples, record.dataset, split),
        evaluation=sha256(to_json({"model": digest})),
        planned=policy.planned_attempts,
        predictions=digest,
    )
    if record.actor is None:
        attempt = look_up(open_registry(record.registry), request)
        if not attempt.recorded:
            # Its numbers would be a use of the examples that costs nothing.
            raise ConfigError(
                f"--audit judges predictions that are in the record of attempts; {record.registry} has no attempt of "
                f"{digest[:12]}… at these examples. Remove --audit, which records the attempt"
            )
    else:
        attempt = reserve(open_to_write(record.registry), request, actor=record.actor)
    entry = attempt.entry
    return Attempt(set=entry.version, split=entry.split, number=entry.attempt, fraction=entry.fraction, left=entry.left)


def _digests(examples: JudgedExamples, dataset: str, split: Path | None) -> SplitExamples:
    """Return the digests of the examples, as a registry keeps them."""
    from fair_distill.data.example_digests import (
        cell_name_digests,
        digests_of_names,
        name_unit_digests,
        normalised_name,
        plain_name_digests,
    )
    from fair_distill.data.split_file import read_split
    from fair_distill.stages.attempts import examples_of_split

    index = examples.index
    if split is not None:
        return examples_of_split(read_split(split), digest=index.digest, dataset=dataset)
    # Without contents, examples are recognised by their names.
    names = digests_of_names(examples.names, dataset=dataset)
    return SplitExamples(
        split=index.digest,
        cells=index.labels.astype(np.int64) * len(index.groups) + index.group_indices,
        contents=names,
        clusters=index.clusters.astype(np.int64),
        names=names,
        plain_names=plain_name_digests(examples.names),
        cell_names=cell_name_digests(index.labels, index.group_indices, classes=index.classes, groups=index.groups),
        units=None if not examples.units else name_unit_digests(*examples.units),
        dataset=normalised_name(dataset),
    ).kept()
