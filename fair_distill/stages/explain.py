"""The recommendation of `gate explain`, from the files in the workspace."""

from fair_distill.config import Config
from fair_distill.gate.advice import advise
from fair_distill.gate.label_noise import critical_rate_sentences, critical_rates
from fair_distill.gate.network_predictions import NetworkPredictions, network_predictions
from fair_distill.gate.policy import fraction_after, read_context
from fair_distill.gate.predictions import Predictions
from fair_distill.gate.recommendation import needs_simulation, recommend
from fair_distill.gate.set_kind import set_kind
from fair_distill.gate.verdict import Verdict
from fair_distill.gate.worst_groups import worst_case
from fair_distill.stages.evidence import read_context_file, read_evidence
from fair_distill.workspace import Workspace


def recommendation(workspace: Workspace, config: Config, name: str, verdict: Verdict) -> list[str]:
    """Return the lines that recommend what to do about a verdict, after simulating other evaluations if needed.

    Clauses with a waiver are ignored, because the set may be promoted without them.
    """
    context = read_context(read_context_file(workspace))
    evidence = read_evidence(workspace, config, name, context=context)
    kind = set_kind(evidence.manifest)
    if not needs_simulation(verdict):
        return recommend(verdict, kind)
    waived = {finding.clause for finding in verdict.findings if finding.waiver}
    policy = config.gate.model_copy(
        update={"limits": tuple(limit for limit in config.gate.limits if limit.name not in waived)}
    )
    assert policy.alpha is not None  # `needs_simulation`
    # Other predictions of the set are another attempt.
    alpha = policy.alpha * fraction_after(context, policy, set=verdict.set)
    return recommend(verdict, kind, advise(evidence.predictions, policy, alpha=alpha, references=evidence.references))


def doubts_about_labels(workspace: Workspace, config: Config, name: str, verdict: Verdict) -> list[str]:
    """Return lines on wrong labels and unknown groups in the gate split.

    They say which label errors of each group would change a pass, and how large a gap can be depending on the groups
    of examples whose group is unknown.
    """
    evidence = read_evidence(workspace, config, name, context=read_context(read_context_file(workspace)))
    networks = list(_by_network(evidence.predictions, name).values())
    worst = worst_case(networks)
    lines = [] if worst is None else [worst.sentence()]
    if verdict.outcome != "pass":
        return lines
    references = {reference: _by_network(content, reference) for reference, content in evidence.references.items()}
    return [*lines, *critical_rate_sentences(*critical_rates(verdict, config.gate, networks, references))]


def _by_network(content: bytes, name: str) -> dict[str, NetworkPredictions]:
    table = Predictions.from_parquet(content, name=f"the predictions of {name!r}")
    return {network: network_predictions(table, number) for number, network in enumerate(table.networks)}
