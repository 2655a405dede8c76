"""Write the reference pages that are generated from the code: the commands and the keys of params.yaml.

    python docs/reference.py

The documentation build writes these pages again, and a test compares the checked-in pages with the code.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from fair_distill.cli import build_parser
from fair_distill.cli.parser import Parser
from fair_distill.config import Config

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"


def commands() -> str:
    """Return every command with its arguments, from the parser."""
    parser = build_parser()
    lines = [
        "# Commands\n",
        "Run `fair-distill --help` for the list of commands, and `fair-distill COMMAND --help` for one of them. Global "
        "options go before the command:\n",
        *_arguments(parser),
        "\nEarlier spellings, such as `fair-distill distill` for `fair-distill stage distill`, still "
        "work. [Exit codes](exit-codes.md) explains the exit codes.\n",
    ]
    for names, command in _leaves(parser, ()):
        usage = " ".join(command.format_usage().removeprefix("usage: ").split())
        lines.append(
            f"## fair-distill {' '.join(names)}\n\n{' '.join((command.description or '').split())}\n\n"
            f"```text\n{usage}\n```\n"
        )
        lines += _arguments(command)
        lines.append("")
    return "\n".join(lines)


def _leaves(parser: Parser, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Parser]]:
    if not parser.subcommands:
        yield names, parser
    for name, command in parser.subcommands.items():
        yield from _leaves(command, (*names, name))


def _arguments(command: Parser) -> list[str]:
    listed = [
        argument for argument in command.arguments if argument.dest != "help" and argument.help != argparse.SUPPRESS
    ]
    return [f"- {_signature(argument)}: {_meaning(argument)}" for argument in listed]


def _signature(argument: argparse.Action) -> str:
    if not argument.option_strings:
        return f"`{argument.metavar or argument.dest}`"
    value = argument.metavar or argument.dest.upper()
    options = ", ".join(f"`{option}`" for option in argument.option_strings)
    return options if argument.nargs == 0 else f"{options} `{value}`"


def _meaning(argument: argparse.Action) -> str:
    return (argument.help or "").replace("%%", "%")


def params() -> str:
    """Return every key of params.yaml with its type and meaning, from the sections and the repository's params.yaml."""
    lines = [
        "# params.yaml, key by key\n",
        "This page lists the keys of `params.yaml`. Everything that changes a result is in this file; the code has no "
        "defaults. Every key is required unless it is marked *optional*, and an unknown key is an error. A *choice* is "
        "a name, or `{name: NAME, …}` with its options. The available names are on the pages "
        "[methods](methods.md) and, for sources of data, [your own data](own-data.md).\n",
    ]
    comments = _comments()
    for key, field in Config.model_fields.items():
        top = field.alias or key
        sections = _kinds(field.annotation)
        kind = _upper(_type(field.annotation))
        if not sections:
            lines.append(f"## {top}\n\n{kind}{f': {comments[top]}' if top in comments else ''}.\n")
            continue
        path = f"{top}.NAME." if kind.startswith("Names") else f"{top}."
        lines.append(f"## {top}\n")
        for section in sections:
            lines += [f"{_about(section)}\n", "| key | type | meaning |", "|---|---|---|"]
            lines += [
                f"| `{path}{name}` | {type_} | {text} |" for name, type_, text in _keys(section, "", comments, top)
            ]
            lines.append("")
    return "\n".join(lines)


def _keys(section: type[BaseModel], before: str, comments: dict[str, str], top: str) -> Iterator[tuple[str, str, str]]:
    meanings = _meanings(section)
    for key, field in section.model_fields.items():
        name = f"{before}{field.alias or key}"
        below = _section(field.annotation)
        text = meanings.get(key) or comments.get(f"{top}.{name}") or ("" if below is None else _about(below))
        yield name, f"{_type(field.annotation)}{'' if field.is_required() else ', *optional*'}", text
        if below is not None:
            yield from _keys(below, f"{name}.", comments, top)


def _comments() -> dict[str, str]:
    """Return the comments of the repository's params.yaml, by the key on the same line: `a`, or `a.b` below it."""
    comments: dict[str, str] = {}
    top = ""
    for line in PARAMS.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"(  )?(\w+):.*?(?:\s#\s+(.*))?$", line):
            inner, key, comment = match.groups()
            top = top if inner else key
            if comment and top != "data":  # The comments on `data` are about the demo.
                comments[f"{top}.{key}" if inner else key] = comment.replace("|", "\\|")
    return comments


def _about(section: type[BaseModel]) -> str:
    """Return the text of a section's docstring before its attributes."""
    if section.__doc__ in (None, BaseModel.__doc__):
        return ""
    return " ".join(str(section.__doc__).partition("Attributes\n")[0].split())


def _meanings(section: type[BaseModel]) -> dict[str, str]:
    """Return the meanings of keys in a section's docstring."""
    attributes = (section.__doc__ or "").partition("Attributes\n")[2]
    entries = re.findall(r"^ +([\w, ]+) : (.+(?:\n {8,}.+)*)", attributes, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for names, text in entries for name in names.split(", ")}


def _section(kind: Any) -> type[BaseModel] | None:
    """Return the section in an annotation, which can be one of several types; None if there is none."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return None if kind.__name__ == "Named" else kind
    return next((inner for part in get_args(kind) if (inner := _section(part)) is not None), None)


def _kinds(annotation: Any) -> list[type[BaseModel]]:
    """Return the sections in an annotation: one, or several that a key can have, such as the kinds of candidates."""
    named = get_args(annotation)[-1] if get_origin(annotation) is dict else annotation
    union = get_args(named)[0] if hasattr(named, "__metadata__") else named
    members = get_args(union) if isinstance(union, UnionType) else (annotation,)
    sections = map(_section, members)
    return [section for section in sections if section is not None]


_PLAIN = {"NoneType": "null", "str": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}


def _type(kind: Any) -> str:
    origin, parts = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        name = "a choice" if kind.__name__ == "Named" else "a section"
    elif hasattr(kind, "__metadata__"):
        name = _type(parts[0])
    elif origin is None:
        name = _PLAIN.get(kind.__name__, kind.__name__)
    elif origin is Literal:
        name = " or ".join(f"`{part}`" for part in parts)
    elif origin in (Union, UnionType):
        name = " or ".join(map(_type, parts))
    elif origin is dict:
        name = f"names, each with {_type(parts[1])}"
    else:
        name = f"a list, each {_type(parts[0])}"
    return name


def _upper(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


PAGES = {"commands.md": commands, "params.md": params}


def write(folder: Path) -> None:
    """Write the pages into a folder, unless they are up to date."""
    for name, page in PAGES.items():
        path, text = folder / name, page().rstrip() + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).parent)
