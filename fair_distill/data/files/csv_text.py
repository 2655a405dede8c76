"""The text of a CSV file: its dialect, its header, and a check that every quoted value ends.

The parser of Arrow reads on to the next quote if a value is not closed, so thousands of rows could become part of one
value. `count_rows` therefore checks the quotes before any row is used. It follows RFC 4180, except that quotes inside
an unquoted value are ordinary characters, as pandas and Excel read them.
"""

import csv
import gzip
import io
import re
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO, Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from pydantic import AfterValidator, Field

from fair_distill.config import Section
from fair_distill.config.sections import DataText
from fair_distill.data.columns import unique_names
from fair_distill.data.files.input_file import InputFile
from fair_distill.errors import ConfigError, DataError

_BLOCK = 4 * 2**20
# The longest line, and the longest value, in bytes. Arrow refuses rows that do not fit into its block.
_MAX_LINE = 2**24
_GZIP_MARK = b"\x1f\x8b"
_UTF8_MARK = b"\xef\xbb\xbf"
_OTHER_MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_QUOTE, _LF, _CR = (ord(character) for character in '"\n\r')
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_QUOTE_HINT = "A quote inside a quoted value is written twice; remove a quote that does not belong there"


class Csv(Section):
    """How to read a CSV file without a header, or in an unusual dialect. Keys that are not set have the usual meaning.

    Attributes
    ----------
    names : the names of the columns, if the file has no header
    delimiter : the character between two values; by default a comma, and in a .tsv file a tab
    comment : lines that start with this text are skipped
    strip : characters to remove from both ends of text; spaces around numbers are always removed
    missing : texts that mean a missing value
    """

    names: Annotated[tuple[DataText, ...], Field(min_length=1, strict=False), AfterValidator(unique_names)] | None = (
        None
    )
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    comment: Annotated[str, Field(min_length=1)] | None = None
    strip: Annotated[str, Field(min_length=1)] | None = None
    missing: Annotated[tuple[DataText, ...], Field(strict=False)] = ()

    def delimiter_of(self, file: InputFile) -> str:
        """Return the delimiter of a file."""
        usual = "\t" if file.name.lower().endswith((".tsv", ".tsv.gz")) else ","
        delimiter = self.delimiter or usual
        if not delimiter.isascii() or delimiter in '"\r\n':
            raise ConfigError(
                f"params.yaml: data.source.csv.delimiter is {delimiter!r}; it must be an ASCII character, and neither "
                "a quote nor a line break. Save the file with another delimiter"
            )
        return delimiter


def clean_text(column: pa.ChunkedArray, dialect: Csv, *, numeric: bool) -> pa.ChunkedArray:
    """Return a text column stripped, and null where it is missing. Of numbers, only spaces are stripped."""
    characters = " \t" if numeric else dialect.strip
    if characters is not None:
        column = pa.compute.utf8_trim(column, characters=characters)
    missing = pa.compute.is_in(column, value_set=pa.array(["", *dialect.missing]))
    return pa.compute.if_else(missing, pa.scalar(None, pa.string()), column)


def open_content(file: InputFile, dialect: Csv) -> "io.BufferedReader[Any]":
    """Open the bytes of a CSV file, gzipped or not, from its first line that is neither empty nor a comment."""
    content, comment = _open_unpacked(file), dialect.comment
    # The reader uses each read as a block, so without a buffer every line would be a block.
    lines: io.BufferedReader[Any] = (
        content if comment is None else io.BufferedReader(_WithoutComments(content, comment.encode()))
    )
    while lines.peek(1)[:1] in (b"\r", b"\n"):
        lines.read(1)
    return lines


def open_native(file: InputFile, dialect: Csv) -> pa.NativeFile:
    """Open the same bytes as `open_content` without Python.

    Arrow reads ahead in a thread. If that thread waited for Python while the process ends, it would abort the process.
    """
    if dialect.comment is not None:
        with tempfile.NamedTemporaryFile() as copy, open_content(file, dialect) as content:
            shutil.copyfileobj(content, copy, _BLOCK)
            copy.flush()
            return pa.OSFile(copy.name)
    with open_content(file, dialect) as content:
        start = content.tell()
    native = pa.OSFile(str(file.path))
    if native.read(2) != _GZIP_MARK:
        native.seek(start)
        return native
    native.seek(0)
    unpacked = pa.CompressedInputStream(native, "gzip")
    unpacked.read(start)
    return unpacked


def _open_unpacked(file: InputFile) -> "io.BufferedReader[Any]":
    content: io.BufferedReader[Any] = file.path.open("rb")
    if content.peek(2)[:2] == _GZIP_MARK:
        content.close()
        content = io.BufferedReader(gzip.open(file.path))  # noqa: SIM115 (the caller closes it)
    start = content.peek(4)[:4]
    for mark, encoding in _OTHER_MARKS.items():
        if start.startswith(mark):
            raise DataError(f"{file} is not a readable csv file: its text is {encoding}. Save it as CSV UTF-8")
    if start.startswith(_UTF8_MARK):
        content.read(len(_UTF8_MARK))
    return content


class _WithoutComments(io.RawIOBase):
    """A file without the lines that start with a comment."""

    def __init__(self, lines: "io.BufferedReader[Any]", comment: bytes) -> None:
        self._lines, self._comment, self._pending = lines, comment, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._pending:
            line = self._lines.readline()
            if not line:
                return 0
            if not line.startswith(self._comment):
                self._pending = memoryview(line)
        n = min(len(buffer), len(self._pending))
        buffer[:n], self._pending = self._pending[:n], self._pending[n:]
        return n

    def close(self) -> None:
        self._lines.close()
        super().close()


def header_of(file: InputFile, dialect: Csv) -> list[str]:
    """Return the names of the columns. Only the header is parsed, so other lines cannot cause errors."""
    if dialect.names is not None:
        return list(dialect.names)
    with open_content(file, dialect) as content:
        header = content.readline(_MAX_LINE)
        # A name may contain line breaks in quotes.
        while header.count(b'"') % 2 and (line := content.readline(_MAX_LINE)) and len(header) < _MAX_LINE:
            header += line
    try:
        text = header.decode()
    except UnicodeDecodeError:
        raise DataError(f"{file} is not a readable csv file: its header is not UTF-8. Save it as CSV UTF-8") from None
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter_of(file)), [])


def count_rows(file: InputFile, dialect: Csv) -> int:
    """Return the number of rows without the header, after checking the quotes.

    Raises
    ------
    DataError
        If a quoted value is not closed, is followed by other characters, or contains whole rows. The message has the
        line.
    """
    records = _count_simple(file, dialect)
    if records is None:
        records = sum(1 for _ in _records(file, dialect))
    return records - (dialect.names is None)


def explain(file: InputFile, dialect: Csv, fault: str) -> None:
    """Raise DataError with the line of the first row with another number of values, or that is not UTF-8, if any.

    Parameters
    ----------
    fault : the message of Arrow's parser, which has no line
    """
    width = 0
    for line, values in _records(file, dialect):
        width = width or (len(values) if dialect.names is None else len(dialect.names))
        if len(values) != width:
            raise DataError(
                f"{file} is not a readable csv file: line {line} has {len(values)} values, but the "
                f"{'header' if dialect.names is None else 'option csv.names'} has {width}. Correct the line, or "
                "params.yaml: data.source.csv"
            )
        if "UTF8" in fault and not _is_utf8("".join(values)):
            raise DataError(f"{file} is not a readable csv file: line {line} is not UTF-8. Save it as CSV UTF-8")


def _is_utf8(latin: str) -> bool:
    try:
        latin.encode("latin-1").decode()
    except UnicodeDecodeError:
        return False
    return True


def _count_simple(file: InputFile, dialect: Csv) -> int | None:
    """Return the number of records; None if the file needs the exact check, such as for a line break in a value.

    Works on blocks of whole lines, in which every quoted value must start and end.
    """
    separators = np.frombuffer(dialect.delimiter_of(file).encode() + b'\n\r"', np.uint8)
    records = 0
    with open_content(file, dialect) as content:
        while block := content.read(_BLOCK):
            block += content.readline(_MAX_LINE)
            count = _count_block(block, separators)
            if count is None:
                return None
            records += count
    return records


def _count_block(block: bytes, separators: Any) -> int | None:
    if block.count(b"\r") != block.count(b"\r\n"):
        return None
    letters = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(letters == _LF)
    if _QUOTE in block:
        quotes = np.flatnonzero(letters == _QUOTE)
        if len(quotes) % 2 or (np.searchsorted(quotes, ends) % 2).any():
            return None
        first, last = quotes[::2], quotes[1::2]
        before = letters[first[first > 0] - 1]
        after = letters[last[last < len(letters) - 1] + 1]
        if not (np.isin(before, separators).all() and np.isin(after, separators).all()):
            return None
    starts = np.concatenate([[0], ends + 1])
    lengths = np.append(ends, len(letters)) - starts
    # A line with only a carriage return is empty too.
    lengths[lengths == 1] -= letters[starts[lengths == 1]] == _CR
    return int((lengths > 0).sum())


class _Lines:
    """Iterates the lines of a file as Latin-1, which keeps every byte, and counts them, with those that are skipped.

    Attributes
    ----------
    number : of the line that was yielded last, from 1
    start : the first line of the record that is being read
    in_record : whether the record is not complete yet, so that the next line continues a quoted value
    """

    def __init__(self, content: IO[bytes], comment: str | None, name: str) -> None:
        self._text = io.TextIOWrapper(content, encoding="latin-1", newline="")
        self._comment = None if comment is None else comment.encode().decode("latin-1")
        self._name = name
        self.number = self.start = 0
        self.in_record = False

    def __iter__(self) -> Iterator[str]:
        for line in self._text:
            self.number += 1
            if self._comment is not None and line.startswith(self._comment):
                if self.in_record:
                    raise DataError(
                        f"{self._name} is not a readable csv file: line {self.number} is in a quoted value, but starts "
                        "like a comment. Close the quote before it, or change params.yaml: data.source.csv.comment"
                    )
                continue
            if not self.in_record:
                self.start, self.in_record = self.number, True
            yield line


def _records(file: InputFile, dialect: Csv) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line and the values of each record that is not empty, as Latin-1; see `count_rows` for errors."""
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_LINE))
    delimiter = dialect.delimiter_of(file)
    with _open_unpacked(file) as content:
        lines = _Lines(content, dialect.comment, str(file))
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            try:
                values = next(reader, None)
            except csv.Error as error:
                raise _quote_error(file, lines, str(error)) from None
            if values is None:
                return
            if lines.number > lines.start:
                _check_lines(file, lines.start, values, delimiter)
            if values:
                yield lines.start, values
            lines.in_record = False


def _quote_error(file: InputFile, lines: _Lines, message: str) -> DataError:
    if "expected after" in message:
        fault = f"line {lines.number}: the end of a quoted value is followed by other characters"
        if lines.number > lines.start:
            fault += f", and the value starts in line {lines.start}"
    else:
        fault = f"line {lines.start}: a quoted value is not closed"
    return DataError(f"{file} is not a readable csv file: {fault}. {_QUOTE_HINT}")


def _check_lines(file: InputFile, line: int, values: list[str], delimiter: str) -> None:
    """Refuse a quoted value that contains whole rows: a quote is missing, and another one is too many.

    Two columns are not enough to recognise a row, because a text often has a comma in a line.
    """
    if len(values) <= 2:
        return
    for column, value in enumerate(values):
        lines = value.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if len(lines) == 2:
            first, last = values[:column] + lines[0].split(delimiter), lines[1].split(delimiter) + values[column + 1 :]
            if _look_like_rows(first, last, len(values)):
                raise DataError(
                    f"{file} is not a readable csv file: line {line}: a quoted value contains the end of this row and "
                    f"the start of the next one. {_QUOTE_HINT}"
                )
        inner = lines[1:-1]
        if inner and all(text.count(delimiter) == len(values) - 1 for text in inner):
            raise DataError(
                f"{file} is not a readable csv file: line {line}: a quoted value contains {len(inner)} lines that look "
                f"like rows. {_QUOTE_HINT}"
            )


def _look_like_rows(first: list[str], last: list[str], columns: int) -> bool:
    """Whether two lists of values are both as long as a row and have numbers in the same columns, at least in one."""
    numbers = [[_NUMBER.fullmatch(value.strip()) is not None for value in row] for row in (first, last)]
    return len(first) == len(last) == columns and numbers[0] == numbers[1] and any(numbers[0])
