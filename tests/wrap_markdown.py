"""Wrap the prose of Markdown files at 120 columns, or check that no line is longer, as part of `make lint`.

    python tests/wrap_markdown.py [--fix] [FILE…]

Paragraphs and list items are filled; code, tables, headings, directives, comments and quotations stay as they are. The
common formatters are not used because they also rewrite the tables that tests compare with the output of the code.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 120
# The code writes these pages, one line for each paragraph.
GENERATED = {"commands.md", "params.md"}
_ITEM = re.compile(r"^( *)([-*]|\d+\.) +(?=\S)")
_LITERAL = re.compile(r"^ *(?:[|#>]|:::|<|!\[|\[[^\]]+\]:|---)|^ {4,}\S|^$")
# Words are split at spaces, but not within a code span or the text of a link.
_WORDS = re.compile(r"(?:`[^`]*`|\[[^\]]*\]\([^)]*\)|\S)+")
# A line that begins like this would become a list item, a heading or a quotation.
_UNSAFE = re.compile(r"^(?:[-+*>#|=]|\d+[.)]$|#+$|:::)")


def wrapped(text: str) -> str:
    """Return a page with its prose wrapped."""
    lines = text.splitlines()
    return "\n".join(line for block, literal in blocks(lines) for line in (block if literal else fill(block))) + "\n"


def blocks(lines: list[str]) -> Iterator[tuple[list[str], bool]]:
    """Yield runs of lines that are wrapped together, and whether they must stay unchanged."""
    fence, block = "", []
    for number, line in enumerate(lines):
        # The lines of a table of contents are names of pages, not prose.
        mark = re.match(r" *(:::+)$" if fence.startswith(":") else r" *(```+|~~~+|:::+(?={toctree}))", line)
        literal = bool(fence or mark) or (
            _is_literal(line) and not (block and line.strip() and _is_hanging(line, block))
        )
        if number == 0 and line == "---":
            literal = True
        if literal or _ITEM.match(line):
            if block:
                yield block, False
            block = []
        if literal:
            yield [line], True
        else:
            block.append(line)
            if line.endswith(("  ", "\\")):  # a line break that the author asked for
                yield block, False
                block = []
        if mark:
            fence = "" if fence and mark[1].startswith(fence) else fence or mark[1]
    if block:
        yield block, False


def _is_literal(line: str) -> bool:
    return _LITERAL.match(line) is not None


def _is_hanging(line: str, block: list[str]) -> bool:
    """Return whether an indented line continues the list item above it."""
    item = _ITEM.match(block[0])
    return item is not None and line.startswith(" " * item.end()) and not _LITERAL.match(line[item.end() :])


def fill(block: list[str]) -> list[str]:
    """Return the lines of a paragraph or list item, filled up to the width."""
    first = block[0]
    if len(block) == 1 and len(first) <= WIDTH:
        return block
    item = _ITEM.match(first)
    indent = " " * (item.end() if item else len(first) - len(first.lstrip()))
    lines = [item[0] if item else indent]
    empty = True
    for word in _glued(_WORDS.findall(" ".join([first[len(lines[0]) :], *map(str.strip, block[1:])]))):
        if not empty and len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append(indent)
            empty = True
        lines[-1] += word if empty else f" {word}"
        empty = False
    return lines


def _glued(words: list[str]) -> Iterator[str]:
    """Yield words so that no line can begin with a mark of Markdown."""
    held = ""
    for word in words:
        if held and not _UNSAFE.match(word):
            yield held
            held = word
        else:
            held = f"{held} {word}".strip()
    if held:
        yield held


def pages() -> list[Path]:
    folders = (".", "docs", "benchmarks", "fair_distill/template", ".github")
    return [path for name in folders for path in sorted((ROOT / name).glob("*.md")) if path.name not in GENERATED]


def main() -> int:
    parser = argparse.ArgumentParser(description="Wrap the prose of Markdown files, or check it.")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: every page of the repository")
    parser.add_argument("--fix", action="store_true", help="rewrite the files")
    arguments = parser.parse_args()
    too_wide = []
    for path in arguments.files or pages():
        text = path.read_text(encoding="utf-8")
        new = wrapped(text)
        if arguments.fix:
            path.write_text(new, encoding="utf-8")
        elif longest(text) > max(WIDTH, longest(new)):
            too_wide.append(str(path))
    if too_wide:
        print(f"lines over {WIDTH} columns; run: python tests/wrap_markdown.py --fix {' '.join(too_wide)}")
    return int(bool(too_wide))


def longest(text: str) -> int:
    """Return the length of the longest line that can be wrapped."""
    runs = (block for block, literal in blocks(text.splitlines()) if not literal)
    return max((len(line) for run in runs for line in run), default=0)


if __name__ == "__main__":
    sys.exit(main())
