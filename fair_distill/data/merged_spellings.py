"""Replaces attribute values by the spellings that params.yaml: data.groups.merge names."""

from dataclasses import replace

from fair_distill.config.data import Groups
from fair_distill.data.columns import SourceData
from fair_distill.data.group_names import name_groups
from fair_distill.data.spelling import MERGE_KEY, quoted_name
from fair_distill.errors import ConfigError


def merge_spellings(source: SourceData, groups: Groups | None) -> SourceData:
    """Return the data with the attribute values replaced that params.yaml: data.groups.merge names.

    Raises
    ------
    ConfigError
        If the source has no groups, or a value that is merged does not occur.
    """
    if groups is None:
        return source
    if source.group_indices is None:
        raise ConfigError(f"{MERGE_KEY} needs data.source.columns.groups, but here the groups are colours. Remove it")
    existing = {value for column in source.attribute_columns.values() for value in column.values}
    for value in groups.becomes:
        if value not in existing:
            known = ", ".join(map(quoted_name, sorted(existing)[:10]))
            raise ConfigError(
                f"{MERGE_KEY}: {quoted_name(value)} does not occur; the values are {known}. Correct or remove it"
            )
    columns = {name: column.renamed(groups.becomes) for name, column in source.attribute_columns.items()}
    indices, attributes, names = name_groups(columns, source.unknown_values)
    return replace(source, group_indices=indices, attributes=attributes, groups=names, attribute_columns=columns)
