"""argv to stages, and what they return to lines and exit codes. The only room that prints.

Exit codes: 0 done or passed, 1 failed the gate, 2 usage or bad input, 3 inconclusive or insufficient,
4 measurement error, 5 integrity, 70 a fault of ours.

One file for each group of commands: it adds their parsers and runs them.
"""

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fair_distill.cli import (
    completion,
    consumer,
    data,
    doctor,
    estimate,
    evaluation,
    gate,
    init,
    registry,
    report,
    run,
    sets,
    table,
)
from fair_distill.cli.parser import Parser, ShowVersion, show_examples
from fair_distill.cli.show import say
from fair_distill.errors import FairDistillError, FairDistillWarning
from fair_distill.plugins import workspace_modules

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    arguments = _parser().parse_args(argv)
    if arguments.no_color:
        os.environ["NO_COLOR"] = "1"  # which is also how a whole environment says so
    # Threads that wait for each other sleep instead of spinning; read once, when torch is loaded. On a machine that
    # does other work too, spinning made a stage five times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "registry" in arguments:  # beside the workspace, for every command that is told none
        from fair_distill.registry.store import locate

        arguments.registry = locate(arguments.registry, folder=arguments.workspace)
    try:
        with _warnings_as_lines(), workspace_modules(arguments.workspace):
            code: int = arguments.run(arguments) or 0
        sys.stdout.flush()
        return code
    except FairDistillError as error:
        say(f"fair-distill: {error}", error=True)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains once more
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception:
        traceback.print_exc()
        return 70


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Show our own warnings like errors, one line without a file name; others as Python does."""
    with warnings.catch_warnings():
        default = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
            if issubclass(category, FairDistillWarning):
                say(f"fair-distill: warning: {message}", error=True)
            else:
                default(message, category, *where, **options)

        warnings.showwarning = show
        yield


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="fair-distill",
        description="Distil group-labelled data towards the barycenter of its groups; gate, version, load.",
        epilog="Exit codes: 0 done or passed · 1 failed the gate · 2 usage or bad input · 3 inconclusive or "
        "insufficient · 4 measurement error · 5 integrity · 70 a fault of ours.",
    )
    parser.add_argument(
        "--workspace", type=Path, default=Path(), metavar="DIR", help="where params.yaml lies (default: here)"
    )
    parser.add_argument("--version", action=ShowVersion, nargs=0, help="which release this is")
    parser.add_argument("--no-color", action="store_true", help="no colours (or set NO_COLOR)")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    # In the order that --help shows.
    making = (init, doctor, estimate, run, data, sets, evaluation, gate, table, report)
    for group in (*making, registry, consumer, completion):
        group.add_commands(commands)
    show_examples(parser)
    return parser
