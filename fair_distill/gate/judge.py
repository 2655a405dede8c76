"""The verdict: predictions against a policy. A pure function; the numbers and the reasons go where it goes.

PASS: every clause's bound is within its limit. FAIL: a Holm-adjusted test shows that some limit is broken.
INCONCLUSIVE: neither. INSUFFICIENT: there is too little to look at. WAIVED: what was not met was waived by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

import numpy as np

from fair_distill.card import DatasetCard
from fair_distill.config import Gate, Limit
from fair_distill.errors import ConfigError, IntegrityError, MeasurementError
from fair_distill.files import sha256
from fair_distill.gate.binding import GateIndex, bind
from fair_distill.gate.bounds import level
from fair_distill.gate.confusion import Confusion
from fair_distill.gate.decision import decide
from fair_distill.gate.findings import undecided
from fair_distill.gate.metrics import CARD_METRICS, PREDICTION_METRICS, PredictionMetric
from fair_distill.gate.network_predictions import NetworkPredictions, grouped_by, network_predictions, same_examples
from fair_distill.gate.noise_floor import Floor, noise_floor
from fair_distill.gate.policy import (
    PROMOTED,
    Context,
    alpha_at,
    asks_the_card,
    attempt_for,
    check,
    check_waivers,
    plain_policy,
    policy_digest,
    read_context,
    tighten,
    vacuous,
    waiver_for,
)
from fair_distill.gate.predictions import Predictions
from fair_distill.gate.verdict import Finding, Group, Numbers, Verdict
from fair_distill.seeds import plain_numpy_generator

__all__ = ["Verdict", "judge", "policy_digest"]

References = Mapping[str, Mapping[str, NetworkPredictions]]


@dataclass(frozen=True, eq=False)
class Seen:
    """Every network's answers, with groups of some grain and the noise floors of that grain."""

    own: tuple[NetworkPredictions, ...]
    noise: tuple[Floor, ...]

    def numbers(self) -> Numbers:
        return {one.network: _numbers(one, floor) for one, floor in zip(self.own, self.noise, strict=True)}

    def undefined(self) -> dict[str, str]:
        """Why a metric has no number; which examples were asked is the same for every network."""
        table = self.own[0].table()
        reasons = {name: metric.undefined(table) for name, metric in PREDICTION_METRICS.items()}
        return {name: reason for name, reason in reasons.items() if reason}


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
) -> Verdict:
    """Say whether the set that gave these predictions stays within the policy, and if not, why.

    Rates are averaged over seeds, per network; each clause is held against its worst network. A metric that
    could not be measured is a refusal: an empty cell is missing evidence, not evidence of fairness.

    Parameters
    ----------
    predictions : the bytes of predictions.parquet
    context : the bytes of context.json, or b"" where there is none
    manifest : the bytes of the set's manifest.json, which the predictions must name and clauses on the set itself need
    index : the examples of the gate split, which the predictions must name and answer one by one
    references : the bytes of the predictions that clauses with `over` compare to, by name, on the same split;
        under `promoted` those that context.json names
    reference_manifests : the manifests of references' sets, by name, where they are at hand
    floor : an organisation's policy, which `policy` may tighten and not loosen
    now : the day, for waivers; on no day no waiver counts

    Raises
    ------
    ConfigError
        If the policy or the context cannot be applied as it stands.
    IntegrityError
        If a reference is of another split, or not the one that was promoted; if the manifest is of another set; if
        the predictions contradict the gate split.
    MeasurementError
        If there is nothing to judge, what is there contradicts itself, or the evaluation falls short of the exam that
        the policy or the floor requires.
    """
    check(policy)
    policies: tuple[Gate, ...] = (policy,)
    if floor is not None:
        tighten(policy, floor)
        policies = (policy, floor)
    known = read_context(context)
    table = Predictions.from_parquet(predictions)
    if not len(table):
        raise MeasurementError("there are no predictions to judge")
    bound = bind(table, manifest=manifest, index=index, policies=policies, name="the predictions")
    if bound.card is None and asks_the_card(policy):
        raise ConfigError(f"{policy.where}.limits has a clause on the set itself, and the set's manifest was not given")
    attempt = attempt_for(known, set=table.set, split=table.split)
    check_waivers(known, policy, set=table.set)
    given = dict(sorted((references or {}).items()))
    others = {
        name: _reference(name, content, table, known, policies, (reference_manifests or {}).get(name), index)
        for name, content in given.items()
    }
    own = [network_predictions(table, network) for network in range(len(table.networks))]
    for one in own[1:]:
        same_examples(own[0], one, name=one.network, seeds=False)
    seen = {by: _seen(own, by, where=policy.where) for by in _groupings(policy, table)}
    for limit in policy.limits:
        if limit.metric in PREDICTION_METRICS:
            names = table.classes, seen[limit.by or ()].own[0].groups
            PREDICTION_METRICS[limit.metric].comparisons(limit, *names, where=policy.where)
        _referred(limit, others, known, policy)

    alpha = None if policy.alpha is None else alpha_at(policy.alpha, attempt)
    findings = tuple(
        _waived(
            _finding(limit, policy, seen[limit.by or ()], others, bound.card, alpha=alpha),
            known,
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
        references={name: sha256(content) for name, content in given.items()},
        engine=engine,
        mode=policy.mode,
        attempt=attempt,
        alpha=alpha,
        findings=findings,
        groups=tuple(
            _group(one, g, ", ".join(by), alpha)
            for by, of in seen.items()
            for one in of.own
            for g in range(len(one.groups))
        ),
        numbers=seen[()].numbers(),
        marginals={", ".join(by): of.numbers() for by, of in seen.items() if by},
        undefined={", ".join(by): found for by, of in seen.items() if (found := of.undefined())},
        compared={
            name: {network: _values(one.table()) for network, one in networks.items()}
            for name, networks in others.items()
        },
        examples=bound.examples,
        evaluation=bound.evaluation,
        gate=plain_policy(policy),
        warnings=vacuous(policy),
    )


def _groupings(policy: Gate, table: Predictions) -> list[tuple[str, ...]]:
    """The groups themselves, those of each single attribute that can be compared, and those that clauses ask for."""
    marginals = [(name,) for name in table.marginals]
    return list(dict.fromkeys([(), *marginals, *(limit.by for limit in policy.limits if limit.by)]))


def _seen(own: Sequence[NetworkPredictions], by: tuple[str, ...], *, where: str) -> Seen:
    if by:
        own = [grouped_by(one, by, where=f"{where}.limits: by {', '.join(by)}") for one in own]
    # The same draws whoever judges: they decide nothing, and a verdict is a function of its inputs.
    return Seen(tuple(own), tuple(noise_floor(one, plain_numpy_generator(0)) for one in own))


def _reference(
    name: str,
    content: bytes,
    table: Predictions,
    known: Context,
    policies: tuple[Gate, ...],
    manifest: bytes | None,
    index: GateIndex | None,
) -> dict[str, NetworkPredictions]:
    what = f"predictions of {name!r}"
    other = Predictions.from_parquet(content, name=what)
    if not len(other):
        raise MeasurementError(f"{what} have no rows; evaluate it again")
    # Predictions of an earlier release may lack attributes; context.json names the promoted version's by digest.
    promoted = name == PROMOTED
    bind(other, manifest=manifest, index=None if promoted else index, policies=() if promoted else policies, name=what)
    if other.split != table.split:
        raise IntegrityError(
            f"{name!r} was evaluated on the split {other.split[:12]}…, the set on {table.split[:12]}…; "
            "evaluate both on one"
        )
    if name == PROMOTED:
        if known.promoted is None:
            raise IntegrityError("predictions of a promoted version were given; context.json names none")
        if sha256(content) != known.promoted.predictions or other.set != known.promoted.version:
            raise IntegrityError(
                f"the predictions given as the promoted version's are {sha256(content)[:12]}… of {other.set[:12]}…; "
                f"context.json names {known.promoted.predictions[:12]}… of {known.promoted.version[:12]}…"
            )
    for network in set(table.networks) & set(other.networks):
        if table.options.get(network) != other.options.get(network):
            raise MeasurementError(
                f"{name!r} was evaluated with {network} of the options {other.options.get(network)}, the set with "
                f"{table.options.get(network)}; evaluate both with the same networks"
            )
    return {network: network_predictions(other, i) for i, network in enumerate(other.networks)}


def _referred(limit: Limit, others: References, known: Context, policy: Gate) -> None:
    first = limit.over == PROMOTED and known.promoted is None
    if limit.over and limit.over not in others and not first:
        raise ConfigError(
            f"{policy.where}.limits: {limit.name}: the predictions of {limit.over!r} were not given; "
            "it is a reference that was evaluated on this split, or `promoted`"
        )


def _finding(
    limit: Limit,
    policy: Gate,
    seen: Seen,
    others: References,
    card: DatasetCard | None,
    *,
    alpha: float | None,
) -> Finding:
    if limit.metric in CARD_METRICS:
        assert card is not None
        return CARD_METRICS[limit.metric].finding(limit, card, bounds=alpha is not None)
    metric = PREDICTION_METRICS[limit.metric]
    if limit.over == PROMOTED and PROMOTED not in others:
        accepted = limit.first_release == "accept"
        reason = f"nothing is promoted yet, which this clause does{'' if accepted else ' not'} accept"
        return undecided(limit, seen.own[0].network, reason, outcome="pass" if accepted else "fail")
    for one in seen.own:
        reason = _lack(limit, metric, policy, one)
        if reason:
            return undecided(limit, one.network, reason)
    evidence = [metric.gather(limit, one, _other(limit, one, others)) for one in seen.own]
    return decide(limit, metric, evidence, seen.own, seen.noise, alpha=alpha)


def _other(limit: Limit, own: NetworkPredictions, others: References) -> NetworkPredictions | None:
    if limit.over is None:
        return None
    networks = others[limit.over]
    if own.network not in networks:
        raise MeasurementError(f"{limit.over!r} was not evaluated with the network {own.network}; evaluate it again")
    other = networks[own.network]
    if limit.by:
        other = grouped_by(other, limit.by, where=f"the predictions of {limit.over!r}")
    same_examples(own, other, name=limit.over)
    return other


def _lack(limit: Limit, metric: PredictionMetric, policy: Gate, own: NetworkPredictions) -> str:
    if policy.minimum_seeds is not None and own.seeds < policy.minimum_seeds:
        return (
            f"too little evidence, {own.network} was trained with {own.seeds} of the {policy.minimum_seeds} seeds "
            "that are needed; raise params.yaml: evaluate.seeds"
        )
    comparisons = metric.comparisons(limit, own.classes, own.groups)
    empty = metric.lack_of_examples(own, comparisons, 1)
    if empty:
        return f"not measured, {empty}"
    few = metric.lack_of_examples(own, comparisons, policy.minimum_per_cell or 1)
    return f"too little evidence, {few}; collect more, or compare coarser groups" if few else ""


def _waived(finding: Finding, known: Context, version: str, now: date | None, *, approvers: Sequence[str]) -> Finding:
    if finding.kept:
        return finding
    waiver, note = waiver_for(known, finding.clause, set=version, now=now, approvers=approvers)
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


def _group(own: NetworkPredictions, g: int, by: str, alpha: float | None) -> Group:
    at = np.flatnonzero(own.group_indices == g)
    count = len(np.unique(own.clusters[at]))
    right = (own.predicted[:, at] == own.labels[at]).astype(float)
    low = high = None
    if alpha is not None and own.seeds > 1 and count > 1:
        rate = level(right[None], own.clusters[at])
        low, high = max(float(rate.lower(alpha / 2)[0]), 0.0), min(float(rate.upper(alpha / 2)[0]), 1.0)
    accuracy = float(right.mean()) if len(at) else None
    name = f"{by}: {own.groups[g]}" if by else own.groups[g]
    return Group(own.network, name, len(at), count, accuracy, low, high)


def _values(table: Confusion) -> dict[str, float | None]:
    return {name: metric.measure(table).value for name, metric in PREDICTION_METRICS.items()}


def _numbers(own: NetworkPredictions, floor: Floor) -> dict[str, dict[str, float | None]]:
    runs = [_values(table) for table in own.tables()]
    numbers = {}
    for name, value in _values(own.table()).items():
        numbers[name] = {"value": value, "per_seed": _mean([run[name] for run in runs])}
        if PREDICTION_METRICS[name].is_gap:
            numbers[name]["noise"] = None if value is None else floor(PREDICTION_METRICS[name].value)
    return numbers


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if len(defined) == len(values) else None
