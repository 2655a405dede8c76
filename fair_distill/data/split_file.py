"""The file of a prepared split: Arrow IPC with one record batch, tensors, and rows sorted by cell.

Arrow IPC can be memory-mapped, unlike Parquet: opening takes the same time for a thousand images and for a hundred
million, and pages are read when they are used. With one record batch, the images are one array.

Pixels do not have to be in memory to be written. `write_split_without_images` writes everything else, and leaves a hole
in the file that can be filled in any order. The file gets the same bytes as from `write_split`.
"""

import json
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.errors import ConfigError, DataError
from fair_distill.files import atomic_file
from fair_distill.formats import arrow
from fair_distill.formats.row_schema import RowSchema

_KEY = b"fair_distill"
# The names of the unit of each example. There are two if the source has clusters and pairs.
_UNIT_COLUMNS = ("unit", "pair_unit")
# A batch may have more than 2³¹ pixels, such as 700,000 images of 3 × 32 × 32.
_LARGE = pa.ipc.IpcWriteOptions(allow_64bit=True)


def write_split(dataset: GroupedDataset, path: Path) -> None:
    """Write a split. The same rows give the same bytes."""
    with atomic_file(path) as temporary, pa.OSFile(str(temporary), "wb") as sink:
        _write(dataset, np.ascontiguousarray(dataset.images), sink)


@contextmanager
def write_split_without_images(split: GroupedDataset, path: Path) -> Iterator[Array]:
    """Write a split with placeholder images, and yield its pixels, (N, channels, height, width), to be filled.

    The pixels are pages of the file, and black at first. The file gets its name when the block ends without an error.
    """
    images = split.images
    with atomic_file(path) as temporary:
        with mmap.mmap(-1, images.nbytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ) as zeros:
            black = np.frombuffer(zeros, images.dtype).reshape(images.shape)
            with temporary.open("wb") as file:
                sink = _FileWithHole(file, address=black.ctypes.data)
                _write(split, black, pa.PythonFile(sink, "w"))
            del black  # a view would prevent the mapping from being closed
        try:
            with temporary.open("rb+") as file:
                # Allocate all pages now. A page that the file system cannot allocate later would kill the process.
                os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
            pixels = np.memmap(temporary, images.dtype, "r+", sink.offset, images.shape)
            yield pixels
            pixels.flush()
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}. Free space, or use another folder") from None


class _FileWithHole:
    """A file that skips one buffer instead of writing it, so that the file has a hole there.

    Attributes
    ----------
    offset : the position of the hole in the file
    """

    closed = False

    def __init__(self, file: IO[bytes], *, address: int) -> None:
        self._file, self._address, self.offset = file, address, 0

    def write(self, content: bytes | pa.Buffer) -> None:
        if isinstance(content, pa.Buffer) and content.address == self._address:
            self.offset = self._file.tell()
            self._file.seek(content.size, 1)
        else:
            self._file.write(content)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Do nothing; the caller closes the file."""


def _write(dataset: GroupedDataset, images: Array, sink: pa.NativeFile) -> None:
    header: dict[str, Any] = {
        "kind": "split",
        "classes": dataset.classes,
        "groups": dataset.groups,
        "offsets": dataset.offsets.tolist(),
    }
    # With one attribute, its values are the names of the groups.
    if dataset.attributes != tuple((name,) for name in dataset.groups):
        header["attributes"] = dataset.attributes
        header["attribute_names"] = dataset.attribute_names
    if dataset.schema is not None:
        header["schema"] = dataset.schema.to_dict()
    if dataset.missing_cells:
        header["missing_cells"] = dataset.missing_cells
    columns = {
        "image": pa.FixedShapeTensorArray.from_numpy_ndarray(images),
        "label": pa.array(dataset.labels, pa.int32()),
        "group": pa.array(dataset.group_indices, pa.int32()),
        "pair": pa.array(dataset.pairs, pa.int64()),
    }
    # Columns that the source does not have are left out of the file.
    if dataset.clustered is not None:
        columns["cluster"] = pa.array(dataset.clustered, pa.int64())
    if dataset.ids is not None:
        columns["example_id"] = dataset.ids
    if dataset.weights is not None:
        columns["weight"] = pa.array(dataset.weights, pa.float32())
    if dataset.units is not None:
        for name, names in zip(_UNIT_COLUMNS, dataset.units.T, strict=False):
            columns[name] = pa.array(np.ascontiguousarray(names), pa.uint64())
    schema = pa.schema(
        [(name, column.type) for name, column in columns.items()],
        metadata={_KEY: json.dumps(header, sort_keys=True)},
    )
    batch = pa.record_batch(list(columns.values()), schema=schema)
    with pa.ipc.new_file(sink, schema, options=_LARGE) as writer:
        writer.write_batch(batch)


def read_split(path: Path, *, verify: bool = True) -> GroupedDataset:
    """Open a split. Its images are a read-only view of the memory-mapped file.

    Parameters
    ----------
    verify : whether to compare the class and group of every row with the header, which reads two small columns. Without
        it, opening takes the same time for any size, and all columns are views of the file

    Raises
    ------
    DataError
        If the file is missing or is not a prepared split, or its rows do not match its header.
    """
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        header = json.loads((table.schema.metadata or {})[_KEY])
        if any(column.null_count for column in table.columns):
            raise ValueError("a value is null")
        optional = [name for name in ("cluster", "weight", *_UNIT_COLUMNS) if name in table.column_names]
        columns = {name: _view(table.column(name)) for name in ("label", "group", "pair", *optional)}
        image = table.column("image")
        index_type = np.int64 if verify else np.int32
        dataset = GroupedDataset(
            images=_view(image).reshape(-1, *image.type.shape),
            labels=columns["label"].astype(index_type, copy=False),
            group_indices=columns["group"].astype(index_type, copy=False),
            pairs=columns["pair"],
            classes=tuple(header["classes"]),
            groups=tuple(header["groups"]),
            offsets=np.array(header["offsets"], dtype=np.int64),
            attributes=tuple(tuple(values) for values in header.get("attributes", ())),
            schema=RowSchema.from_dict(header["schema"]) if "schema" in header else None,
            attribute_names=tuple(header.get("attribute_names", ())),
            clustered=columns.get("cluster"),
            ids=table.column("example_id").chunk(0) if "example_id" in table.column_names else None,
            weights=columns.get("weight"),
            missing_cells=header.get("missing_cells", {}),
            units=_units([columns[name] for name in _UNIT_COLUMNS if name in columns]),
        )
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run `fair-distill stage prepare`, which writes it") from None
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a prepared split ({error}). Run `fair-distill stage prepare` again") from None
    if not _is_ascending(dataset.offsets) or (verify and not _is_sorted_by_cell(dataset)):
        raise DataError(
            f"{path}: the rows are not sorted by cell as the header says. Run `fair-distill stage prepare` again"
        )
    return dataset


def _view(column: pa.ChunkedArray) -> Array:
    if column.num_chunks != 1:
        raise ValueError(f"it has {column.num_chunks} record batches; expected one")
    return arrow.view(column.chunk(0))


def _units(names: Sequence[Array]) -> Array | None:
    """Return the names of units as one array (N, K). A single column stays a view of the file."""
    if len(names) == 1:
        return names[0].reshape(-1, 1)
    return np.stack(names, axis=1) if names else None


def _is_ascending(offsets: Array) -> bool:
    return bool(offsets[0] == 0 and (np.diff(offsets) >= 0).all())


def _is_sorted_by_cell(dataset: GroupedDataset) -> bool:
    """Whether the class and group of each row are those of its cell, which checks their order and their range."""
    cells = np.ndindex(dataset.counts.shape)
    return all(
        bool((dataset.labels[start:stop] == label).all() and (dataset.group_indices[start:stop] == group).all())
        for (label, group), start, stop in zip(cells, dataset.offsets[:-1], dataset.offsets[1:], strict=True)
    )
