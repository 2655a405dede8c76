"""How lines and numbers look, whichever command shows them, to people and to scripts.

Names, reasons and sentences come from tables, ledgers and verdicts that others wrote. So every command prints by one
of the functions here, and none of them lets a text move the cursor, forge a line or hide another.
"""

import sys

from fair_distill.files import to_json
from fair_distill.text import json_printable, printable

METRICS = {
    "accuracy": "accuracy",
    "worst_group_accuracy": "worst group",
    "eo_diag_max": "EODM",
    "eo_diag_mean": "EODA",
}


def say(line: str, *, error: bool = False, now: bool = False) -> None:
    """Print one line; a control character in it, a new line among them, is printed as an escape.

    Parameters
    ----------
    error : to standard error
    now : without waiting for more lines
    """
    print(printable(line), file=sys.stderr if error else sys.stdout, flush=now)


def say_page(page: str) -> None:
    """Print a page of our own making, in which foreign text is escaped already: a table, or Markdown."""
    print("\n".join(map(printable, page.split("\n"))), end="")


def say_drawn(table: str) -> None:
    """Print a table that `rich` drew, colours included; its cells were made by `cell`."""
    print(table, end="")


def print_json(value: object) -> None:
    print_document(to_json(value))


def print_document(content: bytes) -> None:
    """Print a JSON document; the value is the same, with `\\uXXXX` for what a terminal must not see."""
    print(json_printable(content.decode()), end="")


def cell(text: str) -> str:
    """Return foreign text for a cell of a table that `rich` draws, in which `[bold]` is no command."""
    return printable(text).replace("[", "\\[")


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"
