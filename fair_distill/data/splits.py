"""Assigns the examples of a source to train, tune and gate: by the source's own split names, or by shares.

A unit stays together, so no example of a split has a relative in another split; `units` defines units. Shares are
stratified by cell where cells are small, and no later data move a unit; see `dealing`.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from fair_distill.data.column_builders import dense_ranks
from fair_distill.data.columns import SourceData
from fair_distill.data.dealing import deal
from fair_distill.data.grouped_dataset import Array
from fair_distill.data.units import Units
from fair_distill.errors import ConfigError, DataError


def split_rows(
    source: SourceData, splits: Mapping[str, float | str], units: Units, *, key: int, known: Array | None = None
) -> dict[str, Array]:
    """Return the rows of each split in ascending order.

    Parameters
    ----------
    splits : for each split, its name in the source, or its share of the examples that no name takes
    units : the units of the source
    key : other keys give other splits
    known : int8 array (U,), an index into `splits` for each unit that was dealt before, -1 for a new unit

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
        index = np.full(len(splits) + 1, -1)  # from all splits to those with a share; the last entry is for new units
        index[[list(splits).index(split) for split in shares]] = range(len(shares))
        strata = source.labels
        if source.group_indices is not None:
            strata = source.labels * len(source.groups) + source.group_indices
        present = np.flatnonzero(np.bincount(units.of_row[remaining], minlength=len(units)))
        split_of_unit = deal(
            strata[remaining],
            dense_ranks(units.of_row[remaining])[0],
            units.digests[present],
            list(shares.values()),
            key=key,
            known=None if known is None else index[known[present]],
        )
        position = np.full(len(units), -1)
        position[present] = split_of_unit
        split_of_row = position[units.of_row[remaining]]
        rows_of_split |= {split: remaining[split_of_row == i] for i, split in enumerate(shares)}
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
