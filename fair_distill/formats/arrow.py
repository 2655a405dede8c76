"""NumPy to Arrow and back. Not by pyarrow's own ways, which import pandas where it is installed: a second a stage."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fair_distill.formats.parquet_pages import pages_of

# What a reader may make of a file whose sizes nobody has vouched for: so much, or a multiple of the file. Pixels and
# predictions compress at most about 50-fold.
_LEAST_BYTES, _TIMES = 64 * 2**20, 64
_FOOTER_BYTES, _FOOTER_VALUES = 32 * 2**20, 100_000
_TEXTS = (pa.string(), pa.large_string())


def array(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Return numbers (N,) as an array of a kind that holds them all. Raises ArrowInvalid if it does not."""
    values = np.ascontiguousarray(values)
    own = pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])
    return own if own.type == kind else own.cast(kind)


def tensors(values: NDArray[Any]) -> pa.FixedShapeTensorArray:
    """Return tensors (N, ...) as an array of N."""
    kind, shape = pa.from_numpy_dtype(values.dtype), values.shape[1:]
    rows = pa.FixedSizeListArray.from_arrays(array(values.reshape(-1), kind), int(np.prod(shape)))
    return pa.ExtensionArray.from_storage(tensor_type(kind, shape), rows)


def tensor_type(kind: pa.DataType, shape: tuple[int, ...]) -> pa.DataType:
    """Return the type of a column of tensors; pyarrow's own writer names the order of the axes too."""
    return pa.fixed_shape_tensor(kind, shape, permutation=list(range(len(shape))))


def view(array: pa.Array) -> NDArray[Any]:
    """Return the numbers of an array without a copy; tensors are flattened into one axis."""
    if isinstance(array, pa.ExtensionArray):
        rows, width = array.storage, array.storage.type.list_size
        # `flatten` gives the same numbers, but imports pyarrow.compute, which takes as long as reading a set.
        array = rows.values.slice(rows.offset * width, len(rows) * width)
    numbers: NDArray[Any] = np.from_dlpack(array)
    return numbers


def decoded_limit(content: bytes) -> int:
    """Return how many bytes a foreign Parquet file may take up when it is decoded."""
    return max(_LEAST_BYTES, _TIMES * len(content))


def parquet_metadata(content: bytes) -> dict[bytes, bytes]:
    """Return the metadata in the schema of a Parquet file; reads its footer only."""
    return dict(_opened(content).schema_arrow.metadata or {})


def read_parquet_bounded(
    content: bytes,
    columns: Mapping[str, pa.DataType],
    *,
    max_bytes: int,
    rows: int | None = None,
    only: Sequence[str] | None = None,
) -> pa.Table:
    """Read a foreign Parquet file, once it is clear that it decodes to `max_bytes` at most.

    Row groups, page sizes, dictionaries and run lengths are the writer's choice, so the headers of all pages are
    compared with number of rows × width of the columns before anything is decompressed.

    Parameters
    ----------
    columns : the columns that may be there, with their types: numbers, texts, or tensors of numbers
    rows : how many rows there have to be; None if any number will do that fits into `max_bytes`
    only : the columns to return; the sizes of all columns are checked

    Raises
    ------
    ValueError, pyarrow.ArrowException, OSError
        If it is not such a file.
    """
    file = _opened(content)
    about, schema = file.metadata, file.schema_arrow
    if rows is not None and about.num_rows != rows:
        raise ValueError(f"it has {about.num_rows:,} rows; expected {rows:,}")
    widths = []
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if field.name not in columns or kind != columns[field.name]:
            wanted = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            raise ValueError(f"it has a column {field.name[:80]!r} of {str(kind)[:80]}; wanted are {wanted[:400]}")
        widths.append(_width(field.type))
    if len(set(schema.names)) != len(schema.names) or about.num_columns != len(schema.names):
        raise ValueError("it has a column twice, or a nested one")
    decoded = about.num_rows * sum(values * size for values, size in widths)
    _check_bytes(decoded, max_bytes)
    counted = unpacked = 0
    for i in range(about.num_row_groups):
        group = about.row_group(i)
        counted += group.num_rows
        for j, (values, _) in enumerate(widths):
            column = group.column(j)
            start = column.data_page_offset
            if column.has_dictionary_page and 0 < column.dictionary_page_offset < start:
                start = column.dictionary_page_offset
            pages = pages_of(content, start, column.total_compressed_size)
            if not pages.values == column.num_values == group.num_rows * values:
                raise ValueError(
                    f"column {schema.names[j][:80]!r} has {pages.values:,} values in {group.num_rows:,} rows; expected "
                    f"{group.num_rows * values:,}"
                )
            unpacked += pages.size
            _check_bytes(unpacked, max_bytes)
    if counted != about.num_rows:
        raise ValueError(f"its row groups have {counted:,} rows, its footer says {about.num_rows:,}")
    return _plain(file.read(columns=only), max_bytes)


def _opened(content: bytes) -> pq.ParquetFile:
    if int.from_bytes(content[-8:-4], "little") > _FOOTER_BYTES:
        raise ValueError(f"its footer has more than {_FOOTER_BYTES:,} bytes")
    # Texts as a dictionary and numbers: one long text may be the value of every row.
    how = {"thrift_string_size_limit": _FOOTER_BYTES, "thrift_container_size_limit": _FOOTER_VALUES}
    schema = pq.ParquetFile(pa.BufferReader(content), **how).schema_arrow
    texts = [field.name for field in schema if field.type in _TEXTS]
    return pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts, **how)


def _width(kind: pa.DataType) -> tuple[int, int]:
    """Return the values in a cell of a column, and the bytes of each; a text counts as its index in the dictionary."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return kind.storage_type.list_size, kind.value_type.bit_width // 8
    return 1, 4 if pa.types.is_dictionary(kind) else max(1, kind.bit_width // 8)


def _plain(table: pa.Table, max_bytes: int) -> pa.Table:
    """Return a table with texts instead of dictionaries. As an array of NumPy each text needs 4 bytes × the longest."""
    for i, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            column = table.column(i)
            longest = max((_longest(part.dictionary) for part in column.chunks), default=0)
            _check_bytes(4 * len(table) * longest, max_bytes)
            table = table.set_column(i, field.name, column.cast(field.type.value_type))
    return table


def _longest(texts: pa.Array) -> int:
    """Return the bytes of the longest text. Not by pyarrow.compute, whose import takes as long as reading a set."""
    kind = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    ends = np.frombuffer(texts.buffers()[1] or b"", kind)[texts.offset : texts.offset + len(texts) + 1]
    return int(np.diff(ends).max(initial=0))


def _check_bytes(needed: int, max_bytes: int) -> None:
    if needed > max_bytes:
        raise ValueError(f"it decodes to {needed:,} bytes; at most {max_bytes:,} are allowed for a file of its size")
