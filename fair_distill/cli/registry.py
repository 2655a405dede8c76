"""`fair-distill registry`: inspect, verify, compare and pin published versions. These commands need no workspace.

The commands of the group that change a registry are in `registry_changes.py`.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fair_distill.cli import registry_changes, registry_overview
from fair_distill.cli.arguments import (
    add_json,
    add_key,
    add_lock,
    add_reference,
    add_registry,
    signer_of,
)
from fair_distill.cli.output import print_document, print_json, print_line
from fair_distill.cli.parser import Arguments, Parser
from fair_distill.errors import ConfigError
from fair_distill.text import percent


def add_commands(parser: Parser) -> None:
    """Add the group and its commands."""
    registry = parser.add_command("registry", None, "list, verify, pin, roll back and revoke versions")
    registry_overview.add_commands(registry)
    _add_inspection(registry)
    _add_pins(registry)
    registry_changes.add_commands(registry)


def _add_inspection(registry: Parser) -> None:
    command = registry.add_command(
        "log",
        _log,
        "print the ledger of a dataset: each event with its time, author and reason",
        examples=[
            ("fair-distill registry log digits", "all events of the dataset 'digits'"),
            ("fair-distill registry log digits --json | jq '.[-1]'", "the newest entry"),
        ],
    )
    command.add_argument("name", help="a dataset")
    add_registry(command)
    add_json(command)
    command = registry.add_command(
        "verify",
        _verify,
        "check every byte that the registry stores of a dataset or a version",
        examples=[
            ("fair-distill registry verify digits", "all versions"),
            ("fair-distill registry verify digits@production --json", "the version in production, for a script"),
        ],
    )
    add_reference(command, "a dataset, or dataset@channel, dataset@v3 or dataset@sha256:DIGEST")
    command.add_argument(
        "--anchor", type=Path, metavar="FILE", help="a ledger head that `registry head` wrote and you stored elsewhere"
    )
    add_registry(command)
    add_json(command)
    command = registry.add_command(
        "compare",
        _compare,
        "print how two versions differ: data, params, accuracy of each group",
        examples=[("fair-distill registry compare digits@v3 digits@v4 --picture both.png", "and draw both sets")],
    )
    for letter in "ab":
        command.add_argument(letter, metavar=letter.upper(), help="dataset@channel or dataset@v3")
    command.add_argument("--picture", type=Path, metavar="FILE", help="write a PNG with both sets side by side")
    add_registry(command)
    command = registry.add_command(
        "attempts",
        _attempts,
        "list the attempts at gate splits, of all datasets",
        examples=[("fair-distill registry attempts", "who used which split, and with how much of alpha")],
    )
    add_registry(command)
    add_json(command)
    command = registry.add_command(
        "head",
        _head,
        "print the newest entry of a ledger and its digest, to store elsewhere",
        examples=[("fair-distill registry head digits > head.json", "for `registry verify --anchor head.json`")],
    )
    command.add_argument("name", help="a dataset")
    add_key(command)
    add_registry(command)


def _add_pins(registry: Parser) -> None:
    command = registry.add_command(
        "pin",
        _pin,
        "write the version that a reference names now to the lock file",
        examples=[("fair-distill registry pin digits@production", "pin the version in production")],
    )
    add_reference(command)
    add_lock(command)
    add_registry(command)
    command = registry.add_command(
        "outdated",
        _outdated,
        "list the pins whose reference names another version now; exit with 1 if there are any",
        examples=[("fair-distill registry outdated", "check the lock file in this folder")],
    )
    add_lock(command)


def _log(arguments: Arguments) -> None:
    from fair_distill.registry.channels import published
    from fair_distill.registry.verify import log

    entries = log(arguments.name, registry=arguments.registry)
    if arguments.json:
        print_json([asdict(entry) for entry in entries])
        return
    numbers = {version: number for number, version in enumerate(published(entries), start=1)}
    for entry in entries:
        event = f"{entry.event} v{numbers[entry.version]}" if entry.version in numbers else entry.event
        channel = f" {'from' if entry.event == 'demote' else 'to'} {entry.channel}" if entry.channel else ""
        reason = f": {entry.reason}" if entry.reason else ""
        print_line(f"{entry.number:>4}  {entry.time}  {entry.who}: {event}{channel}{reason}")


def _attempts(arguments: Arguments) -> None:
    from fair_distill.registry.attempts import attempts_of, read_record
    from fair_distill.registry.store import locate, open_registry

    attempts = attempts_of(read_record(open_registry(locate(arguments.registry))))
    if arguments.json:
        print_json([{**asdict(attempt.entry), "predictions": attempt.predictions} for attempt in attempts])
        return
    for attempt in attempts:
        entry = attempt.entry
        bound = f"predictions {attempt.predictions[:12]}…" if attempt.predictions else "no predictions yet"
        print_line(
            f"{entry.number:>4}  {entry.time}  {entry.who}: {entry.dataset} {entry.version[:12]}… at the split "
            f"{entry.split[:12]}…, attempt {entry.attempt} with {entry.fraction:.2g} of alpha, {bound}"
        )


def _verify(arguments: Arguments) -> None:
    from fair_distill.registry.verify import verify

    files = verify(arguments.reference, registry=arguments.registry, anchor=arguments.anchor)
    if arguments.json:
        print_json([file.to_dict() for file in files])
        return
    remarks = [file for file in files if file.remark]
    for file in remarks:
        print_line(f"{file.key}: {file.remark}")
    note = f"; see the {len(remarks)} remarks above" if remarks else ""
    size = sum(file.size for file in files)
    print_line(f"{arguments.reference}: {len(files)} files, {size:,} bytes, all verified{note}")


def _compare(arguments: Arguments) -> None:
    from fair_distill.files import write_bytes
    from fair_distill.registry.client import look_up
    from fair_distill.registry.compare import compare_versions

    a, b = (look_up(name, registry=arguments.registry, revoked=True) for name in (arguments.a, arguments.b))
    if a.version == b.version:
        print_line(f"{arguments.a} and {arguments.b} are both v{a.number}; they do not differ")
        return
    comparison = compare_versions(a, b)
    print_line(f"{arguments.a} is v{a.number}, {arguments.b} is v{b.number}")
    for change in comparison.changed:
        print_line(f"  {change.name}: {change.a} → {change.b}")
    for pair in comparison.groups:
        mark = " *" if pair.disjoint else ""
        print_line(f"  {pair.network}, {pair.group}: {_interval(pair.a)} → {_interval(pair.b)}{mark}")
    for change in comparison.metrics:
        print_line(f"  {change.name}: {_rate(change.a)} → {_rate(change.b)}")
    if any(pair.disjoint for pair in comparison.groups):
        print_line("  * the confidence intervals do not overlap")
    if arguments.picture:
        from fair_distill.report.pair import pair_png

        write_bytes(arguments.picture, pair_png(a.set, b.set))


def _interval(group: Any) -> str:
    if group is None or group.accuracy is None:
        return "not measured"
    return _rate(group.accuracy) + (f" ({_rate(group.low)} to {_rate(group.high)})" if group.low is not None else "")


def _rate(value: Any) -> str:
    return "not measured" if value is None else percent(value)


def _pin(arguments: Arguments) -> None:
    from fair_distill.registry.client import look_up
    from fair_distill.registry.pins import pin

    version = look_up(arguments.reference, registry=arguments.registry)
    pin(arguments.lock, arguments.reference, version.version, registry=arguments.registry)
    print_line(f"{arguments.reference} is v{version.number} in {arguments.lock}: {version.version}")


def _outdated(arguments: Arguments) -> int:
    from fair_distill.registry.pins import outdated, read_pins

    if not arguments.lock.exists():
        raise ConfigError(
            f"{arguments.lock} is missing; create it with `fair-distill registry pin REFERENCE`, or pass another file "
            "with --lock"
        )
    pins = read_pins(arguments.lock)
    changes = outdated(pins)
    for change in changes:
        now = f"v{change.now}" if change.now else "no version"
        reason = f": {change.why}" if change.why else ""
        print_line(f"{change.pin.reference} is pinned to v{change.number} and now names {now}{reason}")
    if not changes:
        print_line(f"{len(pins)} pins, all up to date")
    return 1 if changes else 0


def _head(arguments: Arguments) -> None:
    from fair_distill.registry.verify import head

    statement = head(arguments.name, registry=arguments.registry)
    sign = signer_of(arguments)
    print_document(statement.to_json() if sign is None else sign(statement))
