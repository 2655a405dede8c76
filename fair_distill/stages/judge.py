"""Stage `judge`: compare a set's predictions with the policy and write the verdict. Imports no torch."""

from datetime import date

from fair_distill.config import Config, Gate
from fair_distill.files import write_bytes
from fair_distill.gate.judge import judge
from fair_distill.gate.policy import check, read_context
from fair_distill.gate.strictness import tighten
from fair_distill.gate.verdict import Verdict
from fair_distill.stages.attest import require_attested
from fair_distill.stages.evidence import read_context_file, read_evidence
from fair_distill.workspace import Workspace


def judge_set(
    workspace: Workspace, config: Config, name: str, *, floor: Gate | None = None, now: date | None = None
) -> Verdict:
    """Compute the verdict on a set, write it and return it, whether it passes or fails."""
    verdict = compute_verdict(workspace, config, name, floor=floor, now=now)
    write_bytes(workspace.verdict(name), verdict.to_json())
    return verdict


def compute_verdict(
    workspace: Workspace,
    config: Config,
    name: str,
    *,
    floor: Gate | None = None,
    now: date | None = None,
    context: bytes | None = None,
    promoted: bytes | None = None,
    attested: bool = False,
) -> Verdict:
    """Compute the verdict on a set without writing it.

    `enforce` and promotion use this instead of the verdict on disk, which anybody may have edited.

    Parameters
    ----------
    floor : the organisation's policy, which the policy in params.yaml may only tighten
    now : the day on which waivers must be valid. Without a date, as in the DVC graph, no waiver counts
    context : content to use instead of the file context.json
    promoted : predictions of the promoted version, to use instead of the file promoted.parquet
    attested : whether predictions count only with a statement signed by one of the policy's evaluators

    Raises
    ------
    IntegrityError
        If files belong to another set or split, or contradict each other.
    MeasurementError
        If a file is missing, or older than the files that it was made from.
    Undecided
        If predictions must be attested and are not.
    """
    check(config.gate)
    if floor is not None:
        tighten(config.gate, floor)
    context = read_context_file(workspace) if context is None else context
    evidence = read_evidence(workspace, config, name, context=read_context(context), promoted=promoted)
    if attested:
        predictions = {name: evidence.predictions, **evidence.references}
        require_attested(workspace, config, predictions, keys=config.gate.evaluators)
    return judge(
        evidence.predictions,
        config.gate,
        context=context,
        engine=config.engine,
        manifest=evidence.manifest,
        index=evidence.index,
        references=evidence.references,
        reference_manifests=evidence.reference_manifests,
        floor=floor,
        now=now,
    )
