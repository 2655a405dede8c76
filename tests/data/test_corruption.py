"""Whatever becomes of a source's files, `prepare` reads them or refuses them in one line: it never crashes, nor leaves
half of anything. Where a format has checksums, what it reads is what was written.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_files import FORMS, SPLITS, N, facts, images, written
from small_workspace import Ended, run, small_params, write_params

from fair_distill.data.split_file import read_split
from fair_distill.workspace import SPLITS as NAMES
from fair_distill.workspace import Workspace

Draw = Callable[[st.SearchStrategy[Any]], Any]
Table = Callable[[pa.Table, str, Draw], pa.Table]


def prepared(root: Path, source: dict[str, Any]) -> Ended:
    write_params(root, small_params() | {"data": {"source": source, "splits": SPLITS}})
    return run(root, "prepare")


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def contents(root: Path) -> list[bytes]:
    return [Workspace(root).split(name).read_bytes() for name in NAMES]


def read_or_refused(root: Path, source: dict[str, Any]) -> bool:
    """Say whether it was read; if it was not, in one line and with nothing left behind."""
    before = names(root)
    ended = prepared(root, source)
    if ended.code == 0:
        assert ended.err == ""
        assert all(len(read_split(Workspace(root).split(name))) for name in NAMES)
        return True
    assert (ended.code, ended.out) == (2, ""), ended.err
    assert len(ended.err.splitlines()) == 1, ended.err
    assert names(root) == before | {"params.yaml"}
    return False


# Bytes of a file: cut off, flipped, zeroed, left out, repeated, put elsewhere.


def places(content: bytes, draw: Draw) -> tuple[int, int]:
    """A stretch of a file; often a short one, and often in its head or its foot, where there is most to break."""
    length = draw(st.integers(1, 16) | st.integers(1, len(content)))
    near = st.integers(0, 64) | st.integers(max(0, len(content) - 64), len(content)) | st.integers(0, len(content))
    start = min(draw(near), len(content) - 1)
    return start, min(start + length, len(content))


def cut(content: bytes, draw: Draw) -> bytes:
    return content[: places(content, draw)[0]]


def flipped(content: bytes, draw: Draw) -> bytes:
    start, _ = places(content, draw)
    return content[:start] + bytes([content[start] ^ draw(st.integers(1, 255))]) + content[start + 1 :]


def zeroed(content: bytes, draw: Draw) -> bytes:
    start, stop = places(content, draw)
    return content[:start] + bytes(stop - start) + content[stop:]


def without(content: bytes, draw: Draw) -> bytes:
    start, stop = places(content, draw)
    return content[:start] + content[stop:]


def repeated(content: bytes, draw: Draw) -> bytes:
    start, stop = places(content, draw)
    return content[:stop] + content[start:stop] + content[stop:]


def spliced(content: bytes, draw: Draw) -> bytes:
    (start, stop), (at, _) = places(content, draw), places(content, draw)
    return (content[:at] + content[start:stop] + content[at + stop - start :])[: len(content)]


def foreign(content: bytes, draw: Draw) -> bytes:
    start, _ = places(content, draw)
    added: bytes = draw(st.binary(min_size=1, max_size=12))
    return content[:start] + added + content[start:]


BYTES = [cut, flipped, zeroed, without, repeated, spliced, foreign]
SEALED = {"images", "about.npz", "all.npz"}  # gzip, zip and PNG have checksums


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_broken_bytes(form: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("bytes")
    source = plain(written(form, root))
    files = sorted(path for path in root.rglob("*") if path.is_file())
    tables = [path for path in files if path.suffix != ".png"]
    path = data.draw(st.sampled_from(tables) | st.sampled_from(files))
    whole = path.read_bytes()

    path.write_bytes(data.draw(st.sampled_from(BYTES))(whole, data.draw))

    if read_or_refused(root, source) and (path.name in SEALED or path.suffix == ".png"):
        came = contents(root)
        path.write_bytes(whole)
        prepared(root, source)
        assert contents(root) == came


# Columns of a table: twice, gone, of another type, with holes, with rows twice or in another order.


def twice(table: pa.Table, name: str, draw: Draw) -> pa.Table:
    return table.append_column(name, table.column(name))


def gone(table: pa.Table, name: str, draw: Draw) -> pa.Table:
    return table.drop_columns(name)


def renamed(table: pa.Table, name: str, draw: Draw) -> pa.Table:
    return table.rename_columns([draw(st.text(max_size=3)) if each == name else each for each in table.column_names])


def of_another_type(table: pa.Table, name: str, draw: Draw) -> pa.Table:
    kinds = {
        "float": pa.array(np.linspace(-1, 1, len(table))),
        "large": pa.array(np.full(len(table), 2**63 - 1)),
        "bool": pa.array([True] * len(table)),
        "time": pa.array(np.arange(len(table)).astype("datetime64[s]")),
        "null": pa.nulls(len(table)),
        "bytes": pa.array([b"\xff\xfe"] * len(table)),
        "lists": pa.array([[1, 2]] * len(table)),
        "records": pa.array([{"a": 1}] * len(table)),
        "codes": pa.array(["a", "b"] * (len(table) // 2) + ["a"] * (len(table) % 2)).dictionary_encode(),
    }
    return table.set_column(table.column_names.index(name), name, kinds[draw(st.sampled_from(sorted(kinds)))])


def with_holes(table: pa.Table, name: str, draw: Draw) -> pa.Table:
    holes = pa.array(draw(st.lists(st.booleans(), min_size=len(table), max_size=len(table))))
    column = table.column(name)
    if isinstance(column.type, pa.FixedShapeTensorType):
        return table
    return table.set_column(table.column_names.index(name), name, pa.compute.if_else(holes, None, column))


def rows_taken(table: pa.Table, name: str, draw: Draw) -> pa.Table:
    return table.take(pa.array(draw(st.lists(st.integers(0, len(table) - 1), max_size=60)), pa.int64()))


COLUMNS = [twice, gone, renamed, of_another_type, with_holes, rows_taken]


def written_again(path: Path, table: pa.Table) -> None:
    if path.suffix == ".parquet":
        pa.parquet.write_table(table, path)
    elif path.suffix == ".arrow":
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=7)
    else:
        pa.csv.write_csv(table, path)


def table_at(path: Path) -> pa.Table:
    if path.suffix == ".parquet":
        return pa.parquet.read_table(path)
    return pa.ipc.open_file(path).read_all() if path.suffix == ".arrow" else pa.csv.read_csv(path)


TABULAR = [form for form in FORMS if form not in {"idx", "npz"}]


@pytest.mark.parametrize("form", TABULAR)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_broken_columns(form: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("columns")
    source = plain(written(form, root))
    path = data.draw(st.sampled_from(sorted(p for p in root.rglob("*") if p.suffix in {".parquet", ".arrow", ".csv"})))
    table = table_at(path)
    name = data.draw(st.sampled_from(table.column_names))
    change: Table = data.draw(st.sampled_from(COLUMNS))

    try:
        written_again(path, change(table, name, data.draw))
    except (pa.ArrowException, KeyError):  # no such file can be written
        return

    read_or_refused(root, source)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["x", *facts()]),
    kind=st.sampled_from(["u1", "<i8", ">i2", "<f4", ">f8", "c16", "?", "U7", "S3", "M8[s]", "V5"]),
    shape=st.sampled_from([(), (0,), (N,), (N - 1,), (N, 1), (N, 9, 8), (N, 9, 8, 3), (1, N), (N, 1, 1, 9, 8)]),
    fortran=st.booleans(),
)
def test_arrays_of_any_type_and_shape(
    name: str, kind: str, shape: tuple[int, ...], fortran: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("arrays")
    source = plain(written("npz", root))
    other = np.zeros(shape, dtype=kind, order="F" if fortran else "C")
    arrays: dict[str, Any] = {"x": images(), **{key: np.array(values) for key, values in facts().items()}, name: other}
    np.savez(root / "all.npz", **arrays)

    read_or_refused(root, source)
