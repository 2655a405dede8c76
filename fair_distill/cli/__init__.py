"""The command line: `main` parses the arguments, runs a command and turns its errors into exit codes.

This is the only package that prints. Exit codes: 0 done or passed, 1 failed the gate, 2 usage or bad input,
3 inconclusive or insufficient, 4 measurement error, 5 integrity, 70 internal error.

A module is named after its command or group of commands. It adds their parsers and runs them.
"""

import argparse
import io
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from fair_distill.cli import (
    data,
    doctor,
    enforce,
    erase,
    export,
    gate,
    init,
    promote,
    publish,
    registry,
    report,
    run,
    stage,
    table,
)
from fair_distill.cli.aliases import without_aliases
from fair_distill.cli.output import print_line, print_page
from fair_distill.cli.parser import Parser
from fair_distill.errors import FairDistillError, FairDistillWarning, missing_library
from fair_distill.plugins import workspace_modules

__all__ = ["build_parser", "main"]

SHELLS = ("bash", "zsh", "fish")
# Commands of daily use first, then the groups. `--help` lists them in this order.
_DAILY = (init, doctor, run, table, enforce, report, publish, promote, erase)
_GROUPS = (data, stage, gate, registry, export)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : the words after `fair-distill` (default: those of this process)

    Returns
    -------
    the exit code
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a name shows its code points
            stream.reconfigure(errors="backslashreplace")
    arguments = build_parser().parse_args(without_aliases(sys.argv[1:] if argv is None else argv))
    if arguments.no_color:
        os.environ["NO_COLOR"] = "1"
    # OpenMP threads that wait for each other sleep instead of spinning. On a busy machine, spinning made a stage five
    # times slower. OpenMP reads the variable once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "registry" in arguments:  # only commands that have the option
        from fair_distill.registry.store import locate

        arguments.registry = locate(arguments.registry, folder=arguments.workspace)
    try:
        with _warnings_as_lines(), workspace_modules(arguments.workspace):
            code: int = arguments.run(arguments) or 0
        sys.stdout.flush()
        return code
    except FairDistillError as error:
        print_line(f"fair-distill: {error}", error=True)
        return error.exit_code
    except BrokenPipeError:
        # Without this, the interpreter fails again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        fault = missing_library("this command", error) if isinstance(error, ModuleNotFoundError) else error
        if isinstance(fault, FairDistillError):
            print_line(f"fair-distill: {fault}", error=True)
            return fault.exit_code
        traceback.print_exc()
        return 70


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Print the warnings of this package as one line without a file name, and others as Python does."""
    with warnings.catch_warnings():
        default = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *location: Any, **options: Any) -> None:
            if issubclass(category, FairDistillWarning):
                print_line(f"fair-distill: warning: {message}", error=True)
            else:
                default(message, category, *location, **options)

        warnings.showwarning = show
        yield


def build_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="fair-distill",
        usage="fair-distill [--workspace DIR] [--no-color] COMMAND ...",
        description="Distil group-labelled data into a small, fair training set; gate and publish it.",
        epilog="Exit codes: 0 done or passed, 1 failed the gate, 2 bad input, 3 inconclusive or\n"
        "insufficient, 4 measurement error, 5 integrity error, 70 internal error",
    )
    parser.add_argument(
        "--workspace", type=Path, default=Path(), metavar="DIR", help="the folder with params.yaml (default: .)"
    )
    parser.add_argument("--no-color", action="store_true", help="print no colours (also: NO_COLOR)")
    parser.add_argument("--version", action=_PrintVersion, nargs=0, help="print the version and exit")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=SHELLS,
        metavar="SHELL",
        help=f"print a completion script: {', '.join(SHELLS)}",
    )
    for module in (*_DAILY, *_GROUPS):
        module.add_commands(parser)
    return parser


class _PrintVersion(argparse.Action):
    """Print the version. The lookup is slow, so it runs only if the option is given."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        import fair_distill

        print_line(f"fair-distill {fair_distill.__version__}")
        parser.exit(0)


class _PrintCompletion(argparse.Action):
    """Print a script that completes commands and options in a shell."""

    def __call__(
        self, parser: argparse.ArgumentParser, _: argparse.Namespace, shell: Any, __: str | None = None
    ) -> NoReturn:
        import shtab

        print_page(f"{shtab.complete(parser, shell)}\n")
        parser.exit(0)
