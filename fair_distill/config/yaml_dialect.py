"""YAML as DVC reads it: YAML 1.2 scalars, with limits on size, depth and aliases. The only file that reads YAML.

DVC reads params.yaml with ruamel.yaml, where `yes` is text and `012` is 12. A parser with other rules would compare
other values than DVC compares. The text may come from a pull request, so `parse_yaml` never recurses and stops at its
limits. It refuses what the two parsers could understand differently: tags, directives, times of day and line breaks
other than LF and CRLF.
"""

import datetime
import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

MAXIMUM_BYTES = 4_000_000
MAXIMUM_NODES = 1_000_000
# An alias repeats its anchor: aliases of aliases grow exponentially.
MAXIMUM_REPEATED_NODES = 100_000
MAXIMUM_DEPTH = 100
# Python refuses to print integers that are much longer.
MAXIMUM_DIGITS = 1000

# libyaml where PyYAML was built with it: ten times as fast, and the same events.
_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_FLOAT = re.compile(
    r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_INT = re.compile(r"(?:[-+]?0b[01_]+|[-+]?0o?[0-7_]+|[-+]?[0-9_]+|[-+]?0x[0-9a-fA-F_]+)")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}.*")
_BASES = {"0b": 2, "0o": 8, "0x": 16}


class YamlError(ValueError):
    """The text is not YAML, or not within the limits of `parse_yaml`. The message is one line."""


@dataclass
class _Container:
    """A list or mapping that is being read."""

    value: Any
    anchor: str | None
    first_node: int
    key: Any = None
    awaits_value: bool = False
    merged: list[dict[Any, Any]] | None = field(default=None)


# The key `<<`, which only a plain scalar writes.
_MERGE = object()
_WORDS = (
    {"<<": _MERGE}
    | dict.fromkeys(("", "~", "null", "Null", "NULL"))
    | dict.fromkeys(("true", "True", "TRUE"), True)
    | dict.fromkeys(("false", "False", "FALSE"), False)
)


def parse_yaml(text: str) -> dict[Any, Any]:
    """Return the mapping that a text contains, as DVC's parser returns it.

    Raises
    ------
    YamlError
        If the text is not valid YAML, exceeds a limit, repeats a key or uses a feature that this module refuses.
    """
    if len(text) > MAXIMUM_BYTES:
        raise YamlError(f"the text has {len(text):,} characters; at most {MAXIMUM_BYTES:,} are allowed")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if text.startswith("%"):
        raise YamlError("line 1: directives (%YAML, %TAG) are not supported; remove the directive")
    if character := re.search("[\x85\u2028\u2029\ufeff]", text):
        raise YamlError(f"the character U+{ord(character[0]):04X} is not allowed; write it as an escape in quotes")
    try:
        document = _document(text)
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        raise YamlError(" ".join(str(error).split())) from None
    if not isinstance(document, dict):
        kind = "empty" if document is None else f"a {type(document).__name__}"
        raise YamlError(f"the document is {kind}; a mapping of sections is needed")
    return document


@dataclass
class _Reader:
    """Builds the value of a document from the parser's events, with a stack instead of recursion."""

    text: str
    stack: list[_Container] = field(default_factory=list)
    # The value under each complete anchor and the number of nodes in it.
    anchors: dict[str, tuple[Any, int]] = field(default_factory=dict)
    nodes: int = 0
    repeated: int = 0
    result: Any = None

    def start(self, event: Any, line: str) -> None:
        self.nodes += 1
        if len(self.stack) == MAXIMUM_DEPTH:
            raise YamlError(f"{line}: lists and mappings are nested more than {MAXIMUM_DEPTH} deep")
        pair = isinstance(event, yaml.MappingStartEvent) and event.flow_style and event.anchor is None
        # Parsers differ in where the key of a pair without braces ends.
        if pair and self.text[event.start_mark.index] != "{":
            raise YamlError(f"{line}: a pair in a list has no braces; write [{{key: value}}], or quote the text")
        container: Any = [] if isinstance(event, yaml.SequenceStartEvent) else {}
        self.stack.append(_Container(container, event.anchor, self.nodes + self.repeated))
        self.anchors.pop(event.anchor, None)

    def end(self) -> Any:
        container = self.stack.pop()
        value = _complete(container)
        if container.anchor:
            self.anchors[container.anchor] = value, self.nodes + self.repeated - container.first_node + 1
        return value

    def scalar(self, event: Any, line: str) -> Any:
        self.nodes += 1
        value = event.value
        if event.implicit[0]:
            _check_colon(self.text, event, line)
            value = _scalar(value, line)
        if event.anchor:
            self.anchors[event.anchor] = value, 1
        return value

    def alias(self, event: Any, line: str) -> Any:
        if event.anchor not in self.anchors:
            raise YamlError(f"{line}: the alias '*{event.anchor}' has no complete anchor before it")
        value, size = self.anchors[event.anchor]
        self.repeated += size
        return value

    def add(self, value: Any, line: str) -> None:
        if self.nodes > MAXIMUM_NODES:
            raise YamlError(f"{line}: the document has more than {MAXIMUM_NODES:,} values")
        if self.repeated > MAXIMUM_REPEATED_NODES:
            raise YamlError(f"{line}: aliases repeat more than {MAXIMUM_REPEATED_NODES:,} values")
        if self.stack:
            _add(self.stack[-1], value, line)
        else:
            self.result = value


def _document(text: str) -> Any:
    reader, documents = _Reader(text), 0
    events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
    for event in events:
        line = f"line {event.start_mark.line + 1}"
        if getattr(event, "tag", None) is not None:
            raise YamlError(f"{line}: the tag {event.tag[:80]!r} is not supported; remove it, or quote text")
        if getattr(event, "anchor", None) is not None:
            _check_anchor(text, event, line)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise YamlError(f"{line}: a second document starts here; one is allowed")
            if event.version or event.tags:
                raise YamlError(f"{line}: directives (%YAML, %TAG) are not supported; remove the directive")
        elif isinstance(event, yaml.CollectionStartEvent):
            reader.start(event, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            reader.add(reader.end(), line)
        elif isinstance(event, yaml.ScalarEvent):
            reader.add(reader.scalar(event, line), line)
        elif isinstance(event, yaml.AliasEvent):
            reader.add(reader.alias(event, line), line)
    return reader.result


def _check_colon(text: str, event: Any, line: str) -> None:
    """Refuse `[a:, b]`, where one parser reads the text `a:` and another parser reads a mapping."""
    end = event.end_mark.index
    if text[end : end + 1] in (",", "[", "]", "{", "}") and text[end - 1 : end] == ":":
        raise YamlError(f"{line}: a colon is followed by {text[end]!r}; put a space after the colon, or quote the text")


def _check_anchor(text: str, event: Any, line: str) -> None:
    """Refuse a name such as `a:b`, which one parser reads whole and another parser reads up to the colon."""
    end = event.start_mark.index + 1 + len(event.anchor)
    following = text[end : end + 1]
    if following not in ("", " ", "\n", "\t", ",", "]", "}"):
        raise YamlError(
            f"{line}: the anchor name {event.anchor!r} is followed by {following!r}; put a space between them"
        )


def _add(container: _Container, value: Any, line: str) -> None:
    """Add a value to a list, or a key or value to a mapping."""
    if isinstance(container.value, list):
        if value is _MERGE:
            raise YamlError(f"{line}: '<<' is only allowed as a key")
        container.value.append(value)
    elif container.awaits_value:
        container.awaits_value = False
        if container.key is _MERGE:
            container.merged = _mappings(value, line)
        elif value is _MERGE:
            raise YamlError(f"{line}: '<<' is only allowed as a key")
        else:
            container.value[container.key] = value
    else:
        if not isinstance(value, Hashable):
            raise YamlError(f"{line}: a key is a {type(value).__name__}; only scalars can be keys")
        if value in container.value or (value is _MERGE and container.merged is not None):
            raise YamlError(f"{line}: the key {'<<' if value is _MERGE else str(value)[:80]!r} occurs twice")
        container.key, container.awaits_value = value, True


def _mappings(value: Any, line: str) -> list[dict[Any, Any]]:
    mappings = value if isinstance(value, list) else [value]
    if not all(isinstance(mapping, dict) for mapping in mappings):
        raise YamlError(f"{line}: '<<' needs a mapping, or a list of mappings")
    return mappings


def _complete(container: _Container) -> Any:
    """Return the value, with the keys that `<<` adds. Keys of the mapping win over these."""
    if container.merged is None:
        return container.value
    merged: dict[Any, Any] = {}
    for mapping in reversed(container.merged):
        merged |= mapping
    return merged | container.value


def _scalar(text: str, line: str) -> Any:
    """Return the value of a plain scalar by the rules of YAML 1.2 as ruamel.yaml has them."""
    if text in _WORDS:
        return _WORDS[text]
    if text == "=":
        raise YamlError(f"{line}: '=' without quotes is not supported; quote it")
    return _number(text, line) if text[0] in "+-.0123456789" else text


def _number(text: str, line: str) -> Any:
    """Return a number or date, or the text if it is neither."""
    if len(text) > MAXIMUM_DIGITS and not text.strip("+-._0123456789abcdefABCDEFxo"):
        raise YamlError(f"{line}: a number has {len(text):,} characters; at most {MAXIMUM_DIGITS:,} are allowed")
    if _TIME.fullmatch(text):
        raise YamlError(f"{line}: the time {text[:80]!r} is not supported; quote it")
    try:
        if _FLOAT.fullmatch(text):
            return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
        if _INT.fullmatch(text):
            return _integer(text.replace("_", ""))
        return datetime.date.fromisoformat(text) if _DATE.fullmatch(text) else text
    except ValueError:
        raise YamlError(f"{line}: {text[:80]!r} is not a number or date; quote it to get text") from None


def _integer(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    digits = text.removeprefix("-") if sign < 0 else text.removeprefix("+")
    base = _BASES.get(digits[:2], 10)
    return sign * int(digits[2:] if base != 10 else digits, base)


def write_yaml(value: dict[str, Any], *, width: int) -> str:
    """Return a mapping as YAML in blocks, with its keys in their order."""
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=width))
