"""Foreign text made safe for the place where it is shown: a terminal, Markdown, a message with an address in it.

Foreign is whatever a card, a ledger, a verdict, a table or another server says. Each place has one function here, and
everything that shows foreign text there calls it. HTML has `html.escape` of the standard library.
"""

import re
import unicodedata

# Control characters (ESC among them), format characters (overrides of the writing direction among them), lone
# surrogates, private use, and separators of lines. The two joiners are part of words in some languages.
_UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"
# Quotes and punctuation of the sentence around it are not part of an address.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+?(?=['\"),.;:]*(?:\s|$))")
# What has a meaning in Markdown or in the HTML that Markdown may contain, and what becomes a link or a mention.
_MARKUP = re.compile(r"[\\`*\[\]<>|~$&@]|://|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?i:\bwww\.)")
# Many readers take HTML also after a backslash, and tables a `|`. No reader takes an entity for markup.
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "|": "&#124;", "@": "&#64;", "://": "&#58;//"}


def printable(text: str) -> str:
    """Return a text for one line of a terminal: what would move the cursor or hide other text is written as an escape.

    A new line becomes `\\n`, ESC becomes `\\x1b`, U+202E becomes `\\u202e`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(character) if _hides(character) else character for character in text)


def json_printable(text: str) -> str:
    """Return JSON text with the same value, in which characters that a terminal must not see are `\\uXXXX`."""
    if text.isascii():
        return text
    return "".join(_json_escaped(one) if not one.isascii() and _hides(one) else one for one in text)


def markdown(text: str) -> str:
    """Return a text for a line or a table cell of Markdown, in which nothing of it is markup, a link or HTML."""
    return _MARKUP.sub(_as_text, printable(text))


def _as_text(match: re.Match[str]) -> str:
    if match[0].lower() == "www.":
        return f"{match[0][:3]}&#46;"
    return _ENTITIES.get(match[0], f"\\{match[0]}")


def without_secrets(text: str) -> str:
    """Return a text in which no address has a user, a password, a query or a fragment.

    A password may contain any character, so everything up to the last @ of an address is taken for credentials.
    """
    return _ADDRESS.sub(lambda match: address_without_secrets(match[0]), text)


def address_without_secrets(address: str) -> str:
    """Return an address without user, password, query and fragment, for a message; see `without_secrets`."""
    scheme, found, rest = address.partition("://")
    if not found:
        return address
    credentials, at, rest = rest.rpartition("@")
    place = re.split(r"[?#]", rest, maxsplit=1)
    hidden = "?..." if len(place) > 1 or re.search(r"[?#]", credentials) else ""
    return f"{scheme}://{'...@' if at else ''}{place[0]}{hidden}"


def _hides(character: str) -> bool:
    return unicodedata.category(character) in _UNPRINTABLE and character not in _JOINERS


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()


def _json_escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
