"""Measure how often the bounds of the gate cover the truth, on thousands of simulated sets with known gaps.

`python tests/gate/simulation.py OUT.json` runs the long version, prints a table and exits 1 if a promise is broken;
`test_simulation.py` runs a short one. Vectorised over replicates: R replicates, S seeds, n examples.

The model. Network s predicts example i correctly if a normal score is below a threshold. The score is the sum of a part
of the example (`alike` between seeds, and between the two of a pair), a part of the cluster, and noise. The threshold
varies between seeds so that a rate of up to 0.9 varies by 3 points. Higher rates vary less, because a rate cannot be 3
points above 0.99. The true rate of every cell is therefore known exactly.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import norm

from fair_distill.gate.bounds import Contrasts, bend, level, minus, on_the_same

ALPHA = 0.05
SEED_SD = 0.03
_AT_ONCE = 8_000_000


@dataclass(frozen=True)
class Case:
    """One kind of set.

    Attributes
    ----------
    rates : the true rate of each group in the class that carries the gap; every other class has their mean
    sizes : examples of each group, in every class
    common : share of the seeds' scatter that all groups have in common
    cluster : examples a cluster; icc is what they have in common
    cut_off : the scatter of 3 points stays as it is near a rate of 1, and what would lie above is 1
    """

    rates: tuple[float, ...]
    sizes: tuple[int, ...]
    classes: int = 1
    seeds: int = 3
    seed_sd: float = SEED_SD
    common: float = 0.5
    alike: float = 0.6
    paired: bool = False
    cluster: int = 1
    icc: float = 0.0
    cut_off: bool = False


@dataclass(frozen=True)
class Row:
    """The counts over replicates, as shares of the replicates."""

    kind: str
    case: Case
    replicates: int
    shares: dict[str, float] = field(default_factory=dict)

    def error(self, share: float) -> float:
        """Standard error of a share that is truly `share`."""
        return float(np.sqrt(share * (1 - share) / self.replicates))


def _normal(rng: np.random.Generator, *shape: int) -> Any:
    return rng.standard_normal(shape, dtype=np.float32)


def _answers(case: Case, rates: tuple[float, ...], rng: np.random.Generator, replicates: int) -> list[Any]:
    """Answers (R, S, n) of one class, per group: whether each is right."""
    own = None
    common = _normal(rng, replicates, case.seeds)
    found = []
    for rate, n in zip(rates, case.sizes, strict=True):
        if case.paired and own is not None:
            # Most of what makes an image hard is the same in its other colour.
            example = np.sqrt(0.8) * own + np.sqrt(0.2) * _normal(rng, replicates, n)
        else:
            of_cluster = np.repeat(_normal(rng, replicates, -(-n // case.cluster)), case.cluster, axis=1)[:, :n]
            example = np.sqrt(case.icc) * of_cluster + np.sqrt(1 - case.icc) * _normal(rng, replicates, n)
            own = example
        shift = np.sqrt(case.common) * common + np.sqrt(1 - case.common) * _normal(rng, replicates, case.seeds)
        if case.cut_off:
            threshold = ndtri(np.clip(rate + case.seed_sd * shift, 0, 1))
        else:
            moves = case.seed_sd / norm.pdf(ndtri(min(rate, 0.9)))
            threshold = ndtri(rate) * np.sqrt(1 + moves**2) + moves * shift
        noise = _normal(rng, replicates, case.seeds, n)
        score = np.sqrt(case.alike) * example[:, None].astype(np.float32) + np.sqrt(1 - case.alike) * noise
        found.append(score < threshold[..., None].astype(np.float32))
    return found


def _true(case: Case, rate: float) -> float:
    """The rate over all seeds, which cutting off pulls down."""
    if not case.cut_off:
        return rate
    quantiles = rate + case.seed_sd * ndtri((np.arange(100_000) + 0.5) / 100_000)
    return float(np.clip(quantiles, 0, 1).mean())


def _contrasts(case: Case, answers: list[Any]) -> dict[tuple[int, int], Contrasts]:
    """The difference between every two groups."""
    clusters = [None if case.cluster == 1 else np.arange(n) // case.cluster for n in case.sizes]
    pairs = combinations(range(len(answers)), 2)
    if case.paired:
        n = np.array(case.sizes[0] / case.cluster)
        bends = [bend(one.mean(axis=-1), n) for one in answers]
        return {
            (a, b): replace(
                on_the_same(answers[a].astype(np.float32) - answers[b], clusters[a]), bend=bends[a] - bends[b]
            )
            for a, b in pairs
        }
    levels = [level(one, of) for one, of in zip(answers, clusters, strict=True)]
    return {(a, b): minus(levels[a], levels[b]) for a, b in pairs}


def _batches(case: Case, replicates: int) -> Iterator[int]:
    size = max(20, _AT_ONCE // (case.seeds * max(case.sizes)))
    while replicates > 0:
        yield min(size, replicates)
        replicates -= size


def coverage(case: Case, rng: np.random.Generator, replicates: int) -> Row:
    """How often the one-sided bounds of a difference, and of its rates, hold the truth."""
    rates = [_true(case, rate) for rate in case.rates]
    truth = rates[0] - rates[1]
    held: dict[str, int] = {"upper": 0, "lower": 0, "rate_lower": 0, "rate_upper": 0, "naive": 0}
    width = 0.0
    for count in _batches(case, replicates):
        first, second = _answers(case, case.rates, rng, count)
        apart = _contrasts(case, [first, second])[0, 1]
        clusters = None if case.cluster == 1 else np.arange(case.sizes[0]) // case.cluster
        rate = level(first, clusters)
        upper = apart.upper(ALPHA)
        width += float((upper - apart.value).sum())
        held["upper"] += int((upper >= truth - 1e-12).sum())
        held["lower"] += int((apart.lower(ALPHA) <= truth + 1e-12).sum())
        held["rate_lower"] += int((rate.lower(ALPHA) <= rates[0] + 1e-12).sum())
        held["rate_upper"] += int((rate.upper(ALPHA) >= rates[0] - 1e-12).sum())
        held["naive"] += int((_row_wise(*map(_rows, (first, second))) >= truth - 1e-12).sum())
    shares = {name: hits / replicates for name, hits in held.items()}
    return Row("coverage", case, replicates, {**shares, "half_width": width / replicates})


def _rows(answers: Any) -> tuple[Any, int]:
    return answers.mean(axis=(-1, -2)), answers.shape[-1] * answers.shape[-2]


def _row_wise(first: tuple[Any, int], second: tuple[Any, int]) -> Any:
    """Newcombe's upper bound that treats every row as an example, for comparison."""
    z = norm.isf(ALPHA)
    ends = []
    for (p, n), side in ((first, 1), (second, -1)):
        centre, half = (p + z * z / (2 * n)), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        ends.append((p, side * ((centre + side * half) / (1 + z * z / n) - p)))
    (p1, up), (p2, down) = ends
    return p1 - p2 + np.hypot(up, down)


def decisions(case: Case, rng: np.random.Generator, replicates: int, *, limit: float) -> Row:
    """How often a set passes and fails `eo_diag_max <= limit`, decided as the gate does."""
    passed = failed = naive = 0
    tests = case.classes * len(case.rates) * (len(case.rates) - 1)
    mean = (float(np.mean(case.rates)),) * len(case.rates)
    for count in _batches(case, replicates):
        ok, bad = np.ones(count, dtype=bool), np.zeros(count, dtype=bool)
        row_wise = np.ones(count, dtype=bool)
        for c in range(case.classes):
            answers = _answers(case, case.rates if c == 0 else mean, rng, count)
            rows = [_rows(one) for one in answers]
            for (a, b), apart in _contrasts(case, answers).items():
                ok &= np.maximum(apart.upper(ALPHA), -apart.lower(ALPHA)) <= limit + 1e-9
                bad |= np.maximum(apart.lower(ALPHA / tests), -apart.upper(ALPHA / tests)) > limit + 1e-9
                both = np.maximum(_row_wise(rows[a], rows[b]), _row_wise(rows[b], rows[a]))
                row_wise &= both <= limit + 1e-9
        passed, failed, naive = passed + int(ok.sum()), failed + int(bad.sum()), naive + int(row_wise.sum())
    shares = {"pass": passed, "fail": failed, "naive_pass": naive}
    return Row(
        f"decision at a true gap of {max(case.rates) - min(case.rates):.3g}, limit {limit:.3g}",
        case,
        replicates,
        {name: hits / replicates for name, hits in shares.items()},
    )


def mean_decisions(case: Case, rng: np.random.Generator, replicates: int, *, limit: float, gapped: int) -> Row:
    """How often `eo_diag_mean <= limit` passes where `gapped` classes carry the gap and two groups are compared."""
    passed = per_class = 0
    even = (float(np.mean(case.rates)),) * 2
    strict = ALPHA / case.classes
    for count in _batches(case, replicates):
        parts = [
            _contrasts(case, _answers(case, case.rates if c < gapped else even, rng, count))[0, 1]
            for c in range(case.classes)
        ]
        value = sum(np.abs(part.value) for part in parts)
        wide = sum(np.maximum(part.examples_above(ALPHA), part.examples_below(ALPHA)) ** 2 for part in parts)
        scatter = sum(np.maximum(part.seeds_above(ALPHA), part.seeds_below(ALPHA)) for part in parts)
        passed += int(((value + np.hypot(np.sqrt(wide), scatter)) / case.classes <= limit + 1e-9).sum())
        each = sum(np.maximum(part.upper(strict), -part.lower(strict)) for part in parts) / case.classes
        per_class += int((each <= limit + 1e-9).sum())
    shares = {"pass": passed / replicates, "pass_at_alpha_over_classes": per_class / replicates}
    return Row(f"mean over classes, {gapped} with the gap, limit {limit:.3g}", case, replicates, shares)


# ---- what is run ----------------------------------------------------------------------------------------------

TWO = Case(rates=(0.9, 0.8), sizes=(100, 100))


def coverage_cases(sizes: tuple[int, ...], seeds: tuple[int, ...]) -> list[Case]:
    """Rates up to 0.99 and 1, sizes, seeds, pairing, clusters, unequal cells."""
    cases = []
    for pair in ((0.7, 0.6), (0.95, 0.9), (0.99, 0.97), (1.0, 0.99), (1.0, 1.0)):
        for n in sizes:
            for s in seeds:
                for paired in (False, True):
                    for common in (0.0, 0.8):
                        cases.append(Case(rates=pair, sizes=(n, n), seeds=s, paired=paired, common=common))
    for s in seeds:
        cases += [
            replace(TWO, sizes=(1000, 50), seeds=s),
            replace(TWO, sizes=(50, 1000), seeds=s),
            replace(TWO, sizes=(400, 400), cluster=4, icc=0.7, seeds=s),
            replace(TWO, sizes=(400, 200), cluster=4, icc=0.7, seeds=s, rates=(0.99, 0.95)),
            replace(TWO, sizes=(200, 200), cluster=4, icc=0.9, seeds=s, paired=True),
            replace(TWO, sizes=(100, 100), seeds=s, seed_sd=0.0),
            replace(TWO, sizes=(100, 100), seeds=s, alike=0.0),
            replace(TWO, sizes=(100, 100), seeds=s, alike=0.95, rates=(0.99, 0.95)),
        ]
    return cases


def decision_cases(*, long: bool) -> list[tuple[Case, float]]:
    """Sets whose true gap is the limit exactly, and fair ones; with the limit."""
    cases = []
    for groups, classes in ((2, 2), (2, 10), (4, 4), (10, 10)) if long else ((2, 2), (4, 4)):
        for n in (50, 200, 1000, 4000) if long else (72, 400):
            if groups * classes * n > 200_000:
                continue
            for seeds in (3, 10) if long and groups * classes <= 20 else (3,):
                for paired in (False, True):
                    middle = (0.85,) * (groups - 2)
                    gapped = Case((0.9, *middle, 0.8), (n,) * groups, classes, seeds, paired=paired)
                    cases += [(gapped, 0.1), (replace(gapped, rates=(0.9,) * groups), 0.1)]
    unequal = Case((0.99, 0.84), (2000, 60), 4)
    return [*cases, (unequal, 0.15), (replace(unequal, sizes=(60, 2000)), 0.15)]


def run(*, long: bool, rng: np.random.Generator) -> list[Row]:
    """All rows."""
    many = 4000 if long else 1500
    sizes, seeds = ((50, 200, 1000, 4000), (3, 5, 10)) if long else ((50, 400), (3, 5))
    rows = []
    for case in coverage_cases(sizes, seeds):
        cost = case.seeds * sum(case.sizes)
        rows.append(coverage(case, rng, max(1500, min(many, 40_000_000 // cost)) if long else many))
    for case, limit in decision_cases(long=long):
        cost = case.seeds * sum(case.sizes) * case.classes * (len(case.sizes) - 1)
        rows.append(decisions(case, rng, max(400, min(many, 300_000_000 // cost)) if long else 400, limit=limit))
    some = many // (1 if long else 4)
    for paired in (False, True):
        for n in (100, 1000):
            for gapped in (10, 5, 1):
                gap = 0.6 / gapped if gapped > 1 else 0.3
                case = Case((0.95, 0.95 - gap), (n, n), 10, paired=paired)
                rows.append(mean_decisions(case, rng, some, limit=gap * gapped / 10, gapped=gapped))
            fair = Case((0.95, 0.95), (n, n), 10, paired=paired)
            rows.append(mean_decisions(fair, rng, some, limit=0.1 if n == 100 else 0.06, gapped=0))
    if long:
        # Scatter that is cut off at a rate of 1 is as skewed as a distribution gets; no bound from 3 seeds holds there.
        for pair in ((1.0, 0.99), (0.99, 0.97)):
            for s in (3, 10):
                case = Case(pair, (1000, 1000), seeds=s, common=0.8, cut_off=True)
                rows.append(replace(coverage(case, rng, many), kind="beyond the promise: scatter cut off at 1"))
    return rows


def broken(rows: list[Row]) -> list[str]:
    """Say which promises the rows do not keep, beyond what Monte-Carlo error allows."""
    told = []
    for row in rows:
        if row.kind == "coverage":
            for name in ("upper", "lower", "rate_lower", "rate_upper"):
                least = 1 - ALPHA - 0.01 - 3 * row.error(1 - ALPHA)
                if row.shares[name] < least:
                    told.append(f"{name} holds {row.shares[name]:.3f} of the time: {row.case}")
        elif not row.case.cut_off and max(row.case.rates) > min(row.case.rates):
            for name in ("pass", "fail"):
                if row.shares.get(name, 0) > ALPHA + 3 * row.error(ALPHA):
                    told.append(f"{row.kind}: {name} {row.shares[name]:.3f} of the time: {row.case}")
    return told


def summary(rows: list[Row]) -> str:
    """A table: the worst of each kind."""
    lines = ["one-sided bounds at 95 %: share that hold the truth, smallest and mean over cases"]
    covered = [row for row in rows if row.kind == "coverage"]
    for paired in (False, True):
        for seeds in sorted({row.case.seeds for row in covered}):
            some = [row for row in covered if (row.case.paired, row.case.seeds) == (paired, seeds)]
            if some:
                both = [min(row.shares["upper"], row.shares["lower"]) for row in some]
                rate = [min(row.shares["rate_lower"], row.shares["rate_upper"]) for row in some]
                naive = [row.shares["naive"] for row in some]
                lines.append(
                    f"  {'paired' if paired else 'unpaired':9}{seeds:3} seeds {len(some):4} cases"
                    f"  difference {min(both):.3f} {np.mean(both):.3f}  rate {min(rate):.3f} {np.mean(rate):.3f}"
                    f"  row-wise {min(naive):.3f} {np.mean(naive):.3f}"
                )
    lines.append("the gate: share that pass and fail")
    for row in rows:
        if row.kind != "coverage":
            case = row.case
            shares = "  ".join(f"{name} {share:.3f}" for name, share in row.shares.items())
            sizes = str(case.sizes[0]) if len(set(case.sizes)) == 1 else "/".join(map(str, case.sizes))
            lines.append(
                f"  {len(case.sizes)} groups x {case.classes} classes, {sizes} a cell, {case.seeds} seeds"
                f"{', paired' if case.paired else ''}; {row.kind}: {shares}"
            )
    return "\n".join(lines)


def main(path: Path) -> int:
    rows = run(long=True, rng=np.random.default_rng(5))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"alpha": ALPHA, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    print(summary(rows))
    faults = broken(rows)
    print(*faults, sep="\n")
    print(f"{len(rows)} rows, {len(faults)} broken promises")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
