"""The file a prepared split lives in: Arrow IPC, one record batch, tensors, rows sorted by cell.

Arrow IPC and not Parquet, because it memory-maps: opening costs the same for a thousand images and for a
hundred million, and pages come in as they are drawn. One record batch, so the images are one array.

Pixels need not be in memory to be written: `split_to_fill` writes all else and leaves a hole in the file for them,
which is then filled in any order. The bytes are those that `write_split` would have written.
"""

import json
import mmap
import os
from collections.abc import Iterator
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
# More than 2³¹ pixels in one batch, as 700,000 images of 3 × 32 × 32 have.
_LARGE = pa.ipc.IpcWriteOptions(allow_64bit=True)


def write_split(dataset: GroupedDataset, path: Path) -> None:
    """Write a split; the same rows give the same bytes."""
    with atomic_file(path) as aside, pa.OSFile(str(aside), "wb") as sink:
        _write(dataset, np.ascontiguousarray(dataset.images), sink)


@contextmanager
def split_to_fill(split: GroupedDataset, path: Path) -> Iterator[Array]:
    """Write a split whose images are a stand-in; give its pixels, (N, channels, height, width), to be filled in.

    They are pages of the file, and black. The file stands under its name when the block has ended well.
    """
    images = split.images
    with atomic_file(path) as aside:
        with mmap.mmap(-1, images.nbytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ) as nothing:
            black = np.frombuffer(nothing, images.dtype).reshape(images.shape)
            with aside.open("wb") as file:
                sink = _Hollow(file, hollow=black.ctypes.data)
                _write(split, black, pa.PythonFile(sink, "w"))
            del black  # or the mapping could not be closed
        try:
            with aside.open(
                "rb+"
            ) as file:  # room for all pixels now: a page that finds none later is no error but death
                os.posix_fallocate(file.fileno(), 0, aside.stat().st_size)
            pixels = np.memmap(aside, images.dtype, "r+", sink.offset, images.shape)
            yield pixels
            pixels.flush()
        except OSError as error:  # a full disk is the reader's to mend
            raise ConfigError(f"cannot write {path}: {error.strerror}") from None


class _Hollow:
    """A file in which one buffer, known by its address, is passed over and not written: the system keeps a hole there.

    Attributes
    ----------
    offset : where in the file the hole begins
    """

    closed = False

    def __init__(self, file: IO[bytes], *, hollow: int) -> None:
        self._file, self._hollow, self.offset = file, hollow, 0

    def write(self, content: bytes | pa.Buffer) -> None:
        if isinstance(content, pa.Buffer) and content.address == self._hollow:
            self.offset = self._file.tell()
            self._file.seek(content.size, 1)
        else:
            self._file.write(content)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Whoever opened the file closes it."""


def _write(dataset: GroupedDataset, images: Array, sink: pa.NativeFile) -> None:
    about: dict[str, Any] = {
        "kind": "split",
        "classes": dataset.classes,
        "groups": dataset.groups,
        "offsets": dataset.offsets.tolist(),
    }
    if dataset.attributes != tuple((name,) for name in dataset.groups):  # else the names say it all
        about["attributes"] = dataset.attributes
        about["attribute_names"] = dataset.attribute_names
    if dataset.schema is not None:
        about["schema"] = dataset.schema.to_dict()
    if dataset.missing_cells:
        about["missing_cells"] = dataset.missing_cells
    columns = {
        "image": pa.FixedShapeTensorArray.from_numpy_ndarray(images),
        "label": pa.array(dataset.labels, pa.int32()),
        "group": pa.array(dataset.group_indices, pa.int32()),
        "pair": pa.array(dataset.pairs, pa.int64()),
    }
    # A source that does not have them makes a file without them.
    if dataset.clustered is not None:
        columns["cluster"] = pa.array(dataset.clustered, pa.int64())
    if dataset.ids is not None:
        columns["example_id"] = dataset.ids
    if dataset.weights is not None:
        columns["weight"] = pa.array(dataset.weights, pa.float32())
    schema = pa.schema(
        [(name, column.type) for name, column in columns.items()],
        metadata={_KEY: json.dumps(about, sort_keys=True)},
    )
    batch = pa.record_batch(list(columns.values()), schema=schema)
    with pa.ipc.new_file(sink, schema, options=_LARGE) as writer:
        writer.write_batch(batch)


def read_split(path: Path, *, verify: bool = True) -> GroupedDataset:
    """Open a split. The images are a read-only view of the memory-mapped file.

    Parameters
    ----------
    verify : whether every row's class and group are held against the header, which reads two small columns whole.
        Without it opening costs the same whatever the file's size, and all columns are views of the file

    Raises
    ------
    DataError
        If the file is missing, is not a prepared split, or its rows are not what its header says.
    """
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        about = json.loads((table.schema.metadata or {})[_KEY])
        if any(column.null_count for column in table.columns):
            raise ValueError("a value is null")
        there = [name for name in ("cluster", "weight") if name in table.column_names]
        columns = {name: _view(table.column(name)) for name in ("label", "group", "pair", *there)}
        image = table.column("image")
        kept = np.int64 if verify else np.int32
        dataset = GroupedDataset(
            images=_view(image).reshape(-1, *image.type.shape),
            labels=columns["label"].astype(kept, copy=False),
            group_indices=columns["group"].astype(kept, copy=False),
            pairs=columns["pair"],
            classes=tuple(about["classes"]),
            groups=tuple(about["groups"]),
            offsets=np.array(about["offsets"], dtype=np.int64),
            attributes=tuple(tuple(values) for values in about.get("attributes", ())),
            schema=RowSchema.from_dict(about["schema"]) if "schema" in about else None,
            attribute_names=tuple(about.get("attribute_names", ())),
            clustered=columns.get("cluster"),
            ids=table.column("example_id").chunk(0) if "example_id" in table.column_names else None,
            weights=columns.get("weight"),
            missing_cells=about.get("missing_cells", {}),
        )
    except FileNotFoundError:
        raise DataError(f"{path} is missing; `fair-distill stage prepare` writes it") from None
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a prepared split ({error}); run `fair-distill stage prepare` again") from None
    if not _in_order(dataset.offsets) or (verify and not _sorted_by_cell(dataset)):
        raise DataError(
            f"{path}: rows are not sorted by cell as its header says; run `fair-distill stage prepare` again"
        )
    return dataset


def _view(column: pa.ChunkedArray) -> Array:
    if column.num_chunks != 1:
        raise ValueError("one record batch was wanted")  # several would have to be copied together
    return arrow.view(column.chunk(0))


def _in_order(offsets: Array) -> bool:
    return bool(offsets[0] == 0 and (np.diff(offsets) >= 0).all())


def _sorted_by_cell(dataset: GroupedDataset) -> bool:
    """Say whether labels and groups are those that the offsets give, row by row: order and range at once."""
    cells = np.ndindex(dataset.counts.shape)
    return all(
        bool((dataset.labels[start:stop] == label).all() and (dataset.group_indices[start:stop] == group).all())
        for (label, group), start, stop in zip(cells, dataset.offsets[:-1], dataset.offsets[1:], strict=True)
    )
