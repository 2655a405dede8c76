"""Files as other people made them: idx, npz, Parquet, Arrow, CSV. Nothing in them is believed before it is checked.

A header may promise more than the file holds, and a few packed bytes may unpack to more than there is memory: sizes
are compared with the file's own before anything is allocated. Nothing is unpickled.
"""

import gzip
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
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

_MOST_BYTES = 4 * 2**30  # of one array or table in memory
_DEFLATE = 1032  # deflate packs no better than this
_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path: Path) -> Array:
    """Return the array of an idx file, the format of MNIST, gzipped or not."""
    size = _file_size(path)
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            file: IO[bytes] = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[assignment]
            magic = file.read(4)
            if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES or not 1 <= magic[3] <= 4:
                raise DataError(f"{path}: an idx file was wanted; it starts with {magic.hex() or 'nothing'}")
            dimensions = file.read(4 * magic[3])
            if len(dimensions) < 4 * magic[3]:
                raise DataError(f"{path}: an idx file was wanted; it ends within its header")
            shape = struct.unpack(f">{magic[3]}I", dimensions)
            dtype = np.dtype(_IDX_TYPES[magic[2]])
            return _filled(file, shape, dtype, most=size * _DEFLATE if packed else size, path=str(path))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not readable: {_line(error)}") from None


def read_npz(path: Path, names: Iterable[str]) -> dict[str, Array]:
    """Return the named arrays of an .npz file."""
    _file_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            there = [name.removesuffix(".npy") for name in members]
            _columns_there(there, names, where=str(path))
            return {name: _member(archive, archive.getinfo(f"{name}.npy"), f"{path}: {name}") for name in names}
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, KeyError, RuntimeError) as error:
        raise DataError(f"{path}: an .npz file was wanted; {_line(error)}") from None


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> Array:
    with archive.open(member) as file:
        try:
            version = np.lib.format.read_magic(file)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = reader(file)
        except (ValueError, TypeError) as error:
            raise DataError(f"{where}: an array was wanted; {_line(error)}") from None
        if dtype.hasobject:
            raise DataError(f"{where}: Python objects are never unpickled; save numbers or fixed-width text")
        most = min(member.file_size, member.compress_size * _DEFLATE)
        values = _filled(file, shape[::-1] if fortran else shape, dtype, most=most, path=where)
        return values.T if fortran else values


def _filled(file: IO[bytes], shape: Sequence[int], dtype: np.dtype[Any], *, most: int, path: str) -> Array:
    """Read what a header promises, and see that it is all there is."""
    promised = math.prod(shape) * dtype.itemsize
    what = f"{'×'.join(map(str, shape))} of {dtype.itemsize} bytes"
    if promised > _MOST_BYTES:
        raise DataError(f"{path}: the header promises {what}; at most {_MOST_BYTES:,} bytes are read. Cut it in parts")
    content = file.read(promised + 1) if promised <= most else b""
    if len(content) != promised:
        more = "more" if len(content) > promised else "less"
        raise DataError(f"{path}: the header promises {what}, {promised:,} bytes; the file holds {more}")
    return np.frombuffer(content, dtype).reshape(shape)


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


def read_table(path: Path, columns: Sequence[str], *, text: Sequence[str], csv: Csv | None = None) -> pa.Table:
    """Return columns of a Parquet, Arrow or CSV file; of a name that ends in `*`, all that begin so, by number.

    Parameters
    ----------
    text : the columns that a CSV file is not to guess a type for: `007` stays `007`
    csv : how the file is written, if it is a CSV file by whatever name
    """
    size = _file_size(path)
    if csv is None and path.suffix not in TABLES:
        raise ConfigError(f"{path}: a table is one of {', '.join(TABLES)}; mend the path in params.yaml: data.source")
    if size == 0:
        raise DataError(f"{path} is empty; a table with a row for each example was wanted")
    try:
        table = _csv(path, columns, text, csv) if csv is not None else _READERS[path.suffix](path, columns, text)
        table.validate(full=True)  # or a lying file would be found out by a crash
    except (pa.ArrowException, OSError, MemoryError, KeyError, ValueError) as error:
        raise DataError(f"{path} is no readable {'csv' if csv else path.suffix[1:]} file: {_line(error)}") from None
    if len(table) == 0:
        raise DataError(f"{path} has no rows; a row for each example was wanted")
    return table


def _parquet(path: Path, columns: Sequence[str], _: Sequence[str]) -> pa.Table:
    with pa.parquet.ParquetFile(path) as file:
        groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
        unpacked = sum(group.total_byte_size for group in groups)
        if unpacked > _MOST_BYTES:
            raise DataError(f"{path} unpacks to {unpacked:,} bytes; at most {_MOST_BYTES:,} are read. Cut it in parts")
        return file.read(columns=_expanded(file.schema_arrow.names, columns, path))


def _arrow(path: Path, columns: Sequence[str], _: Sequence[str]) -> pa.Table:
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    return table.select(_expanded(table.column_names, columns, path))


def _csv(path: Path, columns: Sequence[str], text: Sequence[str], form: Csv | None = None) -> pa.Table:
    form = form or Csv()
    parsing = pa.csv.ParseOptions(newlines_in_values=True, delimiter=form.delimiter)
    strings = dict.fromkeys(text, pa.string())
    content = None if form.comment is None else _uncommented(path, form.comment)
    if form.names is not None:
        header = list(form.names)
    else:
        # Nothing converted yet: in the header alone, columns that are not wanted cannot be at fault.
        with path.open("rb") if content is None else io.BytesIO(content) as file:
            first = file.readline(2**20)
        header = pa.csv.read_csv(pa.BufferReader(first), parse_options=parsing).column_names
    converting = pa.csv.ConvertOptions(include_columns=_expanded(header, columns, path), column_types=strings)
    return pa.csv.read_csv(
        path if content is None else pa.BufferReader(content),
        read_options=pa.csv.ReadOptions(column_names=form.names),
        parse_options=parsing,
        convert_options=converting,
    )


def _uncommented(path: Path, comment: str) -> bytes:
    with path.open("rb") as file:
        return b"".join(line for line in file if not line.startswith(comment.encode()))


_READERS: dict[str, Callable[[Path, Sequence[str], Sequence[str]], pa.Table]] = {
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".feather": _arrow,
    ".csv": _csv,
}


def _expanded(there: Sequence[str], columns: Sequence[str], path: Path) -> list[str]:
    wanted: list[str] = []
    for column in columns:
        start = column.removesuffix("*")
        if start == column:
            wanted.append(column)
            continue
        numbered = {name: name[len(start) :] for name in there if name.startswith(start)}
        found = [name for name, number in numbered.items() if number.isascii() and number.isdecimal()]
        wanted += sorted(found, key=lambda name: int(numbered[name])) or [column]
    _columns_there(there, wanted, where=str(path))
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


def _file_size(path: Path) -> int:
    if not path.is_file():
        raise DataError(f"{path} is missing; mend the path in params.yaml: data.source, or put the file there")
    return path.stat().st_size


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
