"""Deals units to splits by share, so that later data move no unit.

The split of a new unit depends on its name only: a keyed hash of the name is compared with the cumulative shares. So
the sizes of splits vary as in random draws: of n units, a share p gets n·p units with a standard deviation of
√(n·p·(1-p)). A cell with few units needs more exact sizes. Its new units go to the split that their hash names until
this split is full, and then to the split that lacks most. Units that were dealt before stay where they are.

U units, N examples.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from fair_distill.data.column_builders import dense_ranks
from fair_distill.data.grouped_dataset import Array

# Cells with at most this many units get exact shares.
EXACT_UNITS = 1000
# The number of units that are Python numbers at a time.
_BLOCK = 2**16


def deal(
    strata: Array, units: Array, digests: Array, shares: Sequence[float], *, key: int, known: Array | None = None
) -> Array:
    """Return the split of each unit, int8 (U,), as an index into the shares.

    If all units are new, and each has one example, a stratum of at most `EXACT_UNITS` units gets its shares to within
    one unit. Larger units go first, and a need is measured as a share of its stratum, so a rare stratum has the same
    weight as a common one.

    Parameters
    ----------
    strata : int array (N,), the class and group of each example as one number from 0
    units : int array (N,), the unit of each example, from 0
    digests : uint64 array (U,), the name of each unit
    shares : add up to 1
    key : other keys give other, independent splits
    known : int8 array (U,), the split of each unit that was dealt before, -1 for a new unit
    """
    hashed = hash_split(digests, shares, key=key)
    split_of_unit = hashed if known is None else np.where(known < 0, hashed, known).astype(np.int8)
    cells = _Cells.count(strata, units, len(digests))
    by_need = cells.units_in(cells.sizes() <= EXACT_UNITS)
    if known is not None:
        by_need &= known < 0
    waiting = np.flatnonzero(by_need)
    if len(waiting):
        # An order that does not depend on the hash, so that all splits are filled at the same pace.
        sizes = np.bincount(units, minlength=len(digests))
        order = waiting[np.lexsort((digests[waiting], -sizes[waiting]))]
        needs = cells.needs(np.where(by_need, -1, split_of_unit), shares)
        split_of_unit[order] = _fill(needs, cells.of_units(order), hashed[order].tolist())
    return split_of_unit


def hash_split(digests: Array, shares: Sequence[float], *, key: int) -> Array:
    """Return the split of each unit by its name alone, int8 (U,)."""
    positions = (_mix(digests + np.uint64(key)) >> np.uint64(11)) * 2.0**-53  # uniform in [0, 1)
    return np.searchsorted(np.cumsum(shares)[:-1], positions, side="right").astype(np.int8)


def _mix(values: Array) -> Array:
    """Return the output of the generator SplitMix64 for each state (Steele, Lea & Flood, OOPSLA 2014)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _fill(needs: list[list[float]], contents: Iterator[list[tuple[int, int, int]]], hashed: list[int]) -> list[int]:
    """Return the split of each unit, in this order.

    A unit goes to the split that its hash names if this split lacks at least all but half of an example of it.
    """
    splits = range(len(needs[0]))
    result = []
    for cells, preferred in zip(contents, hashed, strict=True):
        # Each choice depends on the previous one, so this is a loop; on Python numbers, because there may be millions.
        lacks = [sum(needs[stratum][split] / total * count for stratum, count, total in cells) for split in splits]
        best = preferred
        if lacks[preferred] < sum((count - 0.5) / total * count for _, count, total in cells):
            best = max(splits, key=lacks.__getitem__)
        for stratum, count, _ in cells:
            needs[stratum][best] -= count
        result.append(best)
    return result


class _Cells:
    """The examples of each unit in each stratum.

    Attributes
    ----------
    units, strata, counts : int arrays (M,), for each stratum of each unit, ordered by unit
    totals : int array (S,), the examples of each stratum
    n_units : U
    """

    def __init__(self, units: Array, strata: Array, counts: Array, totals: Array, n_units: int) -> None:
        self.units, self.strata, self.counts, self.totals, self.n_units = units, strata, counts, totals, n_units

    @classmethod
    def count(cls, strata: Array, units: Array, n_units: int) -> "_Cells":
        stratum_of_row, totals = dense_ranks(strata)
        keys, counts = np.unique(units.astype(np.int64) * len(totals) + stratum_of_row, return_counts=True)
        return cls(keys // len(totals), keys % len(totals), counts, totals, n_units)

    def sizes(self) -> Array:
        """Return the number of units of each stratum, (S,)."""
        return np.bincount(self.strata, minlength=len(self.totals))

    def units_in(self, strata: Array) -> Array:
        """Return which units have an example in one of these strata, bool (U,), from a mask of the strata, (S,)."""
        return np.bincount(self.units, weights=strata[self.strata], minlength=self.n_units) > 0

    def needs(self, split_of_unit: Array, shares: Sequence[float]) -> list[list[float]]:
        """Return how many examples of each stratum each split lacks; units in the split -1 are not dealt yet."""
        needs = np.outer(self.totals, shares)
        for split in range(len(shares)):
            dealt = split_of_unit[self.units] == split
            needs[:, split] -= np.bincount(self.strata, weights=self.counts * dealt, minlength=len(self.totals))
        values: list[list[float]] = needs.tolist()
        return values

    def of_units(self, order: Array) -> Iterator[list[tuple[int, int, int]]]:
        """Yield the contents of each unit in this order: a stratum, its rows in the unit, and its rows in total."""
        starts = np.searchsorted(self.units, np.arange(self.n_units + 1))
        for block in np.array_split(order, math.ceil(len(order) / _BLOCK)):
            sizes = starts[block + 1] - starts[block]
            ends = np.cumsum(sizes)
            positions = np.arange(ends[-1]) + np.repeat(starts[block] - (ends - sizes), sizes)
            strata = self.strata[positions]
            columns = strata.tolist(), self.counts[positions].tolist(), self.totals[strata].tolist()
            contents = list(zip(*columns, strict=True))
            yield from (contents[end - size : end] for end, size in zip(ends.tolist(), sizes.tolist(), strict=True))
