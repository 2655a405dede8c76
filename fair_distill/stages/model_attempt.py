"""The attempt that judging a model is: recorded before any number is printed, in the record of the whole registry."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fair_distill.config import Gate
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
    actor : who judges; None looks up the attempt and records nothing, for an audit
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
    else:
        attempt = reserve(open_to_write(record.registry), request, actor=record.actor)
    entry = attempt.entry
    return Attempt(set=entry.version, split=entry.split, number=entry.attempt, fraction=entry.fraction, left=entry.left)


def _digests(examples: JudgedExamples, dataset: str, split: Path | None) -> SplitExamples:
    """Return the digests of the examples, as a registry keeps them."""
    from fair_distill.data.example_digests import content_digests, digests_of_names
    from fair_distill.data.split_file import read_split

    index = examples.index
    names = digests_of_names(examples.names, dataset=dataset)
    stored = None if split is None else read_split(split)
    return SplitExamples(
        split=index.digest,
        cells=index.labels.astype(np.int64) * len(index.groups) + index.group_indices,
        contents=names if stored is None else content_digests(stored),
        clusters=index.clusters.astype(np.int64),
        names=None if stored is not None and stored.ids is None else names,
    ).kept()
