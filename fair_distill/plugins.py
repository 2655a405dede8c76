"""From a name to a component: a row of one of our tables, or a custom component `package.module:callable`.

Data are never code. A name imports a module only if the caller passes `custom=True`, and only code that reads the
operator's params.yaml does. Cards, manifests, sets and predictions can select rows of our tables and nothing else.

No digest of ours covers the code of a custom component, so `digests_of_own` records the digest of its source.
"""

import hashlib
import importlib
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from fair_distill.errors import ConfigError

T = TypeVar("T")


def resolve(
    name: str | None, table: Mapping[str, Callable[..., T]], *, where: str, custom: bool = False
) -> Callable[..., T]:
    """Return the row of a table that a name selects.

    Parameters
    ----------
    custom : permission to import `package.module:callable`. Pass True only for a name that comes from params.yaml or
        from an argument of the caller's own code, never for one that was read from data

    Raises
    ------
    ConfigError
        If the table has no such row, or the name is a custom component and there is no permission to import it.
    """
    if name is not None and name in table:
        return table[name]
    if not custom:
        raise ConfigError(
            f"{where} is {name!r}; choose one of {', '.join(table) or 'the built-in components'}. "
            "A custom component is imported only if params.yaml names it"
        )
    if name is None or ":" not in name:
        raise ConfigError(
            f"params.yaml: {where} is {name!r}; choose one of {', '.join(table)}, "
            "or name your own as package.module:callable"
        )
    module, _, attribute = name.partition(":")
    try:
        found = getattr(_imported(module), attribute)
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

    Imports these modules, so `params` must be sections of the operator's params.yaml. Other modules that a component
    imports are not covered. A name that cannot be imported is left to `resolve`, which knows its place in params.yaml.
    """
    found = {}
    for name in sorted(set(_own_names(params))):
        try:
            module = _imported(name.partition(":")[0])
        except Exception:  # `resolve` says what, in its place
            continue
        found[name] = _digest_of_source(module)
    return found


def digest_of_passed(name: str, component: Callable[..., Any]) -> str:
    """Return the SHA-256 of the source file of a component that the caller passes under a name; imports nothing.

    If the module of that name is already imported and has this very component, its file counts, as it does in
    `digests_of_own`. Otherwise the file that defines the component counts.
    """
    module, _, attribute = name.partition(":")
    known = sys.modules.get(module)
    if known is not None and vars(known).get(attribute) is component:
        return _digest_of_source(known)
    return _digest_of_source(component)


def _digest_of_source(component: Any) -> str:
    try:
        source = inspect.getsourcefile(component)
    except TypeError:  # built in, or an instance of a class
        source = None
    return hashlib.sha256(Path(source).read_bytes()).hexdigest() if source and Path(source).exists() else "no source"


def _imported(module: str) -> ModuleType:
    """Import a module by a name from params.yaml. No other function of the package imports a name that varies."""
    return importlib.import_module(module)


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
