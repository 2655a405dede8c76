"""The commands that make sets: experts, distill, references."""

import argparse
import os
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from fair_distill.cli.arguments import (
    Arguments,
    Commands,
    add_checkpoints,
    add_command,
    add_device,
    open_workspace,
)
from fair_distill.cli.progress import add_quiet, shown
from fair_distill.cli.show import say

if TYPE_CHECKING:
    from fair_distill.card import DatasetCard
    from fair_distill.registry.manifest import Manifest


def add_commands(commands: Commands) -> None:
    sub = add_command(commands, "experts", _experts, "train the experts that one candidate follows (matcher mtt)")
    _add_candidate(sub)
    add_device(sub)
    add_quiet(sub)
    sub = add_command(commands, "distill", _distill, "distil one candidate")
    _add_candidate(sub)
    sub.add_argument("--checkpoint-every", type=int, default=50, metavar="STEPS", help="default: 50")
    add_device(sub)
    add_quiet(sub)
    sub = add_command(commands, "references", _references, "write a set that candidates are measured against")
    sub.add_argument("reference", help="a name under references in params.yaml")
    add_command(commands, "project", _project, "lay all sets and their groups into a plane, for the report")


def _add_candidate(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("candidate", help="a name under candidates in params.yaml")
    add_checkpoints(sub)


def _experts(arguments: Arguments) -> None:
    from fair_distill.stages.experts import train_candidate_experts

    with shown("experts", arguments.candidate, quiet=arguments.quiet) as progress:
        count = train_candidate_experts(
            *open_workspace(arguments),
            arguments.candidate,
            device=arguments.device,
            checkpoints=arguments.checkpoints,
            stopping=_asked_to_stop(),
            progress=progress,
        )
    say(f"{arguments.candidate}: {count:,} experts")


def _distill(arguments: Arguments) -> None:
    from fair_distill.stages.distill import distill_candidate

    with shown("distill", arguments.candidate, quiet=arguments.quiet) as progress:
        manifest = distill_candidate(
            *open_workspace(arguments),
            arguments.candidate,
            device=arguments.device,
            checkpoints=arguments.checkpoints,
            every=arguments.checkpoint_every,
            stopping=_asked_to_stop(),
            image=os.environ.get("FAIR_DISTILL_IMAGE"),
            progress=progress,
        )
    made = f"{manifest.card.examples:,} {_things(manifest.card)}"
    say(f"{arguments.candidate}: {made}, version {manifest.version[:12]}")
    _show_nearness(arguments.candidate, manifest)


def _asked_to_stop() -> Callable[[], bool]:
    """Take SIGTERM as a wish, and return the question whether it came."""
    came = threading.Event()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: came.set())
    return came.is_set


def _references(arguments: Arguments) -> None:
    from fair_distill.stages.references import select_reference

    manifest = select_reference(*open_workspace(arguments), arguments.reference)
    say(f"{arguments.reference}: {manifest.card.examples:,} real {_things(manifest.card)}")
    _show_nearness(arguments.reference, manifest)


def _project(arguments: Arguments) -> None:
    from fair_distill.stages.project import project_sets

    say(f"{project_sets(*open_workspace(arguments)):,} points")


def _things(card: "DatasetCard") -> str:
    return "images" if card.schema is None else "rows"


def _show_nearness(name: str, manifest: "Manifest") -> None:
    if manifest.card.nearness is not None:
        say(f"{name}: {manifest.card.nearness.sentence()}")
