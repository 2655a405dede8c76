"""Which examples are for training, which for tuning, which for the gate: by name, or dealt out by share.

What belongs together (the examples of a pair, the images of one person) is never torn apart, so that no split knows
an example of another. Dealing is stratified by cell: a rare group is in every split by its share.
"""

from collections.abc import Mapping

import numpy as np

from fair_distill.data.columns import Labelled
from fair_distill.data.grouped import Array
from fair_distill.errors import ConfigError, DataError


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
        strata = source.labels if source.groups is None else source.labels * len(source.group_names) + source.groups
        dealt = deal(strata[rest], _units(source)[rest], shares, rng)
        parts |= {split: rest[rows] for split, rows in dealt.items()}
    elif len(rest):
        raise DataError(
            f"{len(rest)} examples, of split {str(source.splits[rest[0]])!r} for one, go to no split; "  # type: ignore[index]
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
    if len(np.unique(units)) < len(units):
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
    names = list(shares)
    _, unit_of, sizes = np.unique(units, return_inverse=True, return_counts=True)
    _, stratum_of, totals = np.unique(strata, return_inverse=True, return_counts=True)
    rows_by_unit = np.split(np.argsort(unit_of, kind="stable"), np.cumsum(sizes)[:-1])
    shuffled = rng.permutation(len(sizes))
    lacking = np.array([[shares[name]] for name in names]) * totals  # (splits, strata)
    parts: dict[str, list[Array]] = {name: [] for name in names}
    for unit in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        rows = rows_by_unit[unit]
        held, counts = np.unique(stratum_of[rows], return_counts=True)
        chosen = int(np.argmax((lacking[:, held] / totals[held] * counts).sum(axis=1)))
        lacking[chosen, held] -= counts
        parts[names[chosen]].append(rows)
    return {name: np.sort(np.concatenate([np.arange(0), *part])) for name, part in parts.items()}


def _by_name(source: Labelled, named: Mapping[str, str]) -> dict[str, Array]:
    if not named:
        if source.splits is not None:
            raise ConfigError(
                f"the source names splits ({_shown(source.splits)}), and params.yaml: data.splits uses none of them; "
                "name them there, or take the names out of data.source"
            )
        return {}
    if source.splits is None:
        split, name = next(iter(named.items()))
        raise ConfigError(
            f"params.yaml: data.splits.{split} is {name!r}, but the source names no splits; "
            "give it columns.split or a file for each split, or say a share"
        )
    for split, name in named.items():
        if name not in source.splits:
            raise DataError(
                f"params.yaml: data.splits.{split} is {name!r}; the source has splits {_shown(source.splits)}"
            )
    return {split: np.flatnonzero(source.splits == name) for split, name in named.items()}


def _shown(splits: Array) -> str:
    names = np.unique(splits)
    return ", ".join(names[:10].tolist()) + (" and more" if len(names) > 10 else "")


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
