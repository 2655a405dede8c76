"""The file a prepared split lives in: Arrow IPC, one record batch, tensors, rows sorted by cell.

Arrow IPC and not Parquet, because it memory-maps: opening costs the same for a thousand images and for a
hundred million, and pages come in as they are drawn. One record batch, so the images are one array.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from fair_distill.artifacts import written_aside
from fair_distill.data.grouped import GroupedDataset
from fair_distill.errors import DataError

_KEY = b"fair_distill"


def write_split(dataset: GroupedDataset, path: Path) -> None:
    """Write a split; the same rows give the same bytes."""
    about = {
        "kind": "split",
        "classes": dataset.classes,
        "groups": dataset.group_names,
        "offsets": dataset.offsets.tolist(),
    }
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
        pa.ipc.new_file(sink, schema) as writer,
    ):
        writer.write_batch(batch)


def read_split(path: Path) -> GroupedDataset:
    """Open a split. The images are a read-only view of the memory-mapped file.

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
        image = table.column("image").combine_chunks()
        dataset = GroupedDataset(
            images=image.to_numpy_ndarray(),
            labels=table.column("label").to_numpy().astype(np.int64),
            groups=table.column("group").to_numpy().astype(np.int64),
            pairs=table.column("pair").to_numpy(),
            classes=tuple(about["classes"]),
            group_names=tuple(about["groups"]),
            offsets=np.array(about["offsets"], dtype=np.int64),
        )
    except FileNotFoundError:
        raise DataError(f"{path} is missing; `fair-distill prepare` writes it") from None
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a prepared split ({error}); run `fair-distill prepare` again") from None
    if not _sorted_by_cell(dataset):
        raise DataError(f"{path}: rows are not sorted by cell as its header says; run `fair-distill prepare` again")
    return dataset


def _sorted_by_cell(dataset: GroupedDataset) -> bool:
    """Say whether labels and groups are those that the offsets give, row by row: order and range at once."""
    counts = np.diff(dataset.offsets)
    if dataset.offsets[0] != 0 or (counts < 0).any():
        return False
    label, group = np.divmod(np.arange(len(counts)), len(dataset.group_names))
    return np.array_equal(dataset.labels, np.repeat(label, counts)) and np.array_equal(
        dataset.groups, np.repeat(group, counts)
    )
