"""Merges groups of a source before its examples are split, as params.yaml: data.missing_cells.merge declares."""

from dataclasses import replace
from typing import Any

import numpy as np

from fair_distill.config.data import Merge
from fair_distill.data.columns import SourceData
from fair_distill.errors import ConfigError
from fair_distill.text import mixed_attribute

_MERGE_KEY = "params.yaml: data.missing_cells.merge"


def merge_groups(source: SourceData, missing_cells: str | Merge | None) -> tuple[SourceData, dict[str, Any]]:
    """Merge the groups that params.yaml: data.missing_cells.merge names.

    Returns
    -------
    source : with the merged groups
    missing_cells : the record of the merge for the prepared files; empty if nothing is merged
    """
    if not isinstance(missing_cells, Merge):
        return source, {}
    new_name = missing_cells.becomes
    _check_merge(source, missing_cells)
    assert source.group_indices is not None
    renamed = [new_name.get(group, group) for group in source.groups]
    groups = tuple(dict.fromkeys(renamed))
    if len(groups) < 2:
        raise ConfigError(f"{_MERGE_KEY} leaves one group, {groups[0]!r}; at least two are needed. Merge fewer groups")
    members = [[source.attributes[i] for i, name in enumerate(renamed) if name == group] for group in groups]
    # A merged group keeps the attribute values that its members share. Its name replaces the others.
    attributes = tuple(
        tuple(value if all(row[i] == value for row in rows) else group for i, value in enumerate(rows[0]))
        for group, rows in zip(groups, members, strict=True)
    )
    # An attribute of which a merged group has several values has no figures by its values, so it loses its name.
    mixed = {i for rows in members for i in range(len(rows[0])) if len({row[i] for row in rows}) > 1}
    attribute_names = tuple(
        mixed_attribute(name) if i in mixed and len(source.attribute_names) > 1 else name
        for i, name in enumerate(source.attribute_names)
    )
    group_indices = np.array([groups.index(name) for name in renamed])[source.group_indices]
    return (
        replace(
            source,
            group_indices=group_indices,
            groups=groups,
            attributes=attributes,
            attribute_names=attribute_names,
        ),
        {"merge": {name: list(merged) for name, merged in missing_cells.merge.items()}},
    )


def _check_merge(source: SourceData, missing_cells: Merge) -> None:
    if source.group_indices is None:
        raise ConfigError(f"{_MERGE_KEY} needs data.source.columns.groups, but here the groups are colours. Remove it")
    for group in missing_cells.becomes:
        if group not in source.groups or None in source.attributes[source.groups.index(group)]:
            raise ConfigError(f"{_MERGE_KEY}: {group!r} is not a known group. Use some of {', '.join(source.groups)}")
    for name in missing_cells.merge:
        if name in source.groups and name not in missing_cells.becomes:
            raise ConfigError(
                f"{_MERGE_KEY}: {name!r} is already a group. Add it to the groups that are merged, or use another name"
            )
