"""The section `gate` in the text of params.yaml, which `gate plan --write` replaces. Other sections keep their text."""

import re

from fair_distill.config.gate import Gate
from fair_distill.config.yaml_dialect import write_yaml
from fair_distill.errors import ConfigError

_WIDTH = 120
# Comment lines, the line of the key, and indented or empty lines.
_SECTION = re.compile(r"(?m)^(?:#[^\n]*\n)*gate:[^\n]*\n(?:[ \t][^\n]*\n|\n(?=[ \t\n]))*")


def with_gate(text: str, policy: Gate, *, comment: str, name: str) -> str:
    """Return the text of params.yaml with this policy as the section `gate`.

    The comment lines before the section go too, because they explain the limits that are replaced.

    Parameters
    ----------
    comment : one line, without `#`, that is written above the section
    name : the file, for the error message

    Raises
    ------
    ConfigError
        If the text has no section `gate` that starts a line.
    """
    if not text.endswith("\n"):
        text += "\n"
    section = _SECTION.search(text)
    if section is None:
        raise ConfigError(
            f"{name} has no section `gate` at the start of a line; add `gate:`, or edit the limits yourself"
        )
    plain = policy.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    written = write_yaml({"gate": plain}, width=_WIDTH)
    rest = text[section.end() :].lstrip("\n")
    return f"{text[: section.start()]}# {comment}\n{written}{chr(10) if rest else ''}{rest}"
