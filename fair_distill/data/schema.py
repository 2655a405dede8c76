"""The file a prepared split lives in: Arrow IPC, one record batch, tensors, rows sorted by cell.

Arrow IPC and not Parquet, because it memory-maps: opening costs the same for a thousand images and for a
hundred million, and pages come in as they are drawn. One record batch, so the images are one array.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fair_distill.artifacts import written_aside
from fair_distill.data.grouped import Array, GroupedDataset
from fair_distill.errors import DataError
from fair_distill.rows import RowSchema

_KEY = b"fair_distill"
# More than 2³¹ pixels in one batch, as 700,000 images of 3 × 32 × 32 have.
_LARGE = pa.ipc.IpcWriteOptions(allow_64bit=True)


def write_split(dataset: GroupedDataset, path: Path) -> None:
    """Write a split; the same rows give the same bytes."""
    about: dict[str, Any] = {
        "kind": "split",
        "classes": dataset.classes,
        "groups": dataset.group_names,
        "offsets": dataset.offsets.tolist(),
    }
    if dataset.attributes != tuple((name,) for name in dataset.group_names):  # else the names say it all
        about["attributes"] = dataset.attributes
        about["attribute_names"] = dataset.attribute_names
    if dataset.schema is not None:
        about["schema"] = dataset.schema.to_dict()
    images = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(dataset.images))
    columns = {
        "image": images,
        "label": pa.array(dataset.labels, pa.int32()),
        "group": pa.array(dataset.groups, pa.int32()),
        "pair": pa.array(dataset.pairs, pa.int64()),
    }
    schema = pa.schema(
        [(name, column.type) for name, column in columns.items()],
        metadata={_KEY: json.dumps(about, sort_keys=True)},
    )
    batch = pa.record_batch(list(columns.values()), schema=schema)
    with (
        written_aside(path) as aside,
        pa.OSFile(str(aside), "wb") as sink,
        pa.ipc.new_file(sink, schema, options=_LARGE) as writer,
    ):
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
        columns = {name: _view(table.column(name)) for name in ("label", "group", "pair")}
        image = table.column("image")
        kept = np.int64 if verify else np.int32
        dataset = GroupedDataset(
            images=_view(image).reshape(-1, *image.type.shape),
            labels=columns["label"].astype(kept, copy=False),
            groups=columns["group"].astype(kept, copy=False),
            pairs=columns["pair"],
            classes=tuple(about["classes"]),
            group_names=tuple(about["groups"]),
            offsets=np.array(about["offsets"], dtype=np.int64),
            attributes=tuple(tuple(values) for values in about.get("attributes", ())),
            schema=RowSchema.from_dict(about["schema"]) if "schema" in about else None,
            attribute_names=tuple(about.get("attribute_names", ())),
        )
    except FileNotFoundError:
        raise DataError(f"{path} is missing; `fair-distill prepare` writes it") from None
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a prepared split ({error}); run `fair-distill prepare` again") from None
    if not _in_order(dataset.offsets) or (verify and not _sorted_by_cell(dataset)):
        raise DataError(f"{path}: rows are not sorted by cell as its header says; run `fair-distill prepare` again")
    return dataset


def _view(column: pa.ChunkedArray) -> Array:
    """Return a column's numbers where they lie. Not `to_numpy`, which imports pandas where it is installed."""
    if column.num_chunks != 1:
        raise ValueError("one record batch was wanted")  # several would have to be copied together
    chunk = column.chunk(0)
    numbers: Array = np.from_dlpack(chunk.storage.flatten() if isinstance(chunk, pa.ExtensionArray) else chunk)
    return numbers


def _in_order(offsets: Array) -> bool:
    return bool(offsets[0] == 0 and (np.diff(offsets) >= 0).all())


def _sorted_by_cell(dataset: GroupedDataset) -> bool:
    """Say whether labels and groups are those that the offsets give, row by row: order and range at once."""
    cells = np.ndindex(dataset.counts.shape)
    return all(
        bool((dataset.labels[start:stop] == label).all() and (dataset.groups[start:stop] == group).all())
        for (label, group), start, stop in zip(cells, dataset.offsets[:-1], dataset.offsets[1:], strict=True)
    )
