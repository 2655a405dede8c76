"""The commands that show what there is: table, where."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fair_distill.cli.arguments import Arguments, Commands, add_command, add_json, open_workspace
from fair_distill.cli.show import METRICS, cell, percent, print_json, say, say_drawn

if TYPE_CHECKING:
    from fair_distill.config import Config
    from fair_distill.workspace import Workspace


def add_commands(commands: Commands) -> None:
    for name, run, text in (
        ("table", _table, "show accuracy, gaps and verdict of every set"),
        ("where", _where, "show the table and where everything lies"),
    ):
        add_json(add_command(commands, name, run, text))


def _table(arguments: Arguments) -> None:
    if arguments.json:
        print_json(_sets(*open_workspace(arguments)))
    else:
        show_table(arguments)


def _sets(workspace: "Workspace", config: "Config") -> dict[str, Any]:
    """Figures and verdict of every set, judged again; null where it is not evaluated or cannot be judged."""
    from fair_distill.stages.status import status_of

    statuses = [status_of(workspace, config, name) for name in config.sets]
    return {
        status.name: {
            "networks": status.networks,
            "verdict": None if status.verdict is None else status.outcome,
            "reasons": None if status.outcome == "not evaluated" else list(status.reasons),
        }
        for status in statuses
    }


def show_table(arguments: Arguments) -> None:
    """Show every set with its verdict, judged again, so that nothing out of date is shown as a result."""
    from rich.console import Console
    from rich.table import Table

    from fair_distill.stages.status import status_of

    workspace, config = open_workspace(arguments)
    statuses = [status_of(workspace, config, name) for name in config.sets]
    table = Table(title=f"{config.dataset}: %, on the gate split, mean over {config.evaluate.seeds} seeds")
    table.add_column("set")
    table.add_column("network")
    for title in METRICS.values():
        table.add_column(title, justify="right")
    table.add_column("verdict")
    for status in statuses:
        if status.networks is None:
            table.add_row(status.name, "", *["–"] * len(METRICS), status.outcome)
            continue
        for row, (network, metrics) in enumerate(status.networks.items()):
            name, outcome = (status.name, status.outcome) if row == 0 else ("", "")
            table.add_row(name, cell(network), *(percent(metrics.get(key)) for key in METRICS), outcome)
    console = Console()
    with console.capture() as drawn:  # rich exits 1 where the reader went away; `main` knows better
        console.print(table)
    say_drawn(drawn.get())
    for status in statuses:
        # References are there to compare with, not to be released: only their faults are of interest.
        for reason in status.reasons if status.name in config.candidates else [status.fault] if status.fault else []:
            say(f"{status.name}: {reason}")


def _where(arguments: Arguments) -> None:
    from fair_distill.registry.store import locate

    workspace, config = open_workspace(arguments)
    places = {
        what: path
        for what, path in _places(workspace, config, locate(None, folder=workspace.root))
        if "://" in str(path) or Path(path).exists()
    }
    if arguments.json:
        print_json({"sets": _sets(workspace, config), "places": {what: str(path) for what, path in places.items()}})
        return
    show_table(arguments)
    for what, path in places.items():
        say(f"{what + ':':18}{path}")


def _places(workspace: "Workspace", config: "Config", registry: str) -> list[tuple[str, "Path | str"]]:
    return [
        ("synthetic images", workspace.grid(config.release.candidate)),
        ("distilled set", workspace.set(config.release.candidate)),
        ("predictions", workspace.predictions(config.release.candidate)),
        ("verdict", workspace.verdict(config.release.candidate)),
        ("data contract", workspace.validation),
        ("report", workspace.report(config.release.candidate)),
        ("registry", registry),
    ]
