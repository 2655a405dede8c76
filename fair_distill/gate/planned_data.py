"""The data set that the limits of a policy were chosen for: a policy that was planned for other data is refused.

Limits and their reasons are about one data set. If only `data` is changed in params.yaml, they would still decide.
"""

from collections.abc import Mapping
from typing import Any

from fair_distill.config import Gate
from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import parse_json

_FILE_OPTIONS = ("path", "images", "metadata", "labels")
_COLUMNS = ("label", "groups")


def data_title(source: Mapping[str, Any]) -> str:
    """Return the name of a data set: its source, its files, and the columns of classes and groups.

    Parameters
    ----------
    source : data.source of params.yaml, such as `{"name": "table", "path": "credit.csv", "columns": {…}}`. Options that
        change how files are read, such as the size of images, are not part of the name
    """
    parts = [str(source.get("name", "?"))]
    parts += [text for key in _FILE_OPTIONS if (text := _text(source.get(key)))]
    columns = source.get("columns")
    if isinstance(columns, Mapping):
        parts += [f"{key} {text}" for key in _COLUMNS if (text := _text(columns.get(key)))]
    return ", ".join(parts)


def check_planned_for(policy: Gate, manifest: bytes | None) -> None:
    """Raise an error if the limits of a policy were planned for other data than those that a set was made from.

    Parameters
    ----------
    manifest : of the set, which records data.source

    Raises
    ------
    ConfigError
        If the data differ, or if no manifest was given, so that this cannot be checked.
    IntegrityError
        If the manifest has no data.source.
    """
    if policy.planned_for is None:
        return
    if manifest is None:
        raise ConfigError(
            f"{policy.location}.planned_for is {policy.planned_for!r}, which requires the set's manifest.json; "
            "pass the manifest"
        )
    data = parse_json(manifest, name="the set's manifest", error=IntegrityError).get("params", {}).get("data")
    source = data.get("source") if isinstance(data, Mapping) else None
    if not isinstance(source, Mapping):
        raise IntegrityError("the set's manifest has no params.data.source; make the set again")
    difference = planned_for_other_data(policy, source)
    if difference:
        raise ConfigError(difference)


def planned_for_other_data(policy: Gate, source: Mapping[str, Any]) -> str | None:
    """Return a sentence if the limits were planned for another data set than this data.source; else None."""
    title = data_title(source)
    if policy.planned_for in (None, title):
        return None
    return (
        f"{policy.location}.limits were planned for the data set {policy.planned_for!r}, and these data are {title!r}. "
        "Run `fair-distill gate plan --write`, which proposes limits for these data"
    )


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return " ".join(map(str, value.values()))
    if isinstance(value, list | tuple):
        return " × ".join(map(str, value))
    return "" if value is None else str(value)
