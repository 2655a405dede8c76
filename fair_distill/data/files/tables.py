"""Tables as other people made them, Parquet, Arrow and CSV: some of their columns, a batch of rows at a time.

Nothing in them is believed before it is checked: a batch is validated whole, or a lying file would be found out by a
crash.
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
from fair_distill.data.files.file import File, one_line
from fair_distill.errors import ConfigError, DataError

TABLES = (".parquet", ".arrow", ".feather", ".csv")

_MOST_IMAGES = 256  # at a time, where only decoding tells how large they are
_MOST_ROWS = 2**15  # at a time, where a value is text
_TEXT = 64 * 8  # bits that a name has, by and large
_CSV_BLOCK = 4 * 2**20  # a row of pixels has to be in one


class Csv(Section):
    """How a CSV file is written that has no header, or ways of its own. What is left out is as usual.

    Attributes
    ----------
    names : the names of its columns, where no first line has them
    delimiter : what stands between two values
    comment : lines that begin so are passed over
    strip : characters that are cut off both ends of text; numbers have no need of it
    missing : text that means that there is no value
    """

    names: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    comment: Annotated[str, Field(min_length=1)] | None = None
    strip: Annotated[str, Field(min_length=1)] | None = None
    missing: Annotated[tuple[str, ...], Field(strict=False)] = ()


def tidied(column: pa.ChunkedArray, form: Csv, *, number: bool) -> pa.ChunkedArray:
    """Return a text column without what `form.strip` cuts off (of a number: spaces), and null where it is missing."""
    strip = " \t" if number else form.strip
    if strip is not None:
        column = pa.compute.utf8_trim(column, characters=strip)
    absent = pa.compute.is_in(column, value_set=pa.array(["", *form.missing]))
    return pa.compute.if_else(absent, pa.scalar(None, pa.string()), column)


def is_csv(file: File, csv: Csv | None) -> bool:
    """Say whether all that a table has is text: by its name, or because params say how it is written."""
    return _form(file, csv) == ".csv"


def column_type(file: File, column: str, csv: Csv | None = None) -> pa.DataType:
    """Return the type of a column; in a CSV file all are text. `pixel*` is many columns, of numbers."""
    with _readable(file, csv):
        if is_csv(file, csv):
            _csv_columns(file, [column], csv or Csv())
            return pa.float64() if column.endswith("*") else pa.string()
        if _form(file, csv) == ".parquet":
            with pa.parquet.ParquetFile(file.path) as opened:
                schema = opened.schema_arrow
        else:
            with pa.memory_map(str(file.path)) as mapped:
                schema = pa.ipc.open_file(mapped).schema
        first = _expanded(schema.names, [column], file)[0]
        return pa.float64() if column.endswith("*") else schema.field(first).type


def table_batches(file: File, columns: Sequence[str], size: int, *, csv: Csv | None = None) -> Iterator[pa.Table]:
    """Yield columns of a table, of a name that ends in `*` all that begin so, by number; about `size` bytes at a time.

    Of a CSV file everything is text, since a type would be a guess (`007` stays `007`); but `pixel*` are numbers.
    """
    with _readable(file, csv):
        for batch in _BATCHES[_form(file, csv)](file, columns, size, csv or Csv()):
            table = pa.Table.from_batches([batch])
            table.validate(full=True)
            yield table


def _form(file: File, csv: Csv | None) -> str:
    return ".csv" if csv is not None else file.path.suffix


@contextmanager
def _readable(file: File, csv: Csv | None) -> Iterator[None]:
    size = file.size()
    if _form(file, csv) not in TABLES:
        raise ConfigError(f"{file}: a table is one of {', '.join(TABLES)}; mend the path in params.yaml: data.source")
    if size == 0:
        raise DataError(f"{file} is empty; a table with a row for each example was wanted")
    try:
        yield
    except (pa.ArrowException, OSError, MemoryError, KeyError, ValueError) as error:
        raise DataError(f"{file} is no readable {_form(file, csv)[1:]} file: {one_line(error)}") from None


def _parquet_batches(file: File, columns: Sequence[str], size: int, _: Csv) -> Iterator[pa.RecordBatch]:
    # Buffered, and nothing ahead of time: or a row group would be in memory as a whole.
    with pa.parquet.ParquetFile(file.path, buffer_size=2**20, pre_buffer=False) as opened:
        wanted = _expanded(opened.schema_arrow.names, columns, file)
        # Numbers in lists are unpacked with what says where each list ends, in eight times their bytes.
        rows = _rows_of(size // 8, [opened.schema_arrow.field(name).type for name in wanted])
        for batch in opened.iter_batches(batch_size=rows, columns=wanted, use_threads=False):
            yield batch.select(wanted)


def _arrow_batches(file: File, columns: Sequence[str], size: int, _: Csv) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(file.path)) as mapped:
        opened = pa.ipc.open_file(mapped)
        wanted = _expanded(opened.schema.names, columns, file)
        rows = _rows_of(size, [opened.schema.field(name).type for name in wanted])
        for i in range(opened.num_record_batches):
            batch = opened.get_batch(i).select(wanted)
            yield from (batch.slice(start, rows) for start in range(0, len(batch), rows))


def _rows_of(size: int, kinds: Sequence[pa.DataType]) -> int:
    """Return how many rows of these types are about `size` bytes."""
    bits = [_bits(kind) for kind in kinds]
    if None in bits:
        return _MOST_IMAGES
    rows = max(1, 8 * size // max(1, sum(bits)))  # type: ignore[arg-type]
    return min(rows, _MOST_ROWS) if any(map(_is_text, kinds)) else rows


def _bits(kind: pa.DataType) -> int | None:
    """Bits of a value; None where one may be far longer than another."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return int(math.prod(kind.shape)) * int(kind.value_type.bit_width)
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) * int(kind.value_type.bit_width)
    if _is_text(kind):
        return _TEXT
    return int(kind.bit_width) if pa.types.is_primitive(kind) else None


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))


def _csv_batches(file: File, columns: Sequence[str], size: int, form: Csv) -> Iterator[pa.RecordBatch]:
    wanted = _csv_columns(file, columns, form)
    # A type for all blocks: the first might have whole numbers alone.
    types = {name: pa.string() if name in columns else pa.float64() for name in wanted}
    with pa.csv.open_csv(
        _csv_content(file, form),
        read_options=pa.csv.ReadOptions(column_names=form.names, block_size=_CSV_BLOCK),
        parse_options=_parsing(form),
        convert_options=pa.csv.ConvertOptions(include_columns=wanted, column_types=types),
    ) as opened:
        rows = _rows_of(size, opened.schema.types)
        for batch in opened:
            yield from (batch.slice(start, rows) for start in range(0, len(batch), rows))


def _csv_columns(file: File, columns: Sequence[str], form: Csv) -> list[str]:
    if form.names is not None:
        return _expanded(list(form.names), columns, file)
    # Nothing converted yet: in the header alone, columns that are not wanted cannot be at fault.
    with _csv_content(file, form) as opened:
        first = opened.readline(2**24)
    return _expanded(pa.csv.read_csv(pa.BufferReader(first), parse_options=_parsing(form)).column_names, columns, file)


def _parsing(form: Csv) -> pa.csv.ParseOptions:
    return pa.csv.ParseOptions(newlines_in_values=True, delimiter=form.delimiter)


def _csv_content(file: File, form: Csv) -> io.BufferedReader:
    raw = io.FileIO(file.path)
    # Buffered: or it would be read a line at a time, since a reader takes what it is given for a block.
    return io.BufferedReader(raw if form.comment is None else _Uncommented(raw, form.comment.encode()))


class _Uncommented(io.RawIOBase):
    """A file less the lines that begin with a comment."""

    def __init__(self, raw: io.RawIOBase, comment: bytes) -> None:
        self._lines, self._comment, self._left = io.BufferedReader(raw), comment, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            line = self._lines.readline()
            if not line:
                return 0
            if not line.startswith(self._comment):
                self._left = memoryview(line)
        n = min(len(buffer), len(self._left))
        buffer[:n], self._left = self._left[:n], self._left[n:]
        return n

    def close(self) -> None:
        self._lines.close()
        super().close()


_BATCHES: dict[str, Callable[[File, Sequence[str], int, Csv], Iterator[pa.RecordBatch]]] = {
    ".parquet": _parquet_batches,
    ".arrow": _arrow_batches,
    ".feather": _arrow_batches,
    ".csv": _csv_batches,
}


def columns_there(there: Sequence[str], wanted: Iterable[str], *, where: str) -> None:
    """Raise DataError where a wanted column is not there, or two have one name."""
    twice = sorted({name for name in there if there.count(name) > 1}) if len(set(there)) < len(there) else []
    if twice:
        raise DataError(f"{where}: {twice[0]!r} stands twice; name columns apart")
    for name in wanted:
        if name not in there:
            shown = ", ".join(map(repr, there[:10])) + (" and more" if len(there) > 10 else "")
            raise DataError(f"{where} has no {name!r}; it has {shown}. Mend params.yaml: data.source.columns")


def _expanded(there: Sequence[str], columns: Sequence[str], file: File) -> list[str]:
    wanted: list[str] = []
    for column in columns:
        start = column.removesuffix("*")
        if start == column:
            wanted.append(column)
            continue
        numbered = {name: name[len(start) :] for name in there if name.startswith(start)}
        found = [name for name, number in numbered.items() if number.isascii() and number.isdecimal()]
        wanted += sorted(found, key=lambda name: int(numbered[name])) or [column]
    columns_there(there, wanted, where=str(file))
    return wanted
