"""Assigns the examples of a source to train, tune and gate: by the source's own split names, or by shares.

Members of a pair or cluster stay together, so no example of a split has a relative in another split. Shares are
stratified by cell, so every split gets its share of a rare group.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from fair_distill.data.column_builders import dense_ranks
from fair_distill.data.columns import SourceData
from fair_distill.data.grouped_dataset import Array
from fair_distill.errors import ConfigError, DataError

# The number of units that are Python integers at a time.
_BLOCK = 2**16


def split_rows(source: SourceData, splits: Mapping[str, float | str], rng: np.random.Generator) -> dict[str, Array]:
    """Return the rows of each split in ascending order.

    Parameters
    ----------
    splits : for each split, its name in the source, or its share of the examples that no name takes

    Raises
    ------
    ConfigError, DataError
        If the source has no such name, examples remain without a split, or names divide a pair or cluster.
    """
    names = {split: value for split, value in splits.items() if isinstance(value, str)}
    shares = {split: value for split, value in splits.items() if not isinstance(value, str)}
    rows_of_split = _rows_by_name(source, names)
    unassigned = np.ones(len(source), dtype=bool)
    for rows in rows_of_split.values():
        unassigned[rows] = False
    remaining = np.flatnonzero(unassigned)
    if shares:
        strata = source.labels
        if source.group_indices is not None:
            strata = source.labels * len(source.groups) + source.group_indices
        assigned = split_by_share(strata[remaining], _units(source)[remaining], shares, rng)
        rows_of_split |= {split: remaining[rows] for split, rows in assigned.items()}
    elif len(remaining):
        raise DataError(
            f"{len(remaining)} examples have no split, for example of the source's split "
            f"{_split_name(source, remaining[0])!r}. Use its name in params.yaml: data.splits, or remove the examples"
        )
    for split in splits:
        if len(rows_of_split[split]) == 0:
            raise DataError(
                f"the split {split!r} gets none of {len(source)} examples; it needs at least one. "
                "Correct params.yaml: data.splits, or add data"
            )
    if names:
        _check_together(source, rows_of_split)
    return {split: rows_of_split[split] for split in splits}


def split_by_share(
    strata: Array, units: Array, shares: Mapping[str, float], rng: np.random.Generator
) -> dict[str, Array]:
    """Divide rows by share within each stratum, and return the rows of each split in ascending order.

    Every row is in exactly one split; the last split gets the rest from rounding.

    Parameters
    ----------
    strata : int array (N,), the stratum of each row
    units : int array (N,); rows of one unit stay together
    shares : the share of each split; they add up to 1
    """
    if np.bincount(units, minlength=1).max() > 1:
        return _split_units(strata, units, shares, rng)
    names = list(shares)
    parts: dict[str, list[Array]] = {name: [] for name in names}
    for stratum in np.unique(strata):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        cuts = np.round(np.cumsum([shares[name] for name in names])[:-1] * len(members)).astype(int)
        for name, part in zip(names, np.split(members, cuts), strict=True):
            parts[name].append(part)
    return {name: np.sort(np.concatenate([np.arange(0), *part])) for name, part in parts.items()}


def _split_units(
    strata: Array, units: Array, shares: Mapping[str, float], rng: np.random.Generator
) -> dict[str, Array]:
    """Assign each unit, large ones first, to the split that still needs most of the unit's strata.

    A need is measured as a share of its stratum, so a rare stratum has the same weight as a common one.
    """
    unit_of_row, sizes = dense_ranks(units)
    stratum_of_row, totals = dense_ranks(strata)
    shuffled = rng.permutation(len(sizes))
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    needs = [[share * total for share in shares.values()] for total in totals.tolist()]
    split_of_unit = np.empty(len(sizes), dtype=np.int16)
    for unit, contents in zip(
        _python_integers(order), _unit_contents(unit_of_row, stratum_of_row, totals, order), strict=True
    ):
        # Each choice depends on the previous one, so this is a loop; on Python numbers, because there may be millions.
        best, largest_need = 0, -math.inf
        for split in range(len(shares)):
            need = 0.0
            for stratum, count, total in contents:
                need += needs[stratum][split] / total * count
            if need > largest_need:
                best, largest_need = split, need
        for stratum, count, _ in contents:
            needs[stratum][best] -= count
        split_of_unit[unit] = best
    split_of_row = split_of_unit[unit_of_row]
    return {name: np.flatnonzero(split_of_row == i) for i, name in enumerate(shares)}


def _unit_contents(
    unit_of_row: Array, stratum_of_row: Array, totals: Array, order: Array
) -> Iterator[list[tuple[int, int, int]]]:
    """Yield the contents of each unit in this order: the stratum, its rows in the unit, and its rows in total."""
    cells, counts = np.unique(unit_of_row.astype(np.int64) * len(totals) + stratum_of_row, return_counts=True)
    starts = np.searchsorted(cells, np.arange(len(order) + 1) * len(totals))
    strata = cells % len(totals)
    for block in np.array_split(order, len(order) // _BLOCK + 1):
        sizes = starts[block + 1] - starts[block]
        ends = np.cumsum(sizes)
        positions = np.arange(ends[-1]) + np.repeat(starts[block] - (ends - sizes), sizes)
        block_strata = strata[positions]
        columns = block_strata.tolist(), counts[positions].tolist(), totals[block_strata].tolist()
        contents = list(zip(*columns, strict=True))
        yield from (contents[end - size : end] for end, size in zip(ends.tolist(), sizes.tolist(), strict=True))


def _python_integers(values: Array) -> Iterator[int]:
    """Yield the values of an array as Python integers, a block at a time."""
    for block in np.array_split(values, len(values) // _BLOCK + 1):
        yield from block.tolist()


def _rows_by_name(source: SourceData, names: Mapping[str, str]) -> dict[str, Array]:
    if not names:
        if source.splits is not None:
            raise ConfigError(
                f"the source has named splits ({_name_list(source.splits.values)}), but params.yaml: data.splits uses "
                "none of them. Use the names there, or remove them from data.source"
            )
        return {}
    if source.splits is None:
        split, name = next(iter(names.items()))
        raise ConfigError(
            f"params.yaml: data.splits.{split} is {name!r}, but the source has no named splits. "
            "Set data.source.columns.split, name a file for each split, or use a share"
        )
    for split, name in names.items():
        if name not in source.splits.values:
            raise DataError(
                f"params.yaml: data.splits.{split} is {name!r}; the source has the splits "
                f"{_name_list(source.splits.values)}. Use one of them, or a share"
            )
    return {split: source.splits.rows(name) for split, name in names.items()}


def _split_name(source: SourceData, row: int) -> str:
    assert source.splits is not None  # without named splits, all examples have a share
    return str(source.splits.values[source.splits.codes[row]])


def _name_list(splits: Sequence[str]) -> str:
    names = sorted(splits)
    return ", ".join(names[:10]) + (" and more" if len(names) > 10 else "")


def _units(source: SourceData) -> Array:
    """Return a number for each example that is shared by all examples linked by pairs or clusters, also indirectly."""
    if source.pairs is None or source.clusters is None:
        links = source.pairs if source.clusters is None else source.clusters
        return np.arange(len(source)) if links is None else links
    units = source.clusters
    while True:
        previous = units
        for links in (source.pairs, source.clusters):
            lowest = np.full(links.max() + 1, len(source))
            np.minimum.at(lowest, links, units)
            units = lowest[links]
        if np.array_equal(units, previous):
            return units


def _check_together(source: SourceData, rows_of_split: Mapping[str, Array]) -> None:
    """Raise DataError if a pair or cluster is in two splits."""
    for noun, values in (("pair", source.pairs), ("cluster", source.clusters)):
        if values is None:
            continue
        earlier: dict[str, Array] = {}
        for split, rows in rows_of_split.items():
            for other_split, other_values in earlier.items():
                shared = np.intersect1d(other_values, values[rows])
                if len(shared):
                    raise DataError(
                        f"{len(shared)} {noun}s are in both {other_split} and {split}; a {noun} must be in one split. "
                        "Correct the split names in the source, or use shares in params.yaml: data.splits"
                    )
            earlier[split] = values[rows]
