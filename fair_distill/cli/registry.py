"""The commands that write to a registry: publish, approve, promote, demote, roll back, revoke, collect garbage."""

import argparse
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fair_distill.cli.arguments import (
    Arguments,
    Commands,
    add_command,
    add_floor,
    add_json,
    add_key,
    add_lock,
    add_registry,
    open_workspace,
)
from fair_distill.cli.show import print_document, print_json, say

if TYPE_CHECKING:
    from fair_distill.registry.actor import Actor
    from fair_distill.registry.operations import Operation
    from fair_distill.registry.writer import Writer
    from fair_distill.statements import Signer

_OPERATION = re.compile(r"[A-Za-z0-9_-]{8,64}")


def add_commands(commands: Commands) -> None:
    text = "put the release candidate into the registry, under its digest, for good"
    _add_acting(add_command(commands, "publish", _publish, text))
    text = "sign that you agree to a version, for a channel that asks for it"
    sub = add_command(commands, "approve", _approve, text)
    sub.add_argument("reference", help="dataset@v3, dataset@sha256:...")
    sub.add_argument("--policy", type=Path, metavar="FILE", help="that it is approved under (default: params.yaml)")
    add_registry(sub)
    add_key(sub)
    text = "judge the release candidate again and promote it, if the gate lets it"
    sub = add_command(commands, "promote", _promote, text)
    sub.add_argument("--to", required=True, metavar="CHANNEL", help="a channel under release in params.yaml")
    sub.add_argument("--reason", default="", help="why the channel moves, for who reads the ledger")
    add_floor(sub)
    _add_acting(sub)
    for name, run, reference, text in (
        ("rollback", _rollback, "dataset@channel", "return a channel to the version it had before"),
        ("demote", _demote, "dataset@channel", "take a version off a channel, which then has none"),
        ("revoke", _revoke, "dataset@v3, dataset@sha256:...", "withdraw a version from every consumer, for good"),
    ):
        sub = add_command(commands, name, run, text)
        sub.add_argument("reference", help=reference)
        sub.add_argument("--reason", required=True, help="what consumers will read")
        _add_acting(sub)
    sub = add_command(commands, "key", _key, "make a key to sign with; print the public key to declare")
    sub.add_argument("file", type=Path, help="where the private key goes")
    sub = add_command(commands, "gc", _gc, "remove what crashed publications left; the first time only look")
    sub.add_argument("look", type=Path, metavar="FILE", help="what was found the first time; removed the second")
    sub.add_argument(
        "--anchor",
        type=Path,
        action="append",
        default=[],
        metavar="HEAD",
        help="a head of a ledger, kept elsewhere by `head`; once for each dataset that this machine does not remember",
    )
    sub.add_argument(
        "--confirm-head",
        action="append",
        default=[],
        metavar="NAME=NUMBER:DIGEST",
        help="states that a dataset's ledger is complete up to this entry; NAME=0: nothing was ever published",
    )
    add_lock(sub)
    add_registry(sub)


def _add_acting(sub: argparse.ArgumentParser) -> None:
    add_registry(sub)
    add_json(sub)
    add_key(sub)
    sub.add_argument("--who", default=os.environ.get("USER", "unknown"), help="the name the ledger keeps")
    sub.add_argument(
        "--operation", metavar="ID", help="repeat an operation that was not answered; its message names the id"
    )


def _publish(arguments: Arguments) -> None:
    from fair_distill import stages

    workspace, config = open_workspace(arguments)
    with _acting(arguments, "publish", config.dataset) as (actor, _):
        done = stages.publish(workspace, config, registry=arguments.registry, actor=actor)
    if arguments.json:
        print_json({"dataset": config.dataset, "number": done.number, "version": done.version, "new": done.new})
        return
    say(f"{config.dataset}@v{done.number} {'published' if done.new else 'was published already'}: {done.version}")


def _promote(arguments: Arguments) -> None:
    from fair_distill import stages

    workspace, config = open_workspace(arguments)
    with _acting(arguments, "promote", config.dataset, arguments.to) as (actor, _):
        done = stages.promote(
            workspace,
            config,
            arguments.to,
            registry=arguments.registry,
            actor=actor,
            floor=arguments.policy_floor,
            reason=arguments.reason,
        )
    if arguments.json:
        shown = {"channel": done.channel, "number": done.number, "version": done.version, "new": done.new}
        print_json({"dataset": config.dataset, **shown})
        return
    say(f"{config.dataset}@{done.channel} {'is now' if done.new else 'is already'} v{done.number}")


def _approve(arguments: Arguments) -> None:
    from fair_distill.config import load_gate
    from fair_distill.errors import ConfigError
    from fair_distill.gate.policy import policy_digest
    from fair_distill.registry.approvals import approve
    from fair_distill.registry.channels import resolve, version_number
    from fair_distill.registry.ledger import read_to_write
    from fair_distill.workspace import Workspace

    sign = _signer(arguments)
    if sign is None:
        raise ConfigError("an approval is signed; name your key with --key or FAIR_DISTILL_SIGNING_KEY")
    store, name, selector = _named(arguments)
    policy = policy_digest(load_gate(arguments.policy or Workspace(arguments.workspace).params))
    entries = read_to_write(store, name)
    version = resolve(entries, selector)
    approve(store, name, version, policy=policy, sign=sign)
    say(f"{name}@v{version_number(entries, version)} is approved under the policy {policy[:12]}…")


def _key(arguments: Arguments) -> None:
    from fair_distill.errors import ConfigError
    from fair_distill.statements import new_key

    private, public = new_key()
    try:
        # Never over another key, and never readable by others, not even for a moment.
        with open(os.open(arguments.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(private)
    except OSError as error:
        raise ConfigError(f"cannot write the key {arguments.file}: {error.strerror}") from None
    say(public)


def _gc(arguments: Arguments) -> None:
    from datetime import UTC, datetime

    from fair_distill.files import write_bytes
    from fair_distill.registry.client_state import cache_folder
    from fair_distill.registry.garbage_collection import GarbageRecord, Head, KnownHeads, check_ledgers, garbage, remove
    from fair_distill.registry.lookup import trusted_keys
    from fair_distill.registry.pins import read_pins
    from fair_distill.registry.store import open_registry

    store = open_registry(arguments.registry)
    confirmed = dict(Head.parse(text, option="--confirm-head") for text in arguments.confirm_head)
    known_heads = KnownHeads(arguments.registry, cache_folder(), arguments.anchor, confirmed, trusted_keys(None))
    pinned = [one.version for one in read_pins(arguments.lock)]
    now = datetime.now(UTC)
    heads = check_ledgers(store, known_heads, now=now)
    if arguments.look.exists():
        record = GarbageRecord.from_json(arguments.look.read_bytes(), name=str(arguments.look))
        gone = remove(store, record, now=now, delete=store.remove, pinned=pinned)
        arguments.look.unlink()
        say(f"{len(gone)} contents that belonged to nothing are removed")
    else:
        record = GarbageRecord(now, garbage(store, now=now, pinned=pinned), heads)
        write_bytes(arguments.look, record.to_json())
        say(f"{len(record.keys)} contents belong to nothing; the same command in a day removes what still does")


def _rollback(arguments: Arguments) -> None:
    from fair_distill.registry.channels import version_number
    from fair_distill.registry.ledger import read_ledger
    from fair_distill.registry.retraction import rollback

    store, name, channel = _named(arguments)
    skipped: list[str] = []
    with _acting(arguments, "rollback", name, channel) as (actor, operation):
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
        say(f"fair-distill: skipped {line}", error=True)
    _show_repeated(operation, f"entry {entry.number}")
    if arguments.json:
        print_document(entry.to_json())
        return
    say(f"{name}@{channel} is now v{number}")


def _revoke(arguments: Arguments) -> None:
    from fair_distill.registry.channels import resolve, version_number
    from fair_distill.registry.ledger import read_to_write
    from fair_distill.registry.retraction import revoke

    store, name, selector = _named(arguments)
    with _acting(arguments, "revoke", name, selector) as (actor, _):
        entries = read_to_write(store, name)
        version = resolve(entries, selector)
        entry = revoke(store, name, version, reason=arguments.reason, actor=actor)
    if arguments.json:
        print_document(entry.to_json())
        return
    say(f"{name}@v{version_number(entries, entry.version)} is revoked: {entry.reason}")


def _demote(arguments: Arguments) -> None:
    from fair_distill.errors import Refused
    from fair_distill.registry.channels import current, version_number, written_by
    from fair_distill.registry.ledger import read_to_write
    from fair_distill.registry.retraction import demote

    store, name, channel = _named(arguments)
    with _acting(arguments, "demote", name, channel) as (actor, operation):
        entries = read_to_write(store, name)
        done = written_by(entries, actor.nonce, event="demote", channel=channel)
        version = done.version if done else current(entries, channel)
        if version is None:
            raise Refused(f"{name}: nothing is demoted from {channel}: nothing is in force there")
        entry = demote(store, name, version, channel, reason=arguments.reason, actor=actor)
    _show_repeated(operation, f"entry {entry.number}")
    if arguments.json:
        print_document(entry.to_json())
        return
    say(f"{name}@{channel} is nothing now: v{version_number(entries, version)} was demoted: {arguments.reason}")


def _show_repeated(operation: "Operation", entry: str) -> None:
    """Say that a command continued an operation, so that nobody takes it for another one."""
    if operation.repeated:
        say(
            f"fair-distill: this is the operation {operation.id} again, which had no answer: it is {entry}, written "
            "once. For another operation run the command again",
            error=True,
        )


def _signer(arguments: Arguments) -> "Signer | None":
    if not arguments.key:
        return None
    from fair_distill.statements import signer

    return signer(Path(arguments.key))


@contextmanager
def _acting(arguments: Arguments, *act: str) -> "Iterator[tuple[Actor, Operation]]":
    """Give the actor of a command, under the operation that the command begins or continues."""
    from datetime import UTC, datetime
    from uuid import uuid4

    from fair_distill.errors import ConfigError
    from fair_distill.registry.actor import Actor
    from fair_distill.registry.client_state import cache_folder
    from fair_distill.registry.operations import operation

    chosen, now = arguments.operation, datetime.now(UTC)
    if chosen is not None and not _OPERATION.fullmatch(chosen):
        raise ConfigError(f"--operation is {chosen!r}; pass the id that the message of the first command names")
    folder, url = cache_folder(), arguments.registry
    with operation(folder, act, url=url, now=now, new=uuid4().hex, chosen=chosen) as this:
        yield Actor(arguments.who, now, this.id, _signer(arguments)), this


def _named(arguments: Arguments) -> "tuple[Writer, str, str]":
    """The store, the dataset and what stands after the @."""
    from fair_distill.errors import ConfigError
    from fair_distill.registry.entry import check_name
    from fair_distill.registry.writer import open_to_write

    name, _, selector = arguments.reference.partition("@")
    if not selector:
        raise ConfigError(f"{arguments.reference!r}: something after an @ was wanted")
    return open_to_write(arguments.registry), check_name(name), selector
