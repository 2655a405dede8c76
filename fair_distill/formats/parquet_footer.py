"""The row groups that the footer of a Parquet file lists, read without the C++ library.

The library ends the process on some damaged footers when it is asked for the metadata of a column, and that cannot be
caught. Reading the rows with it raises an error instead.
"""

from dataclasses import dataclass
from typing import Any

from fair_distill.formats.parquet_pages import read_struct

_END = b"PAR1"
# The fields of the structs FileMetaData, RowGroup, ColumnChunk and ColumnMetaData.
_ROW_GROUPS, _COLUMNS, _ROWS, _META_DATA = 4, 1, 3, 3
_VALUES, _COMPRESSED_SIZE, _DATA_OFFSET, _DICTIONARY_OFFSET = 5, 7, 9, 11


@dataclass(frozen=True)
class ColumnChunk:
    """One column of a row group.

    Attributes
    ----------
    values : the number of values, nulls included
    start : the position of the first page in the file
    size : bytes of all pages, compressed
    """

    values: int
    start: int
    size: int


@dataclass(frozen=True)
class RowGroup:
    """Some rows of a file, with a chunk for each column."""

    rows: int
    columns: tuple[ColumnChunk, ...]


def row_groups(content: bytes) -> tuple[RowGroup, ...]:
    """Return the row groups of a file. Raises ValueError if its footer is not valid."""
    length = int.from_bytes(content[-8:-4], "little")
    if content[-4:] != _END or length > len(content) - 12:
        raise ValueError("its footer is not valid")
    footer, _ = read_struct(content[-8 - length : -8], 0, lists=True)
    return tuple(_row_group(group) for group in _items(footer, _ROW_GROUPS))


def _row_group(group: dict[int, Any]) -> RowGroup:
    chunks = []
    for column in _items(group, _COLUMNS):
        fields = column.get(_META_DATA)
        if not isinstance(fields, dict):
            raise ValueError("a column has no metadata in the footer")
        start, dictionary = _number(fields, _DATA_OFFSET), fields.get(_DICTIONARY_OFFSET)
        if type(dictionary) is int and 0 < dictionary < start:
            start = dictionary
        chunks.append(ColumnChunk(_number(fields, _VALUES), start, _number(fields, _COMPRESSED_SIZE)))
    return RowGroup(_number(group, _ROWS), tuple(chunks))


def _items(fields: dict[int, Any], key: int) -> list[dict[int, Any]]:
    items = fields.get(key)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError("its footer lists no row groups or columns")
    return items


def _number(fields: dict[int, Any], key: int) -> int:
    value = fields.get(key)
    if type(value) is not int or value < 0:
        raise ValueError("its footer has no size, offset or number of rows")
    return value
