"""The registry's commands: publish, promote, demote, roll back, revoke; verify, pin, look and compare."""

import argparse
import os
from pathlib import Path
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
    sub.add_argument("--anchor", type=Path, metavar="FILE", help="a head of the ledger, kept elsewhere by `head`")
    add_registry(sub)
    add_json(sub)
    sub = add_command(commands, "head", _head, "print the ledger's newest entry by digest, to be kept elsewhere")
    sub.add_argument("name", help="a dataset")
    _add_key(sub)
    add_registry(sub)
    sub = add_command(commands, "key", _key, "make a key to sign with; print the public key to declare")
    sub.add_argument("file", type=Path, help="where the private key goes")
    sub = add_command(commands, "pin", _pin, "write what a reference means now into the lock file")
    sub.add_argument("reference", help="dataset@channel, dataset@v3")
    _add_lock(sub)
    add_registry(sub)
    sub = add_command(commands, "diff", _diff, "say what differs between two versions: data, params, groups")
    for letter in "ab":
        sub.add_argument(letter, metavar=letter.upper(), help="dataset@channel, dataset@v3")
    sub.add_argument("--picture", type=Path, metavar="FILE", help="also draw both sets, side by side, into a PNG")
    add_registry(sub)
    sub = add_command(commands, "card", _card, "print the dataset card of a version, in Markdown")
    sub.add_argument("reference", help="dataset@channel, dataset@v3")
    sub.add_argument("--croissant", action="store_true", help="as Croissant metadata (JSON-LD), for catalogues")
    add_registry(sub)
    sub = add_command(commands, "evidence", _evidence, "pack all that is known of a version into one file, verified")
    sub.add_argument("reference", help="dataset@channel, dataset@v3")
    sub.add_argument("--out", type=Path, metavar="FILE", help="a ZIP archive (default: named by the reference, here)")
    add_registry(sub)
    sub = add_command(commands, "gc", _gc, "remove what crashed publications left; the first time only look")
    sub.add_argument("look", type=Path, metavar="FILE", help="what was found the first time; removed the second")
    _add_lock(sub)
    add_registry(sub)
    sub = add_command(commands, "outdated", _outdated, "say which pins mean another version now; 1 if any does")
    _add_lock(sub)
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
    sub = add_command(commands, "demote", _demote, "take a version off a channel, which then has none")
    sub.add_argument("reference", help="dataset@channel")
    sub.add_argument("--reason", required=True, help="what consumers will read")
    _add_acting(sub)


def _add_key(sub: argparse.ArgumentParser) -> None:
    default = os.environ.get("FAIR_DISTILL_SIGNING_KEY")
    sub.add_argument(
        "--key", type=Path, default=default, metavar="FILE", help="signs with it (default: FAIR_DISTILL_SIGNING_KEY)"
    )


def _add_lock(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--lock", type=Path, default=Path("fair-distill.lock"), metavar="FILE", help="the lock file")


def _add_acting(sub: argparse.ArgumentParser) -> None:
    add_registry(sub)
    add_json(sub)
    _add_key(sub)
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

    checked = verify(arguments.reference, registry=arguments.registry, anchor=arguments.anchor)
    if arguments.json:
        print_json([asdict(one) for one in checked])
        return
    print(f"{arguments.reference}: {len(checked)} files, {sum(c.size for c in checked):,} bytes, all as they should be")


def _head(arguments: Arguments) -> None:
    from fair_distill.registry.client import head
    from fair_distill.registry.statements import signer

    statement = head(arguments.name, registry=arguments.registry)
    content = signer(Path(arguments.key))(statement) if arguments.key else statement.to_json()
    print(content.decode(), end="")


def _key(arguments: Arguments) -> None:
    from fair_distill.errors import ConfigError
    from fair_distill.registry.statements import new_key

    private, public = new_key()
    try:
        # Never over another key, and never readable by others, not even for a moment.
        with open(os.open(arguments.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(private)
    except OSError as error:
        raise ConfigError(f"cannot write the key {arguments.file}: {error.strerror}") from None
    print(public)


def _pin(arguments: Arguments) -> None:
    from fair_distill.registry.client import look_up
    from fair_distill.registry.pins import pin
    from fair_distill.registry.store import locate

    found = look_up(arguments.reference, registry=arguments.registry)
    pin(arguments.lock, arguments.reference, found.version, registry=locate(arguments.registry))
    print(f"{arguments.reference} is v{found.number} in {arguments.lock}: {found.version}")


def _diff(arguments: Arguments) -> None:
    from fair_distill.artifacts import write_bytes
    from fair_distill.registry.client import look_up
    from fair_distill.registry.compare import compare

    a, b = (look_up(one, registry=arguments.registry, revoked=True) for one in (arguments.a, arguments.b))
    if a.version == b.version:
        print(f"{arguments.a} and {arguments.b} are both v{a.number}; nothing differs")
        return
    found = compare(a, b)
    print(f"{arguments.a} is v{a.number}, {arguments.b} is v{b.number}")
    for change in found.changed:
        print(f"  {change.what}: {change.a} → {change.b}")
    for pair in found.groups:
        print(f"  {pair.network}, {pair.group}: {_interval(pair.a)} → {_interval(pair.b)}{' *' if pair.apart else ''}")
    for change in found.metrics:
        print(f"  {change.what}: {_rate(change.a)} → {_rate(change.b)}")
    if any(pair.apart for pair in found.groups):
        print("  * the intervals do not meet")
    if arguments.picture:
        from fair_distill.report.pair import pair_png

        write_bytes(arguments.picture, pair_png(a.set, b.set))


def _interval(group: Any) -> str:
    if group is None or group.accuracy is None:
        return "not measured"
    return _rate(group.accuracy) + (f" ({_rate(group.low)} to {_rate(group.high)})" if group.low is not None else "")


def _rate(value: Any) -> str:
    return "not measured" if value is None else f"{100 * value:.1f} %"


def _card(arguments: Arguments) -> None:
    from fair_distill.registry.client import look_up
    from fair_distill.registry.croissant import croissant
    from fair_distill.registry.page import dataset_card
    from fair_distill.registry.store import locate

    found = look_up(arguments.reference, registry=arguments.registry)
    if arguments.croissant:
        print_json(croissant(found, base=locate(arguments.registry).rstrip("/")))
        return
    print(dataset_card(found), end="")


def _evidence(arguments: Arguments) -> None:
    from fair_distill.artifacts import sha256, write_bytes
    from fair_distill.registry.evidence import evidence

    content = evidence(arguments.reference, registry=arguments.registry)
    out = arguments.out or Path(f"{arguments.reference.replace('/', '-').replace('@', '-').replace(':', '-')}.zip")
    write_bytes(out, content)
    print(f"{out}: {len(content):,} bytes, SHA-256 {sha256(content)}")


def _gc(arguments: Arguments) -> None:
    from datetime import UTC, datetime

    from fair_distill.artifacts import write_bytes
    from fair_distill.registry.garbage import Look, garbage, remove
    from fair_distill.registry.pins import read_pins
    from fair_distill.registry.store import locate, open_store

    store = open_store(locate(arguments.registry))
    pinned = [one.version for one in read_pins(arguments.lock)]
    now = datetime.now(UTC)
    if arguments.look.exists():
        look = Look.from_json(arguments.look.read_bytes(), name=str(arguments.look))
        gone = remove(store, look, now=now, delete=store.remove, pinned=pinned)
        arguments.look.unlink()
        print(f"{len(gone)} contents that belonged to nothing are removed")
    else:
        look = Look(now, garbage(store, pinned=pinned))
        write_bytes(arguments.look, look.to_json())
        print(f"{len(look.keys)} contents belong to nothing; the same command in a day removes what still does")


def _outdated(arguments: Arguments) -> int:
    from fair_distill.registry.pins import outdated, read_pins

    pins = read_pins(arguments.lock)
    found = outdated(pins)
    for one in found:
        now = f"v{one.now} now" if one.now else "nothing now"
        print(f"{one.pin.reference} is pinned to v{one.number}, and is {now}{f': {one.why}' if one.why else ''}")
    if not found:
        print(f"{len(pins)} pins, all up to date")
    return 1 if found else 0


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


def _demote(arguments: Arguments) -> None:
    from fair_distill.errors import Refused
    from fair_distill.registry.channels import current, version_number
    from fair_distill.registry.ledger import read_ledger
    from fair_distill.registry.release import demote

    store, name, channel = _named(arguments)
    entries = read_ledger(store, name)
    version = current(entries, channel)
    if version is None:
        raise Refused(f"{name}: nothing is demoted from {channel}: nothing is in force there")
    hand = _hand(arguments)
    entry = demote(store, name, version, channel, reason=arguments.reason, who=hand.who, now=hand.now, nonce=hand.nonce)
    if arguments.json:
        print(entry.to_json().decode(), end="")
        return
    print(f"{name}@{channel} is nothing now: v{version_number(entries, version)} was demoted: {arguments.reason}")


def _hand(arguments: Arguments) -> "Hand":
    from datetime import UTC, datetime
    from uuid import uuid4

    from fair_distill.stages import Hand

    sign = None
    if arguments.key:
        from fair_distill.registry.statements import signer

        sign = signer(Path(arguments.key))
    return Hand(arguments.who, datetime.now(UTC), uuid4().hex, sign)


def _named(arguments: Arguments) -> Any:
    """The store, the dataset and what stands after the @."""
    from fair_distill.errors import ConfigError
    from fair_distill.registry.store import locate, open_store

    name, _, selector = arguments.reference.partition("@")
    if not selector:
        raise ConfigError(f"{arguments.reference!r}: something after an @ was wanted")
    return open_store(locate(arguments.registry)), name, selector
