"""A set of rows has the names, the values and the types of its source, so encoders work on both."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.preprocessing import OneHotEncoder
from small_tables import set_of_rows, splits_of

from fair_distill.card import DatasetCard
from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import DataError
from fair_distill.formats.row_columns import Numeric
from fair_distill.formats.row_schema import RowSchema
from fair_distill.formats.value_types import inferred_type, numbers_as, shortest_doubles, text_as

NUMERIC = ["age", "share", "day"]
CATEGORICAL = ["code", "zip", "flag", "rate", "gap", "word", "born", "moment"]
COLUMNS = {"label": "outcome", "groups": "sex", "numeric": NUMERIC, "categorical": CATEGORICAL}
OPTIONS = {"columns": COLUMNS, "rows": {"missing": "none"}}


def frame(n: int = 120) -> pd.DataFrame:
    i = np.arange(n)
    days = [date(2020, 1, 1) + timedelta(days=int(k)) for k in i % 5]
    return pd.DataFrame(
        {
            "age": (20 + i % 50).astype(np.int32),
            "share": (i % 10) / 10,
            "day": pd.to_datetime(days),
            "code": (i % 4).astype(np.int64),
            "zip": np.char.add("00", (i % 3).astype(str)),
            "flag": i % 2 == 0,
            "rate": (i % 3) * 1.5,
            "gap": pd.array(np.where(i % 5 == 0, None, i % 5), dtype="Int64"),
            "word": np.where(i % 6 == 0, None, np.where(i % 2 == 0, "a", "b")),
            "born": days,
            "moment": [datetime(2020, 1, 1, int(k), tzinfo=UTC) for k in i % 3],
            "sex": np.where(i % 4 < 2, "f", "m"),
            "outcome": i // 2 % 2,
        }
    )


def written(folder: Path, kind: str) -> dict[str, Any]:
    path = folder / f"people.{kind}"
    table, options = frame(), OPTIONS
    if kind == "csv":
        table.to_csv(path, index=False)
        options = options | {"columns": COLUMNS | {"numeric": ["age", "share"], "categorical": [*CATEGORICAL, "day"]}}
    else:
        table.to_parquet(path)
    return options | {"path": path.name}


def read(folder: Path, kind: str) -> pd.DataFrame:
    path = folder / f"people.{kind}"
    return pd.read_csv(path, dtype={"zip": str}) if kind == "csv" else pd.read_parquet(path)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_columns_and_the_label_of_a_set_are_those_of_the_source(tmp_path: Path, kind: str):
    train = splits_of(tmp_path, written(tmp_path, kind))["train"]
    loaded = DistilledSet.from_parquet(set_of_rows(train, 20).to_parquet())
    ours, source = loaded.to_pandas(), read(tmp_path, kind)

    assert loaded.images.tobytes() == set_of_rows(train, 20).images.tobytes()
    assert set(ours.columns) == set(source.columns) - {"sex"}
    for name in ours.columns:
        values = set(source[name].dropna().tolist())
        assert set(ours[name].dropna().tolist()) <= values, name
        assert ours[name].isna().any() == source[name].isna().any(), name
        if name not in ("share", "day", "moment"):  # the unit of time may differ
            same_gaps = ours[name].dtype == source[name].dtype or str(source[name].dtype) == "Int64"
            assert same_gaps, (name, ours[name].dtype, source[name].dtype)
    assert set(ours["outcome"]) == {0, 1}
    assert [loaded.card.classes[label] for label in loaded.labels] == [str(value) for value in ours["outcome"]]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_encoder_of_a_set_encodes_the_file_of_the_user(tmp_path: Path, kind: str):
    ours = set_of_rows(splits_of(tmp_path, written(tmp_path, kind))["train"], 30).to_pandas()
    own = read(tmp_path, kind)
    encoder = OneHotEncoder(sparse_output=False).fit(ours[CATEGORICAL])  # it refuses values that it does not know

    assert (encoder.transform(own[CATEGORICAL]).sum(axis=1) == len(CATEGORICAL)).all()


def test_polars_gets_the_types_too(tmp_path: Path):
    ours = set_of_rows(splits_of(tmp_path, written(tmp_path, "parquet"))["train"], 5).to_polars()

    assert ours.schema["age"] == polars.Int32
    assert ours.schema["born"] == polars.Date
    assert ours.schema["gap"] == polars.Int64
    assert ours["gap"].null_count() > 0


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_schema_encodes_the_columns_that_a_set_returns(tmp_path: Path, kind: str):
    distilled = set_of_rows(splits_of(tmp_path, written(tmp_path, kind))["train"], 20)
    schema = distilled.card.schema
    assert schema is not None

    for columns in (distilled.to_pandas(), distilled.to_arrow(), distilled.to_polars(), distilled.columns):
        assert schema.encode(columns).tobytes() == distilled.images.tobytes()
    assert RowSchema.from_dict(schema.to_dict()) == schema


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-20"], "int64"),
        (["1", "007"], "string"),
        (["1", "1.0"], "string"),  # one number, but two categories
        (["1", "2.50"], "double"),
        (["1e3", "0.5"], "double"),
        (["9" * 25], "string"),
        (["0.1234567890123456789", "0.5"], "string"),
        (["nan", "1"], "string"),
        (["True", "False"], "bool"),
        (["True", "true"], "string"),
        (["yes", "no"], "string"),
        (["2020-01-01"], "string"),
        ([], "string"),
    ],
)
def test_the_type_of_a_csv_column_loses_no_value(texts: list[str], kind: str):
    assert inferred_type(texts) == kind
    assert len(set(text_as(texts, kind).to_pylist())) == len(texts)


@settings(max_examples=200)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_number_as_a_double_is_the_same_number_in_single_precision(number: float):
    single = np.array([number], dtype=np.float32)

    assert shortest_doubles(single).astype(np.float32).tobytes() == single.tobytes()
    assert shortest_doubles(np.array([0.1], dtype=np.float32)).tolist() == [0.1]


def test_a_timestamp_with_a_time_of_day_is_no_number(tmp_path: Path):
    pd.DataFrame(frame()).to_parquet(tmp_path / "people.parquet")
    columns = COLUMNS | {"numeric": ["moment"], "categorical": []}

    with pytest.raises(DataError, match=r"'moment' is 2020-01-01 01:00:00\+00:00 in row 2; .* no time of day"):
        splits_of(tmp_path, {"path": "people.parquet", "columns": columns})


def test_a_value_that_is_also_the_name_of_missing_ones_stays_text(tmp_path: Path):
    table = frame()
    table["word"] = table["word"].where(table.index > 20, "none")
    table.to_csv(tmp_path / "people.csv", index=False)
    columns = COLUMNS | {"numeric": ["age"], "categorical": ["word"]}
    train = splits_of(tmp_path, {"path": "people.csv", "columns": columns, "rows": {"missing": "none"}})["train"]

    assert set(set_of_rows(train, 30).to_pandas()["word"]) == {"a", "b", "none"}


def test_a_set_without_types_keeps_text_and_indices(tmp_path: Path):
    distilled = set_of_rows(splits_of(tmp_path, written(tmp_path, "csv"))["train"], 5)
    plain = distilled.card.to_dict()
    columns = [{k: v for k, v in column.items() if k not in ("type", "null")} for column in plain["schema"]["columns"]]
    old = DistilledSet(
        distilled.images, distilled.labels, DatasetCard.from_dict(plain | {"schema": {"columns": columns}})
    )
    table = DistilledSet.from_parquet(old.to_parquet()).to_arrow()

    assert table.column("code").type == pa.string()
    assert table.column("share").type == pa.float32()
    assert table.column("label").to_pylist() == [0] * 5 + [1] * 5
    assert "none" in {*table.column("word").to_pylist(), *table.column("gap").to_pylist()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "int65"}, "the type 'int65' is unknown"),
        ({"type": "timestamp[ns, tz=Nowhere]", "low": 0.0}, "Nowhere.* is unknown"),
        ({"type": "int8", "high": 1000.0}, "do not fit the type int8"),
        ({"high": 3e38, "whole": True}, "do not fit the type int64"),
    ],
)
def test_a_schema_whose_values_do_not_have_their_type_is_refused(change: dict[str, Any], message: str):
    column = {"kind": "numeric", "name": "days", "low": 0.0, "high": 9.0, "whole": True} | change

    with pytest.raises(DataError, match=message):
        RowSchema.from_dict({"columns": [column]})


def test_a_label_with_another_number_of_classes_is_refused(tmp_path: Path):
    card = set_of_rows(splits_of(tmp_path, written(tmp_path, "csv"))["train"], 5).card.to_dict()
    card["schema"]["label"]["values"] = ["0", "1", "2"]

    with pytest.raises(DataError, match=r"schema.label.values is .*; expected a value for each of 2 classes"):
        DatasetCard.from_dict(card)


def test_dates_are_days(tmp_path: Path):
    schema = splits_of(tmp_path, written(tmp_path, "parquet"))["train"].schema
    assert schema is not None
    day = schema.columns[2]

    assert isinstance(day, Numeric)
    assert (day.low, day.high) == (18262, 18266)
    assert numbers_as(np.array([18262], np.float32), "date32[day]").to_pylist() == [date(2020, 1, 1)]


# fmt: off
ADULT = ["age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship",
         "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income"]
# fmt: on


def test_an_encoder_of_an_adult_set_encodes_the_files_of_the_census(real_data: Path):
    numeric = ["age", "education-num", "capital-gain", "capital-loss", "hours-per-week"]
    categorical = ["workclass", "marital-status", "occupation", "relationship", "native-country"]
    options = {
        "path": "adult/adult.data",
        "csv": {"names": ADULT, "strip": " .", "missing": ["?"]},
        "columns": {"label": "income", "groups": ["sex"], "numeric": numeric, "categorical": categorical},
        "rows": {"missing": "unknown"},
    }
    ours = set_of_rows(splits_of(real_data, options)["train"], 2000).to_pandas()
    own = pd.read_csv(real_data / "adult/adult.test", names=ADULT, skiprows=1, skipinitialspace=True, na_values="?")
    assert set(ours["income"]) == {"<=50K", ">50K"}

    encoder = OneHotEncoder(sparse_output=False, handle_unknown="ignore").fit(ours[categorical])
    known = encoder.transform(own[categorical]).sum(axis=1)
    assert (known == len(categorical)).mean() > 0.99  # missing values too; rare countries may not be in the set

    model = HistGradientBoostingClassifier(random_state=0).fit(ours[numeric], ours["income"])
    assert (model.predict(own[numeric]) == own["income"].str.strip(".")).mean() > 0.7


def test_an_encoder_of_a_diabetes_set_encodes_the_file_of_the_hospitals(real_data: Path):
    categorical = ["admission_type_id", "admission_source_id", "race", "age", "A1Cresult", "insulin"]
    options = {
        "path": "diabetes130/diabetes.csv.gz",
        "csv": {"missing": ["?", "None"]},  # pandas reads None as missing
        "columns": {
            "label": "readmitted_30",
            "groups": ["gender"],
            "numeric": ["time_in_hospital"],
            "categorical": categorical,
        },
        "rows": {"missing": "unknown", "unseen": "other"},
        "classes": ["no", "yes"],
    }
    splits = splits_of(real_data, options, missing_cells={"merge": {"other": ["Male", "Unknown/Invalid"]}})
    ours = set_of_rows(splits["train"], 3000).to_pandas()
    own = pd.read_csv(real_data / "diabetes130/diabetes.csv.gz", na_values="?")

    assert ours[categorical].dtypes.tolist() == own[categorical].dtypes.tolist()
    encoder = OneHotEncoder(sparse_output=False, handle_unknown="ignore").fit(ours[categorical])
    assert (encoder.transform(own[categorical]).sum(axis=1) == len(categorical)).mean() > 0.99
