"""`fair-distill run`: all stages at once."""

from fair_distill.cli.arguments import Arguments, Commands, add_command, open_workspace
from fair_distill.cli.table import show_table


def add_commands(commands: Commands) -> None:
    add_command(commands, "run", _run, "bring every stage up to date (this is `dvc repro`), then show the table")


def _run(arguments: Arguments) -> None:
    from fair_distill.versioning.dvc_commands import repro

    workspace, _ = open_workspace(arguments)
    repro(workspace.root)
    show_table(arguments)
