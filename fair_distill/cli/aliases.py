"""The earlier spellings of commands, which dvc.yaml, CI jobs and scripts use.

They are replaced before the command line is parsed, so the help and shell completion do not list them.
"""

from collections.abc import Sequence

ALIASES: dict[str, tuple[str, ...]] = {
    "estimate": ("stage", "estimate"),
    "prepare": ("stage", "prepare"),
    "validate": ("stage", "validate"),
    "experts": ("stage", "experts"),
    "distill": ("stage", "distill"),
    "references": ("stage", "references"),
    "project": ("stage", "project"),
    "evaluate": ("stage", "evaluate"),
    "judge": ("stage", "judge"),
    "explain": ("gate", "explain"),
    "attest": ("gate", "attest"),
    "where": ("table", "--paths"),
    "log": ("registry", "log"),
    "verify": ("registry", "verify"),
    "diff": ("registry", "compare"),
    "pin": ("registry", "pin"),
    "outdated": ("registry", "outdated"),
    "approve": ("registry", "approve"),
    "demote": ("registry", "demote"),
    "rollback": ("registry", "rollback"),
    "revoke": ("registry", "revoke"),
    "head": ("registry", "head"),
    "key": ("registry", "keygen"),
    "gc": ("registry", "gc"),
    "card": ("export", "card"),
    "evidence": ("export", "evidence"),
    "completion": ("--print-completion",),
}
# Commands that left the command line, and what to run instead.
REMOVED = {"reproduce": "`python -m benchmarks.reproduce` in a checkout of the repository"}
_WITH_VALUE = "--workspace"


def without_aliases(argv: Sequence[str]) -> list[str]:
    """Return a command line in which an earlier spelling of the command is replaced by the present one."""
    words = list(argv)
    position = _command_position(words)
    if position < len(words) and words[position] in ALIASES:
        words[position : position + 1] = ALIASES[words[position]]
    return words


def _command_position(words: Sequence[str]) -> int:
    """Return the position of the first word that is not a global option or its value."""
    position = 0
    while position < len(words) and words[position].startswith("-"):
        # argparse accepts every unambiguous abbreviation of an option.
        takes_value = len(words[position]) > 2 and _WITH_VALUE.startswith(words[position])
        position += 2 if takes_value else 1
    return position
