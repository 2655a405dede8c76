"""Rows become numbers and rows again, without loss; what is no row of the schema is found, and said."""

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
from fair_distill.formats.row_schema import Categorical, Numeric, RowSchema, schema_of

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
def test_a_table_decodes_to_what_was_encoded_and_encodes_to_the_same(columns: dict[str, Any]) -> None:
    by = schema_of(columns, **OF)
    encoded = by.encode(columns)
    decoded = by.decode(encoded)

    assert encoded.shape == (len(columns["whole"]), *by.shape)
    assert all(np.array_equal(decoded[name], values) for name, values in columns.items())
    assert np.array_equal(by.encode(decoded), encoded)
    assert all(valid.all() for valid in by.valid(encoded).values())


@settings(max_examples=40)
@given(TABLES, st.data())
def test_whatever_numbers_there_are_the_nearest_rows_are_valid(columns: dict[str, Any], data: Any) -> None:
    by = schema_of(columns, **OF)
    free = data.draw(hnp.arrays(np.float32, (3, *by.shape), elements=REAL))
    nearest = by.nearest(free)

    by.check(nearest, name="rows")
    assert nearest.dtype == np.float32
    assert np.array_equal(by.encode(by.decode(nearest)), nearest)
    assert np.array_equal(by.nearest(nearest), nearest)


def test_the_nearest_row_is_the_nearest() -> None:
    by = RowSchema((Numeric("age", 17, 90, whole=True), Categorical("work", ("farm", "sea", "office"), None, None)))
    free = np.array([[16.2, 0.1, 0.3, 0.2], [44.6, -3, -1, -2], [99, 9, 0, 0]], dtype=np.float32)

    decoded = by.decode(by.nearest(free[:, :, None, None]))

    assert decoded["age"].tolist() == [17, 45, 90]
    assert decoded["work"].tolist() == ["sea", "sea", "farm"]


def test_a_number_is_whole_if_all_of_training_are() -> None:
    by = schema(table(40))
    age, height = by.columns[:2]

    assert isinstance(age, Numeric)
    assert isinstance(height, Numeric)
    assert (age.whole, height.whole) == (True, False)
    assert by.decode(by.encode(table(40)))["age"].dtype == np.int64
    too_large = schema_of({"n": np.array([0, 2**24 + 2])}, numeric=["n"], categorical=[])
    assert too_large.columns == (Numeric("n", 0, 2**24 + 2, whole=False),)


@pytest.mark.parametrize("kind", [dict, pd.DataFrame, pa.table, "structured"])
def test_any_table_is_a_table(kind: Any) -> None:
    columns = table(16)
    if kind == "structured":
        kind = lambda columns: pd.DataFrame(columns).to_records(index=False)  # noqa: E731

    assert np.array_equal(schema(columns).encode(kind(columns)), schema(columns).encode(columns))


def test_what_is_missing_and_what_is_unseen_have_names_if_they_are_given() -> None:
    train = {"work": np.array(["farm", None, "sea", float("nan"), ""], dtype=object)}
    by = schema_of(train, numeric=[], categorical=["work"], missing="unknown", unseen="other")
    asked = {"work": np.array(["mine", "unknown", None, "sea"], dtype=object)}

    assert by.columns == (Categorical("work", ("farm", "sea", "unknown"), "unknown", "other"),)
    assert by.decode(by.encode(asked))["work"].tolist() == ["other", "unknown", "unknown", "sea"]
    assert not by.encode(asked)[0].any()  # no network was trained on it, so it moves none
    assert np.array_equal(by.encode(by.decode(by.encode(asked))), by.encode(asked))
    assert "other" not in by.decode(by.nearest(np.zeros((2, *by.shape), np.float32)))["work"]


def test_numbers_can_be_names() -> None:
    codes = pd.DataFrame({"code": [3, 1, None, 3]})  # a gap makes them floats

    by = schema_of(codes, numeric=[], categorical=["code"], missing="none")

    assert by.columns == (Categorical("code", ("1", "3", "none"), "none", None),)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"work": ["mine", "sea"]}, r"column 'work' is 'mine' in row 1, and never in the training data.*rows\.unseen"),
        ({"work": ["sea", None]}, r"column 'work' is missing in 1 of 2 rows, the first of them row 2; .*rows\.missing"),
        ({"age": [30.5, 30]}, "column 'age' is 30.5 in row 1; all are whole"),
        ({"age": [30, None]}, "column 'age' is missing or not finite in 1 of 2 rows, the first of them row 2"),
        ({"height": [1.7, float("inf")]}, "column 'height' is missing or not finite"),
        ({"height": ["tall", "short"]}, "column 'height': numbers are wanted"),
        ({"height": [1e60, 1.7]}, "column 'height' is missing or not finite"),
        ({"height": [1.7]}, "column 'height' has 1 rows; 'age' has 2"),
        ({"height": [[1.7], [1.8]]}, "column 'height': one value a row"),
        ({"work": [1, "sea"]}, "column 'work': numbers or names are wanted, all of one kind"),
        ({"work": None}, "there is no column 'work'"),
    ],
)
def test_what_is_no_row_is_refused_in_one_line(changes: dict[str, Any], says: str) -> None:
    by = schema(table(40))
    columns: dict[str, Any] = {name: values[:2] for name, values in table(40).items()}
    for name, values in changes.items():
        if values is None:
            del columns[name]
        else:
            columns[name] = np.array(values, dtype=object)

    with pytest.raises(DataError, match=says) as caught:
        by.encode(columns)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("numeric", "categorical", "says"),
    [
        (["age"], ["age"], "'age' stands twice"),
        (["label"], [], "'label' is kept for the class"),
        ([], [], "at least one column"),
        (["work"], [], "numbers are wanted"),
        ([], ["height"], "has 1200 values in the training data; a category has at most 1000"),
    ],
)
def test_columns_that_make_no_schema_are_refused(numeric: list[str], categorical: list[str], says: str) -> None:
    with pytest.raises(DataError, match=says):
        schema_of(table(1200) | {"height": np.arange(1200) / 7}, numeric=numeric, categorical=categorical)


def test_the_name_for_what_is_unseen_is_no_value() -> None:
    with pytest.raises(DataError, match=r"has the value 'sea' in the training data.*rows\.unseen"):
        schema(table(40), unseen="sea")


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        (0, 16.0, "column 'age' is 16.0, wanted are whole numbers from 2"),
        (0, 30.5, "column 'age' is 30.5"),
        (1, np.nan, "column 'height' is nan, wanted are numbers from 1.5"),
        (2, 0.5, "column 'work' is .*, wanted are exactly one of 3 values"),
        (5, 1.0, "column 'colour' is "),
    ],
)
def test_a_row_that_is_not_valid_is_found(column: int, value: float, says: str) -> None:
    by = schema(table(40))
    encoded = by.encode(table(40))
    encoded[7, column] = value
    if column >= 5:
        encoded[7, 5:] = 1

    with pytest.raises(DataError, match=rf"the set: row 8 is no valid row: {says}"):
        by.check(encoded, name="the set")


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"rows of \(7, 1, 1\) are wanted"):
        schema(table(40)).decode(np.zeros((2, 6, 1, 1), np.float32))


def test_a_schema_reads_back_from_json() -> None:
    by = schema(table(40), missing="unknown", unseen="other")

    assert RowSchema.from_dict(json.loads(to_json(by.to_dict()))) == by
    assert by.shape == (len(NUMERIC) + 3 + 2, 1, 1)
    assert by.standardised.tolist() == [True, True] + [False] * 5
    assert [column.name for column in by.columns] == [*NUMERIC, *CATEGORICAL]
