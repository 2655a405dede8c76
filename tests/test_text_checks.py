"""The checks of prose and Markdown in `make lint` report bad text and accept good text."""

import ast
from pathlib import Path

import prose
import pytest
import wrap_markdown

BAD = (
    "What is retried is what is transient.",
    "The limit is no stricter than the data allow.",
    "It lies beside the manifest.",
    "The graph is told what to do.",
    "A matcher of one's own.",
)
GOOD = (
    "Transient errors are retried with exponential backoff.",
    "The file is no longer needed.",
    "What does the gate measure?",
    "DM stands for distribution matching.",
)


def phrases(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[prose.Occurrence]:
    monkeypatch.setattr(prose, "ROOT", folder)
    (folder / "page.md").write_text(f"{text}\n")
    return prose.count_phrases(("page.md",))[0]


@pytest.mark.parametrize("text", BAD)
def test_an_obscure_phrase_is_counted(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert phrases(text, tmp_path, monkeypatch)


@pytest.mark.parametrize("text", GOOD)
def test_a_plain_sentence_is_accepted(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not phrases(text, tmp_path, monkeypatch)


def test_code_in_markdown_and_in_docstrings_is_not_prose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not phrases("Run `beside anew`.\n\n```sh\necho anew\n```", tmp_path, monkeypatch)


def test_every_kind_of_name_is_counted() -> None:
    source = "def told(own):\n    found = own\n    try: ...\n    except Exception as said: ...\n"

    assert {name for name, _ in prose.bindings(ast.parse(source))} == {"told", "own", "found", "said"}


def test_a_paragraph_and_a_list_item_are_filled() -> None:
    words = " ".join(["word"] * 40)
    text = f"# Title\n\n{words}\nshort\n\n- {words}\n"

    wrapped = wrap_markdown.wrapped(text)

    assert all(len(line) <= wrap_markdown.WIDTH for line in wrapped.splitlines())
    assert wrapped.split() == text.split()
    assert wrap_markdown.wrapped(wrapped) == wrapped
    assert "\n  word" in wrapped


@pytest.mark.parametrize(
    "block", ["```sh\n{}\n```", "| {} |\n|---|\n| a |", "# {}", "<!-- a -->\n| {} |\n<!-- /a -->", "    {}", "> {}"]
)
def test_code_tables_headings_and_quotations_stay_unchanged(block: str) -> None:
    text = block.format(" ".join(["word"] * 40)) + "\n"

    assert wrap_markdown.wrapped(text) == text


def test_a_wrapped_line_never_begins_with_a_mark_of_markdown() -> None:
    text = f"{'x' * 118} - y {'z' * 115} 1. end\n"

    assert not any(line.startswith(("-", "1.")) for line in wrap_markdown.wrapped(text).splitlines())
