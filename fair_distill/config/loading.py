"""params.yaml, policies and DVC's files as files."""

from pathlib import Path
from typing import Any

from fair_distill.config.distill import Recipe
from fair_distill.config.evaluate import Evaluate
from fair_distill.config.gate import Exam, Gate
from fair_distill.config.params import Config
from fair_distill.config.sections import checked
from fair_distill.config.yaml_dialect import MAXIMUM_BYTES, YamlError, parse_yaml
from fair_distill.errors import ConfigError
from fair_distill.storage.schemes import open_object, open_store


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
    return read_mapping(path, missing="run this in a workspace, or name one with --workspace")


def load_gate(path: Path) -> Gate:
    """Read and check a policy from a file of its own, or from another params.yaml: what stands under `gate` there."""
    return _gate(read_mapping(path, missing="a policy was named and is not there"), name=str(path))


def load_floor(url: str) -> Gate:
    """Read and check an organisation's policy from a file, a file:// or an s3:// address.

    A folder, or an address that ends in neither .yaml nor .yml, stands for `gate.yaml` in it. Raises ConfigError.
    """
    is_file = url.partition("?")[0].endswith((".yaml", ".yml")) if "://" in url else not Path(url).is_dir()
    if is_file:
        store, name = open_object(url, source="--policy-floor")
    else:
        store, name = open_store(url, source="--policy-floor"), "gate.yaml"
    try:
        text = store.read(name).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{store.address(name)} is not readable: {error}") from None
    return _gate(_parse(text, name=store.address(name)), name=store.address(name))


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
    stages = read_mapping(path, missing="run this in a workspace that has a graph").get("stages")
    if not isinstance(stages, dict):
        raise ConfigError(f"{path}: stages: a mapping was wanted, got {type(stages).__name__}")
    return tuple(map(str, stages))


def read_mapping(path: Path, *, missing: str) -> dict[Any, Any]:
    """Return the mapping in a YAML file as DVC reads it; `missing` ends the message if there is no such file.

    Raises
    ------
    ConfigError
        If the file is missing, is not readable, has more than 4 MB or is not valid YAML.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAXIMUM_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing; {missing}") from None
    except OSError as error:
        raise ConfigError(f"{path} is not readable: {error}") from None
    if len(content) > MAXIMUM_BYTES:
        raise ConfigError(f"{path} has more than {MAXIMUM_BYTES:,} bytes, which is the limit; make it smaller")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not readable: {error}") from None
    return _parse(text, name=str(path))


def _parse(text: str, *, name: str) -> dict[Any, Any]:
    try:
        return parse_yaml(text)
    except YamlError as error:
        raise ConfigError(f"{name} is not valid YAML: {error}") from None


def parse_config(raw: dict[Any, Any], *, name: str = "params.yaml") -> Config:
    """Check a mapping as `load_config` does; `name` is what an error calls it."""
    return checked(Config, raw, name=name)
