"""params.yaml and policies as files. The only place that reads YAML."""

import re
from pathlib import Path
from typing import Any

import yaml

from fair_distill.config.base import checked
from fair_distill.config.distill import Recipe
from fair_distill.config.evaluate import Evaluate
from fair_distill.config.gate import Exam, Gate
from fair_distill.config.whole import Config
from fair_distill.errors import ConfigError
from fair_distill.objects import open_objects


class _Loader(yaml.SafeLoader):
    """YAML without its traps: a key that stands twice is refused, `1e-3` is a number as everybody means it."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    for i, key in enumerate(keys):
        if key in keys[:i]:
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: the key {key!r} stands twice")
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def load_config(path: Path) -> Config:
    """Read and check params.yaml.

    Raises
    ------
    ConfigError
        One line naming the file, the first key at fault, what was wanted and what came.
    """
    return parse_config(read_params(path), name=str(path))


def read_params(path: Path) -> dict[Any, Any]:
    """Return params.yaml as it stands, unchecked: for what writes a variant of it, and lets that be checked."""
    return _read(path, missing="run this in a workspace, or name one with --workspace")


def load_gate(path: Path) -> Gate:
    """Read and check a policy from a file of its own, or from another params.yaml: what stands under `gate` there."""
    return _gate(_read(path, missing="a policy was named and is not there"), name=str(path))


def load_floor(url: str) -> Gate:
    """Read and check an organisation's policy from a file, a file:// or an s3:// address.

    A folder, or an address that ends in neither .yaml nor .yml, stands for `gate.yaml` in it. Raises ConfigError.
    """
    place, question, query = url.partition("?")
    named = place.endswith((".yaml", ".yml")) if "://" in place else not Path(place).is_dir()
    folder, name = place.rstrip("/"), "gate.yaml"
    if named:
        folder, name = (place.rpartition("/")[::2]) if "://" in place else (str(Path(place).parent), Path(place).name)
    objects = open_objects(f"{folder}{question}{query}", said_by="--policy-floor")
    try:
        text = objects.get(name).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{objects.address(name)} is not readable: {error}") from None
    return _gate(_parse(text, name=objects.address(name)), name=objects.address(name))


def _gate(raw: dict[Any, Any], *, name: str) -> Gate:
    policy = raw.get("gate", raw)
    if not isinstance(policy, dict):
        raise ConfigError(f"{name}: gate: a mapping was wanted, got {type(policy).__name__}")
    return checked(Gate, policy, name=name).read_from(name, beside=_exam_beside(raw, name=name))


def _exam_beside(raw: dict[Any, Any], *, name: str) -> Exam | None:
    """Return the exam that the sections of a whole params.yaml describe; None for a file that has no such sections."""
    evaluate, recipe = raw.get("evaluate"), raw.get("recipe")
    if not isinstance(evaluate, dict) or not isinstance(recipe, dict):
        return None
    how = checked(Evaluate, evaluate, name=f"{name}: evaluate")
    return Exam(networks=how.networks, seeds=how.seeds, recipe=checked(Recipe, recipe, name=f"{name}: recipe"))


def stages_of(path: Path) -> tuple[str, ...]:
    """Return the names of the stages in a dvc.yaml, in its order; whether they can be run is for DVC to say."""
    stages = _read(path, missing="run this in a workspace that has a graph").get("stages")
    if not isinstance(stages, dict):
        raise ConfigError(f"{path}: stages: a mapping was wanted, got {type(stages).__name__}")
    return tuple(map(str, stages))


def _read(path: Path, *, missing: str) -> dict[Any, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing; {missing}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not readable: {error}") from None
    return _parse(text, name=str(path))


def _parse(text: str, *, name: str) -> dict[Any, Any]:
    try:
        raw = yaml.load(text, Loader=_Loader)  # noqa: S506 (derives from SafeLoader)
    # Not only YAMLError: a date that is none, or a tag that does not fit its value, is a ValueError or a LookupError.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{name} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{name}: a mapping of sections was wanted, got {type(raw).__name__}")
    return raw


def parse_config(raw: dict[Any, Any], *, name: str = "params.yaml") -> Config:
    """Check a mapping as `load_config` does; `name` is what an error calls it."""
    return checked(Config, raw, name=name)
