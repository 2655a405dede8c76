"""`fair-distill run`: run all stages that are out of date."""

from fair_distill.cli.arguments import open_workspace
from fair_distill.cli.parser import Arguments, Parser
from fair_distill.cli.table import print_sets


def add_commands(parser: Parser) -> None:
    """Add the command."""
    parser.add_command(
        "run",
        _run,
        "run all outdated stages (`dvc repro`) and print the table",
        examples=[("fair-distill run", "bring this workspace up to date")],
    )


def _run(arguments: Arguments) -> None:
    from fair_distill.versioning.dvc_commands import repro

    workspace, _ = open_workspace(arguments)
    repro(workspace.root)
    print_sets(arguments)
