"""`fair-distill data`: inspect the data. Only `labels` writes files."""

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

from fair_distill.cli.arguments import add_device, add_json, add_reference, add_registry, open_workspace
from fair_distill.cli.output import print_json, print_line, print_sentence, print_table
from fair_distill.cli.parser import Arguments, Parser
from fair_distill.cli.progress import add_quiet, progress_display
from fair_distill.text import decimal, percent

# The most sentences of one check about one split.
_SENTENCES = 4


def add_commands(parser: Parser) -> None:
    """Add the group and its commands."""
    data = parser.add_command("data", None, "inspect the data: describe, labels, reference")
    command = data.add_command(
        "describe",
        _describe,
        "print the class-group cells, the imbalance and the outcome of the data contract",
        details="It reads the source in params.yaml and writes nothing.",
        examples=[
            ("fair-distill data describe", "inspect the source before the first run"),
            ("fair-distill data describe --json | jq .success", "does the data contract hold?"),
        ],
    )
    add_json(command)
    command = data.add_command(
        "labels",
        _labels,
        "look for wrong labels in a prepared split, by class and group",
        details="It writes artifacts/labels/SPLIT.json, which the report shows, and the list of suspected examples, "
        "artifacts/labels/SPLIT.csv.",
        examples=[
            ("fair-distill data labels", "the labels of the training split"),
            ("fair-distill data labels --split gate", "the labels that verdicts rely on"),
        ],
    )
    command.add_argument("--split", default="train", help="train, tune or gate (default: train)")
    add_device(command)
    add_quiet(command)
    add_json(command)
    command = data.add_command(
        "reference",
        _reference,
        "print the distribution of a published version's data, as JSON",
        details="The key validate.drift.reference in params.yaml takes the path of this file.",
        examples=[
            ("fair-distill data reference digits@production > reference.json", "compare new data with production"),
        ],
    )
    add_reference(command, "dataset@channel, dataset@v3 or dataset@sha256:DIGEST")
    add_registry(command)


def _describe(arguments: Arguments) -> None:
    from fair_distill.stages.validate import describe_data

    notices: list[str] = []
    outcome = describe_data(*open_workspace(arguments), os.environ, notice=notices.append)
    if arguments.json:
        print_json(outcome)
        return
    for sentence in notices:
        print_line(sentence)
    for split, cells in outcome["cells"].items():
        groups = list(next(iter(cells.values())))
        total = sum(sum(counts.values()) for counts in cells.values())
        rows = []
        for label, counts in cells.items():
            imbalance = outcome["imbalance"][split][label]
            rows.append([label, *(f"{counts[group]:,}" for group in groups), decimal(imbalance, 1)])
        title = f"{split}: {total:,} examples, {len(cells)} classes × {len(groups)} groups"
        print_table(title, ["class", *groups, "imbalance"], rows)
    print_contract(outcome)


def _labels(arguments: Arguments) -> None:
    from fair_distill.stages.label_audit import audit_split, high_groups_sentence

    workspace, config = open_workspace(arguments)
    with progress_display("labels", arguments.split, quiet=arguments.quiet or arguments.json) as progress:
        table = audit_split(workspace, config, arguments.split, os.environ, device=arguments.device, progress=progress)
    if arguments.json:
        print_json(table)
        return
    print_table(
        f"{arguments.split}: suspected label errors by class and group",
        ["class", "group", "examples", "suspected", "share", "95 % interval", "really wrong"],
        [
            [row["label"], row["group"], *_share_cells(row["suspected"]), percent(row["precision"])]
            for row in table["cells"]
        ],
        text_columns=["group"],
    )
    print_table(
        f"{arguments.split}: label errors by group",
        ["group", "examples", "suspected", "share", "95 % interval", "really wrong", "error rate", "interval"],
        [
            [
                row["group"],
                *_share_cells(row["suspected"]),
                percent(row["precision"]),
                percent(row["error_rate"]["value"]),
                _interval(row["error_rate"]),
            ]
            for row in table["groups"]
        ],
    )
    print_sentence("", high_groups_sentence(table))
    count = sum(row["suspected"]["count"] for row in table["groups"])
    errors = sum(row["suspected"]["count"] * (row["precision"] or 0) for row in table["groups"])
    print_line(
        f"{count:,} suspected examples, of which about {errors:,.0f} are really wrong, the most probable first: "
        f"{workspace.suspected_labels(arguments.split)}"
    )


def _share_cells(share: Mapping[str, Any]) -> list[str]:
    return [f"{share['total']:,}", f"{share['count']:,}", percent(share["value"]), _interval(share)]


def _interval(share: Mapping[str, Any]) -> str:
    return f"{percent(share['low'])} to {percent(share['high'])}"


def _reference(arguments: Arguments) -> None:
    from fair_distill.stages.validate import read_published_profile

    print_json(read_published_profile(arguments.reference, arguments.registry))


def print_contract(outcome: dict[str, Any]) -> None:
    """Print the outcome of the data contract: lines for the first violations of each check, then the summary."""
    kinds = [(failure["severity"], failure["check"], failure["split"]) for failure in outcome["failures"]]
    counts, printed = Counter(kinds), Counter[tuple[str, str, str]]()
    for kind, failure in zip(kinds, outcome["failures"], strict=True):
        printed[kind] += 1
        severity, check, split = kind
        if printed[kind] <= _SENTENCES:
            print_sentence(f"{severity} ({check}): ", failure["sentence"])
        elif printed[kind] == counts[kind]:
            print_line(f"{severity} ({check}): {printed[kind] - _SENTENCES} more in {split}; --json lists all")
    if outcome["success"]:
        print_line(f"{outcome['expectations']} expectations hold")
    else:
        errors = sum(failure["severity"] == "error" for failure in outcome["failures"])
        warnings = len(outcome["failures"]) - errors
        print_line(
            f"the data violate the contract ({errors} error{'s' if errors > 1 else ''}, {warnings} "
            f"warning{'' if warnings == 1 else 's'}); `fair-distill stage distill` refuses them"
        )
