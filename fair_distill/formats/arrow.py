"""Conversion between NumPy and Arrow, and bounded reading of foreign Parquet files.

pyarrow's own conversions import pandas if it is installed, which takes a second in each stage.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fair_distill.formats.parquet_footer import row_groups
from fair_distill.formats.parquet_pages import pages_of

# The decoded size that is allowed for any foreign file, and otherwise the largest ratio to the size of the file. Pixels
# and predictions compress at most about 50-fold.
_ALWAYS_ALLOWED_BYTES, _MAX_RATIO = 64 * 2**20, 64
_FOOTER_BYTES, _FOOTER_VALUES = 32 * 2**20, 100_000
_TEXTS = (pa.string(), pa.large_string())
_FOREIGN_TEXTS = (*_TEXTS, pa.string_view())


def array(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Return numbers (N,) as an Arrow array of a type. Raises ArrowInvalid if the type cannot represent a number."""
    values = np.ascontiguousarray(values)
    result = pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])
    return result if result.type == kind else result.cast(kind)


def tensors(values: NDArray[Any]) -> pa.FixedShapeTensorArray:
    """Return tensors (N, ...) as an Arrow array with N entries."""
    kind, shape = pa.from_numpy_dtype(values.dtype), values.shape[1:]
    rows = pa.FixedSizeListArray.from_arrays(array(values.reshape(-1), kind), int(np.prod(shape)))
    return pa.ExtensionArray.from_storage(tensor_type(kind, shape), rows)


def tensor_type(kind: pa.DataType, shape: tuple[int, ...]) -> pa.DataType:
    """Return the type of a column of tensors, with the order of the axes, which pyarrow's own writer adds too."""
    return pa.fixed_shape_tensor(kind, shape, permutation=list(range(len(shape))))


def view(array: pa.Array) -> NDArray[Any]:
    """Return the numbers of an Arrow array without a copy. Tensors are flattened into one axis."""
    if isinstance(array, pa.ExtensionArray):
        rows, width = array.storage, array.storage.type.list_size
        # `flatten` returns the same numbers, but imports pyarrow.compute, which takes as long as reading a set.
        array = rows.values.slice(rows.offset * width, len(rows) * width)
    numbers: NDArray[Any] = np.from_dlpack(array)
    return numbers


def decoded_limit(content: bytes) -> int:
    """Return how many bytes a foreign Parquet file may have when it is decoded."""
    return max(_ALWAYS_ALLOWED_BYTES, _MAX_RATIO * len(content))


def parquet_metadata(content: bytes) -> dict[bytes, bytes]:
    """Return the metadata in the schema of a Parquet file. Only the footer is read."""
    return dict(_open(content).schema_arrow.metadata or {})


def read_parquet_bounded(
    content: bytes,
    columns: Mapping[str, pa.DataType],
    *,
    max_bytes: int,
    rows: int | None = None,
    only: Sequence[str] | None = None,
) -> pa.Table:
    """Read a foreign Parquet file after checking that it decodes to at most `max_bytes`.

    The writer chooses row groups, page sizes, dictionaries and run lengths, so the headers of all pages are compared
    with the number of rows times the width of the columns before anything is decompressed.

    Parameters
    ----------
    columns : the allowed columns with their types: numbers, texts, or tensors of numbers
    rows : the required number of rows; None allows any number that fits into `max_bytes`
    only : the columns to return. The sizes of all columns are checked

    Raises
    ------
    ValueError, pyarrow.ArrowException, OSError
        If the file is not Parquet, or violates one of these limits.
    """
    file = _open(content)
    metadata, schema = file.metadata, file.schema_arrow
    if rows is not None and metadata.num_rows != rows:
        raise ValueError(f"it has {metadata.num_rows:,} rows; expected {rows:,}")
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if field.name not in columns or kind != columns[field.name]:
            expected = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            raise ValueError(f"it has a column {field.name[:80]!r} of {str(kind)[:80]}; expected {expected[:400]}")
    _check_decoded_size(file, content, max_bytes)
    return _without_dictionaries(file.read(columns=only), max_bytes)


def read_foreign_parquet(content: bytes, *, max_bytes: int) -> pa.Table:
    """Read the columns of a Parquet file from any writer, after checking that it decodes to at most `max_bytes`.

    Texts of every Arrow type are returned as dictionaries with indices, because most of them are repeated names.

    Raises
    ------
    ValueError, pyarrow.ArrowException, OSError
        If the file is not Parquet, has no rows or a column that is neither a number nor a text, or is too large.
    """
    file = _open(content, _FOREIGN_TEXTS)
    if not file.metadata.num_rows:
        raise ValueError("it has no rows")
    for field in file.schema_arrow:
        texts = pa.types.is_dictionary(field.type) and field.type.value_type in _FOREIGN_TEXTS
        if not (texts or pa.types.is_integer(field.type) or pa.types.is_floating(field.type)):
            raise ValueError(
                f"column {field.name[:80]!r} has the type {str(field.type)[:80]}; write text, integers or floating "
                "point numbers, or remove the column"
            )
    _check_decoded_size(file, content, max_bytes)
    return file.read()


def _check_decoded_size(file: pq.ParquetFile, content: bytes, max_bytes: int) -> None:
    """Raise ValueError if a file decodes to more than `max_bytes`, or if its page headers contradict its footer."""
    metadata, schema = file.metadata, file.schema_arrow
    if len(set(schema.names)) != len(schema.names) or metadata.num_columns != len(schema.names):
        raise ValueError("it has two columns with the same name, or a nested column")
    widths = [_width(field.type) for field in schema]
    decoded = metadata.num_rows * sum(values * size for values, size in widths)
    _check_bytes(decoded, max_bytes)
    counted_rows = decoded_pages = 0
    for group in row_groups(content):
        counted_rows += group.rows
        if len(group.columns) != len(widths):
            raise ValueError(f"a row group has {len(group.columns)} columns; the schema has {len(widths)}")
        for name, (values, _), column in zip(schema.names, widths, group.columns, strict=True):
            pages = pages_of(content, column.start, column.size)
            if not pages.values == column.values == group.rows * values:
                raise ValueError(
                    f"column {name[:80]!r} has {pages.values:,} values in {group.rows:,} rows; expected "
                    f"{group.rows * values:,}"
                )
            decoded_pages += pages.size
            _check_bytes(decoded_pages, max_bytes)
    if counted_rows != metadata.num_rows:
        raise ValueError(f"its row groups have {counted_rows:,} rows, but its footer says {metadata.num_rows:,}")


def _open(content: bytes, text_types: Sequence[pa.DataType] = _TEXTS) -> pq.ParquetFile:
    if int.from_bytes(content[-8:-4], "little") > _FOOTER_BYTES:
        raise ValueError(f"its footer has more than {_FOOTER_BYTES:,} bytes")
    # Texts are read as a dictionary with indices, because one long text may be the value of every row.
    limits = {"thrift_string_size_limit": _FOOTER_BYTES, "thrift_container_size_limit": _FOOTER_VALUES}
    schema = pq.ParquetFile(pa.BufferReader(content), **limits).schema_arrow
    texts = [field.name for field in schema if field.type in text_types]
    return pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts, **limits)


def _width(kind: pa.DataType) -> tuple[int, int]:
    """Return the values per cell of a column, and the bytes of each. A text counts as its index in the dictionary."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return kind.storage_type.list_size, kind.value_type.bit_width // 8
    return 1, 4 if pa.types.is_dictionary(kind) else max(1, kind.bit_width // 8)


def _without_dictionaries(table: pa.Table, max_bytes: int) -> pa.Table:
    """Return a table with texts instead of dictionaries. In NumPy, each text needs 4 bytes times the longest text."""
    for i, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            column = table.column(i)
            longest = max((_longest(part.dictionary) for part in column.chunks), default=0)
            _check_bytes(4 * len(table) * longest, max_bytes)
            table = table.set_column(i, field.name, column.cast(field.type.value_type))
    return table


def _longest(texts: pa.Array) -> int:
    """Return the bytes of the longest text, without pyarrow.compute, whose import takes as long as reading a set."""
    kind = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    ends = np.frombuffer(texts.buffers()[1] or b"", kind)[texts.offset : texts.offset + len(texts) + 1]
    return int(np.diff(ends).max(initial=0))


def _check_bytes(needed: int, max_bytes: int) -> None:
    if needed > max_bytes:
        raise ValueError(f"it decodes to {needed:,} bytes; at most {max_bytes:,} are allowed for a file of its size")
