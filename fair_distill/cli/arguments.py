"""What several groups of commands share: how a command is added, options, the workspace they name."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from datetime import date

    from fair_distill.config import Config
    from fair_distill.workspace import Workspace

Arguments: TypeAlias = argparse.Namespace
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[Arguments], int | None],
    text: str,
) -> argparse.ArgumentParser:
    sub = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    sub.set_defaults(run=run)
    return sub


def add_json(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--json", action="store_true", help="print JSON, for scripts")


def add_device(sub: argparse.ArgumentParser) -> None:
    default = os.environ.get("FAIR_DISTILL_DEVICE", "cpu")
    sub.add_argument("--device", default=default, help=f"torch device (default: {default})")


def add_checkpoints(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--checkpoints",
        default=os.environ.get("FAIR_DISTILL_CHECKPOINTS"),
        metavar="URL",
        help="where runs are taken up from: a folder, or s3://bucket/prefix[?endpoint=URL] "
        "(default: FAIR_DISTILL_CHECKPOINTS, else the folder `.checkpoints`)",
    )


def add_registry(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--registry", metavar="URL", help="default: FAIR_DISTILL_REGISTRY, else `registry` in the workspace"
    )


def open_workspace(arguments: Arguments) -> "tuple[Workspace, Config]":
    from fair_distill.config import load_config
    from fair_distill.workspace import Workspace

    workspace = Workspace(arguments.workspace)
    return workspace, load_config(workspace.params)


def add_key(sub: argparse.ArgumentParser) -> None:
    default = os.environ.get("FAIR_DISTILL_SIGNING_KEY")
    sub.add_argument(
        "--key", type=Path, default=default, metavar="FILE", help="signs with it (default: FAIR_DISTILL_SIGNING_KEY)"
    )


def add_lock(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--lock", type=Path, default=Path("fair-distill.lock"), metavar="FILE", help="the lock file")


def add_floor(sub: argparse.ArgumentParser, *, environment: bool = True) -> None:
    """Let an organisation's policy be named; by the environment too, but not for a stage of the graph."""
    text = "a policy that this one may only tighten: a file, a folder with gate.yaml, or s3://bucket/prefix"
    sub.add_argument("--policy-floor", metavar="URL", help=text + " (default: FAIR_DISTILL_POLICY_FLOOR)" * environment)


def day(text: str) -> "date":
    from datetime import date

    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a day as 2027-03-31 was wanted; got {text!r}") from None


def day_to_come(arguments: Arguments) -> "date":
    """Return the day on which waivers count: today, or a later one. An earlier day would revive expired waivers."""
    from datetime import UTC, datetime

    from fair_distill.errors import ConfigError

    today = datetime.now(UTC).date()
    chosen: date = arguments.now or today
    if chosen < today:
        raise ConfigError(
            f"--now is {chosen}, when waivers may have counted that have expired since; name {today} or "
            "a later day (`fair-distill gate replay` accepts any day)"
        )
    return chosen
