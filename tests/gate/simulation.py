"""Measure how often the bounds of the gate cover the truth, on thousands of simulated sets with known gaps.

`python tests/gate/simulation.py OUT.json` runs the long version, prints a table and exits with 1 if a promise is
broken; `test_simulation.py` runs a short one. The sets are those of `simulated_sets`. `simulation_metrics` adds a row
for every metric, and `simulation_networks` measures networks whose scatter is not normal.

Axes: R replicates, S seeds, n examples.
"""

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import norm
from simulated_sets import Case, batches, cluster_labels, differences, outcomes, side_by_side
from simulation_metrics import metric_rows

from fair_distill.gate.bounds import level
from fair_distill.gate.choices import MeanOfLargest
from fair_distill.gate.confusion import Floats

ALPHA = 0.05
COVERED = ("above", "below", "rate_above", "rate_below")
_ROUNDING = 1e-9
# Bounds of few networks are approximate: the worst cases are missed about 5.5 % of the time.
_TOLERANCE = 0.005
# The long version runs its parts in this many processes.
_PROCESSES = 2


@dataclass(frozen=True)
class Row:
    """Shares of the replicates.

    Attributes
    ----------
    kind : `coverage`, `decision`, `mean` or `metric`
    what : the question in words
    promised : the shares that must not exceed alpha
    """

    kind: str
    what: str
    case: Case
    replicates: int
    shares: dict[str, float]
    promised: tuple[str, ...] = ()

    def broken(self) -> list[str]:
        """Return the promised shares that exceed alpha by more than the tolerance and the Monte-Carlo error."""
        most = ALPHA + _TOLERANCE + 3 * np.sqrt(ALPHA * (1 - ALPHA) / self.replicates)
        return [
            f"{self.kind}, {self.what}: {name} in {100 * self.shares[name]:.1f} % of {self.case}"
            for name in self.promised
            if self.shares[name] > most
        ]


def coverage(case: Case, rng: np.random.Generator, replicates: int, *, promised: tuple[str, ...] = COVERED) -> Row:
    """Return how often the one-sided bounds of a difference and of its first rate miss the truth."""
    rates = case.true_rates
    truth = rates[0] - rates[1]
    missed = dict.fromkeys(("above", "below", "rate_above", "rate_below", "row_by_row"), 0)
    width = 0.0
    for count in batches(case, replicates):
        first, second = outcomes(case, case.rates, rng, count)
        difference = differences(case, [first, second])[0, 1]
        rate = level(first, cluster_labels(case.clusters, case.sizes[0]))
        upper = difference.upper(ALPHA)
        width += float((upper - difference.value).sum())
        missed["above"] += int((upper < truth - _ROUNDING).sum())
        missed["below"] += int((difference.lower(ALPHA) > truth + _ROUNDING).sum())
        missed["rate_above"] += int((rate.upper(ALPHA) < rates[0] - _ROUNDING).sum())
        missed["rate_below"] += int((rate.lower(ALPHA) > rates[0] + _ROUNDING).sum())
        missed["row_by_row"] += int((_row_by_row(first, second) < truth - _ROUNDING).sum())
    shares = {name: times / replicates for name, times in missed.items()} | {"half_width": width / replicates}
    return Row("coverage", case.clusters if promised else "not promised", case, replicates, shares, promised)


def _row_by_row(first: Floats, second: Floats) -> Floats:
    """Return Newcombe's upper bound of a difference that treats every row as an example, for comparison."""
    z = norm.isf(ALPHA)
    distances = []
    for outcome, side in ((first, 1), (second, -1)):
        p, n = outcome.mean(axis=(-1, -2)), outcome.shape[-1] * outcome.shape[-2]
        centre, half = (p + z * z / (2 * n)), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        distances.append((centre + side * half) / (1 + z * z / n) - p)
    return np.asarray(first.mean(axis=(-1, -2)) - second.mean(axis=(-1, -2)) + np.hypot(*distances))


def decisions(case: Case, rng: np.random.Generator, replicates: int, *, limit: float, alpha: float = ALPHA) -> Row:
    """Return how often sets pass and fail `eo_diag_max <= limit`, decided as the gate does."""
    passed = failed = passed_row_by_row = 0
    tests = case.classes * len(case.rates) * (len(case.rates) - 1)
    mean = (float(np.mean(case.rates)),) * len(case.rates)
    for count in batches(case, replicates):
        within, beyond, within_row_by_row = np.ones(count, bool), np.zeros(count, bool), np.ones(count, bool)
        for c in range(case.classes):
            right = outcomes(case, case.rates if c == 0 else mean, rng, count)
            for (a, b), difference in differences(case, right).items():
                within &= np.maximum(difference.upper(alpha), -difference.lower(alpha)) <= limit + _ROUNDING
                strict = alpha / tests
                beyond |= np.maximum(difference.lower(strict), -difference.upper(strict)) > limit + _ROUNDING
                both = np.maximum(_row_by_row(right[a], right[b]), _row_by_row(right[b], right[a]))
                within_row_by_row &= both <= limit + _ROUNDING
        passed, failed = passed + int(within.sum()), failed + int(beyond.sum())
        passed_row_by_row += int(within_row_by_row.sum())
    counts = {"pass": passed, "fail": failed, "pass_row_by_row": passed_row_by_row}
    shares = {name: times / replicates for name, times in counts.items()}
    what = f"fair, limit {limit:g}" if case.is_fair else f"at the limit {limit:g}"
    return Row("decision", what, case, replicates, shares, ("fail",) if case.is_fair else ("pass", "fail"))


def mean_decisions(case: Case, rng: np.random.Generator, replicates: int, *, limit: float, alpha: float = ALPHA) -> Row:
    """Return how often `eo_diag_mean <= limit` passes, if all classes have the gap of the case.

    All of them favour the same group, so one choice of signs decides. This is the worst case: only then does the
    largest bound equal the bound of one mean.
    """
    passed = 0
    for count in batches(replace(case, seeds=case.seeds * case.classes), replicates):
        parts = []
        for _ in range(case.classes):
            parts += differences(case, outcomes(case, case.rates, rng, count)).values()
        passed += int((MeanOfLargest(side_by_side(parts), case.classes).upper(alpha) <= limit + _ROUNDING).sum())
    what = f"fair, limit {limit:g}" if case.is_fair else f"at the limit {limit:g}"
    return Row("mean", what, case, replicates, {"pass": passed / replicates}, () if case.is_fair else ("pass",))


def coverage_cases(sizes: tuple[int, ...], seeds: int) -> Iterator[Case]:
    """Yield rates up to 1, sizes, pairs, clusters of all kinds and unequal cells."""
    for rates in ((0.7, 0.6), (0.95, 0.9), (0.99, 0.97), (1.0, 0.99)):
        for n in sizes:
            for paired in (False, True):
                for common in (0.0, 0.8) if n >= 1000 else (0.5,):
                    yield Case(rates, (n, n), seeds=seeds, paired=paired, common=common)
    two = Case(rates=(0.9, 0.8), sizes=(100, 100), seeds=seeds)
    yield replace(two, sizes=(1000, 50))
    yield replace(two, sizes=(50, 1000))
    yield replace(two, seed_sd=0.0)
    yield replace(two, alike=0.0)
    yield replace(two, alike=0.95, rates=(0.99, 0.95))
    large = replace(two, sizes=(400, 400))
    yield replace(large, seed_sd=0.06, rates=(0.6, 0.5))
    yield replace(large, clusters="fours")
    yield replace(large, clusters="fours", sizes=(400, 200), rates=(0.99, 0.95))
    yield replace(large, clusters="fours", icc=0.9, paired=True)
    yield replace(large, clusters="giant")
    yield replace(large, clusters="tenth", rates=(0.6, 0.5), icc=0.95)
    yield replace(large, clusters="opposed", seed_sd=0.01)
    yield replace(large, clusters="opposed", seed_sd=0.01, rates=(0.6, 0.5), icc=0.95)
    yield replace(large, clusters="aligned", seed_sd=0.01)


def coverage_rows(seeds: int, rng: np.random.Generator, replicates: int) -> Iterator[Row]:
    """Yield the coverage of bounds from some number of networks, and where it is not promised."""
    for case in coverage_cases((50, 200, 1000), seeds):
        yield coverage(case, rng, replicates)
    # Scatter that is wide or cut off near a rate of 1 is far from normal; no bound from few seeds holds there.
    yield coverage(Case((0.9, 0.8), (400, 400), seeds=seeds, seed_sd=0.06), rng, replicates, promised=())
    for rates in ((1.0, 0.99), (0.99, 0.97)):
        cut_off = Case(rates, (1000, 1000), seeds=seeds, common=0.8, is_cut_off=True)
        yield coverage(cut_off, rng, replicates, promised=())


def decision_cases(*, long: bool) -> Iterator[tuple[Case, float]]:
    """Yield sets whose true gap is the limit exactly, and fair ones, with the limit."""
    for groups, classes in ((2, 2), (2, 10), (10, 10)) if long else ((2, 2), (4, 4)):
        for n in (200, 1000) if long else (72, 400):
            for seeds, paired in ((5, False), (5, True), (10, False)) if groups == 2 else ((5, False),):
                middle = (0.85,) * (groups - 2)
                at_limit = Case((0.9, *middle, 0.8), (n,) * groups, classes, seeds, paired=paired)
                yield at_limit, 0.1
                yield replace(at_limit, rates=(0.9,) * groups), 0.1
    unequal = Case((0.99, 0.84), (2000, 60), 4)
    yield unequal, 0.15
    yield replace(unequal, sizes=(60, 2000)), 0.15


def decision_rows(rng: np.random.Generator, replicates: int) -> Iterator[Row]:
    """Yield decisions on the largest gap. Fair sets and ten groups need fewer replicates, or cost too much."""
    for case, limit in decision_cases(long=True):
        cost = case.seeds * sum(case.sizes) * case.classes * (len(case.sizes) - 1)
        few = case.is_fair or len(case.sizes) > 2
        yield decisions(case, rng, max(100, min(replicates, 40_000_000 // cost)) if few else replicates, limit=limit)


def mean_rows(rng: np.random.Generator, replicates: int) -> Iterator[Row]:
    """Yield decisions on the average gap over ten classes.

    At the limit, all ten classes have a gap. A fair class adds the size of its noise to the average, so sets with fewer
    gaps never pass at their limit, and a wrong bound would go unnoticed.
    """
    for n, paired in ((200, False), (200, True), (1000, False)):
        for rate, seed_sd in ((0.95, 0.03), (0.8, 0.03), (0.8, 0.01)):
            at_limit = Case((rate, rate - 0.06), (n, n), 10, paired=paired, seed_sd=seed_sd)
            yield mean_decisions(at_limit, rng, replicates, limit=0.06)
        for seed_sd in (0.03, 0.06):
            fair = Case((0.9, 0.9), (n, n), 10, paired=paired, seed_sd=seed_sd)
            yield mean_decisions(fair, rng, replicates // 8, limit=0.05)


def rows_of_metrics(rng: np.random.Generator, replicates: int) -> Iterator[Row]:
    """Yield a row for every metric at its limit."""
    for name, case, count, share in metric_rows(rng, replicates, alpha=ALPHA):
        yield Row("metric", name, case, count, {"pass": share}, ("pass",))


PARTS: dict[str, Callable[[np.random.Generator, int], Iterator[Row]]] = {
    **{f"coverage, {seeds} seeds": partial(coverage_rows, seeds) for seeds in (10, 5, 3)},
    "decisions": decision_rows,
    "metrics": rows_of_metrics,
    "means": mean_rows,
}


def simulate(part: str, replicates: int = 4000) -> list[Row]:
    """Return the rows of one part. Each part has its own random numbers."""
    rows = []
    for row in PARTS[part](np.random.default_rng(list(PARTS).index(part)), replicates):
        rows.append(row)
        print(summary([row]), flush=True)
    return rows


def summary(rows: list[Row]) -> str:
    """Return a table of all rows."""
    lines = []
    for row in rows:
        shares = "  ".join(f"{name} {100 * share:.1f}" for name, share in row.shares.items())
        case = row.case
        sizes = str(case.sizes[0]) if len(set(case.sizes)) == 1 else "/".join(map(str, case.sizes))
        lines.append(
            f"{row.kind:9}{row.what:45} {len(case.sizes)} x {case.classes}, rates {case.rates[0]:g} {case.rates[-1]:g}"
            f", {sizes} a cell, {case.seeds} seeds{', paired' if case.paired else ''}: {shares}"
        )
    return "\n".join(lines)


def main(path: Path) -> int:
    with ProcessPoolExecutor(_PROCESSES) as pool:
        rows = [row for rows in pool.map(simulate, PARTS) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"alpha": ALPHA, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    broken = [message for row in rows for message in row.broken()]
    print(*broken, sep="\n")
    print(f"{len(rows)} rows, {len(broken)} broken promises")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
