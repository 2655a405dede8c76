"""The commands that read a registry: verify, log, compare, pin, card, evidence. They need no workspace."""

from pathlib import Path
from typing import Any

from fair_distill.cli.arguments import Arguments, Commands, add_command, add_json, add_key, add_lock, add_registry
from fair_distill.cli.show import print_document, print_json, say, say_page
from fair_distill.errors import ConfigError


def add_commands(commands: Commands) -> None:
    sub = add_command(commands, "verify", _verify, "check every byte that the registry has of a dataset or a version")
    sub.add_argument("reference", help="a dataset, or dataset@channel, dataset@v3, dataset@sha256:...")
    sub.add_argument("--anchor", type=Path, metavar="FILE", help="a head of the ledger, kept elsewhere by `head`")
    add_registry(sub)
    add_json(sub)
    sub = add_command(commands, "log", _log, "print what happened to a dataset's versions: when, by whom and why")
    sub.add_argument("name", help="a dataset")
    add_registry(sub)
    add_json(sub)
    sub = add_command(commands, "head", _head, "print the ledger's newest entry by digest, to be kept elsewhere")
    sub.add_argument("name", help="a dataset")
    add_key(sub)
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
    sub = add_command(commands, "pin", _pin, "write what a reference means now into the lock file")
    sub.add_argument("reference", help="dataset@channel, dataset@v3")
    add_lock(sub)
    add_registry(sub)
    sub = add_command(commands, "outdated", _outdated, "say which pins mean another version now; 1 if any does")
    add_lock(sub)


def _verify(arguments: Arguments) -> None:
    from fair_distill.registry.verify import verify

    checked = verify(arguments.reference, registry=arguments.registry, anchor=arguments.anchor)
    if arguments.json:
        print_json([file.to_dict() for file in checked])
        return
    remarks = [one for one in checked if one.remark]
    for one in remarks:
        say(f"{one.key}: {one.remark}")
    noted = f"; see the {len(remarks)} remarks above" if remarks else ""
    say(
        f"{arguments.reference}: {len(checked)} files, {sum(c.size for c in checked):,} bytes, "
        f"all as they should be{noted}"
    )


def _log(arguments: Arguments) -> None:
    from dataclasses import asdict

    from fair_distill.registry.channels import published
    from fair_distill.registry.verify import log

    entries = log(arguments.name, registry=arguments.registry)
    if arguments.json:
        print_json([asdict(entry) for entry in entries])
        return
    numbers = {version: number for number, version in enumerate(published(entries), start=1)}
    for entry in entries:
        what = f"{entry.event} v{numbers[entry.version]}" if entry.version in numbers else entry.event
        place = f" {'from' if entry.event == 'demote' else 'to'} {entry.channel}" if entry.channel else ""
        say(f"{entry.number:>4}  {entry.time}  {entry.who}: {what}{place}{f': {entry.reason}' if entry.reason else ''}")


def _head(arguments: Arguments) -> None:
    from fair_distill.registry.verify import head
    from fair_distill.statements import signer

    statement = head(arguments.name, registry=arguments.registry)
    content = signer(Path(arguments.key))(statement) if arguments.key else statement.to_json()
    print_document(content)


def _diff(arguments: Arguments) -> None:
    from fair_distill.files import write_bytes
    from fair_distill.registry.client import look_up
    from fair_distill.registry.compare import compare_versions

    a, b = (look_up(one, registry=arguments.registry, revoked=True) for one in (arguments.a, arguments.b))
    if a.version == b.version:
        say(f"{arguments.a} and {arguments.b} are both v{a.number}; nothing differs")
        return
    found = compare_versions(a, b)
    say(f"{arguments.a} is v{a.number}, {arguments.b} is v{b.number}")
    for change in found.changed:
        say(f"  {change.name}: {change.a} → {change.b}")
    for pair in found.groups:
        say(f"  {pair.network}, {pair.group}: {_interval(pair.a)} → {_interval(pair.b)}{' *' if pair.disjoint else ''}")
    for change in found.metrics:
        say(f"  {change.name}: {_rate(change.a)} → {_rate(change.b)}")
    if any(pair.disjoint for pair in found.groups):
        say("  * the intervals do not meet")
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
    from fair_distill.registry.export.croissant import croissant
    from fair_distill.registry.export.dataset_card import dataset_card

    found = look_up(arguments.reference, registry=arguments.registry)
    if arguments.croissant:
        print_json(croissant(found, base=arguments.registry.partition("?")[0].rstrip("/")))
        return
    say_page(dataset_card(found))


def _evidence(arguments: Arguments) -> None:
    from fair_distill.files import sha256, write_bytes
    from fair_distill.registry.export.evidence_bundle import evidence

    content = evidence(arguments.reference, registry=arguments.registry)
    out = arguments.out or Path(f"{arguments.reference.replace('/', '-').replace('@', '-').replace(':', '-')}.zip")
    write_bytes(out, content)
    say(f"{out}: {len(content):,} bytes, SHA-256 {sha256(content)}")


def _pin(arguments: Arguments) -> None:
    from fair_distill.registry.client import look_up
    from fair_distill.registry.pins import pin

    found = look_up(arguments.reference, registry=arguments.registry)
    pin(arguments.lock, arguments.reference, found.version, registry=arguments.registry)
    say(f"{arguments.reference} is v{found.number} in {arguments.lock}: {found.version}")


def _outdated(arguments: Arguments) -> int:
    from fair_distill.registry.pins import outdated, read_pins

    if not arguments.lock.exists():
        raise ConfigError(
            f"{arguments.lock} is missing; `fair-distill pin REFERENCE` writes it, or name another with --lock"
        )
    pins = read_pins(arguments.lock)
    found = outdated(pins)
    for one in found:
        now = f"v{one.now} now" if one.now else "nothing now"
        say(f"{one.pin.reference} is pinned to v{one.number}, and is {now}{f': {one.why}' if one.why else ''}")
    if not found:
        say(f"{len(pins)} pins, all up to date")
    return 1 if found else 0
