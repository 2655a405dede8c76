"""Merges and drops attribute values before the data are split, as params.yaml: data.groups declares.

Groups are combinations of the remaining values, so figures by attribute are about the values that the user declared.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from fair_distill.config.data import Groups
from fair_distill.data.column_builders import CategoryColumn
from fair_distill.data.columns import SourceData
from fair_distill.data.group_names import name_groups
from fair_distill.data.grouped_dataset import Array
from fair_distill.data.image_stream import ImageStream
from fair_distill.data.spelling import GROUPS_KEY, quoted_name
from fair_distill.errors import ConfigError


def declared_values(source: SourceData, groups: Groups | None) -> tuple[SourceData, dict[str, Any]]:
    """Return the data without the dropped attribute values, with the others merged, and the record of the drop.

    The record has for each attribute the number of examples of each dropped value; it is empty if none is dropped.

    Raises
    ------
    ConfigError
        If the source has no groups or no such attribute, a value does not occur, or no example remains.
    """
    if groups is None:
        return source, {}
    if source.group_indices is None:
        raise ConfigError(f"{GROUPS_KEY} needs data.source.columns.groups, but here the groups are colours. Remove it")
    columns = dict(source.attribute_columns)
    _check_names(columns, groups)
    dropped: dict[str, dict[str, int]] = {}
    keep = np.ones(len(source), dtype=bool)
    for attribute, column in columns.items():
        for value in sorted(set(groups.dropped(attribute)) & set(column.values)):
            rows = column.rows(value)
            dropped.setdefault(attribute, {})[value] = len(rows)
            keep[rows] = False
    if not keep.any():
        raise ConfigError(f"{GROUPS_KEY}.drop removes all {len(source):,} examples. Drop fewer values")
    if dropped:
        source = _rows_of(source, np.flatnonzero(keep))
        columns = dict(source.attribute_columns)
    columns = {name: column.renamed(groups.becomes(name)) for name, column in columns.items()}
    indices, attributes, names = name_groups(columns, source.unknown_values)
    source = replace(source, group_indices=indices, attributes=attributes, groups=names, attribute_columns=columns)
    return source, {"drop": dropped} if dropped else {}


def _check_names(columns: dict[str, CategoryColumn], groups: Groups) -> None:
    """Raise ConfigError for an attribute that does not exist, or a value that does not occur in its attributes."""
    for key, attribute, values in groups.declared:
        if attribute is not None and attribute not in columns:
            raise ConfigError(
                f"{GROUPS_KEY}.{key}: {attribute!r} is not an attribute; the attributes are {', '.join(columns)}. "
                "Correct or remove it"
            )
        searched = columns.values() if attribute is None else [columns[attribute]]
        existing = {value for column in searched for value in column.values}
        for value in values:
            if value not in existing:
                known = ", ".join(map(quoted_name, sorted(existing)[:10]))
                where = "" if attribute is None else f" in {attribute!r}"
                raise ConfigError(
                    f"{GROUPS_KEY}.{key}: {quoted_name(value)} does not occur{where}; the values are {known}. "
                    "Correct or remove it"
                )


def _rows_of(source: SourceData, rows: Array) -> SourceData:
    """Return the data of these rows, which are in ascending order."""
    images = source.images.take(rows) if isinstance(source.images, ImageStream) else source.images[rows]

    def taken(column: Any) -> Any:
        if column is None:
            return None
        if isinstance(column, CategoryColumn):
            return column.take(rows)
        return column[rows] if isinstance(column, np.ndarray) else column.take(rows)

    return replace(
        source,
        images=images,
        attribute_columns={name: column.take(rows) for name, column in source.attribute_columns.items()},
        **{
            name: taken(getattr(source, name))
            for name in ("labels", "group_indices", "pairs", "clusters", "splits", "ids", "weights")
        },
    )
