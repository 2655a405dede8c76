"""Text for people: guards against foreign text, numbers, tables, and the sentence for an invalid value.

Foreign text comes from a card, a ledger, a verdict, a table or another server. Each output has one guard here: a
terminal, Markdown, a table in a notebook, or a message that quotes an address.
"""

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

# The schemes of stores; see `fair_distill.storage.schemes`.
_STORES = ("file", "s3")
# Replaces a number that was not measured.
ABSENT = "–"

# Control characters (with ESC), format characters (with overrides of the writing direction), lone surrogates,
# private use, and line separators. The two joiners are part of words in some languages.
_UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"
# Quotes and punctuation of the surrounding sentence are not part of an address.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+?(?=['\"),.;:]*(?:\s|$))")
# Characters with a meaning in Markdown or in the HTML that Markdown may contain, and the start of links and mentions.
_MARKUP = re.compile(r"[\\`*\[\]<>|~$&@]|://|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?i:\bwww\.)")
# Many renderers read HTML even after a backslash, and tables read a `|`. No renderer reads an entity as markup.
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "|": "&#124;", "@": "&#64;", "://": "&#58;//"}
_LONGEST_VALUE = 80
# The subject of pydantic's sentences.
_SHOULD = re.compile("^(Input|List|Dictionary|Tuple|String) should ")


def printable(text: str) -> str:
    """Return text for one line of a terminal, with escapes for characters that move the cursor or hide other text.

    A new line becomes `\\n`, ESC becomes `\\x1b`, U+202E becomes `\\u202e`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(character) if _hides(character) else character for character in text)


def json_printable(text: str) -> str:
    """Return JSON text with the same value, in which characters that are unsafe on a terminal are `\\uXXXX`."""
    if text.isascii():
        return text
    return "".join(
        _json_escaped(character) if not character.isascii() and _hides(character) else character for character in text
    )


def markdown(text: str) -> str:
    """Return text for a line or a table cell of Markdown, with all markup, links and HTML escaped."""
    return _MARKUP.sub(_as_text, printable(text))


def markdown_table(header: Sequence[object], rows: Iterable[Sequence[object]], *, align: str = "") -> str:
    """Return a Markdown table that ends with a new line.

    Parameters
    ----------
    header, rows : the cells, which already are Markdown: escape foreign text with `markdown`
    align : one letter per column, `l` or `r`; columns without a letter have no alignment
    """
    marks = [{"l": "---", "r": "--:"}[letter] for letter in align] + ["---"] * (len(header) - len(align))
    return "".join(f"| {' | '.join(map(str, cells))} |\n" for cells in (header, marks, *rows))


def html_table(header: Sequence[object], rows: Iterable[Sequence[object]], *, caption: str = "") -> str:
    """Return an HTML table of plain text, which is escaped, for a notebook."""

    def row(tag: str, cells: Sequence[object]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(printable(str(cell)))}</{tag}>" for cell in cells) + "</tr>"

    title = f"<caption>{html.escape(printable(caption))}</caption>" if caption else ""
    return f"<table>{title}{row('th', header)}{''.join(row('td', cells) for cells in rows)}</table>"


def percent(value: float | None, digits: int = 1, *, unit: str = " %", signed: bool = False) -> str:
    """Return a fraction in per cent, for example `12.5 %`, or a dash for None.

    Parameters
    ----------
    digits : after the decimal point
    unit : appended to the number; "" for a table whose header names the unit
    signed : write the sign of positive numbers too, for differences
    """
    return ABSENT if value is None else f"{decimal(100 * value, digits, signed=signed)}{unit}"


def decimal(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """Return a number with a fixed number of digits after the decimal point, or a dash for None."""
    return ABSENT if value is None else f"{value:{'+' if signed else ''}.{digits}f}"


def quoted(value: object) -> str:
    """Return the `repr` of a value for a message: one line of at most 80 characters."""
    text = printable(repr(value))
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def validation_sentence(error: "ValidationError", *, within: str = "") -> str:
    """Return the first fault that pydantic reports as a sentence, and the number of further faults.

    For example `seed is -1; it must be greater than or equal to 0 (and 1 more error)`.

    Parameters
    ----------
    within : the dotted key that contains the validated value
    """
    faults = error.errors(include_url=False)
    fault = faults[0]
    # Members of a union are named like a type, `list[str]` or `constrained-str`; a reader looks for the key above them.
    names = [" ".join(str(name).split()) for name in fault["loc"]]
    keys = [name for name in names if "[" not in name and not name.startswith("constrained-")]
    key = ".".join(filter(None, (within, *keys)))
    count = len(faults) - 1
    more = f" (and {count} more error{'s' if count > 1 else ''})" if count else ""
    return f"{_fault(fault, key)}{more}"


def _fault(fault: Any, key: str) -> str:
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key} is not a known key; remove it or correct its spelling"
    if fault["type"] in ("missing", "missing_keyword_only_argument"):
        return f"{key} is missing; add it"
    message = " ".join(fault["msg"].removeprefix("Value error, ").split())
    if fault["type"] == "value_error":
        return f"{key}: {message}" if key else message
    rule = _SHOULD.sub("it must ", message)
    return f"{key or 'the value'} is {quoted(fault['input'])}; {rule[0].lower()}{rule[1:]}"


def without_secrets(text: str) -> str:
    """Return text in which no address has a user, a password, a query or a fragment.

    A password may contain any character, so everything up to the last @ of an address counts as credentials.
    """
    return _ADDRESS.sub(lambda match: address_without_secrets(match[0]), text)


def address_without_secrets(address: str) -> str:
    """Return an address without user, password, query and fragment, for a message; see `without_secrets`.

    In addresses of stores, `#` is an ordinary character of a key or of a file name.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    credentials, at_sign, location = rest.rpartition("@")
    if re.search(r"[?#]", credentials):
        # The last @ can be part of a password with a question mark, or of a query, so no part is safe to show.
        return f"{scheme}://..."
    end = r"\?" if scheme.lower() in _STORES else "[?#]"
    path, *query = re.split(end, location, maxsplit=1)
    return f"{scheme}://{'...@' if at_sign else ''}{path}{'?...' if query else ''}"


def _as_text(match: re.Match[str]) -> str:
    if match[0].lower() == "www.":
        return f"{match[0][:3]}&#46;"
    return _ENTITIES.get(match[0], f"\\{match[0]}")


def _hides(character: str) -> bool:
    return unicodedata.category(character) in _UNPRINTABLE and character not in _JOINERS


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()


def _json_escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def mixed_attribute(name: str) -> str:
    """Return the name of an attribute of which a merged group has several values: no figure may be by its values."""
    return f"{name} (merged)"
