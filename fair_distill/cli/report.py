"""`fair-distill report`: write the HTML report on a set."""

from pathlib import Path

from fair_distill.cli.arguments import add_registry, open_workspace
from fair_distill.cli.output import print_json, print_line
from fair_distill.cli.parser import Arguments, Parser


def add_commands(parser: Parser) -> None:
    """Add the command."""
    command = parser.add_command(
        "report",
        _report,
        "write an HTML report on a set, to read, print or attach",
        examples=[
            ("fair-distill report", "report on the release candidate, in artifacts/reports"),
            ("fair-distill report pooled --out pooled.html", "report on another set, in another file"),
            ("fair-distill report --json | jq .gaps", "the numbers of the report"),
        ],
    )
    command.add_argument("set", nargs="?", help="a name under sets in params.yaml (default: release.candidate)")
    command.add_argument(
        "--out", type=Path, metavar="FILE", help="the HTML file (default: artifacts/reports/SET.html in the workspace)"
    )
    add_registry(command)
    command.add_argument("--json", action="store_true", help="print the numbers of the report; write no HTML")


def _report(arguments: Arguments) -> None:
    from fair_distill.stages.report import report_numbers, write_report

    workspace, config = open_workspace(arguments)
    name = arguments.set or config.release.candidate
    if arguments.json:
        print_json(report_numbers(workspace, config, name, registry=arguments.registry))
        return
    path = write_report(workspace, config, name, registry=arguments.registry, out=arguments.out)
    print_line(f"report on {name}: {path}")
