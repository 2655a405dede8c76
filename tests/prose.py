"""Check that prose and names are plain, as part of `make lint`.

    python tests/prose.py [--phrases 10] [--names 0.5]

Two measurements have a limit:

- phrases that plain technical writing hardly uses, per 10,000 words of docstrings, comments, messages and Markdown;
- filler words as Python names (`found`, `one`, `told`), in per cent of all names that the code binds.

The script lists every occurrence only if a limit is exceeded. Both measurements detect symptoms: text can satisfy them
and still be hard to read.
"""

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CODE = ("fair_distill", "flows", "tasks")
PROSE = (*CODE, "docs", "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
# Each pattern is matched without regard to case; the second text says what to write instead.
PHRASES = {
    r"(?:^|(?<=[.;] ))What (?!to\b|if\b|(?:does|do|did|should|can you)\b)[a-z]+\b(?!.*\?)": "name the subject",
    r"(?:^|(?<=[.;] ))(?:whatever|whoever|whichever|nobody who)\b": "name the subject",
    r"\b(?:is|are|was|were) (?:no|none)\b(?! longer\b)": "is not",
    r"\b(?:is|are|was|were) (?:not )?to (?:be|have|stay|say|show|reach|hold|lie|do|go)\b": "must, should or will",
    r"\bstands?\b(?! for\b)|\bstood\b": "is, is stored, represents",
    r"\bbesides?\b": "next to, with, in addition to",
    r"\b(?:mend(?:s|ed|ing)?|anew|whence|thence|hence|therein|thereof|thereby)\b": "fix, again, therefore",
    r"\b(?:tells?|told)\b(?! you\b)": "reports, describes, receives",
    r"\b(?:lays?|laid|lies)\b": "is, creates, is located",
    r"\bof (?:its|their|one's|his|your|our) own\b": "its own X, custom",
    r"\bone's\b": "the user's, custom",
    r"\bheld against\b": "compared with, checked against",
    r"\bin (?:the|its|their) place(?: of)?\b": "instead (of)",
    r"\band (?:no|nothing) (?:other|more|else|further)\b": "only",
    r"\b(?:be|is|are|was) had\b": "is available, can be obtained",
    r"\bhad (?:it|they|he|there|one) (?:been|had|not)\b": "if it had",
    r"\bbe (?:it|they) (?:a|an|the|of|ever|in)\b": "whether",
    r"\b(?:alike|likewise|whereof|upon|ere|albeit)\b": "a plainer word",
    r"\bsuch as (?:has|have|is|are|was)\b": "that",
    r"\bby itself\b": "automatically",
    r"\bas it stands\b|\bfares?\b|\bheld to\b|\bkeeps? its word\b": "a literal description",
}
FILLERS = frozenset(
    re.findall(
        r"\w+",
        "about answers asked at began begun beside by came coded done ended facts found gave given goes gone "
        "got had here how it kept kinds lay looked looks made material moved of one opening other others own "
        "places r ran said says scope seen shown stood taken telling there thing things told took wanted way "
        "ways went what when which who whom whose ",
    )
)


@dataclass(frozen=True)
class Occurrence:
    """One phrase or name that the check counts."""

    path: Path
    line: int
    text: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.text!r}: write {self.advice}"


def files(roots: tuple[str, ...]) -> Iterator[Path]:
    """Yield the Python and Markdown files of folders, and files that are named directly."""
    for root in (ROOT / name for name in roots):
        paths = [root] if root.is_file() else sorted(root.rglob("*"))
        yield from (path for path in paths if path.suffix in (".py", ".md"))


def paragraphs(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the prose of a file with its line numbers, without code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
                yield node.lineno, without_code(node.value)
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string.lstrip("# ")
        return
    fenced = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, without_code(line)


def without_code(text: str) -> str:
    """Replace code spans by a placeholder, because names of commands and keys are not prose."""
    return re.sub(r"`[^`]*`", "CODE", text)


def count_phrases(roots: tuple[str, ...]) -> tuple[list[Occurrence], int]:
    """Return the phrases in these files, and the number of words that were read."""
    occurrences, words = [], 0
    for path in files(roots):
        for line, text in paragraphs(path):
            words += len(re.findall(r"[A-Za-z']+", text))
            for pattern, advice in PHRASES.items():
                for match in re.finditer(pattern, text, re.IGNORECASE | re.MULTILINE):
                    number = line + text.count("\n", 0, match.start())
                    occurrences.append(Occurrence(path, number, match[0], advice))
    return occurrences, words


def bindings(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield every name that a module binds: variables, parameters, functions, classes and caught exceptions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.ExceptHandler) and node.name:
            yield node.name, node.lineno


def count_fillers(roots: tuple[str, ...]) -> tuple[list[Occurrence], int]:
    """Return the filler words among the names of these files, and the number of names."""
    occurrences, names = [], 0
    for path in files(roots):
        if path.suffix == ".py":
            for name, line in bindings(ast.parse(path.read_text(encoding="utf-8"))):
                names += name not in ("self", "cls")
                if name.strip("_") in FILLERS:
                    occurrences.append(Occurrence(path, line, name, "the noun that it holds"))
    return occurrences, names


def report(title: str, occurrences: list[Occurrence], rate: float, limit: float) -> bool:
    """Print a rate, and every occurrence if the rate exceeds its limit; return whether it does."""
    if rate > limit:
        print("\n".join(map(str, occurrences)))
    print(f"{title}: {rate:.2f} (limit {limit:g})")
    return rate > limit


def main() -> int:
    parser = argparse.ArgumentParser(description="Check that prose and names are plain.")
    parser.add_argument("--phrases", type=float, default=10.0, help="limit per 10,000 words (default: 10)")
    parser.add_argument("--names", type=float, default=0.5, help="limit in per cent of all names (default: 0.5)")
    limits = parser.parse_args()
    phrases, words = count_phrases(PROSE)
    fillers, names = count_fillers(CODE)
    exceeded = [
        report("phrases per 10,000 words", phrases, 1e4 * len(phrases) / max(words, 1), limits.phrases),
        report("filler names in per cent", fillers, 100 * len(fillers) / max(names, 1), limits.names),
    ]
    return int(any(exceeded))


if __name__ == "__main__":
    sys.exit(main())
