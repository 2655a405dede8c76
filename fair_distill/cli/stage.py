"""`fair-distill stage`: the commands that DVC runs, one for each stage, and an estimate of what they take."""

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fair_distill.cli.arguments import (
    add_checkpoints,
    add_device,
    add_json,
    add_set,
    open_current,
    open_workspace,
    today_or_later,
)
from fair_distill.cli.choose import add_choice
from fair_distill.cli.costs import costed
from fair_distill.cli.data import print_contract
from fair_distill.cli.output import print_json, print_line, print_sentence, print_table
from fair_distill.cli.parser import Arguments, Parser
from fair_distill.cli.progress import add_quiet, peak_memory_mb, progress_display
from fair_distill.cli.verdicts import add_policy, add_summaries, open_gate, print_verdict, write_summaries
from fair_distill.text import ABSENT, percent

if TYPE_CHECKING:
    from fair_distill.card import DatasetCard
    from fair_distill.data.assignments import Changes
    from fair_distill.registry.manifest import Manifest
    from fair_distill.stages.estimate import Estimate


def add_commands(parser: Parser) -> None:
    """Add the group and its commands, in the order in which DVC runs them."""
    stage = parser.add_command("stage", None, "run one stage: prepare, validate, distill, evaluate, …")
    _add_estimate(stage)
    _add_data_stages(stage)
    _add_set_stages(stage)
    _add_measurements(stage)


def _add_estimate(stage: Parser) -> None:
    command = stage.add_command(
        "estimate",
        _estimate,
        "estimate time and memory of `fair-distill run` on this machine",
        details="It runs a few real steps of each stage and extrapolates.",
        examples=[
            ("fair-distill stage estimate", "time and memory of every stage"),
            ("fair-distill stage estimate --device cuda --json", "the same on a GPU, for a script"),
        ],
    )
    add_device(command)
    add_json(command)


def _add_data_stages(stage: Parser) -> None:
    command = stage.add_command(
        "prepare",
        _prepare,
        "read the source and write the train, tune and gate splits",
        details="An example that was in a split stays there, also if the source grows or shrinks: the file "
        "artifacts/assignments.arrow remembers the splits. It prints how many examples or clusters moved.",
        examples=[
            ("fair-distill --workspace faces stage prepare", "prepare the splits of another workspace"),
            ("fair-distill stage prepare --deal-again", "forget the earlier splits, before the first publication"),
        ],
    )
    command.add_argument(
        "--deal-again",
        action="store_true",
        help="ignore the earlier splits in artifacts/assignments.arrow, so that examples can move",
    )
    add_quiet(command)
    command = stage.add_command(
        "validate",
        _validate,
        "check the prepared splits against the data contract",
        examples=[("fair-distill stage validate --json", "the outcome of the contract, for a script")],
    )
    command.add_argument("--docs", type=Path, metavar="DIR", help="also write the outcome as static HTML pages")
    add_json(command)


def _add_set_stages(stage: Parser) -> None:
    command = stage.add_command(
        "experts",
        _experts,
        "train the expert networks of a candidate (matcher mtt)",
        examples=[("fair-distill stage experts barycentric --device cuda", "train the experts on a GPU")],
    )
    _add_candidate(command)
    add_device(command)
    add_quiet(command)
    command = stage.add_command(
        "distill",
        _distill,
        "distil one candidate",
        details="If the run is interrupted, the same command continues from the last checkpoint.",
        examples=[
            ("fair-distill stage distill barycentric", "distil the candidate 'barycentric'"),
            (
                "fair-distill stage distill barycentric --checkpoints s3://bucket/runs",
                "store checkpoints where another machine can continue",
            ),
        ],
    )
    _add_candidate(command)
    command.add_argument(
        "--checkpoint-every", type=int, default=50, metavar="STEPS", help="steps between checkpoints (default: 50)"
    )
    add_device(command)
    add_quiet(command)
    command = stage.add_command(
        "references",
        _references,
        "select one reference set of real examples",
        examples=[("fair-distill stage references balanced", "select equally many real images of each group")],
    )
    command.add_argument("reference", help="a name under references in params.yaml")
    stage.add_command(
        "project",
        _project,
        "project all sets and their groups onto two dimensions, for the report",
        examples=[("fair-distill stage project", "write the points that the report plots")],
    )


def _add_measurements(stage: Parser) -> None:
    command = stage.add_command(
        "evaluate",
        _evaluate,
        "train networks on a set and predict the gate split",
        examples=[("fair-distill stage evaluate barycentric --quiet", "evaluate without a progress bar")],
    )
    add_set(command)
    add_checkpoints(command)
    add_device(command)
    add_quiet(command)
    add_choice(stage)
    command = stage.add_command(
        "judge",
        _judge,
        "write the verdict on a set; the exit code does not depend on the verdict",
        examples=[("fair-distill stage judge barycentric --markdown gate.md", "with a summary for a pull request")],
    )
    add_set(command)
    add_policy(command, environment=False)
    add_summaries(command)


def _add_candidate(command: Parser) -> None:
    command.add_argument("candidate", help="a name under candidates in params.yaml")
    add_checkpoints(command)


def _estimate(arguments: Arguments) -> None:
    from fair_distill.stages.estimate import Meters, estimate_run

    workspace, config = open_workspace(arguments)
    meters = Meters(time.monotonic, peak_memory_mb)
    estimates = list(estimate_run(workspace, config, device=arguments.device, meters=meters))
    total = sum(row.seconds for row in estimates)
    if arguments.json:
        print_json({"stages": [asdict(row) for row in estimates], "seconds": total})
        return
    on_device = any(row.device_memory_mb is not None for row in estimates)
    print_table(
        f"{config.dataset}: about {duration(total)} on {arguments.device}, one stage after the other",
        ["stage", "set", "time", "memory", *(["device memory"] if on_device else [])],
        [_estimate_row(row, on_device=on_device) for row in estimates],
        text_columns=["set"],
    )
    print_line("Not included: the start-up of DVC, and validate, project and judge, which take a few seconds each.")


def _estimate_row(row: "Estimate", *, on_device: bool) -> list[str]:
    cells = [row.stage, row.set, duration(row.seconds), f"{row.memory_mb:,.0f} MB"]
    if on_device:
        cells.append(ABSENT if row.device_memory_mb is None else f"{row.device_memory_mb:,.0f} MB")
    return cells


def duration(seconds: float) -> str:
    """Return a duration as text, with no more digits than an estimate has."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


@costed("prepare")
def _prepare(arguments: Arguments) -> None:
    from fair_distill.stages.prepare import prepare_splits

    workspace, config = open_current(arguments)
    notices: list[str] = []
    with progress_display("prepare", config.dataset, quiet=arguments.quiet) as progress:
        prepared = prepare_splits(
            workspace, config, deal_again=arguments.deal_again, progress=progress, notice=notices.append
        )
    for sentence in notices:
        print_line(sentence)
    for name, dataset in prepared.splits.items():
        examples = "images" if dataset.schema is None else "rows"
        print_line(
            f"{name}: {len(dataset):,} {examples}, {len(dataset.classes)} classes × {len(dataset.groups)} groups, "
            f"{dataset.counts.min():,} to {dataset.counts.max():,} per cell"
        )
    _print_missing_cells(prepared.splits["train"].missing_cells)
    _print_changes(prepared.changes)


def _print_changes(changes: "Changes") -> None:
    if changes.is_first:
        print_line(f"units: {changes.units:,}, all of them new")
        return
    print_line(f"units: {changes.units:,}; {changes.moved:,} moved, {changes.new:,} new, {changes.gone:,} gone")
    if changes.may_be_renamed:
        print_line(
            "warning: most units are new, and as many are gone. If they are the same people under other names, some "
            "move between train and gate, and no check can see it: restore the names. If they are other people, "
            "nothing is wrong",
            error=True,
        )
    if changes.dealt_again and changes.moved:
        print_line("units moved because the seed, the shares or --deal-again dealt all of them again")


def _print_missing_cells(actions: Mapping[str, Any]) -> None:
    for label, counts in actions.get("drop_class", {}).items():
        print_line(
            f"dropped: class {label!r} with {sum(counts.values()):,} examples; a split has no example of a group"
        )
    for attribute, counts in actions.get("drop", {}).items():
        for value, count in counts.items():
            print_line(f"dropped: {count:,} examples whose {attribute} is {value!r}")
    for name, groups in actions.get("merge", {}).items():
        print_line(f"merged: groups {', '.join(groups)} into group {name!r}")


@costed("validate")
def _validate(arguments: Arguments) -> None:
    from fair_distill.stages.validate import validate_splits

    outcome = validate_splits(*open_current(arguments), os.environ, pages=arguments.docs)
    if arguments.json:
        print_json(outcome)
        return
    print_contract(outcome)
    if arguments.docs is not None:
        print_line(f"pages: {arguments.docs / 'index.html'}")


@costed("experts", "candidate")
def _experts(arguments: Arguments) -> None:
    from fair_distill.stages.experts import train_candidate_experts

    with progress_display("experts", arguments.candidate, quiet=arguments.quiet) as progress:
        count = train_candidate_experts(
            *open_current(arguments),
            arguments.candidate,
            device=arguments.device,
            checkpoints=arguments.checkpoints,
            stopping=_sigterm_received(),
            progress=progress,
        )
    print_line(f"{arguments.candidate}: {count:,} experts")


@costed("distill", "candidate")
def _distill(arguments: Arguments) -> None:
    from fair_distill.stages.distill import distill_candidate

    notices: list[str] = []
    with progress_display("distill", arguments.candidate, quiet=arguments.quiet) as progress:
        manifest = distill_candidate(
            *open_current(arguments),
            arguments.candidate,
            device=arguments.device,
            checkpoints=arguments.checkpoints,
            every=arguments.checkpoint_every,
            stopping=_sigterm_received(),
            image=os.environ.get("FAIR_DISTILL_IMAGE"),
            progress=progress,
            notice=notices.append,
            resume_notice=print_line,
        )
    for sentence in notices:
        print_sentence("groups: ", sentence)
    size = f"{manifest.card.examples:,} {manifest.card.unit}"
    print_line(f"{arguments.candidate}: {size}, version {manifest.version[:12]}")
    _print_near_copies(arguments.candidate, manifest)


def _sigterm_received() -> Callable[[], bool]:
    """Handle SIGTERM as a request to stop, and return a function that says whether it was received."""
    received = threading.Event()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: received.set())
    return received.is_set


@costed("references", "reference")
def _references(arguments: Arguments) -> None:
    from fair_distill.stages.references import select_reference

    manifest = select_reference(*open_current(arguments), arguments.reference)
    if manifest.card.kind == "constant":
        print_line(f"{arguments.reference}: a constant answer, without {manifest.card.unit}")
        return
    draws = len(manifest.files)
    print_line(
        f"{arguments.reference}: {manifest.card.examples:,} real {manifest.card.unit}"
        f"{f', drawn {draws} times' if draws > 1 else ''}"
    )
    _print_convergence(arguments.reference, manifest.card)
    _print_near_copies(arguments.reference, manifest)


def _print_convergence(name: str, card: "DatasetCard") -> None:
    """Print after how many steps the networks of a reference of all images have converged."""
    for key, converged in card.diagnostics.items():
        network = key.removeprefix("converged_")
        if network != key:
            steps, loss = card.diagnostics[f"steps_{network}"], card.diagnostics[f"loss_on_tune_{network}"]
            end = "" if converged else "; it was still falling, so raise plateau.most in params.yaml"
            print_line(f"{name}, {network}: {steps:,.0f} steps, smallest loss on tune {loss:.4f}{end}")


def _print_near_copies(name: str, manifest: "Manifest") -> None:
    if manifest.card.nearness is not None:
        print_line(f"{name}: {manifest.card.nearness.sentence()}")
    if manifest.card.relations is not None and manifest.card.relations.relations:
        print_line(f"{name}: {manifest.card.relations.sentence()}")


@costed("project")
def _project(arguments: Arguments) -> None:
    from fair_distill.stages.project import project_sets

    print_line(f"{project_sets(*open_current(arguments)):,} points")


@costed("evaluate", "set")
def _evaluate(arguments: Arguments) -> None:
    from fair_distill.gate.metrics import TABLE_COLUMNS
    from fair_distill.stages.evaluate import evaluate_set

    with progress_display("evaluate", arguments.set, quiet=arguments.quiet) as progress:
        report = evaluate_set(
            *open_current(arguments),
            arguments.set,
            device=arguments.device,
            checkpoints=arguments.checkpoints,
            progress=progress,
        )
    for network, metrics in report.items():
        figures = ", ".join(f"{title} {percent(metrics[name], unit='')}" for name, title in TABLE_COLUMNS.items())
        print_line(f"{arguments.set}, {network}: {figures}")


@costed("judge", "set")
def _judge(arguments: Arguments) -> None:
    from fair_distill.config import load_floor
    from fair_distill.stages.judge import judge_set

    workspace, config = open_gate(arguments)
    floor = load_floor(arguments.policy_floor) if arguments.policy_floor else None
    now = today_or_later(arguments) if arguments.now else None
    verdict = judge_set(workspace, config, arguments.set, floor=floor, now=now)
    print_verdict(arguments, verdict)
    write_summaries(arguments, verdict)
