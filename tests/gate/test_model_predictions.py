"""Predictions of any model: what the schema accepts and refuses, and how rows are matched with examples."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import equal_groups, parquet

from fair_distill.errors import ConfigError, FairDistillError, IntegrityError, MeasurementError
from fair_distill.gate.judged_examples import examples_of
from fair_distill.gate.model_predictions import match, networks_of
from fair_distill.gate.model_rows import check_size, read_labels, read_predictions
from fair_distill.gate.predictions import Predictions

SMALL: dict[str, Any] = {
    "example": ["x", "y", "z", "w"],
    "label": ["no", "yes", "no", "yes"],
    "predicted": ["no", "yes", "yes", "yes"],
    "group": ["a", "a", "b", "b"],
}


def table_of(columns: dict[str, Any], *, given: bool = False, attributes: tuple[str, ...] = ()) -> Predictions:
    """Return the predictions of a file that describes its own examples."""
    content = parquet(columns)
    rows = read_predictions(content, file="p.parquet", attributes=attributes)
    return match(rows, examples_of(rows), networks_of(rows, given=given), content=content)


def refusal(columns: dict[str, Any], error: type[FairDistillError] = MeasurementError, **options: Any) -> str:
    with pytest.raises(error) as caught:
        table_of(columns, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- types that are the same names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.int32(), pa.large_string()),
    ],
    ids=str,
)
def test_every_type_of_text_gives_the_same_predictions(kind: pa.DataType) -> None:
    typed = {name: pa.array(values, pa.string()).cast(kind) for name, values in SMALL.items()}

    plain, converted = table_of(SMALL), table_of(typed)

    assert (plain.classes, plain.groups, plain.split) == (converted.classes, converted.groups, converted.split)
    for name, column in plain.columns.items():
        np.testing.assert_array_equal(column, converted.columns[name])


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint64], ids=lambda k: k.__name__)
def test_integers_are_the_names_that_they_spell(kind: Any) -> None:
    numbers = SMALL | {"example": np.array([7, 8, 9, 10], kind), "label": np.array([0, 1, 0, 1], kind)}
    texts = SMALL | {"example": ["7", "8", "9", "10"], "label": ["0", "1", "0", "1"]}
    predicted = {"predicted": ["0", "1", "1", "1"]}

    assert table_of(numbers | predicted).split == table_of(texts | predicted).split


def test_classes_that_are_integers_are_in_the_order_of_their_values() -> None:
    columns = SMALL | {"label": [2, 10, 2, 10], "predicted": [2, 10, 10, 10]}

    assert table_of(columns).classes == ("2", "10")


def test_a_dictionary_with_a_text_twice_is_one_name() -> None:
    doubled = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 3]), pa.array(["x", "x", "z", "w"]))

    columns = SMALL | {"example": doubled, "label": ["no", "no", "no", "yes"]}

    assert "predicts example 'x' twice, in rows 1 and 2" in refusal(columns)


@pytest.mark.parametrize("writer", ["duckdb", "fastparquet", "polars"])
def test_files_of_other_writers_are_read(writer: str) -> None:
    """The files were written by polars 2.1, DuckDB 2.0 and fastparquet 2026.9 with their default options."""
    content = (Path(__file__).parent / "foreign" / f"{writer}.parquet").read_bytes()
    rows = read_predictions(content, file=writer)
    table = match(rows, examples_of(rows), networks_of(rows, given=False), content=content)

    assert (table.classes, table.groups, len(table)) == (("no", "yes"), ("a", "b"), 120)
    assert (table.columns["label"] == table.columns["predicted"]).all()
    assert (table.columns["probability"] == 0.9).all()


def test_an_encoding_that_can_hide_its_size_is_refused() -> None:
    content = parquet(SMALL, use_dictionary=False, column_encoding=dict.fromkeys(SMALL, "DELTA_BYTE_ARRAY"))

    with pytest.raises(MeasurementError, match=r"a page has encoding 7.*Write it with the defaults"):
        read_predictions(content, file="p")


def test_a_small_file_of_many_rows_is_refused_before_it_is_decoded() -> None:
    n = 4_000_000
    zeros = pa.array(np.zeros(n, np.int64))
    content = parquet(dict.fromkeys(("example", "label", "predicted", "group"), zeros), compression="zstd")

    assert len(content) < 100_000
    with pytest.raises(MeasurementError, match="it decodes to 128,000,000 bytes; at most 67,108,864 are allowed"):
        read_predictions(content, file="p")


def test_a_data_frame_with_an_index_of_its_own_is_read(tmp_path: Any) -> None:
    frame = pd.DataFrame(SMALL)
    frame.index = pd.Index([5, 9, 2, 2])
    frame["group"] = frame["group"].astype("category")
    frame.to_parquet(tmp_path / "p.parquet")

    assert len(read_predictions((tmp_path / "p.parquet").read_bytes(), file="p").example.names) == 4


def test_an_index_that_pandas_does_not_store_as_a_column_is_explained(tmp_path: Any) -> None:
    frame = pd.DataFrame(SMALL | {"example": range(4)}).set_index("example")
    frame.to_parquet(tmp_path / "p.parquet")

    with pytest.raises(MeasurementError, match=r"no column 'example'.*reset_index"):
        read_predictions((tmp_path / "p.parquet").read_bytes(), file="p")


# --- values that are refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": ["no", None, "no", "yes"]}, "column 'label' has no value in row 2"),
        ({"group": ["a", "a", "", "b"]}, "column 'group' is empty in row 3"),
        ({"example": ["x", "y", "z", "w" * 1001]}, "column 'example' has 1,001 characters in row 4"),
        ({"predicted": [0.0, 1.0, 1.0, 1.0]}, r"column 'predicted' has the type double; names are text or integers"),
        ({"label": [0.0, None, 0.0, 1.0]}, "column 'label' has no value in row 2"),
        ({"label": [True, False, True, False]}, "column 'label' has the type bool"),
        ({"group": [["a"], ["b"], ["a"], ["b"]]}, "column 'group' has the type list"),
        ({"example": [1.0, 2.0, 3.0, 4.0]}, "column 'example' has the type double"),
        ({"group": [None] * 4}, "column 'group' has the type null"),
        ({"seed": ["1", "1", "1", "1"]}, "column 'seed' has the type string; write integers"),
        ({"seed": [0.5, 1, 1, 1]}, "column 'seed' has the type double; write integers"),
        ({"probability": [0.5, 0.5, float("nan"), 0.5]}, "column 'probability' is nan in row 3"),
        ({"probability": [0.5, 1.2, 0.5, 0.5]}, "column 'probability' is 1.2 in row 2"),
        ({"probability": [0.5, -0.1, 0.5, 0.5]}, "column 'probability' is -0.1 in row 2"),
        ({"probability": [1, 1, 1, 0]}, "column 'probability' has the type int64"),
        (
            {"clusters": ["p", "q", "r", "s"]},
            "has the column 'clusters'; the columns are example, label, cluster, pair",
        ),
        ({"predicted": ["no", "maybe", "never", "yes"]}, "the prediction in row 2 is 'maybe', which is not a class"),
        ({"example": ["x", "y", "z", "z"]}, "example 'z' has the label 'yes' in row 4 and 'no' in row 3"),
        (
            {"example": ["x", "y", "z", "z"], "label": ["no", "yes", "no", "no"]},
            "predicts example 'z' twice, in rows 3",
        ),
        (
            {"pair": ["p", "p", "q", "q"], "cluster": ["k", "l", "m", "m"]},
            "pair 'p' has examples of two clusters, one of them in row 2",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "-".join(value),
)
def test_a_wrong_value_is_refused_with_its_row(change: dict[str, Any], message: str) -> None:
    assert message in refusal(SMALL | change)


@pytest.mark.parametrize("column", ["example", "predicted"])
def test_a_missing_column_is_named(column: str) -> None:
    assert f"has no column {column!r}" in refusal({name: v for name, v in SMALL.items() if name != column})


def test_scores_in_the_place_of_classes_are_refused() -> None:
    columns = equal_groups(300, 300) | {"predicted": np.arange(1200)}

    assert "column 'predicted' has 1,200 different names; at most 1,000 classes" in refusal(columns)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": ["a"] * 4}, "has the single group 'a'"),
        ({"label": ["no"] * 4, "predicted": ["no"] * 4}, "has the single class 'no'"),
    ],
)
def test_a_single_class_or_group_is_refused(change: dict[str, Any], message: str) -> None:
    assert message in refusal(SMALL | change)


def test_a_file_without_rows_is_refused() -> None:
    assert "has no rows" in refusal({name: pa.array([], pa.string()) for name in SMALL})


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_other_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(MeasurementError, match="p is not a readable Parquet file"):
        read_predictions(content, file="p")


def test_text_that_is_not_utf_8_is_refused() -> None:
    broken = pa.array([b"a", b"a", b"\xff", b"b"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 4, broken.buffers())

    assert "column 'group' has a text that is not UTF-8" in refusal(SMALL | {"group": text})


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_file_never_ends_in_a_traceback(data: st.DataObject) -> None:
    content = bytearray(parquet(SMALL | {"seed": [1, 1, 1, 1], "probability": [0.5] * 4}))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    message = ""
    try:
        rows = read_predictions(bytes(content), file="p")
        if rows.label is not None and rows.group is not None:
            match(rows, examples_of(rows), networks_of(rows, given=False), content=bytes(content))
    except FairDistillError as error:
        message = str(error)

    assert "\n" not in message


# --- groups -----------------------------------------------------------------------------------------------------------


def test_the_groups_are_combinations_of_the_attributes() -> None:
    columns = {name: SMALL[name] for name in ("example", "label", "predicted")}
    columns |= {"sex": ["f", "m", "f", "m"], "race": ["q", "q", "r", "r"]}

    table = table_of(columns, attributes=("sex", "race"))

    assert table.groups == ("f×q", "f×r", "m×q", "m×r")
    assert table.attributes == (("f", "q"), ("f", "r"), ("m", "q"), ("m", "r"))
    assert [table.groups[g] for g in table.columns["group"]] == ["f×q", "m×q", "f×r", "m×r"]


def test_two_groups_with_one_name_are_refused() -> None:
    columns = {name: SMALL[name] for name in ("example", "label", "predicted")}
    columns |= {"one": ["a×b", "a", "a", "a"], "two": ["c", "b×c", "c", "c"]}

    assert "two groups have the name 'a×b×c'" in refusal(columns, attributes=("one", "two"))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (("label",), "--groups: 'label' is a column with another meaning"),
        (("seed", "sex"), "--groups: 'seed' is a column with another meaning"),
        (("sex", "sex"), "--groups: 'sex' is listed twice"),
    ],
)
def test_an_attribute_is_not_another_column(attributes: tuple[str, ...], message: str) -> None:
    assert refusal(SMALL, ConfigError, attributes=attributes).startswith(message)


def test_labels_have_the_columns_of_the_attributes() -> None:
    labels = {"example": ["x", "y"], "label": ["no", "yes"], "sex": ["f", "m"], "race": ["q", "r"]}

    rows = read_labels(parquet(labels), file="l", attributes=("sex", "race"))

    assert rows.attributes == (("f", "q"), ("m", "r"))
    without = parquet({name: labels[name] for name in ("example", "label", "sex")})
    with pytest.raises(MeasurementError, match="l has no column 'race'"):
        read_labels(without, file="l", attributes=("sex", "race"))


@pytest.mark.parametrize(("count", "accepted"), [(1000, True), (1001, False)])
def test_the_numbers_of_classes_groups_and_networks_are_limited(count: int, accepted: bool) -> None:
    names = [f"n{i}" for i in range(count)]
    columns = {"example": names, "label": ["no"] * count, "predicted": ["no"] * count, "group": ["a"] * count}
    for change in ({"label": names}, {"group": names}, {"network": names}, {"seed": list(range(count))}):
        if accepted:
            read_predictions(parquet(columns | change), file="p")
        else:
            with pytest.raises(MeasurementError, match=r"1,00[01]"):
                read_predictions(parquet(columns | change), file="p")


def test_the_size_of_the_counts_is_limited() -> None:
    names = [str(i) for i in range(2**9)]

    check_size(names, names[: 2**6], file="p")
    with pytest.raises(MeasurementError, match="groups × classes² may be at most 16,777,216"):
        check_size(names, names[: 2**6 + 1], file="p")


# --- networks and seeds -----------------------------------------------------------------------------------------------


def test_one_seed_is_a_given_model_and_several_are_a_sample() -> None:
    one = read_predictions(parquet(equal_groups(9, 10)), file="p")
    three = read_predictions(parquet(equal_groups(9, 10, seeds=3)), file="p")

    assert networks_of(one, given=False) == "given"
    assert networks_of(three, given=False) == "sampled"
    assert networks_of(three, given=True) == "given"


def test_given_networks_are_judged_one_by_one() -> None:
    columns = equal_groups(9, 10, seeds=3)
    sampled, given_each = table_of(columns), table_of(columns, given=True)

    assert (sampled.networks, len(sampled.runs())) == (("model",), 3)
    assert given_each.networks == ("model seed 0", "model seed 1", "model seed 2")
    assert {network for network, _ in given_each.runs()} == {0, 1, 2}


def test_networks_with_different_numbers_of_seeds_are_refused() -> None:
    columns = {name: values * 3 for name, values in SMALL.items()}
    columns |= {"network": ["m"] * 4 + ["n"] * 8, "seed": [0] * 8 + [1] * 4}

    assert "network 'm' has 1 seeds and 'n' has 2" in refusal(columns)
    assert table_of(columns, given=True).networks == ("m", "n seed 0", "n seed 1")


def test_given_networks_have_different_names() -> None:
    columns = {name: values * 3 for name, values in SMALL.items()}
    columns |= {"network": ["m"] * 8 + ["m seed 1"] * 4, "seed": [0] * 4 + [1] * 4 + [0] * 4}

    assert "give the same name twice" in refusal(columns, given=True)


def test_a_seed_that_leaves_out_an_example_is_refused() -> None:
    columns = {name: values * 2 for name, values in SMALL.items()} | {"seed": [7] * 4 + [9] * 4}
    short = {name: values[:-1] for name, values in columns.items()}

    assert "network 'model' with seed 9 has no prediction for 1 of the 4 examples" in refusal(short)
    labels = parquet({name: SMALL[name] for name in ("example", "label", "group")})
    content = parquet({"example": ["x", "y", "w"], "predicted": ["no", "yes", "yes"]})
    rows = read_predictions(content, file="p")
    with pytest.raises(MeasurementError, match=r"p: network 'model' has no prediction for 1 of .* of them 'z'"):
        match(rows, examples_of(read_labels(labels, file="l")), "given", content=content)


def test_seeds_with_another_label_of_an_example_are_refused() -> None:
    columns = {name: values * 2 for name, values in SMALL.items()} | {"seed": [7] * 4 + [9] * 4}
    columns["label"] = [*SMALL["label"], "yes", "yes", "no", "yes"]

    assert "example 'x' has the label 'yes' in row 5 and 'no' in row 1" in refusal(columns)


# --- examples ---------------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.permutations(range(40)))
def test_the_order_of_the_rows_does_not_matter(order: list[int]) -> None:
    columns = equal_groups(9, 10) | {"cluster": [i // 2 for i in range(40)]}
    shuffled = {name: [values[i] for i in order] for name, values in columns.items()}

    first, second = table_of(columns), table_of(shuffled)

    assert first.split == second.split
    sort = [np.argsort(table.columns["example"]) for table in (first, second)]
    for name in first.columns:
        np.testing.assert_array_equal(first.columns[name][sort[0]], second.columns[name][sort[1]])


@pytest.mark.parametrize(
    "change",
    [
        {"example": ["x", "y", "z", "v"]},
        {"label": ["yes", "yes", "no", "no"]},
        {"group": ["a", "b", "b", "b"]},
        {"pair": ["p", "p", "q", "q"]},
        {"cluster": ["p", "p", "q", "q"]},
    ],
    ids="-".join,
)
def test_every_column_of_the_examples_is_in_the_name_of_the_split(change: dict[str, Any]) -> None:
    assert table_of(SMALL | change).split != table_of(SMALL).split


def test_the_names_of_clusters_and_the_predictions_are_not_in_the_name_of_the_split() -> None:
    clustered = SMALL | {"cluster": ["p", "p", "q", "q"]}

    assert table_of(clustered).split == table_of(SMALL | {"cluster": [2, 2, 1, 1]}).split
    assert table_of(SMALL | {"predicted": ["yes"] * 4}).split == table_of(SMALL).split


def test_the_name_of_a_split_does_not_change_between_releases() -> None:
    clustered = SMALL | {"pair": ["p", "p", "q", "q"], "cluster": ["k", "k", "k", "k"]}

    assert table_of(SMALL).split == "f026aa541c23f3f87f789dbfe9aafea24bf54d199dcda8ec01db9f5994a2b1ef"
    assert table_of(clustered).split == "5f7c4a09d6b4b7af3e5d5802cf129e159db92fb4781469c00f9a2676eb5f89ee"


def test_separate_labels_give_the_same_predictions() -> None:
    labels = {name: SMALL[name][::-1] for name in ("example", "label", "group")}
    content = parquet({name: SMALL[name] for name in ("example", "predicted")})
    rows = read_predictions(content, file="p")
    joined = match(rows, examples_of(read_labels(parquet(labels), file="l")), "given", content=content)

    own = table_of(SMALL)
    assert joined.split == own.split
    for name in own.columns:
        np.testing.assert_array_equal(joined.columns[name], own.columns[name])


@pytest.mark.parametrize(
    ("examples", "error", "message"),
    [
        (["x", "y", "z"], IntegrityError, "1 examples are not in l, .*'w' in row 4; l has 3 examples, such as 'x'"),
        (["x", "y", "z", "w", "v"], MeasurementError, "has no prediction for 1 of the 5 examples of l, .* 'v'"),
        (["x", "y", "z", "w", "w"], MeasurementError, "example 'w' is in rows 4 and 5"),
    ],
)
def test_labels_of_other_examples_are_refused(examples: list[str], error: type[FairDistillError], message: str) -> None:
    labels = {"example": examples, "label": ["no", "yes", "no", "yes", "yes"][: len(examples)]}
    labels["group"] = ["a", "a", "b", "b", "b"][: len(examples)]
    content = parquet({name: SMALL[name] for name in ("example", "predicted")})
    rows = read_predictions(content, file="p")

    with pytest.raises(error, match=message):
        match(rows, examples_of(read_labels(parquet(labels), file="l")), "given", content=content)


@pytest.mark.parametrize(
    ("column", "values", "row"),
    [
        ("label", ["no", "yes", "yes", "no"], 3),
        ("group", ["a", "b", "b", "a"], 2),
        ("cluster", ["k", "k", "l", "m"], 4),
        ("pair", ["k", "k", "l", "m"], 4),
    ],
)
def test_a_column_that_contradicts_the_labels_is_refused(column: str, values: list[str], row: int) -> None:
    labels = {name: SMALL[name] for name in ("example", "label", "group")}
    labels |= {"cluster": ["c", "c", "d", "d"], "pair": ["c", "c", "d", "d"]}
    content = parquet(SMALL | {column: values})
    rows = read_predictions(content, file="p")

    with pytest.raises(IntegrityError, match=f"the {column} of example '.' in row {row} is '.*', which differs from l"):
        match(rows, examples_of(read_labels(parquet(labels), file="l")), "given", content=content)


def test_examples_get_the_classes_and_groups_of_a_set_in_its_order() -> None:
    examples = examples_of(read_predictions(parquet(SMALL), file="p"))

    renamed = examples.with_names(("yes", "maybe", "no"), ("c", "b", "a"), source="faces@v1")

    assert (renamed.index.classes, renamed.index.groups) == (("yes", "maybe", "no"), ("c", "b", "a"))
    old, new = examples.index, renamed.index
    assert [old.classes[i] for i in old.labels] == [new.classes[i] for i in new.labels]
    assert [old.groups[i] for i in old.group_indices] == [new.groups[i] for i in new.group_indices]
    with pytest.raises(IntegrityError, match="p has the class 'no'; faces@v1 has yes, maybe"):
        examples.with_names(("yes", "maybe"), ("a", "b"), source="faces@v1")
    with pytest.raises(IntegrityError, match="p has the group 'a'; faces@v1 has b, c"):
        examples.with_names(("yes", "no"), ("b", "c"), source="faces@v1")


def test_a_combination_of_attributes_without_examples_is_refused() -> None:
    columns = {name: SMALL[name] for name in ("example", "label", "predicted")}
    columns |= {"sex": ["f", "m", "f", "m"], "race": ["q", "q", "r", "r"]}
    examples = examples_of(read_predictions(parquet(columns), file="p", attributes=("sex", "race")))
    groups = ("f×q", "f×r", "m×q", "m×r")

    assert examples.with_names(("no", "yes"), groups, source="faces@v1").index.attributes == examples.index.attributes
    with pytest.raises(IntegrityError, match="p has no example of the group 'x×q', which faces@v1 has"):
        examples.with_names(("no", "yes"), (*groups, "x×q"), source="faces@v1")


def test_a_class_without_examples_must_be_declared() -> None:
    content = parquet(SMALL | {"predicted": ["no", "yes", "maybe", "yes"]})
    rows = read_predictions(content, file="p")

    declared = match(rows, examples_of(rows, classes=("no", "yes", "maybe")), "given", content=content)

    assert declared.classes == ("no", "yes", "maybe")
    with pytest.raises(MeasurementError, match="the label 'yes' is not among the classes no, maybe"):
        examples_of(rows, classes=("no", "maybe"))
