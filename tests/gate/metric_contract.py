"""The contract that every metric of the gate must satisfy. New metrics are checked by their line in METRICS."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_predictions import drawn

from fair_distill.config import Gate, Limit
from fair_distill.gate.bounds import Treatment
from fair_distill.gate.confusion import BINS, Confusion
from fair_distill.gate.evidence import Evidence
from fair_distill.gate.fair_sets import Assumptions, Cells, FairSets
from fair_distill.gate.judge import judge
from fair_distill.gate.metrics import METRICS, PREDICTION_METRICS, PredictionMetric
from fair_distill.gate.network_predictions import NetworkPredictions, network_predictions, of_seed
from fair_distill.gate.render import junit, markdown
from fair_distill.gate.verdict import Verdict
from fair_distill.report import wording
from fair_distill.report.figures import limits

ALPHA = 0.05
TREATMENTS: tuple[Treatment, ...] = ("given", "normal", "bounded")
RATES = [[0.9, 0.7, 0.8], [0.6, 0.95, 0.9], [0.85, 0.8, 0.5]]  # by class and group


def check_metric(name: str) -> None:
    """Check that everything the gate derives from a metric agrees with its value."""
    check_words(name)
    if name in PREDICTION_METRICS:
        metric = PREDICTION_METRICS[name]
        check_clause(metric)
        check_bounds(metric)
        check_coverage(metric)
        check_plan(metric)
        check_treatments(metric)
        check_report(metric)


def check_words(name: str) -> None:
    metric = METRICS[name]
    assert metric.name == name
    assert wording.metric(name) == metric.title
    assert all((metric.title, metric.short, metric.definition, metric.null_hypothesis, metric.bound))
    assert len(metric.short) <= 25
    assert wording.is_gap(name) == (metric.direction == "at_most")


def check_clause(metric: PredictionMetric) -> None:
    """The number that a clause decides on is the metric, of mean rates and of each seed."""
    for paired in (False, True):
        own = network(RATES, 60, seed=1, paired=paired)
        table, whole = own.table(), metric.comparisons(None, own.classes, own.groups)
        evidence = metric.gather(clause(metric), own, None)
        assert evidence.value == pytest.approx(metric.value(table), abs=1e-12)
        assert metric.value(table, whole) == pytest.approx(metric.value(table), abs=1e-12)
        assert metric.measure(table).value == metric.value(table)
        per_seed = np.mean([metric.value(of_seed) for of_seed in own.tables()])
        assert evidence.per_seed == pytest.approx(per_seed, abs=1e-12)
        deciding = evidence.values.max() if metric.direction == "at_most" else evidence.values.min()
        assert deciding == pytest.approx(evidence.value, abs=1e-12)


def check_bounds(metric: PredictionMetric) -> None:
    """Bounds contain the value of each comparison, widen as the risk falls, and have a culprit to show."""
    for paired in (False, True):
        own = network(RATES, 60, seed=2, paired=paired)
        evidence = metric.gather(clause(metric), own, None)
        assert len(evidence.comparisons) == len(evidence.values) == len(evidence.upper(ALPHA))
        assert (evidence.lower(ALPHA) <= evidence.values + 1e-12).all()
        assert (evidence.upper(ALPHA) >= evidence.values - 1e-12).all()
        assert (evidence.lower(ALPHA / 50) <= evidence.lower(ALPHA) + 1e-12).all()
        assert (evidence.upper(ALPHA / 50) >= evidence.upper(ALPHA) - 1e-12).all()
        measurement = metric.describe(evidence.comparisons[0], own)
        assert len(measurement.rates) == len(measurement.examples) == len(evidence.comparisons[0].sides)
        assert measurement.sentence


def check_coverage(metric: PredictionMetric, *, replicates: int = 100) -> None:
    """The bound that is compared with a limit holds the true value in 95 % of samples, less Monte-Carlo error."""
    for paired in (False, True):
        truth = metric.value(expected(RATES, 100))
        held = 0
        for seed in range(replicates):
            bound = deciding_bound(metric, network(RATES, 100, seed=seed, paired=paired))
            held += bound >= truth - 1e-12 if metric.direction == "at_most" else bound <= truth + 1e-12
        assert held >= replicates * (1 - ALPHA) - 3 * np.sqrt(replicates * ALPHA * (1 - ALPHA))


def check_plan(metric: PredictionMetric, *, replicates: int = 60) -> None:
    """A limit that `gate plan` says 80 % of fair sets satisfy is satisfied by 80 % of fair sets.

    The plan ignores that the number of examples of each class is fixed. A rate over several true classes therefore
    varies less than planned, and more sets satisfy the limit.
    """
    limit = clause(metric)
    planner = metric.planner(limit)
    if planner is None:
        return
    cells = Cells(np.full((2, 2), 80), False, ("class0", "class1"), ("group0", "group1"))
    sets = FairSets(cells, Assumptions(0.9, seeds=3, seed_sd=0.0), np.random.default_rng(0), 1000)
    planned = planner(sets, metric.comparisons(limit, cells.classes, cells.groups), ALPHA)
    sign = 1 if metric.direction == "at_most" else -1
    likely = np.quantile(sign * planned, 0.8)
    fair = [network([[0.9, 0.9]] * 2, 80, seed=seed, alike=1.0) for seed in range(replicates)]
    share = np.mean([sign * deciding_bound(metric, each) <= likely + 1e-12 for each in fair])
    error = 3 * np.sqrt(0.8 * 0.2 / replicates)
    assert share >= 0.8 - error
    pooled = any(rate.predicted is not None and len(rate.true_classes) > 1 for rate in metric.rates(range(2), 2))
    assert pooled or share <= 0.8 + error


def check_treatments(metric: PredictionMetric) -> None:
    """Without a distribution of networks, bounds are wider; if the networks are given, bounds are narrower."""
    for paired in (False, True):
        own = network(RATES, 60, seed=3, paired=paired)
        given, normal, bounded = (
            metric.gather(clause(metric), replace(own, treatment=treatment), None) for treatment in TREATMENTS
        )
        sign = 1 if metric.direction == "at_most" else -1

        def bound(evidence: Evidence, sign: int = sign) -> float:
            return float((sign * (evidence.upper if sign > 0 else evidence.lower)(ALPHA)).max())

        assert sign * given.value - 1e-9 <= bound(given) <= bound(normal) <= bound(bounded)
        alone = metric.gather(clause(metric), of_seed(own, 1), None)
        assert alone.value == pytest.approx(metric.value(own.tables()[1]), abs=1e-12)
        assert np.isfinite(bound(alone))


def check_report(metric: PredictionMetric) -> None:
    """A verdict states the metric as a number that is JSON, and reports show it."""
    bounds = {"mode": "bounds", "alpha": ALPHA, "minimum_seeds": 2, "minimum_per_cell": 2}
    for rates in (RATES, [[0.05, 0.05, 0.05]] * 3):
        policy = Gate.model_validate({**bounds, "limits": [clause(metric).model_dump()]})
        verdict = judge(drawn(rates, 60, np.random.default_rng(4)).to_parquet(), policy, context=b"", engine=1)

        (finding,) = verdict.findings
        numbers = verdict.numbers["convnet"][metric.name]
        assert finding.value == pytest.approx(numbers["value"])
        assert ("noise" in numbers) == metric.is_gap
        assert b"NaN" not in verdict.to_json()
        assert Verdict.from_json(verdict.to_json()) == verdict
        assert finding.clause in markdown("a set", verdict).replace("\\_", "_")
        assert finding.clause in junit("a set", verdict)
        assert wording.lead(verdict)
        ((_, plot),) = limits([finding])
        assert plot.description.startswith(metric.title)


def clause(metric: PredictionMetric) -> Limit:
    return Limit.model_validate({"metric": metric.name, metric.direction: 0.5, "why": "a test"})


def deciding_bound(metric: PredictionMetric, own: NetworkPredictions) -> float:
    evidence = metric.gather(clause(metric), own, None)
    return float(evidence.upper(ALPHA).max() if metric.direction == "at_most" else evidence.lower(ALPHA).min())


def network(rates: Any, of: int, *, seed: int, **more: Any) -> NetworkPredictions:
    return network_predictions(drawn(rates, of, np.random.default_rng(seed), **more), 0)


def expected(rates: Any, of: int) -> Confusion:
    """Return the expected counts of `drawn`, whose wrong predictions are the next class, with probability 0.9."""
    right = np.asarray(rates).T * of
    groups, classes = right.shape
    counts = np.zeros((groups, classes, classes))
    for c in range(classes):
        counts[:, c, c] += right[:, c]
        counts[:, c, (c + 1) % classes] += of - right[:, c]
    excess = np.zeros((groups, BINS))
    excess[:, 9] = 0.9 * of * classes - right.sum(axis=1)
    names = [tuple(f"{noun}{i}" for i in range(size)) for noun, size in (("group", groups), ("class", classes))]
    return Confusion(counts, names[0], names[1], np.full((groups, classes), 0.9 * of), excess)
