"""Which examples are for training, which for tuning, which for the gate: by name, or dealt out by share.

What belongs together (the examples of a pair, the images of one person) is never torn apart, so that no split knows
an example of another. Dealing is stratified by cell: a rare group is in every split by its share.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from fair_distill.data.categorical import numbered
from fair_distill.data.columns import Labelled
from fair_distill.data.grouped_dataset import Array
from fair_distill.errors import ConfigError, DataError

_BLOCK = 2**16  # units as Python numbers at a time


def split_rows(source: Labelled, splits: Mapping[str, float | str], rng: np.random.Generator) -> dict[str, Array]:
    """Return the rows of each split, sorted.

    Parameters
    ----------
    splits : for each split, the name the source has for it, or its share of what no name takes

    Raises
    ------
    ConfigError, DataError
        If a name is not the source's, rows are left over, or something that belongs together is torn apart by names.
    """
    named = {split: name for split, name in splits.items() if isinstance(name, str)}
    shares = {split: share for split, share in splits.items() if not isinstance(share, str)}
    parts = _by_name(source, named)
    left = np.ones(len(source), dtype=bool)
    for taken in parts.values():
        left[taken] = False
    rest = np.flatnonzero(left)
    if shares:
        strata = (
            source.labels if source.group_indices is None else source.labels * len(source.groups) + source.group_indices
        )
        dealt = deal(strata[rest], _units(source)[rest], shares, rng)
        parts |= {split: rest[rows] for split, rows in dealt.items()}
    elif len(rest):
        raise DataError(
            f"{len(rest)} examples, of split {_name(source, rest[0])!r} for one, go to no split; "
            "name theirs in params.yaml: data.splits, or leave them out of the source"
        )
    for split in splits:
        if len(parts[split]) == 0:
            raise DataError(
                f"the split {split!r} gets none of {len(source)} examples, and at least one example is needed; "
                "mend params.yaml: data.splits, or add data"
            )
    if named:
        _together(source, parts)
    return {split: parts[split] for split in splits}


def deal(strata: Array, units: Array, shares: Mapping[str, float], rng: np.random.Generator) -> dict[str, Array]:
    """Deal rows out by share, each stratum for itself; rows of one unit stay together. Return sorted rows per split.

    Every row is in exactly one split: the last takes what rounding leaves.
    """
    if np.bincount(units, minlength=1).max() > 1:
        return _deal_units(strata, units, shares, rng)
    names = list(shares)
    parts: dict[str, list[Array]] = {name: [] for name in names}
    for stratum in np.unique(strata):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        cuts = np.round(np.cumsum([shares[name] for name in names])[:-1] * len(members)).astype(int)
        for name, part in zip(names, np.split(members, cuts), strict=True):
            parts[name].append(part)
    return {name: np.sort(np.concatenate([np.arange(0), *part])) for name, part in parts.items()}


def _deal_units(strata: Array, units: Array, shares: Mapping[str, float], rng: np.random.Generator) -> dict[str, Array]:
    """Give each unit, large ones first, to the split that lacks most of what the unit holds.

    A lack counts as a share of its stratum, so a rare stratum weighs as much as a common one.
    """
    unit_of, sizes = numbered(units)
    stratum_of, totals = numbered(strata)
    shuffled = rng.permutation(len(sizes))
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    lacking = [[share * total for share in shares.values()] for total in totals.tolist()]
    chosen = np.empty(len(sizes), dtype=np.int16)
    for unit, held in zip(_lists(order), _holdings(unit_of, stratum_of, totals, order), strict=True):
        # One choice hangs on the one before, so this is a loop; over numbers, since there may be millions of units.
        best, most = 0, -math.inf
        for split in range(len(shares)):
            lack = 0.0
            for stratum, count, total in held:
                lack += lacking[stratum][split] / total * count
            if lack > most:
                best, most = split, lack
        for stratum, count, _ in held:
            lacking[stratum][best] -= count
        chosen[unit] = best
    split_of = chosen[unit_of]
    return {name: np.flatnonzero(split_of == i) for i, name in enumerate(shares)}


def _holdings(unit_of: Array, stratum_of: Array, totals: Array, order: Array) -> Iterator[list[tuple[int, int, int]]]:
    """Yield for each unit, in this order, what it holds: each stratum, its rows of the unit, its rows in all."""
    cells, counts = np.unique(unit_of.astype(np.int64) * len(totals) + stratum_of, return_counts=True)
    starts = np.searchsorted(cells, np.arange(len(order) + 1) * len(totals))
    strata = cells % len(totals)
    for some in np.array_split(order, len(order) // _BLOCK + 1):
        sizes = starts[some + 1] - starts[some]
        ends = np.cumsum(sizes)
        places = np.arange(ends[-1]) + np.repeat(starts[some] - (ends - sizes), sizes)
        found = strata[places]
        held = list(zip(found.tolist(), counts[places].tolist(), totals[found].tolist(), strict=True))
        yield from (held[end - size : end] for end, size in zip(ends.tolist(), sizes.tolist(), strict=True))


def _lists(values: Array) -> Iterator[int]:
    """Yield the numbers of an array as Python has them, and never all of them at once."""
    for some in np.array_split(values, len(values) // _BLOCK + 1):
        yield from some.tolist()


def _by_name(source: Labelled, named: Mapping[str, str]) -> dict[str, Array]:
    if not named:
        if source.splits is not None:
            raise ConfigError(
                f"the source names splits ({_shown(source.splits.values)}), and params.yaml: data.splits uses none of "
                "them; name them there, or take the names out of data.source"
            )
        return {}
    if source.splits is None:
        split, name = next(iter(named.items()))
        raise ConfigError(
            f"params.yaml: data.splits.{split} is {name!r}, but the source names no splits; "
            "give it columns.split or a file for each split, or say a share"
        )
    for split, name in named.items():
        if name not in source.splits.values:
            raise DataError(
                f"params.yaml: data.splits.{split} is {name!r}; the source has splits {_shown(source.splits.values)}"
            )
    return {split: source.splits.rows(name) for split, name in named.items()}


def _name(source: Labelled, row: int) -> str:
    assert source.splits is not None  # or nothing could be left over
    return str(source.splits.values[source.splits.codes[row]])


def _shown(splits: Sequence[str]) -> str:
    names = sorted(splits)
    return ", ".join(names[:10]) + (" and more" if len(names) > 10 else "")


def _units(source: Labelled) -> Array:
    """Return a number for each example, shared by all that a pair or a cluster binds, directly or through others."""
    if source.pairs is None or source.clusters is None:
        bound = source.pairs if source.clusters is None else source.clusters
        return np.arange(len(source)) if bound is None else bound
    units = source.clusters
    while True:
        lower = units
        for key in (source.pairs, source.clusters):
            least = np.full(key.max() + 1, len(source))
            np.minimum.at(least, key, lower)
            lower = least[key]
        if np.array_equal(lower, units):
            return units
        units = lower


def _together(source: Labelled, parts: Mapping[str, Array]) -> None:
    for key, values in (("pair", source.pairs), ("cluster", source.clusters)):
        if values is None:
            continue
        seen: dict[str, Array] = {}
        for split, rows in parts.items():
            for other, theirs in seen.items():
                shared = np.intersect1d(theirs, values[rows])
                if len(shared):
                    raise DataError(
                        f"{len(shared)} {key}s are in both {other} and {split}; a {key} is in one split. "
                        f"Mend the names of splits in the source, or say shares in params.yaml: data.splits"
                    )
            seen[split] = values[rows]
