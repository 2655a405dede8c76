"""Simulated sets without any gap, for `gate plan`: their bounds on the cells of a real split at an assumed accuracy.

Axes: R simulated sets, J rates or differences, S seeds, C classes, G groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fair_distill.gate.bounds import Contrasts, Treatment, bend
from fair_distill.gate.comparisons import Side, Sides
from fair_distill.gate.confusion import Floats, Ints, Rate
from fair_distill.gate.mean_of_levels import mean_of_levels
from fair_distill.gate.score import Score


@dataclass(frozen=True, eq=False)
class Cells:
    """The independent examples of a gate split per class and group, (C, G).

    Attributes
    ----------
    paired : whether every pair has one example of each group
    marginals : the cells of coarser groups, by the attributes that define them
    clusters_span_classes : whether some cluster has examples of several classes
    """

    counts: Ints
    paired: bool
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    marginals: Mapping[tuple[str, ...], "Cells"] = field(default_factory=dict)
    clusters_span_classes: bool = False


@dataclass(frozen=True)
class Assumptions:
    """Properties of the sets that are simulated.

    Attributes
    ----------
    accuracy : of every cell; wrong predictions are spread evenly over the other classes
    seed_sd : standard deviation over seeds of a difference between two groups
    agreement : correlation of two predictions for one pair, or of two sets for one example
    treatment : how bounds treat the networks
    """

    accuracy: float
    seeds: int
    seed_sd: float
    agreement: float = 0.5
    treatment: Treatment = "normal"


class FairSets:
    """R fair sets as the gate would measure them: binomial scatter of examples and normal scatter of seeds.

    Parameters
    ----------
    rng : None for one ideal set whose measured rates equal the true ones
    draws : R, the number of sets
    """

    def __init__(self, cells: Cells, assumed: Assumptions, rng: np.random.Generator | None, draws: int) -> None:
        self.cells, self.assumed, self.rng, self.draws = cells, assumed, rng, draws

    def sizes(self, rates: Sequence[Rate]) -> Ints:
        """Return the independent examples of each rate in each group, (rates, G)."""
        return np.stack([self.cells.counts[list(rate.true_classes)].sum(axis=0) for rate in rates])

    def true_rates(self, rates: Sequence[Rate]) -> Floats:
        """Return the value of each rate at the assumed accuracy, the same in all groups, (rates,)."""
        accuracy = self.assumed.accuracy
        wrong = (1 - accuracy) / (len(self.cells.classes) - 1)
        # The share of examples whose true class is the predicted one; they are predicted right with `accuracy`.
        shares = [
            1.0
            if rate.predicted is None
            else self.cells.counts[rate.predicted].sum() * (rate.predicted in rate.true_classes) / size.sum()
            for rate, size in zip(rates, self.sizes(rates), strict=True)
        ]
        return np.array([share * accuracy + (1 - share) * wrong for share in shares])

    def levels(self, rates: Sequence[Rate], sides: Sequence[Side]) -> Contrasts:
        """Return each rate on each side, J = rates × sides."""
        by_group = self.sizes(rates)
        # One pair is one piece of evidence, so groups of a paired split add nothing to each other.
        sizes = np.stack(
            [by_group[:, list(side[:1] if self.cells.paired else side)].sum(axis=1) for side in sides], axis=1
        ).ravel()
        shares = self._shares(sizes, np.repeat(self.true_rates(rates), len(sides)))
        seeds = self._seeds(shares, 1 / np.sqrt(2))
        none = np.zeros(shares.shape)
        return Contrasts(
            self._score(shares, None, sizes), None, seeds, none, bend(seeds, none), treatment=self.assumed.treatment
        )

    def means(self, rates: Sequence[Rate], sides: Sequence[Side]) -> Contrasts:
        """Return the mean of all rates, with equal weights, on each side, J = sides."""
        each = self.levels(rates, sides)
        by_side = each[:, np.arange(len(rates) * len(sides)).reshape(len(rates), -1).T]
        means = mean_of_levels(by_side, clusters_are_shared=self.cells.clusters_span_classes)
        # A mean scatters between networks like one rate: most of what moves one class moves the others, too.
        seeds = self._seeds(means.first.positive, 1 / np.sqrt(2))
        return replace(means, seeds=seeds, bend=bend(seeds, means.interaction))

    def over_classes(self, side: Side) -> Contrasts:
        """Return accuracy minus the accuracy of always predicting one class, on the same examples, J = C."""
        groups = list(side[:1] if self.cells.paired else side)
        sizes = self.cells.counts[:, groups].sum(axis=1)
        right = self._shares(sizes, np.full(len(sizes), self.assumed.accuracy)) * sizes
        count = sizes.sum()
        up, down = (right.sum(axis=1, keepdims=True) - right) / count, (sizes - right) / count
        return Contrasts(
            self._score(up, down, np.full(len(sizes), count)),
            None,
            self._seeds(up - down, 1 / np.sqrt(2)),
            np.zeros(up.shape),
            treatment=self.assumed.treatment,
        )

    def both_sides(self, rates: Sequence[Rate], sides: Sides) -> tuple[Contrasts, Contrasts, Floats | None]:
        """Return each rate on the first and on the second side, J = rates × sides, and the correlation of the two."""
        distinct = list(dict.fromkeys(side for pair in sides for side in pair if side is not None))
        starts = np.arange(len(rates))[:, None] * len(distinct)
        first = (starts + [distinct.index(a) for a, _ in sides]).ravel()
        second = (starts + [distinct.index(b) for _, b in sides if b is not None]).ravel()
        if not self.cells.paired:
            each = self.levels(rates, distinct)
            return each[:, first], each[:, second], None
        # One sample of pairs per comparison; the two predictions of a pair agree more often than by chance.
        sizes = self.sizes(rates)[:, [a[0] for a, _ in sides]].ravel()
        true = np.repeat(self.true_rates(rates), len(sides))
        discordant = true * (1 - true) * (1 - self.assumed.agreement)
        both = self._shares(sizes, true - discordant) * sizes
        alone: list[Floats] = []
        for left in (1 - true + discordant, 1 - true):
            rest = sizes - both - sum(alone, np.zeros_like(both))
            share = np.divide(discordant, left, out=np.zeros_like(left), where=left > 0)
            draws = rest * share if self.rng is None else self.rng.binomial(rest.astype(np.int64), share)
            alone.append(np.asarray(draws, dtype=float))
        none = np.zeros(both.shape)
        levels = []
        for only in alone:
            shares = (both + only) / sizes
            seeds = self._seeds(shares, 1 / np.sqrt(2))
            score = self._score(shares, None, sizes)
            levels.append(Contrasts(score, None, seeds, none, bend(seeds, none), treatment=self.assumed.treatment))
        return levels[0], levels[1], np.full(both.shape, self.assumed.agreement)

    def uplift(self, rate: Rate, side: Side) -> Contrasts:
        """Return the difference in accuracy between two sets on the same examples, J = 1."""
        sizes = np.full(1, self.cells.counts[np.ix_(rate.true_classes, side)].sum())
        return self._of_pairs(sizes, np.full(1, self.assumed.accuracy))

    def differences(self, rates: Sequence[Rate], sides: Sides) -> Contrasts:
        """Return the difference of each rate between each pair of sides, J = rates × sides."""
        by_group = self.sizes(rates)
        first = np.stack([by_group[:, list(a)].sum(axis=1) for a, _ in sides], axis=1).ravel()
        second = np.stack([by_group[:, list(b or ())].sum(axis=1) for _, b in sides], axis=1).ravel()
        true = np.repeat(self.true_rates(rates), len(sides))
        if self.cells.paired:
            return self._of_pairs(first, true)
        shares = self._shares(first, true), self._shares(second, true)
        return Contrasts(
            self._score(shares[0], None, first),
            self._score(shares[1], None, second),
            self._seeds(shares[0] - shares[1], 1.0),
            np.zeros(shares[0].shape),
            treatment=self.assumed.treatment,
        )

    def _of_pairs(self, sizes: Ints, true: Floats) -> Contrasts:
        """Return differences between two predictions for each example or pair: only discordant ones count."""
        discordant = true * (1 - true) * (1 - self.assumed.agreement)
        if self.rng is None:
            up = down = np.broadcast_to(discordant, (1, len(true)))
        else:
            differ = self.rng.binomial(sizes, 2 * discordant, (self.draws, len(true)))
            up = self.rng.binomial(differ, 0.5) / sizes
            down = differ / sizes - up
        return Contrasts(
            self._score(up, down, sizes),
            None,
            self._seeds(up - down, 1.0),
            np.zeros(up.shape),
            treatment=self.assumed.treatment,
        )

    def _shares(self, sizes: Ints, true: Floats) -> Floats:
        if self.rng is None:
            return np.broadcast_to(true, (1, len(true)))
        return np.asarray(self.rng.binomial(sizes, true, (self.draws, len(true))) / sizes)

    def _score(self, positive: Floats, negative: Floats | None, sizes: Ints | Floats) -> Score:
        effective = np.broadcast_to(sizes, positive.shape).astype(float)
        # As `score` adds two clusters, one of values 1 and one of the lowest value.
        up = (positive * sizes + 1) / (sizes + 2)
        down = np.zeros_like(up) if negative is None else (negative * sizes + 1) / (sizes + 2)
        variance = (up + down - (up - down) ** 2) / (sizes + 1)
        return Score(positive, negative, effective, np.maximum(effective - 1, 0), variance)

    def _seeds(self, value: Floats, scatter: float) -> Floats:
        shape = (*value.shape, self.assumed.seeds)
        sd = scatter * self.assumed.seed_sd
        noise = np.zeros(shape) if self.rng is None else self.rng.normal(0, 1, shape) * sd
        return np.asarray(value[..., None] + noise)
