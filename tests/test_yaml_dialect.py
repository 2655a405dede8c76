"""Our YAML parser and DVC's parser read the same values, or ours refuses; hostile documents are refused quickly."""

import time
import warnings
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize._yaml import parse_yaml as dvc_parse_yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from fair_distill.config import load_config, yaml_dialect
from fair_distill.config.yaml_dialect import MAXIMUM_BYTES, YamlError, parse_yaml
from fair_distill.errors import ConfigError

# Fragments that YAML versions or parsers interpret differently.
PIECES = st.sampled_from(
    [
        *("a", "b", "1", "0", "9", "_", ".", "-", "+", "e", "E", "x", "o", "0x", "0o", "0b", "12", "1e3", ".5", "1:30"),
        *(
            ".inf",
            ".NaN",
            "yes",
            "No",
            "on",
            "true",
            "FALSE",
            "null",
            "~",
            "2026-01-02",
            "2026-13-45",
            "T10:00:00",
            "=",
        ),
        *(": ", ":", "- ", "? ", "\n", "\n  ", "\n    ", " ", " #", "#", "[", "]", "{", "}", ",", "'", '"', "\t"),
        *("&a ", "*a", "&", "*", "<<", "<<: *a", "<<: [*a, *a]", "|\n", ">\n", "|-\n  ", "!!int ", "!", "%", "@", "`"),
        *("\\", "\\/", "\\x41", "---", "...", "\n---\n", "é", "\x7f", "\x85", "\u2028", "\ufeff", "\u00a0", "\r"),
    ]
)
NUMBER_CHARACTERS = "0123456789_.+-eExXoObBaf:"
LOADERS = [loader for name in ("CSafeLoader", "SafeLoader") if (loader := getattr(yaml, name, None))]


def dvc_values(text: str) -> set[str]:
    """Return the values, with their types, that DVC's parser reads, with and without its C extension."""
    values = set()
    for parse in (lambda: dvc_parse_yaml(text, "params.yaml"), lambda: YAML(typ="safe", pure=True).load(text)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                values.add(repr(parse()))
        except Exception:  # DVC's parser raises various errors
            continue
    return values


def check_agreement(text: str) -> bool:
    """Check a document; return whether our parser accepted it."""
    accepted = False
    for loader in LOADERS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(yaml_dialect, "_LOADER", loader)
            try:
                value = parse_yaml(text)
            except YamlError:
                continue
        # If the set is empty, no build of DVC's parser reads the document, so there is no value to compare with.
        assert dvc_values(text) <= {repr(value)}
        accepted = True
    return accepted


@given(st.text(NUMBER_CHARACTERS, min_size=1, max_size=8) | st.lists(PIECES, min_size=1, max_size=4).map("".join))
@settings(max_examples=1500)
def test_a_scalar_has_the_value_and_type_that_dvc_reads_or_is_refused(scalar: str) -> None:
    check_agreement(f"key: {scalar}\n")
    check_agreement(f"key: [{scalar}, 1]\n")
    check_agreement(f"{scalar}: 1\n")


@given(st.lists(PIECES, max_size=10).map("".join))
@example("a: {b: s3://bucket/x}")
@example("a: [0:, 1]")
@example("\ufeffa: 1")
@example("a: &x {b: 1}\nc: {<<: *x, d: 2}\n")
@settings(max_examples=1000)
def test_a_document_has_the_values_that_dvc_reads_or_is_refused(text: str) -> None:
    check_agreement(f"first: &a {{k: 1}}\nsecond: {text}")
    check_agreement(text)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.dates(date(1000, 1, 1)),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=5), PLAIN, min_size=1, max_size=4), st.booleans())
def test_a_document_that_a_yaml_writer_made_is_accepted(document: dict[str, Any], flow: bool) -> None:
    """PyYAML quotes what YAML 1.1 does not read as text. YAML 1.2 needs quotes for fewer texts, except `0o7`."""
    text = yaml.safe_dump(document, default_flow_style=flow, allow_unicode=False)

    if "tag:" not in text and "!!" not in text:
        check_agreement(text)


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("yes", "yes"),
        ("off", "off"),
        ("012", 12),
        ("0o14", 12),
        ("1_000", 1000),
        ("1:30", "1:30"),
        ("0x1F", 31),
        ("-0b11", -3),
        ("1e3", 1000.0),
        ("1e-3", 0.001),
        (".5e-3", 0.0005),
        (".5e3", ".5e3"),
        ("1_0.5", 10.5),
        ("True", True),
        ("tRUE", "tRUE"),
        ("~", None),
        ("", None),
        ("2026-01-02", date(2026, 1, 2)),
        ("2026-1-2", "2026-1-2"),
        ("+.inf", float("inf")),
    ],
)
def test_a_scalar_is_read_by_the_rules_of_yaml_1_2(scalar: str, value: object) -> None:
    text = f"key: {scalar}\n"

    assert repr(parse_yaml(text)) == repr({"key": value})
    assert dvc_values(text) == {repr({"key": value})}


def test_a_merge_key_adds_keys_that_the_mapping_lacks() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc:\n  y: 3\n  <<: [*b, *a]\n"

    assert parse_yaml(text)["c"] == {"x": 2, "y": 3, "z": 2}
    assert dvc_parse_yaml(text, "")["c"] == {"x": 2, "y": 3, "z": 2}


def _nested(template: str, first: str, depth: int) -> str:
    levels = [template.format(i=i, previous=i - 1) for i in range(1, depth)]
    return "\n".join([first, *levels])


HOSTILE = {
    "aliases of aliases": _nested("a{i}: &a{i} [*a{previous}, *a{previous}]", "a0: &a0 [1, 1]", 60),
    "merges of merges": _nested("a{i}: &a{i} {{<<: [*a{previous}, *a{previous}]}}", "a0: &a0 {x: 1}", 60),
    "an anchor that contains itself": "a: &a [*a]",
    "a flow list nested without end": "a: " + "[" * 1_000_000,
    "a block list nested without end": "a:\n" + "- " * 1_000_000,
    "a key nested without end": "? " * 1_000_000,
    "a text above the limit": "a: " + "x" * MAXIMUM_BYTES,
    "an integer that Python does not print": "a: 0x" + "f" * 5000,
    "half a surrogate pair": "a: \ud800",
    "a directive": "%YAML 1.1\n---\na: yes",
    "a tag": "a: !!python/name:os.system",
    "a tag on a number": "a: !!str 12",
    "a time": "a: 2026-01-02T10:00:00",
    "two documents": "a: 1\n---\na: 2",
    "a merge key twice": "a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_document_is_refused_in_under_a_second(text: str) -> None:
    start = time.process_time()

    with pytest.raises(YamlError) as caught:
        parse_yaml(text)

    assert len(str(caught.value)) < 400
    assert time.process_time() - start < 1


def test_params_with_exponential_aliases_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(_nested("a{i}: &a{i} [" + ", ".join(["*a{previous}"] * 2) + "]", "a0: &a0 [1]", 21))
    assert path.stat().st_size < 600

    with pytest.raises(ConfigError, match="aliases repeat more than 100,000 values") as caught:
        load_config(path)

    assert len(str(caught.value).splitlines()) == 1


def test_a_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("# " + "x" * MAXIMUM_BYTES)

    with pytest.raises(ConfigError, match="more than 4,000,000 bytes"):
        load_config(path)


def test_ordinary_aliases_are_accepted() -> None:
    assert parse_yaml("a: &a [1, 2]\nb: *a\nc: {d: *a}") == {"a": [1, 2], "b": [1, 2], "c": {"d": [1, 2]}}
