"""The stages of a dvc.yaml, with `matrix` and `${...}` resolved as DVC resolves them, read without DVC.

dvc.yaml may come from a pull request: interpolation is text replacement with values of params.yaml, and features that
this module does not support are refused by name.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fair_distill.config.loading import read_mapping
from fair_distill.errors import ConfigError

MAXIMUM_STAGES = 10_000
_EXPRESSION = re.compile(r"\$\{ *([\w-]+(?:\.[\w-]+)*) *\}")
_STAGE_KEYS = {"matrix", "cmd", "deps", "params", "outs", "metrics", "plots", "desc", "meta"}


@dataclass(frozen=True)
class Stage:
    """One command of the graph: a stage, or one row of a stage with a matrix.

    Attributes
    ----------
    name : as dvc.lock has it, for example `evaluate@pooled`
    row : the part after `@`, or "" without a matrix
    params : keys of params.yaml that the command depends on, with dots for nested ones
    """

    name: str
    row: str
    cmd: str | tuple[str, ...]
    deps: tuple[str, ...]
    params: tuple[str, ...]
    outs: tuple[str, ...]


def read_graph(path: Path, params: Mapping[Any, Any]) -> tuple[dict[str, Stage], dict[str, str]]:
    """Return the stages of a dvc.yaml by name, and what is not supported in each stage that cannot be read here.

    Raises
    ------
    ConfigError
        If the file is not valid, or uses a feature of DVC for the whole file that is not supported here.
    """
    raw = read_mapping(path, missing="run this in a workspace that has a graph")
    if "vars" in raw:
        raise ConfigError(f"{path}: 'vars' is not supported by this check; move its values to params.yaml")
    definitions = raw.get("stages")
    if not isinstance(definitions, dict):
        raise ConfigError(f"{path}: stages: a mapping is needed, got {type(definitions).__name__}")
    stages: dict[str, Stage] = {}
    unsupported: dict[str, str] = {}
    for name, definition in definitions.items():
        try:
            rows = list(itertools.islice(_stages(str(name), definition, params), MAXIMUM_STAGES))
        except _Unsupported as error:
            unsupported[_short(name)] = str(error)
            continue
        for stage in rows:
            if stage.name in stages:
                raise ConfigError(f"{path}: stages.{_short(name)}: {stage.name!r} occurs twice; rename one stage")
            stages[stage.name] = stage
        if len(stages) >= MAXIMUM_STAGES:
            raise ConfigError(f"{path}: the graph has {MAXIMUM_STAGES:,} stages or more; split the workspace")
    return stages, unsupported


def lookup(values: Any, key: str) -> Any:
    """Return the value under a dotted key. Raises LookupError if the key does not exist."""
    for part in key.split("."):
        if isinstance(values, list) and part.isdecimal() and len(part) < 10:
            values = values[int(part)]
        elif isinstance(values, Mapping):
            values = values[part]
        else:
            raise LookupError(key)
    return values


class _Unsupported(Exception):
    """A stage uses a feature that this module does not support."""


def _stages(name: str, definition: Any, params: Mapping[Any, Any]) -> Iterator[Stage]:
    if not isinstance(definition, dict):
        raise _Unsupported(f"a mapping is needed, got {type(definition).__name__}")
    if unknown := sorted(set(map(str, definition)) - _STAGE_KEYS):
        raise _Unsupported(
            f"{_short(unknown[0])!r} is not supported by this check; allowed: {', '.join(sorted(_STAGE_KEYS))}"
        )
    if "cmd" not in definition:
        raise _Unsupported("cmd is missing; add it")
    if "matrix" not in definition:
        yield _stage(name, "", definition, params)
        return
    axes = _axes(definition["matrix"], params)
    for values in itertools.product(*axes.values()):
        row = "-".join(map(str, values))
        variables = {**params, "item": dict(zip(axes, values, strict=True)), "key": row}
        yield _stage(f"{name}@{row}", row, definition, variables)


def _axes(matrix: Any, params: Mapping[Any, Any]) -> dict[str, list[str | int]]:
    if not isinstance(matrix, dict):
        raise _Unsupported(f"matrix: a mapping is needed, got {type(matrix).__name__}")
    axes = {}
    for axis, rows in matrix.items():
        try:
            values = _rows(rows, params)
        except _Unsupported as error:
            raise _Unsupported(f"matrix.{_short(axis)}: {error}") from None
        axes[str(axis)] = values
    return axes


def _rows(rows: Any, params: Mapping[Any, Any]) -> list[str | int]:
    if isinstance(rows, str):
        expression = _EXPRESSION.fullmatch(rows)
        if not expression:
            raise _Unsupported(f"{_short(rows)!r} is not supported; use a list or one ${{name}}")
        values = _value(expression[1], params)
    else:
        values = (
            [_text(row, params) if isinstance(row, str) else row for row in rows] if isinstance(rows, list) else rows
        )
    if not isinstance(values, dict | list):
        raise _Unsupported(f"a list or mapping is needed, got {type(values).__name__}")
    for value in values:
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise _Unsupported(f"{_short(value)!r} is not supported; use text or integers")
    return list(values)


def _stage(name: str, row: str, definition: dict[Any, Any], variables: Mapping[Any, Any]) -> Stage:
    cmd = definition["cmd"]
    outs = [path for key in ("outs", "metrics", "plots") for path in _paths(definition, key)]
    return Stage(
        name=name,
        row=row,
        cmd=tuple(_text(line, variables) for line in cmd) if isinstance(cmd, list) else _text(cmd, variables),
        deps=tuple(_text(path, variables) for path in _items(definition, "deps")),
        params=tuple(dict.fromkeys(_text(key, variables) for key in _param_keys(definition))),
        outs=tuple(_text(path, variables) for path in outs),
    )


def _items(definition: dict[Any, Any], key: str) -> list[Any]:
    items = definition.get(key, [])
    if not isinstance(items, list):
        raise _Unsupported(f"{key}: a list is needed, got {type(items).__name__}")
    return items


def _paths(definition: dict[Any, Any], key: str) -> Iterator[Any]:
    """Paths of outputs: an item is a path, or a mapping of one or more paths to settings."""
    for item in _items(definition, key):
        yield from item if isinstance(item, dict) else [item]


def _param_keys(definition: dict[Any, Any]) -> Iterator[Any]:
    for item in _items(definition, "params"):
        if isinstance(item, str):
            yield item
            continue
        keys = item.get("params.yaml") if isinstance(item, dict) and len(item) == 1 else None
        if not keys or not isinstance(keys, list):
            raise _Unsupported(f"params: {_short(item)!r} is not supported; list keys of params.yaml")
        yield from keys


def _text(template: Any, variables: Mapping[Any, Any]) -> str:
    """Replace every `${...}` in a text by its value, written as DVC writes it."""
    if not isinstance(template, str):
        raise _Unsupported(f"{_short(template)!r} is not text; quote it")

    def replaced(expression: re.Match[str]) -> str:
        value = _value(expression[1], variables)
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str | int | float):
            return str(value)
        raise _Unsupported(f"{expression[0]} is a {type(value).__name__}; only text and numbers can be inserted")

    if _EXPRESSION.sub("", template).count("${"):
        raise _Unsupported(f"the expression in {_short(template)!r} is not supported; use ${{name}} or ${{name.name}}")
    return _EXPRESSION.sub(replaced, template)


def _value(key: str, variables: Mapping[Any, Any]) -> Any:
    try:
        return lookup(variables, key)
    except LookupError:
        raise _Unsupported(f"${{{_short(key)}}} has no value in params.yaml; add it, or correct the name") from None


def _short(value: object) -> str:
    return str(value)[:80]
