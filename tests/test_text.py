"""Untrusted text is harmless on a terminal, in Markdown and in messages."""

import ast
import re
import unicodedata
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import fair_distill
from fair_distill.errors import ConfigError
from fair_distill.registry.lookup import TRUST_VARIABLE, trusted_keys
from fair_distill.registry.store import open_registry
from fair_distill.storage.schemes import open_store
from fair_distill.text import (
    decimal,
    json_printable,
    markdown,
    markdown_table,
    percent,
    printable,
    validation_sentence,
    without_secrets,
)

CLI = Path(fair_distill.__file__).parent / "cli"
SECRET = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=5, max_size=20)


@given(st.text())
def test_printable_text_is_one_line_without_control_and_direction_characters(text: str) -> None:
    text_shown = printable(text)

    assert all(unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp", "Co") for c in text_shown)
    assert not set(text_shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


def test_invisible_characters_are_shown_as_escapes() -> None:
    assert printable("a\x1b[2J\nb\x9b\u202ec") == r"a\x1b[2J\nb\x9b\u202ec"
    assert printable("Zoë, 数字, नमस्ते") == "Zoë, 数字, नमस्ते"


@given(st.text())
def test_printable_json_has_the_same_value(text: str) -> None:
    import json

    content = json.dumps(text, ensure_ascii=False)

    assert json.loads(json_printable(content)) == text
    assert all(unicodedata.category(c) not in ("Cc", "Cf") or c in "\u200c\u200d" for c in json_printable(content))


@pytest.mark.parametrize(
    "text",
    ["<img src=x onerror=alert(1)>", "[a](javascript:x)", "a | b", "`x`", "**b**", "_b_", "&lt;", "@team", "https://x"],
)
def test_markdown_escapes_the_markup_of_untrusted_text(text: str) -> None:
    import html

    text_shown = markdown(text)

    assert not re.search(r"(?<!\\)[\[\]`*]|[<>|@]|://|&(?!lt;|gt;|amp;|#)", text_shown)
    assert html.unescape(text_shown).replace("\\", "") == text


def test_markdown_leaves_ordinary_names_unchanged() -> None:
    assert markdown("eo_diag_max, convnet 0.3–0.5 (women)") == "eo_diag_max, convnet 0.3–0.5 (women)"


def _is_part_of_a_message(secret: str) -> bool:
    """Return whether a text is part of the fixed words of a message."""
    with pytest.raises(ConfigError) as refusal:
        open_registry("s3://user:~~~~@bucket/place?private_token=~~~~")
    return secret in f"cannot clone place endpoint --checkpoints {refusal.value}"


@given(SECRET.filter(lambda secret: not _is_part_of_a_message(secret)))
def test_messages_contain_no_secret_of_an_address(secret: str) -> None:
    addresses = [
        f"s3://user:{secret}@bucket/place",
        f"s3://{secret}@bucket/place",
        f"s3://bucket/place?private_token={secret}",
        f"s3://bucket/place?{secret}",
        f"s3://bucket/place?endpoint=https://user:{secret}@host",
        f"file:///place?token={secret}",
    ]
    for address in addresses:
        for call in (open_registry, lambda url: open_store(url, source="--checkpoints")):
            with pytest.raises(ConfigError) as refusal:
                call(address)
            assert secret not in str(refusal.value), address
            assert "AWS_PROFILE" in str(refusal.value) or "supported locations" in str(refusal.value)
        assert secret not in without_secrets(f"cannot clone '{address}': no")


def test_a_secret_with_a_slash_is_hidden_completely() -> None:
    assert without_secrets("at https://me:ab/cd/ef@host/it.git, now") == "at https://...@host/it.git, now"


def test_a_query_with_an_at_sign_is_hidden_completely() -> None:
    assert without_secrets("at s3://bucket/place?token=ab@cd, now") == "at s3://..., now"
    assert without_secrets("at s3://me:a?b@bucket/place now") == "at s3://... now"


def test_every_error_is_one_line_without_secrets() -> None:
    line = str(ConfigError("a\nb \x1b[2J s3://me:ab/cd@host/x?token=1"))

    assert line == r"a\nb \x1b[2J s3://...@host/x?..."


def test_commands_print_through_one_module() -> None:
    """Two modules are exempt: progress lines are JSON in ASCII, and the gate prints sentences of its verdicts."""
    for path in sorted(CLI.glob("*.py")):
        tree = ast.parse(path.read_text())
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
        if path.name not in ("output.py", "progress.py"):
            assert not [n.lineno for n in calls if n.func.id == "print"], path.name  # type: ignore[attr-defined]


def test_an_empty_list_of_trusted_keys_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for given_keys in (",", " ", " , ,"):
        monkeypatch.setenv(TRUST_VARIABLE, given_keys)
        with pytest.raises(ConfigError, match=r"FAIR_DISTILL_TRUST is .* which has no key"):
            trusted_keys(None)
    monkeypatch.delenv(TRUST_VARIABLE)
    assert trusted_keys(None) == ()


@pytest.mark.parametrize(("value", "expected"), [(0.125, "12.5 %"), (1.0, "100.0 %"), (-0.02, "-2.0 %"), (None, "–")])
def test_a_fraction_in_per_cent(value: float | None, expected: str) -> None:
    assert percent(value) == expected


def test_numbers_have_the_unit_the_digits_and_the_sign_that_are_asked_for() -> None:
    assert percent(0.125, 0, unit="") == "12"
    assert percent(0.02, signed=True, unit=" points") == "+2.0 points"
    assert decimal(0.12345) == "0.123"
    assert decimal(0.5, signed=True) == "+0.500"
    assert decimal(None) == "–"


def test_a_markdown_table_has_a_line_for_each_row() -> None:
    assert markdown_table(["set", "n"], [["full", 3], ["pooled", 4]]) == (
        "| set | n |\n| --- | --- |\n| full | 3 |\n| pooled | 4 |\n"
    )
    assert markdown_table(["set", "n"], [], align="lr").splitlines()[1] == "| --- | --: |"


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    steps: Annotated[int, Field(gt=0)]
    names: list[str] | int = 0


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({}, "loop.steps is missing; add it"),
        ({"steps": 1, "stpes": 1}, "loop.stpes is not a known key; remove it or correct its spelling"),
        ({"steps": 0}, "loop.steps is 0; it must be greater than 0"),
        ({"steps": "x" * 200}, f"loop.steps is '{'x' * 76}...; it must be a valid integer"),
        ({"steps": 1, "names": [2]}, "loop.names.0 is 2; it must be a valid string (and 1 more error)"),
    ],
)
def test_an_invalid_value_is_reported_with_its_key_and_the_rule(raw: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        _Options.model_validate(raw)

    assert validation_sentence(refusal.value, within="loop") == sentence
