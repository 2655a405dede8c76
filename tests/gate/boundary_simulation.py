"""Measure how often sets pass a limit that is their true value, for metrics that are not one difference of two rates.

`python tests/gate/boundary_simulation.py OUT.json` runs the long version, prints the shares, and exits 1 if more pass
than the risk allows. `test_boundary_simulation.py` runs a short one, and compares the vectorised decisions here with
those of the metrics.

The model is that of `simulation.py`: network s gets example i right, or predicts it as the class in question, if a
normal score is below a threshold. The score is the sum of a part of the example (`alike` between networks), a part of
its cluster or pair, and noise. The threshold varies between networks, so the true rate of every cell is known exactly.

Axes: R sets, S networks, n examples.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import norm
from small_predictions import predictions_from

from fair_distill.config import Limit
from fair_distill.gate.bounds import Contrasts, Treatment, level, minus, on_the_same, stacked
from fair_distill.gate.combinations import Combinations
from fair_distill.gate.confusion import bins_of
from fair_distill.gate.mean_of_levels import mean_of_levels
from fair_distill.gate.network_predictions import NetworkPredictions, network_predictions

ALPHA = 0.05
ALIKE = 0.6  # the share of the score that networks have in common
_AT_ONCE = 1_500_000


@dataclass(frozen=True)
class Networks:
    """How many networks there are, and the standard deviation of their rates. A single one is given."""

    count: int = 5
    sd: float = 0.03


@dataclass(frozen=True, eq=False)
class Sets:
    """The predictions of R sets.

    Attributes
    ----------
    predicted : (R, S, n); labels : (R, n); group, pairs, clusters : (n,)
    probability : of the predicted class, (R, n), or None
    """

    predicted: Any
    labels: Any
    group: Any
    pairs: Any = None
    clusters: Any = None
    probability: Any = None

    def one(self, r: int) -> NetworkPredictions:
        """Return the predictions of one set, as the gate reads them."""
        common = {"pairs": self.pairs, "clusters": self.clusters}
        table = predictions_from(self.predicted[r], self.labels[r], self.group, **common)
        if self.probability is not None:
            probability = np.tile(self.probability[r], self.predicted.shape[1])
            table = replace(table, columns=table.columns | {"probability": probability})
        return network_predictions(table, 0, self.treatment)

    @property
    def treatment(self) -> Treatment:
        """How bounds treat the networks; a single one is the one that is judged."""
        return "given" if self.predicted.shape[1] == 1 else "normal"

    def right(self, rows: Any) -> Any:
        """Return whether the predictions of some examples are right, (R, S, rows)."""
        return (self.predicted[..., rows] == self.labels[:, None, rows]).astype(float)


@dataclass(frozen=True)
class Boundary:
    """Sets whose true value is the limit of a clause.

    Attributes
    ----------
    name : what is special about the sets
    limit : the clause
    examples : n
    draw : from a generator and R to R sets
    margins : from sets to how far the bound and the value are within the limit, two arrays (R,)
    """

    name: str
    limit: Limit
    examples: int
    networks: Networks
    draw: Callable[[np.random.Generator, int], Sets]
    margins: Callable[[Sets, float], tuple[Any, Any]]

    @property
    def number(self) -> float:
        number = self.limit.at_least if self.limit.at_most is None else self.limit.at_most
        assert number is not None
        return number


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
    passed = by_value = 0
    at_once = max(1, _AT_ONCE // (boundary.examples * boundary.networks.count))
    for first in range(0, replicates, at_once):
        sets = boundary.draw(rng, min(at_once, replicates - first))
        by_bound, value = boundary.margins(sets, boundary.number)
        passed += int((by_bound >= 0).sum())
        by_value += int((value >= 0).sum())
    shares = passed / replicates, by_value / replicates
    return Share(boundary.limit.metric, boundary.name, boundary.number, replicates, *shares)


def _normal(rng: np.random.Generator, *shape: int) -> Any:
    return rng.standard_normal(shape, dtype=np.float32)


def _events(
    rng: np.random.Generator,
    count: int,
    rates: Any,
    networks: Networks,
    cells: Any,
    *,
    common: Any = None,
    icc: Any = 0.0,
) -> Any:
    """Return whether the event of each example happens in each network, (R, S, n).

    Parameters
    ----------
    rates : the true rate of each cell
    cells : the cell of each example, (n,) or (R, n)
    common : the pair or cluster of each example, (n,), whose examples share the part `icc` of their difficulty
    """
    rates = np.asarray(rates, dtype=float)
    n = cells.shape[-1]
    own = _normal(rng, count, n)
    if common is not None:
        own = np.sqrt(icc) * _normal(rng, count, common.max() + 1)[:, common] + np.sqrt(1 - icc) * own
    # Networks have half of their scatter in common between cells.
    shift = (_normal(rng, count, networks.count, 1) + _normal(rng, count, networks.count, len(rates))) / np.sqrt(2)
    moves = networks.sd / norm.pdf(ndtri(np.clip(rates, 0.1, 0.9)))
    threshold = (ndtri(rates) * np.sqrt(1 + moves**2) + moves * shift).astype(np.float32)
    noise = _normal(rng, count, networks.count, n)
    score = np.float32(np.sqrt(ALIKE)) * own[:, None].astype(np.float32) + np.float32(np.sqrt(1 - ALIKE)) * noise
    of_examples = np.broadcast_to(cells, (count, n))[:, None]
    return score < np.take_along_axis(threshold, of_examples, axis=-1)


def _clause(metric: str, **keys: object) -> Limit:
    return Limit.model_validate({"metric": metric, "why": "a simulation", **keys})


def ratios(
    name: str, rates: tuple[float, ...], sizes: tuple[int, ...], networks: Networks, *, paired: bool = False
) -> Boundary:
    """Sets whose groups are predicted as class 1 at these rates, whatever their labels."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    number = np.concatenate([np.arange(size) for size in sizes])
    pairs = number if paired else None

    def draw(rng: np.random.Generator, count: int) -> Sets:
        events = _events(rng, count, rates, networks, group, common=pairs, icc=0.8)
        return Sets(events.astype(int), np.broadcast_to(number % 2, (count, len(number))), group, pairs=pairs)

    def margins(sets: Sets, limit: float) -> tuple[Any, Any]:
        events = [sets.predicted[..., group == g].astype(float) for g in range(len(sizes))]
        each = [level(event) for event in events]
        bounds, values = [], []
        for a, b in product(range(len(sizes)), repeat=2):
            if a == b:
                continue
            weight = np.full(len(sets.predicted), limit)
            contrasts = minus(each[a], each[b], weight=weight)
            if paired:
                weights = np.stack([np.ones_like(weight), -weight], axis=-1)[:, None]
                pair = Combinations.of(np.stack([events[a], events[b]], axis=1), None).sums(weights)
                contrasts = replace(pair[:, 0], bend=contrasts.bend)
            bounds.append(contrasts.lower(ALPHA))
            values.append(contrasts.value)
        return np.min(bounds, axis=0), np.min(values, axis=0)

    clause = _clause("selection_rate_ratio", at_least=0.8, classes=["class1"])
    return Boundary(name, clause, len(group), networks, draw, margins)


def recalls(
    name: str,
    clause: Limit,
    rates: Any,
    sizes: Any,
    networks: Networks,
    margins: Callable[[Sets, float], tuple[Any, Any]],
    *,
    cluster: int = 1,
) -> Boundary:
    """Sets with these recalls and sizes (C, G); wrong predictions are the next class.

    Clusters of `cluster` examples have examples of every class of a group.
    """
    rates, sizes = np.asarray(rates, dtype=float), np.asarray(sizes)
    classes, groups = rates.shape
    cells = np.repeat(np.arange(rates.size), sizes.ravel())
    label, group = cells // groups, cells % groups
    number = np.concatenate([np.arange(size) for size in sizes.ravel()])
    common = None
    if cluster > 1:
        common = np.unique(number // (cluster // classes) * groups + group, return_inverse=True)[1]

    def draw(rng: np.random.Generator, count: int) -> Sets:
        right = _events(rng, count, rates.ravel(), networks, cells, common=common, icc=0.7)
        labels = np.broadcast_to(label, (count, len(label)))
        return Sets(np.where(right, label, (label + 1) % classes), labels, group, clusters=common)

    return Boundary(name, clause, len(label), networks, draw, margins)


def _balanced(sets: Sets, limit: float) -> tuple[Any, Any]:
    return _within([_mean_recall(sets, np.arange(len(sets.group)))], limit)


def _worst_balanced(sets: Sets, limit: float) -> tuple[Any, Any]:
    return _within([_mean_recall(sets, np.flatnonzero(sets.group == g)) for g in np.unique(sets.group)], limit)


def _mean_recall(sets: Sets, rows: Any) -> Contrasts:
    labels, clusters = sets.labels[0], sets.clusters
    classes = np.unique(labels)
    each = []
    for c in classes:
        of_class = rows[labels[rows] == c]
        own = None if clusters is None else clusters[of_class]
        each.append(level(sets.right(of_class), own, treatment=sets.treatment))
    by_set = np.arange(len(classes) * len(sets.predicted)).reshape(len(classes), -1).T
    return mean_of_levels(stacked(each)[by_set], clusters_are_shared=clusters is not None)


def _within(scores: list[Contrasts], limit: float) -> tuple[Any, Any]:
    """Return how far the smallest score is above the limit."""
    bounds, values = [score.lower(ALPHA) for score in scores], [score.value for score in scores]
    return np.min(bounds, axis=0) - limit, np.min(values, axis=0) - limit


def _gap_of_class(c: int, *, false_positives: bool) -> Callable[[Sets, float], tuple[Any, Any]]:
    """Return the margins of the gap between two groups in the errors of one class."""

    def margins(sets: Sets, limit: float) -> tuple[Any, Any]:
        members = sets.labels[0] != c if false_positives else sets.labels[0] == c
        first, second = (level((sets.predicted[..., members & (sets.group == g)] == c).astype(float)) for g in range(2))
        difference = minus(first, second)
        bound = np.maximum(difference.upper(ALPHA), -difference.lower(ALPHA))
        return limit - bound, limit - np.abs(difference.value)

    return margins


def majorities(name: str, accuracy: float, shares: tuple[float, ...], n: int, networks: Networks) -> Boundary:
    """Sets of n examples whose labels have these shares in the population."""
    group, cells = np.arange(n) % 2, np.zeros(n, dtype=int)

    def draw(rng: np.random.Generator, count: int) -> Sets:
        label = rng.choice(len(shares), (count, n), p=shares)
        right = _events(rng, count, [accuracy], networks, cells)
        wrong = (label + 1) % len(shares)
        return Sets(np.where(right, label[:, None], wrong[:, None]), label, group)

    def margins(sets: Sets, limit: float) -> tuple[Any, Any]:
        right = sets.right(np.arange(n))
        return _within([on_the_same(right - (sets.labels == c)[:, None]) for c in range(len(shares))], limit)

    clause = _clause("accuracy_over_majority", at_least=round(accuracy - max(shares), 9))
    return Boundary(name, clause, n, networks, draw, margins)


def calibrations(name: str, excess: dict[float, float], n: int, networks: Networks) -> Boundary:
    """Sets whose confidence exceeds accuracy by these amounts in one of two groups, and not in the other.

    Each confidence is equally frequent.
    """
    heights = np.array(list(excess))
    rates = np.append(heights - np.array(list(excess.values())), heights)
    group = np.arange(n) % 2
    label = np.arange(n) // 2 % 2

    def draw(rng: np.random.Generator, count: int) -> Sets:
        cell = rng.integers(0, len(heights), (count, n))
        right = _events(rng, count, rates, networks, np.where(group == 0, cell, cell + len(heights)))
        labels = np.broadcast_to(label, (count, n))
        return Sets(np.where(right, label, 1 - label), labels, group, probability=heights[cell])

    def margins(sets: Sets, limit: float) -> tuple[Any, Any]:
        signs = np.array(list(product((1.0, -1.0), repeat=len(heights))))
        bounds, values = [], []
        for g in range(2):
            rows = np.flatnonzero(group == g)
            probability = sets.probability[:, None, rows]
            wrong = probability - sets.right(rows)
            in_bin = bins_of(probability)[:, None] == bins_of(heights)[:, None, None]
            combinations = Combinations.of(np.where(in_bin, wrong[:, None], 0.0), None)
            bounds.append(combinations.sums(signs).upper(ALPHA).max(axis=-1))
            values.append(np.abs(combinations.seeds.mean(axis=-1)).sum(axis=-1))
        return limit - np.max(bounds, axis=0), limit - np.max(values, axis=0)

    at_most = round(float(np.abs(list(excess.values())).mean()), 9)
    return Boundary(name, _clause("calibration_error", at_most=at_most), n, networks, draw, margins)


def boundaries(*, long: bool) -> list[Boundary]:
    """Return the sets that are simulated; the short list has one of each kind."""
    few, usual, many = Networks(3), Networks(), Networks(10)
    rows = [
        ratios("rates 0.5 and 0.4, 400 examples", (0.5, 0.4), (400, 400), usual),
        ratios("rates 0.5 and 0.4, 400 pairs", (0.5, 0.4), (400, 400), usual, paired=True),
    ]
    if long:
        rows += [
            ratios("rates 0.1 and 0.08, 1,000", (0.1, 0.08), (1000, 1000), Networks(5, 0.01)),
            ratios("rates 0.1 and 0.08, 1,000 pairs", (0.1, 0.08), (1000, 1000), Networks(5, 0.01), paired=True),
            ratios("rates 0.9 and 0.72, 200, 3 networks", (0.9, 0.72), (200, 200), few),
            ratios("rates 0.9 and 0.72, 200, 10 networks", (0.9, 0.72), (200, 200), many),
            ratios("rates 0.5 and 0.4, 100 and 2,000", (0.5, 0.4), (100, 2000), usual),
            ratios("rates 0.5 and 0.4, 2,000 and 100", (0.5, 0.4), (2000, 100), usual),
            ratios("rates 0.02 and 0.016, 6,000", (0.02, 0.016), (6000, 6000), Networks(5, 0.002)),
            ratios("four groups", (0.5, 0.45, 0.45, 0.4), (300,) * 4, usual),
        ]
    for metric, rates, c in (
        ("false_negative_gap", [[0.9, 0.9], [0.9, 0.8]], 1),
        ("false_positive_gap", [[0.9, 0.8], [0.9, 0.9]], 1),
    ):
        clause = _clause(metric, at_most=0.1, classes=[f"class{c}"])
        margins = _gap_of_class(c, false_positives=metric == "false_positive_gap")
        for networks in (few, many) if long else (usual,):
            name = f"rates 0.1 and 0.2, 200 a cell, {networks.count} networks"
            rows.append(recalls(name, clause, rates, [[200, 200]] * 2, networks, margins))
    clause, uneven = _clause("balanced_accuracy", at_least=0.8), [[0.95, 0.95], [0.65, 0.65]]
    rows.append(recalls("400 and 50 a class", clause, uneven, [[200, 200], [25, 25]], usual, _balanced))
    if long:
        high = _clause("balanced_accuracy", at_least=0.99)
        rows += [
            recalls("50 and 400 a class", clause, uneven, [[25, 25], [200, 200]], usual, _balanced),
            recalls("10 classes of 60, 10 networks", clause, [[0.8, 0.8]] * 10, [[30, 30]] * 10, many, _balanced),
            recalls("clusters of 8 in both classes", clause, uneven, [[200, 200]] * 2, usual, _balanced, cluster=8),
            recalls("recall 0.99, 3 networks", high, [[0.99, 0.99]] * 2, [[200, 200]] * 2, few, _balanced),
        ]
    worst = _clause("worst_group_balanced_accuracy", at_least=0.8)
    one_group = [[0.97, 0.95], [0.97, 0.65]]
    rows.append(recalls("one of two groups", worst, one_group, [[150, 150]] * 2, usual, _worst_balanced))
    rows.append(majorities("majority of 50 %, 500", 0.6, (0.5, 0.3, 0.2), 500, usual))
    if long:
        rows += [
            majorities("majority of 60 %, 200, 10 networks", 0.7, (0.6, 0.4), 200, many),
            majorities("majority of 88 %, 500, 3 networks", 0.96, (0.88, 0.12), 500, few),
        ]
    rows.append(calibrations("+15 and -15 points", {0.95: 0.15, 0.55: -0.15}, 600, usual))
    if long:
        small = {0.95: 0.05, 0.85: 0.05, 0.75: 0.05, 0.65: -0.05, 0.55: -0.05}
        rows += [
            calibrations("+15 and -15 points, 10 networks", {0.95: 0.15, 0.55: -0.15}, 600, many),
            calibrations("five bins of +5 or -5 points", small, 2000, Networks(5, 0.01)),
            calibrations("five bins of +5 points", dict.fromkeys(small, 0.05), 2000, Networks(5, 0.01)),
        ]
    return rows + _rare_classes(long=long)


def _rare_classes(*, long: bool) -> list[Boundary]:
    """Return sets in which one class has few examples and the smaller recall, which decides the mean."""
    one, five = Networks(1, 0.0), Networks(5, 0.01)
    cases: list[tuple[str, list[int], list[float], Networks]] = [
        ("1,000 and 50, one network", [1000, 50], [1.0, 0.966], one),
        ("400 and 10, one network", [400, 10], [1.0, 0.86], one),
    ]
    if long:
        cases += [
            ("1,000 and 50, sd 0.01", [1000, 50], [1.0, 0.966], five),
            ("1,000 and 50, recalls 0.5 and 0.95, sd 0.01", [1000, 50], [0.5, 0.95], five),
            ("19 of 1,000 and one of 50, one network", [1000] * 19 + [50], [1.0] * 19 + [0.975], one),
            ("20 of 30, recall 0.98, one network", [30] * 20, [0.98] * 20, one),
            ("200, 60 and 20, 3 networks", [200, 60, 20], [0.98, 0.9, 0.7], Networks(3)),
        ]
    rows = []
    for metric, margins in (("balanced_accuracy", _balanced), ("worst_group_balanced_accuracy", _worst_balanced)):
        for name, sizes, of_classes, networks in cases:
            # In the second metric, the other group has the same examples, and is always right.
            others = of_classes if metric == "balanced_accuracy" else [1.0] * len(of_classes)
            counts = [[n // 2, n - n // 2] if metric == "balanced_accuracy" else [n, n] for n in sizes]
            clause = _clause(metric, at_least=round(float(np.mean(of_classes)), 9))
            rates = [[rate, other] for rate, other in zip(of_classes, others, strict=True)]
            rows.append(recalls(name, clause, rates, counts, networks, margins))
    return rows


def shares_of(cases: list[Boundary], replicates: int) -> list[Share]:
    """Return the shares of sets that pass; each case has its own generator."""
    return [measured(case, np.random.default_rng((7, number)), replicates) for number, case in enumerate(cases)]


def main(path: Path) -> int:
    shares = shares_of(boundaries(long=True), 4000)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"alpha": ALPHA, "rows": [asdict(share) for share in shares]}, indent=1) + "\n")
    print(*(f"{share.metric}, {share.name}: {share.passed:.3f} pass" for share in shares), sep="\n")
    above = [share for share in shares if share.passed > share.allowed]
    print(f"{len(shares)} rows, {len(above)} above the risk of {ALPHA}: {', '.join(share.name for share in above)}")
    return 1 if above else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
