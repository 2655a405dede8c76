"""Simulated sets whose networks vary in ways that one assumption covers and another does not.

`python tests/gate/simulation_networks.py OUT.json` runs the long version, prints its rows and exits with 1 if a promise
is broken; `test_networks.py` runs a short one.

The sets of `tests.gate.simulation` have networks with a small normal scatter. Here the scatter is wide, skewed, has
heavy tails, or one network in ten collapses. One difference between two groups is exactly at the limit, so every pass
is a false one, except for sets without a gap. Axes: R replicates, S networks, J differences, n examples of each group.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from fair_distill.gate.bounds import level, minus
from fair_distill.gate.confusion import Floats
from fair_distill.gate.tolerance import tolerance

ALPHA = 0.05
LIMIT = 0.10
# The gap of networks (R, S) around a mean gap.
Gaps = Callable[[np.random.Generator, tuple[int, int], float], Floats]


def normal(sd: float) -> Gaps:
    return lambda rng, shape, mean: rng.normal(mean, sd, shape)


def skewed(rng: np.random.Generator, shape: tuple[int, int], mean: float) -> Floats:
    """Most networks are slightly better than the mean and a few much worse; standard deviation 0.08."""
    return np.asarray(mean + 0.08 * (rng.exponential(1, shape) - 1))


def heavy_tails(rng: np.random.Generator, shape: tuple[int, int], mean: float) -> Floats:
    """Student's t with two degrees of freedom, whose variance is infinite, within the range of differences."""
    return np.clip(mean + 0.03 * rng.standard_t(2, shape), -0.8 + mean, 0.8 + mean)


def collapse(rng: np.random.Generator, shape: tuple[int, int], mean: float) -> Floats:
    """One network in ten has a gap that is 0.5 larger than that of the others."""
    return np.asarray(mean - 0.05 + rng.normal(0, 0.01, shape) + 0.5 * (rng.random(shape) < 0.1))


def extremes(rng: np.random.Generator, shape: tuple[int, int], mean: float) -> Floats:
    """One network in ten recognises nothing of one group, and the others everything: the worst case of one full bet."""
    return np.asarray(rng.random(shape) < mean, dtype=float)


def fair(rng: np.random.Generator, shape: tuple[int, int], mean: float) -> Floats:
    """Networks without a gap on average, whatever the limit is: the only process that should pass."""
    return rng.normal(0, 0.03, shape)


PROCESSES: Mapping[str, Gaps] = {
    "normal, sd 0.03": normal(0.03),
    "normal, sd 0.17": normal(0.17),
    "normal, sd 0.28": normal(0.28),
    "skewed, sd 0.08": skewed,
    "t(2), scale 0.03": heavy_tails,
    "1 of 10 collapses": collapse,
    "1 of 10 ignores a group": extremes,
    "no gap, sd 0.03": fair,
}
NORMAL = tuple(name for name in PROCESSES if name.startswith("normal"))
NUMBERS = (3, 5, 10, 20, 30, 40, 60)
MODES = ("normal", "bounded")


def outcomes(rng: np.random.Generator, rates: Floats, examples: int, *, alike: float = 0.8) -> Floats:
    """Return right and wrong predictions (..., S, n) at given rates (..., S).

    A share `alike` of examples is as difficult for one network as for all others.
    """
    shape = (*rates.shape, examples)
    common = rng.random((*rates.shape[:-1], 1, examples), dtype=np.float32)
    own = rng.random(shape, dtype=np.float32)
    difficulty = np.where(rng.random(shape, dtype=np.float32) < alike, common, own)
    return np.asarray(difficulty < rates[..., None], dtype=np.float32)


def false_passes(
    process: Gaps, numbers: Sequence[int], *, examples: int, replicates: int, seed: int = 0
) -> dict[tuple[str, int], float]:
    """Return how often a set whose mean gap is at the limit passes, by mode and number of networks.

    The number 0 stands for a pass at any of the numbers, if networks are added to the set until it passes.
    """
    rng = np.random.default_rng(seed)
    batch = min(replicates, 100)
    passed = {(mode, number): 0 for mode in MODES for number in (*numbers, 0)}
    for _ in range(replicates // batch):
        gaps = process(rng, (batch, max(numbers)), LIMIT)
        # The first group is recognised in half of the cases at a gap of 0, or always, so that both rates are possible.
        highest = 1.0 if process is extremes else 0.5 + gaps / 2
        right = [outcomes(rng, rates, examples) for rates in (highest + 0 * gaps, highest - gaps)]
        ever = dict.fromkeys(MODES, np.zeros(batch, dtype=bool))
        for number in numbers:
            contrasts = minus(*(level(each[:, :number]) for each in right))
            for mode in MODES:
                passes = replace(contrasts, treatment=mode).upper(ALPHA) <= LIMIT
                passed[mode, number] += int(passes.sum())
                ever[mode] = ever[mode] | passes
        for mode in MODES:
            passed[mode, 0] += int(ever[mode].sum())
    return {key: count / (replicates // batch * batch) for key, count in passed.items()}


@dataclass(frozen=True)
class EachNetwork:
    """Sets of which a share of networks satisfies a limit of 0.2 on the largest of J differences.

    Attributes
    ----------
    gaps : from a generator and a shape (R, S) to the gaps (R, J, S)
    """

    networks: int
    gaps: Callable[[np.random.Generator, tuple[int, int]], Floats]
    examples: int = 400
    share: float = 0.9
    limit: float = 0.2

    def passes(self, *, replicates: int = 1000, seed: int = 0) -> float:
        """Return how often the sets pass a clause with `each_network`."""
        rule = tolerance(self.networks, self.share, ALPHA)
        if rule is None:
            return 0.0
        rng = np.random.default_rng(seed)
        batch = min(replicates, 50)
        passed = 0
        for _ in range(replicates // batch):
            gaps = self.gaps(rng, (batch, self.networks))
            right = [outcomes(rng, 0.5 + sign * gaps / 2, self.examples, alike=1.0) for sign in (1, -1)]
            own = minus(*(level(each[..., None, :]) for each in right))  # each network is a sample of one
            given = replace(own, treatment="given")
            worst = np.maximum(given.upper(rule.alpha), -given.lower(rule.alpha)).max(axis=1)
            passed += int(((worst <= self.limit).sum(axis=1) >= rule.needed).sum())
        return passed / (replicates // batch * batch)


def fair_on_average(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Ten classes without a mean gap; 37 % of networks have a gap above 0.2 in some class."""
    return rng.normal(0, 0.1, (shape[0], 10, shape[1]))


def one_in_ten_violates(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """One class without a gap in nine of ten networks, and barely above the limit in the tenth."""
    return np.asarray(np.where(rng.random((shape[0], 1, shape[1])) < 0.1, 0.2001, 0.0))


def within(gap: float) -> Callable[[np.random.Generator, tuple[int, int]], Floats]:
    """All networks have the same gap in one class."""
    return lambda _, shape: np.full((shape[0], 1, shape[1]), gap)


EACH_NETWORK: Mapping[str, tuple[Callable[[np.random.Generator, tuple[int, int]], Floats], bool]] = {
    "fair on average, 10 classes, sd 0.1": (fair_on_average, True),
    "1 of 10 violates the limit": (one_in_ten_violates, True),
    "all have a gap of 0.05": (within(0.05), False),
}


@dataclass(frozen=True)
class Row:
    """How often sets passed; `promised` if at most alpha of them may.

    Attributes
    ----------
    mode : `normal`, `bounded` or `each_network`
    networks : the number of networks; 0 if they are added until the set passes
    """

    mode: str
    process: str
    networks: int
    replicates: int
    passes: float
    promised: bool

    @property
    def is_broken(self) -> bool:
        error = 3 * np.sqrt(ALPHA * (1 - ALPHA) / self.replicates)
        return self.promised and self.passes > ALPHA + error


def simulate(
    *,
    replicates: int,
    examples: int,
    numbers: tuple[int, ...] = NUMBERS,
    single: tuple[int, ...] = (20, 30, 60),
) -> Iterator[Row]:
    """Yield a row for each mode, process and number of networks."""
    for name, process in PROCESSES.items():
        passes = false_passes(process, numbers, examples=examples, replicates=replicates)
        for (mode, networks), share in passes.items():
            promised = process is not fair and (mode == "bounded" or (name in NORMAL and networks > 0))
            yield Row(mode, name, networks, replicates, share, promised)
    for name, (gaps, promised) in EACH_NETWORK.items():
        for networks in single:
            share = EachNetwork(networks, gaps, examples=examples // 5).passes(replicates=replicates)
            yield Row("each_network", name, networks, replicates, share, promised)


if __name__ == "__main__":
    results = []
    for result in simulate(replicates=2000, examples=2000):
        print(result, flush=True)
        results.append(result)
    content = json.dumps({"rows": [asdict(result) for result in results]}, indent=1)
    Path(sys.argv[1]).write_text(content + "\n")
    sys.exit(any(result.is_broken for result in results))
