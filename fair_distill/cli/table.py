"""`fair-distill table`: print the metrics and the verdict of every set, and where the results are."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fair_distill.cli.arguments import add_json, open_workspace
from fair_distill.cli.output import print_json, print_line, print_sentence, print_table
from fair_distill.cli.parser import Arguments, Parser
from fair_distill.text import ABSENT, percent

if TYPE_CHECKING:
    from fair_distill.config import Config
    from fair_distill.workspace import Workspace


def add_commands(parser: Parser) -> None:
    """Add the command."""
    command = parser.add_command(
        "table",
        _table,
        "print accuracy, gaps and verdict of every set",
        details="It judges the sets again, so the table never shows an outdated verdict.",
        examples=[
            ("fair-distill table --json | jq .barycentric", "metrics and verdict of one set"),
            ("fair-distill table --paths", "also print the paths of the results"),
        ],
    )
    command.add_argument("--paths", action="store_true", help="also print the paths of sets, predictions and registry")
    add_json(command)


def _table(arguments: Arguments) -> None:
    workspace, config = open_workspace(arguments)
    paths = _existing_paths(workspace, config) if arguments.paths else {}
    if arguments.json:
        sets = _sets(workspace, config)
        print_json({"sets": sets, "places": paths} if arguments.paths else sets)
        return
    print_sets(arguments)
    for name, path in paths.items():
        print_line(f"{name + ':':18}{path}")


def _sets(workspace: "Workspace", config: "Config") -> dict[str, Any]:
    """Return the metrics and the verdict of every set; null if it is not evaluated or cannot be judged."""
    from fair_distill.stages.status import read_status

    statuses = [read_status(workspace, config, name) for name in config.sets]
    return {
        status.name: {
            "networks": status.networks,
            "verdict": None if status.verdict is None else status.outcome,
            "reasons": None if status.outcome == "not evaluated" else list(status.reasons),
            **({"one_class": list(status.constant)} if status.constant else {}),
        }
        for status in statuses
    }


def print_sets(arguments: Arguments) -> None:
    """Print the table of all sets, each judged again, and the reasons for the verdicts on candidates."""
    from fair_distill.gate.metrics import TABLE_COLUMNS
    from fair_distill.stages.status import read_status

    workspace, config = open_workspace(arguments)
    statuses = [read_status(workspace, config, name) for name in config.sets]
    rows: list[list[str]] = []
    for status in statuses:
        if status.networks is None:
            rows.append([status.name, "", *[ABSENT] * len(TABLE_COLUMNS), status.outcome])
            continue
        for number, (network, metrics) in enumerate(status.networks.items()):
            name, outcome = (status.name, status.outcome) if number == 0 else ("", "")
            title = f"{network} (one class)" if network in status.constant else network
            rows.append([name, title, *(percent(metrics.get(metric), unit="") for metric in TABLE_COLUMNS), outcome])
    print_table(
        f"{config.dataset}: %, on the gate split, mean over {config.evaluate.seeds} seeds",
        ["set", "network", *TABLE_COLUMNS.values(), "verdict"],
        rows,
        text_columns=["set", "network", "verdict"],
    )
    if any(status.constant for status in statuses):
        print_sentence("one class: ", "some network predicts one class for every example, so its gaps are 0")
    for status in statuses:
        # References are not released, so only their errors matter to the reader.
        for reason in status.reasons if status.name in config.candidates else [status.fault] if status.fault else []:
            print_sentence(f"{status.name}: ", reason)


def _existing_paths(workspace: "Workspace", config: "Config") -> dict[str, str]:
    from fair_distill.registry.store import locate

    candidate = config.release.candidate
    paths: dict[str, Path | str] = {
        "synthetic images": workspace.grid(candidate),
        "distilled set": workspace.set(candidate),
        "predictions": workspace.predictions(candidate),
        "verdict": workspace.verdict(candidate),
        "data contract": workspace.validation,
        "report": workspace.report(candidate),
        "registry": locate(None, folder=workspace.root),
    }
    return {name: str(path) for name, path in paths.items() if "://" in str(path) or Path(path).exists()}
