"""`fair-distill export`: write what the registry knows of a version, in the formats of other tools."""

import argparse
from pathlib import Path

from fair_distill.cli.arguments import add_reference, add_registry
from fair_distill.cli.output import print_json, print_line, print_page
from fair_distill.cli.parser import Arguments, Parser


def add_commands(parser: Parser) -> None:
    """Add the group and its commands."""
    export = parser.add_command("export", None, "describe a version for others: card, croissant, evidence")
    command = export.add_command(
        "card",
        _card,
        "print the dataset card of a version, as Markdown",
        examples=[("fair-distill export card digits@production > CARD.md", "a card for the users of the dataset")],
    )
    add_reference(command)
    # Released versions wrote `card --croissant`.
    command.add_argument("--croissant", action="store_true", help=argparse.SUPPRESS)
    add_registry(command)
    command = export.add_command(
        "croissant",
        _croissant,
        "print Croissant metadata of a version (JSON-LD), for data catalogues",
        examples=[("fair-distill export croissant digits@production > croissant.json", "an entry for a catalogue")],
    )
    add_reference(command)
    add_registry(command)
    command = export.add_command(
        "evidence",
        _evidence,
        "verify a version and write all its evidence to one ZIP file",
        examples=[("fair-distill export evidence digits@v3 --out digits-v3.zip", "a complete file for an auditor")],
    )
    add_reference(command)
    command.add_argument(
        "--out", type=Path, metavar="FILE", help="the ZIP file (default: the reference, in the current folder)"
    )
    add_registry(command)


def _card(arguments: Arguments) -> None:
    from fair_distill.registry.client import look_up
    from fair_distill.registry.export.dataset_card import dataset_card

    if arguments.croissant:
        _croissant(arguments)
        return
    print_page(dataset_card(look_up(arguments.reference, registry=arguments.registry)))


def _croissant(arguments: Arguments) -> None:
    from fair_distill.registry.client import look_up
    from fair_distill.registry.export.croissant import croissant

    version = look_up(arguments.reference, registry=arguments.registry)
    print_json(croissant(version, base=arguments.registry.partition("?")[0].rstrip("/")))


def _evidence(arguments: Arguments) -> None:
    from fair_distill.files import sha256, write_bytes
    from fair_distill.registry.export.evidence_bundle import evidence

    content = evidence(arguments.reference, registry=arguments.registry)
    out = arguments.out or Path(f"{arguments.reference.replace('/', '-').replace('@', '-').replace(':', '-')}.zip")
    write_bytes(out, content)
    print_line(f"{out}: {len(content):,} bytes, SHA-256 {sha256(content)}")
