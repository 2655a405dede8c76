"""The commands that show what there is: table, where."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fair_distill.cli.arguments import Arguments, Commands, add_command, add_json, open_workspace
from fair_distill.cli.show import METRICS, percent, print_json

if TYPE_CHECKING:
    from fair_distill.artifacts import Workspace
    from fair_distill.config import Config


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
    """Figures and verdict of every set; null where it was not evaluated or judged yet."""
    from fair_distill.artifacts import parse_json
    from fair_distill.gate.verdict import Verdict

    found: dict[str, Any] = {}
    for name in config.sets:
        evaluation, path = workspace.evaluation(name), workspace.verdict(name)
        verdict = Verdict.from_json(path.read_bytes(), name=str(path)) if path.exists() else None
        found[name] = {
            "networks": parse_json(evaluation.read_bytes(), name=str(evaluation)) if evaluation.exists() else None,
            "verdict": None if verdict is None else verdict.outcome,
            "reasons": None if verdict is None else list(verdict.reasons),
        }
    return found


def show_table(arguments: Arguments) -> None:
    """Show what is on disk; a set that was not evaluated yet says so."""
    from rich.console import Console
    from rich.table import Table

    from fair_distill.artifacts import parse_json
    from fair_distill.gate.verdict import Verdict

    workspace, config = open_workspace(arguments)
    table = Table(title=f"{config.dataset}: %, on the gate split, mean over {config.evaluate.seeds} seeds")
    table.add_column("set")
    table.add_column("network")
    for title in METRICS.values():
        table.add_column(title, justify="right")
    table.add_column("verdict")
    for name in config.sets:
        evaluation, verdict = workspace.evaluation(name), workspace.verdict(name)
        if not evaluation.exists() or not verdict.exists():
            table.add_row(name, "", *["–"] * len(METRICS), "not evaluated")
            continue
        report = parse_json(evaluation.read_bytes(), name=str(evaluation))
        outcome = Verdict.from_json(verdict.read_bytes(), name=str(verdict)).outcome
        for row, (network, of) in enumerate(report.items()):
            said = (name, outcome) if row == 0 else ("", "")
            table.add_row(said[0], network, *(percent(of.get(key)) for key in METRICS), said[1])
    console = Console()
    with console.capture() as drawn:  # rich exits 1 where the reader went away; `main` knows better
        console.print(table)
    print(drawn.get(), end="")
    for name in config.candidates:  # references are there to compare with, not to be released
        path = workspace.verdict(name)
        if path.exists():
            for reason in Verdict.from_json(path.read_bytes(), name=str(path)).reasons:
                print(f"{name}: {reason}")


def _where(arguments: Arguments) -> None:
    from fair_distill.registry.store import locate

    workspace, config = open_workspace(arguments)
    places = {
        what: path
        for what, path in _places(workspace, config, locate(None, beside=workspace.root))
        if "://" in str(path) or Path(path).exists()
    }
    if arguments.json:
        print_json({"sets": _sets(workspace, config), "places": {what: str(path) for what, path in places.items()}})
        return
    show_table(arguments)
    for what, path in places.items():
        print(f"{what + ':':18}{path}")


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
