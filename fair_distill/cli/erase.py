"""`fair-distill erase`: remove people from the data, the results and the registry."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fair_distill.cli.arguments import (
    add_checkpoints,
    add_json,
    add_key,
    add_registry,
    add_who,
    open_workspace,
    signer_of,
)
from fair_distill.cli.output import print_json, print_line
from fair_distill.cli.parser import Arguments, Parser
from fair_distill.cli.registry_changes import report_affected
from fair_distill.cli.registry_overview import add_consumer_sources

if TYPE_CHECKING:
    from fair_distill.stages.erase import ErasurePlan


def add_commands(parser: Parser) -> None:
    """Add the command."""
    command = parser.add_command(
        "erase",
        _erase,
        "erase people: remove data, revoke versions made from them, rebuild",
        details="It removes their examples and everything that was computed from them from the workspace, from DVC's "
        "cache and remotes, and from the registry. blocklist.json keeps them out of later runs. It needs the secret "
        "key of the blocklist in FAIR_DISTILL_BLOCKLIST_KEY.",
        examples=[
            ("fair-distill erase --ids people.txt --dry-run", "print what would be removed; change nothing"),
            ("fair-distill erase --ids people.txt", "erase, rebuild and judge again"),
            ("fair-distill erase --ids visits.txt --by example --no-rebuild", "erase single examples; rebuild later"),
        ],
    )
    command.add_argument("--ids", type=Path, required=True, metavar="FILE", help="a text file with one name per line")
    command.add_argument(
        "--by",
        choices=("cluster", "pair", "example"),
        help="the column of the names: cluster (people), pair, or example id (default: cluster if the data have it)",
    )
    command.add_argument("--dry-run", action="store_true", help="print what would be removed, and change nothing")
    command.add_argument("--no-rebuild", action="store_true", help="do not run `dvc repro` afterwards")
    command.add_argument(
        "--include-unknown",
        action="store_true",
        help="also erase versions and results of which it is unknown whether they contain the people",
    )
    command.add_argument(
        "--report", type=Path, metavar="FILE", help="where to write the report (default: erasure-TIME.json)"
    )
    add_consumer_sources(command)
    add_checkpoints(command)
    add_registry(command)
    add_key(command)
    add_who(command, "your name in the record of erasures")
    add_json(command)


def _erase(arguments: Arguments) -> None:
    from datetime import UTC, datetime
    from uuid import uuid4

    from fair_distill.data.blocklist import blocklist_key
    from fair_distill.registry.actor import Actor
    from fair_distill.registry.entry import timestamp
    from fair_distill.seeds import unrepeatable_rng
    from fair_distill.stages.erase import Places, check_erased, erase, plan_all
    from fair_distill.stages.erase_report import report_of, unreached_places, write_erasure_report
    from fair_distill.stages.erase_traces import read_people
    from fair_distill.versioning.dvc_commands import repro

    workspace, config = open_workspace(arguments)
    key = blocklist_key(os.environ)
    people = read_people(arguments.ids, arguments.by, config)
    places = Places(arguments.registry, arguments.checkpoints)
    unknown = arguments.include_unknown
    actor = Actor(arguments.who, datetime.now(UTC), uuid4().hex, signer_of(arguments))
    rng = unrepeatable_rng()
    plan = plan_all(workspace, config, people, places=places, key=key, include_unknown=unknown, rng=rng)
    unreached = unreached_places(plan, places, os.environ)
    if not arguments.json:
        _print_plan(plan)
    if arguments.dry_run:
        report = report_of(plan, config, places=places, removed=plan.registry.removed, actor=actor, unreached=unreached)
        if arguments.json:
            print_json(report)
        else:
            _print_unreached(unreached)
            print_line("nothing was changed (--dry-run)")
        return
    removed = erase(workspace, plan, places=places, actor=actor)
    _, changed = open_workspace(arguments)
    check_erased(plan_all(workspace, changed, people, places=places, key=key, include_unknown=unknown, rng=rng))
    time = timestamp(actor.now).replace("-", "").replace(":", "")
    path = arguments.report or workspace.root / f"erasure-{time}.json"
    report = report_of(plan, config, places=places, removed=removed, actor=actor, unreached=unreached)
    envelope = write_erasure_report(path, report, places=places, actor=actor)
    _report_affected(arguments, plan, config.dataset)
    if arguments.json:
        print_json(report)
    else:
        _print_unreached(unreached)
        print_line(f"report: {path}{f', signed in {envelope.name}' if envelope else ', not signed (no --key)'}")
        print_line(f"next: remove {arguments.ids}, and commit blocklist.json, params.yaml and dvc.lock")
    if not arguments.no_rebuild and (workspace.root / "dvc.yaml").exists():
        repro(workspace.root)
        if not arguments.json:
            print_line("next: `fair-distill publish` and `fair-distill promote` put the rebuilt set into the channels")


def _report_affected(arguments: Arguments, plan: "ErasurePlan", dataset: str) -> None:
    """Print whom the revocations affect, and call the webhook for each."""
    from fair_distill.registry.channels import channels, current, revocation, version_number
    from fair_distill.registry.ledger import read_ledger
    from fair_distill.registry.store import open_registry

    entries = read_ledger(open_registry(arguments.registry), dataset)
    for version in dict.fromkeys([*(row.version for row in plan.registry.versions), *plan.pending_versions]):
        entry = revocation(entries, version)
        if entry is not None:
            live = [channel for channel in channels(entries) if current(entries, channel) == version]
            report_affected(arguments, entry, version_number(entries, version), live)


def _print_plan(plan: "ErasurePlan") -> None:
    """Print what an erasure removes. Names of people are never printed."""
    splits = ", ".join(f"{name} {count:,}" for name, count in plan.counts.items()) or "no prepared files"
    print_line(f"people: {len(plan.people.names):,} names ({plan.people.kind}); examples in the workspace: {splits}")
    print_line(f"blocklist.json: {plan.blocklist.new:,} new names, {plan.blocklist.total:,} in total")
    for row in plan.registry.versions:
        where = f"; it is in {', '.join(row.channels)}" if row.channels else ""
        print_line(f"registry: v{row.number} is revoked and erased, because {row.reason}{where}")
    print_line(
        f"registry: {len(plan.registry.removed) + len(plan.pending):,} contents are removed; "
        f"{len(plan.registry.redacted):,} files of gate examples get anonymous digests"
    )
    for name, count in plan.dvc.counts().items():
        print_line(f"{name}: {count:,} contents are removed")
    if plan.in_workspace:
        print_line(f"workspace: the outputs in artifacts/ and {len(plan.checkpoints):,} checkpoints are removed")
    elif plan.assignments:
        print_line("workspace: their units are removed from artifacts/assignments.arrow")


def _print_unreached(unreached: list[dict[str, str]]) -> None:
    for row in unreached:
        print_line(f"not reached: {row['place']}: {row['action']}")
