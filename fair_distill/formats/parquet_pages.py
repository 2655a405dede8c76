"""The sizes and counts that a Parquet file claims for its pages, read before anything is decompressed.

The footer has the number of values of each column, and a page header has the decoded size of the page. The writer may
have set both to any number, and a decoder allocates memory by the page header: one megabyte of Zstandard or of run
lengths can claim ten gigabytes. So the headers of all pages are read first, and compared with the expected size [1]_.

References
----------
.. [1] Apache Parquet, "Page header" and "Thrift compact protocol encoding".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# More than a file of 4 GB has with the usual pages of 1 MB. Reading more headers would take seconds.
_MAX_PAGES = 65_536
_MAX_DEPTH = 8
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
# PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY: the decoded size of a value depends only on its type. In
# DELTA_BYTE_ARRAY, a value of two bytes can repeat a megabyte of the previous value.
_ENCODINGS = {0, 2, 3, 8}
# The bytes of booleans, whose type contains their value, of bytes and of floating point numbers.
_FIXED_SIZES = {1: 0, 2: 0, 3: 1, 7: 8}


@dataclass(frozen=True)
class Pages:
    """The pages of one column in one row group.

    Attributes
    ----------
    values : values in data pages, nulls and empty lists included
    size : bytes of all pages after decompression
    """

    values: int
    size: int


def pages_of(content: bytes, start: int, length: int) -> Pages:
    """Return the totals of the page headers of a column chunk. Raises ValueError for headers that we never write."""
    values = size = 0
    for page in _headers(content, start, length):
        size += _number(page, 2)
        kind = _number(page, 1)
        if kind == _DICTIONARY:
            continue
        if kind not in (_DATA, _DATA_V2):
            raise ValueError(f"a page is of type {kind}; expected data or a dictionary")
        # The first field of either version is the number of values; the second or the fourth is the encoding.
        header = page.get(5 if kind == _DATA else 8)
        if not isinstance(header, dict):
            raise ValueError("a data page has no header")
        encoding = _number(header, 2 if kind == _DATA else 4)
        if encoding not in _ENCODINGS:
            raise ValueError(f"a page has encoding {encoding}; expected plain values, run lengths or a dictionary")
        values += _number(header, 1)
    return Pages(values, size)


def _headers(content: bytes, start: int, length: int) -> Iterator[dict[int, Any]]:
    position, end = start, start + length
    if not 0 <= start <= end <= len(content):
        raise ValueError("a column begins or ends outside of the file")
    for _ in range(_MAX_PAGES):
        if position >= end:
            return
        header, position = read_struct(content, position)
        position += _number(header, 3)
        if position > end:
            raise ValueError("a page ends outside of its column")
        yield header
    raise ValueError(f"a column has more than {_MAX_PAGES:,} pages")


def _number(fields: dict[int, Any], key: int) -> int:
    value = fields.get(key)
    if type(value) is not int or value < 0:
        raise ValueError("a page header has no size, type or number of values")
    return value


def read_struct(content: bytes, position: int, depth: int = 0, *, lists: bool = False) -> tuple[dict[int, Any], int]:
    """Return the integers and structs of a struct in Thrift's compact protocol, by field, and where it ends.

    Parameters
    ----------
    lists : also return lists. Page headers have none
    """
    fields: dict[int, Any] = {}
    key = 0
    while True:
        head, position = _byte(content, position)
        if head == 0:
            return fields, position
        if head >> 4:
            key += head >> 4
        else:
            key, position = _integer(content, position)
        if key in fields:  # readers differ in which of two values they use
            raise ValueError("a header has the same field twice")
        fields[key], position = _value(content, position, head & 15, depth, lists=lists)


def _value(content: bytes, position: int, kind: int, depth: int, *, lists: bool) -> tuple[Any, int]:
    if depth > _MAX_DEPTH:
        raise ValueError("a page header is nested too deep")
    if kind in _FIXED_SIZES:
        return None, position + _FIXED_SIZES[kind]
    if kind in (4, 5, 6):
        value, position = _integer(content, position)
        # The numbers of a footer have 64 bits. The C++ library ignores a field of another type.
        return (None if lists and kind != 6 else value), position
    if kind == 8:
        length, position = _varint(content, position)
        if length > len(content) - position:
            raise ValueError("a page header ends outside of the file")
        return None, position + length
    if kind == 12:
        return read_struct(content, position, depth + 1, lists=lists)
    if kind == 9 and lists:
        return _list(content, position, depth + 1)
    # The other types are sets and maps, which no header has, and lists, which page headers do not have.
    raise ValueError("a page header has a field of an unknown type")


def _list(content: bytes, position: int, depth: int) -> tuple[list[Any], int]:
    head, position = _byte(content, position)
    count, kind = head >> 4, head & 15
    if count == 15:
        count, position = _varint(content, position)
    if count > len(content) - position:
        raise ValueError("a list ends outside of the file")
    values = []
    for _ in range(count):
        # In a list, a boolean is a byte.
        value, position = (None, position + 1) if kind in (1, 2) else _value(content, position, kind, depth, lists=True)
        values.append(value)
    return values, position


def _integer(content: bytes, position: int) -> tuple[int, int]:
    zigzag, position = _varint(content, position)
    return (zigzag >> 1) ^ -(zigzag & 1), position


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte, position = _byte(content, position)
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise ValueError("a page header has a number of more than 64 bits")


def _byte(content: bytes, position: int) -> tuple[int, int]:
    if not 0 <= position < len(content):
        raise ValueError("a page header ends outside of the file")
    return content[position], position + 1
