"""The model of the simulation: predictions of sets whose true rates are known.

Network s predicts example i correctly if a normal score is below a threshold. The score is the sum of a part of the
example (`alike` between seeds, and between the two examples of a pair), a part of its cluster, and noise. The threshold
varies between seeds so that a rate of up to 0.9 varies by `seed_sd`. Higher rates vary less, because a rate cannot be 3
points above 0.99.

Axes: R replicates, S seeds, n examples of one class and group.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
from scipy.special import ndtri
from scipy.stats import norm

from fair_distill.gate.bounds import Contrasts, combined_bend, level, minus, on_the_same
from fair_distill.gate.confusion import Floats, Ints
from fair_distill.gate.score import Score
from fair_distill.gate.shared_clusters import correlation, influences

# Numbers in one batch of replicates.
_AT_ONCE = 4_000_000
# How the examples of a cell are clustered.
#   none : each example is a cluster
#   fours : clusters of four examples
#   giant : 50 clusters, one of which has half of the examples
#   tenth : 50 clusters, one of which has a tenth of the examples
#   opposed : 50 clusters of equal size; each has examples of all groups, and what is easy in one is hard in the next
#   aligned : the same, and what is easy in one group is easy in the others
Clustering = Literal["none", "fours", "giant", "tenth", "opposed", "aligned"]


@dataclass(frozen=True)
class Case:
    """One kind of set.

    Attributes
    ----------
    rates : the true rate of each group in the class that carries the gap; every other class has their mean
    sizes : the number of examples of each group, in every class
    seed_sd : standard deviation over seeds of a rate of up to 0.9
    common : share of the scatter over seeds that all groups have in common
    alike : correlation of the scores of one example between seeds
    icc : correlation of the scores of a cluster
    is_cut_off : seeds scatter by `seed_sd` near a rate of 1, too, and values above 1 become 1
    """

    rates: tuple[float, ...]
    sizes: tuple[int, ...]
    classes: int = 1
    seeds: int = 5
    seed_sd: float = 0.03
    common: float = 0.5
    alike: float = 0.6
    paired: bool = False
    clusters: Clustering = "none"
    icc: float = 0.7
    is_cut_off: bool = False

    @property
    def is_fair(self) -> bool:
        return max(self.rates) == min(self.rates)

    @property
    def true_rates(self) -> tuple[float, ...]:
        """The mean rates over all seeds. Values that are cut off reduce them."""
        if not self.is_cut_off:
            return self.rates
        deviations = self.seed_sd * ndtri((np.arange(100_000) + 0.5) / 100_000)
        return tuple(float(np.clip(rate + deviations, 0, 1).mean()) for rate in self.rates)


def batches(case: Case, replicates: int) -> Iterator[int]:
    """Return sizes of batches that fit into memory and add up to the replicates."""
    size = max(20, _AT_ONCE // (case.seeds * max(case.sizes)))
    while replicates > 0:
        yield min(size, replicates)
        replicates -= size


def cluster_labels(clusters: Clustering, n: int) -> Ints | None:
    """Return the cluster of each of n examples, or None if each is a cluster."""
    if clusters == "none":
        return None
    if clusters == "fours":
        return np.arange(n) // 4
    if clusters in ("giant", "tenth"):
        largest = n // 2 if clusters == "giant" else n // 10
        return np.concatenate([np.zeros(largest, int), 1 + np.arange(n - largest) % 49])
    return np.arange(n) % 50


def outcomes(case: Case, rates: tuple[float, ...], rng: np.random.Generator, replicates: int) -> list[Floats]:
    """Return for each group of one class whether each example is predicted right, (R, S, n) of 0 and 1."""
    common = _normal(rng, replicates, case.seeds)
    first_of_pair: Floats | None = None
    shared: Floats | None = None
    each = []
    for group, (rate, n) in enumerate(zip(rates, case.sizes, strict=True)):
        if case.paired and first_of_pair is not None:
            # Most of what makes an image hard is the same in its other colour.
            example = np.sqrt(0.8) * first_of_pair + np.sqrt(0.2) * _normal(rng, replicates, n)
        else:
            example = _normal(rng, replicates, n)
            labels = cluster_labels(case.clusters, n)
            if labels is not None:
                of_clusters = _normal(rng, replicates, int(labels.max()) + 1)
                if case.clusters in ("opposed", "aligned"):
                    shared = of_clusters if shared is None else shared
                    of_clusters = -shared if case.clusters == "opposed" and group % 2 else shared
                example = np.sqrt(case.icc) * of_clusters[:, labels] + np.sqrt(1 - case.icc) * example
            first_of_pair = example
        shift = np.sqrt(case.common) * common + np.sqrt(1 - case.common) * _normal(rng, replicates, case.seeds)
        threshold = _thresholds(case, rate, shift)
        score = np.sqrt(case.alike) * example[:, None] + np.sqrt(1 - case.alike) * _normal(
            rng, replicates, case.seeds, n
        )
        each.append((score.astype(np.float32) < threshold[..., None].astype(np.float32)).astype(np.float32))
    return each


def _normal(rng: np.random.Generator, *shape: int) -> Floats:
    return np.asarray(rng.standard_normal(shape, dtype=np.float32))


def _thresholds(case: Case, rate: float, shift: Floats) -> Floats:
    if case.is_cut_off:
        return np.asarray(ndtri(np.clip(rate + case.seed_sd * shift, 0, 1)))
    moves = case.seed_sd / norm.pdf(ndtri(min(rate, 0.9)))
    return np.asarray(ndtri(rate) * np.sqrt(1 + moves**2) + moves * shift)


def differences(case: Case, groups: list[Floats]) -> dict[tuple[int, int], Contrasts]:
    """Return the difference of every two groups, from the outcomes of each group."""
    labels = [cluster_labels(case.clusters, n) for n in case.sizes]
    levels = [level(outcome, of_group) for outcome, of_group in zip(groups, labels, strict=True)]
    pairs = list(combinations(range(len(groups)), 2))
    if not case.paired:
        moves = [
            None if label is None else _moves(outcome, label) for outcome, label in zip(groups, labels, strict=True)
        ]
        is_shared = case.clusters in ("opposed", "aligned")
        correlations = {
            (a, b): correlation(first, second) if is_shared and first is not None and second is not None else None
            for (a, b) in pairs
            for first, second in [(moves[a], moves[b])]
        }
        return {(a, b): minus(levels[a], levels[b], correlations[a, b]) for a, b in pairs}
    contrasts = {}
    for a, b in pairs:
        within = on_the_same(groups[a] - groups[b], labels[a])
        contrasts[a, b] = replace(within, bend=combined_bend(levels[a], levels[b], -1))
    return contrasts


def _moves(outcome: Floats, labels: Ints) -> Floats:
    count = int(labels.max()) + 1
    return np.stack([influences(values, labels, count) for values in outcome.mean(axis=1)])


def side_by_side(parts: list[Contrasts]) -> Contrasts:
    """Join contrasts (R,) to contrasts (R, J)."""

    def joined(arrays: list[Floats | None]) -> Floats | None:
        return None if arrays[0] is None else np.stack([array for array in arrays if array is not None], axis=1)

    def scores(each: list[Score]) -> Score:
        columns = {name: joined([vars(score)[name] for score in each]) for name in vars(each[0])}
        return Score(**columns)  # type: ignore[arg-type]

    seconds = [part.second for part in parts if part.second is not None]
    names = ("seeds", "interaction", "bend", "correlation")
    columns: dict[str, Any] = {name: joined([vars(part)[name] for part in parts]) for name in names}
    return replace(
        parts[0], first=scores([part.first for part in parts]), second=scores(seconds) if seconds else None, **columns
    )
