"""From the attributes of examples to groups: the combinations that occur, and their names."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from fair_distill.data.column_builders import CategoryColumn, dense_ranks
from fair_distill.data.grouped_dataset import Array, Attributes
from fair_distill.errors import DataError

MAX_NAMES = 1000
_INTEGER = re.compile(r"-?[0-9]+")
_GROUPS_KEY = "data.source.columns.groups"


def name_groups(
    attributes: Mapping[str, CategoryColumn], unknown: Sequence[str]
) -> tuple[Array, tuple[Attributes, ...], tuple[str, ...]]:
    """Return the group index of each example, and the attribute values and the name of each group.

    A group is a combination of attribute values that occurs. Values of an attribute whose values are all integers get
    its name: `student=1`. The values `unknown` become None, and are sorted after the others; in names, they are the
    first of them.

    Raises
    ------
    DataError
        If there are fewer than 2 or more than `MAX_NAMES` groups.
    """
    # A combination is one number with the first attribute as the leading digit. After each attribute, the combinations
    # that occur are numbered from 0 again, so the number stays small.
    combinations: list[Attributes] = [()]
    indices: Array = np.zeros(len(next(iter(attributes.values()))), dtype=np.int32)
    for attribute, column in attributes.items():
        values = sorted(value for value in column.values if value not in unknown)
        check_count(len(values), "groups", _GROUPS_KEY)
        numeric = all(_INTEGER.fullmatch(value) for value in values)
        names = [*(f"{attribute}={value}" if numeric else value for value in values), None]
        rank = {value: i for i, value in enumerate(values)}
        ranks = np.array([rank.get(value, len(values)) for value in column.values], dtype=np.int64)
        codes = indices * len(names) + ranks[column.codes]
        occurring = np.flatnonzero(np.bincount(codes))
        check_count(len(occurring), "groups", _GROUPS_KEY)
        indices, _ = dense_ranks(codes)
        combinations = [(*combinations[code // len(names)], names[code % len(names)]) for code in occurring.tolist()]
    groups = tuple("×".join(unknown[0] if value is None else value for value in values) for values in combinations)
    check_names(groups, "groups", _GROUPS_KEY)
    if len(set(groups)) < len(groups):  # the values `a×b` and `c` look like `a` and `b×c`
        name = next(name for name in groups if groups.count(name) > 1)
        raise DataError(f"two combinations of attributes have the name {name!r}. Replace the '×' in their values")
    return indices, tuple(combinations), groups


def check_names(names: Sequence[str], noun: str, key: str) -> None:
    """Raise DataError unless there are 2 to `MAX_NAMES` names. `key` is the key of params.yaml for the message."""
    if len(names) == 1:
        raise DataError(
            f"the data must have 2 to {MAX_NAMES} {noun}; they have 1: {names[0]!r}. "
            f"Correct the data, or params.yaml: {key}"
        )
    check_count(len(names), noun, key)


def check_count(count: int, noun: str, key: str) -> None:
    """Raise DataError if a count is above `MAX_NAMES`; see `check_names`."""
    if count > MAX_NAMES:
        raise DataError(
            f"the data must have 2 to {MAX_NAMES} {noun}; they have {count}. Correct the data, or params.yaml: {key}"
        )
