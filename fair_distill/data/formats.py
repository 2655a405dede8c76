"""Files as other people made them: idx, npz, Parquet, Arrow, CSV. Nothing in them is believed before it is checked.

A header may promise more than the file holds, and a few packed bytes may unpack to more than there is memory: sizes
are compared with the file's own before anything is allocated. Nothing is unpickled. What may be large is read a bit at
a time: a file has a function for the whole of some columns, and one for pixels in batches.
"""

import gzip
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet
from pydantic import Field

from fair_distill.config import Section
from fair_distill.data.grouped import Array
from fair_distill.errors import ConfigError, DataError

TABLES = (".parquet", ".arrow", ".feather", ".csv")

_MOST_BYTES = 4 * 2**30  # of one array or table in memory, and of what a packed file may unpack to
_MOST_ROWS = 256  # at a time, of images whose size only decoding tells
_CSV_BLOCK = 4 * 2**20  # a row of pixels has to be in one
_DEFLATE = 1032  # deflate packs no better than this
_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


@dataclass(frozen=True)
class File:
    """A file to read, and what to call it in a message: it may be the copy of an object in a bucket."""

    path: Path
    name: str

    def __str__(self) -> str:
        return self.name

    @classmethod
    def at(cls, path: Path) -> "File":
        return cls(path, str(path))


@dataclass(frozen=True)
class Promise:
    """What the header of an array says will follow.

    Attributes
    ----------
    most : bytes that can follow, going by the size of the file
    packed : whether they are to be unpacked, and so may be far more than the file has
    """

    content: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    most: int
    packed: bool
    name: str
    fortran: bool = False

    def __post_init__(self) -> None:
        if self.packed or self.fortran:
            self._plausible(_MOST_BYTES)
        if self._promised > self.most:
            self._kept(0)

    def whole(self) -> Array:
        """Read what was promised, and see that it is all there is."""
        self._plausible(_MOST_BYTES)
        content = self.content.read(self._promised + 1)
        self._kept(len(content))
        values = np.frombuffer(content, self.dtype).reshape(self.shape[::-1] if self.fortran else self.shape)
        return values.T if self.fortran else values

    def batches(self, size: int) -> Iterator[Array]:
        """Read what was promised, about `size` bytes at a time, and see that it is all there is."""
        if self.fortran or not self.shape:
            yield self.whole()
            return
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        rows, seen = max(1, size // max(1, row)), 0
        for start in range(0, self.shape[0], rows):
            n = min(rows, self.shape[0] - start)
            content = self.content.read(n * row)
            seen += len(content)
            if len(content) < n * row:
                self._kept(seen)
            yield np.frombuffer(content, self.dtype).reshape(n, *self.shape[1:])
        self._kept(seen + len(self.content.read(1)))

    @property
    def _promised(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def _what(self) -> str:
        return f"{'×'.join(map(str, self.shape))} of {self.dtype.itemsize} bytes"

    def _plausible(self, most: int) -> None:
        if self._promised > most:
            raise DataError(
                f"{self.name}: the header promises {self._what}; at most {most:,} bytes are read of a packed array, or "
                "of one that is not of images. Cut it in parts"
            )

    def _kept(self, came: int) -> None:
        if came != self._promised:
            more = "more" if came > self._promised else "less"
            raise DataError(
                f"{self.name}: the header promises {self._what}, {self._promised:,} bytes; the file holds {more}"
            )


@contextmanager
def opened_idx(file: File) -> Iterator[Promise]:
    """Open an idx file, the format of MNIST, gzipped or not."""
    size = _file_size(file)
    try:
        with file.path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            content: IO[bytes] = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[assignment]
            magic = content.read(4)
            if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES or not 1 <= magic[3] <= 4:
                raise DataError(f"{file}: an idx file was wanted; it starts with {magic.hex() or 'nothing'}")
            dimensions = content.read(4 * magic[3])
            if len(dimensions) < 4 * magic[3]:
                raise DataError(f"{file}: an idx file was wanted; it ends within its header")
            shape = struct.unpack(f">{magic[3]}I", dimensions)
            most = size * _DEFLATE if packed else size
            yield Promise(content, shape, np.dtype(_IDX_TYPES[magic[2]]), most, packed, str(file))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} is not readable: {_line(error)}") from None


@contextmanager
def opened_npz(file: File, name: str) -> Iterator[Promise]:
    """Open an array of an .npz file."""
    _file_size(file)
    try:
        with zipfile.ZipFile(file.path) as archive:
            _columns_there([member.removesuffix(".npy") for member in archive.namelist()], [name], where=str(file))
            member = archive.getinfo(f"{name}.npy")
            with archive.open(member) as content:
                try:
                    version = np.lib.format.read_magic(content)
                    first = version == (1, 0)
                    reader = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
                    shape, fortran, dtype = reader(content)
                except (ValueError, TypeError) as error:
                    raise DataError(f"{file}: {name}: an array was wanted; {_line(error)}") from None
                if dtype.hasobject:
                    raise DataError(
                        f"{file}: {name}: Python objects are never unpickled; save numbers or fixed-width text"
                    )
                most = min(member.file_size, member.compress_size * _DEFLATE)
                packed = member.compress_type != zipfile.ZIP_STORED
                yield Promise(content, shape, dtype, most, packed, f"{file}: {name}", fortran)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, KeyError, RuntimeError) as error:
        raise DataError(f"{file}: an .npz file was wanted; {_line(error)}") from None


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


def read_table(file: File, columns: Sequence[str], *, text: Sequence[str], csv: Csv | None = None) -> pa.Table:
    """Return columns of a Parquet, Arrow or CSV file; of a name that ends in `*`, all that begin so, by number.

    Parameters
    ----------
    text : the columns that a CSV file is not to guess a type for: `007` stays `007`
    csv : how the file is written, if it is a CSV file by whatever name
    """
    with _readable(file, csv):
        if _form(file, csv) == ".csv":
            table = pa.csv.read_csv(**_csv_arguments(file, columns, csv or Csv(), dict.fromkeys(text, pa.string())))
        elif _form(file, csv) == ".parquet":
            table = _parquet(file, columns)
        else:
            with pa.memory_map(str(file.path)) as mapped:
                table = pa.ipc.open_file(mapped).read_all()
            table = table.select(_expanded(table.column_names, columns, file))
        table.validate(full=True)  # or a lying file would be found out by a crash
    if len(table) == 0:
        raise DataError(f"{file} has no rows; a row for each example was wanted")
    return table


def column_type(file: File, column: str, csv: Csv | None = None) -> pa.DataType:
    """Return the type of a column; in a CSV file all are text. `pixel*` is many columns, of numbers."""
    with _readable(file, csv):
        if _form(file, csv) == ".csv":
            _csv_arguments(file, [column], csv or Csv(), {})
            return pa.float64() if column.endswith("*") else pa.string()
        if _form(file, csv) == ".parquet":
            with pa.parquet.ParquetFile(file.path) as opened:
                schema = opened.schema_arrow
        else:
            with pa.memory_map(str(file.path)) as mapped:
                schema = pa.ipc.open_file(mapped).schema
        first = _expanded(schema.names, [column], file)[0]
        return pa.float64() if column.endswith("*") else schema.field(first).type


def table_batches(file: File, column: str, size: int, *, csv: Csv | None = None) -> Iterator[pa.Table]:
    """Yield a column, or the numbered ones of `pixel*`, about `size` bytes at a time."""
    with _readable(file, csv):
        for batch in _BATCHES[_form(file, csv)](file, column, size, csv or Csv()):
            table = pa.Table.from_batches([batch])
            table.validate(full=True)
            yield table


def _form(file: File, csv: Csv | None) -> str:
    return ".csv" if csv is not None else file.path.suffix


@contextmanager
def _readable(file: File, csv: Csv | None) -> Iterator[None]:
    size = _file_size(file)
    if _form(file, csv) not in TABLES:
        raise ConfigError(f"{file}: a table is one of {', '.join(TABLES)}; mend the path in params.yaml: data.source")
    if size == 0:
        raise DataError(f"{file} is empty; a table with a row for each example was wanted")
    try:
        yield
    except (pa.ArrowException, OSError, MemoryError, KeyError, ValueError) as error:
        raise DataError(f"{file} is no readable {_form(file, csv)[1:]} file: {_line(error)}") from None


def _parquet(file: File, columns: Sequence[str]) -> pa.Table:
    with pa.parquet.ParquetFile(file.path) as opened:
        wanted = _expanded(opened.schema_arrow.names, columns, file)
        unpacked = sum(_unpacked(opened.metadata, name) for name in wanted)
        if unpacked > _MOST_BYTES:
            raise DataError(f"{file} unpacks to {unpacked:,} bytes; at most {_MOST_BYTES:,} are read. Cut it in parts")
        return opened.read(columns=wanted)


def _unpacked(metadata: Any, name: str) -> int:
    """Bytes of a column, as the file says."""
    columns = [i for i in range(metadata.num_columns) if metadata.schema.column(i).path.split(".")[0] == name]
    groups = range(metadata.num_row_groups)
    return sum(metadata.row_group(group).column(i).total_uncompressed_size for group in groups for i in columns)


def _parquet_batches(file: File, column: str, size: int, _: Csv) -> Iterator[pa.RecordBatch]:
    # Buffered, and nothing ahead of time: or a row group would be in memory as a whole.
    with pa.parquet.ParquetFile(file.path, buffer_size=2**20, pre_buffer=False) as opened:
        wanted = _expanded(opened.schema_arrow.names, [column], file)
        rows = _rows_of(size, [opened.schema_arrow.field(name).type for name in wanted])
        yield from opened.iter_batches(batch_size=rows, columns=wanted, use_threads=False)


def _arrow_batches(file: File, column: str, size: int, _: Csv) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(file.path)) as mapped:
        opened = pa.ipc.open_file(mapped)
        wanted = _expanded(opened.schema.names, [column], file)
        rows = _rows_of(size, [opened.schema.field(name).type for name in wanted])
        for i in range(opened.num_record_batches):
            batch = opened.get_batch(i).select(wanted)
            yield from (batch.slice(start, rows) for start in range(0, len(batch), rows))


def _rows_of(size: int, kinds: Sequence[pa.DataType]) -> int:
    """Return how many rows of these types are about `size` bytes."""
    bits = [_bits(kind) for kind in kinds]
    return _MOST_ROWS if None in bits else max(1, 8 * size // sum(bits))  # type: ignore[arg-type]


def _bits(kind: pa.DataType) -> int | None:
    """Bits of a value; None where one may be longer than another."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return math.prod(kind.shape) * int(kind.value_type.bit_width)
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) * int(kind.value_type.bit_width)
    return int(kind.bit_width) if pa.types.is_integer(kind) or pa.types.is_floating(kind) else None


def _csv_batches(file: File, column: str, size: int, form: Csv) -> Iterator[pa.RecordBatch]:
    numbered = column.endswith("*")
    arguments = _csv_arguments(file, [column], form, {} if numbered else {column: pa.string()})
    if numbered:  # a type for all blocks: the first might have whole numbers alone
        wanted = arguments["convert_options"].include_columns
        arguments["convert_options"].column_types = dict.fromkeys(wanted, pa.float64())
    arguments["read_options"].block_size = _CSV_BLOCK
    with pa.csv.open_csv(**arguments) as opened:
        rows = _rows_of(size, opened.schema.types)
        for batch in opened:
            yield from (batch.slice(start, rows) for start in range(0, len(batch), rows))


def _csv_arguments(file: File, columns: Sequence[str], form: Csv, types: dict[str, pa.DataType]) -> dict[str, Any]:
    parsing = pa.csv.ParseOptions(newlines_in_values=True, delimiter=form.delimiter)
    content = None if form.comment is None else _uncommented(file, form.comment)
    if form.names is not None:
        header = list(form.names)
    else:
        # Nothing converted yet: in the header alone, columns that are not wanted cannot be at fault.
        with file.path.open("rb") if content is None else io.BytesIO(content) as opened:
            first = opened.readline(2**24)
        header = pa.csv.read_csv(pa.BufferReader(first), parse_options=parsing).column_names
    return {
        "input_file": file.path if content is None else pa.BufferReader(content),
        "read_options": pa.csv.ReadOptions(column_names=form.names),
        "parse_options": parsing,
        "convert_options": pa.csv.ConvertOptions(include_columns=_expanded(header, columns, file), column_types=types),
    }


def _uncommented(file: File, comment: str) -> bytes:
    with file.path.open("rb") as opened:
        return b"".join(line for line in opened if not line.startswith(comment.encode()))


_BATCHES: dict[str, Callable[[File, str, int, Csv], Iterator[pa.RecordBatch]]] = {
    ".parquet": _parquet_batches,
    ".arrow": _arrow_batches,
    ".feather": _arrow_batches,
    ".csv": _csv_batches,
}


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
    _columns_there(there, wanted, where=str(file))
    return wanted


def _columns_there(there: Sequence[str], wanted: Iterable[str], *, where: str) -> None:
    twice = sorted({name for name in there if there.count(name) > 1}) if len(set(there)) < len(there) else []
    if twice:
        raise DataError(f"{where}: {twice[0]!r} stands twice; name columns apart")
    for name in wanted:
        if name not in there:
            shown = ", ".join(map(repr, there[:10])) + (" and more" if len(there) > 10 else "")
            raise DataError(f"{where} has no {name!r}; it has {shown}. Mend params.yaml: data.source.columns")


def inside(folder: Path, name: str, *, where: str) -> Path:
    """Return the file of that name in a folder, and never one outside it, whatever dots and links say."""
    root = folder.resolve()
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise DataError(f"{where}: {name!r} is outside {folder}; only files in that folder are read")
        if not path.is_file():
            raise DataError(f"{where}: {name!r} is no file in {folder}; mend the table or add the file")
    except (OSError, ValueError, RuntimeError) as error:  # a name with NUL, one too long, a circle of links
        raise DataError(f"{where}: {name[:80]!r} is no name of a file: {_line(error)}") from None
    return path


def _file_size(file: File) -> int:
    if not file.path.is_file():
        raise DataError(f"{file} is missing; mend the path in params.yaml: data.source, or put the file there")
    return file.path.stat().st_size


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
