"""`fair-distill report`: the page for people."""

from pathlib import Path

from fair_distill.cli.arguments import Arguments, Commands, add_command, add_registry, open_workspace
from fair_distill.cli.show import print_json, say


def add_commands(commands: Commands) -> None:
    sub = add_command(commands, "report", _report, "write what is known of a set as one page to read, print or attach")
    sub.add_argument("set", nargs="?", help="a name under sets in params.yaml (default: release.candidate)")
    sub.add_argument("--out", type=Path, metavar="FILE", help="default: artifacts/reports/<set>.html in the workspace")
    add_registry(sub)
    sub.add_argument("--json", action="store_true", help="print the numbers that the page is drawn from; write no page")


def _report(arguments: Arguments) -> None:
    from fair_distill.stages.report import report_numbers, write_report

    workspace, config = open_workspace(arguments)
    name = arguments.set or config.release.candidate
    if arguments.json:
        print_json(report_numbers(workspace, config, name, registry=arguments.registry))
        return
    say(f"report on {name}: {write_report(workspace, config, name, registry=arguments.registry, out=arguments.out)}")
