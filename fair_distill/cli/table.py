"""The commands that show what there is: table, where."""

from pathlib import Path

from fair_distill.cli.arguments import Arguments, Commands, add_command, open_workspace
from fair_distill.cli.show import METRICS, percent


def add_commands(commands: Commands) -> None:
    add_command(commands, "table", show_table, "show accuracy, gaps and verdict of every set")
    add_command(commands, "where", _where, "show the table and where everything lies")


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

    show_table(arguments)
    workspace, config = open_workspace(arguments)
    for what, path in (
        ("synthetic images", workspace.grid(config.release.candidate)),
        ("distilled set", workspace.set(config.release.candidate)),
        ("predictions", workspace.predictions(config.release.candidate)),
        ("verdict", workspace.verdict(config.release.candidate)),
        ("data contract", workspace.validation),
        ("registry", Path(locate(None, beside=workspace.root))),
    ):
        if path.exists():
            print(f"{what + ':':18}{path}")
