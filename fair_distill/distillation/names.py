"""From a name in params.yaml to what it stands for: a row of one of our tables, or one's own `package.module:callable`.

What is one's own is code that no digest of ours covers, so `digests_of_own` records its source.
"""

import hashlib
import importlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from fair_distill.errors import ConfigError

T = TypeVar("T")


def resolve(name: str | None, table: Mapping[str, Callable[..., T]], *, where: str) -> Callable[..., T]:
    """Return the row of a table, or what `package.module:callable` names. Raises ConfigError where there is neither."""
    if name is not None and name in table:
        return table[name]
    if name is None or ":" not in name:
        raise ConfigError(
            f"params.yaml: {where} is {name!r}; choose one of {', '.join(table)}, "
            "or name your own as package.module:callable"
        )
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever a file that is not ours raises, it is its owner who mends it
        said = error if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
        said = " ".join(str(said).split())
        raise ConfigError(f"params.yaml: {where} is {name!r}, which cannot be imported: {said}") from None
    if not callable(found):
        raise ConfigError(f"params.yaml: {where} is {name!r}; a callable was wanted, got {type(found).__name__}")
    own: Callable[..., T] = found
    return own


def with_options(function: Callable[..., T], options: Mapping[str, Any], *, where: str, given: int) -> Callable[..., T]:
    """Bind a function's options after its first `given` arguments, checked by their annotations.

    A plain int or float is above 0; other annotations mean what they mean to pydantic: a mapping becomes the section
    that is wanted. Raises ConfigError otherwise.
    """
    parameters = dict(list(inspect.signature(function).parameters.items())[given:])
    named = {name: p for name, p in parameters.items() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    bound = dict(options)
    for option, value in options.items():
        if option in named:
            try:
                bound[option] = _checked(value, named[option].annotation)
            except ValueError as fault:
                raise ConfigError(f"params.yaml: {where}: {option} is {value!r}; {fault}") from None
        elif all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
            takes = ", ".join(named) or "none"
            raise ConfigError(f"params.yaml: {where} has no option {option!r}; it takes {takes}")
    for option, parameter in named.items():
        if parameter.default is parameter.empty and option not in options:
            raise ConfigError(f"params.yaml: {where} needs the option {option!r}, and it is not there")
    return partial(function, **bound)


def _checked(value: object, annotation: Any) -> object:
    if annotation in (int, float):
        kinds, wanted = (int, "whole number") if annotation is int else (int | float, "number")
        if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < math.inf:
            raise ValueError(f"a {wanted} above 0 is needed")
    elif get_origin(annotation) is Literal:
        if value not in get_args(annotation):
            raise ValueError(f"choose one of {', '.join(map(str, get_args(annotation)))}")
    elif annotation is not inspect.Parameter.empty:
        try:
            return TypeAdapter(annotation).validate_python(value, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            within = "".join(f"{key}: " for key in first["loc"] if isinstance(key, str))
            raise ValueError(f"{within}{first['msg'][0].lower()}{first['msg'][1:]}") from None
    return value


def takes(function: Callable[..., Any]) -> int:
    """Return how many arguments a function wants by position."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds for p in inspect.signature(function).parameters.values())


def digests_of_own(params: Any) -> dict[str, str]:
    """Return, for every `package.module:callable` that is a name in `params`, the SHA-256 of its module's source file.

    Other modules that it imports are not covered. A name that cannot be imported is left to `resolve`, which knows its
    place in params.yaml.
    """
    found = {}
    for name in sorted(set(_own_names(params))):
        try:
            source = inspect.getsourcefile(importlib.import_module(name.partition(":")[0]))
        except Exception:  # `resolve` says what, in its place
            continue
        found[name] = hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else "no source"
    return found


def _own_names(params: Any) -> Iterator[str]:
    """Names are what stands under `name` in a choice: `{name: package.module:callable, ...}`."""
    if isinstance(params, Mapping):
        name = params.get("name")
        if isinstance(name, str) and ":" in name:
            yield name
        for value in params.values():
            yield from _own_names(value)
    elif isinstance(params, list | tuple):
        for value in params:
            yield from _own_names(value)
