"""Options and set-up of the commands that write to a registry."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fair_distill.cli.arguments import add_json, add_key, add_registry, add_who, signer_of
from fair_distill.cli.parser import Arguments, Parser

if TYPE_CHECKING:
    from fair_distill.registry.actor import Actor
    from fair_distill.registry.operations import Operation

_OPERATION = re.compile(r"[A-Za-z0-9_-]{8,64}")


def add_write_options(command: Parser) -> None:
    """Add the options of every command that writes an entry to the ledger."""
    add_registry(command)
    add_json(command)
    add_key(command)
    add_who(command)
    command.add_argument(
        "--operation", metavar="ID", help="retry an operation whose result is unknown; the error message names its id"
    )


@contextmanager
def begin_operation(arguments: Arguments, *act: str) -> "Iterator[tuple[Actor, Operation]]":
    """Begin the operation of a command, or continue the one that `--operation` names.

    Parameters
    ----------
    act : the command and its arguments, by which a repeated command recognises its operation
    """
    from datetime import UTC, datetime
    from uuid import uuid4

    from fair_distill.errors import ConfigError
    from fair_distill.registry.actor import Actor
    from fair_distill.registry.client_state import cache_folder
    from fair_distill.registry.operations import operation

    chosen, now = arguments.operation, datetime.now(UTC)
    if chosen is not None and not _OPERATION.fullmatch(chosen):
        raise ConfigError(f"--operation is {chosen!r}; pass the id that the message of the first command names")
    folder, url = cache_folder(), arguments.registry
    with operation(folder, act, url=url, now=now, new=uuid4().hex, chosen=chosen) as this:
        yield Actor(arguments.who, now, this.id, signer_of(arguments)), this
