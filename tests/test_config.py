"""params.yaml is read completely, or refused in one line that names the key."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from small_workspace import REPOSITORY, small_params

from fair_distill.config import Config, Named, Section, load_config, parse_config
from fair_distill.errors import ConfigError

PLACES = (
    *(
        "",
        "data",
        "data.splits",
        "validate",
        "recipe",
        "distill",
        "distill.networks",
        "labels",
        "candidates.pooled",
        "references.full",
    ),
    *("distill.optimiser", "evaluate", "gate", "gate.limits.0", "release"),
)
# Optional keys have no default value in the code: leaving one out means that its feature is off.
# Without `alignment`, a candidate has no kind; `tests/candidates` has this message.
OPTIONAL = {"labels", "alignment", "barycenter", "group_weights", "at_most", "at_least", "formation", "near"}


def at(params: dict[str, Any], place: str) -> Any:
    value: Any = params
    for part in filter(None, place.split(".")):
        value = value[int(part) if part.isdigit() else part]
    return value


def put(place: str, value: object) -> dict[str, Any]:
    """Return the small params with one value changed."""
    params = small_params()
    parent, _, key = place.rpartition(".")
    at(params, parent)[int(key) if key.isdigit() else key] = value
    return params


def refusal(params: dict[Any, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(params)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def sections(value: object) -> Iterator[BaseModel]:
    if isinstance(value, BaseModel):
        yield value
        for field in type(value).model_fields:
            yield from sections(getattr(value, field))
    elif isinstance(value, dict):
        for item in value.values():
            yield from sections(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from sections(item)


def test_the_params_of_the_repository_are_valid() -> None:
    config = load_config(REPOSITORY / "params.yaml")

    assert config.release.candidate in config.sets


def test_every_section_is_frozen() -> None:
    params = small_params()
    params["distill"]["rows"] = {"temperature": 0.5}  # only for tables
    params["distill"]["networks"]["settled"] = {"window": 2, "span": 0.1}
    params["references"]["full"]["plateau"] = {"every": 10, "improvement": 0.1, "patience": 2, "most": 100}
    params["validate"] |= {
        "values": {"low": 0.0, "high": 255.0},
        "near": {"distance": 2, "difference": 0.01},
        "drift": {"reference": "validation.json", "maximum_psi": 0.2},
    }
    params["data"]["missing_cells"] = {"merge": {"warm": ["red", "yellow"]}}
    params["data"]["groups"] = {"merge": {"red": ["rot"]}}
    params["release"]["approvals"] = {"production": {"at_least": 1, "by": [f"ed25519:{'0' * 64}"]}}
    params["candidates"] |= {
        "selected": {"select": "herding"},
        "foreign": {"source": {"name": "npz"}, "sha256": "0" * 64, "producer": "a", "licence": "b"},
        "made": {"make": "package.module:function"},
    }
    params["best"] = {"sets": ["pooled", "barycentric"]}
    params["budget"] = {"days": 7, "cpu_hours": 1.0}
    params["gate"]["exam"] = {"networks": params["evaluate"]["networks"], "seeds": 1, "split": {"examples": 10}}
    seen = list(sections(parse_config(params)))

    for section in seen:
        for field in type(section).model_fields:
            with pytest.raises(ValidationError, match="frozen"):
                setattr(section, field, getattr(section, field))
    assert {type(section) for section in seen} == {
        *(section for section in Section.__subclasses__() if section.__module__.startswith("fair_distill.config.")),
        Named,
    }


@pytest.mark.parametrize("place", PLACES)
def test_an_unknown_key_is_refused_by_its_dotted_path(place: str) -> None:
    dotted = f"{place}.stpes".lstrip(".")

    assert refusal(put(dotted, 1)) == f"params.yaml: {dotted} is not a known key; remove it or correct its spelling"


@pytest.mark.parametrize(
    "dotted",
    [
        f"{place}.{key}".lstrip(".")
        for place in PLACES
        for key, value in at(small_params(), place).items()
        if key not in OPTIONAL
    ],
)
def test_every_key_is_required(dotted: str) -> None:
    params = small_params()
    parent, _, key = dotted.rpartition(".")
    del at(params, parent)[key]

    assert f"params.yaml: {dotted} is missing; add it" in refusal(params)


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("seed", -1, "is -1; it must be greater than or equal to 0"),
        ("seed", True, "is True; it must be a valid integer"),  # a boolean is not a number
        ("seed", 2**63, "seed does not fit in 64 bits"),
        ("distill.matcher", {"name": "dm", "deep": [{"option": -(2**63) - 1}]}, "distill.matcher.deep.option does not"),
        ("engine", 1.0, "is 1.0; it must be a valid integer"),
        ("threads", "2", "is '2'; it must be a valid integer"),
        ("dataset", "di/gi/ts", "is 'di/gi/ts'; write `dataset` or `team/dataset`"),
        ("dataset", "vision/di gits", "the name is 'di gits'; use only letters, digits, '-' and '_'"),
        ("dataset", "", "letters, digits"),
        ("data", [], "is []; "),
        ("data", None, "is None; "),
        ("data.colours.red", [0, 0, 256], "is 256; "),
        ("data.colours.red", [0, 0], "at least 3"),
        ("data.colours", {"red": [255, 0, 0]}, "at least 2"),
        ("data.own_share", 1, "is 1; it must be less than 1"),
        ("data.own_share", 0, "is 0; it must be greater than 0"),
        ("data.own_share", NAN, "is nan; "),
        ("data.splits.train", NAN, "is nan; "),
        ("data.splits.train", 0.7, "the shares sum to 0.9"),
        ("data.splits.gate", 0, "greater than 0"),
        ("validate.near", {"distance": 5, "difference": 0.1}, "validate.near.distance is 5; it must be less than"),
        ("validate.values", {"low": 1, "high": 1.0}, "low is 1 and high is 1"),
        ("validate.drift", {"reference": "a.json"}, "drift has no limit; set maximum_psi, maximum_variation or both"),
        ("validate.severity", {"finit": "warn"}, "'finit' is not a check; choose from type, shape, names,"),
        ("validate.severity", {"finite": "maybe"}, "is 'maybe'; it must be 'error', 'warn' or 'off'"),
        ("validate.suite", {"rows": "a.json"}, "it must be 'examples', 'train',"),
        ("validate.own", [{"name": "a:B"}], "validate.own.0.table is missing; add it"),
        ("validate.privacy", "secret", "is 'secret'; it must be 'open' or 'restricted'"),
        ("validate.minimum_per_cell", 0, "is 0; it must be greater than 0"),
        ("validate.maximum_imbalance", 0.5, "greater than or equal to 1"),
        ("validate.maximum_imbalance", INFINITE, "is inf; "),
        ("recipe.learning_rate", NAN, "is nan; "),
        ("recipe.learning_rate", 0, "greater than 0"),
        ("recipe.momentum", 1.5, "is 1.5; it must be less than or equal to 1"),
        ("recipe.weight_decay", NAN, "is nan; "),
        ("recipe.weight_decay", INFINITE, "is inf; "),
        ("recipe.augment", "crop", "is 'crop'; "),
        ("recipe.augment", [1], "is 1; "),
        ("distill.matcher", {"nome": "dm"}, "distill.matcher.name is missing; add it"),
        ("distill.matcher", 3, "is 3; "),
        ("distill.distance", "l2", "is 'l2'; it must be 'squared', 'l1' or 'cosine'"),
        ("distill.reduce", "max", "is 'max'; it must be 'sum' or 'mean'"),
        ("distill.start", "real", "is 'real'; "),
        ("distill.optimiser.learning_rate", INFINITE, "is inf; "),
        ("distill.ipc", 2.5, "is 2.5; it must be a valid integer"),
        ("candidates", {}, "at least 1"),
        ("candidates.a b", {"alignment": "pooled"}, "the name is 'a b'"),
        ("candidates.pooled.alignment", 3, "is 3; "),
        ("candidates.pooled.barycenter", "mean", "is only allowed with `alignment: barycentric`"),
        ("candidates.barycentric.barycenter", None, "`alignment: barycentric` requires it"),
        ("candidates.pooled.group_weights", {"red": 1.0, "cyan": 1.0}, "takes its group weights from the data"),
        ("candidates.barycentric.group_weights", {"red": 0.0}, "greater than 0"),
        ("candidates.random", {"alignment": "pooled"}, "random is both a candidate and a reference"),
        ("candidates.promoted", {"alignment": "pooled"}, "the name 'promoted' is reserved"),
        ("references.promoted", {"select": "all"}, "the name 'promoted' is reserved"),
        ("references.full.select", "some", "is 'some'; "),
        ("sets", ["full", "fool"], "sets contains 'fool'; choose from full, random, balanced, pooled, barycentric"),
        ("sets", ["full", "full"], "sets contains 'full' twice"),
        ("sets", [], "at least 1"),
        ("evaluate.seeds", 0, "greater than 0"),
        ("gate.limits", [], "at least 1"),
        ("gate.limits.0.at_most", 1.1, "less than or equal to 1"),
        ("gate.limits.0.at_most", NAN, "is nan; "),
        ("gate.limits.0.at_least", 0.5, "exactly one of at_most and at_least"),
        ("gate.limits.0.at_most", None, "exactly one of at_most and at_least"),
        ("gate.alpha", 1e-320, "greater than or equal to 0.000000000001"),
        (
            "gate.exam",
            {"networks": ["convnet"], "seeds": 1, "split": {}},
            "an empty `split` allows every gate split",
        ),
        ("gate.limits.0.why", "", "at least 1 character"),
        ("release.candidate", "random", "release.candidate is 'random'; choose one of pooled, barycentric"),
        ("release.channels", [], "at least 1"),
    ],
)
def test_a_wrong_value_is_refused_and_the_message_states_the_rule(place: str, value: object, message: str) -> None:
    assert message in refusal(put(place, value))


def test_a_key_with_a_line_break_is_refused_in_one_line() -> None:
    assert "is not a known key" in refusal(put("two\nlines", 1))


def test_the_message_counts_further_errors() -> None:
    params = put("seed", -1) | {"engine": 0}

    assert refusal(params).endswith("(and 1 more error)")


def test_a_choice_is_a_name_or_a_name_with_options() -> None:
    plain = parse_config(put("distill.matcher", "dm")).distill.matcher
    mapping = parse_config(put("distill.matcher", {"name": "dm", "layers": 2})).distill.matcher

    assert plain == Named(name="dm")
    assert (mapping.name, mapping.options) == ("dm", {"layers": 2})


def test_a_clause_compares_with_a_reference_or_with_the_promoted_version() -> None:
    """The error appears when params.yaml is read, and not in the last stage, after hours of computation."""
    clause = {"metric": "eo_diag_max", "at_most": 0.3, "why": "a test"}

    assert refusal(put("gate.limits.0", clause | {"over": "ful"})).endswith(
        "gate.limits: eo_diag_max over ful: references has no 'ful'; choose one of full, random, balanced, promoted"
    )
    assert "no 'pooled'" in refusal(put("gate.limits.0", clause | {"over": "pooled"}))  # a candidate is not a reference
    parse_config(put("gate.limits.0", clause | {"over": "full"}))
    parse_config(put("gate.limits.0", clause | {"over": "promoted", "first_release": "accept"}))


def test_an_unknown_candidate_is_refused_and_the_message_lists_the_candidates() -> None:
    with pytest.raises(ConfigError, match="no 'typo'; choose one of pooled, barycentric"):
        parse_config(small_params()).candidate("typo")


# --- the file ---------------------------------------------------------------------------------------------------------


def load(tmp_path: Path, text: str | bytes) -> Config:
    path = tmp_path / "params.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_config(path)


def test_a_file_and_its_mapping_give_the_same_config(tmp_path: Path) -> None:
    assert load(tmp_path, yaml.safe_dump(small_params())) == parse_config(small_params())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 0\nseed: 1\n", "line 2: the key 'seed' occurs twice"),
        ("data: {}\nrecipe:\n  steps: 1\n  steps: 1\n", "line 4: the key 'steps' occurs twice"),
        ("- 1\n", "the document is a list; a mapping of sections is needed"),
        ("", "the document is empty; a mapping of sections is needed"),
        ("seed: [\n", "not valid YAML"),
        ("seed: *nobody\n", "not valid YAML"),
        ("[1]: 2\n", "not valid YAML"),
        ("seed: !!python/name:os.system\n", "not valid YAML"),
        ("seed: 2020-13-45\n", "not valid YAML"),  # looks like a date, but is not one
        ("seed: !!int many\n", "not valid YAML"),
        ("{" * 1500, "not valid YAML"),
        (b"\xff\xfe\x00", "not readable"),
        (b"seed: \x00", "not valid YAML"),
    ],
)
def test_a_file_without_a_mapping_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)

    assert message in str(caught.value)
    assert str(tmp_path / "params.yaml") in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf"])
def test_nan_is_refused_in_every_field(tmp_path: Path, number: str) -> None:
    text = (REPOSITORY / "params.yaml").read_text()
    for line in (line for line in text.splitlines() if "learning_rate:" in line or "weight_decay:" in line):
        with pytest.raises(ConfigError, match=r"is -?(nan|inf); it must be"):
            load(tmp_path, text.replace(line, f"{line.split(':')[0]}: {number}", 1))


@pytest.mark.parametrize("number", ["1e-2", "1E-2", "1.e-2", "1.0e-2", "0.01", ".1e-1", "+1e-2"])
def test_the_usual_spellings_of_a_number_are_accepted(tmp_path: Path, number: str) -> None:
    text = yaml.safe_dump(put("recipe.weight_decay", 123.25)).replace("123.25", number)

    assert load(tmp_path, text).recipe.weight_decay == 0.01


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml is missing; run this command in a workspace"):
        load_config(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="is not readable"):
        load_config(tmp_path)


@given(st.text() | st.binary().map(lambda raw: raw.decode("utf-8", "replace")))
def test_any_text_is_read_or_refused_with_a_config_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("text", numbered=True) / "params.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError):
        load_config(path)
