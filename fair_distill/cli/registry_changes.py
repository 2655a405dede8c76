"""The commands of `fair-distill registry` that change a registry, and `keygen`, which creates the key to sign with.

These commands need no workspace, except `approve`, which reads the policy of params.yaml.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fair_distill.cli.arguments import add_key, add_lock, add_reference, add_registry, signer_of
from fair_distill.cli.operations import add_write_options, begin_operation
from fair_distill.cli.output import print_document, print_line
from fair_distill.cli.parser import Arguments, Parser
from fair_distill.cli.registry_overview import add_consumer_sources, known_consumers, print_consumers, print_unread
from fair_distill.errors import ConfigError, FairDistillError

if TYPE_CHECKING:
    from fair_distill.registry.entry import Entry
    from fair_distill.registry.operations import Operation
    from fair_distill.registry.writer import Writer


def add_commands(registry: Parser) -> None:
    """Add the commands to their group."""
    _add_retraction(registry)
    _add_keys(registry)
    _add_gc(registry)


def _add_retraction(registry: Parser) -> None:
    for name, run, reference, summary, examples in (
        (
            "rollback",
            _rollback,
            "dataset@channel",
            "return a channel to its previous version",
            [
                ('fair-distill registry rollback digits@production --reason "complaints"', "to the version before"),
                (
                    'fair-distill registry rollback digits@production --reason "complaints" \\\n'
                    "      --operation 3f2b8c1d9e0a",
                    "retry an operation whose result is unknown, from another machine",
                ),
            ],
        ),
        (
            "demote",
            _demote,
            "dataset@channel",
            "remove the version from a channel, which is then empty",
            [('fair-distill registry demote digits@production --reason "drift"', "empty the channel")],
        ),
        (
            "revoke",
            _revoke,
            "dataset@v3 or dataset@sha256:DIGEST",
            "withdraw a version from all consumers, permanently; print whom it affects",
            [('fair-distill registry revoke digits@v3 --reason "contains personal data"', "withdraw version 3")],
        ),
    ):
        command = registry.add_command(name, run, summary, examples=examples)
        add_reference(command, reference)
        command.add_argument("--reason", required=True, help="the reason, which consumers will read")
        if name == "revoke":
            add_consumer_sources(command)
        add_write_options(command)


def _add_keys(registry: Parser) -> None:
    command = registry.add_command(
        "approve",
        _approve,
        "sign your approval of a version, for a channel that requires approvals",
        examples=[
            (
                "fair-distill registry approve digits@v3 --key ~/.config/fair-distill.key",
                "under the policy in params.yaml",
            )
        ],
    )
    add_reference(command, "dataset@v3 or dataset@sha256:DIGEST")
    command.add_argument(
        "--policy", type=Path, metavar="FILE", help="the policy under which you approve it (default: params.yaml)"
    )
    add_registry(command)
    add_key(command)
    command = registry.add_command(
        "keygen",
        _keygen,
        "create a signing key and print its public key",
        examples=[("fair-distill registry keygen ~/.config/fair-distill.key", "write the private key to this file")],
    )
    command.add_argument("file", type=Path, help="the file for the private key; it must not exist")


def _add_gc(registry: Parser) -> None:
    command = registry.add_command(
        "gc",
        _gc,
        "remove files that interrupted publications left in the registry",
        details="The first run only lists them in FILE. A run a day later removes those that are still unused.",
        examples=[
            ("fair-distill registry gc unused.json", "list unused files; repeat a day later to remove them"),
            ("fair-distill registry gc unused.json --anchor head.json", "on a machine that never read the ledger"),
        ],
    )
    command.add_argument(
        "look", type=Path, metavar="FILE", help="the list that the first run writes and the second reads"
    )
    command.add_argument(
        "--anchor",
        type=Path,
        action="append",
        default=[],
        metavar="HEAD",
        help="a ledger head that `registry head` wrote; once for each dataset that this machine has never read",
    )
    command.add_argument(
        "--confirm-head",
        action="append",
        default=[],
        metavar="NAME=NUMBER:DIGEST",
        help="confirm that the ledger of a dataset is complete up to this entry; NAME=0 if nothing was ever published",
    )
    add_lock(command)
    add_registry(command)


def _approve(arguments: Arguments) -> None:
    from fair_distill.config import load_gate
    from fair_distill.gate.policy import policy_digest
    from fair_distill.registry.approvals import approve
    from fair_distill.registry.channels import resolve, version_number
    from fair_distill.registry.ledger import read_to_write
    from fair_distill.workspace import Workspace

    sign = signer_of(arguments)
    if sign is None:
        raise ConfigError("approve needs a signing key; pass --key FILE or set FAIR_DISTILL_SIGNING_KEY")
    store, name, selector = _open_reference(arguments)
    policy = policy_digest(load_gate(arguments.policy or Workspace(arguments.workspace).params))
    entries = read_to_write(store, name)
    version = resolve(entries, selector)
    approve(store, name, version, policy=policy, sign=sign)
    print_line(f"{name}@v{version_number(entries, version)} is approved under the policy {policy[:12]}…")


def _rollback(arguments: Arguments) -> None:
    from fair_distill.registry.channels import version_number
    from fair_distill.registry.ledger import read_ledger
    from fair_distill.registry.retraction import rollback

    store, name, channel = _open_reference(arguments)
    skipped: list[str] = []
    with begin_operation(arguments, "rollback", name, channel) as (actor, operation):
        entry = rollback(
            store,
            name,
            channel,
            reason=arguments.reason,
            actor=actor,
            on_skip=skipped.append,
        )
        number = version_number(read_ledger(store, name), entry.version)
    for line in skipped:
        print_line(f"fair-distill: skipped {line}", error=True)
    _note_repetition(operation, f"entry {entry.number}")
    if arguments.json:
        print_document(entry.to_json())
        return
    print_line(f"{name}@{channel} is now v{number}")


def _demote(arguments: Arguments) -> None:
    from fair_distill.errors import Refused
    from fair_distill.registry.channels import current, version_number, written_by
    from fair_distill.registry.ledger import read_to_write
    from fair_distill.registry.retraction import demote

    store, name, channel = _open_reference(arguments)
    with begin_operation(arguments, "demote", name, channel) as (actor, operation):
        entries = read_to_write(store, name)
        repeated = written_by(entries, actor.nonce, event="demote", channel=channel)
        version = repeated.version if repeated else current(entries, channel)
        if version is None:
            raise Refused(f"{name}: channel {channel} has no version, so there is nothing to demote")
        entry = demote(store, name, version, channel, reason=arguments.reason, actor=actor)
    _note_repetition(operation, f"entry {entry.number}")
    if arguments.json:
        print_document(entry.to_json())
        return
    print_line(f"{name}@{channel} is now empty; v{version_number(entries, version)} was demoted: {arguments.reason}")


def _revoke(arguments: Arguments) -> None:
    from fair_distill.registry.channels import channels, current, resolve, version_number
    from fair_distill.registry.ledger import read_to_write
    from fair_distill.registry.retraction import revoke

    store, name, selector = _open_reference(arguments)
    with begin_operation(arguments, "revoke", name, selector) as (actor, _):
        entries = read_to_write(store, name)
        version = resolve(entries, selector)
        entry = revoke(store, name, version, reason=arguments.reason, actor=actor)
    number = version_number(entries, entry.version)
    live = [channel for channel in channels(entries) if current(entries, channel) == version]
    if arguments.json:
        print_document(entry.to_json())
    else:
        print_line(f"{name}@v{number} is revoked: {entry.reason}")
    report_affected(arguments, entry, number, live)


def report_affected(arguments: Arguments, entry: "Entry", number: int, live: "list[str]") -> None:
    """Print whom a revocation affects, and call the webhook. A failure is reported; the version stays revoked."""
    from fair_distill.registry.consumers import KnownConsumers
    from fair_distill.registry.webhook import call_webhook, revocation_message

    known = KnownConsumers((), ())
    try:
        known = known_consumers(arguments, entry.name, entry.version)
    except FairDistillError as error:
        print_line(f"fair-distill: v{number} is revoked; its consumers could not be listed: {error}", error=True)
    if not arguments.json:
        for channel in live:
            print_line(
                f"affected: {entry.name}@{channel} still names v{number}; promote another version or roll it back"
            )
        print_consumers(known, number)
    print_unread(known)
    try:
        if call_webhook(revocation_message(entry, number, channels=live, consumers=known.consumers)):
            print_line("the webhook was called", error=arguments.json)
    except FairDistillError as error:
        print_line(f"fair-distill: v{number} is revoked; the webhook was not called: {error}", error=True)


def _note_repetition(operation: "Operation", entry: str) -> None:
    """Report that the command continued an operation, so that the user does not take it for a second one."""
    if operation.repeated:
        print_line(
            f"fair-distill: this command continued operation {operation.id}, whose result was unknown. It wrote "
            f"{entry} once. To start another operation, run the command again",
            error=True,
        )


def _keygen(arguments: Arguments) -> None:
    from fair_distill.statements import new_key

    private, public = new_key()
    try:
        # O_EXCL never overwrites another key. The mode applies from the start, so other users can never read the file.
        with open(os.open(arguments.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(private)
    except OSError as error:
        raise ConfigError(f"cannot write the key {arguments.file}: {error.strerror}") from None
    print_line(public)


def _gc(arguments: Arguments) -> None:
    from datetime import UTC, datetime

    from fair_distill.files import write_bytes
    from fair_distill.registry.client_state import cache_folder
    from fair_distill.registry.garbage_collection import GarbageRecord, Head, KnownHeads, check_ledgers, garbage, remove
    from fair_distill.registry.layout import RECORD_NAME
    from fair_distill.registry.lookup import trusted_keys
    from fair_distill.registry.pins import read_pins
    from fair_distill.registry.store import open_registry

    store = open_registry(arguments.registry)
    confirmed = dict(Head.parse(text, option="--confirm-head") for text in arguments.confirm_head)
    known_heads = KnownHeads(arguments.registry, cache_folder(), arguments.anchor, confirmed, trusted_keys(None))
    pinned = [pin.version for pin in read_pins(arguments.lock)]
    now = datetime.now(UTC)
    heads = check_ledgers(store, known_heads, now=now)
    if arguments.look.exists():
        record = GarbageRecord.from_json(arguments.look.read_bytes(), name=str(arguments.look))
        removed = remove(store, record, now=now, delete=store.remove, pinned=pinned)
        arguments.look.unlink()
        print_line(f"removed {len(removed)} unused files")
    else:
        complete = RECORD_NAME in heads
        record = GarbageRecord(now, garbage(store, now=now, pinned=pinned, examples=complete), heads)
        if not complete and store.list("attempts/examples/", at_most=1):
            print_line("files of examples stay: this machine has not read the record of attempts", error=True)
        write_bytes(arguments.look, record.to_json())
        print_line(f"{len(record.keys)} files are unused; run this command again in a day to remove them")


def _open_reference(arguments: Arguments) -> "tuple[Writer, str, str]":
    """Return the registry, opened for writing, the name of the dataset, and the part of the reference after the @."""
    from fair_distill.registry.entry import check_name
    from fair_distill.registry.writer import open_to_write

    name, _, selector = arguments.reference.partition("@")
    if not selector:
        raise ConfigError(
            f"the reference is {arguments.reference!r}; add a channel or version, as in {name}@production"
        )
    return open_to_write(arguments.registry), check_name(name), selector
