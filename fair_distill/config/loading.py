"""Reading params.yaml, policies and the files of DVC from disk or from a store."""

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
from fair_distill.storage.store import Absent


def load_config(path: Path) -> Config:
    """Read and check params.yaml.

    Raises
    ------
    ConfigError
        If the file is missing or not valid; the message names the file, the first invalid key and its value.
    """
    return parse_config(read_params(path), name=str(path))


def read_params(path: Path) -> dict[Any, Any]:
    """Return the content of params.yaml without validation, for example to write a variant of it."""
    return read_mapping(path, missing="run this command in a workspace, or pass --workspace DIR")


def load_gate(path: Path) -> Gate:
    """Read and check a policy: a file that contains only the policy, or the section `gate` of a params.yaml."""
    return _gate(read_mapping(path, missing="pass the path of an existing policy file"), name=str(path))


def load_floor(url: str) -> Gate:
    """Read and check the policy floor of an organisation from a file, a file:// or an s3:// address.

    For a folder, or an address that ends in neither .yaml nor .yml, it reads `gate.yaml` in it. Raises ConfigError.
    """
    is_file = url.partition("?")[0].endswith((".yaml", ".yml")) if "://" in url else not Path(url).is_dir()
    if is_file:
        store, name = open_object(url, source="--policy-floor")
    else:
        store, name = open_store(url, source="--policy-floor"), "gate.yaml"
    try:
        text = store.read(name).decode()
    except Absent as error:
        raise ConfigError(str(error)) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{store.address(name)} is not readable: {error}") from None
    return _gate(parse_mapping(text, name=store.address(name)), name=store.address(name))


def _gate(raw: dict[Any, Any], *, name: str) -> Gate:
    policy = raw.get("gate", raw)
    if not isinstance(policy, dict):
        raise ConfigError(f"{name}: gate is of type {type(policy).__name__}; it must be a mapping")
    return checked(Gate, policy, name=name).read_from(name, default_exam=_exam_of_file(raw, name=name))


def _exam_of_file(raw: dict[Any, Any], *, name: str) -> Exam | None:
    """Return the exam that `evaluate` and `recipe` of a params.yaml describe; None for a file without them."""
    evaluate, recipe = raw.get("evaluate"), raw.get("recipe")
    if not isinstance(evaluate, dict) or not isinstance(recipe, dict):
        return None
    evaluation = checked(Evaluate, evaluate, name=f"{name}: evaluate")
    return Exam(
        networks=evaluation.networks, seeds=evaluation.seeds, recipe=checked(Recipe, recipe, name=f"{name}: recipe")
    )


def stages_of(path: Path) -> tuple[str, ...]:
    """Return the names of the stages in a dvc.yaml, in its order. The stages themselves are not checked."""
    stages = read_mapping(path, missing="run this command in a workspace with a dvc.yaml").get("stages")
    if not isinstance(stages, dict):
        raise ConfigError(f"{path}: stages is of type {type(stages).__name__}; it must be a mapping")
    return tuple(map(str, stages))


def read_mapping(path: Path, *, missing: str) -> dict[Any, Any]:
    """Return the mapping in a YAML file, read as DVC reads it.

    Parameters
    ----------
    missing : the instruction at the end of the message if the file does not exist

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
    return parse_mapping(text, name=str(path))


def parse_mapping(text: str, *, name: str) -> dict[Any, Any]:
    """Return the mapping in a YAML text, read as DVC reads it. Raises ConfigError, with `name`, if it is not valid."""
    try:
        return parse_yaml(text)
    except YamlError as error:
        raise ConfigError(f"{name} is not valid YAML: {error}") from None


def parse_config(raw: dict[Any, Any], *, name: str = "params.yaml") -> Config:
    """Check a mapping as `load_config` does. Errors call it `name`."""
    return checked(Config, raw, name=name)
