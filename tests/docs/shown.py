"""Find the commands that the documentation shows, and split them into words."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
# Two pages are generated from the code; the tests of the command line check their commands.
PAGES = tuple(
    page.relative_to(REPOSITORY)
    for folder in (".", "docs", "benchmarks", "fair_distill/template")
    for page in sorted((REPOSITORY / folder).glob("*.md"))
    if page.name not in ("commands.md", "params.md")
)
PROGRAMS = ("dask", "docker", "dvc", "fair-distill", "git", "kubectl", "make", "pip", "prefect", "python", "python3")
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(rf"`((?:{'|'.join(PROGRAMS)}) [^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, with its language (which can be empty) and its text."""

    page: Path
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """A simple command: its environment variables, its words, and the file that `>` names, if any."""

    variables: tuple[str, ...]
    words: tuple[str, ...]
    into: str | None

    @property
    def program(self) -> str:
        return self.words[0]

    def __str__(self) -> str:
        return shlex.join((*self.variables, *self.words))


def blocks(page: Path) -> Iterator[Block]:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, match.start()) + 1, match[2], match[3])


def commands(page: Path) -> Iterator[Command]:
    """Yield the commands of a page: in `sh` blocks, after `$` in `console` blocks, and in code spans."""
    for block in blocks(page):
        lines = block.text.replace("\\\n", " ").splitlines()
        if block.language == "sh":
            yield from (command for line in lines for command in split_commands(line))
        elif block.language == "console":
            yield from (command for line in lines if line.startswith("$ ") for command in split_commands(line[2:]))
    text = _FENCE.sub("", (REPOSITORY / page).read_text(encoding="utf-8"))
    for match in _INLINE.findall(text):
        yield from split_commands(" ".join(match.split()))


def split_commands(line: str) -> Iterator[Command]:
    """Yield the simple commands of a line of shell; `$(...)` is a word."""
    line = re.sub(r"\$\(([^)]*)\)", r"'$(\1)'", line)
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|>;")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word in ("&&", "||", "|", ";", "&"):
            if words:
                yield _command(words)
            words = []
        else:
            words.append(word)


def _command(words: list[str]) -> Command:
    into = None
    if ">" in words:
        at = words.index(">")
        into, words = words[at + 1], words[:at] + words[at + 2 :]
    start = next(i for i, word in enumerate(words) if not re.match(r"[A-Z_]+=", word))
    return Command(tuple(words[:start]), tuple(words[start:]), into)
