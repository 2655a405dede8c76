"""Readers of foreign tables in Parquet, Arrow and CSV: some of the columns, in batches of rows.

Every batch is validated in full before it is used, because invalid offsets in a file could otherwise crash the process.
"""

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from fair_distill.data.files.csv_text import Csv, count_rows, explain, header_of, open_native
from fair_distill.data.files.input_file import InputFile, one_line
from fair_distill.data.files.table_names import TABLES, table_suffix
from fair_distill.errors import ConfigError, DataError

# Rows of a batch whose values have unknown sizes, such as encoded images.
_ROWS_OF_UNKNOWN_SIZE = 256
# The largest number of rows of a batch with text.
_MAX_TEXT_ROWS = 2**15
# The assumed size of a text, in bits.
_TEXT_BITS = 64 * 8
# A row of pixels must fit into one block.
_CSV_BLOCK = 4 * 2**20
_ARROW_MAGIC = b"ARROW1"
# The number of unread columns that are named.
_SHOWN = 10


def is_csv(file: InputFile, csv: Csv | None) -> bool:
    """Whether a table is a CSV file, by its suffix or because params.yaml has CSV options for it."""
    return _format(file, csv) == "csv"


def column_type(file: InputFile, column: str, csv: Csv | None = None) -> pa.DataType:
    """Return the type of a column. In a CSV file it is text, and for several columns, `pixel*`, numbers."""
    schema = _schema(file, csv)
    first = _expand(schema.names, [column], file)[0]
    return pa.float64() if column.endswith("*") else _plain_type(schema.field(first).type)


def unread_columns(files: Sequence[InputFile], columns: Sequence[str], csv: Csv | None) -> list[str]:
    """Return a sentence part that names the columns of the files that are not among `columns`; empty if there is none.

    A name such as `pixel*` selects several columns.
    """
    unread: dict[str, None] = {}
    for file in files:
        names = _schema(file, csv).names
        read = set(_expand(names, columns, file))
        unread |= dict.fromkeys(name for name in names if name not in read)
    if not unread:
        return []
    shown = ", ".join(map(repr, list(unread)[:_SHOWN]))
    more = f" and {len(unread) - _SHOWN} more" if len(unread) > _SHOWN else ""
    return [f"column{'s' if len(unread) > 1 else ''} {shown}{more}"]


def _schema(file: InputFile, csv: Csv | None) -> pa.Schema:
    """Return the names and types of all columns; a CSV file has text only."""
    with _readable(file, csv):
        if is_csv(file, csv):
            return pa.schema([(name, pa.string()) for name in header_of(file, csv or Csv())])
        if _format(file, csv) == "parquet":
            with pa.parquet.ParquetFile(file.path) as opened:
                return opened.schema_arrow
        with _opened_arrow(file) as (schema, _):
            return schema


def checked_rows(file: InputFile, csv: Csv | None) -> int | None:
    """Check the quotes of a CSV file, and return the number of its rows; None for other tables."""
    with _readable(file, csv):
        return count_rows(file, csv or Csv()) if is_csv(file, csv) else None


def table_batches(file: InputFile, columns: Sequence[str], size: int, *, csv: Csv | None = None) -> Iterator[pa.Table]:
    """Yield columns of a table in batches of about `size` bytes.

    A name such as `pixel*` selects the columns pixel0, pixel1, and so on, in the order of their numbers. Columns of a
    CSV file are text, because an inferred type could be wrong (`007` stays `007`); only `pixel*` are numbers. Text and
    bytes that are stored as views, as polars writes them, become ordinary text and bytes.
    """
    with _readable(file, csv):
        for batch in _BATCHES[_format(file, csv)](file, columns, size, csv or Csv()):
            table = pa.Table.from_batches([batch])
            table.validate(full=True)
            yield _without_views(table)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the ordinary type of text or bytes that are stored as views, also in a dictionary or a struct."""
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _plain_type(kind.value_type), kind.ordered)
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_plain_type(field.type)) for field in kind])
    return kind


def _without_views(table: pa.Table) -> pa.Table:
    for i, field in enumerate(table.schema):
        kind = _plain_type(field.type)
        if kind == field.type:
            continue
        column = table.column(i)
        if pa.types.is_dictionary(kind):  # Arrow does not cast a dictionary of views
            column, kind = pa.chunked_array([_decoded(chunk) for chunk in column.chunks]), kind.value_type
        table = table.set_column(i, field.name, column.cast(kind))
    return table


def _decoded(chunk: pa.DictionaryArray) -> pa.Array:
    return chunk.dictionary.cast(_plain_type(chunk.type.value_type)).take(chunk.indices)


def _format(file: InputFile, csv: Csv | None) -> str:
    """Return parquet, arrow or csv. A file with another suffix is CSV if params.yaml has CSV options."""
    suffix = table_suffix(file.name)
    return TABLES.get(suffix, "") if suffix else "csv" if csv is not None else ""


@contextmanager
def _readable(file: InputFile, csv: Csv | None) -> Iterator[None]:
    size, kind = file.size(), _format(file, csv)
    if not kind:
        raise ConfigError(
            f"{file} is not a table; a table has the suffix {', '.join(TABLES)}. "
            "Correct the path in params.yaml: data.source"
        )
    if size == 0:
        raise DataError(f"{file} is empty; it must have a row for each example. Replace the file")
    try:
        yield
    except (pa.ArrowException, OSError, EOFError, MemoryError, KeyError, ValueError, zlib.error) as error:
        if kind == "csv" and isinstance(error, pa.ArrowException):
            explain(file, csv or Csv(), str(error))
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
    with _opened_arrow(file) as (schema, batches):
        names = _expand(schema.names, columns, file)
        rows = _rows_for(size, [schema.field(name).type for name in names])
        for whole in batches:
            batch = whole.select(names)
            yield from (batch.slice(start, rows) for start in range(0, len(batch), rows))


@contextmanager
def _opened_arrow(file: InputFile) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """Open a file of Arrow's file format, or of its stream format, which Hugging Face `save_to_disk` writes."""
    with pa.memory_map(str(file.path)) as mapped:
        if mapped.read(len(_ARROW_MAGIC)) != _ARROW_MAGIC:
            mapped.seek(0)
            with pa.ipc.open_stream(mapped) as stream:
                yield stream.schema, iter(stream)
            return
        mapped.seek(0)
        opened = pa.ipc.open_file(mapped)
        yield opened.schema, map(opened.get_batch, range(opened.num_record_batches))


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
    is_text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_dictionary)
    return any(accepts(kind) for accepts in is_text)


def _csv_batches(file: InputFile, columns: Sequence[str], size: int, csv: Csv) -> Iterator[pa.RecordBatch]:
    header = header_of(file, csv)
    if len(header) == 1 and columns != header and (others := [mark for mark in ";\t|," if mark in header[0]]):
        raise DataError(
            f"{file} has one column, {header[0][:80]!r}. Set params.yaml: data.source.csv.delimiter to {others[0]!r}"
        )
    names = _expand(header, columns, file)
    # The type is fixed, because it would otherwise be inferred from the first block, which may have integers only.
    types = {name: pa.string() if name in columns else pa.float64() for name in names}
    with pa.csv.open_csv(
        open_native(file, csv),
        read_options=pa.csv.ReadOptions(column_names=csv.names, block_size=_CSV_BLOCK),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True, delimiter=csv.delimiter_of(file)),
        convert_options=pa.csv.ConvertOptions(include_columns=names, column_types=types),
    ) as opened:
        rows = _rows_for(size, opened.schema.types)
        for batch in opened:
            yield from (batch.slice(start, rows) for start in range(0, len(batch), rows))


_BATCHES: dict[str, Callable[[InputFile, Sequence[str], int, Csv], Iterator[pa.RecordBatch]]] = {
    "parquet": _parquet_batches,
    "arrow": _arrow_batches,
    "csv": _csv_batches,
}


def require_columns(existing: Sequence[str], required: Iterable[str], *, where: str) -> None:
    """Raise DataError if a required column is missing, or if two columns have its name."""
    required = list(required)
    repeated = [name for name in required if existing.count(name) > 1] if len(set(existing)) < len(existing) else None
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
