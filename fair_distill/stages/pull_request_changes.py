"""The differences between a pull request and its base branch, shown to reviewers. No verdict uses this text."""

import difflib
import json
import re
from collections.abc import Iterator

from fair_distill.errors import ConfigError, DataError, IntegrityError
from fair_distill.files import to_json
from fair_distill.stages.pull_request import PullRequest, parse_untrusted_yaml
from fair_distill.text import printable
from fair_distill.versioning.git_objects import checked_out

# The sections of params.yaml that a verdict depends on.
_SECTIONS = ("gate", "evaluate", "recipe", "data", "validate")
# Files that can change what the gate job does after they are merged, in the workspace and at the top of the repository.
_WATCHED = (".dvc/config", "fair_distill", "conftest.py", "sitecustomize.py", "gate-requirements.txt")
_WATCHED_AT_TOP = (".github", ".gitlab-ci.yml", ".gitattributes", ".gitmodules", "CODEOWNERS", "docs/CODEOWNERS")
# The time to compare two texts grows with the square of their numbers of lines.
_MOST_LINES = 2000
_LONGEST_LINE = 300


def describe_changes(pull_request: PullRequest) -> str:
    """Return the differences between the pull request and the base branch in everything that a verdict depends on.

    The text starts with one line for each file that differs, and the diffs follow. It comes from the author of the
    pull request, so control characters and Markdown fences are escaped.
    """
    notes, diffs = [], []
    for name, base, head in _compared_texts(pull_request):
        if base != head:
            notes.append(f"# {name} differs from the base branch, which is used here")
            diffs += _diff(name, base, head)
    commit, checkout = pull_request.head, checked_out(pull_request.base.root)
    for name in (*_WATCHED_AT_TOP, *(pull_request.place + name for name in _WATCHED)):
        if commit.identity(name) != checkout.identity(name):
            notes.append(f"# {name} differs from the base branch, which is used here")
    return "\n".join(_escape(line) for line in [*notes, *diffs])


def _compared_texts(pull_request: PullRequest) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield name, lines in the base branch and lines in the pull request of everything that a verdict depends on."""
    params, context = (_read_both(pull_request, name) for name in ("params.yaml", "context.json"))
    for section in _SECTIONS:
        yield f"params.yaml: {section}", _section(params[0], section), _section(params[1], section)
    yield "context.json", _lines(context[0]), _lines(context[1])


def _read_both(pull_request: PullRequest, name: str) -> tuple[bytes, bytes]:
    """Return a file of the base branch and of the pull request. The error message replaces an unreadable file."""
    path = pull_request.base.root / name
    try:
        head = pull_request.read(name) or b""
    except (DataError, IntegrityError) as error:
        head = f"({error})".encode()
    return path.read_bytes() if path.is_file() else b"", head


def _section(params: bytes, section: str) -> list[str]:
    """Return a section of params.yaml as lines of JSON, which has no comments that could mislead a reader."""
    try:
        value = parse_untrusted_yaml(params, "params.yaml").get(section)
        return _lines(to_json(json.loads(json.dumps(value, default=str))))
    except (ConfigError, ValueError, TypeError, RecursionError) as error:
        return [f"(not readable: {' '.join(str(error).split())[:200]})"]


def _lines(content: bytes) -> list[str]:
    return re.split("\r\n|\n", content.decode(errors="replace").rstrip("\n"))


def _diff(name: str, base: list[str], head: list[str]) -> list[str]:
    if max(len(base), len(head)) > _MOST_LINES:
        return [f"# {name} is too long to be compared here: {len(base):,} and {len(head):,} lines"]
    return list(difflib.unified_diff(base, head, f"base: {name}", f"pull request: {name}", lineterm=""))


def _escape(line: str) -> str:
    """Return a line for a fenced block of Markdown: without control characters and fences, and cut if too long."""
    text = printable(line).replace("```", "` ` `")
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…"
