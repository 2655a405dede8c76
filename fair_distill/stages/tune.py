"""Stage `tune`: evaluate a set on the tune split, and judge it there to choose between candidates.

Nothing here uses the gate split. The networks predict the tune split instead, in a separate folder.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fair_distill.config import Config, Gate
from fair_distill.files import to_json, write_bytes
from fair_distill.gate.choice import TuneResult, shrinkage
from fair_distill.gate.metrics import ACCURACY
from fair_distill.registry.manifest import MANIFEST_FILE, read_version
from fair_distill.report.report_data import Metrics
from fair_distill.stages.evaluate import evaluate_set
from fair_distill.stages.judge import compute_verdict
from fair_distill.stages.policy import without_promoted
from fair_distill.stages.set_record import set_command
from fair_distill.workspace import Workspace


@dataclass(frozen=True)
class TuneEvaluation:
    """Predictions of the tune split by networks that were trained on a set, their metrics, and the set's manifest."""

    predictions: bytes
    metrics: Metrics
    manifest: bytes


def tune_set(workspace: Workspace, config: Config, name: str, *, device: str = "cpu") -> None:
    """Evaluate a set on the tune split; write the predictions and their metrics."""
    with tempfile.TemporaryDirectory(prefix="fair-distill-") as folder:
        evaluation = evaluate_on_tune(workspace, config, name, scratch=Path(folder), device=device)
    write_bytes(workspace.tuned(name), evaluation.predictions)
    write_bytes(workspace.tuned_metrics(name), to_json(evaluation.metrics))


def evaluate_on_tune(workspace: Workspace, config: Config, name: str, *, scratch: Path, device: str) -> TuneEvaluation:
    """Train networks on a set and predict the tune split with them.

    Parameters
    ----------
    scratch : an empty folder
    """
    tuning = Workspace(scratch)
    for split, role in (("train", "train"), ("tune", "gate")):
        _link(tuning.split(role), workspace.split(split))
    _link(tuning.set(name), workspace.set(name))
    metrics = evaluate_set(tuning, _with_set(config, name), name, device=device)
    manifest = (tuning.set(name) / MANIFEST_FILE).read_bytes()
    return TuneEvaluation(tuning.predictions(name).read_bytes(), metrics, manifest)


def judge_on_tune(
    workspace: Workspace, config: Config, name: str, evaluations: Mapping[str, TuneEvaluation], *, scratch: Path
) -> TuneResult:
    """Compare the evaluation of a candidate on the tune split with the policy.

    Parameters
    ----------
    evaluations : by set, of the candidate and of the references that the policy compares with
    scratch : an empty folder
    """
    tuning = Workspace(scratch)
    write_bytes(tuning.context, b"{}\n")
    _link(tuning.split("gate"), workspace.split("tune"))
    for set_name, evaluation in evaluations.items():
        write_bytes(tuning.predictions(set_name), evaluation.predictions)
        if set_name != name:
            write_bytes(tuning.set(set_name) / MANIFEST_FILE, evaluation.manifest)
    _link(tuning.set(name), workspace.set(name))
    policy = _tune_policy(config)
    verdict = compute_verdict(tuning, _with_set(config, name).model_copy(update={"gate": policy}), name)
    manifest, _ = read_version(tuning.set(name), made_by=set_command(config, name))
    accuracy = min(values[ACCURACY.name] for values in evaluations[name].metrics.values())
    return TuneResult(name, manifest.card.examples, verdict, accuracy)


def _with_set(config: Config, name: str) -> Config:
    """Return the configuration with a set among those that are evaluated: one that never meets the gate split."""
    return config if name in config.sets else config.model_copy(update={"sets": [*config.sets, name]})


def _tune_policy(config: Config) -> Gate:
    """Return the policy for the tune split, which is small: too few examples to establish a limit can still rank."""
    policy = without_promoted(config.gate)
    if policy.exam is not None:  # the exam describes the gate split
        policy = policy.model_copy(update={"exam": policy.exam.model_copy(update={"split": None})})
    if policy.mode == "bounds":
        policy = policy.model_copy(update={"minimum_per_cell": 2})
    return policy


def bound_shrinkage(workspace: Workspace) -> float:
    """Return the factor by which bounds shrink from the tune split to the gate split, from the sizes of both."""
    from fair_distill.data.split_file import read_split

    return shrinkage(len(read_split(workspace.split("tune"))), len(read_split(workspace.split("gate"))))


def _link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target.absolute())
