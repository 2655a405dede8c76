"""A number or code of a table is kept exactly, or refused; no digit is lost in silence."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fair_distill.data.sources import read_source
from fair_distill.errors import DataError
from fair_distill.formats.row_columns import Numeric
from fair_distill.formats.schema_inference import schema_of

# Integers of every size, and those next to the limits of floats.
INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([24, 53]).flatmap(
    lambda power: st.integers(2**power - 3, 2**power + 3)
)
FLOAT32 = 2**24
HUGE = [2**53 + k for k in (1, 2, 3, 4)]


@settings(deadline=None)
@given(st.lists(INTEGERS, min_size=1, max_size=8), st.sampled_from([np.array, pa.array, pd.Series, pl.Series]))
def test_integers_of_a_numeric_column_come_back_or_are_refused(values: list[int], kind: Callable[..., Any]) -> None:
    table = {"n": kind(values)}
    exact = all(abs(value) < 2**53 and int(np.float32(value)) == value for value in values)

    if not exact:
        with pytest.raises(DataError, match=r"column 'n' is -?[0-9]+ in row [0-9]+"):
            schema_of(table, numeric=["n"], categorical=[]).encode(table)
        return
    schema = schema_of(table, numeric=["n"], categorical=[])
    assert schema.decode(schema.encode(table))["n"].tolist() == values
    assert schema.valid(schema.encode(table))["n"].all()


def test_one_large_integer_does_not_make_a_column_fractional() -> None:
    column = schema_of({"n": np.array([1, 2, 20_000_000])}, numeric=["n"], categorical=[]).columns[0]

    assert column == Numeric("n", 1.0, 20_000_000.0, whole=True)


@pytest.mark.parametrize(
    ("values", "whole"),
    [
        ([1.0, 2.0], True),
        ([1.0, 2.5], False),
        ([0.1 * 3 / 0.3, 2.0], True),  # 1.0000000000000002, a rounding error
        ([16_000_000.5, 2.0], False),  # float32 would round the half away
        ([1e20, 2.0], False),  # floats of this size are never fractional, so they prove nothing
    ],
)
def test_fractions_are_recognised_up_to_rounding_errors(values: list[float], whole: bool) -> None:
    column = schema_of({"n": np.array(values)}, numeric=["n"], categorical=[]).columns[0]

    assert isinstance(column, Numeric)
    assert column.whole is whole


def test_a_large_integer_in_text_is_refused_and_a_large_fraction_is_rounded() -> None:
    for value in (str(HUGE[0]), str(-HUGE[0])):
        with pytest.raises(DataError, match=f"column 'n' is {value} in row 2; integers above"):
            schema_of({"n": np.array(["1", value])}, numeric=["n"], categorical=[])
    assert schema_of({"n": np.array(["1", "1e20"])}, numeric=["n"], categorical=[]).columns[0].width == 1


GAPS: dict[str, Callable[[Sequence[int | None]], Any]] = {
    "objects": lambda values: np.array(values, dtype=object),
    "pandas": lambda values: pd.array(list(values), dtype="Int64"),
    "pandas of Arrow": lambda values: pd.Series(list(values), dtype="int64[pyarrow]"),
    "Arrow": lambda values: pa.array(values, pa.int64()),
    "Arrow table": lambda values: pa.chunked_array([values], pa.int64()),
    "Arrow dictionary": lambda values: pa.array(values, pa.int64()).dictionary_encode(),
    "polars": lambda values: pl.Series(values, dtype=pl.Int64),
    "text": lambda values: np.array([None if value is None else str(value) for value in values], dtype=object),
}


@pytest.mark.parametrize("kind", GAPS)
def test_codes_of_64_bits_with_gaps_keep_their_digits(kind: str) -> None:
    table = {"c": GAPS[kind]([*HUGE, None, *HUGE])}
    schema = schema_of(table, numeric=[], categorical=["c"], missing="none")

    assert schema.decode(schema.encode(table))["c"].tolist() == [*map(str, HUGE), "none", *map(str, HUGE)]


@pytest.mark.parametrize("limit", [(np.float64, 2**53), (np.float32, 2**24)])
def test_codes_that_became_floats_are_integers_again_if_no_digit_can_be_lost(limit: tuple[type, int]) -> None:
    kind, largest = limit
    table = {"c": np.array([1, np.nan, largest], kind)}

    assert schema_of(table, numeric=[], categorical=["c"], missing="none").columns[0].values == (  # type: ignore[union-attr]
        *("1", str(largest), "none"),
    )
    with pytest.raises(DataError, match=f"column 'c' is {2 * largest} in row 2, a float"):
        schema_of({"c": np.array([1, 2 * largest], kind)}, numeric=[], categorical=["c"])


@pytest.mark.parametrize("kind", ["float", "dictionary of floats"])
def test_labels_and_groups_that_pandas_made_float_are_integers(kind: str, tmp_path: Path) -> None:
    group = pa.array([float(i // 2 % 2) if i % 9 else None for i in range(40)])
    columns = {
        "a": list(range(40)),
        "y": pa.array([float(i % 2) for i in range(40)]),
        "g": group if kind == "float" else group.dictionary_encode(),
    }
    pa.parquet.write_table(pa.table(columns), tmp_path / "p.parquet")
    options = {"path": "p.parquet", "columns": {"label": "y", "groups": "g", "numeric": ["a"], "unknown": "?"}}

    source = read_source("table", options, root=tmp_path)

    assert source.classes == ("0", "1")
    assert source.groups == ("g=0", "g=1", "?")
