"""Readers of foreign tables in Parquet, Arrow and CSV: some of the columns, in batches of rows.

Every batch is validated in full before it is used, because invalid offsets in a file could otherwise crash the process.
"""

import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet
from pydantic import Field

from fair_distill.config import Section
from fair_distill.data.files.input_file import InputFile, one_line
from fair_distill.errors import ConfigError, DataError

TABLES = (".parquet", ".arrow", ".feather", ".csv")

# Rows of a batch whose values have unknown sizes, such as encoded images.
_ROWS_OF_UNKNOWN_SIZE = 256
# The largest number of rows of a batch with text.
_MAX_TEXT_ROWS = 2**15
# The assumed size of a text, in bits.
_TEXT_BITS = 64 * 8
# A row of pixels must fit into one block.
_CSV_BLOCK = 4 * 2**20


class Csv(Section):
    """How to read a CSV file without a header, or in an unusual dialect. Keys that are not set have the usual meaning.

    Attributes
    ----------
    names : the names of the columns, if the file has no header
    delimiter : the character between two values
    comment : lines that start with this text are skipped
    strip : characters to remove from both ends of text; spaces around numbers are always removed
    missing : texts that mean a missing value
    """

    names: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    comment: Annotated[str, Field(min_length=1)] | None = None
    strip: Annotated[str, Field(min_length=1)] | None = None
    missing: Annotated[tuple[str, ...], Field(strict=False)] = ()


def clean_text(column: pa.ChunkedArray, csv: Csv, *, numeric: bool) -> pa.ChunkedArray:
    """Return a text column stripped, and null where it is missing. Of numbers, only spaces are stripped."""
    characters = " \t" if numeric else csv.strip
    if characters is not None:
        column = pa.compute.utf8_trim(column, characters=characters)
    missing = pa.compute.is_in(column, value_set=pa.array(["", *csv.missing]))
    return pa.compute.if_else(missing, pa.scalar(None, pa.string()), column)


def is_csv(file: InputFile, csv: Csv | None) -> bool:
    """Whether a table is a CSV file, by its suffix or because params.yaml has CSV options for it."""
    return _format(file, csv) == ".csv"


def column_type(file: InputFile, column: str, csv: Csv | None = None) -> pa.DataType:
    """Return the type of a column. In a CSV file it is text, and for several columns, `pixel*`, numbers."""
    with _readable(file, csv):
        if is_csv(file, csv):
            _csv_columns(file, [column], csv or Csv())
            return pa.float64() if column.endswith("*") else pa.string()
        if _format(file, csv) == ".parquet":
            with pa.parquet.ParquetFile(file.path) as opened:
                schema = opened.schema_arrow
        else:
            with pa.memory_map(str(file.path)) as mapped:
                schema = pa.ipc.open_file(mapped).schema
        first = _expand(schema.names, [column], file)[0]
        return pa.float64() if column.endswith("*") else schema.field(first).type


def table_batches(file: InputFile, columns: Sequence[str], size: int, *, csv: Csv | None = None) -> Iterator[pa.Table]:
    """Yield columns of a table in batches of about `size` bytes.

    A name such as `pixel*` selects the columns pixel0, pixel1, and so on, in the order of their numbers. Columns of a
    CSV file are text, because an inferred type could be wrong (`007` stays `007`); only `pixel*` are numbers.
    """
    with _readable(file, csv):
        for batch in _BATCHES[_format(file, csv)](file, columns, size, csv or Csv()):
            table = pa.Table.from_batches([batch])
            table.validate(full=True)
            yield table


def _format(file: InputFile, csv: Csv | None) -> str:
    return ".csv" if csv is not None else file.path.suffix


@contextmanager
def _readable(file: InputFile, csv: Csv | None) -> Iterator[None]:
    size = file.size()
    if _format(file, csv) not in TABLES:
        raise ConfigError(
            f"{file} is not a table; a table has the suffix {', '.join(TABLES)}. "
            "Correct the path in params.yaml: data.source"
        )
    if size == 0:
        raise DataError(f"{file} is empty; it must have a row for each example. Replace the file")
    try:
        yield
    except (pa.ArrowException, OSError, MemoryError, KeyError, ValueError) as error:
        kind = _format(file, csv)[1:]
        raise DataError(f"{file} is not a readable {kind} file ({one_line(error)}). Replace the file") from None


def _parquet_batches(file: InputFile, columns: Sequence[str], size: int, _: Csv) -> Iterator[pa.RecordBatch]:
    # Without buffer_size and pre_buffer=False, whole row groups would be in memory.
    with pa.parquet.ParquetFile(file.path, buffer_size=2**20, pre_buffer=False) as opened:
        names = _expand(opened.schema_arrow.names, columns, file)
        # Decoding numbers in lists needs eight times their size, for the levels that delimit the lists.
        rows = _rows_for(size // 8, [opened.schema_arrow.field(name).type for name in names])
        for batch in opened.iter_batches(batch_size=rows, columns=names, use_threads=False):
            yield batch.select(names)


def _arrow_batches(file: InputFile, columns: Sequence[str], size: int, _: Csv) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(file.path)) as mapped:
        opened = pa.ipc.open_file(mapped)
        names = _expand(opened.schema.names, columns, file)
        rows = _rows_for(size, [opened.schema.field(name).type for name in names])
        for i in range(opened.num_record_batches):
            batch = opened.get_batch(i).select(names)
            yield from (batch.slice(start, rows) for start in range(0, len(batch), rows))


def _rows_for(size: int, types: Sequence[pa.DataType]) -> int:
    """Return how many rows of these types have about `size` bytes."""
    bits = [_bits(kind) for kind in types]
    if None in bits:
        return _ROWS_OF_UNKNOWN_SIZE
    rows = max(1, 8 * size // max(1, sum(bits)))  # type: ignore[arg-type]
    return min(rows, _MAX_TEXT_ROWS) if any(map(_is_text, types)) else rows


def _bits(kind: pa.DataType) -> int | None:
    """Return the bits of a value; None if the sizes of values can differ much."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return int(math.prod(kind.shape)) * int(kind.value_type.bit_width)
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) * int(kind.value_type.bit_width)
    if _is_text(kind):
        return _TEXT_BITS
    return int(kind.bit_width) if pa.types.is_primitive(kind) else None


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))


def _csv_batches(file: InputFile, columns: Sequence[str], size: int, csv: Csv) -> Iterator[pa.RecordBatch]:
    names = _csv_columns(file, columns, csv)
    # The type is fixed, because it would otherwise be inferred from the first block, which may have integers only.
    types = {name: pa.string() if name in columns else pa.float64() for name in names}
    with pa.csv.open_csv(
        _csv_content(file, csv),
        read_options=pa.csv.ReadOptions(column_names=csv.names, block_size=_CSV_BLOCK),
        parse_options=_parse_options(csv),
        convert_options=pa.csv.ConvertOptions(include_columns=names, column_types=types),
    ) as opened:
        rows = _rows_for(size, opened.schema.types)
        for batch in opened:
            yield from (batch.slice(start, rows) for start in range(0, len(batch), rows))


def _csv_columns(file: InputFile, columns: Sequence[str], csv: Csv) -> list[str]:
    if csv.names is not None:
        return _expand(list(csv.names), columns, file)
    # Only the header is parsed, so columns that are not selected cannot cause errors.
    with _csv_content(file, csv) as opened:
        header = opened.readline(2**24)
    names = pa.csv.read_csv(pa.BufferReader(header), parse_options=_parse_options(csv)).column_names
    return _expand(names, columns, file)


def _parse_options(csv: Csv) -> pa.csv.ParseOptions:
    return pa.csv.ParseOptions(newlines_in_values=True, delimiter=csv.delimiter)


def _csv_content(file: InputFile, csv: Csv) -> io.BufferedReader:
    raw = io.FileIO(file.path)
    # The reader uses each read as a block, so without a buffer every line would be a block.
    return io.BufferedReader(raw if csv.comment is None else _WithoutComments(raw, csv.comment.encode()))


class _WithoutComments(io.RawIOBase):
    """A file without the lines that start with a comment."""

    def __init__(self, raw: io.RawIOBase, comment: bytes) -> None:
        self._lines, self._comment, self._pending = io.BufferedReader(raw), comment, memoryview(b"")

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


_BATCHES: dict[str, Callable[[InputFile, Sequence[str], int, Csv], Iterator[pa.RecordBatch]]] = {
    ".parquet": _parquet_batches,
    ".arrow": _arrow_batches,
    ".feather": _arrow_batches,
    ".csv": _csv_batches,
}


def require_columns(existing: Sequence[str], required: Iterable[str], *, where: str) -> None:
    """Raise DataError if a required column is missing, or if two columns have the same name."""
    repeated = {name for name in existing if existing.count(name) > 1} if len(set(existing)) < len(existing) else None
    if repeated:
        raise DataError(f"{where} has two columns {min(repeated)!r}. Rename one of them")
    for name in required:
        if name not in existing:
            names = ", ".join(map(repr, existing[:10])) + (" and more" if len(existing) > 10 else "")
            raise DataError(f"{where} has no column {name!r}; it has {names}. Correct params.yaml: data.source.columns")


def _expand(existing: Sequence[str], columns: Sequence[str], file: InputFile) -> list[str]:
    """Return the names of the columns, with `pixel*` replaced by pixel0, pixel1, and so on."""
    names: list[str] = []
    for column in columns:
        prefix = column.removesuffix("*")
        if prefix == column:
            names.append(column)
            continue
        suffixes = {name: name[len(prefix) :] for name in existing if name.startswith(prefix)}
        numbers = {name: int(suffix) for name, suffix in suffixes.items() if suffix.isascii() and suffix.isdecimal()}
        names += sorted(numbers, key=numbers.__getitem__) or [column]
    require_columns(existing, names, where=str(file))
    return names
