"""The argument parser: help with examples, and a usage error in one line with exit code 2.

It uses only the public interface of argparse, so that it behaves in the same way in all supported versions of Python.
"""

import argparse
import re
import textwrap
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, NoReturn

from fair_distill.cli.aliases import ALIASES, REMOVED

Arguments = argparse.Namespace
Run = Callable[[Arguments], int | None]
# A command line, and a short explanation of it.
Example = tuple[str, str]

_GLOBAL_OPTIONS = ("--workspace", "--no-color")
_INVALID_CHOICE = re.compile(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)")
_WIDTH = 78


class Parser(argparse.ArgumentParser):
    """A parser that knows its arguments and its subcommands.

    Attributes
    ----------
    arguments : the arguments and options of this command, in the order in which they were added
    subcommands : the parsers of the commands directly below this one, by name
    summary : the line that describes the command in the help of its group
    """

    def __init__(self, **settings: Any) -> None:
        self.arguments: list[argparse.Action] = []
        self.subcommands: dict[str, Parser] = {}
        self.summary = ""
        self._subparsers_action: Any = None
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        """Add an argument as argparse does, and remember it."""
        argument = super().add_argument(*names, **settings)
        self.arguments.append(argument)
        return argument

    def add_command(
        self, name: str, run: Run | None, summary: str, *, details: str = "", examples: Iterable[Example] = ()
    ) -> "Parser":
        """Add a command below this one.

        Parameters
        ----------
        name : the word that the user types
        run : the function that runs it and returns an exit code, or None for success; None for a group of commands
        summary : one line for the list of commands, in lower case and without a full stop
        details : sentences that follow the summary in the command's own help
        examples : shown at the end of the command's own help
        """
        if self._subparsers_action is None:
            self._subparsers_action = self.add_subparsers(prog=self.prog, metavar="COMMAND", required=True)
        examples_text = "\n".join(f"  {line}\n      {meaning}" for line, meaning in examples)
        command: Parser = self._subparsers_action.add_parser(
            name,
            help=summary,
            description=textwrap.fill(f"{summary[0].upper()}{summary[1:].removesuffix(', …')}. {details}", _WIDTH),
            epilog=f"examples:\n{examples_text}" if examples_text else None,
        )
        command.summary = summary
        if run is not None:
            command.set_defaults(run=run)
        self.subcommands[name] = command
        return command

    def format_help(self) -> str:
        """Return the help text. That of a group lists its commands first, each in as few lines as possible."""
        if not self.subcommands:
            return super().format_help()
        groups = {name: command for name, command in self.subcommands.items() if command.subcommands}
        sections = {
            "commands": {name: command.summary for name, command in self.subcommands.items() if name not in groups},
            f"groups of commands ({self.prog} GROUP --help)": {name: group.summary for name, group in groups.items()},
            "options": {_signature(option): option.help or "" for option in self.arguments},
        }
        texts = [f"{title}:\n{_columns(rows)}" for title, rows in sections.items() if rows]
        return (
            "\n\n".join([self.format_usage().rstrip(), self.description or "", *texts, self.epilog or ""]).rstrip()
            + "\n"
        )

    def error(self, message: str) -> NoReturn:
        """Print a usage error as one line and exit with code 2."""
        if message.startswith("unrecognized arguments") and any(option in message for option in _GLOBAL_OPTIONS):
            message += f" ({' and '.join(_GLOBAL_OPTIONS)} go before the command)"
        elif match := _INVALID_CHOICE.fullmatch(message):
            message = self._with_suggestion(*match.groups())
        self.exit(2, f"{self.prog}: {message}{'' if message.endswith('?') else '.'} See {self.prog} --help\n")

    def _with_suggestion(self, argument: str, value: str, choices: str) -> str:
        if argument != "COMMAND":
            return f"{argument} is {value!r}; choose from {choices.replace(chr(39), '')}"
        if value in REMOVED:
            return f"unknown command {value!r}; run {REMOVED[value]}"
        spellings = self._spellings()
        if close := get_close_matches(value, spellings, n=1):
            return f"unknown command {value!r}; did you mean {spellings[close[0]]!r}?"
        return f"unknown command {value!r}; choose from {', '.join(self.subcommands)}"

    def _spellings(self) -> dict[str, str]:
        """Return what a user may have meant to type, and the command that does it."""
        spellings = {name: " ".join(words) for name, words in ALIASES.items()} if self.prog == "fair-distill" else {}
        for group, parser in self.subcommands.items():
            spellings |= {name: f"{group} {name}" for name in parser.subcommands}
        return spellings | {name: name for name in self.subcommands}


def _signature(option: argparse.Action) -> str:
    """Return how an option is typed."""
    names = ", ".join(option.option_strings)
    return names if option.nargs == 0 else f"{names} {option.metavar or option.dest.upper()}"


def _columns(rows: dict[str, str]) -> str:
    """Return lines of two columns, of which the second is wrapped."""
    width = max(map(len, rows)) + 4
    return "\n".join(
        textwrap.fill(text, _WIDTH, initial_indent=f"  {name}".ljust(width), subsequent_indent=" " * width)
        for name, text in rows.items()
    )
