"""Rows are encoded and decoded without loss, and rows that violate the schema are reported."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from small_rows import CATEGORICAL, NUMERIC, schema, table

from fair_distill.errors import DataError, ShapeError
from fair_distill.files import to_json
from fair_distill.formats.row_columns import Categorical, Numeric
from fair_distill.formats.row_schema import RowSchema
from fair_distill.formats.schema_inference import schema_of

WORDS = st.text(alphabet="abc é?", min_size=1, max_size=4)
WHOLE = st.integers(-(2**24), 2**24)
REAL = st.floats(width=32, allow_nan=False, allow_infinity=False)
TABLES = st.integers(1, 12).flatmap(
    lambda n: st.fixed_dictionaries(
        {
            "whole": hnp.arrays(np.int64, n, elements=WHOLE),
            "real": hnp.arrays(np.float32, n, elements=REAL),
            "word": hnp.arrays(object, n, elements=WORDS),
            "flag": hnp.arrays(object, n, elements=st.sampled_from(["yes", "no"])),
        }
    )
)
OF = {"numeric": ["whole", "real"], "categorical": ["word", "flag"]}


@settings(max_examples=40)
@given(TABLES)
def test_encoding_and_decoding_are_inverse(columns: dict[str, Any]) -> None:
    row_schema = schema_of(columns, **OF)
    encoded = row_schema.encode(columns)
    decoded = row_schema.decode(encoded)

    assert encoded.shape == (len(columns["whole"]), *row_schema.shape)
    assert all(np.array_equal(decoded[name], values) for name, values in columns.items())
    assert np.array_equal(row_schema.encode(decoded), encoded)
    assert all(valid.all() for valid in row_schema.valid(encoded).values())


@settings(max_examples=40)
@given(TABLES, st.data())
def test_the_nearest_row_of_any_numbers_is_valid(columns: dict[str, Any], data: Any) -> None:
    row_schema = schema_of(columns, **OF)
    free = data.draw(hnp.arrays(np.float32, (3, *row_schema.shape), elements=REAL))
    nearest = row_schema.nearest(free)

    row_schema.check(nearest, name="rows")
    assert nearest.dtype == np.float32
    assert np.array_equal(row_schema.encode(row_schema.decode(nearest)), nearest)
    assert np.array_equal(row_schema.nearest(nearest), nearest)


def test_the_nearest_row_is_the_nearest() -> None:
    row_schema = RowSchema(
        (Numeric("age", 17, 90, whole=True), Categorical("work", ("farm", "sea", "office"), None, None))
    )
    free = np.array([[16.2, 0.1, 0.3, 0.2], [44.6, -3, -1, -2], [99, 9, 0, 0]], dtype=np.float32)

    decoded = row_schema.decode(row_schema.nearest(free[:, :, None, None]))

    assert decoded["age"].tolist() == [17, 45, 90]
    assert decoded["work"].tolist() == ["sea", "sea", "farm"]


def test_a_column_is_integer_if_all_its_training_values_are() -> None:
    row_schema = schema(table(40))
    age, height = row_schema.columns[:2]

    assert isinstance(age, Numeric)
    assert isinstance(height, Numeric)
    assert (age.whole, height.whole) == (True, False)
    assert row_schema.decode(row_schema.encode(table(40)))["age"].dtype == np.int64
    too_large = schema_of({"n": np.array([0, 2**24 + 2])}, numeric=["n"], categorical=[])
    assert too_large.columns == (Numeric("n", 0, 2**24 + 2, whole=True),)


@pytest.mark.parametrize("kind", [dict, pd.DataFrame, pa.table, "structured"])
def test_tables_of_any_shape_are_supported(kind: Any) -> None:
    columns = table(16)
    if kind == "structured":
        kind = lambda columns: pd.DataFrame(columns).to_records(index=False)  # noqa: E731

    assert np.array_equal(schema(columns).encode(kind(columns)), schema(columns).encode(columns))


def test_missing_and_unseen_categories_can_have_names() -> None:
    train = {"work": np.array(["farm", None, "sea", float("nan"), ""], dtype=object)}
    row_schema = schema_of(train, numeric=[], categorical=["work"], missing="unknown", unseen="other")
    names = {"work": np.array(["mine", "unknown", None, "sea"], dtype=object)}

    assert row_schema.columns == (Categorical("work", ("farm", "sea", "unknown"), "unknown", "other"),)
    assert row_schema.decode(row_schema.encode(names))["work"].tolist() == ["other", "unknown", "unknown", "sea"]
    assert not row_schema.encode(names)[0].any()  # no network was trained on this column, so it has no effect
    assert np.array_equal(row_schema.encode(row_schema.decode(row_schema.encode(names))), row_schema.encode(names))
    assert "other" not in row_schema.decode(row_schema.nearest(np.zeros((2, *row_schema.shape), np.float32)))["work"]


def test_numbers_can_be_categories() -> None:
    codes = pd.DataFrame({"code": [3, 1, None, 3]})  # a missing value makes them floats

    row_schema = schema_of(codes, numeric=[], categorical=["code"], missing="none")

    assert row_schema.columns == (Categorical("code", ("1", "3", "none"), "none", None),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"work": ["mine", "sea"]},
            r"column 'work' is 'mine' in row 1, but the training data have only .*rows\.unseen",
        ),
        (
            {"work": ["sea", None]},
            r"column 'work' is missing in 1 of 2 rows, the first of them row 2\. .*rows\.missing",
        ),
        ({"age": [30.5, 30]}, "column 'age' is 30.5 in row 1, but the training data have integers"),
        ({"age": [30, None]}, "column 'age' is missing or not finite in 1 of 2 rows, the first of them row 2"),
        ({"height": [1.7, float("inf")]}, "column 'height' is missing or not finite"),
        ({"height": ["tall", "short"]}, "column 'height' has values that are not numbers"),
        ({"height": [1e60, 1.7]}, "column 'height' is missing or not finite"),
        ({"height": [1.7]}, "column 'height' has 1 rows; 'age' has 2"),
        ({"height": [[1.7], [1.8]]}, "column 'height' must have one value per row"),
        ({"work": [1, "sea"]}, "column 'work' has values of several types"),
        ({"work": None}, "the table has no column 'work'"),
    ],
)
def test_invalid_rows_are_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    row_schema = schema(table(40))
    columns: dict[str, Any] = {name: values[:2] for name, values in table(40).items()}
    for name, values in changes.items():
        if values is None:
            del columns[name]
        else:
            columns[name] = np.array(values, dtype=object)

    with pytest.raises(DataError, match=message) as caught:
        row_schema.encode(columns)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("numeric", "categorical", "message"),
    [
        (["age"], ["age"], "'age' is named twice"),
        (["label"], [], "'label' is reserved for the class"),
        ([], [], "at least one column"),
        (["work"], [], "has values that are not numbers"),
        ([], ["height"], "has 1200 values in the training data; a category may have at most 1000"),
    ],
)
def test_columns_without_a_valid_schema_are_refused(numeric: list[str], categorical: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        schema_of(table(1200) | {"height": np.arange(1200) / 7}, numeric=numeric, categorical=categorical)


def test_the_name_for_unseen_categories_must_not_be_a_category() -> None:
    with pytest.raises(DataError, match=r"has the value 'sea' in the training data.*rows\.unseen"):
        schema(table(40), unseen="sea")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, 16.0, "column 'age' is 16.0; expected an integer from 2"),
        (0, 30.5, "column 'age' is 30.5"),
        (1, np.nan, "column 'height' is nan; expected a number from 1.5"),
        (2, 0.5, "column 'work' is .*; expected exactly one of 3 values"),
        (5, 1.0, "column 'colour' is "),
    ],
)
def test_an_invalid_row_is_reported(column: int, value: float, message: str) -> None:
    row_schema = schema(table(40))
    encoded = row_schema.encode(table(40))
    encoded[7, column] = value
    if column >= 5:
        encoded[7, 5:] = 1

    with pytest.raises(DataError, match=rf"the set: row 8 is invalid: {message}"):
        row_schema.check(encoded, name="the set")


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"encoded rows must have the shape \(7, 1, 1\)"):
        schema(table(40)).decode(np.zeros((2, 6, 1, 1), np.float32))


def test_a_schema_reads_back_from_json() -> None:
    row_schema = schema(table(40), missing="unknown", unseen="other")

    assert RowSchema.from_dict(json.loads(to_json(row_schema.to_dict()))) == row_schema
    assert row_schema.shape == (len(NUMERIC) + 3 + 2, 1, 1)
    assert row_schema.standardised.tolist() == [True, True] + [False] * 5
    assert [column.name for column in row_schema.columns] == [*NUMERIC, *CATEGORICAL]
