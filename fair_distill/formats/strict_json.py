"""Strict types for foreign documents: a JSON value is compared with the annotations of the dataclass that it becomes.

The check changes no value: a whole number in a field of type float stays what it is, so the document keeps its bytes
and its digest. Not for: params.yaml, which pydantic checks.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from fair_distill.errors import DataError
from fair_distill.text import printable

_ABSENT = object()
_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", NoneType: "null"}


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
    optional : keys that may be absent in addition to those that have a default
    error : the exception to raise, with one sentence: which key has which value, and which type was expected
    """

    def refuse(where: str, wrong: object, expected: str) -> NoReturn:
        shown = "absent" if wrong is _ABSENT else printable(repr(wrong))
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        raise error(f"{name}: {where or 'the document'} is {shown}; expected {expected}")

    _check_object(value, kind, "", optional, refuse)


def _check_object(
    value: object, kind: type, where: str, optional: tuple[str, ...], refuse: Callable[[str, object, str], NoReturn]
) -> None:
    if not isinstance(value, Mapping):
        refuse(where, value, f"an object ({kind.__name__})")
    hints = _hints(kind)
    for key in value:
        if key not in hints:
            refuse(_below(where, str(key)), value[key], f"no such key; {kind.__name__} has {', '.join(hints)}")
    for field in fields(kind):
        if field.name in value:
            _check(value[field.name], hints[field.name], _below(where, field.name), refuse)
        elif field.name not in optional and field.default is MISSING and field.default_factory is MISSING:
            refuse(_below(where, field.name), _ABSENT, _expected(hints[field.name]))


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
        others = [one for one in arguments if one is not NoneType]
        if value is None and len(others) < len(arguments):
            return
        if len(others) == 1:
            _check(value, others[0], where, refuse)
        elif not any(_is_plain(value, one) for one in others):
            refuse(where, value, _expected(hint))
    elif origin is Literal:
        if not any(type(value) is type(one) and value == one for one in arguments):
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
    """Say whether a value is a text, number, truth value or null of the type; true is not a number."""
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
