"""Rows of a table, however its file is written, and their splits: encoded by what the training split knows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from small_rows import CATEGORICAL, NUMERIC, table

from fair_distill.config import Data, checked
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.data.prepare import make_splits
from fair_distill.data.sources import read_source
from fair_distill.data.split_file import read_split, write_split
from fair_distill.errors import ConfigError, DataError, FairDistillError
from fair_distill.formats.row_columns import Numeric

COLUMNS = {"label": "kind", "groups": "sex", "numeric": list(NUMERIC), "categorical": list(CATEGORICAL)}
SHARES: dict[str, Any] = {"train": 0.5, "tune": 0.25, "gate": 0.25}
ROWS = table(80)


def splits(root: Path, source: dict[str, Any], shares: dict[str, Any] = SHARES) -> dict[str, GroupedDataset]:
    data = checked(Data, {"source": source, "splits": shares}, name="params.yaml")
    labelled = read_source(data.source.name, data.source.options, root=root)
    return make_splits(labelled, data, dealing=0, colouring=np.random.default_rng(1))


def plain(root: Path) -> dict[str, Any]:
    pa.csv.write_csv(pa.table(ROWS), root / "all.csv")
    return {"path": "all.csv"}


def parquet(root: Path) -> dict[str, Any]:
    rows = pa.table(ROWS)
    coded = rows.column("work").dictionary_encode()
    pa.parquet.write_table(rows.set_column(2, "work", coded), root / "all.parquet")
    return {"path": "all.parquet"}


def folder(root: Path) -> dict[str, Any]:
    for part in (0, 1):
        pa.parquet.write_table(
            pa.table({k: v[part * 40 : part * 40 + 40] for k, v in ROWS.items()}), root / f"{part}.parquet"
        )
    return {"path": "."}


def of_its_own(root: Path) -> dict[str, Any]:
    """No header, a remark, spaces, dots after the labels, an empty line at the end: as UCI Adult is."""
    lines = [f"{age}, {height}, {work}, {colour}, {kind}., {sex}" for age, height, work, colour, kind, sex in lists()]
    (root / "all.data").write_text("|a remark, with a comma\n" + "\n".join(lines) + "\n\n")
    return {"path": "all.data", "csv": {"names": list(ROWS), "comment": "|", "strip": " ."}}


def semicolons(root: Path) -> dict[str, Any]:
    lines = [";".join(ROWS), *(";".join(map(str, row)) for row in lists())]
    (root / "all.txt").write_text("# a remark\n" + "\n".join(lines) + "\n")
    return {"path": "all.txt", "csv": {"delimiter": ";", "comment": "#"}}


def lists() -> list[tuple[Any, ...]]:
    return list(zip(*(values.tolist() for values in ROWS.values()), strict=True))


@pytest.mark.parametrize("write", [plain, parquet, folder, of_its_own, semicolons])
def test_every_form_of_the_same_rows_reads_the_same(write: Callable[[Path], dict[str, Any]], tmp_path: Path) -> None:
    result = splits(tmp_path, {"name": "table", "columns": COLUMNS} | write(tmp_path))

    seen = []
    for name, split in result.items():
        counts = np.array([[30, 10], [10, 30]]) * SHARES[name]
        assert np.abs(split.counts - counts).max() <= 1
        assert split.schema == result["train"].schema is not None
        assert (split.classes, split.groups) == (("no", "yes"), ("f", "m"))
        for row, values in zip(split.pairs, zip(*split.schema.decode(split.images).values(), strict=True), strict=True):
            assert list(values) == [ROWS[name][row] for name in (*NUMERIC, *CATEGORICAL)]
            seen.append(row)
        assert np.array_equal(split.labels == 1, ROWS["kind"][split.pairs] == "yes")
        assert np.array_equal(split.group_indices == 1, ROWS["sex"][split.pairs] == "m")
    assert sorted(seen) == list(range(80))


def test_the_training_split_alone_makes_the_schema(tmp_path: Path) -> None:
    learn = {name: values[:40] for name, values in ROWS.items()}
    test = {name: values[40:].copy() for name, values in ROWS.items()}
    test["age"][0], test["work"][1] = 99, "moon"
    for name, columns in (("learn", learn), ("test", test)):
        pa.csv.write_csv(pa.table(columns), tmp_path / f"{name}.csv")
    source: dict[str, Any] = {"name": "table", "columns": COLUMNS, "path": {"learn": "learn.csv", "test": "test.csv"}}
    shares = {"train": 0.5, "tune": 0.5, "gate": "test"}

    with pytest.raises(
        DataError, match=r"test\.csv: column 'work' is 'moon' in row 2, but the training data have only"
    ):
        splits(tmp_path, source, shares)
    result = splits(tmp_path, source | {"rows": {"unseen": "other"}}, shares)
    schema = result["train"].schema
    assert schema is not None
    age = schema.columns[0]

    assert isinstance(age, Numeric)
    assert (age.low, age.high) == (result["train"].images[:, 0].min(), result["train"].images[:, 0].max())
    decoded = schema.decode(result["gate"].images)
    assert decoded["age"].max() == 99
    assert (decoded["work"] == "other").sum() == 1


def test_a_split_of_rows_reads_back_with_its_schema(tmp_path: Path) -> None:
    train = splits(tmp_path, {"name": "table", "columns": COLUMNS} | plain(tmp_path))["train"]
    write_split(train, tmp_path / "train.arrow")
    read = read_split(tmp_path / "train.arrow")

    assert read.schema == train.schema
    assert np.array_equal(read.images, train.images)
    assert np.array_equal(read.offsets, train.offsets)
    write_split(read, tmp_path / "again.arrow")
    assert (tmp_path / "again.arrow").read_bytes() == (tmp_path / "train.arrow").read_bytes()


def with_value(column: str, value: str) -> Callable[[Path], dict[str, Any]]:
    def write(root: Path) -> dict[str, Any]:
        text: dict[str, Array] = {name: values.astype(str).astype(object) for name, values in ROWS.items()}
        text[column][2] = value
        pa.csv.write_csv(pa.table(text), root / "all.csv")
        return {"path": "all.csv", "csv": {"missing": ["?"], "strip": " "}}

    return write


def test_what_is_missing_has_the_name_that_was_given(tmp_path: Path) -> None:
    source = {"name": "table", "columns": COLUMNS, "rows": {"missing": "unknown", "unseen": "other"}}
    result = splits(tmp_path, source | with_value("work", " ? ")(tmp_path))

    of_row = {
        int(pair): work
        for split in result.values()
        if split.schema
        for pair, work in zip(split.pairs, split.schema.decode(split.images)["work"], strict=True)
    }
    assert of_row[2] in {"unknown", "other"}  # by the split that it is dealt to
    assert set(of_row.values()) - {"unknown", "other"} == {"farm", "sea", "office"}


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (with_value("work", "?"), r"all\.csv: column 'work' is missing in 1 of 80 rows, the first of them row 3"),
        (with_value("age", "?"), r"all\.csv: column 'age' is missing or not finite in 1 of 80 rows"),
        (with_value("age", "old"), r"all\.csv: column 'age' has values that are not numbers"),
        (with_value("kind", "?"), r"all\.csv: kind is missing in 1 of 80 rows"),
        (with_value("sex", " "), r"all\.csv: sex is missing in 1 of 80 rows"),
    ],
)
def test_a_table_with_a_hole_is_refused_by_file_column_and_row(
    write: Callable[[Path], dict[str, Any]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        splits(tmp_path, {"name": "table", "columns": COLUMNS} | write(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": COLUMNS | {"image": "x"}}, "has both an image"),
        ({"pixels": {"size": 8, "resize": "pad"}}, "has both an image"),
        ({"columns": COLUMNS | {"categorical": ["work", "kind"]}}, "'kind' is the label, so it may not be a column"),
        ({"columns": COLUMNS | {"numeric": ["age", "age"]}}, "numeric: each name may occur once"),
        ({"columns": COLUMNS | {"categorical": ["age"]}}, "column 'age' is named twice"),
        ({"columns": COLUMNS | {"numeric": ["weight"]}}, "has no column 'weight'; it has 'age'"),
        (
            {"columns": {"label": "kind", "image": "x"}, "rows": {}},
            r"data\.source\.rows needs data\.source\.columns\.numeric",
        ),
        ({"rows": {"missing": ""}}, r"rows\.missing"),
        ({"csv": {"header": "no"}}, r"csv\.header is not a known key"),
        ({"csv": {"names": ["age", "age"]}}, r"csv\.names: each name may occur once"),
        ({"csv": {"names": ["age", "height"]}}, "not a readable csv file|has no column 'kind'"),
        ({"name": "npz"}, "has numeric or categorical columns, but the source 'npz' reads images"),
    ],
)
def test_a_source_of_rows_that_cannot_be_is_refused_in_one_line(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(FairDistillError, match=message) as caught:
        splits(tmp_path, {"name": "table", "columns": COLUMNS} | plain(tmp_path) | changes)
    assert "\n" not in str(caught.value)


def test_rows_take_no_colour(tmp_path: Path) -> None:
    columns = {name: value for name, value in COLUMNS.items() if name != "groups"}
    source = {"name": "table", "columns": columns} | plain(tmp_path)
    colours = {"colours": {"red": [255, 0, 0], "cyan": [0, 255, 255]}, "own_share": 0.9, "paint": "foreground"}
    data = checked(Data, {"source": source, "splits": SHARES} | colours, name="params.yaml")
    labelled = read_source("table", data.source.options, root=tmp_path)

    with pytest.raises(ConfigError, match=r"data\.colours needs images"):
        make_splits(labelled, data, dealing=0, colouring=np.random.default_rng(1))
