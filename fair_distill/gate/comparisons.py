"""The rates that a clause measures, and the groups in which it measures them or between which it compares them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from fair_distill.errors import ConfigError
from fair_distill.gate.confusion import Confusion, Floats, Rate

# Groups that are pooled, as indices.
Side = tuple[int, ...]
Sides = tuple[tuple[Side, Side | None], ...]


@dataclass(frozen=True)
class Comparison:
    """A rate in the groups `first`, or the difference between `first` and `second`."""

    rate: Rate
    first: Side
    second: Side | None

    @property
    def sides(self) -> tuple[Side, ...]:
        return (self.first,) if self.second is None else (self.first, self.second)


@dataclass(frozen=True)
class Comparisons:
    """Every rate of a clause on every side, or between every pair of sides."""

    rates: tuple[Rate, ...]
    sides: Sides

    @property
    def distinct_sides(self) -> list[Side]:
        """The sides that occur, each once, in the order of their first occurrence."""
        return list(dict.fromkeys(side for pair in self.sides for side in pair if side is not None))

    @property
    def each(self) -> tuple[Comparison, ...]:
        """The comparisons, rate by rate."""
        return tuple(Comparison(rate, *sides) for rate in self.rates for sides in self.sides)


def pairs_of_groups(groups: Sequence[int], *, against_rest: bool) -> Sides:
    """Return every pair of groups, or each group and all others pooled."""
    if not against_rest or len(groups) == 2:
        return tuple(((a,), (b,)) for a, b in combinations(groups, 2))
    return tuple(((a,), tuple(b for b in groups if b != a)) for a in groups)


def select(names: Sequence[str] | None, available: Sequence[str], noun: str, location: str) -> tuple[int, ...]:
    """Return the indices of the selected names, or of all. Raises ConfigError, with `location`, for an unknown name."""
    for name in names or ():
        if name not in available:
            raise ConfigError(f"{location}: unknown {noun} {name!r}; choose from {', '.join(available)}")
    return tuple(i for i, name in enumerate(available) if names is None or name in names)


def rates_of_sides(table: Confusion, comparisons: Comparisons) -> tuple[Floats, Floats | None]:
    """Return the rates of all first sides and of all second sides, two arrays (rates, sides)."""
    numerators, denominators = table.counts_of(comparisons.rates)

    def rates(sides: Sequence[Side]) -> Floats:
        return np.stack([pooled(numerators, denominators, side) for side in sides], axis=1)

    second = [b for _, b in comparisons.sides if b is not None]
    return rates([a for a, _ in comparisons.sides]), rates(second) if second else None


def pooled(numerators: Floats, denominators: Floats, side: Side) -> Floats:
    """Return quotients (..., G) with the groups of a side pooled, (...)."""
    groups = list(side)
    return np.asarray(numerators[..., groups].sum(axis=-1) / denominators[..., groups].sum(axis=-1))
