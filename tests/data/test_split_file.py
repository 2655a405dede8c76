"""A prepared split comes back from its file as it was, or not at all."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_workspace import grouped

from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.data.split_file import read_split, write_split
from fair_distill.errors import DataError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "split.arrow"


def backing(array: Array) -> object:
    """The object whose memory an array shows."""
    base: object = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return base


def test_a_split_reads_back_as_it_was_written(path: Path) -> None:
    split = replace(grouped([[3, 0], [2, 4]]), pairs=np.arange(9)[::-1] * 2**33)

    write_split(split, path)
    read = read_split(path)

    for name in ("images", "labels", "group_indices", "pairs", "offsets"):
        assert np.array_equal(getattr(read, name), getattr(split, name)), name
        assert getattr(read, name).dtype == getattr(split, name).dtype, name
    assert (read.classes, read.groups) == (split.classes, split.groups)


@pytest.mark.parametrize(
    "attributes", [(("f", "dark"), ("f", "light")), (("f", "dark"), ("f", None)), (("group0",), (None,))]
)
def test_what_groups_are_made_of_reads_back_and_is_written_only_where_names_do_not_say_it(
    path: Path, attributes: tuple[tuple[str | None, ...], ...]
) -> None:
    plain = grouped([[3, 0], [2, 4]])
    write_split(plain, path)
    assert b"attributes" not in path.read_bytes()
    assert read_split(path).attributes == (("group0",), ("group1",))

    write_split(replace(plain, attributes=attributes), path)

    assert read_split(path).attributes == attributes
    assert read_split(path).known.tolist() == [None not in values for values in attributes]


def test_equal_rows_give_equal_bytes(path: Path, tmp_path: Path) -> None:
    write_split(grouped([[3, 1], [2, 4]]), path)
    write_split(grouped([[3, 1], [2, 4]]), tmp_path / "again")
    write_split(grouped([[3, 1], [2, 4]], seed=1), tmp_path / "other")

    assert path.read_bytes() == (tmp_path / "again").read_bytes()
    assert path.read_bytes() != (tmp_path / "other").read_bytes()


def test_images_are_a_view_of_the_file_that_nobody_can_write_to(path: Path) -> None:
    write_split(grouped([[3, 1], [2, 4]]), path)

    images = read_split(path).images

    assert not images.flags.owndata
    assert not images.flags.writeable
    assert not isinstance(backing(images), np.ndarray)  # no copy in between
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_opening_takes_no_memory_for_what_is_in_the_file(path: Path) -> None:
    write_split(grouped([[40, 10], [20, 40]], size=64), path)

    for verify in (True, False):
        before = pa.total_allocated_bytes()
        opened = read_split(path, verify=verify)
        assert pa.total_allocated_bytes() - before < opened.images.nbytes / 100


def test_without_verification_columns_are_views_and_the_header_is_still_held_to_account(path: Path) -> None:
    split = grouped([[3, 1], [2, 4]])
    write_split(split, path)

    opened = read_split(path, verify=False)

    assert np.array_equal(opened.labels, split.labels)
    assert np.array_equal(opened.group_indices, split.group_indices)
    assert not any(
        column.flags.owndata for column in (opened.images, opened.labels, opened.group_indices, opened.pairs)
    )
    crafted(path, split, labels=split.labels[::-1].copy())  # only reading the rows finds this
    assert read_split(path, verify=False).counts.tolist() == split.counts.tolist()
    crafted(path, split, offsets=np.array([0, 5, 4, 6, 10]))
    with pytest.raises(DataError, match="not sorted by cell as the header says"):
        read_split(path, verify=False)


def test_a_split_in_several_batches_is_refused(path: Path) -> None:
    write_split(grouped([[3, 1], [2, 4]]), path)
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()

    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)

    assert "record batches; expected one" in fault(path)


def test_a_view_of_part_of_the_images_is_written_as_its_rows(path: Path) -> None:
    split = grouped([[3, 1], [2, 4]])

    write_split(replace(split, images=np.flip(split.images, axis=3)), path)

    assert np.array_equal(read_split(path).images, split.images[:, :, :, ::-1])


def test_a_missing_file_says_what_writes_it(path: Path) -> None:
    with pytest.raises(DataError, match=r"split\.arrow is missing; run `fair-distill stage prepare`"):
        read_split(path)


def fault(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_split(path)
    message = str(caught.value)
    assert str(path) in message
    assert "fair-distill stage prepare" in message
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("keep", [0, 1, 10, 0.5, 0.9, -1])
def test_a_truncated_file_is_refused(path: Path, keep: float) -> None:
    write_split(grouped([[3, 1], [2, 4]]), path)
    content = path.read_bytes()

    path.write_bytes(content[: int(len(content) * keep) if 0 < keep < 1 else int(keep)])

    fault(path)


def test_files_of_another_kind_are_refused(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(4096))
    fault(path)

    pq.write_table(pa.table({"label": [0, 1]}), path)
    fault(path)

    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, pa.schema([("label", pa.int32())])) as writer:
        writer.write_batch(pa.record_batch({"label": pa.array([0, 1], pa.int32())}))
    fault(path)

    path.unlink()
    path.mkdir()
    fault(path)


def crafted(path: Path, split: GroupedDataset, **changes: Any) -> None:
    """Write rows that the constructor does not look at: it trusts whoever sorted them."""
    write_split(replace(split, **changes), path)


def test_rows_out_of_order_are_refused_wherever_they_stand(path: Path) -> None:
    split = grouped([[6, 0], [6, 0]], size=1)

    for i in range(6):
        for j in range(6, 12):  # a binary search does not look at most of them
            labels = split.labels.copy()
            labels[[i, j]] = labels[[j, i]]
            crafted(path, split, labels=labels)
            assert "not sorted by cell" in fault(path)


def test_indices_outside_the_names_are_refused(path: Path) -> None:
    split = grouped([[1, 1], [1, 1]], size=1)

    crafted(
        path, split, group_indices=np.array([0, 1, 2, 1]), labels=np.array([0, 0, 0, 1])
    )  # (0, 2) would be cell (1, 0)
    fault(path)
    crafted(path, split, group_indices=np.array([0, 1, 0, 1]), labels=np.array([0, 0, 1, 2]))
    fault(path)
    crafted(path, split, group_indices=np.array([-1, 1, 0, 1]))
    fault(path)


def test_offsets_that_go_back_are_refused(path: Path) -> None:
    split = grouped([[1, 1], [1, 1]], size=1)

    for offsets in ([0, 2, 1, 3, 4], [1, 1, 2, 3, 4], [-1, 1, 2, 3, 4]):
        crafted(path, split, offsets=np.array(offsets))
        fault(path)


@pytest.mark.parametrize("column", ["image", "label", "group", "pair"])
def test_a_null_is_refused(path: Path, column: str) -> None:
    write_split(grouped([[2, 2], [2, 2]], size=1), path)
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    at = table.schema.get_field_index(column)
    chunk = table.column(column).combine_chunks()
    plain = chunk.storage if column == "image" else chunk
    nulled = pa.array([None, *plain.to_pylist()[1:]], plain.type)
    if column == "image":
        nulled = pa.ExtensionArray.from_storage(chunk.type, nulled)
    broken = table.set_column(at, table.schema.field(at), nulled)

    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, broken.schema) as writer:
        writer.write_table(broken)

    fault(path)


def test_a_stale_reader_keeps_its_rows_when_the_file_is_written_anew(path: Path, tmp_path: Path) -> None:
    write_split(grouped([[3, 1], [2, 4]]), path)
    shutil.copy(path, tmp_path / "copy")
    images = read_split(path).images

    write_split(grouped([[3, 1], [2, 4]], seed=1), path)

    assert np.array_equal(images, read_split(tmp_path / "copy").images)
    assert not np.array_equal(images, read_split(path).images)
