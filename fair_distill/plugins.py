"""Find a component by its name: an entry of a built-in table, or a custom component `package.module:callable`.

Data are never code. A name causes an import only if the caller passes `custom=True`, and only code that reads the
operator's params.yaml does that. Names in cards, manifests, sets and predictions can only select built-in entries.

The digests of the data and of params.yaml do not cover the code of a custom component. `custom_source_digests` records
the digest of its source file.
"""

import hashlib
import importlib
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar, get_args, get_origin

from fair_distill.errors import ConfigError

T = TypeVar("T")


def resolve(
    name: str | None, table: Mapping[str, Callable[..., T]], *, where: str, custom: bool = False
) -> Callable[..., T]:
    """Return the component that a name selects.

    Parameters
    ----------
    name : a key of `table`, or `package.module:callable`
    table : the built-in components by name
    where : the key of params.yaml that contains the name, for error messages
    custom : permission to import `package.module:callable`. Pass True only for a name from params.yaml or from an
        argument of the caller's own code, never for a name that was read from data

    Raises
    ------
    ConfigError
        If the table does not contain the name, and the name may not or cannot be imported.
    """
    if name is not None and name in table:
        return table[name]
    if not custom:
        choices = f"{where} is {name!r}; choose one of {', '.join(table) or 'the built-in components'}"
        is_custom = name is not None and ":" in name
        note = ". A custom component is imported only if params.yaml names it" if is_custom else ""
        raise ConfigError(choices + note)
    if name is None or ":" not in name:
        raise ConfigError(
            f"params.yaml: {where} is {name!r}; choose one of {', '.join(table)}, "
            "or name a custom component as package.module:callable"
        )
    module, _, attribute = name.partition(":")
    try:
        component = getattr(_import(module), attribute)
    except Exception as error:  # A custom module can raise anything. Its author sees the error in one line.
        reason = error if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
        reason = " ".join(str(reason).split())
        raise ConfigError(f"params.yaml: {where} is {name!r}, which cannot be imported: {reason}") from None
    if not callable(component):
        raise ConfigError(
            f"params.yaml: {where} is {name!r}, which is a {type(component).__name__}; name a callable instead"
        )
    checked: Callable[..., T] = component
    return checked


def bind_options(
    function: Callable[..., T], options: Mapping[str, Any], *, where: str, arguments: int
) -> Callable[..., T]:
    """Bind the options of a component, checked by the annotations of its parameters.

    An option that is annotated as plain `int` or `float` must be above 0. pydantic checks all other annotations: for
    example, a mapping becomes an instance of the annotated section.

    Parameters
    ----------
    arguments : the number of leading parameters that are not options
    where : the component's name, for error messages

    Raises
    ------
    ConfigError
        If an option is unknown, missing or invalid.
    """
    parameters = dict(list(inspect.signature(function).parameters.items())[arguments:])
    named = {name: p for name, p in parameters.items() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    bound = dict(options)
    for option, value in options.items():
        if option in named:
            try:
                bound[option] = _checked(value, named[option].annotation)
            except ValueError as error:
                raise ConfigError(f"params.yaml: {where}: {option} is {value!r}; {error}") from None
        elif all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
            known = ", ".join(named) or "none"
            raise ConfigError(
                f"params.yaml: {where} has no option {option!r}; its options: {known}. Correct or remove it"
            )
    for option, parameter in named.items():
        if parameter.default is parameter.empty and option not in options:
            raise ConfigError(f"params.yaml: {where} needs the option {option!r}; add it")
    return partial(function, **bound)


def _checked(value: object, annotation: Any) -> object:
    if annotation in (int, float):
        types, noun = (int, "whole number") if annotation is int else (int | float, "number")
        if isinstance(value, bool) or not isinstance(value, types) or not 0 < value < math.inf:
            raise ValueError(f"give a {noun} above 0")
    elif get_origin(annotation) is Literal:
        if value not in get_args(annotation):
            raise ValueError(f"choose one of {', '.join(map(str, get_args(annotation)))}")
    elif annotation is not inspect.Parameter.empty:
        # Imported here because the command line imports this module for every command, also for those without options.
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(annotation).validate_python(value, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            keys = "".join(f"{key}: " for key in first["loc"] if isinstance(key, str))
            raise ValueError(f"{keys}{first['msg'][0].lower()}{first['msg'][1:]}") from None
    return value


def count_positional(function: Callable[..., Any]) -> int:
    """Return the number of positional parameters of a function."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional for p in inspect.signature(function).parameters.values())


def require_type(component: object, base: type[T], *, where: str) -> T:
    """Return a component that a custom callable has built, if it is an instance of `base`; else raise ConfigError."""
    if not isinstance(component, base):
        raise ConfigError(
            f"params.yaml: {where} returns a {type(component).__name__}; return a subclass of "
            f"{base.__module__}.{base.__name__}"
        )
    return component


def custom_source_digests(params: Any) -> dict[str, str]:
    """Return the SHA-256 of the source file of each custom component that `params` names, by the component's name.

    This imports the components' modules, so `params` must be sections of the operator's params.yaml. The digests do
    not cover other modules that a component imports. A name that cannot be imported is skipped: `resolve` reports it
    with its key in params.yaml.
    """
    digests = {}
    for name in sorted(set(_custom_names(params))):
        try:
            module = _import(name.partition(":")[0])
        except Exception:  # `resolve` reports this error with the key in params.yaml.
            continue
        digests[name] = _source_digest(module)
    return digests


def passed_source_digest(name: str, component: Callable[..., Any]) -> str:
    """Return the SHA-256 of the source file of a component that the caller passes under a name; import nothing.

    If a module with this name is already imported and contains this component, the module's file counts, as in
    `custom_source_digests`. Otherwise the file that defines the component counts.
    """
    module_name, _, attribute = name.partition(":")
    module = sys.modules.get(module_name)
    if module is not None and vars(module).get(attribute) is component:
        return _source_digest(module)
    return _source_digest(component)


def _source_digest(component: Any) -> str:
    try:
        source = inspect.getsourcefile(component)
    except TypeError:  # A built-in, or an instance of a class, has no source file.
        source = None
    return hashlib.sha256(Path(source).read_bytes()).hexdigest() if source and Path(source).exists() else "no source"


def _import(module: str) -> ModuleType:
    """Import a module by a name from params.yaml. No other function of the package imports a variable name."""
    return importlib.import_module(module)


def _custom_names(params: Any) -> Iterator[str]:
    """Yield every `package.module:callable` under a key `name`, at any depth."""
    if isinstance(params, Mapping):
        name = params.get("name")
        if isinstance(name, str) and ":" in name:
            yield name
        for value in params.values():
            yield from _custom_names(value)
    elif isinstance(params, list | tuple):
        for value in params:
            yield from _custom_names(value)


@contextmanager
def workspace_modules(folder: Path) -> Iterator[None]:
    """Make the modules in a workspace importable; afterwards restore the import path and forget them.

    The folder comes last on the import path, so a file in a workspace cannot replace a library. Forgetting the modules
    lets each of two commands in one process use the modules of its workspace.
    """
    workspace, path, modules = folder.resolve(), list(sys.path), set(sys.modules)
    sys.path.append(str(workspace))
    importlib.invalidate_caches()  # Otherwise Python may miss a file that was written a moment ago.
    try:
        yield
    finally:
        sys.path[:] = path
        for name in _modules_in(workspace, set(sys.modules) - modules):
            del sys.modules[name]


def _modules_in(folder: Path, names: set[str]) -> list[str]:
    """Return the names whose top-level package or module is one of `names` and is located in the folder."""
    top_level = set()
    for name in names:
        spec = None if "." in name else getattr(sys.modules[name], "__spec__", None)
        locations = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or ())]
        if any(Path(location).parent == folder for location in locations):
            top_level.add(name)
    return [name for name in names if name.partition(".")[0] in top_level]
