"""The verdict on a set: its predictions judged by a policy. A pure function of its arguments.

PASS: the bound of every clause is within its limit. FAIL: a Holm-adjusted test shows that a limit is violated.
INCONCLUSIVE: neither. INSUFFICIENT: too few seeds or examples. WAIVED: two people accepted every violated clause.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

import numpy as np

from fair_distill.card import DatasetCard
from fair_distill.config import Gate, Limit
from fair_distill.errors import ConfigError, MeasurementError
from fair_distill.files import sha256
from fair_distill.gate.binding import GateIndex, bind
from fair_distill.gate.bounds import level
from fair_distill.gate.clusters import Clusters
from fair_distill.gate.confusion import Confusion
from fair_distill.gate.constant_answers import constant_architectures, constant_sentences
from fair_distill.gate.decision import decide
from fair_distill.gate.each_network import decide_each_network
from fair_distill.gate.findings import undecided
from fair_distill.gate.metrics import CARD_METRICS, PREDICTION_METRICS, PredictionMetric
from fair_distill.gate.model_predictions import ModelEvaluation
from fair_distill.gate.network_assumptions import assumes_normal, assumption
from fair_distill.gate.network_predictions import NetworkPredictions, grouped_by, network_predictions, same_examples
from fair_distill.gate.noise_floor import Floor, noise_floor
from fair_distill.gate.outliers import outlying_networks, outlying_sentences
from fair_distill.gate.planned_data import check_planned_for
from fair_distill.gate.policy import (
    PROMOTED,
    Context,
    asks_the_card,
    attempt_for,
    check,
    check_waivers,
    plain_policy,
    policy_digest,
    read_context,
    vacuous,
    waiver_for,
)
from fair_distill.gate.predictions import Predictions
from fair_distill.gate.references import References, check_reference, matching_reference, read_reference
from fair_distill.gate.set_kind import SetKind, set_kind
from fair_distill.gate.strictness import tighten
from fair_distill.gate.verdict import Finding, Group, Numbers, OutlyingNetwork, Verdict
from fair_distill.seeds import plain_numpy_generator

__all__ = ["Verdict", "judge", "policy_digest"]


@dataclass(frozen=True, eq=False)
class Grouping:
    """The predictions of every network with the examples grouped in one way, and the noise floors of this grouping."""

    networks: tuple[NetworkPredictions, ...]
    floors: tuple[Floor, ...]

    def numbers(self) -> Numbers:
        pairs = zip(self.networks, self.floors, strict=True)
        return {predictions.network: _numbers(predictions, floor) for predictions, floor in pairs}

    def undefined(self) -> dict[str, str]:
        """Return why metrics are undefined, with the reason of the first network for which each is."""
        reasons: dict[str, str] = {}
        for table in (network.table() for network in self.networks):
            for name, metric in PREDICTION_METRICS.items():
                reason = None if name in reasons else metric.undefined(table)
                if reason:
                    reasons[name] = reason
        return reasons


def judge(
    predictions: bytes,
    policy: Gate,
    *,
    context: bytes,
    engine: int,
    manifest: bytes | None = None,
    index: GateIndex | None = None,
    references: Mapping[str, bytes] | None = None,
    reference_manifests: Mapping[str, bytes] | None = None,
    floor: Gate | None = None,
    now: date | None = None,
    model: ModelEvaluation | None = None,
) -> Verdict:
    """Judge the set that these predictions belong to, and return the verdict with its reasons.

    Rates are averaged over seeds, and each clause is decided by its worst network. A clause whose metric cannot be
    measured is never a pass: an empty cell is missing evidence, not evidence of fairness.

    Parameters
    ----------
    predictions : content of predictions.parquet
    context : content of context.json, or b"" without such a file
    manifest : content of the set's manifest.json. The predictions must name its digest; clauses on the card require it
    index : examples of the gate split, which the predictions must cover one by one
    references : content of the predictions that clauses with `over` compare with, by name, on the same split;
        under `promoted` the predictions that context.json names
    reference_manifests : content of the manifests of reference sets, by name, if available
    floor : an organisation's policy. `policy` must be at least as strict
    now : today's date, for waivers; without it no waiver counts
    model : how to read the predictions of a model of any framework, which is judged instead of a set

    Raises
    ------
    ConfigError
        If the policy or the context cannot be applied.
    IntegrityError
        If a reference belongs to another split, or is not the promoted version that context.json names; if the
        manifest belongs to another set; if the predictions contradict the gate split.
    MeasurementError
        If the predictions have no rows or contradict each other, or if the evaluation does not satisfy the exam of
        the policy or of the floor.
    """
    check(policy)
    policies: tuple[Gate, ...] = (policy,)
    if floor is not None:
        tighten(policy, floor)
        policies = (policy, floor)
    registry_context = read_context(context)
    read = Predictions.from_parquet if model is None else model.read
    table = read(predictions, name="predictions" if model is None else model.file)
    if not len(table):
        raise MeasurementError("the predictions file has no rows; evaluate the set again")
    bound = bind(
        table,
        manifest=manifest,
        index=index,
        policies=policies,
        name="the predictions",
        split_only=model is not None,
    )
    if model is None:  # a policy for sets may be applied to a model of any data
        for each in policies:
            check_planned_for(each, manifest)
    card = bound.card if model is None else model.card
    if card is None and asks_the_card(policy):
        raise ConfigError(
            f"{policy.location}.limits has a clause on the card of the set, which requires the set's manifest.json; "
            "pass the manifest"
        )
    attempt = attempt_for(registry_context, policy, set=table.set, split=table.split)
    check_waivers(registry_context, policy, set=table.set)
    contents = dict(sorted((references or {}).items()))
    manifests = reference_manifests or {}
    reference_predictions = {
        name: read_reference(name, content, table, registry_context, policies, manifests.get(name), index, model)
        for name, content in contents.items()
    }
    treatment = "given" if model is not None and model.networks == "given" else policy.networks or "normal"
    networks = [network_predictions(table, number, treatment) for number in range(len(table.networks))]
    for network in networks[1:]:
        same_examples(networks[0], network, name=network.network, seeds=False)
    groupings = {
        attributes: _grouping(networks, attributes, location=policy.location)
        for attributes in _groupings(policy, table)
    }
    for limit in policy.limits:
        if limit.metric in PREDICTION_METRICS:
            groups = groupings[limit.by or ()].networks[0].groups
            PREDICTION_METRICS[limit.metric].comparisons(limit, table.classes, groups, location=policy.location)
        check_reference(limit, reference_predictions, registry_context, policy)

    alpha = None if policy.alpha is None else policy.alpha * attempt.fraction
    outlying = _outlying(policy, groupings, reference_predictions)
    kind = set_kind(manifest)
    findings = tuple(
        _waived(
            _finding(limit, policy, groupings[limit.by or ()], reference_predictions, card, kind, alpha=alpha),
            registry_context,
            table.set,
            now,
            approvers=policy.approvers,
        )
        for limit in policy.limits
    )
    return Verdict(
        outcome=_outcome(findings),
        set=table.set,
        split=table.split,
        predictions=sha256(predictions),
        policy=policy_digest(policy),
        policy_floor=None if floor is None else policy_digest(floor),
        context=sha256(context),
        references={name: sha256(content) for name, content in contents.items()},
        engine=engine,
        mode=policy.mode,
        attempt=attempt.number,
        fraction=attempt.fraction,
        alpha=alpha,
        findings=findings,
        groups=tuple(
            _group(predictions, g, ", ".join(attributes), alpha)
            for attributes, grouping in groupings.items()
            for predictions in grouping.networks
            for g in range(len(predictions.groups))
        ),
        numbers=groupings[()].numbers(),
        marginals={
            ", ".join(attributes): grouping.numbers() for attributes, grouping in groupings.items() if attributes
        },
        undefined={
            ", ".join(attributes): reasons
            for attributes, grouping in groupings.items()
            if (reasons := grouping.undefined())
        },
        compared={
            name: {network: _values(predictions.table()) for network, predictions in by_network.items()}
            for name, by_network in reference_predictions.items()
        },
        examples=bound.examples,
        evaluation=bound.evaluation,
        gate=plain_policy(policy),
        warnings=(
            *vacuous(policy),
            *outlying_sentences(outlying, doubts=assumes_normal(policy)),
            *constant_sentences(networks, _trained(reference_predictions, manifests)),
        ),
        assumption="" if treatment == "given" else assumption(policy),
        outlying=outlying,
        constant=constant_architectures(networks),
    )


def _trained(references: References, manifests: Mapping[str, bytes]) -> References:
    """Return the references without those that are a constant answer by definition."""
    return {name: networks for name, networks in references.items() if set_kind(manifests.get(name)) != "majority"}


def _groupings(policy: Gate, table: Predictions) -> list[tuple[str, ...]]:
    """Return the attributes of each grouping: all (an empty tuple), each comparable one, and those of clauses."""
    marginals = [(name,) for name in table.marginals]
    return list(dict.fromkeys([(), *marginals, *(limit.by for limit in policy.limits if limit.by)]))


def _grouping(networks: Sequence[NetworkPredictions], attributes: tuple[str, ...], *, location: str) -> Grouping:
    if attributes:
        location = f"{location}.limits: by {', '.join(attributes)}"
        networks = [grouped_by(predictions, attributes, location=location) for predictions in networks]
    # A fixed seed: the noise floor decides nothing, and equal inputs must give equal verdicts.
    floors = [noise_floor(predictions, plain_numpy_generator(0)) for predictions in networks]
    return Grouping(tuple(networks), tuple(floors))


def _outlying(
    policy: Gate, groupings: Mapping[tuple[str, ...], Grouping], references: References
) -> tuple[OutlyingNetwork, ...]:
    """Return the networks that are far from the others, for each clause on predictions."""
    listed: list[OutlyingNetwork] = []
    for limit in policy.limits:
        if limit.metric in PREDICTION_METRICS and (limit.over is None or limit.over in references):
            networks = groupings[limit.by or ()].networks
            matching = [matching_reference(limit, predictions, references) for predictions in networks]
            listed += outlying_networks(limit, PREDICTION_METRICS[limit.metric], networks, matching)
    return tuple(listed)


def _finding(
    limit: Limit,
    policy: Gate,
    grouping: Grouping,
    references: References,
    card: DatasetCard | None,
    kind: SetKind,
    *,
    alpha: float | None,
) -> Finding:
    if limit.metric in CARD_METRICS:
        assert card is not None  # `judge` requires the manifest
        return CARD_METRICS[limit.metric].finding(limit, card, bounds=alpha is not None)
    metric = PREDICTION_METRICS[limit.metric]
    if limit.over == PROMOTED and PROMOTED not in references:
        accepted = limit.first_release == "accept"
        reason = f"nothing is promoted yet, which this clause does{'' if accepted else ' not'} accept"
        return undecided(limit, grouping.networks[0].network, reason, outcome="pass" if accepted else "fail")
    for predictions in grouping.networks:
        reason = _lack_of_evidence(limit, metric, policy, predictions)
        if reason:
            return undecided(limit, predictions.network, reason)
    matching = [matching_reference(limit, predictions, references) for predictions in grouping.networks]
    # A clause about a share of all networks applies to a given network itself.
    if limit.each_network is not None and grouping.networks[0].treatment != "given":
        return decide_each_network(limit, metric, grouping.networks, matching, alpha=alpha, kind=kind)
    evidence = [
        metric.gather(limit, predictions, reference)
        for predictions, reference in zip(grouping.networks, matching, strict=True)
    ]
    return decide(limit, metric, evidence, grouping.networks, grouping.floors, alpha=alpha, kind=kind)


def _lack_of_evidence(limit: Limit, metric: PredictionMetric, policy: Gate, predictions: NetworkPredictions) -> str:
    """Return why a clause has too little evidence to be decided, or an empty string."""
    sampled = predictions.treatment != "given"
    if sampled and policy.minimum_seeds is not None and predictions.seeds < policy.minimum_seeds:
        return (
            f"too little evidence, {predictions.network} was trained with {predictions.seeds} of the "
            f"{policy.minimum_seeds} seeds that are needed; raise params.yaml: evaluate.seeds"
        )
    comparisons = metric.comparisons(limit, predictions.classes, predictions.groups)
    empty = metric.lack_of_examples(predictions, comparisons, 1)
    if empty:
        return f"not measured, {empty}"
    few = metric.lack_of_examples(predictions, comparisons, policy.minimum_per_cell or 1)
    return f"too little evidence, {few}; collect more, or compare coarser groups" if few else ""


def _waived(finding: Finding, context: Context, version: str, now: date | None, *, approvers: Sequence[str]) -> Finding:
    """Return the finding with the waiver that covers it, or with a note about a waiver that does not count."""
    if finding.satisfied:
        return finding
    waiver, note = waiver_for(context, finding.clause, set=version, now=now, approvers=approvers)
    if waiver is not None:
        return replace(finding, waiver=waiver.sentence(), sentence=f"{finding.sentence} [{waiver.sentence()}]")
    return replace(finding, sentence=f"{finding.sentence} [{note}]") if note else finding


def _outcome(
    findings: Sequence[Finding],
) -> Literal["pass", "fail", "inconclusive", "insufficient", "waived"]:
    unmet = {finding.outcome for finding in findings if finding.waiver is None} - {"pass"}
    if "fail" in unmet:
        return "fail"
    if "insufficient" in unmet:
        return "insufficient"
    if unmet:
        return "inconclusive"
    return "waived" if any(finding.waiver for finding in findings) else "pass"


def _group(predictions: NetworkPredictions, g: int, attributes: str, alpha: float | None) -> Group:
    rows = np.flatnonzero(predictions.group_indices == g)
    clusters = Clusters.of(predictions.clusters[rows], len(rows)).independent
    right = (predictions.predicted[:, rows] == predictions.labels[rows]).astype(float)
    low = high = None
    if alpha is not None and (predictions.seeds > 1 or predictions.treatment == "given") and clusters > 1:
        rate = level(right[None], predictions.clusters[rows], treatment=predictions.treatment)
        low, high = max(float(rate.lower(alpha / 2)[0]), 0.0), min(float(rate.upper(alpha / 2)[0]), 1.0)
    accuracy = float(right.mean()) if len(rows) else None
    name = f"{attributes}: {predictions.groups[g]}" if attributes else predictions.groups[g]
    return Group(predictions.network, name, len(rows), clusters, accuracy, low, high)


def _values(table: Confusion) -> dict[str, float | None]:
    return {name: metric.measure(table).value for name, metric in PREDICTION_METRICS.items()}


def _numbers(predictions: NetworkPredictions, floor: Floor) -> dict[str, dict[str, float | None]]:
    per_seed = [_values(table) for table in predictions.tables()]
    numbers = {}
    for name, value in _values(predictions.table()).items():
        numbers[name] = {"value": value, "per_seed": _mean([values[name] for values in per_seed])}
        if PREDICTION_METRICS[name].is_gap:
            numbers[name]["noise"] = None if value is None else floor(PREDICTION_METRICS[name].value)
    return numbers


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if len(defined) == len(values) else None
