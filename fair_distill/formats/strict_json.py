"""Strict type checks for foreign JSON documents, by the annotations of the dataclass that a document becomes.

The check does not change values: an integer in a field of type float stays an integer, so the document keeps its bytes
and its digest. params.yaml is checked by pydantic instead.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from fair_distill.errors import DataError
from fair_distill.text import printable, quoted

_MISSING = object()
_NAMES = {str: "a text", int: "an integer", float: "a number", bool: "true or false", NoneType: "null"}


def check_fields(
    value: object,
    kind: type,
    *,
    name: str,
    optional: tuple[str, ...] = (),
    error: Callable[[str], Exception] = DataError,
) -> None:
    """Compare a JSON object with a dataclass, key by key.

    Parameters
    ----------
    name : what the document is called, for the message
    optional : keys that may be missing, in addition to those with a default
    error : creates the exception from a sentence with the key, its value and the expected type
    """

    def refuse(where: str, value: object, expected: str) -> NoReturn:
        text = "missing" if value is _MISSING else quoted(value)
        raise error(f"{name}: {where or 'the document'} is {text}; expected {expected}")

    _check_object(value, kind, "", optional, refuse)


def _check_object(
    value: object, kind: type, where: str, optional: tuple[str, ...], refuse: Callable[[str, object, str], NoReturn]
) -> None:
    if not isinstance(value, Mapping):
        refuse(where, value, f"an object ({kind.__name__})")
    hints = _hints(kind)
    for key in value:
        if key not in hints:
            refuse(_below(where, str(key)), value[key], f"one of the keys {', '.join(hints)}")
    for field in fields(kind):
        if field.name in value:
            _check(value[field.name], hints[field.name], _below(where, field.name), refuse)
        elif field.name not in optional and field.default is MISSING and field.default_factory is MISSING:
            refuse(_below(where, field.name), _MISSING, _expected(hints[field.name]))


def _check(  # noqa: PLR0912 (one branch for each kind of annotation)
    value: object, hint: Any, where: str, refuse: Callable[[str, object, str], NoReturn]
) -> None:
    if hint is Any or hint is object:
        return
    if isinstance(hint, type) and is_dataclass(hint):
        _check_object(value, hint, where, (), refuse)
        return
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (UnionType, Union):
        members = [member for member in arguments if member is not NoneType]
        if value is None and len(members) < len(arguments):
            return
        if len(members) == 1:
            _check(value, members[0], where, refuse)
        elif not any(_is_plain(value, member) for member in members):
            refuse(where, value, _expected(hint))
    elif origin is Literal:
        if not any(type(value) is type(option) and value == option for option in arguments):
            refuse(where, value, _expected(hint))
    elif origin is tuple:
        _check_list(value, hint, arguments, where, refuse)
    elif origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            refuse(where, value, _expected(hint))
        for key, item in value.items():
            _check(item, arguments[1], _below(where, key), refuse)
    elif not _is_plain(value, hint):
        refuse(where, value, _expected(hint))


def _check_list(
    value: object, hint: Any, arguments: tuple[Any, ...], where: str, refuse: Callable[[str, object, str], NoReturn]
) -> None:
    repeated = len(arguments) == 2 and arguments[1] is Ellipsis
    if not isinstance(value, list | tuple) or (not repeated and len(value) != len(arguments)):
        refuse(where, value, _expected(hint))
    for i, item in enumerate(value):
        _check(item, arguments[0 if repeated else i], f"{where}[{i}]", refuse)


def _is_plain(value: object, hint: Any) -> bool:
    """Whether a value is a text, number, boolean or null of the type. A boolean is not a number."""
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _expected(hint: Any) -> str:  # noqa: PLR0911 (one return for each kind of annotation)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (UnionType, Union):
        return " or ".join(map(_expected, arguments))
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return f"a list, each {_expected(arguments[0])}"
        return f"a list of {len(arguments)}: {', '.join(map(_expected, arguments))}"
    if origin is not None and issubclass(origin, Mapping):
        return f"an object whose values are each {_expected(arguments[1])}"
    if hint is Any:
        return "any value"
    return _NAMES.get(hint, "an object")


def _below(where: str, key: str) -> str:
    return f"{where}.{key}" if where else printable(key)
