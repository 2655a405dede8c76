"""Measure how often sets pass a limit that is their true value, for metrics that are not one difference of two rates.

`python tests/gate/metric_simulation.py OUT.json` runs the long version, prints a table and exits 1 if more sets pass
than the risk allows; `test_metric_simulation.py` runs a short one. Bounds come from the metrics themselves.

The model is that of `simulation.py`: network s gets example i right, or predicts it as the class in question, if a
normal score is below a threshold. The score is the sum of a part of the example (`alike` between networks), a part of
its cluster or pair, and noise. The threshold varies between networks, so the true rate of every cell is known exactly.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import norm
from small_predictions import predictions_from

from fair_distill.config import Limit
from fair_distill.gate.metrics import PREDICTION_METRICS
from fair_distill.gate.network_predictions import NetworkPredictions, network_predictions
from fair_distill.text import markdown_table

ALPHA = 0.05
ALIKE = 0.6  # the share of the score that networks have in common


@dataclass(frozen=True)
class Networks:
    """How many networks there are, and the standard deviation of their rates."""

    count: int = 5
    sd: float = 0.03


@dataclass(frozen=True)
class Boundary:
    """Sets whose true value is the limit of a clause.

    Attributes
    ----------
    name : what is special about the sets
    limit : the clause
    draw : from a generator to the predictions of one set
    """

    name: str
    limit: Limit
    draw: Callable[[np.random.Generator], NetworkPredictions]


@dataclass(frozen=True)
class Share:
    """The shares of sets at the limit that pass by their bound, and by their value alone."""

    metric: str
    name: str
    limit: float
    replicates: int
    passed: float
    passed_by_value: float

    @property
    def allowed(self) -> float:
        """The risk, with three standard errors of the simulation."""
        return float(ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / self.replicates))


def measured(boundary: Boundary, rng: np.random.Generator, replicates: int) -> Share:
    """Return how often sets at the limit pass."""
    limit, passed, by_value = boundary.limit, 0, 0
    metric = PREDICTION_METRICS[limit.metric]
    for _ in range(replicates):
        evidence = metric.gather(limit, boundary.draw(rng), None)
        if limit.at_most is not None:
            passed += bool(evidence.upper(ALPHA).max() <= limit.at_most)
            by_value += evidence.value <= limit.at_most
        elif limit.at_least is not None:
            passed += bool(evidence.lower(ALPHA).min() >= limit.at_least)
            by_value += evidence.value >= limit.at_least
    number = limit.at_least if limit.at_most is None else limit.at_most
    assert number is not None
    return Share(limit.metric, boundary.name, number, replicates, passed / replicates, by_value / replicates)


def _events(
    rng: np.random.Generator, rates: Any, networks: Networks, *, cells: Any, common: Any = None, icc: float = 0.0
) -> Any:
    """Return whether the event of each example happens in each network, (S, N).

    Parameters
    ----------
    rates : the true rate of each cell
    cells : the cell of each example, (N,)
    common : the pair or cluster of each example, (N,), whose examples share the part `icc` of their difficulty
    """
    rates = np.asarray(rates, dtype=float)
    n = len(cells)
    own = rng.standard_normal(n)
    if common is not None:
        own = np.sqrt(icc) * rng.standard_normal(common.max() + 1)[common] + np.sqrt(1 - icc) * own
    # Networks have half of their scatter in common between cells.
    shift = (rng.standard_normal((networks.count, 1)) + rng.standard_normal((networks.count, len(rates)))) / np.sqrt(2)
    moves = networks.sd / norm.pdf(ndtri(np.clip(rates, 0.1, 0.9)))
    threshold = ndtri(rates) * np.sqrt(1 + moves**2) + moves * shift
    score = np.sqrt(ALIKE) * own + np.sqrt(1 - ALIKE) * rng.standard_normal((networks.count, n))
    return score < threshold[:, cells]


def _clause(metric: str, **keys: object) -> Limit:
    return Limit.model_validate({"metric": metric, "why": "a simulation", **keys})


def selections(
    rates: tuple[float, ...],
    sizes: tuple[int, ...],
    networks: Networks,
    *,
    paired: bool = False,
    cluster: int = 1,
    icc: float = 0.8,
) -> Callable[[np.random.Generator], NetworkPredictions]:
    """Sets whose groups are predicted as class 1 at these rates, whatever their labels.

    `paired` sets have every example in every group. Clusters of `cluster` examples are spread over the groups.
    """
    group = np.repeat(np.arange(len(sizes)), sizes)
    number = np.concatenate([np.arange(size) for size in sizes])
    common = number if paired else None
    if cluster > 1:
        common = number // (cluster // len(sizes))

    def draw(rng: np.random.Generator) -> NetworkPredictions:
        selected = _events(rng, rates, networks, cells=group, common=common, icc=icc)
        more = {"pairs": number} if paired else {"clusters": common}
        labels = number % 2  # a pair has one label
        return network_predictions(predictions_from(selected.astype(int), labels, group, classes=2, **more), 0)

    return draw


def errors(
    recalls: Any, sizes: Any, networks: Networks, *, cluster: int = 1
) -> Callable[[np.random.Generator], NetworkPredictions]:
    """Sets of two classes or more with these recalls and sizes (C, G); wrong predictions are the next class.

    Clusters of `cluster` examples have examples of every class of a group.
    """
    recalls, sizes = np.asarray(recalls, dtype=float), np.asarray(sizes)
    classes, groups = recalls.shape
    cells = np.repeat(np.arange(recalls.size), sizes.ravel())
    label, group = cells // groups, cells % groups
    number = np.concatenate([np.arange(size) for size in sizes.ravel()])
    common = None
    if cluster > 1:
        common = np.unique(number // (cluster // classes) * groups + group, return_inverse=True)[1]

    def draw(rng: np.random.Generator) -> NetworkPredictions:
        right = _events(rng, recalls.ravel(), networks, cells=cells, common=common, icc=0.7)
        predicted = np.where(right, label, (label + 1) % classes)
        return network_predictions(predictions_from(predicted, label, group, clusters=common), 0)

    return draw


def over_majority(
    accuracy: float, shares: tuple[float, ...], n: int, networks: Networks
) -> Callable[[np.random.Generator], NetworkPredictions]:
    """Sets of n examples whose labels have these shares in the population."""
    group = np.arange(n) % 2

    def draw(rng: np.random.Generator) -> NetworkPredictions:
        label = rng.choice(len(shares), n, p=shares)
        right = _events(rng, [accuracy], networks, cells=np.zeros(n, dtype=int))
        predicted = np.where(right, label, (label + 1) % len(shares))
        return network_predictions(predictions_from(predicted, label, group, classes=len(shares)), 0)

    return draw


def confident(
    excess: dict[float, float], n: int, networks: Networks, *, groups: int = 2
) -> Callable[[np.random.Generator], NetworkPredictions]:
    """Sets whose confidence exceeds accuracy by these amounts in one of the groups, and not in the others.

    Each confidence is equally frequent.
    """
    levels = np.array(list(excess))
    rates = np.append(levels - np.array(list(excess.values())), levels)
    group = np.arange(n) % groups

    def draw(rng: np.random.Generator) -> NetworkPredictions:
        cell = rng.integers(0, len(levels), n)
        label = rng.integers(0, 2, n)
        right = _events(rng, rates, networks, cells=np.where(group == 0, cell, cell + len(levels)))
        table = predictions_from(np.where(right, label, 1 - label), label, group, classes=2)
        table.columns["probability"] = np.tile(levels[cell], networks.count)
        return network_predictions(table, 0)

    return draw


def boundaries(*, long: bool) -> list[Boundary]:
    """Return the sets that are simulated; the short list has one of each kind."""
    few, many = Networks(3), Networks(10)
    usual = Networks()
    ratio = _clause("selection_rate_ratio", at_least=0.8, classes=["class1"])
    rows = [
        Boundary("rates 0.5 and 0.4, 400 examples", ratio, selections((0.5, 0.4), (400, 400), usual)),
        Boundary("rates 0.1 and 0.08, 1,000", ratio, selections((0.1, 0.08), (1000, 1000), usual)),
        Boundary("rates 0.5 and 0.4, pairs", ratio, selections((0.5, 0.4), (400, 400), usual, paired=True)),
    ]
    if long:
        rows += [
            Boundary("rates 0.9 and 0.72, 200, 3 networks", ratio, selections((0.9, 0.72), (200, 200), few)),
            Boundary("rates 0.9 and 0.72, 200, 10 networks", ratio, selections((0.9, 0.72), (200, 200), many)),
            Boundary("rates 0.5 and 0.4, 100 and 2,000", ratio, selections((0.5, 0.4), (100, 2000), usual)),
            Boundary("rates 0.5 and 0.4, 2,000 and 100", ratio, selections((0.5, 0.4), (2000, 100), usual)),
            Boundary("rates 0.02 and 0.016, 4,000", ratio, selections((0.02, 0.016), (4000, 4000), Networks(5, 0.005))),
            Boundary("rates 0.1 and 0.08, pairs", ratio, selections((0.1, 0.08), (1000, 1000), usual, paired=True)),
            Boundary("clusters of 8 in both groups", ratio, selections((0.5, 0.4), (400, 400), usual, cluster=8)),
            Boundary("four groups", ratio, selections((0.5, 0.45, 0.45, 0.4), (300,) * 4, usual)),
        ]
    for metric, recalls, name in (
        ("false_negative_gap", [[0.9, 0.9], [0.9, 0.8]], "class1"),
        ("false_positive_gap", [[0.9, 0.8], [0.9, 0.9]], "class1"),
    ):
        clause = _clause(metric, at_most=0.1, classes=[name])
        for networks in (few, many) if long else (usual,):
            title = f"rates 0.1 and 0.2, 200 a cell, {networks.count} networks"
            rows.append(Boundary(title, clause, errors(recalls, [[200, 200]] * 2, networks)))
    balanced = _clause("balanced_accuracy", at_least=0.8)
    uneven = [[0.95, 0.95], [0.65, 0.65]]
    rows += [Boundary("400 and 50 a class", balanced, errors(uneven, [[200, 200], [25, 25]], usual))]
    if long:
        rows += [
            Boundary("50 and 400 a class", balanced, errors(uneven, [[25, 25], [200, 200]], usual)),
            Boundary("10 classes", balanced, errors([[0.8, 0.8]] * 10, [[30, 30]] * 10, many)),
            Boundary("clusters of 8 in both classes", balanced, errors(uneven, [[200, 200]] * 2, usual, cluster=8)),
            Boundary(
                "3 networks, recall 0.99",
                _clause("balanced_accuracy", at_least=0.99),
                errors([[0.99, 0.99]] * 2, [[200, 200]] * 2, few),
            ),
        ]
    worst = _clause("worst_group_balanced_accuracy", at_least=0.8)
    rows += [Boundary("one of two groups", worst, errors([[0.97, 0.95], [0.97, 0.65]], [[150, 150]] * 2, usual))]
    majority = _clause("accuracy_over_majority", at_least=0.1)
    rows += [Boundary("majority of 50 %, 500", majority, over_majority(0.6, (0.5, 0.3, 0.2), 500, usual))]
    if long:
        rows += [
            Boundary("two majorities, 500", majority, over_majority(0.6, (0.5, 0.5), 500, usual)),
            Boundary("majority of 88 %, 500", majority, over_majority(0.98, (0.88, 0.12), 500, few)),
        ]
    calibration = _clause("calibration_error", at_most=0.15)
    rows += [Boundary("+15 and -15 points", calibration, confident({0.95: 0.15, 0.55: -0.15}, 600, usual))]
    if long:
        small = {0.95: 0.05, 0.85: 0.05, 0.75: 0.05, 0.65: -0.05, 0.55: -0.05}
        limit = _clause("calibration_error", at_most=0.05)
        rows += [
            Boundary("+15 and -15 points, 10 networks", calibration, confident({0.95: 0.15, 0.55: -0.15}, 600, many)),
            Boundary("five bins of 5 points", limit, confident(small, 4000, Networks(5, 0.01))),
            Boundary("all bins too sure", limit, confident(dict.fromkeys(small, 0.05), 4000, Networks(5, 0.01))),
        ]
    return rows


def run(*, long: bool, rng: np.random.Generator) -> list[Share]:
    """Return the shares of all boundaries."""
    return [measured(boundary, rng, 4000 if long else 200) for boundary in boundaries(long=long)]


def table(shares: list[Share]) -> str:
    """Return a Markdown table of the shares in per cent."""
    header = ["metric", "sets at the limit", "limit", "pass", "value alone"]
    rows = [
        [
            f"`{share.metric}`",
            share.name,
            f"{share.limit:g}",
            f"{100 * share.passed:.1f}",
            f"{100 * share.passed_by_value:.0f}",
        ]
        for share in shares
    ]
    return markdown_table(header, rows)


def main(path: Path) -> int:
    shares = run(long=True, rng=np.random.default_rng(7))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"alpha": ALPHA, "rows": [asdict(share) for share in shares]}, indent=1) + "\n")
    print(table(shares))
    above = [share for share in shares if share.passed > share.allowed]
    print(*(f"{share.metric}, {share.name}: {share.passed:.3f} pass" for share in above), sep="\n")
    return 1 if above else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
