"""What argparse says and does not say: help with examples and headings, and a wrong command line in one line."""

import argparse
from difflib import get_close_matches
from typing import Any, NoReturn

from fair_distill.cli.examples import EXAMPLES
from fair_distill.cli.show import say

# The command above which a heading stands; argparse knows headings for options alone.
HEADINGS = {
    "init": "begin",
    "run": "make sets, stage by stage",
    "judge": "judge them",
    "publish": "publish and use them",
    "completion": "besides",
}
_TITLE = "examples:"
_FIRST = ("--workspace", "--no-color")


class Parser(argparse.ArgumentParser):
    """Ends on a usage error with one line and exit code 2; where to read more stands in it."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments") and any(option in message for option in _FIRST):
            message += f" ({' and '.join(_FIRST)} stand before the command)"
        self.exit(2, f"{self.prog}: {message}. See {self.prog} --help\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        near = get_close_matches(str(value), [str(choice) for choice in action.choices], n=1)
        meant = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(map(str, action.choices))}"
        raise argparse.ArgumentError(action, f"there is no {value!r}; {meant}")


class ShowVersion(argparse.Action):
    """Says which release this is, and asks only then: the answer takes longer to find than a parser takes to build."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        import fair_distill

        say(f"fair-distill {fair_distill.__version__}")
        parser.exit(0)


class Formatter(argparse.HelpFormatter):
    """Wraps prose as ever, leaves examples as they are, and sets commands apart under their headings."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(_TITLE) else super()._fill_text(text, width, indent)

    def _format_action(self, action: argparse.Action) -> str:
        text = super()._format_action(action)
        title = (
            HEADINGS.get(action.dest) if isinstance(action, argparse._SubParsersAction._ChoicesPseudoAction) else None
        )
        return text if title is None else f"\n    {title}:\n{text}"


def show_examples(parser: argparse.ArgumentParser, name: str = "") -> None:
    """Give a command's help, and that of the commands below it, their examples."""
    parser.formatter_class = Formatter
    if name in EXAMPLES:
        lines = [f"  {command}\n      {meaning}" for command, meaning in EXAMPLES[name]]
        parser.epilog = "\n".join([_TITLE, *lines])
    for below, sub in subcommands(parser).items():
        show_examples(sub, f"{name} {below}".strip())


def subcommands(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Return the parsers directly below one, by name."""
    found: dict[str, Any] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found
