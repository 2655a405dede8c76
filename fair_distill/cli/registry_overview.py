"""`fair-distill registry list`, `status`, `consumers` and `iam`: what is live, who uses it, and who may change it."""

import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fair_distill.cli.arguments import add_json, add_reference, add_registry
from fair_distill.cli.output import print_document, print_json, print_line, print_table
from fair_distill.cli.parser import Arguments, Parser
from fair_distill.text import ABSENT, percent

if TYPE_CHECKING:
    from fair_distill.registry.consumers import KnownConsumers
    from fair_distill.registry.costs import VersionCost
    from fair_distill.registry.status import ChannelStatus, DatasetCost, DatasetStatus


def add_commands(registry: Parser) -> None:
    """Add the commands to their group."""
    command = registry.add_command(
        "list",
        _list,
        "list the datasets of a registry with the version in each channel",
        examples=[
            ("fair-distill registry list", "all datasets"),
            ("fair-distill registry list vision --json", "the datasets of the team 'vision', for a script"),
        ],
    )
    command.add_argument("--costs", action="store_true", help="also add up the recorded costs of all versions")
    command.add_argument("team", nargs="?", help="list only the datasets of this team, such as vision/digits")
    add_registry(command)
    add_json(command)
    command = registry.add_command(
        "status",
        _status,
        "print what is live: since when, under which policy, last regate, attempts left, cost",
        examples=[
            ("fair-distill registry status digits", "the channels of the dataset 'digits'"),
            ("fair-distill registry status digits --json | jq '.channels[].fault'", "what `load` refuses today"),
        ],
    )
    command.add_argument("name", help="a dataset")
    add_registry(command)
    add_json(command)
    command = registry.add_command(
        "iam",
        _iam,
        "print the AWS IAM policy of a role: read, publish, promote, regate, erase, collect",
        details="It has the least rights that the commands of the role need in this registry.",
        examples=[
            ("fair-distill registry iam read --registry s3://sets/vision", "for consumers of the team's registry"),
            (
                "fair-distill registry iam promote --dataset vision/digits \\\n      --registry s3://sets/vision",
                "for a person who may promote this dataset only",
            ),
        ],
    )
    command.add_argument("role", help="read, publish, promote, regate, erase, or collect (for gc)")
    command.add_argument(
        "--dataset", default="*", metavar="NAME", help="limit a writing role to a dataset, or to TEAM/* (default: all)"
    )
    add_registry(command)
    command = registry.add_command(
        "consumers",
        _consumers,
        "list the known consumers of a version: pins in lock files, and receipts",
        examples=[
            ("fair-distill registry consumers digits@v3", "in the lock file of this folder"),
            (
                "fair-distill registry consumers digits@v3 --lock ~/src \\\n      --receipts s3://bucket/receipts",
                "in all lock files below a folder, and in receipts that `load` wrote",
            ),
        ],
    )
    add_reference(command)
    add_consumer_sources(command)
    add_registry(command)
    add_json(command)


def add_consumer_sources(command: Parser) -> None:
    """Add the options that say where consumers are known from."""
    command.add_argument(
        "--lock",
        type=Path,
        action="append",
        metavar="PATH",
        help="a lock file, or a folder whose lock files are read at any depth; repeatable (default: fair-distill.lock)",
    )
    command.add_argument(
        "--receipts",
        metavar="URL",
        help="where consumers write receipts: a folder or s3://bucket/prefix (default: FAIR_DISTILL_RECEIPTS)",
    )


def known_consumers(arguments: Arguments, dataset: str, version: str) -> "KnownConsumers":
    """Return the consumers of a version in the lock files and receipts that the command line names."""
    from fair_distill.registry.consumers import consumers_of
    from fair_distill.registry.pins import LOCK_FILE
    from fair_distill.registry.receipts import RECEIPTS_VARIABLE

    default = [Path(LOCK_FILE)] if Path(LOCK_FILE).is_file() else []
    locks = default if arguments.lock is None else arguments.lock
    receipts = arguments.receipts or os.environ.get(RECEIPTS_VARIABLE)
    return consumers_of(dataset, version, locks=locks, receipts=receipts)


def print_consumers(known: "KnownConsumers", number: int) -> None:
    """Print one line for each consumer, and that others may exist."""
    for consumer in known.consumers:
        source = f"last loaded on {consumer.last_day}" if consumer.last_day else "pinned"
        print_line(f"v{number} is used by {consumer.name}: {consumer.reference}, {source}")
    if not known.consumers:
        print_line(f"no consumer of v{number} is known")
    print_line("A consumer without a receipt, and whose lock file was not read, is not listed.")


def _iam(arguments: Arguments) -> None:
    from fair_distill.registry.access import iam_policy_json

    print_document(iam_policy_json(arguments.role, arguments.registry, dataset=arguments.dataset))


def print_unread(known: "KnownConsumers") -> None:
    """Print why lock files and receipts could not be read."""
    for fault in known.faults:
        print_line(f"fair-distill: {fault}", error=True)


def _consumers(arguments: Arguments) -> int:
    from fair_distill.errors import ConfigError
    from fair_distill.registry.channels import version_number
    from fair_distill.registry.lookup import open_ledger, parse_reference, select_version

    name, selector = parse_reference(arguments.reference)
    if selector is None:
        raise ConfigError(f"{arguments.reference!r} names no version; write {name}@production, or {name}@v1")
    _, entries = open_ledger(name, arguments.registry)
    version = select_version(entries, selector, revoked=True)
    known = known_consumers(arguments, name, version)
    if arguments.json:
        print_json([asdict(consumer) for consumer in known.consumers])
    else:
        print_consumers(known, version_number(entries, version))
    print_unread(known)
    return known.exit_code


def _list(arguments: Arguments) -> int:
    from fair_distill.registry.status import list_datasets

    datasets = list_datasets(arguments.registry, team=arguments.team, costs=arguments.costs)
    if arguments.json:
        print_json([asdict(dataset) for dataset in datasets])
    elif not datasets:
        of_team = f" of the team {arguments.team!r}" if arguments.team else ""
        print_line(f"{arguments.registry} has no datasets{of_team}")
    else:
        rows = []
        for dataset in datasets:
            live = (f"{name} {f'v{number}' if number else ABSENT}" for name, number in dataset.live.items())
            counts = [ABSENT] * 2 if dataset.fault else [f"{dataset.versions}", f"{dataset.revoked}"]
            rows.append([dataset.name, *counts, ", ".join(live) or ABSENT, dataset.last_change or ABSENT])
            if arguments.costs:
                rows[-1].append(_cost(dataset.cost))
        columns = ["dataset", "versions", "revoked", "live", "last change", *(["cost"] if arguments.costs else [])]
        print_table(f"Datasets of {arguments.registry}", columns, rows, text_columns=["live"])
    for dataset in datasets:
        if dataset.fault:
            print_line(f"fair-distill: {dataset.name}: {dataset.fault}", error=True)
    return max((dataset.exit_code for dataset in datasets), default=0)


def _status(arguments: Arguments) -> None:
    from fair_distill.registry.entry import check_name
    from fair_distill.registry.status import dataset_status

    now = datetime.now(UTC)
    status = dataset_status(check_name(arguments.name), arguments.registry, today=now.date())
    if arguments.json:
        print_json(asdict(status))
        return
    _print_channels(status, now)
    for number in status.revoked:
        print_line(f"v{number} is revoked")
    attempts = status.attempts
    if attempts is None:
        print_line("attempts: none recorded")
    else:
        print_line(
            f"attempts: {attempts.attempt} at the gate split {attempts.split[:12]}… ({attempts.planned} planned), the "
            f"newest at {attempts.time}; {percent(attempts.left)} of alpha is left, and the next attempt at the same "
            f"examples takes {percent(attempts.next)}"
        )


def _print_channels(status: "DatasetStatus", now: datetime) -> None:
    rows = [
        [
            channel.channel,
            f"v{channel.number}" if channel.number else ABSENT,
            f"{channel.since} ({_age(channel.since, now)})",
            channel.who,
            f"{channel.policy[:12]}…" if channel.policy else ABSENT,
            channel.outcome or ABSENT,
            _last_regate(channel, now),
            _cost(channel.cost),
        ]
        for channel in status.channels
    ]
    columns = ["channel", "version", "since", "by", "policy", "verdict", "last regate", "cost"]
    title = f"{status.name}: {status.versions} version{'s' * (status.versions != 1)}"
    if rows:
        print_table(title, columns, rows, text_columns=columns)
    else:
        print_line(f"{title}, no channel was used")
    for channel in status.channels:
        if channel.number is None:
            print_line(f"{channel.channel} has no version since {channel.since}: {channel.fault or channel.event}")
        elif channel.fault:
            print_line(f"{channel.channel}: `load` refuses v{channel.number}: {channel.fault}")


def _last_regate(channel: "ChannelStatus", now: datetime) -> str:
    if channel.number is None:
        return ABSENT
    return f"{channel.regate.outcome}, {_age(channel.regate.time, now)}" if channel.regate else "never"


def _cost(cost: "VersionCost | DatasetCost | None") -> str:
    if cost is None:
        return ABSENT
    gpu = f", {cost.gpu_seconds / 3600:.3g} GPU h" if cost.gpu_seconds else ""
    return f"{cost.cpu_seconds / 3600:.3g} CPU h{gpu}"


def _age(time: str, now: datetime) -> str:
    days = (now - datetime.fromisoformat(time)).days
    return "today" if days <= 0 else f"{days} day{'s' * (days != 1)} ago"
