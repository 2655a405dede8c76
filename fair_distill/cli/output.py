"""Print lines, tables and JSON, for people and for scripts.

Names, reasons and sentences come from tables, ledgers and verdicts that other people wrote. Every command therefore
prints through a function of this module. These functions escape control characters, so that printed text cannot move
the cursor, imitate another line or hide one.
"""

import sys
from collections.abc import Iterable, Sequence
from shutil import get_terminal_size
from textwrap import fill

from fair_distill.files import to_json
from fair_distill.text import json_printable, printable

_WIDTH, _WIDEST = 80, 10_000


def print_line(line: str, *, error: bool = False, flush: bool = False) -> None:
    """Print one line. A control character in it, such as a line break, is printed as an escape.

    Parameters
    ----------
    error : print to standard error
    flush : print immediately instead of with the next lines
    """
    print(printable(line), file=sys.stderr if error else sys.stdout, flush=flush)


def print_sentence(start: str, sentence: str) -> None:
    """Print one line that starts with `start`. On a terminal it is wrapped at words, and later lines are indented."""
    line = printable(f"{start}{sentence}")
    if sys.stdout.isatty():
        indent = " " * min(len(start), 6)
        line = fill(
            line, get_terminal_size().columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
    print(line)


def print_page(page: str) -> None:
    """Print a page of several lines, for example Markdown, whose foreign text is already escaped."""
    print("\n".join(map(printable, page.split("\n"))), end="")


def print_json(value: object) -> None:
    """Print a value as JSON."""
    print_document(to_json(value))


def print_document(content: bytes) -> None:
    """Print a JSON document. Characters that a terminal would interpret are written as `\\uXXXX`."""
    print(json_printable(content.decode()), end="")


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: Sequence[str] = ()
) -> None:
    """Print a table. The first column and `text_columns` are aligned left, the others, which hold numbers, right.

    On a terminal that is too narrow, titles of columns are wrapped and lines between columns omitted. A table that is
    not printed to a terminal is as wide as its content, at least 80 columns, so that a script finds each row in one
    line.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[printable(cell) for cell in row] for row in rows]
    # rich interprets markup such as `[bold]` in a string, and none in a Text.
    table = Table(title=Text(printable(title), style="table.title"))
    for number, column in enumerate(columns):
        table.add_column(
            Text(printable(column)),
            justify="left" if number == 0 or column in text_columns else "right",
            # Otherwise rich abbreviates names and numbers to make room for titles.
            min_width=max(map(len, (*column.split(), *(row[number] for row in cells)))),
        )
    for row in cells:
        table.add_row(*map(Text, row))
    console = Console()
    unlimited = console.options.update(max_width=_WIDEST)
    if not console.is_terminal:
        console.width = max(_WIDTH, console.measure(table, options=unlimited).maximum)
    elif console.measure(table, options=unlimited).minimum > console.width:
        table.box, table.padding, table.pad_edge = None, (0, 1, 0, 0), False
        for table_column in table.columns:
            table_column.width = table_column.min_width
        # rich would cut off columns of a table that is still too wide; the terminal wraps its lines instead.
        console.width = max(console.width, console.measure(table, options=unlimited).maximum)
    # rich exits with code 1 if the reader of a pipe has closed it. `main` handles that case, so rich only renders.
    with console.capture() as rendered:
        console.print(table)
    print(rendered.get(), end="")
