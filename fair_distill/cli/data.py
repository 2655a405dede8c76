"""The commands before anything is distilled: prepare, validate, data describe."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fair_distill.cli.arguments import Arguments, Commands, add_command, add_json, add_registry, open_workspace
from fair_distill.cli.progress import add_quiet, shown
from fair_distill.cli.show import cell, print_json, say, say_drawn


def add_commands(commands: Commands) -> None:
    add_quiet(add_command(commands, "prepare", _prepare, "read the source; write the train, tune and gate splits"))
    sub = add_command(commands, "validate", _validate, "hold the prepared splits against the contract")
    sub.add_argument("--docs", type=Path, metavar="DIR", help="also write the outcome as static HTML pages, to look at")
    add_json(sub)
    data = add_command(commands, "data", lambda _: None, "look at the data before anything is run")
    looks = data.add_subparsers(title="commands", metavar="COMMAND", required=True)
    text = "Show the cells, the imbalance and the contract's outcome for the source in params.yaml; write nothing."
    sub = looks.add_parser("describe", help=text[0].lower() + text[1:-1], description=text)
    sub.set_defaults(run=_data_describe)
    add_json(sub)
    text = "Print how a published version's data are spread, for params.yaml: validate.drift.reference to name."
    sub = looks.add_parser("reference", help=text[0].lower() + text[1:-1], description=text)
    sub.add_argument("reference", help="dataset@channel, dataset@v3, dataset@sha256:...")
    add_registry(sub)
    sub.set_defaults(run=_data_reference)


def _prepare(arguments: Arguments) -> None:
    from fair_distill.stages.prepare import prepare_splits

    workspace, config = open_workspace(arguments)
    with shown("prepare", config.dataset, quiet=arguments.quiet) as progress:
        splits = prepare_splits(workspace, config, progress=progress)
    for name, dataset in splits.items():
        things = "images" if dataset.schema is None else "rows"
        say(
            f"{name}: {len(dataset):,} {things}, {len(dataset.classes)} classes × {len(dataset.groups)} groups, "
            f"{dataset.counts.min():,} to {dataset.counts.max():,} a cell"
        )
    _tell_missing_cells(splits["train"].missing_cells)


def _tell_missing_cells(done: Mapping[str, Any]) -> None:
    for label, counts in done.get("drop_class", {}).items():
        say(f"dropped: class {label!r}, which lacks a group in a split; it had {sum(counts.values()):,} examples")
    for name, groups in done.get("merge", {}).items():
        say(f"merged: {', '.join(groups)} are the group {name!r}")


def _data_describe(arguments: Arguments) -> None:
    from rich.console import Console
    from rich.table import Table

    from fair_distill.stages.validate import describe_data

    outcome = describe_data(*open_workspace(arguments), os.environ)
    if arguments.json:
        print_json(outcome)
        return
    for split, cells in outcome["cells"].items():
        groups = list(next(iter(cells.values())))
        total = sum(sum(counts.values()) for counts in cells.values())
        table = Table(title=f"{cell(split)}: {total:,} examples, {len(cells)} classes × {len(groups)} groups")
        table.add_column("class")
        for title in (*groups, "imbalance"):
            table.add_column(cell(title), justify="right")
        for label, counts in cells.items():
            imbalance = outcome["imbalance"][split][label]
            numbers = [f"{counts[group]:,}" for group in groups]
            table.add_row(cell(label), *numbers, "–" if imbalance is None else f"{imbalance:.1f}")
        width = None if sys.stdout.isatty() else max(120, 16 * (len(groups) + 2))
        console = Console(width=width)
        with console.capture() as drawn:
            console.print(table)
        say_drawn(drawn.get())
    _show_outcome(outcome)


def _data_reference(arguments: Arguments) -> None:
    from fair_distill.stages.validate import read_published_profile

    print_json(read_published_profile(arguments.reference, arguments.registry))


def _validate(arguments: Arguments) -> None:
    from fair_distill.stages.validate import validate_splits

    outcome = validate_splits(*open_workspace(arguments), os.environ, pages=arguments.docs)
    if arguments.json:
        print_json(outcome)
    else:
        _show_outcome(outcome)
        if arguments.docs is not None:
            say(f"pages: {arguments.docs / 'index.html'}")


def _show_outcome(outcome: dict[str, Any]) -> None:
    for failure in outcome["failures"]:
        say(f"{failure['severity']} ({failure['check']}): {failure['sentence']}")
    held = f"{outcome['expectations']} expectations held"
    say(held if outcome["success"] else "refused: `distill` will not take these data")
