"""The registry's commands: publish, promote, verify, rollback, revoke."""

import argparse
import os
from typing import TYPE_CHECKING, Any

from fair_distill.cli.arguments import Arguments, Commands, add_command, add_json, add_registry, open_workspace
from fair_distill.cli.gate import add_floor
from fair_distill.cli.show import print_json

if TYPE_CHECKING:
    from fair_distill.stages import Hand


def add_commands(commands: Commands) -> None:
    text = "put the release candidate into the registry, under its digest, for good"
    _add_acting(add_command(commands, "publish", _publish, text))
    text = "judge the release candidate again and promote it, if the gate lets it"
    sub = add_command(commands, "promote", _promote, text)
    sub.add_argument("--to", required=True, metavar="CHANNEL", help="a channel under release in params.yaml")
    add_floor(sub)
    _add_acting(sub)
    sub = add_command(commands, "verify", _verify, "check every byte that the registry has of a dataset or a version")
    sub.add_argument("reference", help="a dataset, or dataset@channel, dataset@v3, dataset@sha256:...")
    add_registry(sub)
    add_json(sub)
    for name, run, text in (
        ("rollback", _rollback, "return a channel to the version it had before"),
        ("revoke", _revoke, "withdraw a version from every consumer, for good"),
    ):
        sub = add_command(commands, name, run, text)
        sub.add_argument(
            "reference", help="dataset@channel" if name == "rollback" else "dataset@v3, dataset@sha256:..."
        )
        sub.add_argument("--reason", required=True, help="what consumers will read")
        _add_acting(sub)


def _add_acting(sub: argparse.ArgumentParser) -> None:
    add_registry(sub)
    add_json(sub)
    sub.add_argument("--who", default=os.environ.get("USER", "unknown"), help="the name the ledger keeps")


def _publish(arguments: Arguments) -> None:
    from fair_distill import stages
    from fair_distill.registry.store import locate

    workspace, config = open_workspace(arguments)
    where = locate(arguments.registry, beside=workspace.root)
    done = stages.publish(workspace, config, registry=where, hand=_hand(arguments))
    if arguments.json:
        print_json({"dataset": config.dataset, "number": done.number, "version": done.version, "new": done.new})
        return
    print(f"{config.dataset}@v{done.number} {'published' if done.new else 'was published already'}: {done.version}")


def _promote(arguments: Arguments) -> None:
    from fair_distill import stages
    from fair_distill.registry.store import locate

    workspace, config = open_workspace(arguments)
    where = locate(arguments.registry, beside=workspace.root)
    hand, floor = _hand(arguments), arguments.policy_floor
    done = stages.promote(workspace, config, arguments.to, registry=where, hand=hand, floor=floor)
    if arguments.json:
        said = {"channel": done.channel, "number": done.number, "version": done.version, "new": done.new}
        print_json({"dataset": config.dataset, **said})
        return
    print(f"{config.dataset}@{done.channel} {'is now' if done.new else 'is already'} v{done.number}")


def _verify(arguments: Arguments) -> None:
    from dataclasses import asdict

    from fair_distill.registry.client import verify

    checked = verify(arguments.reference, registry=arguments.registry)
    if arguments.json:
        print_json([asdict(one) for one in checked])
        return
    print(f"{arguments.reference}: {len(checked)} files, {sum(c.size for c in checked):,} bytes, all as they should be")


def _rollback(arguments: Arguments) -> None:
    from fair_distill.registry.channels import version_number
    from fair_distill.registry.ledger import read_ledger
    from fair_distill.registry.release import rollback

    store, name, channel = _named(arguments)
    hand = _hand(arguments)
    entry = rollback(store, name, channel, reason=arguments.reason, who=hand.who, now=hand.now, nonce=hand.nonce)
    if arguments.json:
        print(entry.to_json().decode(), end="")
        return
    print(f"{name}@{channel} is now v{version_number(read_ledger(store, name), entry.version)}")


def _revoke(arguments: Arguments) -> None:
    from fair_distill.registry.channels import resolve, version_number
    from fair_distill.registry.ledger import read_ledger
    from fair_distill.registry.release import revoke

    store, name, selector = _named(arguments)
    entries = read_ledger(store, name)
    hand = _hand(arguments)
    entry = revoke(
        store, name, resolve(entries, selector), reason=arguments.reason, who=hand.who, now=hand.now, nonce=hand.nonce
    )
    if arguments.json:
        print(entry.to_json().decode(), end="")
        return
    print(f"{name}@v{version_number(entries, entry.version)} is revoked: {entry.reason}")


def _hand(arguments: Arguments) -> "Hand":
    from datetime import UTC, datetime
    from uuid import uuid4

    from fair_distill.stages import Hand

    return Hand(arguments.who, datetime.now(UTC), uuid4().hex)


def _named(arguments: Arguments) -> Any:
    """The store, the dataset and what stands after the @."""
    from fair_distill.errors import ConfigError
    from fair_distill.registry.store import locate, open_store

    name, _, selector = arguments.reference.partition("@")
    if not selector:
        raise ConfigError(f"{arguments.reference!r}: something after an @ was wanted")
    return open_store(locate(arguments.registry)), name, selector
