"""predictions.parquet is read back unchanged, and every other file is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_predictions import predictions_of, recalls_of

from fair_distill.errors import DataError, MeasurementError
from fair_distill.files import to_json
from fair_distill.gate.predictions import Predictions, read_header

KEY = b"fair_distill"
GOOD = predictions_of(
    {(n, s): recalls_of([(9, 8 - s), (6, 7 - n)], 10) for n in (0, 1) for s in (0, 1)}, networks=("wide", "deep")
)


def rewritten(change: Any) -> bytes:
    """The good file after a change to its table."""
    sink = pa.BufferOutputStream()
    pq.write_table(change(pq.read_table(pa.BufferReader(GOOD.to_parquet()))), sink)
    return bytes(sink.getvalue())


def about(**changes: Any) -> Any:
    def change(table: pa.Table) -> pa.Table:
        fields = {name: getattr(GOOD, name) for name in ("set", "split", "classes", "groups", "networks")} | changes
        kept = {name: value for name, value in fields.items() if value is not None}
        return table.replace_schema_metadata({KEY: to_json(kept)})

    return change


def column(name: str, values: Any) -> Any:
    def change(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index(name)
        return table.set_column(at, name, values(table.column(at)))

    return change


def test_predictions_read_back_as_they_were_written() -> None:
    read = Predictions.from_parquet(GOOD.to_parquet())

    for name in ("set", "split", "classes", "groups", "networks"):
        assert getattr(read, name) == getattr(GOOD, name)
    assert read.columns.keys() == GOOD.columns.keys()
    assert all(np.array_equal(read.columns[name], GOOD.columns[name]) for name in read.columns)
    assert read.to_parquet() == GOOD.to_parquet()
    assert len(read) == 4 * 40


def test_a_run_is_a_network_and_a_seed_and_has_its_own_counts() -> None:
    assert GOOD.runs() == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert GOOD.confusion(0, 1).counts.tolist() == recalls_of([(9, 7), (6, 7)], 10).tolist()
    assert GOOD.confusion(1, 0).counts.tolist() == recalls_of([(9, 8), (6, 6)], 10).tolist()


def test_the_order_of_rows_does_not_matter() -> None:
    order = np.random.default_rng(0).permutation(len(GOOD))
    shuffled = replace(GOOD, columns={name: values[order] for name, values in GOOD.columns.items()})

    assert shuffled.runs() == GOOD.runs()
    assert all(np.array_equal(shuffled.confusion(*run).counts, GOOD.confusion(*run).counts) for run in GOOD.runs())


def test_every_truncated_file_is_refused() -> None:
    content = GOOD.to_parquet()

    for size in range(0, len(content), 61):
        with pytest.raises(MeasurementError, match=r"^[^\n]*predictions is not a file of predictions[^\n]*$"):
            Predictions.from_parquet(content[:size])


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.append_column("margin", pa.array(np.zeros(len(table)))),
        lambda table: table.drop_columns(["pair"]),
        lambda table: table.select(table.column_names[::-1]),
        lambda table: table.replace_schema_metadata({}),
        lambda table: table.replace_schema_metadata({KEY: b"{"}),
        lambda table: table.replace_schema_metadata({KEY: b"[]"}),
        about(networks=None),
        about(set=None),
        about(classes=3),
        about(groups=None),
        column("label", lambda values: pa.array([None, *values.to_pylist()[1:]], pa.int16())),
        column("label", lambda values: pa.array([str(value) for value in values.to_pylist()])),
        column("label", lambda values: values.cast(pa.float32())),
        column("seed", lambda values: pa.array(["first"] * len(values))),
        column("network", lambda values: pa.array([2] * len(values), pa.int16())),
        column("network", lambda values: pa.array([-1] * len(values), pa.int16())),
        column("network", lambda values: pa.array([1] * len(values), pa.int16())),  # nothing of the other network
        about(networks=("wide", "deep", "another")),
    ],
)
def test_another_file_is_refused_as_a_measurement(change: Any) -> None:
    with pytest.raises(MeasurementError, match=r"^predictions[^\n]+$"):
        Predictions.from_parquet(rewritten(change))


@pytest.mark.parametrize(("name", "bad"), [("label", 2), ("group", 2), ("predicted", -1)])
def test_indices_outside_the_names_are_refused(name: str, bad: int) -> None:
    columns = GOOD.columns | {name: np.where(np.arange(len(GOOD)) == 5, bad, GOOD.columns[name])}
    read = Predictions.from_parquet(replace(GOOD, columns=columns).to_parquet())

    with pytest.raises(DataError, match="is outside 0 to 1"):
        read.confusion(0, 0)


def test_a_header_is_not_read_from_a_small_file_of_many_rows() -> None:
    """Runs of one value compress a thousandfold, so the size of the file says little about its rows."""
    zeros = pa.array(np.zeros(20_000_000, np.int16))
    schema = pq.read_table(pa.BufferReader(GOOD.to_parquet())).schema
    table = pa.table({"network": zeros, "seed": zeros}).replace_schema_metadata(schema.metadata)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")

    with pytest.raises(MeasurementError, match="decodes to 80,000,000 bytes"):
        read_header(bytes(sink.getvalue()), name="p.parquet")
