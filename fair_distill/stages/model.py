"""Judge a model of any framework by a policy: one that was trained on a published set, or on anything else.

The verdict is about the model, so it never allows the promotion of a set: it has the SHA-256 of the predictions where
the verdict on a set has the version of the set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from fair_distill.config import Gate, load_gate
from fair_distill.errors import ConfigError, MeasurementError
from fair_distill.files import sha256, to_json
from fair_distill.gate.confusion import Confusion
from fair_distill.gate.judge import judge
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.model_predictions import ModelEvaluation, Networks, networks_of
from fair_distill.gate.model_rows import Rows, read_predictions
from fair_distill.gate.policy import PROMOTED, Context, Promoted, read_context
from fair_distill.gate.verdict import Finding, Verdict
from fair_distill.stages.model_attempt import AttemptRecord, model_attempt
from fair_distill.stages.model_attestation import require_attested_models
from fair_distill.stages.model_examples import read_address, read_examples
from fair_distill.stages.policy import load_policy_floor
from fair_distill.stages.trained_on import TrainedOn, look_up_trained_on
from fair_distill.workspace import Workspace


def judge_model(
    predictions: str | Path,
    policy: Gate | str | Path,
    *,
    name: str = "model",
    split: str | Path | None = None,
    labels: str | None = None,
    groups: Sequence[str] = (),
    classes: Sequence[str] = (),
    trained_on: str | None = None,
    registry: str | None = None,
    given: bool = False,
    references: Mapping[str, str] | None = None,
    first_release: bool = False,
    context: str | Path | None = None,
    policy_floor: str | None = None,
    attestations: Sequence[str | Path] = (),
    now: date | None = None,
    workspace: str | Path | None = None,
    record: AttemptRecord | None = None,
) -> Verdict:
    """Judge the predictions of a model of any framework, and return the verdict.

    docs/judging-models.md describes the columns of the files. The exam of a policy requires networks, seeds and a
    recipe of sets, so it does not apply to a model, and the verdict says so. A gate split that it requires applies.

    Parameters
    ----------
    predictions : a path or URL of a Parquet file with a row for each example and network
    policy : a file with a policy, or a policy
    name : the name of the model in the verdict
    split : the file of the gate split, which then states the examples, classes and groups
    labels : a path or URL of a Parquet file with the labels and groups, if the predictions do not have them
    groups : the columns whose combinations are the groups; by default the column `group`
    classes : all classes, if some of them have no example
    trained_on : the published version that the model was trained on, as in faces@v3. Its classes and groups are used
    registry : the registry of this version; else FAIR_DISTILL_REGISTRY, else the folder `registry`
    given : judge every network by itself, instead of the mean over several seeds
    references : the predictions of other models, by the name that clauses with `over` use
    first_release : declare that no model is in use yet, for clauses over `promoted`
    context : a context.json with waivers, which name the SHA-256 of the predictions as their set
    policy_floor : the policy of an organisation; else FAIR_DISTILL_POLICY_FLOOR
    attestations : signed statements on the predictions, which a policy with evaluators requires
    now : the day on which waivers must be valid; by default today
    workspace : a workspace, whose train and tune splits are refused
    record : where the attempt is recorded; without it, the verdict is that of a first attempt

    Raises
    ------
    ConfigError
        If an option is missing or contradicts another one.
    MeasurementError
        If a file is missing or has wrong columns or values.
    IntegrityError
        If the predictions contradict the split, the labels or the set.
    Undecided
        If the policy accepts attested predictions only, or earlier attempts have used up alpha.
    """
    policy = policy if isinstance(policy, Gate) else load_gate(Path(policy))
    floor = load_policy_floor(policy_floor)
    today = now or datetime.now(UTC).date()
    file = str(predictions)
    content = read_address(file, source="the path of the predictions")
    rows = read_predictions(content, file=file, attributes=groups)
    _check_probabilities(rows, policy)
    version = None if trained_on is None else look_up_trained_on(trained_on, registry=registry, today=today)
    examples = read_examples(
        rows,
        split=None if split is None else Path(split),
        labels=labels,
        groups=groups,
        classes=classes,
        version=version,
        workspace=None if workspace is None else Workspace(Path(workspace)),
    )
    networks = networks_of(rows, given=given)
    compared = {
        reference: read_address(address, source=f"--reference {reference}")
        for reference, address in (references or {}).items()
    }
    signed = {str(path): read_address(str(path), source="--attestation") for path in attestations}
    require_attested_models((policy, floor), {file: content, **compared}, signed)
    evaluation = ModelEvaluation(
        file=file,
        examples=examples,
        networks=networks,
        attributes=tuple(groups),
        card=None if version is None else version.card,
    )

    def judged(judged_context: Context) -> Verdict:
        return judge(
            content,
            policy,
            context=to_json(judged_context.model_dump(mode="json", exclude_none=True)),
            engine=0 if version is None else version.engine,
            index=examples.index,
            references=compared,
            floor=floor,
            now=today,
            model=evaluation,
        )

    judged_context = _context(context, policy, compared, first_release=first_release)
    # Files with an error must not use up an attempt, so they are judged once before it is recorded.
    verdict = judged(judged_context)
    if record is not None:
        attempt = model_attempt(record, content, examples, policy, split=None if split is None else Path(split))
        verdict = judged(judged_context.model_copy(update={"attempt": attempt}))
    notes = [_subject(verdict, networks)]
    if any(rules is not None and rules.required_exam is not None for rules in (policy, floor)):
        notes.append(
            "the policy's exam requires networks, seeds and a recipe of sets; it was not applied to this model"
        )
    if split is None:
        notes.append(
            "whether the model was trained on these examples is not checked without the file of the gate split"
        )
    notes.append(_attempt_note(record))
    if record is not None and split is None:
        notes.append(
            "attempts at these examples can be recognised only with --split or stable names of examples; attempts at "
            "a split without names count only if each class and group has as many examples as here"
        )
    if version is not None and version.splits and verdict.split not in version.splits:
        notes.append(f"{version.name} itself was promoted on other examples, the gate split {version.splits[-1][:12]}…")
    if first_release and any(limit.over == PROMOTED for limit in policy.limits):
        notes.append("declared as a first release, so nothing was compared with a model in use")
    about = {
        "name": name,
        "networks": networks,
        "labels": "predictions" if split is None and labels is None else "labels" if split is None else "split",
        "trained_on": None if version is None else {"name": version.name, "version": version.version},
        "notes": [*notes, *(() if version is None else version.notes)],
    }
    verdict = replace(verdict, model=about)
    return _refused(verdict, version) if version is not None and version.revoked else verdict


def _subject(verdict: Verdict, networks: Networks) -> str:
    """Return what the verdict is about."""
    evaluation = verdict.evaluation or {}
    count = len(evaluation["networks"])
    if networks == "sampled":
        return (
            f"the verdict is about all networks that this training can give; {evaluation['seeds']} of them were trained"
        )
    if count == 1:
        return "the verdict is about this one model, so its bounds cover the choice of examples only"
    return f"the verdict is about each of these {count} models; the worst one decides"


def _attempt_note(record: AttemptRecord | None) -> str:
    if record is None:
        return "attempt not recorded; the confidence holds for the first use of these examples only"
    if record.actor is None:
        return "an audit: these predictions were judged before, and nothing was recorded"
    return f"the attempt is recorded for the data set {record.dataset}"


def _check_probabilities(rows: Rows, policy: Gate) -> None:
    """Raise ConfigError if a clause uses probabilities and the predictions do not have them."""
    if rows.probability is not None:
        return
    counts = Confusion(np.ones((2, 2, 2)), ("a", "b"), ("a", "b"), None)
    for limit in policy.limits:
        metric = PREDICTION_METRICS.get(limit.metric)
        if metric is not None and metric.undefined(counts):
            raise ConfigError(
                f"{policy.location}.limits: {limit.name} needs the column 'probability' in {rows.file}: the "
                "probability of the predicted class. Add it, or remove the clause"
            )


def _context(path: str | Path | None, policy: Gate, references: Mapping[str, bytes], *, first_release: bool) -> Context:
    """Return the context, with the predictions of the model that is in use, if they are given."""
    content = b""
    if path is not None:
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise MeasurementError(f"--context: {path} cannot be read ({error.strerror}). Correct the path") from None
    context = read_context(content)
    if context.promoted is not None or context.attempt is not None:
        raise ConfigError(f"--context: {path} names a promoted set or an attempt; for a model it may have waivers only")
    if PROMOTED in references:
        digest = sha256(references[PROMOTED])
        return context.model_copy(update={"promoted": Promoted(version=digest, predictions=digest)})
    compared = [limit.name for limit in policy.limits if limit.over == PROMOTED]
    if compared and not first_release:
        raise ConfigError(
            f"{policy.location}.limits: {compared[0]} compares with the model in use; pass its predictions with "
            "--reference promoted=FILE, or --first-release if no model is in use"
        )
    return context


def _refused(verdict: Verdict, version: TrainedOn) -> Verdict:
    """Return the verdict on a model whose set was revoked: it fails for all predictions."""
    finding = Finding(
        clause="not revoked",
        metric="not_revoked",
        network="the set",
        outcome="fail",
        value=None,
        per_seed=None,
        noise=None,
        bound=None,
        limit=0.0,
        waiver=None,
        sentence=f"not revoked: the model was trained on a set that consumers must not use; {version.revoked}",
        culprits=(),
    )
    return replace(verdict, outcome="fail", findings=(finding, *verdict.findings))
