"""The options that several commands share, and the workspace that the command line names."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from fair_distill.cli.parser import Arguments, Parser

if TYPE_CHECKING:
    from datetime import date

    from fair_distill.config import Config
    from fair_distill.statements import Signer
    from fair_distill.workspace import Workspace


def add_set(command: Parser) -> None:
    """Add the argument that names a set."""
    command.add_argument("set", help="a name under sets in params.yaml")


def add_reference(command: Parser, meaning: str = "dataset@channel or dataset@v3") -> None:
    """Add the argument that names a version in a registry."""
    command.add_argument("reference", help=meaning)


def add_json(command: Parser) -> None:
    """Add `--json`."""
    command.add_argument("--json", action="store_true", help="print JSON, for scripts")


def add_device(command: Parser) -> None:
    """Add `--device`."""
    default = os.environ.get("FAIR_DISTILL_DEVICE", "cpu")
    command.add_argument("--device", default=default, help=f"the torch device (default: {default})")


def add_checkpoints(command: Parser) -> None:
    """Add `--checkpoints`."""
    command.add_argument(
        "--checkpoints",
        default=os.environ.get("FAIR_DISTILL_CHECKPOINTS"),
        metavar="URL",
        help="where checkpoints are stored: a folder or s3://bucket/prefix[?endpoint=URL] "
        "(default: FAIR_DISTILL_CHECKPOINTS, else the folder .checkpoints)",
    )


def add_registry(command: Parser) -> None:
    """Add `--registry`."""
    command.add_argument(
        "--registry",
        metavar="URL",
        help="the registry: a folder or s3://bucket/prefix "
        "(default: FAIR_DISTILL_REGISTRY, else the folder registry in the workspace)",
    )


def add_key(command: Parser) -> None:
    """Add `--key`."""
    default = os.environ.get("FAIR_DISTILL_SIGNING_KEY")
    command.add_argument(
        "--key",
        type=Path,
        default=default,
        metavar="FILE",
        help="the private key to sign with (default: FAIR_DISTILL_SIGNING_KEY)",
    )


def add_who(command: Parser, meaning: str = "your name in the ledger") -> None:
    """Add `--who`."""
    command.add_argument(
        "--who", default=os.environ.get("USER", "unknown"), help=f"{meaning} (default: your user name)"
    )


def add_lock(command: Parser) -> None:
    """Add `--lock`."""
    default = Path("fair-distill.lock")
    command.add_argument(
        "--lock", type=Path, default=default, metavar="FILE", help=f"the lock file (default: {default})"
    )


def add_now(command: Parser) -> None:
    """Add `--now`."""
    command.add_argument(
        "--now", type=day, metavar="DATE", help="apply the waivers that are valid on this day (default: today)"
    )


def add_floor(command: Parser, *, environment: bool = True) -> None:
    """Add `--policy-floor`.

    Parameters
    ----------
    environment : also read FAIR_DISTILL_POLICY_FLOOR. A stage of the DVC graph does not read it, because its result
        may depend on declared inputs only.
    """
    text = (
        "the organisation's policy, which this policy may only tighten: a file, a folder with gate.yaml, or an S3 URL"
    )
    command.add_argument(
        "--policy-floor", metavar="URL", help=text + " (default: FAIR_DISTILL_POLICY_FLOOR)" * environment
    )


def signer_of(arguments: Arguments) -> "Signer | None":
    """Return the function that signs with the key of `--key`, or None if no key is given."""
    if not arguments.key:
        return None
    from fair_distill.statements import signer

    return signer(Path(arguments.key))


def open_workspace(arguments: Arguments) -> "tuple[Workspace, Config]":
    """Return the workspace of the command line and its configuration."""
    from fair_distill.config import load_config
    from fair_distill.workspace import Workspace

    workspace = Workspace(arguments.workspace)
    return workspace, load_config(workspace.params)


def day(text: str) -> "date":
    """Return a date of the command line."""
    from datetime import date

    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date; write it as 2027-03-31") from None


def today_or_later(arguments: Arguments) -> "date":
    """Return the day of `--now`, or today.

    Raises
    ------
    ConfigError
        If `--now` is in the past: waivers that have expired would count again.
    """
    from datetime import UTC, datetime

    from fair_distill.errors import ConfigError

    today = datetime.now(UTC).date()
    chosen: date = arguments.now or today
    if chosen < today:
        raise ConfigError(
            f"--now is {chosen}, a day in the past, on which expired waivers would count again; pass {today} or a "
            "later day (`fair-distill gate replay` accepts any day)"
        )
    return chosen


def open_current(arguments: Arguments) -> "tuple[Workspace, Config]":
    """Return the workspace and its configuration, which must name the engine of this release."""
    from fair_distill.config import check_engine

    workspace, config = open_workspace(arguments)
    check_engine(config)
    return workspace, config
