"""The cost and the risk of repeated attempts at one gate split that may grow.

    python -m benchmarks.attempts

It compares the rule of `gate.spending` with the rule of earlier releases. Every set is exactly at its limit, so each
pass is false, and each test has exactly its level. The statistic of attempt k is the sum of a part of the examples, a
part of the set on these examples, and a part of the networks. The first part is common to all attempts as far as they
share examples. So the correlation of two attempts goes from 0 (other networks decide) to 1 (the examples decide).
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fair_distill.gate.quantiles import normal_quantile, t_quantile
from fair_distill.gate.spending import SMALLEST_FRACTION, fraction_of, legacy_fraction

RESULTS = Path(__file__).parent / "results" / "attempts.json"
ALPHA = 0.05
POWER = 0.8
# The share of the variance that is common to all sets on the same examples.
COMMON = (0.0, 0.5, 0.9, 1.0)

Floats = NDArray[np.float64]
Sizes = Sequence[float]


def planned(count: int) -> Callable[[Sizes], Floats]:
    """Return the rule of this release: the fractions of alpha of attempts at a split that only grows."""

    def fractions(sizes: Sizes) -> Floats:
        taken: list[float] = []
        for k, size in enumerate(sizes):
            spent = sum(fraction * earlier / size for fraction, earlier in zip(taken, sizes[:k], strict=True))
            fraction = fraction_of(1 - spent, count)
            taken.append(fraction if fraction >= SMALLEST_FRACTION else 0.0)
        return np.array(taken)

    return fractions


def by_number(sizes: Sizes) -> Floats:
    """Return the fractions of earlier releases if every attempt is recorded: 6 / (π² k²)."""
    return np.array([legacy_fraction(k) for k in range(1, len(sizes) + 1)])


def always_first(sizes: Sizes) -> Floats:
    """Return the fractions of earlier releases if no attempt is recognised as one: each is the first."""
    return np.full(len(sizes), legacy_fraction(1))


@dataclass(frozen=True)
class Case:
    """A sequence of attempts: its title, the size of the split at each, and the rules that are compared."""

    title: str
    sizes: Sizes
    rules: dict[str, Callable[[Sizes], Floats]]
    before: str


WEEKLY = [1.01**week for week in range(104)]
CASES = (
    Case(
        "a set each week for two years, on a split that grows by 1 % a week",
        WEEKLY,
        {f"attempts: {count}": planned(count) for count in (1, 5, 14, 104)},
        "by number",
    ),
    Case(
        "20 sets, or 20 retrainings of one set",
        [1.0] * 20,
        {"attempts: 1": planned(1), "attempts: 20": planned(20)},
        "first",
    ),
)
BEFORE = {"by number": by_number, "first": always_first}


@dataclass(frozen=True)
class Row:
    """The risk of a sequence of attempts.

    Attributes
    ----------
    bound : the sum of the levels, which bounds the risk for any dependence
    false_pass : the share of sequences with at least one false pass, by the share of the variance that is common
    """

    case: str
    rule: str
    bound: float
    false_pass: dict[str, float]


def false_passes(sizes: Sizes, levels: Floats, common: float, rng: np.random.Generator, replicates: int) -> float:
    """Return the share of sequences in which at least one test at its level rejects a true null hypothesis."""
    steps = np.diff(np.asarray(sizes, dtype=float), prepend=0.0)
    thresholds = np.array([-normal_quantile(level) if level > 0 else -np.inf for level in levels])
    passed = np.zeros(replicates, dtype=bool)
    total = np.zeros(replicates)
    for size, step, threshold in zip(sizes, steps, thresholds, strict=True):
        total += np.sqrt(step) * rng.standard_normal(replicates)
        statistic = np.sqrt(common) * total / np.sqrt(size) + np.sqrt(1 - common) * rng.standard_normal(replicates)
        passed |= statistic < threshold
    return float(passed.mean())


def added_seeds(levels: Floats, rng: np.random.Generator, replicates: int, *, first: int = 5, last: int = 30) -> float:
    """Return the share of false passes if networks are added one by one, and a t test is made after each."""
    values = rng.standard_normal((replicates, last))
    passed = np.zeros(replicates, dtype=bool)
    for seeds, level in zip(range(first, last + 1), levels, strict=True):
        if level <= 0:
            continue
        some = values[:, :seeds]
        statistic = some.mean(axis=1) / (some.std(axis=1, ddof=1) / np.sqrt(seeds))
        passed |= statistic < -t_quantile(level, seeds - 1)
    return float(passed.mean())


def simulate(replicates: int, seed: int = 0) -> list[Row]:
    """Return the rows of all cases."""
    rng = np.random.default_rng(seed)
    rows = []
    for case in CASES:
        for rule, fractions in {f"before: {case.before}": BEFORE[case.before], **case.rules}.items():
            levels = ALPHA * fractions(case.sizes)
            shares = {f"{share:g}": false_passes(case.sizes, levels, share, rng, replicates) for share in COMMON}
            rows.append(Row(case.title, rule, float(levels.sum()), shares))
    sizes = [1.0] * 26
    for rule, fractions in {
        "before: first": always_first,
        "attempts: 1": planned(1),
        "attempts: 26": planned(26),
    }.items():
        levels = ALPHA * fractions(sizes)
        share = added_seeds(levels, rng, replicates)
        rows.append(Row("seeds added one by one, from 5 to 30", rule, float(levels.sum()), {"-": share}))
    return rows


def examples_needed(level: float) -> float:
    """Return the examples for an 80 % pass at a level, relative to a single test at alpha."""
    single = normal_quantile(ALPHA) + normal_quantile(1 - POWER)
    return ((normal_quantile(level) + normal_quantile(1 - POWER)) / single) ** 2


def weekly_levels(rule: Callable[[Sizes], Floats]) -> Floats:
    """Return the level of each weekly attempt at a split that grows by 1 % a week."""
    return ALPHA * rule(WEEKLY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=200_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows = simulate(arguments.replicates)
    content = {"replicates": arguments.replicates, "alpha": ALPHA, "rows": [asdict(row) for row in rows]}
    arguments.out.write_text(json.dumps(content, indent=1) + "\n")
    for row in rows:
        print(f"{row.case:70} {row.rule:20} {row.bound:.4f}", {key: round(v, 4) for key, v in row.false_pass.items()})
    for name, rule in {"before": by_number, **{str(count): planned(count) for count in (1, 5, 14, 104)}}.items():
        levels = weekly_levels(rule)
        cells = [f"{levels[k - 1]:.2g} {examples_needed(levels[k - 1]):.2f}" for k in (1, 2, 5, 20, 52, 104)]
        print(name, cells, f"look 52 / look 1: {examples_needed(levels[51]) / examples_needed(levels[0]):.2f}")


if __name__ == "__main__":
    main()
